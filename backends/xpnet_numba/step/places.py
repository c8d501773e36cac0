"""Where things lie, for compiled code: parts of the job's buffers as arrays, and the products of such arrays."""

from typing import Any, NamedTuple

import numpy
from numba import types

from xpnet_numba.kinds import Address, Indices, Numbers, Table, Vector
from xpnet_numba.llvm import GIVES_ARRAY, INNER, array, call, njit, pointer, shift
from xpnet_numba.llvm.emit import Context, Emit, Signature, Type, intrinsic
from xpnet_numba.llvm.memory import LINE, Block, block_of_buffer, part_of_buffer
from xpnet_numba.loops.products import ACCUMULATE, FAR, SCRATCH, TRANSPOSE_A, TRANSPOSE_B
from xpnet_numba.step.job import LAYER_TYPE, SLICE_TYPE, Job, Layer, Slice


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


FIRST: Any = numpy.int64(0)
FRESH: Any = numpy.bool_(False)
"""The first feature, and no ``more``, where these are known: for Python's 0 and False, whose types are their values, Numba
would compile a function once more.
"""


@intrinsic
def matrix(
    context: Context, job: Type, buffer_at: Type, offset: Type, rows: Type, columns: Type
) -> tuple[Signature, Emit]:
    """The part of a buffer from item ``offset`` on as a block (rows, columns)."""
    return block_of_buffer(job.typeof("one"), job)


@intrinsic
def vector(context: Context, job: Type, buffer_at: Type, offset: Type, size: Type) -> tuple[Signature, Emit]:
    """The part of a buffer from item ``offset`` on as a vector (size,)."""
    return part_of_buffer(types.Array(job.typeof("one"), 1, "C"), job)


@intrinsic
def numbers(context: Context, buffer_at: Type, offset: Type, size: Type) -> tuple[Signature, Emit]:
    """The part of a buffer from item ``offset`` on as float64s (size,)."""
    return part_of_buffer(types.float64[::1])


@intrinsic
def integers(context: Context, buffer_at: Type, offset: Type, size: Type) -> tuple[Signature, Emit]:
    """The part of a buffer from item ``offset`` on as int64s (size,)."""
    return part_of_buffer(types.int64[::1])


@njit(**GIVES_ARRAY)
def layers_of(job: Job) -> Table[Layer]:
    """The table of layers."""
    return array(pointer(job.layers_at, LAYER_TYPE), job.layers)


@njit(**GIVES_ARRAY)
def slices_of(job: Job) -> Table[Slice]:
    """The table of slices."""
    return array(pointer(job.slices_at, SLICE_TYPE), job.slices)


@njit(**INNER)
def weight_of(job: Job, layer: Layer) -> Block:
    """A layer's weight (fan_in, fan_out)."""
    return matrix(job, job.params_at, layer.weight, layer.fan_in, layer.fan_out)


@njit(**INNER)
def outputs_of(job: Job, layer: Layer, rows: Rows) -> Block:
    """The outputs of a hidden layer's activation for some rows (rows, fan_out)."""
    offset = job.room_rows * layer.column + rows.place * layer.fan_out
    return matrix(job, job.hidden_at, offset, rows.number, layer.fan_out)


@njit(**INNER)
def kept_of(job: Job, layer: Layer, rows: Rows) -> Block:
    """What the gradient of a hidden layer's activation is read from, for some rows (rows, fan_out)."""
    offset = job.room_rows * layer.column + rows.place * layer.fan_out
    buffer_at = job.kept_at if layer.keeps else job.hidden_at
    return matrix(job, buffer_at, offset, rows.number, layer.fan_out)


@njit(**INNER)
def inputs_of(job: Job, layer: Layer, rows: Rows) -> Block:
    """The inputs of a layer after the first, for some rows (rows, fan_in): outputs of the one before, after dropout."""
    offset = job.room_rows * layer.input_column + rows.place * layer.fan_in
    buffer_at = job.dropped_at if layer.input_rate else job.hidden_at
    return matrix(job, buffer_at, offset, rows.number, layer.fan_in)


@njit(**INNER)
def drop(job: Job, layer: Layer, number: int, x: Block, out: Block, masks: Masks) -> None:
    """Dropout of a layer's outputs, or of the gradients by them. x, out : (rows, fan_out), which may be the same.

    number : of the layer, by which its masks are drawn
    """
    seed = integers(job.seed_at, 0, 2)
    if job.places_at:
        places, size = integers(job.places_at, masks.first_row, x.rows), x.columns
        for row in range(x.rows):
            units, kept = array(shift(x.at, row * size), size), array(shift(out.at, row * size), size)
            call(job.drop_at, (units, kept, places[row] * size, layer.rate, seed, number, masks.t))
    else:
        size, first = x.rows * x.columns, masks.first_row * x.columns
        call(job.drop_at, (array(x.at, size), array(out.at, size), first, layer.rate, seed, number, masks.t))


@njit(**INNER)
def deltas_of(job: Job, layer: Layer, rows: Rows) -> Block:
    """dL/dz of a layer for some rows (rows, fan_out)."""
    offset = job.room_rows * layer.column + rows.place * layer.fan_out
    return matrix(job, job.deltas_at, offset, rows.number, layer.fan_out)


@njit(**INNER)
def gather_x(job: Job, rows: Rows, me: int) -> Block:
    """Rows of X: gathered by the order, or as they lie; what comes back is at least as wide as X."""
    if not job.ordered:
        return matrix(job, job.x_at, rows.first * job.x_row, rows.number, job.x_row)
    x = matrix(job, job.x_at, 0, job.x_rows, job.x_row)
    out = matrix(job, job.batch_x_at, rows.place * job.inputs, rows.number, job.inputs)
    call(job.gather_at, (integers(job.order_at, rows.first, rows.number), out, x, result_of(job, me)))
    return out


@njit(**INNER)
def sparse_times(job: Job, rows: Rows, weight: Block, z: Block) -> None:
    """z = X W for some rows of a sparse X. weight : (inputs, out); z : (rows, out)."""
    order, x = integers(job.order_at, rows.first, rows.number), vector(job, job.x_at, 0, job.filled)
    call(job.sparse_times_at, (order, x, job.columns_at, job.starts_at, job.x_rows, weight, z))


@njit(**INNER)
def sparse_gradient(job: Job, rows: Rows, first: int, deltas: Block, grad: Block, more: bool) -> None:
    """grad = X^T deltas for some rows of a sparse X and the features from ``first`` on, added to it where there is
    ``more``. deltas : (rows, out); grad : (features, out).
    """
    order, x = integers(job.order_at, rows.first, rows.number), vector(job, job.x_at, 0, job.filled)
    if not more:
        array(grad.at, grad.rows * grad.columns)[:] = 0
    call(job.sparse_gradient_at, (order, x, job.columns_at, job.starts_at, job.x_rows, first, deltas, grad))


@njit(**INNER)
def gather_y(job: Job, rows: Rows, me: int) -> Block:
    """Rows of Y, which are not class indices."""
    if not job.ordered:
        return matrix(job, job.y_at, rows.first * job.label_width, rows.number, job.label_width)
    y = matrix(job, job.y_at, 0, job.x_rows, job.label_width)
    out = matrix(job, job.batch_y_at, rows.place * job.label_width, rows.number, job.label_width)
    call(job.gather_at, (integers(job.order_at, rows.first, rows.number), out, y, result_of(job, me)))
    return out


@njit(**GIVES_ARRAY)
def gather_indices(job: Job, rows: Rows, me: int) -> Indices:
    """Class indices of rows."""
    if not job.ordered:
        return integers(job.y_at, rows.first, rows.number)
    y, out = integers(job.y_at, 0, job.x_rows), integers(job.batch_y_at, rows.place, rows.number)
    order = integers(job.order_at, rows.first, rows.number)
    call(job.gather_labels_at, (order, out, y, result_of(job, me)))
    return out


@njit(**GIVES_ARRAY)
def result_of(job: Job, me: int) -> Numbers:
    """Where functions that a thread calls leave a number (1,)."""
    return numbers(job.results_at, me * (LINE // 8), 1)


@njit(**GIVES_ARRAY)
def scratch_of(job: Job, me: int) -> Vector:
    """A thread's room for products."""
    return vector(job, job.scratch_at, me * SCRATCH, SCRATCH)


@njit(**INNER)
def times(job: Job, a: Block, b: Block, c: Block, far: int, me: int) -> None:
    """C = A B. a : (m, at least k); b : (k, n); c : (m, n); far : whether A is still in main memory."""
    flags = FAR if far else 0
    call(job.multiply_at, (a, b, c, flags, scratch_of(job, me), job.gemm_at))


@njit(**INNER)
def times_transposed(job: Job, a: Block, b: Block, c: Block, me: int) -> None:
    """C = A B^T. a : (m, k); b : (n, k); c : (m, n)."""
    call(job.multiply_at, (a, b, c, TRANSPOSE_B, scratch_of(job, me), job.gemm_at))


@njit(**INNER)
def transposed_times(job: Job, a: Block, b: Block, c: Block, more: bool, me: int) -> None:
    """C = A[:, :m]^T B, added to C where there is ``more``. a : (k, at least m); b : (k, n); c : (m, n)."""
    flags = TRANSPOSE_A | ACCUMULATE if more else TRANSPOSE_A
    call(job.multiply_at, (a, b, c, flags, scratch_of(job, me), job.gemm_at))


@njit(**INNER)
def add_to_total(job: Job, piece: int, value: float) -> None:
    """Add to what a piece of work has contributed to the epoch's loss, each on a cache line of its own."""
    numbers(job.totals_at, piece * (LINE // 8), 1)[0] += value


@njit(**INNER)
def sums_of_totals(job: Job) -> tuple[float, float]:
    """The sums of what blocks and of what slices have contributed, in their order: loss and penalty."""
    pieces = job.blocks + job.slices
    totals, loss, penalty = numbers(job.totals_at, 0, pieces * (LINE // 8)), 0.0, 0.0
    for block in range(job.blocks):
        loss += totals[block * (LINE // 8)]
    for piece in range(job.blocks, pieces):
        penalty += totals[piece * (LINE // 8)]
    return loss, penalty
