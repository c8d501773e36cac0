"""The parts that one rank has of the batches of an epoch, as arrays that a recording reads.

A recording has a fixed number of rows. A rank that has its own rows has more of one batch and fewer of another, and of
a small batch it may have none. So all its parts are filled up to one size, with rows that are not there: -1 in the
order.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy

from xpnet.backend import BatchPart

FILLED = 16  # where parts differ from epoch to epoch, their rows are filled up to a multiple of this


class Batches(NamedTuple):
    """All parts of one rank, filled up to one size.

    order : (batches, rows) int32
    parts : (batches, 2) float64, the weight of each whole batch and how many of its rows stand before these
    places : (batches, rows) int32, where each row stands in its whole batch; None where they follow one another
    """

    order: numpy.ndarray
    parts: numpy.ndarray
    places: numpy.ndarray | None


def batches_of_ranks(shares: Sequence[tuple[Any, BatchPart]]) -> Batches:
    """Return what a recording reads of a rank's parts.

    shares : for each batch the rows of the rank's part, as indices or as a slice, and what they are of the batch
    """
    own = [numpy.arange(rows.start, rows.stop) if isinstance(rows, slice) else rows for rows, _ in shares]
    sizes = [len(rows) for rows in own]
    most = max(1, *sizes)
    if len(set(sizes[:-1])) > 1:  # the last batch may be smaller in any case
        most = -(-most // FILLED) * FILLED
    parts = numpy.array([(part.total_weight, part.first_row) for _, part in shares], dtype=numpy.float64)
    placed = all(part.places is not None for _, part in shares)
    places = _filled([part.places for _, part in shares], most, 0) if placed else None
    return Batches(_filled(own, most, -1), parts, places)


def _filled(rows: list[Any], size: int, value: int) -> numpy.ndarray:
    """Return one row of so many items for each array, filled up with a value: int32."""
    filled = numpy.full((len(rows), size), value, dtype=numpy.int32)
    for row, items in zip(filled, rows, strict=True):
        row[: len(items)] = items
    return filled
