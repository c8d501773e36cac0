"""How the rows of a batch are divided among ranks."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy

from xpnet.backend import BatchPart
from xpnet.dispatch import Ranks


class Share(NamedTuple):
    """What one rank computes of a batch.

    rows : (n,) int64, indices into the rows that this rank has, or a slice of them
    part : what these are of the batch
    """

    rows: Any
    part: BatchPart


class Rows(NamedTuple):
    """The rows that a rank has, among those of all ranks.

    first : how many there are before them; own : how many they are; total : how many all ranks have
    """

    first: int
    own: int
    total: int


def rows_of(ranks: Ranks, count: int) -> Rows:
    """Where ``count`` rows of this rank lie. Where all ranks have the same rows, each has all of them."""
    counts = ranks.each(count)
    return Rows(sum(counts[: ranks.rank]), count, sum(counts)) if ranks.own_data else Rows(0, count, count)


def divide(ranks: Ranks, rows: Rows, batch_size: int, order: Any, weights: Any) -> Iterator[Share]:
    """This rank's share of one batch after the other.

    order : (n,) int64, indices into the rows of all ranks; None for all, as they lie
    weights : (rows.own,) NumPy's, the sample weights of this rank's rows, or None
    """
    if not ranks.own_data:
        return _divide_evenly(ranks, rows.own if order is None else len(order), batch_size, order, weights)
    if order is None and ranks.owners is None:
        return _divide_in_place(ranks, rows, batch_size, weights)
    return _divide_by_owner(ranks, rows, batch_size, numpy.arange(rows.total) if order is None else order, weights)


def _divide_evenly(ranks: Ranks, count: int, batch_size: int, order: Any, weights: Any) -> Iterator[Share]:
    """Every rank has all rows: each batch is cut into as many pieces as there are ranks."""
    assert ranks.group is not None
    rank, size = ranks.rank, ranks.group.size
    sums = None
    if weights is not None:
        sums = _sums(numpy.arange(count) // batch_size, weights if order is None else weights[order])
    for k, start in enumerate(range(0, count, batch_size)):
        n = min(batch_size, count - start)
        begin, end = start + n * rank // size, start + n * (rank + 1) // size
        total = n if sums is None else float(sums[k])
        yield Share(
            slice(begin, end) if order is None else order[begin:end],
            BatchPart(total, first_row=begin - start, penalized=rank == 0),
        )


def _divide_in_place(ranks: Ranks, rows: Rows, batch_size: int, weights: Any) -> Iterator[Share]:
    """Every rank has its own rows, and batches run through them as they lie, from the first rank to the last."""
    sums = _common_sums(ranks, rows.total, batch_size, (rows.first + numpy.arange(rows.own)) // batch_size, weights)
    for k, start in enumerate(range(0, rows.total, batch_size)):
        stop = min(start + batch_size, rows.total)
        begin, end = (min(max(edge, start), stop) for edge in (rows.first, rows.first + rows.own))
        yield Share(
            slice(begin - rows.first, end - rows.first),
            BatchPart(float(sums[k]), first_row=begin - start, penalized=ranks.rank == 0),
        )


def _divide_by_owner(ranks: Ranks, rows: Rows, batch_size: int, order: Any, weights: Any) -> Iterator[Share]:
    """Every rank has its own rows, and takes those of each batch that it has."""
    if ranks.owners is None:
        lower, mine = order < rows.first, (order >= rows.first) & (order < rows.first + rows.own)
        places = numpy.flatnonzero(mine)
        own = order[places] - rows.first
    else:
        owner = ranks.owners.rank[order]
        lower, places = owner < ranks.rank, numpy.flatnonzero(owner == ranks.rank)
        own = ranks.owners.index[order[places]]
    sums = _common_sums(ranks, len(order), batch_size, places // batch_size, None if weights is None else weights[own])
    edges = numpy.searchsorted(places, numpy.arange(0, len(order) + batch_size, batch_size))
    before = _sums(numpy.arange(len(order)) // batch_size, lower.astype("float64"))
    for k, total in enumerate(sums):
        mine = slice(edges[k], edges[k + 1])
        in_batch = places[mine] - k * batch_size
        part = BatchPart(float(total), first_row=int(before[k]), penalized=ranks.rank == 0, places=in_batch)
        yield Share(own[mine], part)


def _common_sums(ranks: Ranks, count: int, batch_size: int, batch: Any, weights: Any) -> Any:
    """The weight of each batch over all ranks: (batches,) float64. batch : which one each row of this rank is in"""
    batches = -(-count // batch_size)
    if weights is None:
        return numpy.minimum(batch_size, count - batch_size * numpy.arange(batches)).astype("float64")
    assert ranks.group is not None
    return ranks.group.sum(_sums(batch, weights, batches))


def _sums(batch: Any, weights: Any, batches: int = 0) -> Any:
    """The sum of the weights of the rows of each batch."""
    # No rows at all are counted as whole numbers, weights or not.
    return numpy.bincount(batch, weights=weights, minlength=batches).astype("float64", copy=False)
