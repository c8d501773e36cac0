"""The parts that one rank has of the batches of an epoch, as arrays that a recording reads.

A recording has a fixed number of rows. A rank that has its own rows has more of one batch and fewer of another, and of
a small batch it may have none. So all its parts are filled up to one size, with rows that are not there: -1 in the
order.
"""

from typing import Any

import numpy

from xpnet.backend import BatchPart

FILLED = 16  # where parts differ from epoch to epoch, their rows are filled up to a multiple of this


def batches_of_ranks(shares: list[tuple[Any, BatchPart]]) -> tuple[numpy.ndarray, numpy.ndarray]:
    """The order of the rows (batches, rows) int32, and of each batch its whole weight and the rows before (batches, 2).

    shares : for each batch the rows of the rank's part, as indices or as a slice, and what they are of the batch
    """
    own = [numpy.arange(rows.start, rows.stop) if isinstance(rows, slice) else rows for rows, _ in shares]
    sizes = [len(rows) for rows in own]
    most = max(1, *sizes)
    if len(set(sizes[:-1])) > 1:  # the last batch may be smaller in any case
        most = -(-most // FILLED) * FILLED
    order = numpy.full((len(own), most), -1, dtype=numpy.int32)
    for batch, rows in zip(order, own, strict=True):
        batch[: len(rows)] = rows
    return order, numpy.array([(part.total_weight, part.first_row) for _, part in shares], dtype=numpy.float64)
