"""Training, prediction and validation of members: k networks that share the weights of hidden
layers.

One update has the two phases of ``train`` with another division of the work:

- Phase 1 is split by members. A thread that claims a block of members works on one member after the
  other, and on some rows at a time: forward and backward, while the rows are in the core's cache.
  Each block has its own gradient of the shared parameters. The gradient of a member's own
  parameters is final.
- Phase 2 is split by parameters, as in ``train``: the blocks' gradients are added up in order, and
  each slice is updated.

The first layer's inputs are scaled by each member, so that x^T delta gives the gradients of the
weight and of the factors at once: x (r W) = (x r) W.
"""

from collections.abc import Sequence

from xpnet_numba.kinds import Compiled, Vector
from xpnet_numba.llvm.arithmetic import smaller
from xpnet_numba.llvm.emit import GIVES_ARRAY, INNER, njit
from xpnet_numba.llvm.memory import Block, call, clear
from xpnet_numba.loops.products import ACCUMULATE, TRANSPOSE_A, TRANSPOSE_B
from xpnet_numba.runtime.compiling import filled_in
from xpnet_numba.scalars import EXACT
from xpnet_numba.step import train
from xpnet_numba.step.forward import (
    RowBlock,
    add_to_total,
    deltas_of,
    forward,
    gather_x,
    integers,
    loss_of,
    matrix,
    measure,
    multiply,
    predict,
    rows_of_buffer,
    vector,
)
from xpnet_numba.step.job import Job, LayerRecord, Slice
from xpnet_numba.step.train import BatchRun, GradientPart, finish_slice

# Access to a member's parameters and to the values of its layers.


@njit(**GIVES_ARRAY)
def factors(job: Job, buffer_at: int, offset: int, size: int, member: int) -> Vector:
    """Return a member's factors (size,) or their gradient. All members' factors begin at an offset
    of a buffer.
    """
    return vector(job, buffer_at, offset + member * size, size)


@njit(**INNER)
def member_weight(job: Job, buffer_at: int, layer: LayerRecord, member: int) -> Block:
    """Return a layer's weight (fan_in, fan_out) for a member, or its gradient."""
    return matrix(
        job, buffer_at, layer.weight + member * layer.weight_step, layer.fan_in, layer.fan_out
    )


@njit(**GIVES_ARRAY)
def bias_gradient(job: Job, layer: LayerRecord, part: GradientPart) -> Vector:
    """Return a bias gradient (fan_out,): the member's own, or a block's part of the shared one."""
    if layer.bias_step:
        offset = layer.bias + part.member * layer.bias_step
        return vector(job, job.gradients_at, offset, layer.fan_out)
    return vector(job, job.partials_at, part.block * job.partial_size + layer.bias, layer.fan_out)


@njit(**INNER)
def shared_gradient(job: Job, layer: LayerRecord, block: int) -> Block:
    """Return a block's part of the gradient of a shared weight (fan_in, fan_out)."""
    offset = block * job.partial_size + layer.weight
    return matrix(job, job.partials_at, offset, layer.fan_in, layer.fan_out)


scaled_of = rows_of_buffer("scaled_at", "scaled_column", "fan_in")
"""The inputs of a layer times a member's factors, for some rows (rows, fan_in)."""

products_of = rows_of_buffer("products_at", "column", "fan_out")
"""A layer's products with its weight, before a member's factors, for some rows (rows, fan_out)."""


@njit(**INNER)
def first_gradient(job: Job, layer: LayerRecord, me: int) -> Block:
    """Return the array in which a thread adds up x^T delta of a member's first layer (fan_in,
    fan_out).
    """
    size = layer.fan_in * layer.fan_out
    return matrix(job, job.first_gradient_at, me * size, layer.fan_in, layer.fan_out)


# From X to the outputs.


@njit(**INNER)
def gather_dense(job: Job, rows: RowBlock) -> Block:
    """Return rows of X as a dense block, also if X is sparse."""
    if not job.starts_at:
        return gather_x(job, rows)
    out = matrix(job, job.batch_x_at, rows.offset * job.inputs, rows.number, job.inputs)
    order, x = integers(job.order_at, rows.first, rows.number), vector(job, job.x_at, 0, job.filled)
    call(job.densify_at, (order, x, job.columns_at, job.starts_at, job.x_rows, out))
    return out


@njit(**INNER)
def rows_of_member(job: Job, rows: RowBlock, are_gathered: bool) -> Block:
    """Return rows of X as a dense block, which this thread may have gathered for another member."""
    if are_gathered:
        return matrix(job, job.batch_x_at, rows.offset * job.inputs, rows.number, job.inputs)
    return gather_dense(job, rows)


@njit(**INNER)
def times_weight(
    job: Job, layer: LayerRecord, x: Block, rows: RowBlock, z: Block, member: int, me: int
) -> None:
    """z (rows, fan_out) = x W, scaled by a member's factors before and after."""
    if layer.scale_in >= 0:
        scaled = scaled_of(job, layer, rows)
        call(
            job.scale_at,
            (x, factors(job, job.params_at, layer.scale_in, layer.fan_in, member), scaled),
        )
        x = scaled
    product = products_of(job, layer, rows) if layer.scale_out >= 0 else z
    multiply(job, x, member_weight(job, job.params_at, layer, member), product, 0, me)
    if layer.scale_out >= 0:
        call(
            job.scale_at,
            (product, factors(job, job.params_at, layer.scale_out, layer.fan_out, member), z),
        )


def _of_members(function: Compiled, **values: Compiled) -> Compiled:
    """Return a function of ``train`` or ``forward`` with the members' versions of functions filled
    in.
    """
    return njit(**INNER)(filled_in(function, f"{function.__name__}_of_members", **values))


forward_member = _of_members(forward, times_weight=times_weight)
predict_members = _of_members(predict, gather_x=gather_dense, forward=forward_member)
measure_members = _of_members(measure, gather_x=gather_dense, forward=forward_member)


# Phase 1.


@njit(**INNER, **EXACT)
def work_block(
    job: Job, layers: Sequence[LayerRecord], batch: BatchRun, block: int, me: int
) -> None:
    """Compute the gradients of the members of one block from rows of X."""
    first, end = block * job.members // job.blocks, (block + 1) * job.members // job.blocks
    for i in range(len(layers)):
        if not layers[i].bias_step:
            clear(bias_gradient(job, layers[i], GradientPart(block, first, 0, 0)))
    # Members that share an order of the rows share a batch, which one buffer may hold.
    is_one_batch = job.order_at != 0 and job.order_step == 0 and batch.rows <= job.round_rows
    for member in range(first, end):
        clear_member(job, layers, member)
        for begin in range(0, batch.rows, job.round_rows):
            begins = member * job.order_step + batch.first + begin
            count, offset = smaller(job.round_rows, batch.rows - begin), me * job.round_rows
            rows = RowBlock(begins, count, offset, job.first_row + begin, batch.t - 1)
            x = rows_of_member(job, rows, is_one_batch and member > first)
            out = deltas_of(job, layers[len(layers) - 1], rows)
            forward_member(job, layers, x, rows, out, member, me)
            add_to_member = ACCUMULATE if begin > 0 else 0
            add_to_block = add_to_member if member == first else ACCUMULATE
            part = GradientPart(block, member, add_to_block, add_to_member)
            d_bias = bias_gradient(job, layers[len(layers) - 1], part)
            loss = loss_of(job, out, rows, batch.weight * job.members, d_bias, me)
            add_to_total(job, block, batch.share * loss)
            backward_member(job, layers, x, rows, part, me)
        if layers[0].scale_in >= 0:
            first_layer_gradient(job, layers[0], block, member, member > first, me)


@njit(**INNER)
def weight_gradient(
    job: Job,
    layer: LayerRecord,
    inputs: Block,
    rows: RowBlock,
    d_out: Block,
    part: GradientPart,
    me: int,
) -> None:
    """Compute a member's part of the gradient of a weight, and of the factors of its outputs."""
    if layer.scale_out >= 0:
        scales = factors(job, job.params_at, layer.scale_out, layer.fan_out, part.member)
        d_scales = factors(job, job.gradients_at, layer.scale_out, layer.fan_out, part.member)
        call(job.scale_backward_at, (d_out, products_of(job, layer, rows), scales, d_scales))
    if layer.weight_step:
        own = member_weight(job, job.gradients_at, layer, part.member)
        multiply(job, inputs, d_out, own, TRANSPOSE_A + part.add_to_member, me)
    elif layer.input_column < 0:
        first = first_gradient(job, layer, me)
        multiply(job, inputs, d_out, first, TRANSPOSE_A + part.add_to_member, me)
    else:
        scaled = scaled_of(job, layer, rows) if layer.scale_in >= 0 else inputs
        shared = shared_gradient(job, layer, part.block)
        multiply(job, scaled, d_out, shared, TRANSPOSE_A + part.add_to_block, me)


@njit(**INNER)
def hidden_deltas(
    job: Job,
    layer: LayerRecord,
    inputs: Block,
    d_out: Block,
    d_hidden: Block,
    part: GradientPart,
    me: int,
) -> None:
    """Compute the gradient with respect to a member's inputs of a layer, and of their factors."""
    weight = member_weight(job, job.params_at, layer, part.member)
    multiply(job, d_out, weight, d_hidden, TRANSPOSE_B, me)
    if layer.scale_in >= 0:
        scales = factors(job, job.params_at, layer.scale_in, layer.fan_in, part.member)
        d_scales = factors(job, job.gradients_at, layer.scale_in, layer.fan_in, part.member)
        call(job.scale_backward_at, (d_hidden, inputs, scales, d_scales))


backward_member = _of_members(
    train.backward,
    weight_gradient=weight_gradient,
    hidden_deltas=hidden_deltas,
    bias_gradient=bias_gradient,
)


@njit(**INNER)
def first_layer_gradient(
    job: Job, layer: LayerRecord, block: int, member: int, more: bool, me: int
) -> None:
    """Compute the gradients of the first weight and of a member's input factors from x^T delta over
    all rows.
    """
    weight = matrix(job, job.params_at, layer.weight, layer.fan_in, layer.fan_out)
    shared = shared_gradient(job, layer, block)
    scales = factors(job, job.params_at, layer.scale_in, layer.fan_in, member)
    d_scales = factors(job, job.gradients_at, layer.scale_in, layer.fan_in, member)
    call(
        job.scale_weight_backward_at,
        (first_gradient(job, layer, me), weight, scales, shared, d_scales, int(more)),
    )


@njit(**INNER)
def clear_member(job: Job, layers: Sequence[LayerRecord], member: int) -> None:
    """Set the gradients of a member's own factors and biases to zero, before rows are added."""
    for i in range(len(layers)):
        layer = layers[i]
        if layer.scale_in >= 0:
            clear(factors(job, job.gradients_at, layer.scale_in, layer.fan_in, member))
        if layer.scale_out >= 0:
            clear(factors(job, job.gradients_at, layer.scale_out, layer.fan_out, member))
        if layer.bias_step:
            clear(bias_gradient(job, layer, GradientPart(0, member, 0, 0)))


# Phase 2.


@njit(**INNER, **EXACT)
def work_slice(
    job: Job, layers: Sequence[LayerRecord], piece: Slice, batch: BatchRun, index: int, me: int
) -> None:
    """Compute the gradient of one slice of the parameters, summed over blocks if it is shared, and
    its update.
    """
    if not piece.own:
        partials = matrix(job, job.partials_at, 0, job.blocks, job.partial_size)
        call(
            job.add_rows_at,
            (partials, piece.start, vector(job, job.gradients_at, piece.start, piece.size)),
        )
    finish_slice(job, piece, batch, index, me)


work_phase = _of_members(train.work_phase, work_block=work_block, work_slice=work_slice)
