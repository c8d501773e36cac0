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

    rank : of this process; owner : (blocks,) int, the rank that reads each block; rows : (blocks,)
        int, of each
    """

    rank: int
    owner: numpy.ndarray
    rows: numpy.ndarray


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

    owners : for each time that a buffer is filled, the rank that has each row; room : the most rows
        that this one has
    stop : is set when no more rows are wanted

    Raises ValueError where a value is not finite.
    """
    buffers = [
        (numpy.empty((room, source.shape[1]), dtype), numpy.empty(room, numpy.int64)) for _ in "12"
    ]
    parts, first, X = _parts(source, blocks), 0, numpy.empty(0)
    for owner in owners:
        (filled, rows), place, count = buffers[0], 0, int((owner == rank).sum())
        while place < count:
            while not len(X):
                if stop.is_set():
                    return
                first, X = next(parts)
            copied = min(count - place, len(X))
            copy_finite(X[:copied], filled[place : place + copied], first)
            rows[place : place + copied] = numpy.arange(first, first + copied)
            first += copied
            place += copied
            X = X[copied:]
        yield Piece(filled[:count], rows[:count], owner)
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

    seed : of the orders within the buffers; None for rows as they lie
    piece_bytes : of what is handed out at a time, one batch at least
    division : of the blocks among processes, of which each is given its own rows of every piece
    """
    if division is None:
        division = Division(
            0, numpy.zeros(len(blocks), numpy.int64), numpy.diff(source.starts)[blocks]
        )
    rank, owner, rows = division
    shuffle = None if seed is None else numpy.random.default_rng(seed)
    piece = (
        max(1, piece_bytes // (source.shape[1] * numpy.dtype(dtype).itemsize) // batch_size)
        * batch_size
    )
    # Rows as they lie are not mixed, and need no room for more of them than are handed out.
    room = (
        piece
        if shuffle is None
        else max(1, source.buffer_rows(dtype) // 2 // batch_size) * batch_size
    )
    room, ends, stop = min(room, max(1, rows.sum())), rows.cumsum(), Event()
    owners = (
        numpy.repeat(
            owner, ends.clip(start, start + room) - (ends - rows).clip(start, start + room)
        )
        for start in range(0, rows.sum(), room)
    )
    filling = _filled(
        source, blocks[owner == rank], owners, rank, room, kept_dtype(source, dtype), stop
    )
    with ThreadPoolExecutor(1, "xpnet-read") as thread:
        try:
            reading = thread.submit(next, filling, None)
            while (filled := reading.result()) is not None:
                reading = thread.submit(next, filling, None)
                slots = numpy.cumsum(filled.owner == rank) - 1
                order = numpy.arange(len(filled.owner))
                if shuffle is not None:
                    shuffle.shuffle(order)
                for start in range(0, len(order), piece):
                    part = order[start : start + piece]
                    own = slots[part[filled.owner[part] == rank]]
                    X = filled.X[own].astype(dtype, copy=False)
                    yield Piece(X, filled.rows[own], filled.owner[part])
        finally:
            stop.set()
