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


class Division(NamedTuple):
    """Says which of several processes reads each block of a pass. All of them know the order of all rows.

    rank : of this process; owner : (blocks,) int, the rank that reads each block; rows : (blocks,) int, of each
    """

    rank: int
    owner: numpy.ndarray
    rows: numpy.ndarray


class Buffer(NamedTuple):
    """Room for rows, each in a place of its own. What another process reads has a place, but is not there.

    owner : (places,) int32, the rank that has the row; slot : (places,) int64, where in X it lies
    X : (slots, in); rows : (slots,) int64, the number in the source of each row in X
    """

    owner: numpy.ndarray
    slot: numpy.ndarray
    X: numpy.ndarray
    rows: numpy.ndarray

    @classmethod
    def empty(cls, rows: int, source: Source, dtype: Any) -> "Buffer":
        """Return room for so many rows."""
        kinds = (numpy.int32, numpy.int64, numpy.int64)
        owner, slot, numbers = (numpy.zeros(rows, kind) for kind in kinds)
        return cls(owner, slot, numpy.empty((rows, source.shape[1]), dtype), numbers)

    def slots_of(self, places: numpy.ndarray, rank: int) -> numpy.ndarray:
        """Return where the rows of these places lie that a rank has."""
        return self.slot[places[self.owner[places] == rank]]

    def put_before(self, end: int, other: "Buffer", places: numpy.ndarray, rank: int) -> None:
        """Take rows over from another buffer, into the places and slots in front of ``end``."""
        found = other.slots_of(places, rank)
        here, slots = slice(end - len(places), end), slice(end - len(found), end)
        self.owner[here] = other.owner[places]
        self.slot[here][self.owner[here] == rank] = numpy.arange(end - len(found), end)
        self.X[slots], self.rows[slots] = other.X[found], other.rows[found]


class Piece(NamedTuple):
    """Rows to compute with. X : (own, in), those of this process; rows : (own,) int64, their numbers in the source

    owner : (rows,) int32, the rank that has each row of the piece
    """

    X: numpy.ndarray
    rows: numpy.ndarray
    owner: numpy.ndarray


class Reader:
    """Reads blocks one after the other into buffers; what is left of a block goes into the next buffer.

    stopped : set by another thread, it ends the reading before the next part of a block
    """

    def __init__(self, source: Source, blocks: Any, division: Division | None = None) -> None:
        self.source, self.stopped = source, False
        self._counts = self._fill(blocks, division)

    def fill(self, buffer: Buffer, start: int = 0) -> int:
        """Fill the buffer from a place on; returns how many rows there were.

        Raises ValueError where a value is not finite.
        """
        self._buffer, self._start = buffer, start
        return next(self._counts, 0)

    def _fill(self, blocks: Any, division: Division | None) -> Iterator[int]:
        """Yield how many rows went into each buffer, once it is full or there are no more."""
        place = slot = self._start
        for owner, size, first, X in self._read(blocks, division):
            done = 0
            while done < size and not self.stopped:
                buffer = self._buffer
                count = min(size - done, len(buffer.owner) - place)
                places, slots = slice(place, place + count), slice(slot, slot + count)
                buffer.owner[places] = owner
                if X is not None:
                    copy_finite(X[done : done + count], buffer.X[slots], first + done)
                    buffer.rows[slots] = numpy.arange(first + done, first + done + count)
                    buffer.slot[places] = numpy.arange(slots.start, slots.stop)
                    slot += count
                place, done = place + count, done + count
                if place == len(buffer.owner):
                    yield place - self._start
                    place = slot = self._start  # of the next buffer
            if self.stopped:
                return
        yield place - self._start

    def _read(self, blocks: Any, division: Division | None) -> Iterator[tuple[int, int, int, numpy.ndarray | None]]:
        """Yield the parts of the blocks: their rank, their rows, the number of the first, and X if this rank has it."""
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

    seed : of the orders within the buffers; None for rows as they lie
    piece_bytes : of what is handed out at a time, one batch at least; the next one overwrites it
    division : of the blocks among processes, of which each is given its own rows of every piece
    """
    rows = piece_bytes // (source.shape[1] * numpy.dtype(dtype).itemsize)
    count, rank = max(1, rows // batch_size) * batch_size, 0 if division is None else division.rank
    for buffer, places in _buffers(source, blocks, dtype, batch_size, seed, division):
        yield from _pieces(buffer, places, count, dtype, rank, ordered=seed is None)


def _pieces(
    buffer: Buffer, places: numpy.ndarray, count: int, dtype: Any, rank: int, *, ordered: bool
) -> Iterator[Piece]:
    """Yield the rows at these places of a buffer, so many at a time."""
    count = min(count, len(places))
    kept = numpy.empty((count, buffer.X.shape[1]), buffer.X.dtype)
    converted = kept if kept.dtype == dtype else numpy.empty(kept.shape, dtype)
    for start in range(0, len(places), count):
        some = places[start : start + count]
        slots = buffer.slots_of(some, rank)
        X = kept[: len(slots)]
        if ordered and len(slots):
            X = buffer.X[slots[0] : slots[0] + len(slots)]
        else:
            numpy.take(buffer.X, slots, axis=0, out=X, mode="clip")  # the other modes copy once more
        if X.dtype != dtype:
            numpy.copyto(converted[: len(slots)], X, casting="unsafe")
            X = converted[: len(slots)]
        yield Piece(X, buffer.rows[slots], buffer.owner[some])


def _buffers(
    source: Source, blocks: Any, dtype: Any, batch_size: int, seed: int | None, division: Division | None
) -> Iterator[tuple[Buffer, numpy.ndarray]]:
    """Yield buffers, and at which places in each lie the rows of whole batches; the others go before the next buffer.

    Two buffers take turns: one is used while the other is filled.
    """
    shuffle = None if seed is None else numpy.random.default_rng(seed)
    reader, left, rank = Reader(source, blocks, division), 0, 0 if division is None else division.rank
    count_all = len(source) if division is None else int(division.rows.sum())
    rows = min(max(source.buffer_rows(dtype) // 2, batch_size), count_all)
    here, ahead = (Buffer.empty(batch_size + rows, source, kept_dtype(source, dtype)) for _ in range(2))
    with ThreadPoolExecutor(1, "xpnet-read") as thread:
        try:
            reading = thread.submit(reader.fill, ahead, batch_size)
            while count := reading.result():
                here, ahead = ahead, here
                reading = thread.submit(reader.fill, ahead, batch_size)
                places = numpy.arange(batch_size - left, batch_size + count)
                if shuffle is not None:
                    shuffle.shuffle(places)
                whole = len(places) // batch_size * batch_size
                if whole:
                    yield here, places[:whole]
                left = len(places) - whole
                ahead.put_before(batch_size, here, places[whole:], rank)
        finally:
            reader.stopped = True
    if left:
        yield ahead, numpy.arange(batch_size - left, batch_size)
