"""Training: two phases, sometimes with one before them, each shared by all threads.

One update of the parameters from a batch of rows has two phases:

- phase 1, split by rows. A thread that claims a block of rows gathers it, computes its outputs
  layer by layer, the loss, and the deltas dL/dz backward through the layers, all while the block
  is in the core's cache.
- phase 2, split by parameters. A thread that claims a slice of a weight computes its gradient x^T
  delta from the whole batch, and updates the slice at once, while slice and gradient are in the
  core's cache.

So weight gradients are not computed in parts that have to be added up, unless that is less work: if
the parameters are few and the rows many, each block keeps the gradient of its own rows, from data
still in its core's cache, and phase 2 only adds these up. Such a block may have any number of rows:
it takes them in rounds, and needs memory for one round.

If X is wide and the batch small, cores would spend more time on reading data of other cores (the
first weight and the gathered rows) than on arithmetic. Then phase 0 comes first, split by features:
a thread that claims a slice of the first weight multiplies it by the same features of all rows.
Phase 1 adds up these parts of x W. In phase 2 the thread of the slice has the slice and its
features in its cache.

Between phases all threads wait until the last piece is done; no two threads write the same number.
Each thread begins with the same piece as in the step before, so that its data are in its cache, and
goes on with pieces that others have not yet claimed. The cut depends on the batch and not on the
threads, and sums over blocks are taken in order: the result has the same bits on any number of
threads.
"""

from collections.abc import Sequence
from typing import NamedTuple

from xpnet_numba.kinds import Pointer, Vector
from xpnet_numba.llvm.arithmetic import choice, flush_denormals, restore_denormals, smaller
from xpnet_numba.llvm.emit import GIVES_ARRAY, INNER, njit
from xpnet_numba.llvm.memory import Block, array, call, clear, fetch_add, load, pointer
from xpnet_numba.loops.products import ACCUMULATE, TRANSPOSE_A, TRANSPOSE_B
from xpnet_numba.runtime.threads import claim, wait_until
from xpnet_numba.scalars import EXACT
from xpnet_numba.step.forward import (
    FIRST,
    RowBlock,
    add_to_total,
    deltas_of,
    drop,
    forward,
    gather_x,
    inputs_of,
    integers,
    kept_of,
    loss_of,
    matrix,
    multiply,
    numbers,
    result_of,
    sparse_gradient,
    sum_of_totals,
    vector,
)
from xpnet_numba.step.job import LAYER_TYPE, SLICE_TYPE, Job, LayerRecord, Slice


class BatchRun(NamedTuple):
    """A batch.

    first, rows : its first row in the order of all rows, and its number of rows
    weight : sum of the rows' sample weights
    share : weight of its mean loss among the batches
    t : number of its update, from 1
    """

    first: int
    rows: int
    weight: float
    share: float
    t: int


class GradientPart(NamedTuple):
    """The gradients that some rows are added to.

    block : the block, of rows or of members, whose gradients of shared parameters they are
    member : the member of whose own parameters they are; 0 for one network
    add_to_block : ``ACCUMULATE`` if the block has gradients of earlier rows or members, else 0
    add_to_member : ``ACCUMULATE`` if the member has gradients of earlier rows, else 0
    """

    block: int
    member: int
    add_to_block: int
    add_to_member: int


def train(job_at: Pointer, me: int) -> None:
    """Run a training job: some batches of an epoch; without ``updating``, one batch and its
    gradient.
    """
    job, mode = array(job_at, 1)[0], flush_denormals()
    # Each thread begins with the pieces of its core, which are consecutive among the slices.
    first_block, core = me * job.blocks // job.threads, me * job.cores // job.threads
    first_slice = integers(job.slice_starts_at, 0, job.cores + 1)[core] % job.slices
    pieces = job.parts + job.blocks + job.slices
    for step in range(load(job.done_at) // pieces, job.steps):
        batch, done = batch_of(job, step), step * pieces
        if job.parts:
            work_phase(job, FIRST, batch, step, (FIRST, job.slices, first_slice), me)
            wait_until(job.done_at, done + job.parts)
        work_phase(job, FIRST + 1, batch, step, (FIRST, job.blocks, first_block), me)
        wait_until(job.done_at, done + job.parts + job.blocks)
        work_phase(job, FIRST + 2, batch, step, (FIRST, job.slices, first_slice), me)
        wait_until(job.done_at, done + pieces)
    if me == 0:
        job.loss, job.penalty = (
            sum_of_totals(job, FIRST, job.blocks),
            sum_of_totals(job, job.blocks, job.slices),
        )
        job.updates_made += job.steps if job.updating else 0
    restore_denormals(mode)


def train_phase(job_at: Pointer, me: int) -> None:
    """The C function of this rank's pieces of one phase of a batch, or of the update alone: see
    ``shared_memory``.
    """
    job, mode = array(job_at, 1)[0], flush_denormals()
    count = job.end_piece - job.first_piece
    # If gradients are clipped before the update, each slice is claimed twice in a batch.
    start, turns = me * count // job.threads, choice(job.updating, 1, 2)
    if job.phase == 3:
        slices = array(pointer(job.slices_at, SLICE_TYPE), job.slices)
        for i in range(count):
            index = job.first_piece + (start + i) % count
            if claim(job.claims_at, job.blocks + index, (job.first_step + 1) * turns - 1):
                update_slice(job, slices[index], job.updates_made + 1)
    else:
        turn = job.first_step * choice(job.phase == 2, turns, 1)
        work_phase(
            job,
            job.phase,
            batch_of(job, 0),
            turn,
            (job.first_piece, count, start),
            job.first_thread + me,
        )
    restore_denormals(mode)


@njit(**INNER)
def work_phase(
    job: Job, phase: int, batch: BatchRun, turn: int, pieces: tuple[int, int, int], me: int
) -> None:
    """Claim pieces of a phase of a batch one after the other, and do those that are free in this
    turn.

    pieces : first piece, number of pieces, and index of the piece with which this thread begins
    """
    first, count, start = pieces
    layers = array(pointer(job.layers_at, LAYER_TYPE), job.layers)
    slices = array(pointer(job.slices_at, SLICE_TYPE), job.slices)
    for i in range(count):
        index = first + (start + i) % count
        if phase == 1:
            if claim(job.claims_at, index, turn):
                work_block(job, layers, batch, index, me)
                fetch_add(job.done_at, 1)
        elif phase == 2:
            if claim(job.claims_at, job.blocks + index, turn):
                work_slice(job, layers, slices[index], batch, index, me)
                fetch_add(job.done_at, 1)
        elif slices[index].layer == 0 and claim(
            job.claims_at, job.blocks + job.slices + index, turn
        ):
            work_part(job, layers[0], slices[index], batch, me)
            fetch_add(job.done_at, 1)


@njit(**INNER)
def batch_of(job: Job, step: int) -> BatchRun:
    """Return the batch of a step, counted from the job's first."""
    number = job.first_step + step
    first = number * job.batch_rows
    weight, share = (
        numbers(job.batch_weights_at, number, 1)[0],
        numbers(job.shares_at, number, 1)[0],
    )
    return BatchRun(
        first, smaller(job.batch_rows, job.rows - first), weight, share, job.updates_made + step + 1
    )


# Before phase 1: the first layer's product in parts.


@njit(**INNER)
def work_part(job: Job, layer: LayerRecord, piece: Slice, batch: BatchRun, me: int) -> None:
    """Multiply a slice of the first weight by its features of the whole batch: one part of x W."""
    x = features_of(job, layer, piece, batch)
    if job.order_at:
        features = matrix(job, job.x_at, piece.first, job.x_rows, job.x_row)
        call(job.gather_at, (integers(job.order_at, batch.first, batch.rows), x, features))
    weight = matrix(job, job.params_at, piece.start, piece.rows, layer.fan_out)
    part = matrix(
        job, job.parts_at, piece.number * job.batch_rows * layer.fan_out, batch.rows, layer.fan_out
    )
    multiply(job, x, weight, part, 0, me)


# Phase 1.


@njit(**INNER, **EXACT)
def work_block(
    job: Job, layers: Sequence[LayerRecord], batch: BatchRun, block: int, me: int
) -> None:
    """Compute the deltas of one block of a batch from rows of X."""
    first = block * job.block_rows
    end = smaller(first + job.block_rows, batch.rows)
    for begin in range(first, end, job.round_rows):
        count = smaller(job.round_rows, end - begin)
        offset = me * job.round_rows if job.block_gradients else begin
        rows = RowBlock(batch.first + begin, count, offset, job.first_row + begin, batch.t - 1)
        x, out = gather_x(job, rows), deltas_of(job, layers[len(layers) - 1], rows)
        forward(job, layers, x, rows, out, FIRST, me)
        part = GradientPart(block, 0, ACCUMULATE if begin > first else 0, 0)
        d_bias = bias_gradient(job, layers[len(layers) - 1], part)
        add_to_total(job, block, batch.share * loss_of(job, out, rows, batch.weight, d_bias, me))
        backward(job, layers, x, rows, part, me)


@njit(**INNER)
def backward(
    job: Job,
    layers: Sequence[LayerRecord],
    x: Block,
    rows: RowBlock,
    part: GradientPart,
    me: int,
) -> None:
    """Compute deltas of the hidden layers from those of the last, and this part of the gradients.

    The members have their own versions of the functions that this one calls.
    """
    for i in range(len(layers) - 1, -1, -1):
        layer, d_out = layers[i], deltas_of(job, layers[i], rows)
        inputs = inputs_of(job, layer, rows) if i > 0 else x
        weight_gradient(job, layer, inputs, rows, d_out, part, me)
        if i > 0:
            before = layers[i - 1]
            d_hidden = deltas_of(job, before, rows)
            hidden_deltas(job, layer, inputs, d_out, d_hidden, part, me)
            if before.rate > 0.0:
                number = before.number + part.member * (len(layers) - 1)
                drop(job, before, number, d_hidden, d_hidden, rows)
            d_bias = bias_gradient(job, before, part)
            call(before.backward, (d_hidden, kept_of(job, before, rows), d_bias))


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
    """Compute a block's gradient x^T delta of a weight, if blocks keep gradients."""
    if job.block_gradients:
        offset = part.block * job.partial_size + layer.weight
        partial = matrix(job, job.partials_at, offset, layer.fan_in, layer.fan_out)
        if layer.input_column < 0 and job.starts_at:
            sparse_gradient(job, rows, FIRST, d_out, partial, part.add_to_block)
        else:
            multiply(job, inputs, d_out, partial, TRANSPOSE_A + part.add_to_block, me)


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
    """Compute the gradient with respect to a layer's inputs, delta W^T."""
    weight = matrix(job, job.params_at, layer.weight, layer.fan_in, layer.fan_out)
    multiply(job, d_out, weight, d_hidden, TRANSPOSE_B, me)


@njit(**GIVES_ARRAY)
def bias_gradient(job: Job, layer: LayerRecord, part: GradientPart) -> Vector:
    """Return the array for a block's part of a bias gradient, set to zero for its first rows."""
    offset = part.block * job.partial_size + (layer.bias if job.block_gradients else layer.column)
    sums = vector(job, job.partials_at, offset, layer.fan_out)
    if not part.add_to_block:
        clear(sums)
    return sums


# Phase 2.


@njit(**INNER, **EXACT)
def work_slice(
    job: Job, layers: Sequence[LayerRecord], piece: Slice, batch: BatchRun, index: int, me: int
) -> None:
    """Compute the gradient of one slice of the parameters from the whole batch and, when updating,
    its update.
    """
    if job.block_gradients:
        add_partials(job, batch.rows, piece.start, piece.start, piece.size)
    else:
        layer = layers[piece.layer]
        grad = matrix(job, job.gradients_at, piece.start, piece.rows, layer.fan_out)
        rows = RowBlock(batch.first, batch.rows, 0, -1, 0)
        deltas = deltas_of(job, layer, rows)
        if layer.input_column < 0 and job.starts_at:
            sparse_gradient(job, rows, piece.first, deltas, grad, FIRST)
        else:
            multiply(job, features_of(job, layer, piece, batch), deltas, grad, TRANSPOSE_A, me)
        if piece.takes_bias:
            add_partials(job, batch.rows, layer.column, layer.bias, layer.fan_out)
    finish_slice(job, piece, batch, index, me)


@njit(**INNER)
def finish_slice(job: Job, piece: Slice, batch: BatchRun, index: int, me: int) -> None:
    """Add the penalty's gradient to that of a slice and, when updating, update the slice."""
    if job.penalized and piece.weights:
        weight = vector(job, job.params_at, piece.start, piece.weights)
        d_weight = vector(job, job.gradients_at, piece.start, piece.weights)
        penalty = result_of(job, me)
        l2 = job.l2
        if job.l2_over_batch:
            l2 = l2 / batch.weight if batch.weight != 0.0 else 0.0
        call(job.penalize_at, (weight, d_weight, l2, penalty))
        add_to_total(job, job.blocks + index, batch.share * penalty[0])
    if job.updating:
        update_slice(job, piece, batch.t)


@njit(**INNER)
def add_partials(job: Job, rows: int, first: int, start: int, size: int) -> None:
    """Set ``size`` items of the gradient, from ``start`` on, to the sum of the blocks' items from
    ``first`` on.
    """
    used = (rows + job.block_rows - 1) // job.block_rows
    partials = matrix(job, job.partials_at, 0, used, job.partial_size)
    call(job.add_rows_at, (partials, first, vector(job, job.gradients_at, start, size)))


@njit(**INNER)
def features_of(job: Job, layer: LayerRecord, piece: Slice, batch: BatchRun) -> Block:
    """Return a layer's inputs for the whole batch, from a slice's first feature on (rows, at least
    its features).

    If the first layer's product is computed in parts, gathered rows of X are stored slice by slice.
    """
    buffer_at, offset, width = job.x_at, batch.first * job.x_row + piece.first, job.x_row
    if layer.input_column >= 0:
        buffer_at, offset, width = (
            job.hidden_at,
            job.capacity_rows * layer.input_column + piece.first,
            layer.fan_in,
        )
    elif job.order_at:
        buffer_at, offset = job.batch_x_at, choice(job.parts, job.batch_rows, 1) * piece.first
        width = choice(job.parts, piece.rows, layer.fan_in)
    return matrix(job, buffer_at, offset, batch.rows, width)


@njit(**INNER)
def update_slice(job: Job, piece: Slice, t: int) -> None:
    """Make update number ``t`` of a slice with its bias, which follows the weight in memory."""
    start, size = piece.start, piece.size
    param, grad = (
        vector(job, job.params_at, start, size),
        vector(job, job.gradients_at, start, size),
    )
    first, second = vector(job, job.first_at, start, size), vector(job, job.second_at, start, size)
    call(job.update_at, (param, grad, first, second, numbers(job.rule_at, 0, 8), t))
    if job.low_at:
        low, high = (
            vector(job, job.low_at, start, size),
            vector(job, job.high_at, start, size),
        )
        call(job.keep_within_at, (param, low, high))
