"""The arrays of a call, as compiled code reads them."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy


@dataclass(slots=True)
class Data:
    """X, Y, and what goes with them; all are kept alive while compiled code runs.

    x_row : items from one row of x to the next
    y, label_width : (all rows,) class indices, and 1; or (all rows, outputs), and their number
    order : the rows that are used, in their order; None for all, as they lie; rows : how many these are
    weights : in the order of the rows; sums : of each batch's weights
    shares : by how much each batch's mean loss counts
    """

    x: Any
    x_row: int
    y: Any
    label_width: int
    order: Any
    weights: Any
    rows: int
    sums: Any = None
    shares: Any = None


@lru_cache(maxsize=8)
def batch_sizes(rows: int, batch_size: int) -> Any:
    """The rows of each batch, as float64 (batches,)."""
    sizes = numpy.full(-(-rows // batch_size), batch_size, "float64")
    sizes[-1] = rows - batch_size * (sizes.size - 1)
    return sizes


def weight_sums(weights: Any, batch_size: int) -> Any:
    """The sum of the sample weights of each batch, as float64 (batches,)."""
    return numpy.add.reduceat(weights, range(0, weights.size, batch_size), dtype="float64")
