"""The arrays of a call, in the form that compiled code reads: data, labels, order of the rows,
weights.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy

from xpnet.backend import NetworkSpec
from xpnet.ops import Array, Labels
from xpnet_numba.step import functions
from xpnet_numba.step.job import Job, set_pointers


@dataclass(slots=True)
class CallData:
    """X, Y and the arrays that belong to them, which are kept alive while compiled code runs.

    x_row : items from one row of x to the next
    sparsity : for an X of compressed rows, whose numbers are in x: the position at which each row
        begins, and the column of each number, both of one dtype; None if X is dense
    y, label_width : (all rows,) class indices, and 1; or (all rows, outputs), and the number of
        outputs; with offsets behind the labels twice that number
    order : the rows that are used, in order, or (members, rows) in the order of each member; None
        for all rows in the order of X
    rows : number of rows that are used
    weights : in the order of the rows; sums : of each batch's weights
    shares : weight of each batch's mean loss
    rows_of_batch : position of each row in a larger batch, if the rows are not consecutive
    may_repeat : whether the next call may have the same arrays
    """

    x: numpy.ndarray
    x_row: int
    y: numpy.ndarray
    label_width: int
    order: numpy.ndarray | None
    weights: numpy.ndarray | None
    rows: int
    sparsity: tuple[numpy.ndarray, numpy.ndarray] | None = None
    sums: numpy.ndarray | None = None
    shares: Any = None
    rows_of_batch: numpy.ndarray | None = None
    may_repeat: bool = False


def read(
    spec: NetworkSpec,
    X: Array,
    Y: Labels,
    order: numpy.ndarray | None,
    sample_weight: Array | None,
) -> CallData:
    """Return the arrays of a call in the form that compiled code reads; copied only if needed."""
    dtype = spec.dtype
    if Y.ndim == 1 and spec.loss == "ordered_cross_entropy":
        Y = Y[:, None] == numpy.arange(spec.widths[-1])  # its loop takes one-hot rows
    x, x_row, sparsity = readable_rows(X, dtype)
    if sparsity is not None and order is None:
        order = natural_order(X.shape[0])
    if order is not None:
        order = numpy.ascontiguousarray(order, numpy.int64)
    if sample_weight is not None:
        sample_weight = numpy.ascontiguousarray(
            sample_weight if order is None else sample_weight[order], dtype
        )
    y = numpy.ascontiguousarray(Y, numpy.int64 if Y.ndim == 1 else dtype)
    width = 1 if y.ndim == 1 else y.shape[1]
    rows = X.shape[0] if order is None else order.shape[-1]
    return CallData(x, x_row, y, width, order, sample_weight, rows, sparsity)


def set_data(job: Job, data: CallData, spec: NetworkSpec) -> None:
    """Set the fields of a job that follow from its data."""
    dtype = spec.dtype
    loss = str(spec.loss)
    indexed = data.y.ndim == 1
    if loss == "softmax_cross_entropy":
        loss += "_indices" if indexed else "_rows"
    if data.label_width == 2 * spec.widths[-1]:
        loss += "_with_offsets"
    job.loss_at = functions.address(loss, dtype)
    job.indexed = indexed
    job.label_width = data.label_width
    job.x_rows = data.x.shape[0]
    job.x_row = data.x_row
    job.rows = data.rows
    job.order_step = data.rows if data.order is not None and data.order.ndim == 2 else 0
    if data.order is not None:
        job.gather_at = functions.address("gather", dtype)
        job.gather_labels_at = functions.address("gather_labels", dtype)
    arrays = {
        "x_at": data.x,
        "y_at": data.y,
        "order_at": data.order,
        "weights_at": data.weights,
        "starts_at": None,
    }
    if data.sparsity is not None:
        arrays["starts_at"], arrays["columns_at"] = starts, columns = data.sparsity
        job.x_rows = starts.size - 1
        job.filled = data.x.size
        for role in ("sparse_times", "sparse_gradient") if spec.members == 1 else ("densify",):
            setattr(job, f"{role}_at", functions.address(f"{role}_{columns.dtype}", dtype))
    arrays |= {
        "batch_weights_at": data.sums,
        "shares_at": data.shares,
        "positions_at": data.rows_of_batch,
    }
    set_pointers(job, arrays)


def readable_rows(
    X: Any, dtype: str
) -> tuple[numpy.ndarray, int, tuple[numpy.ndarray, numpy.ndarray] | None]:
    """Return a matrix whose rows compiled code can read, copied only if needed, and the items from
    one row to the next. For a sparse matrix return its numbers, 0, and its ``sparsity``: see
    :class:`CallData`.
    """
    if hasattr(X, "indptr"):  # a SciPy matrix of compressed rows; other kinds are not passed here
        X = X.tocsr().astype(dtype, copy=False)
        wide = numpy.int64 if numpy.int64 in (X.indices.dtype, X.indptr.dtype) else numpy.int32
        starts, columns = (
            numpy.ascontiguousarray(indices, wide) for indices in (X.indptr, X.indices)
        )
        return numpy.ascontiguousarray(X.data, dtype), 0, (starts, columns)
    step, item = X.strides
    width = X.shape[1]
    one_by_one = X.dtype == dtype and item == X.itemsize and X.flags.aligned
    if one_by_one and step % item == 0 and step >= item * width:
        return X, step // item, None
    return numpy.ascontiguousarray(X, dtype), width, None


@lru_cache(maxsize=2)
def natural_order(rows: int) -> numpy.ndarray:
    """The order of rows that are not shuffled, (rows,) int64."""
    return numpy.arange(rows)


@lru_cache(maxsize=8)
def batch_sizes(rows: int, batch_size: int) -> numpy.ndarray:
    """Return the rows of each batch, as float64 (batches,)."""
    sizes = numpy.full(-(-rows // batch_size), batch_size, "float64")
    sizes[-1] = rows - batch_size * (sizes.size - 1)
    return sizes


def batch_weights(data: CallData, batch_size: int) -> numpy.ndarray:
    """Return the sum of the sample weights of each batch, or its number of rows, as float64
    (batches,); the mean over members if these have their own orders.
    """
    if (weights := data.weights) is None:
        return batch_sizes(data.rows, batch_size)
    weights = weights if weights.ndim == 1 else weights.mean(axis=0, dtype="float64")
    return numpy.add.reduceat(weights, range(0, weights.size, batch_size), dtype="float64")
