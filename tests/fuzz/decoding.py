"""Bytes of a fuzzer, read as numbers, texts, tables and networks."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from xpnet.backend import NetworkSpec
from xpnet.ops import ACTIVATIONS

ROWS = 32
"""Rows of a table: enough for bins and for categories."""

MAX_COLUMNS = 4
MAX_VALUES = 6
"""Maximum number of different texts or numbers in a column that repeats them."""

Chosen = TypeVar("Chosen")
Table = dict[str, np.ndarray]


@dataclass
class Reader:
    """Reads bytes from the first to the last; behind the last are zeros."""

    content: bytes
    place: int = 0

    def take(self, count: int) -> bytes:
        """Return the next bytes."""
        taken = self.content[self.place : self.place + count]
        self.place += count
        return taken.ljust(count, b"\0")

    def integer(self, low: int, high: int) -> int:
        """Return a number from low to high."""
        count = high - low + 1
        return low + int.from_bytes(self.take(1 if count <= 256 else 2), "little") % count

    def choice(self, values: Sequence[Chosen]) -> Chosen:
        """Return one of some values."""
        return values[self.integer(0, len(values) - 1)]

    def number(self) -> float:
        """Return any float64: of a simple kind, or of any eight bytes."""
        simple = self.integer(-20, 20) / self.choice([1, 2, 8])
        kinds = ("simple", "simple", "any", "special")
        kind = self.choice(kinds)
        if kind == "simple":
            return simple
        if kind == "special":
            return float(self.choice([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e308, 5e-324, 2.0**53]))
        return float(struct.unpack("<d", self.take(8))[0])

    def text(self) -> str:
        """Return a text of up to 12 bytes of UTF-8, or of a kind that is read in another way."""
        special = ["", "1", "1.0", "NA", "true", "2024-02-29", '"', "\\", "??/", "%s", " a ", "é"]
        if self.integer(0, 1):
            return self.choice(special)
        return self.take(self.integer(0, 12)).decode("utf-8", "ignore").replace("\0", "")


def column(reader: Reader) -> np.ndarray:
    """Return a column of numbers, texts, booleans or dates, with gaps."""
    kind = reader.choice(["numbers", "few numbers", "whole", "text", "booleans", "dates"])
    if kind == "numbers":
        return np.array([reader.number() for _ in range(ROWS)])
    picks = np.array([reader.integer(0, MAX_VALUES - 1) for _ in range(ROWS)])
    if kind == "few numbers":
        return np.array([reader.number() for _ in range(MAX_VALUES)])[picks]
    if kind == "whole":
        return picks * reader.integer(1, 30000) - reader.integer(0, 30000)
    if kind == "booleans":
        return picks > reader.integer(0, MAX_VALUES - 1)
    if kind == "dates":
        days = np.array([reader.integer(-30000, 30000) for _ in range(ROWS)])
        dates = np.datetime64("1970-01-01T00:00:00") + (86_400 * days + 977 * picks)
        return np.where(picks == 0, np.datetime64("NaT"), dates)
    texts = [reader.text() for _ in range(MAX_VALUES)]
    values: list[Any] = [None if reader.integer(0, 9) == 9 else texts[pick] for pick in picks]
    return np.array(values, dtype=object)


def table(reader: Reader) -> Table:
    """Return a table of one to four columns."""
    names = [f"c{number}" for number in range(reader.integer(1, MAX_COLUMNS))]
    return {name: column(reader) for name in names}


def targets(reader: Reader) -> np.ndarray:
    """Return labels of two or three classes, or numbers."""
    numbers = np.array([reader.integer(0, 200) for _ in range(ROWS)])
    if reader.integer(0, 2) == 0:
        return numbers / 8
    classes = reader.integer(2, 3)
    return np.array(["no", "yes", "perhaps"])[(numbers + np.arange(ROWS)) % classes]


def network(reader: Reader) -> tuple[NetworkSpec, dict[str, np.ndarray]]:
    """Return the description of a network, and parameters between -4 and 4."""
    hidden = [reader.integer(1, 4) for _ in range(reader.integer(0, 2))]
    outputs = reader.integer(1, 3)
    losses = ["squared_error", "poisson", "logistic_cross_entropy"]
    spec = NetworkSpec(
        widths=(reader.integer(1, 4), *hidden, outputs),
        activations=tuple(reader.choice(sorted(ACTIVATIONS)) for _ in hidden),
        loss=reader.choice([*losses, "softmax_cross_entropy"] if outputs > 1 else losses),
        dtype=reader.choice(["float32", "float64"]),
        members=reader.choice([1, 1, 2]) if hidden else 1,
    )
    values = {
        slot.name: np.array(
            [reader.integer(-400, 400) / 100 for _ in range(int(np.prod(slot.shape)))]
        )
        .reshape(slot.shape)
        .astype(spec.dtype)
        for slot in spec.slots()
    }
    return spec, values
