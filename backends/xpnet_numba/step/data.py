"""The arrays of a call, as compiled code reads them."""

from functools import lru_cache
from typing import Any

import numpy


class Data:
    """X, Y, and what goes with them; all are kept alive while compiled code runs.

    order : the rows that are used, in their order; None for all, as they lie
    weights : in the order of the rows; sums : of each batch's weights
    """

    def __init__(self, x: Any, x_row: int, y: Any, order: Any, weights: Any) -> None:
        self.x, self.x_row, self.y, self.order, self.weights = x, x_row, y, order, weights
        self.sums: Any = None
        self.rows: int = x.shape[0] if order is None else order.size
        self.indexed: bool = y.ndim == 1
        self.label_width: int = 1 if self.indexed else y.shape[1]


def weight_sums(data: Data, batch_size: int) -> Any:
    """The sum of the sample weights of each batch, as float64 (batches,)."""
    if data.weights is None:
        return _batch_sizes(data.rows, batch_size)
    return numpy.add.reduceat(data.weights, range(0, data.rows, batch_size), dtype="float64")


@lru_cache(maxsize=8)
def _batch_sizes(rows: int, batch_size: int) -> Any:
    """The rows of each batch, as float64 (batches,)."""
    sizes = numpy.full(-(-rows // batch_size), batch_size, "float64")
    sizes[-1] = rows - batch_size * (sizes.size - 1)
    return sizes
