"""The arrays of a call, as compiled code reads them."""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy


@dataclass
class Data:
    """X, Y, and what goes with them; all are kept alive while compiled code runs."""

    x: Any
    x_row: int
    y: Any
    order: Any = None
    weights: Any = None  # in the order of the rows
    sums: Any = None  # of each batch's weights

    @cached_property
    def rows(self) -> int:
        """Rows that are used."""
        return self.x.shape[0] if self.order is None else self.order.size

    @cached_property
    def indexed(self) -> bool:
        """Whether Y are class indices."""
        return self.y.ndim == 1

    @cached_property
    def label_width(self) -> int:
        """Numbers of a row of Y."""
        return 1 if self.indexed else self.y.shape[1]


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
