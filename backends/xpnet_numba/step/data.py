"""The arrays of a call, as compiled code reads them."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy


class Compressed(NamedTuple):
    """A matrix of compressed rows (CSR), its arrays as SciPy names them; both kinds of places have one dtype."""

    data: Any
    indices: Any
    indptr: Any
    shape: tuple[int, int]


@dataclass(slots=True)
class Data:
    """X, Y, and what goes with them; all are kept alive while compiled code runs.

    x_row : items from one row of x to the next
    sparse : X in compressed rows, of which x holds the numbers; None where X is dense
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
    sparse: Compressed | None = None
    sums: Any = None
    shares: Any = None


def is_sparse(X: Any) -> bool:
    """Whether X is a SciPy matrix of compressed rows; other kinds never come here."""
    return hasattr(X, "indptr")


def by_rows(X: Any, dtype: str) -> tuple[Any, int, Compressed | None]:
    """A matrix whose rows compiled code can read, a copy if it must be, and the items from one row to the next; of a
    sparse one the numbers, 0, and all of it.
    """
    if type(X) is not numpy.ndarray and is_sparse(X):
        compressed = _compressed(X, dtype)
        return compressed.data, 0, compressed
    found, (step, item), columns = X.dtype, X.strides, X.shape[1]
    if found == dtype and item == found.itemsize and X.flags.aligned:
        if step % item == 0 and step >= item * columns and X.shape[0] > 1:
            return X, step // item, None
        if X.shape[0] == 1 and X.flags.c_contiguous:
            return X, columns, None
    return numpy.ascontiguousarray(X, dtype), columns, None


def _compressed(X: Any, dtype: str) -> Compressed:
    """A sparse matrix as compiled code reads it: a copy only where its arrays are not of the right kind."""
    X = X.tocsr().astype(dtype, copy=False)
    wide = numpy.int64 if numpy.int64 in (X.indices.dtype, X.indptr.dtype) else numpy.int32
    indices, starts = (numpy.ascontiguousarray(places, wide) for places in (X.indices, X.indptr))
    return Compressed(numpy.ascontiguousarray(X.data, dtype), indices, starts, X.shape)


@lru_cache(maxsize=2)
def as_they_lie(rows: int) -> Any:
    """The order of rows that are not shuffled, (rows,) int64."""
    return numpy.arange(rows)


@lru_cache(maxsize=8)
def batch_sizes(rows: int, batch_size: int) -> Any:
    """The rows of each batch, as float64 (batches,)."""
    sizes = numpy.full(-(-rows // batch_size), batch_size, "float64")
    sizes[-1] = rows - batch_size * (sizes.size - 1)
    return sizes


def weight_sums(weights: Any, batch_size: int) -> Any:
    """The sum of the sample weights of each batch, as float64 (batches,)."""
    return numpy.add.reduceat(weights, range(0, weights.size, batch_size), dtype="float64")
