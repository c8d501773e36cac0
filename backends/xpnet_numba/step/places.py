"""Where things lie, for compiled code: parts of the job's buffers as arrays, and the products of such arrays."""

from typing import NamedTuple

from numba import carray, types

from xpnet_numba.kinds import Address, Indices, Matrix, Numbers, Table, Vector
from xpnet_numba.llvm import INNER, call, njit, pointer, shift
from xpnet_numba.loops.products import ACCUMULATE, FAR, SCRATCH, TRANSPOSE_A, TRANSPOSE_B
from xpnet_numba.step.job import LAYER_TYPE, LINE, SLICE_TYPE, Job, Layer, Slice


class Rows(NamedTuple):
    """Rows that are worked on together: the first, counted in the order of all rows, how many, and their place in
    buffers.
    """

    first: int
    number: int
    place: int


class Masks(NamedTuple):
    """For which rows of the whole batch masks are drawn, from the first on, and how many updates have been made.

    Without dropout, as in a prediction, the first is -1.
    """

    first_row: int
    t: int


@njit(**INNER)
def matrix(job: Job, buffer_at: Address, offset: int, rows: int, columns: int) -> Matrix:
    """The part of a buffer from item ``offset`` on as a matrix (rows, columns)."""
    return carray(shift(pointer(buffer_at, job.one), offset), (rows, columns))


@njit(**INNER)
def vector(job: Job, buffer_at: Address, offset: int, size: int) -> Vector:
    """The part of a buffer from item ``offset`` on as a vector (size,)."""
    return carray(shift(pointer(buffer_at, job.one), offset), size)


@njit(**INNER)
def numbers(buffer_at: Address, offset: int, size: int) -> Numbers:
    """The part of a buffer from item ``offset`` on as float64s (size,)."""
    return carray(shift(pointer(buffer_at, types.float64), offset), size)


@njit(**INNER)
def integers(buffer_at: Address, offset: int, size: int) -> Indices:
    """The part of a buffer from item ``offset`` on as int64s (size,)."""
    return carray(shift(pointer(buffer_at, types.int64), offset), size)


@njit(**INNER)
def layers_of(job: Job) -> Table[Layer]:
    """The table of layers."""
    return carray(pointer(job.layers_at, LAYER_TYPE), job.layers)


@njit(**INNER)
def slices_of(job: Job) -> Table[Slice]:
    """The table of slices."""
    return carray(pointer(job.slices_at, SLICE_TYPE), job.slices)


@njit(**INNER)
def weight_of(job: Job, layer: Layer) -> Matrix:
    """A layer's weight (fan_in, fan_out)."""
    return matrix(job, job.params_at, layer.weight, layer.fan_in, layer.fan_out)


@njit(**INNER)
def outputs_of(job: Job, layer: Layer, rows: Rows) -> Matrix:
    """The outputs of a hidden layer's activation for some rows (rows, fan_out)."""
    offset = job.room_rows * layer.column + rows.place * layer.fan_out
    return matrix(job, job.hidden_at, offset, rows.number, layer.fan_out)


@njit(**INNER)
def inputs_of(job: Job, layer: Layer, rows: Rows) -> Matrix:
    """The inputs of a layer after the first, for some rows (rows, fan_in): outputs of the one before, after dropout."""
    offset = job.room_rows * layer.input_column + rows.place * layer.fan_in
    return matrix(job, job.dropped_at if layer.input_rate else job.hidden_at, offset, rows.number, layer.fan_in)


@njit(**INNER)
def drop(job: Job, layer: Layer, x: Matrix, out: Matrix, masks: Masks) -> None:
    """Dropout of a layer's outputs, or of the gradients by them. x, out : (rows, fan_out), which may be the same."""
    seed = integers(job.seed_at, 0, 2)
    if job.places_at:
        places = integers(job.places_at, masks.first_row, x.shape[0])
        for row in range(x.shape[0]):
            first = places[row] * layer.fan_out
            call(job.drop_at, (x[row], out[row], first, layer.rate, seed, layer.number, masks.t))
    else:
        run, first = x.reshape(x.size), masks.first_row * layer.fan_out
        call(job.drop_at, (run, out.reshape(out.size), first, layer.rate, seed, layer.number, masks.t))


@njit(**INNER)
def deltas_of(job: Job, layer: Layer, rows: Rows) -> Matrix:
    """dL/dz of a layer for some rows (rows, fan_out)."""
    offset = job.room_rows * layer.column + rows.place * layer.fan_out
    return matrix(job, job.deltas_at, offset, rows.number, layer.fan_out)


@njit(**INNER)
def gather_x(job: Job, rows: Rows, me: int) -> Matrix:
    """Rows of X: gathered by the order, or as they lie; what comes back is at least as wide as X."""
    if not job.ordered:
        return matrix(job, job.x_at, rows.first * job.x_row, rows.number, job.x_row)
    x = matrix(job, job.x_at, 0, job.x_rows, job.x_row)
    out = matrix(job, job.batch_x_at, rows.place * job.inputs, rows.number, job.inputs)
    call(job.gather_at, (integers(job.order_at, rows.first, rows.number), out, x, result_of(job, me)))
    return out


@njit(**INNER)
def sparse_times(job: Job, rows: Rows, weight: Matrix, z: Matrix) -> None:
    """z = X W for some rows of a sparse X. weight : (inputs, out); z : (rows, out)."""
    order, x = integers(job.order_at, rows.first, rows.number), vector(job, job.x_at, 0, job.filled)
    call(job.sparse_times_at, (order, x, job.columns_at, job.starts_at, job.x_rows, weight, z))


@njit(**INNER)
def sparse_gradient(job: Job, rows: Rows, first: int, deltas: Matrix, grad: Matrix, more: bool) -> None:
    """grad = X^T deltas for some rows of a sparse X and the features from ``first`` on, added to it where there is
    ``more``. deltas : (rows, out); grad : (features, out).
    """
    order, x = integers(job.order_at, rows.first, rows.number), vector(job, job.x_at, 0, job.filled)
    if not more:
        grad[:] = 0
    call(job.sparse_gradient_at, (order, x, job.columns_at, job.starts_at, job.x_rows, first, deltas, grad))


@njit(**INNER)
def gather_y(job: Job, rows: Rows, me: int) -> Matrix:
    """Rows of Y, which are not class indices."""
    if not job.ordered:
        return matrix(job, job.y_at, rows.first * job.label_width, rows.number, job.label_width)
    y = matrix(job, job.y_at, 0, job.x_rows, job.label_width)
    out = matrix(job, job.batch_y_at, rows.place * job.label_width, rows.number, job.label_width)
    call(job.gather_at, (integers(job.order_at, rows.first, rows.number), out, y, result_of(job, me)))
    return out


@njit(**INNER)
def gather_indices(job: Job, rows: Rows, me: int) -> Indices:
    """Class indices of rows."""
    if not job.ordered:
        return integers(job.y_at, rows.first, rows.number)
    y, out = integers(job.y_at, 0, job.x_rows), integers(job.batch_y_at, rows.place, rows.number)
    order = integers(job.order_at, rows.first, rows.number)
    call(job.gather_labels_at, (order, out.reshape(rows.number, 1), y.reshape(job.x_rows, 1), result_of(job, me)))
    return out


@njit(**INNER)
def result_of(job: Job, me: int) -> Numbers:
    """Where functions that a thread calls leave a number (1,)."""
    return numbers(job.results_at, me * (LINE // 8), 1)


@njit(**INNER)
def scratch_of(job: Job, me: int) -> Vector:
    """A thread's room for products."""
    return vector(job, job.scratch_at, me * SCRATCH, SCRATCH)


@njit(**INNER)
def times(job: Job, a: Matrix, b: Matrix, c: Matrix, far: int, me: int) -> None:
    """C = A B. a : (m, at least k); b : (k, n); c : (m, n); far : whether A is still in main memory."""
    call(job.multiply_at, (a, b, c, FAR if far else 0, scratch_of(job, me), job.gemm_at))


@njit(**INNER)
def times_transposed(job: Job, a: Matrix, b: Matrix, c: Matrix, me: int) -> None:
    """C = A B^T. a : (m, k); b : (n, k); c : (m, n)."""
    call(job.multiply_at, (a, b, c, TRANSPOSE_B, scratch_of(job, me), job.gemm_at))


@njit(**INNER)
def transposed_times(job: Job, a: Matrix, b: Matrix, c: Matrix, more: bool, me: int) -> None:
    """C = A[:, :m]^T B, added to C where there is ``more``. a : (k, at least m); b : (k, n); c : (m, n)."""
    flags = TRANSPOSE_A | ACCUMULATE if more else TRANSPOSE_A
    call(job.multiply_at, (a, b, c, flags, scratch_of(job, me), job.gemm_at))


@njit(**INNER)
def add_to_total(job: Job, piece: int, value: float) -> None:
    """Add to what a piece of work has contributed to the epoch's loss, each on a cache line of its own."""
    numbers(job.totals_at, piece * (LINE // 8), 1)[0] += value


@njit(**INNER)
def sum_totals(job: Job, first: int, end: int) -> float:
    """The sum of what pieces have contributed, in their order."""
    totals, total = numbers(job.totals_at, 0, end * (LINE // 8)), 0.0
    for piece in range(first, end):
        total += totals[piece * (LINE // 8)]
    return total
