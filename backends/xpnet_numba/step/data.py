"""The arrays of a call, as compiled code reads them."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cache, lru_cache
from operator import is_
from typing import Any, NamedTuple

import numpy

from xpnet.backend import NetworkSpec
from xpnet.ops import Array, Labels
from xpnet_numba.step import functions
from xpnet_numba.step.job import Job, set_pointers


class Compressed(NamedTuple):
    """A matrix of compressed rows (CSR), its arrays as SciPy names them; both kinds of places have one dtype."""

    data: Any
    indices: Any
    indptr: Any
    shape: tuple[int, int]


@dataclass(slots=True, weakref_slot=True)
class Data:
    """X, Y, and what goes with them; all are kept alive while compiled code runs.

    x_row : items from one row of x to the next
    sparse : X in compressed rows, of which x holds the numbers; None where X is dense
    y, label_width : (all rows,) class indices, and 1; or (all rows, outputs), and their number
    order : the rows that are used, in their order, or (members, rows) in each member's; None for all, as they lie
    rows : how many these are
    weights : in the order of the rows; sums : of each batch's weights
    shares : by how much each batch's mean loss counts
    places : where each row stands in a larger batch, if not one after the other
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
    places: Any = None


@dataclass
class Reader:
    """Brings what a step is called with into the form that compiled code reads; a copy only where that is another."""

    dtype: str
    _keeping: int = 0
    _last: tuple[tuple[Any, ...], Data | None] = ((), None)

    @contextmanager
    def keeping(self, blas: AbstractContextManager[None]) -> Iterator[None]:
        """Inside, arrays of one gradient or epoch after the other are read once. ``blas`` is entered, which may hold
        BLAS to one thread.
        """
        self._keeping += 1
        try:
            with blas:
                yield
        finally:
            self._keeping -= 1
            if not self._keeping:
                self._last = (), None

    def read_again(
        self, X: Array, Y: Labels, order: Any, sample_weight: Array | None, batch_size: int | None = None
    ) -> Data:
        """The arrays of a call that may be repeated: for those of the call before, the same object.

        batch_size : with which they are trained on; None for one batch of all rows
        """
        given = X, Y, order, sample_weight, batch_size
        before, data = self._last
        if data is None or not all(map(is_, given, before)):
            data = self.read(X, Y, order, sample_weight)
            if self._keeping:
                self._last = given, data
        return data

    def read(self, X: Array, Y: Labels, order: Any, sample_weight: Array | None) -> Data:
        """The arrays of a call."""
        dtype = self.dtype
        x, x_row, sparse = by_rows(X, dtype)
        if sparse is not None and order is None:
            order = natural_order(X.shape[0])
        if order is not None:
            order = numpy.ascontiguousarray(order, numpy.int64)
        if sample_weight is not None:
            sample_weight = numpy.ascontiguousarray(sample_weight if order is None else sample_weight[order], dtype)
        y = numpy.ascontiguousarray(Y, numpy.int64 if Y.ndim == 1 else dtype)
        width, rows = 1 if y.ndim == 1 else y.shape[1], x.shape[0] if order is None else order.shape[-1]
        return Data(x, x_row, y, width, order, sample_weight, rows, sparse)


def set_data(job: Job, data: Data, spec: NetworkSpec) -> None:
    """Set the fields of a job that follow from its data."""
    dtype, loss, indexed = spec.dtype, str(spec.loss), data.y.ndim == 1
    if loss == "softmax_cross_entropy":
        loss += "_indices" if indexed else "_rows"
    job.loss_at, job.indexed, job.label_width = functions.address(loss, dtype), indexed, data.label_width
    job.x_rows, job.x_row, job.rows = data.x.shape[0], data.x_row, data.rows
    job.ordered, job.weighted, job.starts_at = data.order is not None, data.weights is not None, 0
    job.order_step = data.rows if data.order is not None and data.order.ndim == 2 else 0
    arrays = {"x_at": data.x, "y_at": data.y, "loss_numbers_at": loss_numbers(spec)}
    if data.order is not None:
        arrays["order_at"] = data.order
        job.gather_at = functions.address("gather", dtype)
        job.gather_labels_at = functions.address("gather_labels", dtype)
    if (sparse := data.sparse) is not None:
        job.x_rows, job.filled = sparse.shape[0], data.x.size
        arrays |= {"starts_at": sparse.indptr, "columns_at": sparse.indices}
        for role in ("sparse_times", "sparse_gradient") if spec.members == 1 else ("densify",):
            setattr(job, f"{role}_at", functions.address(f"{role}_{sparse.indices.dtype}", dtype))
    if data.weights is not None:
        arrays["weights_at"] = data.weights
    if data.sums is not None:
        arrays["batch_weights_at"], arrays["shares_at"] = data.sums, data.shares
    set_pointers(job, arrays)


def loss_numbers(spec: NetworkSpec) -> Any:
    """The number that the loss takes for each output, (out,), kept alive for the jobs that read it."""
    return _array(spec.output_numbers or (0.0,) * spec.widths[-1], spec.dtype)


@cache
def _array(numbers: tuple[float, ...], dtype: str) -> Any:
    return numpy.array(numbers, dtype)


def is_sparse(X: Any) -> bool:
    """Return whether X is a SciPy matrix of compressed rows; other kinds never come here."""
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
def natural_order(rows: int) -> Any:
    """The order of rows that are not shuffled, (rows,) int64."""
    return numpy.arange(rows)


@lru_cache(maxsize=8)
def batch_sizes(rows: int, batch_size: int) -> Any:
    """Return the rows of each batch, as float64 (batches,)."""
    sizes = numpy.full(-(-rows // batch_size), batch_size, "float64")
    sizes[-1] = rows - batch_size * (sizes.size - 1)
    return sizes


def weight_sums(weights: Any, batch_size: int) -> Any:
    """The sum of the sample weights of each batch, as float64 (batches,); its mean over members with orders of their
    own.
    """
    weights = weights if weights.ndim == 1 else weights.mean(axis=0, dtype="float64")
    return numpy.add.reduceat(weights, range(0, weights.size, batch_size), dtype="float64")
