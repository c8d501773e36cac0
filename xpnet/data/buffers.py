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
"""Bytes of rows that are handed out at a time: they stay in a core's cache until they have been used."""


Part = tuple[int, int, int, numpy.ndarray | None]
"""Rows of a block: the rank that has them, how many there are, the number of the first, and X if this rank has it."""


class Division(NamedTuple):
    """Says which of several processes reads each block of a pass. All of them know the order of all rows.

    rank : of this process; owner : (blocks,) int, the rank that reads each block; rows : (blocks,) int, of each
    """

    rank: int
    owner: numpy.ndarray
    rows: numpy.ndarray


class Piece(NamedTuple):
    """Rows of a source in some order. What another process reads has a place in it, but is not here.

    X : (own, in), those of this process; rows : (own,) int64, their numbers in the source
    owner : (rows,) int32, the rank that has each row
    """

    X: numpy.ndarray
    rows: numpy.ndarray
    owner: numpy.ndarray


def _empty(rows: int, source: Source, dtype: Any) -> Piece:
    """Return room for so many rows."""
    X = numpy.empty((rows, source.shape[1]), dtype)
    return Piece(X, numpy.zeros(rows, numpy.int64), numpy.zeros(rows, numpy.int32))


class Reader:
    """Reads blocks one after the other into buffers; what is left of a block goes into the next buffer.

    stopped : set by another thread, it ends the reading before the next part of a block
    """

    def __init__(self, source: Source, blocks: Any, division: Division | None = None) -> None:
        self.source, self.stopped = source, False
        self._parts = self._read(blocks, division)
        self._rest: Part | None = None

    def fill(self, buffer: Piece) -> Piece:
        """Fill a buffer, and return the part of it that holds rows, which is empty behind the last block.

        Raises ValueError where a value is not finite.
        """
        place = slot = 0
        while place < len(buffer.owner) and not self.stopped:
            part = self._rest or next(self._parts, None)
            if part is None:
                break
            owner, size, first, X = part
            count = min(size, len(buffer.owner) - place)
            buffer.owner[place : place + count] = owner
            if X is not None:
                slots = slice(slot, slot + count)
                copy_finite(X[:count], buffer.X[slots], first)
                buffer.rows[slots] = numpy.arange(first, first + count)
                slot += count
            place += count
            self._rest = (owner, size - count, first + count, X if X is None else X[count:]) if count < size else None
        return Piece(buffer.X[:slot], buffer.rows[:slot], buffer.owner[:place])

    def _read(self, blocks: Any, division: Division | None) -> Iterator[Part]:
        """Yield the parts of the blocks."""
        for place, block in enumerate(blocks):
            owner = 0 if division is None else int(division.owner[place])
            if division is not None and owner != division.rank:
                if self.source.in_order and 0 <= block < self.source.blocks:  # the next one comes after it only
                    self.source.read(int(block))
                yield owner, int(division.rows[place]), 0, None
                continue
            first = int(self.source.starts[block])
            for X in self.source.parts(int(block)):
                yield owner, len(X), first, X
                first += len(X)


def read_rows(source: Source, blocks: Any, dtype: Any) -> Piece:
    """Return all rows of some blocks."""
    return Reader(source, blocks).fill(_empty(int(numpy.diff(source.starts)[blocks].sum()), source, dtype))


def copy_finite(X: numpy.ndarray, out: numpy.ndarray, first: int) -> None:
    """Copy rows into an array of another dtype; raise ValueError where a value is not finite.

    first : the number of the first row
    """
    with numpy.errstate(all="ignore"):
        numpy.copyto(out, X, casting="unsafe")
        # Whole numbers are finite. Of others the sum tells, unless it overflows.
        if X.dtype.kind != "f" or numpy.isfinite(out.sum()):
            return
    finite = numpy.isfinite(out).all(axis=1)
    if not finite.all():
        raise ValueError(
            f"Input X contains NaN, infinity or a value too large for {out.dtype}, the first in row "
            f"{first + int(finite.argmin())}."
        )


def kept_dtype(source: Source, dtype: Any) -> numpy.dtype:
    """Return a buffer's dtype: whole numbers keep theirs where it is narrower than the dtype they are used in."""
    narrow = source.dtype.kind in "biu" and source.dtype.itemsize < numpy.dtype(dtype).itemsize
    return source.dtype if narrow else numpy.dtype(dtype)


def rows_of(
    source: Source,
    blocks: Any,
    dtype: Any,
    *,
    batch_size: int,
    seed: int | None = None,
    piece_bytes: int = PIECE_BYTES,
    division: Division | None = None,
) -> Generator[Piece, None, None]:
    """Yield all rows of the blocks in the dtype, some whole batches at a time; the last batch may have fewer rows.

    Two buffers take turns: one is used while the other is filled.

    seed : of the orders within the buffers; None for rows as they lie
    piece_bytes : of what is handed out at a time, one batch at least
    division : of the blocks among processes, of which each is given its own rows of every piece
    """
    rank = 0 if division is None else division.rank
    shuffle = None if seed is None else numpy.random.default_rng(seed)
    piece = max(1, piece_bytes // (source.shape[1] * numpy.dtype(dtype).itemsize) // batch_size) * batch_size
    # Rows as they lie are not mixed, and need no room for more of them than are handed out.
    room = piece if shuffle is None else max(1, source.buffer_rows(dtype) // 2 // batch_size) * batch_size
    room = min(room, len(source) if division is None else int(division.rows.sum()))
    reader, buffers = Reader(source, blocks, division), [_empty(room, source, kept_dtype(source, dtype)) for _ in "12"]
    with ThreadPoolExecutor(1, "xpnet-read") as thread:
        try:
            reading = thread.submit(reader.fill, buffers[0])
            while len((filled := reading.result()).owner):
                buffers.reverse()
                reading = thread.submit(reader.fill, buffers[0])
                slots, places = numpy.cumsum(filled.owner == rank) - 1, numpy.arange(len(filled.owner))
                if shuffle is not None:
                    shuffle.shuffle(places)
                for start in range(0, len(places), piece):
                    some = places[start : start + piece]
                    here = slots[some[filled.owner[some] == rank]]
                    X = filled.X[here].astype(dtype, copy=False)
                    yield Piece(X, filled.rows[here], filled.owner[some])
        finally:
            reader.stopped = True
