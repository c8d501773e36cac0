"""Training on files that are read block by block: folders of Parquet, and arrays that are too large to load."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy
from sklearn.preprocessing import StandardScaler

from xpnet.cli.preparation import Steps, check_range, learn
from xpnet.cli.settings import Settings
from xpnet.data.large import Frames
from xpnet.data.sources import Source
from xpnet.errors import DataFileError

SAMPLE_ROWS, SAMPLE_VALUES = 2**18, 2**24
"""The most rows, and values in them, that categories and medians are learned from."""

ENOUGH, PIECES, PIECE_ROWS = 20, 200, 2**14
"""Fewer blocks than the first are cut in about so many pieces, of so many rows at most, before they are divided."""


@dataclass
class SomeBlocks(Source):
    """Some pieces of the blocks of a source or of frames, prepared as they are read.

    bounds : where the pieces begin, and the number of rows; chosen : numbers of pieces, sorted
    width : of the prepared rows; gaps : whether the steps fill them in
    """

    given: Source | Frames
    bounds: numpy.ndarray
    chosen: numpy.ndarray
    steps: Steps
    width: int
    name: str = ""
    gaps: bool = False

    def __post_init__(self) -> None:
        firsts, ends = self.bounds[self.chosen], self.bounds[self.chosen + 1]
        blocks = numpy.searchsorted(self.given.starts, firsts, "right") - 1
        self.ranges: dict[int, list[tuple[int, int]]] = {}  # of rows, by the block that they are read from
        for block, first, end in zip(blocks.tolist(), firsts.tolist(), ends.tolist(), strict=True):
            self.ranges.setdefault(block, []).append((first, end))
        self.read_from = list(self.ranges)
        sizes = [sum(end - first for first, end in ranges) for ranges in self.ranges.values()]
        self.starts = numpy.append(0, numpy.cumsum(sizes)).astype(numpy.int64)
        self.shape = (int(self.starts[-1]), self.width)
        self.dtype = numpy.dtype("float32" if self.given.dtype.itemsize <= 4 else "float64")

    def read(self, block: int) -> numpy.ndarray:
        """The rows of a block."""
        return numpy.concatenate([numpy.empty((0, self.shape[1]), self.dtype), *self.parts(block)])

    def parts(self, block: int) -> Iterator[numpy.ndarray]:
        """The rows of a block, as many at a time as are read.

        Raises DataFileError where a value is not finite, InputError where it is not once it is prepared.
        """
        for X in self._as_given(block):
            for _, step in self.steps:
                X = step.transform(X)
            yield check_range(numpy.asarray(X).astype(self.dtype, copy=False))

    def _as_given(self, block: int) -> Iterator[Any]:
        number = self.read_from[block]
        first, ranges = int(self.given.starts[number]), self.ranges[number]
        for part in self.given.parts(number):
            if first >= ranges[-1][1]:
                return
            X = numpy.asarray(part, dtype=self.dtype) if isinstance(part, numpy.ndarray) else part
            if isinstance(self.given, Source):  # frames have looked at their cells
                self._check_finite(X, first)
            for start, end in ranges:
                if start < first + len(part) and end > first:
                    yield X[max(start - first, 0) : min(end - first, len(part))]
            first += len(part)

    def _check_finite(self, X: numpy.ndarray, first: int) -> None:
        if numpy.isfinite(X.sum(dtype=numpy.float64)):
            return
        bad = numpy.isinf(X) if self.gaps else ~numpy.isfinite(X)
        if bad.any():
            raise DataFileError(
                f"{self.name}: every value must be finite; row {first + int(bad.any(axis=1).argmax()) + 1} holds "
                "another. Leave the row out, or fill gaps with --missing impute."
            )

    def take(self, y: numpy.ndarray) -> numpy.ndarray:
        """What belongs to its rows, of what belongs to each row of the source."""
        return numpy.concatenate([y[:0], *(y[a:b] for ranges in self.ranges.values() for a, b in ranges)])

    def every(self, step: int) -> Any:
        """One row in so many, not prepared: a matrix, or a table. step : how many"""
        parts, skip = [], 0
        for block in range(self.blocks):
            for part in self._as_given(block):
                parts.append(_each(part, skip, step))
                skip = (skip - len(part)) % step
        if isinstance(parts[0], numpy.ndarray):
            return numpy.concatenate(parts)
        import pyarrow

        return pyarrow.concat_tables(parts).combine_chunks()


def _each(part: Any, first: int, step: int) -> Any:
    return part[first::step] if isinstance(part, numpy.ndarray) else part.take(numpy.arange(first, len(part), step))


class Divided(NamedTuple):
    """Blocks to train on, to watch and to measure on, with what prepares them, and a note on how that was learned."""

    steps: Steps
    parts: list[SomeBlocks]
    notes: list[str]


def divide(given: Source | Frames, name: str, settings: Settings) -> Divided:
    """Blocks, or pieces of few blocks, to train on, to watch and to measure on; those to train on decide how to prepare.

    Raises DataFileError where no row would be left to train on.
    """
    bounds = _pieces(given.starts)
    pieces = numpy.random.RandomState(settings.seed).permutation(len(bounds) - 1)
    training, test = _halves(name, pieces, settings.test_size, "--test-size")
    training, watched = _halves(name, training, settings.validation_share, "--validation-size")
    gaps, width = settings.missing == "impute", given.shape[1]
    plain = SomeBlocks(given, bounds, numpy.sort(training), [], width, name, gaps)
    if gaps or (isinstance(given, Frames) and not given.only_numbers):
        steps, width, notes = _from_sample(plain, settings)
    else:
        steps, notes = _scaled(plain) if settings.scale else [], []
    chosen = map(numpy.sort, (training, watched, test))
    return Divided(steps, [SomeBlocks(given, bounds, part, steps, width, name, gaps) for part in chosen], notes)


def _pieces(starts: numpy.ndarray) -> numpy.ndarray:
    """Where the pieces begin that are divided, and the number of rows: the blocks themselves where there are enough.

    A block is read for each part that has a piece of it, so that pieces cost time, but no memory.
    """
    if len(starts) > ENOUGH:
        return starts
    size = max(1, min(PIECE_ROWS, int(starts[-1]) // PIECES))
    cut = [numpy.arange(first, end, size) for first, end in pairwise(starts.tolist())]
    return numpy.concatenate([*cut, starts[-1:]])


def _scaled(rows: SomeBlocks) -> Steps:
    """What brings numbers to mean 0 and deviation 1, learned from all rows."""
    scaler = StandardScaler()
    for block in range(rows.blocks):
        for part in rows.parts(block):
            scaler.partial_fit(part)
    return [("scale", scaler)]


def _from_sample(rows: SomeBlocks, settings: Settings) -> tuple[Steps, int, list[str]]:
    """What prepares text and gaps, learned from rows at even distances, since a median needs them all at once.

    returns the steps, the width of prepared rows, and a note
    """
    most = max(1, min(SAMPLE_ROWS, SAMPLE_VALUES // rows.width))
    sample = rows.every(-(-len(rows) // most))
    count = len(sample)
    steps, width = learn(sample, scaled=settings.scale, impute=rows.gaps, dtype=settings.dtype)
    note = f"categories, medians and scales are those of {count:,} of {len(rows):,} rows, at even distances"
    return steps, width, [note] if count < len(rows) else []


def _halves(name: str, blocks: Any, share: float, option: str) -> tuple[Any, Any]:
    if not share:
        return blocks, blocks[:0]
    count = max(1, math.floor(share * len(blocks)))
    if count >= len(blocks):
        raise DataFileError(
            f"{name}: some rows must be left to train on; {option} {share} leaves none of {len(blocks)} pieces. "
            "Give it less."
        )
    return blocks[count:], blocks[:count]
