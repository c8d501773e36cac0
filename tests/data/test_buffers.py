"""Rows of a source, as they come out of its buffers."""

import itertools
import threading
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from xpnet.data import buffers, sources
from xpnet.data.buffers import kept_dtype, read_rows, rows_of
from xpnet.data.sources import ArraySource

ROWS = 1000


@pytest.fixture(autouse=True)
def small_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of about 25 rows, buffers of 100, pieces of one batch."""
    monkeypatch.setattr(sources, "BUFFER_ROWS", 200)
    monkeypatch.setattr(sources, "BLOCK_BYTES", 50)
    monkeypatch.setattr(buffers, "PIECE_BYTES", 64)


def two_columns(kind: str) -> Any:
    """(rows, 2), no two rows alike in the first column where the dtype has room for that."""
    X = np.arange(2 * ROWS).reshape(ROWS, 2)
    return (X % 2 if kind == "bool" else X % 251).astype(kind)


@pytest.mark.parametrize(
    "kind", ["bool", "uint8", "int16", "int64", "float16", "float32", "float64"]
)
def test_each_row_comes_once_as_a_conversion_of_all_has_it(
    kind: str, subtests: pytest.Subtests
) -> None:
    cases = itertools.product(["float32", "float64"], [None, 3], [1, 7, 100, 130, 5000])
    for dtype, seed, batch_size in cases:
        with subtests.test(dtype=dtype, seed=seed, batch_size=batch_size):
            check_rows(kind, dtype, seed, batch_size)


def check_rows(kind: str, dtype: str, seed: int | None, batch_size: int) -> None:
    """Require each row once, in plain order or shuffled, in batches of that size."""
    source = ArraySource(two_columns(kind))
    blocks = (
        np.arange(source.blocks)
        if seed is None
        else np.random.default_rng(0).permutation(source.blocks)
    )
    numbers, found = [], []
    for X, rows, _ in rows_of(
        source, blocks, dtype, batch_size=batch_size, seed=seed, piece_bytes=300
    ):
        assert X.dtype == dtype
        numbers.append(rows.copy())
        found.append(X.copy())
    order = np.concatenate(numbers)
    assert_array_equal(np.sort(order), np.arange(ROWS))
    assert_array_equal(np.concatenate(found), two_columns(kind).astype(dtype)[order])
    assert all(len(rows) % batch_size == 0 for rows in numbers[:-1])
    assert (seed is None) == (order == np.arange(ROWS)).all()


@pytest.mark.parametrize(
    ("kind", "kept"),
    [("uint8", "uint8"), ("int32", "float32"), ("float16", "float32"), ("float64", "float32")],
)
def test_what_a_buffer_holds(kind: str, kept: str) -> None:
    assert kept_dtype(ArraySource(np.zeros((2, 2), kind)), "float32") == kept


@pytest.mark.parametrize(
    ("kind", "value"), [("float32", np.nan), ("float64", 1e300), ("float16", -np.inf)]
)
def test_the_first_row_that_is_not_finite_is_named(kind: str, value: float) -> None:
    X = np.ones((ROWS, 2), kind)
    X[[321, 777], 1] = value
    with pytest.raises(ValueError, match="first in row 321"):
        read_rows(ArraySource(X), np.arange(ArraySource(X).blocks), "float32")


def test_a_sum_that_overflows_says_nothing() -> None:
    X = np.full((ROWS, 2), 3e38, "float32")
    assert_array_equal(read_rows(ArraySource(X), np.arange(ArraySource(X).blocks), "float32").X, X)


class Counted(ArraySource):
    """Counts its reads; the last that is allowed waits until it is told to go on."""

    def __init__(self, array: Any, waits_at: int) -> None:
        super().__init__(array)
        self.reads, self.waits_at, self.waiting, self.go_on = (
            0,
            waits_at,
            threading.Event(),
            threading.Event(),
        )

    def read(self, block: int) -> np.ndarray:
        """A block."""
        self.reads += 1
        if self.reads == self.waits_at:
            self.waiting.set()
            assert self.go_on.wait(60)
        return super().read(block)


def test_whoever_stops_waits_for_one_block_at_most() -> None:
    source = Counted(np.ones((ROWS, 2), "float32"), waits_at=30)
    rows = rows_of(
        source, np.arange(source.blocks), "float32", batch_size=10, piece_bytes=80, seed=0
    )
    for _ in range(3):
        next(rows)
    assert source.waiting.wait(
        60
    )  # the thread reads the next buffer, of which there is more to come
    threading.Timer(0.1, source.go_on.set).start()
    rows.close()
    assert source.reads == 30


def test_a_buffer_holds_rows_of_the_dtype_that_is_computed_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sources, "BUFFER_BYTES", 960)
    rows = {"float16": 40, "float32": 40, "float64": 20, "int64": 20}
    of_source = {kind: ArraySource(np.zeros((9, 6), kind)).buffer_rows() for kind in rows}
    assert of_source == rows
    assert ArraySource(np.zeros((9, 6))).buffer_rows("float32") == 40
