"""The forward pass: outputs of the last layer and their loss, in training, prediction and
validation.

This module also contains the access of compiled code to a job: parts of its buffers as arrays, rows
of X and Y, and products of such arrays.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy
from llvmlite import ir
from numba import types

from xpnet_numba.internals import unpack_tuple
from xpnet_numba.kinds import Compiled, Numbers, Pointer, Vector, placeholder
from xpnet_numba.llvm.arithmetic import choice, flush_denormals, restore_denormals, smaller
from xpnet_numba.llvm.emit import (
    GIVES_ARRAY,
    INNER,
    Signature,
    Target,
    Type,
    field,
    instructions,
    njit,
)
from xpnet_numba.llvm.memory import (
    LINE,
    Block,
    array,
    block_type,
    call,
    clear,
    part_of_buffer,
    pointer,
)
from xpnet_numba.runtime.threads import claim
from xpnet_numba.scalars import EXACT
from xpnet_numba.step.job import LAYER_TYPE, Job, LayerRecord


class RowBlock(NamedTuple):
    """Rows that are worked on together.

    first, number : the first row, counted in the order of all rows, and the number of rows
    offset : the first of their rows in the buffers
    first_row, t : index of the first row in the whole batch, and number of updates made, which
        determine the masks of dropout; ``first_row`` is -1 without dropout, as in a prediction
    """

    first: int
    number: int
    offset: int
    first_row: int
    t: int


FIRST: Any = numpy.int64(0)
"""The first feature, as an int64. Numba would compile a function again for Python's 0, a literal
type.
"""


def _vector_type(job: Type, buffer_at: Type, offset: Type, size: Type) -> Signature:
    """Return the signature of ``vector``, whose result has the dtype of the job's arrays."""
    return types.Array(job.typeof("one"), 1, "C")(job, *[types.int64] * 3)


def _matrix_type(job: Type, buffer_at: Type, offset: Type, rows: Type, columns: Type) -> Signature:
    """Return the signature of ``matrix``, whose result has the dtype of the job's arrays."""
    return block_type(job.typeof("one"))(job, *[types.int64] * 4)


matrix = instructions(_matrix_type, typed=True)(part_of_buffer)
"""matrix(job, buffer_at, offset, rows, columns): the part of a buffer from item ``offset`` on as a
block.
"""

vector = instructions(_vector_type, typed=True)(part_of_buffer)
"""vector(job, buffer_at, offset, size): the part of a buffer from item ``offset`` on as a vector
(size,).
"""

numbers = instructions(lambda at, offset, size: types.float64[::1](*[types.int64] * 3), typed=True)(
    part_of_buffer
)
"""numbers(buffer_at, offset, size): the part of a buffer from item ``offset`` on as float64s
(size,).
"""

integers = instructions(lambda at, offset, size: types.int64[::1](*[types.int64] * 3), typed=True)(
    part_of_buffer
)
"""integers(buffer_at, offset, size): the part of a buffer from item ``offset`` on as int64s
(size,).
"""


def rows_of_buffer(
    buffer: str, column: str, width: str
) -> Callable[[Job, LayerRecord, RowBlock], Block]:
    """Return a function that returns a layer's part of a buffer for some rows, as a block (rows,
    width).
    """

    @instructions(
        lambda job, layer, rows: block_type(job.typeof("one"))(job, layer, rows), typed=True
    )
    def part(
        target: Target, builder: ir.IRBuilder, signature: Signature, *values: ir.Value
    ) -> ir.Value:
        """Emit the block of a layer's part of the buffer."""
        (job, layer, _), (of_job, of_layer, of_rows) = signature.args, values
        _, number, offset, *_ = unpack_tuple(builder, of_rows)
        buffer_at, capacity = (
            field(target, builder, job, of_job, name) for name in (buffer, "capacity_rows")
        )
        begin, size = (field(target, builder, layer, of_layer, name) for name in (column, width))
        first = builder.add(builder.mul(capacity, begin), builder.mul(offset, size))
        return part_of_buffer(target, builder, signature, buffer_at, first, number, size)

    return part  # type: ignore[no-any-return]


outputs_of = rows_of_buffer("hidden_at", "column", "fan_out")
"""The outputs of a hidden layer's activation for some rows (rows, fan_out)."""

kept_of = rows_of_buffer("hidden_at", "kept_column", "fan_out")
"""The values from which the gradient of a hidden layer's activation is computed (rows, fan_out)."""

inputs_of = rows_of_buffer("hidden_at", "input_column", "fan_in")
"""The inputs of a layer after the first for some rows (rows, fan_in), after dropout."""

deltas_of = rows_of_buffer("deltas_at", "column", "fan_out")
"""dL/dz of a layer for some rows (rows, fan_out)."""


@njit(**INNER)
def drop(job: Job, layer: LayerRecord, number: int, x: Block, out: Block, rows: RowBlock) -> None:
    """Apply dropout to a layer's outputs, or to the gradients with respect to them.

    x, out : (rows, fan_out), which may be the same

    number : number of the layer, which determines its masks
    """
    positions = integers(job.positions_at, rows.first_row, choice(job.positions_at, x.rows, 0))
    call(
        job.drop_at,
        (
            x,
            out,
            rows.first_row,
            positions,
            layer.rate,
            integers(job.seed_at, 0, 2),
            number,
            rows.t,
        ),
    )


@njit(**INNER)
def gather_x(job: Job, rows: RowBlock) -> Block:
    """Return rows of X, gathered by the order or in place, as a block that is at least as wide as
    X.

    If X is sparse or has been multiplied in parts, the result is not read.
    """
    if job.starts_at or job.parts:
        return matrix(job, job.x_at, 0, rows.number, job.inputs)
    return gathered(job, job.x_at, job.x_row, job.batch_x_at, job.inputs, rows)


@njit(**INNER)
def gathered(
    job: Job, all_at: int, all_columns: int, to: int, columns: int, rows: RowBlock
) -> Block:
    """Return rows of a matrix (all rows, all columns), gathered into a buffer by the order, or in
    place.
    """
    if not job.order_at:
        return matrix(job, all_at, rows.first * all_columns, rows.number, all_columns)
    out = matrix(job, to, rows.offset * columns, rows.number, columns)
    order = integers(job.order_at, rows.first, rows.number)
    call(job.gather_at, (order, out, matrix(job, all_at, 0, job.x_rows, all_columns)))
    return out


@njit(**INNER)
def sparse_gradient(
    job: Job, rows: RowBlock, first: int, deltas: Block, grad: Block, more: int
) -> None:
    """grad = X^T deltas for some rows of a sparse X and the features from ``first`` on, or grad +=
    that if ``more``. deltas : (rows, out); grad : (features, out).
    """
    order, x = integers(job.order_at, rows.first, rows.number), vector(job, job.x_at, 0, job.filled)
    if not more:
        clear(array(grad.at, grad.rows * grad.columns))
    call(
        job.sparse_gradient_at,
        (order, x, job.columns_at, job.starts_at, job.x_rows, first, deltas, grad),
    )


@njit(**GIVES_ARRAY)
def result_of(job: Job, me: int) -> Numbers:
    """Return the array for the results of functions that a thread calls, (1,) float64."""
    return numbers(job.results_at, me * (LINE // 8), 1)


@njit(**INNER)
def multiply(job: Job, a: Block, b: Block, c: Block, flags: int, me: int) -> None:
    """Call the step's matrix product with a thread's scratch: see ``loops.products`` for flags."""
    call(
        job.multiply_at,
        (
            a,
            b,
            c,
            flags,
            vector(job, job.scratch_at, me * job.scratch_items, job.scratch_items),
            job.gemm_at,
        ),
    )


@njit(**INNER)
def add_to_total(job: Job, piece: int, value: float) -> None:
    """Add to the contribution of a piece of work to the epoch's loss. Each piece has its own cache
    line.
    """
    numbers(job.totals_at, piece * (LINE // 8), 1)[0] += value


@njit(**INNER)
def sum_of_totals(job: Job, first: int, count: int) -> float:
    """Return the sum of the contributions of some pieces, in their order."""
    totals, total = numbers(job.totals_at, first * (LINE // 8), count * (LINE // 8)), 0.0
    for i in range(0, totals.size, LINE // 8):
        total += totals[i]
    return total


# Forward.


@njit(**INNER)
def forward(
    job: Job,
    layers: Sequence[LayerRecord],
    x: Block,
    rows: RowBlock,
    out: Block,
    member: int,
    me: int,
) -> None:
    """``out`` (rows, outputs) = the last layer's result for x (rows, at least inputs), before its
    output activation.

    Outputs of hidden layers, before and after dropout, are stored at the rows' offset. In training,
    inputs of activations are stored as well if the gradient is computed from them.
    """
    for i in range(len(layers)):
        layer = layers[i]
        z = outputs_of(job, layer, rows) if i < len(layers) - 1 else out
        times_weight(job, layer, x, rows, z, member, me)
        bias = vector(job, job.params_at, layer.bias + member * layer.bias_step, layer.fan_out)
        if layer.keeps and rows.first_row >= 0:
            call(job.keep_at, (z, bias, kept_of(job, layer, rows)))
        call(layer.forward, (z, bias))
        x = z
        if layer.rate > 0.0 and rows.first_row >= 0:
            x = inputs_of(job, layers[i + 1], rows)
            drop(job, layer, layer.number + member * (len(layers) - 1), z, x, rows)


@njit(**INNER)
def times_weight(
    job: Job, layer: LayerRecord, x: Block, rows: RowBlock, z: Block, member: int, me: int
) -> None:
    """z (rows, fan_out) = x W. For members, another function is filled in for this one in
    :func:`forward`.
    """
    weight, first = (
        matrix(job, job.params_at, layer.weight, layer.fan_in, layer.fan_out),
        layer.number == 0,
    )
    if first and job.parts:
        parts = matrix(job, job.parts_at, 0, job.parts, job.batch_rows * z.columns)
        call(job.add_rows_at, (parts, rows.offset * z.columns, array(z.at, z.rows * z.columns)))
    elif first and job.starts_at:
        order, numbers_of_x = (
            integers(job.order_at, rows.first, rows.number),
            vector(job, job.x_at, 0, job.filled),
        )
        call(
            job.sparse_times_at,
            (order, numbers_of_x, job.columns_at, job.starts_at, job.x_rows, weight, z),
        )
    else:
        multiply(job, x, weight, z, 0, me)


@njit(**INNER, **EXACT)
def loss_of(job: Job, out: Block, rows: RowBlock, weight: float, d_bias: Vector, me: int) -> float:
    """The sum over rows of their losses, each times w_i / ``weight`` (1 / ``weight`` without sample
    weights).

    ``out`` becomes dL/dz, whose sums over the rows are added to ``d_bias``. For a batch of weight 0
    both are 0.
    """
    weight = weight if weight != 0.0 else 1.0
    scale = vector(job, job.scales_at, rows.offset, rows.number)
    scale[:] = 1 / weight
    if job.weights_at:
        weights = vector(job, job.weights_at, rows.first, rows.number)
        for i in range(rows.number):
            scale[i] = weights[i] / weight
    loss, loss_numbers = result_of(job, me), vector(job, job.loss_numbers_at, 0, out.columns)
    loss[0] = 0.0
    if job.indexed:
        indices = integers(job.y_at, rows.first, rows.number)
        if job.order_at:
            order, labels = (
                integers(job.order_at, rows.first, rows.number),
                integers(job.y_at, 0, job.x_rows),
            )
            indices = integers(job.batch_y_at, rows.offset, rows.number)
            call(job.gather_labels_at, (order, indices, labels))
        call(job.loss_at, (out, indices, scale, loss_numbers, d_bias, loss))
    else:
        y = gathered(job, job.y_at, job.label_width, job.batch_y_at, job.label_width, rows)
        call(job.loss_at, (out, y, scale, loss_numbers, d_bias, loss))
    return loss[0]


# Prediction and validation: outputs or losses of any number of rows, block by block, so that memory
# does not grow with them.


def evaluate(job_at: Pointer, me: int) -> None:
    """The C function of a prediction or a validation: a template with ``work`` filled in."""
    job, mode = array(job_at, 1)[0], flush_denormals()
    layers = array(pointer(job.layers_at, LAYER_TYPE), job.layers)
    for i in range(job.blocks):
        block = (me * job.blocks // job.threads + i) % job.blocks
        if job.threads == 1 or claim(job.claims_at, block, FIRST):
            # Each thread has its own part of the buffers.
            first, count = (
                block * job.block_rows,
                smaller(job.block_rows, job.rows - block * job.block_rows),
            )
            work(job, layers, RowBlock(first, count, me * job.block_rows, -1, 0), block, me)
    restore_denormals(mode)


work: Compiled = placeholder


@njit(**INNER)
def predict(job: Job, layers: Sequence[LayerRecord], rows: RowBlock, block: int, me: int) -> None:
    """Predict some rows: the mean over the members' predictions.

    If requested, the rows of X are checked for NaN and infinity while they are in the cache.
    """
    x = gather_x(job, rows)
    out = result = matrix(job, job.result_at, rows.first * job.outputs, rows.number, job.outputs)
    if job.members > 1:
        out = matrix(job, job.deltas_at, rows.offset * job.outputs, rows.number, job.outputs)
    for member in range(job.members):
        forward(job, layers, x, rows, out, member, me)
        call(job.output_at, (out, vector(job, job.loss_numbers_at, 0, job.outputs)))
        if job.members > 1:
            call(job.add_share_at, (out, job.members, int(member == 0), result))
    if job.nonfinite_at:
        call(job.find_nonfinite_at, (x, job.inputs, numbers(job.nonfinite_at, 0, 1)))


@njit(**INNER)
def measure(job: Job, layers: Sequence[LayerRecord], rows: RowBlock, block: int, me: int) -> None:
    """Write to ``totals`` (blocks,) the sum of a block's losses times sample weights, as a mean
    over members.
    """
    x, total = gather_x(job, rows), 0.0
    out = matrix(job, job.deltas_at, rows.offset * job.outputs, rows.number, job.outputs)
    # The loss functions also compute the gradient, which is not used here.
    d_bias = vector(job, job.partials_at, me * job.outputs, job.outputs)
    for member in range(job.members):
        forward(job, layers, x, rows, out, member, me)
        total += loss_of(job, out, rows, float(job.members), d_bias, me)
    numbers(job.totals_at, block, 1)[0] = total
