"""Shuffled rows of a source: a buffer is used while a thread reads the next one.

A row is moved three times: from its block into a buffer, from there to its place in the new order,
and into the dtype that is trained in. Numbers that are narrower than that dtype stay so in the
buffer, and the last two steps are made for as few rows as stay in a core's cache.
"""

from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import NamedTuple

import numpy

from xpnet.data.sources import Source

PIECE_BYTES = 2**21
"""Bytes of rows that are yielded at a time, so that they stay in a core's cache while in use."""


class Division(NamedTuple):
    """The process that reads each block of a pass. All processes know the order of all rows.

    rank : of this process; owner : (blocks,) int, the rank that reads each block
    rows : (blocks,) int, the number of rows of each block
    """

    rank: int
    owner: numpy.ndarray
    rows: numpy.ndarray

    def owners_of_rows(self, room: int) -> Iterator[numpy.ndarray]:
        """Yield the rank that has each row, for ``room`` rows of the pass at a time."""
        ends = self.rows.cumsum()
        starts = ends - self.rows
        for first in range(0, self.rows.sum(), room):
            end = first + room
            yield numpy.repeat(self.owner, ends.clip(first, end) - starts.clip(first, end))


class Piece(NamedTuple):
    """Rows of a source in some order. Those of other processes count in it, and are not in X.

    X : (own, in), those of this process; rows : (own,) int64, their numbers in the source
    owner : (rows,), the rank that has each row
    """

    X: numpy.ndarray
    rows: numpy.ndarray
    owner: numpy.ndarray


def _parts(source: Source, blocks: numpy.ndarray) -> Iterator[tuple[int, numpy.ndarray]]:
    """Yield the rows of the blocks, some at a time, with the number of the first."""
    for block in blocks:
        first = int(source.starts[block])
        for X in source.parts(int(block)):
            yield first, X
            first += len(X)


def _filled(
    source: Source,
    blocks: numpy.ndarray,
    owners: Iterable[numpy.ndarray],
    rank: int,
    room: int,
    dtype: str | numpy.dtype,
    stop: Event,
) -> Iterator[Piece]:
    """Yield the rows of this rank's blocks in two buffers: one is filled while the other is used.

    owners : for each time that a buffer is filled, the rank that has each row
    room : the maximum rows of this rank in a buffer
    stop : is set when no more rows are wanted

    Raises ValueError where a value is not finite.
    """
    buffers = [
        (numpy.empty((room, source.shape[1]), dtype), numpy.empty(room, numpy.int64))
        for _ in range(2)
    ]
    parts = _parts(source, blocks)
    X = numpy.empty(0)  # rows that were read, and are in no buffer yet
    first = 0  # the number of the first of them
    for owner in owners:
        buffer, numbers = buffers[0]
        count = int((owner == rank).sum())
        filled = 0
        while filled < count:
            while not len(X):
                if stop.is_set():
                    return
                first, X = next(parts)
            copied = min(count - filled, len(X))
            copy_finite(X[:copied], buffer[filled : filled + copied], first)
            numbers[filled : filled + copied] = numpy.arange(first, first + copied)
            first += copied
            filled += copied
            X = X[copied:]
        yield Piece(buffer[:count], numbers[:count], owner)
        buffers.reverse()


def read_rows(source: Source, blocks: numpy.ndarray, dtype: str | numpy.dtype) -> Piece:
    """Return all rows of some blocks."""
    owner = numpy.zeros(int(numpy.diff(source.starts)[blocks].sum()), numpy.int64)
    return next(_filled(source, blocks, [owner], 0, len(owner), dtype, Event()))


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
            f"Input X contains NaN, infinity or a value too large for {out.dtype}, the first in "
            f"row {first + int(finite.argmin())}."
        )


def kept_dtype(source: Source, dtype: str | numpy.dtype) -> numpy.dtype:
    """Return a buffer's dtype: that of training, unless whole numbers have a narrower one."""
    narrow = source.dtype.kind in "biu" and source.dtype.itemsize < numpy.dtype(dtype).itemsize
    return source.dtype if narrow else numpy.dtype(dtype)


def rows_of(
    source: Source,
    blocks: numpy.ndarray,
    dtype: str | numpy.dtype,
    *,
    batch_size: int,
    seed: int | None = None,
    piece_bytes: int = PIECE_BYTES,
    division: Division | None = None,
) -> Generator[Piece, None, None]:
    """Yield all rows of the blocks in the dtype, some whole batches at a time.

    The last batch may have fewer rows.

    Two buffers take turns: one is used while the other is filled.

    seed : of the orders within the buffers; None for rows in the source's order
    piece_bytes : bytes of the rows that are yielded at a time, which are at least one batch
    division : of the blocks among processes, each of which gets its own rows of every piece
    """
    if division is None:
        owner = numpy.zeros(len(blocks), numpy.int64)
        division = Division(0, owner, numpy.diff(source.starts)[blocks])
    rank = division.rank
    rng = None if seed is None else numpy.random.default_rng(seed)
    row_bytes = source.shape[1] * numpy.dtype(dtype).itemsize
    piece_rows = max(1, piece_bytes // row_bytes // batch_size) * batch_size
    room = piece_rows  # rows that are not shuffled need no larger buffer
    if rng is not None:
        room = max(1, source.buffer_rows(dtype) // 2 // batch_size) * batch_size
    room = min(room, max(1, int(division.rows.sum())))
    stop = Event()
    filling = _filled(
        source,
        blocks[division.owner == rank],
        division.owners_of_rows(room),
        rank,
        room,
        kept_dtype(source, dtype),
        stop,
    )
    with ThreadPoolExecutor(1, "xpnet-read") as thread:
        try:
            reading = thread.submit(next, filling, None)
            while (filled := reading.result()) is not None:
                reading = thread.submit(next, filling, None)
                yield from _pieces(filled, rank, piece_rows, dtype, rng)
        finally:
            stop.set()


def _pieces(
    filled: Piece,
    rank: int,
    rows: int,
    dtype: str | numpy.dtype,
    rng: numpy.random.Generator | None,
) -> Iterator[Piece]:
    """Yield the rows of a filled buffer in the dtype, ``rows`` at a time.

    rank : the process whose rows are in the buffer
    rng : shuffles the rows; None for rows in the source's order
    """
    positions = numpy.cumsum(filled.owner == rank) - 1  # of this rank's rows in the buffer
    order = numpy.arange(len(filled.owner))
    if rng is not None:
        rng.shuffle(order)
    for start in range(0, len(order), rows):
        part = order[start : start + rows]
        own = positions[part[filled.owner[part] == rank]]
        X = filled.X[own].astype(dtype, copy=False)
        yield Piece(X, filled.rows[own], filled.owner[part])
