"""Rows of a source, a buffer at a time and shuffled within it, while a thread reads the next buffer.

A row is moved three times: from its block into a buffer, from there to its place in the new order, and into the dtype
that is trained in. Numbers that are narrower than that dtype stay so in the buffer, and the last two steps are made
for as few rows as stay in a core's cache.
"""

from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy

from xpnet.data.sources import Source

PIECE_BYTES = 2**21
"""Bytes of rows that are converted at a time: they stay in a core's cache until they have been used."""


class Buffer(NamedTuple):
    """Rows in memory: X (rows, in), and the number of each in the source, (rows,) int64."""

    X: numpy.ndarray
    rows: numpy.ndarray

    @classmethod
    def empty(cls, rows: int, source: Source, dtype: Any) -> "Buffer":
        """Room for so many rows."""
        return cls(numpy.empty((rows, source.shape[1]), dtype), numpy.empty(rows, numpy.int64))

    def take(self, places: Any) -> "Buffer":
        """Return some of the rows."""
        return Buffer(self.X[places], self.rows[places])


class Reader:
    """Reads blocks one after the other into buffers; what is left of a part goes into the next buffer.

    stopped : set by another thread, it ends the reading before the next part of a block
    """

    def __init__(self, source: Source, blocks: Any) -> None:
        self.source, self.stopped = source, False
        self._parts = self._read(blocks)
        self._left, self._first = numpy.empty((0, source.shape[1])), 0

    def fill(self, buffer: Buffer) -> int:
        """Fill the buffer from its beginning; returns how many rows there were.

        Raises ValueError where a value is not finite.
        """
        filled, room = 0, len(buffer.rows)
        while filled < room and self._has_rows():
            part = self._left[: room - filled]
            place = slice(filled, filled + len(part))
            copy_finite(part, buffer.X[place], self._first)
            buffer.rows[place] = numpy.arange(self._first, self._first + len(part))
            self._left, self._first = self._left[len(part) :], self._first + len(part)
            filled += len(part)
        return filled

    def _has_rows(self) -> bool:
        """Return whether a row is left, of the part at hand or of the next one with rows."""
        while not len(self._left) and not self.stopped:
            found = next(self._parts, None)
            if found is None:
                return False
            self._left, self._first = found
        return not self.stopped

    def _read(self, blocks: Any) -> Iterator[tuple[numpy.ndarray, int]]:
        """Yield all parts of the blocks, and the number of the first row of each."""
        for block in blocks:
            first = int(self.source.starts[block])
            for part in self.source.parts(int(block)):
                yield part, first
                first += len(part)


def read_rows(source: Source, blocks: Any, dtype: Any) -> Buffer:
    """Return all rows of some blocks."""
    buffer = Buffer.empty(int(numpy.diff(source.starts)[blocks].sum()), source, dtype)
    Reader(source, blocks).fill(buffer)
    return buffer


def copy_finite(X: numpy.ndarray, out: numpy.ndarray, first: int) -> None:
    """Copy rows into an array of another dtype, in pieces that stay in the cache while they are looked at.

    Raises ValueError where a value is not finite; first : the number of the first row
    """
    count = piece_rows(out)
    with numpy.errstate(all="ignore"):
        for start in range(0, len(X), count):
            piece = out[start : start + count]
            numpy.copyto(piece, X[start : start + count], casting="unsafe")
            # Whole numbers are finite. Of others the sum tells, unless it overflows.
            if X.dtype.kind == "f" and not numpy.isfinite(piece.sum()):
                _check_finite(piece, first + start)


def _check_finite(X: numpy.ndarray, first: int) -> None:
    finite = numpy.isfinite(X).all(axis=1)
    if not finite.all():
        raise ValueError(
            f"Input X contains NaN, infinity or a value too large for {X.dtype}, the first in row "
            f"{first + int(finite.argmin())}."
        )


def piece_rows(X: numpy.ndarray) -> int:
    """Return how many rows make a piece."""
    return max(1, PIECE_BYTES // max(1, X.shape[1] * X.itemsize))


def kept_dtype(source: Source, dtype: Any) -> numpy.dtype:
    """Return a buffer's dtype: whole numbers keep theirs where it is narrower than the dtype they are used in."""
    narrow = source.dtype.kind in "biu" and source.dtype.itemsize < numpy.dtype(dtype).itemsize
    return source.dtype if narrow else numpy.dtype(dtype)


def rows_of(
    source: Source, blocks: Any, dtype: Any, *, batch_size: int, seed: int | None = None, piece_bytes: int = PIECE_BYTES
) -> Generator[Buffer, None, None]:
    """All rows of the blocks in the dtype, some whole batches at a time; the last batch may have fewer rows.

    seed : of the orders within the buffers; None for rows as they lie
    piece_bytes : of what is handed out at a time, one batch at least; the next one overwrites it
    """
    rows = piece_bytes // (source.shape[1] * numpy.dtype(dtype).itemsize)
    for buffer, places in _buffers(source, blocks, dtype, batch_size, seed):
        yield from _pieces(buffer, places, max(1, rows // batch_size) * batch_size, dtype, ordered=seed is None)


def _pieces(buffer: Buffer, places: numpy.ndarray, count: int, dtype: Any, *, ordered: bool) -> Iterator[Buffer]:
    """Yield the rows at these places of a buffer, so many at a time."""
    count = min(count, len(places))
    kept = numpy.empty((count, buffer.X.shape[1]), buffer.X.dtype)
    converted = kept if kept.dtype == dtype else numpy.empty(kept.shape, dtype)
    for start in range(0, len(places), count):
        some = places[start : start + count]
        X = kept[: len(some)]
        if ordered:
            X = buffer.X[some[0] : some[0] + len(some)]
        else:
            numpy.take(buffer.X, some, axis=0, out=X, mode="clip")  # the other modes copy once more
        if X.dtype != dtype:
            numpy.copyto(converted[: len(some)], X, casting="unsafe")
            X = converted[: len(some)]
        yield Buffer(X, buffer.rows[some])


def _buffers(
    source: Source, blocks: Any, dtype: Any, batch_size: int, seed: int | None
) -> Iterator[tuple[Buffer, numpy.ndarray]]:
    """Buffers, and at which places in each lie the rows of whole batches; the others go on in front of the next buffer.

    Two buffers take turns: one is used while the other is filled.
    """
    shuffle = None if seed is None else numpy.random.default_rng(seed)
    reader, left = Reader(source, blocks), 0
    rows = min(max(source.buffer_rows(dtype) // 2, batch_size), len(source))
    here, ahead = (Buffer.empty(batch_size + rows, source, kept_dtype(source, dtype)) for _ in range(2))
    with ThreadPoolExecutor(1, "xpnet-read") as thread:
        try:
            reading = thread.submit(reader.fill, ahead.take(slice(batch_size, None)))
            while count := reading.result():
                here, ahead = ahead, here
                reading = thread.submit(reader.fill, ahead.take(slice(batch_size, None)))
                places = numpy.arange(batch_size - left, batch_size + count)
                if shuffle is not None:
                    shuffle.shuffle(places)
                whole = len(places) // batch_size * batch_size
                if whole:
                    yield here, places[:whole]
                left = len(places) - whole
                ahead.X[batch_size - left : batch_size] = here.X[places[whole:]]
                ahead.rows[batch_size - left : batch_size] = here.rows[places[whole:]]
        finally:
            reader.stopped = True
    if left:
        yield ahead, numpy.arange(batch_size - left, batch_size)
