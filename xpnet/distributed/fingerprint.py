"""A fingerprint of the rows of all ranks that does not depend on which rank has which row."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy

from xpnet.distributed.ranks import Ranks
from xpnet.typing import SparseMatrix

MULTIPLIER = numpy.uint64(0x9E3779B97F4A7C15)
"""2**64 divided by the golden ratio, which spreads sums over all bits."""

PIECE_BYTES = 2**24
"""Bytes of a column that are hashed in one call."""


def fingerprint_of_rows(columns: Sequence[Any], ranks: Ranks, *, ordered: bool = True) -> str:
    """Return a text that tells the rows of all ranks from other rows, however they are divided
    among ranks.

    It names the dtypes, the number of rows, and the sum of a hash of each row with its position.

    columns : NumPy arrays (rows, ...) of this rank, SciPy's CSR matrices, sources, or None
    ordered : whether the order of the rows counts
    """
    count = columns[0].shape[0]
    kinds = [
        "none" if column is None else f"{column.dtype.str} {column.shape[1:]}" for column in columns
    ]
    positions = ranks.positions(count) if ordered else numpy.zeros(count, "int64")
    hashes = numpy.zeros(count, "uint64")
    for column in [column for column in columns if column is not None]:
        start = 0
        for rows in _pieces_of(column):
            part = slice(start, start + rows.shape[0])
            of_rows = _hashes_of_sparse(rows) if hasattr(rows, "indptr") else _hashes(rows)
            hashes[part] = _mixed(hashes[part] * MULTIPLIER + of_rows)
            start = part.stop
    total = _mixed(hashes + _mixed(positions.astype("uint64") + MULTIPLIER)).sum(dtype="uint64")
    all_counts = ranks.allgather(count)
    all_totals = ranks.allgather(int(total))
    return f"{kinds} {sum(all_counts)} {sum(all_totals) % 2**64}"


def _pieces_of(column: Any) -> Iterator[Any]:
    """Yield the rows of an array, a sparse matrix, or a source, which are read."""
    if hasattr(column, "parts"):
        for block in range(column.blocks):
            yield from column.parts(block)
        return
    step = max(
        1,
        PIECE_BYTES
        // max(1, 8 * column.shape[1] if hasattr(column, "indptr") else column[:1].nbytes),
    )
    for start in range(0, column.shape[0], step):
        yield column[start : start + step]


def _hashes(rows: numpy.ndarray) -> numpy.ndarray:
    """Return a hash of each row: (rows,) uint64."""
    flat = numpy.ascontiguousarray(rows).reshape(len(rows), -1).view("uint8")
    words = numpy.zeros((len(rows), -(-flat.shape[1] // 8)), "uint64")
    words.view("uint8")[:, : flat.shape[1]] = flat
    return _mixed(words + _mixed(numpy.arange(words.shape[1], dtype="uint64"))).sum(
        axis=1, dtype="uint64"
    )


def _hashes_of_sparse(rows: SparseMatrix) -> numpy.ndarray:
    """Return a hash of each row of a CSR matrix, of what is stored and where: (rows,) uint64."""
    ends = numpy.zeros(rows.nnz + 1, "uint64")
    values = _mixed(_hashes(rows.data) + _mixed(rows.indices.astype("uint64")))
    numpy.cumsum(values, out=ends[1:])
    return ends[rows.indptr[1:]] - ends[rows.indptr[:-1]]


def _mixed(words: numpy.ndarray) -> numpy.ndarray:
    """Return the words with their bits mixed (the finalizer of MurmurHash3, A. Appleby): uint64."""
    words = (words ^ (words >> numpy.uint64(33))) * numpy.uint64(0xFF51AFD7ED558CCD)
    words = (words ^ (words >> numpy.uint64(33))) * numpy.uint64(0xC4CEB9FE1A85EC53)
    return words ^ (words >> numpy.uint64(33))
