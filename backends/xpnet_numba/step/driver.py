"""The training step: two phases, and sometimes one before, each shared by all threads.

One update of the parameters from a batch of rows is

  phase 1   split by rows. Who takes a block of rows gathers it, computes its outputs layer by layer, the loss, and the
            deltas dL/dz back through the layers: all of it while the block is in that core's cache.
  phase 2   split by parameters. Who takes a slice of a weight computes its gradient x^T delta from the whole batch, and
            updates the slice at once, while slice and gradient are in that core's cache.

So weight gradients are not computed in parts that have to be added up, unless that is less work: where the parameters
are few and the rows many, each block keeps the gradient of its own rows, from data still in its core's cache, and
phase 2 only adds these up.

Where X is wide and the batch small, cores would spend more time on reading what others wrote, of the first weight and
of the gathered rows, than on arithmetic. There a phase goes before, split by features: who takes a slice of the first
weight takes the same features of all rows, and multiplies the two. Phase 1 adds up these parts of x W, and in phase 2
whoever has the slice finds it and its features in its cache: neither has to leave that core. Cores that share no cache
gain most by it; where they share one it may make no difference.

Between phases all wait until the last piece is done; no two threads write the same number.

A piece belongs to whoever claims it first. Each thread begins where it began the step before, so that it finds its own
data in its cache, and goes on with what others have not yet claimed. A thread that comes late, or never, is not waited
for. How the work is cut depends on the batch and not on the threads, and sums over blocks are taken in their order: the
result has the same bits whoever does the work.

``train``, ``predict`` and ``update`` are C functions with the signature of ``team.work``: a job, its tables of layers
and slices, a pointer whose type is the network's dtype, and the number of the thread.
"""

from functools import cache
from typing import Any

from numba import carray, njit, types

from xpnet_numba.leaves.registry import ITEMS
from xpnet_numba.llvm import (
    INNER,
    call,
    exchange_if,
    fetch_add,
    flush_denormals,
    item,
    load,
    pointer,
    restore_denormals,
    shift,
    stack,
)
from xpnet_numba.runtime.compiling import c_function
from xpnet_numba.runtime.team import wait_until
from xpnet_numba.scalars import EXACT
from xpnet_numba.step.job import JOB_TYPE, LAYER_TYPE, LINE, SLICE_TYPE


def train(job: Any, layers: Any, slices: Any, like: Any, me: int) -> None:
    """All batches of an epoch; without ``updating``, one batch and its gradient."""
    job, mode = carray(job, 1)[0], flush_denormals()
    layers, slices = carray(layers, job.layers), carray(slices, job.slices)
    weights = carray(pointer(job.batch_weights_at, types.float64), job.steps)
    homes = carray(pointer(job.homes_at, types.int64), job.threads)
    first_block, first_slice = me * job.blocks // job.threads, homes[me]
    pieces = job.parts + job.blocks + job.slices
    for step in range(load(job.done_at) // pieces, job.steps):
        batch = step * job.batch_rows
        rows = min(job.batch_rows, job.rows - batch)
        for i in range(job.slices if job.parts else 0):
            index = (first_slice + i) % job.slices
            if slices[index].layer == 0 and claim(job, job.blocks + job.slices + index, step):
                work_part(job, layers[0], slices[index], like, batch, rows)
                fetch_add(job.done_at, 1)
        wait_until(job.done_at, step * pieces + job.parts)
        for i in range(job.blocks):
            block = (first_block + i) % job.blocks
            if claim(job, block, step):
                work_block(job, layers, like, batch, rows, block, weights[step])
                fetch_add(job.done_at, 1)
        wait_until(job.done_at, step * pieces + job.parts + job.blocks)
        for i in range(job.slices):
            index = (first_slice + i) % job.slices
            if claim(job, job.blocks + index, step):
                work_slice(job, layers, slices[index], like, batch, rows, step, index, weights[step])
                fetch_add(job.done_at, 1)
        wait_until(job.done_at, (step + 1) * pieces)
    if me == 0:
        job.loss = sum_totals(job, job.origin, job.blocks)
        job.penalty = sum_totals(job, job.blocks, job.blocks + job.slices)
    restore_denormals(mode)


@njit(**INNER)
def claim(job: Any, piece: Any, step: Any) -> Any:
    """Whether this piece of this step was still free, and is now the caller's."""
    return exchange_if(item(job.claims_at, piece), step, step + 1)


# Before phase 1: the first layer's product in parts.


@njit(**INNER)
def work_part(job: Any, layer: Any, piece: Any, like: Any, batch: Any, rows: Any) -> None:
    """A slice of the first weight, multiplied by its features of the whole batch: one part of x W."""
    x = features_of(job, piece, like, batch, rows)
    if job.ordered:
        order = carray(shift(pointer(job.order_at, types.int64), batch), rows)
        call(job.gather_at, (matrix(job.x_at, piece.first, job.rows, job.x_row, like), order, x))
    weight = matrix(job.params_at, piece.start, piece.rows, layer.fan_out, like)
    part = matrix(job.parts_at, piece.number * job.batch_rows * layer.fan_out, rows, layer.fan_out, like)
    times(job, x, weight, part, job.x_is_far)


@njit(**INNER)
def features_of(job: Any, piece: Any, like: Any, batch: Any, rows: Any) -> Any:
    """The features of a batch (rows, at least as many) that meet a slice of the first weight."""
    if job.ordered:
        return matrix(job.batch_x_at, job.batch_rows * piece.first, rows, piece.rows, like)
    return matrix(job.x_at, batch * job.x_row + piece.first, rows, job.x_row, like)


# Phase 1.


@njit(**INNER, **EXACT)
def work_block(job: Any, layers: Any, like: Any, batch: Any, rows: Any, block: Any, weight: Any) -> None:
    """From rows of X to deltas, for one block of the ``rows`` that begin at row ``batch`` of the order."""
    first = block * job.block_rows
    count = min(job.block_rows, rows - first)
    if count <= 0:
        return
    out = x = deltas_of(job, layers[layers.size - 1], like, first, count)
    if not job.parts:  # else X has been multiplied, and nothing but its rows is asked of x
        x = gather(job, like, job.x_at, job.x_row, job.batch_x_at, job.inputs, batch, first, count)
    y = gather(job, like, job.y_at, job.label_width, job.batch_y_at, job.label_width, batch, first, count)
    forward(job, layers, like, x, job.batch_rows, first, out)
    compute_loss(job, layers, like, out, y, batch + first, block, weight)
    backward(job, layers, like, x, first, block)


@njit(**INNER)
def gather(
    job: Any, like: Any, at: Any, row: Any, batch_at: Any, width: Any, batch: Any, first: Any, count: Any
) -> Any:
    """The block's rows of X or Y, which is ``at``: gathered to ``batch_at`` by the order, or as they lie.

    row : items from one row to the next; where that is more than ``width``, what comes back is as wide
    """
    if not job.ordered:
        return matrix(at, (batch + first) * row, count, row, like)
    order = carray(shift(pointer(job.order_at, types.int64), batch + first), count)
    out = matrix(batch_at, first * width, count, width, like)
    call(job.gather_at, (matrix(at, job.origin, job.rows, row, like), order, out))
    return out


@njit(**INNER)
def forward(job: Any, layers: Any, like: Any, x: Any, capacity: Any, first: Any, out: Any) -> None:
    """``out`` (rows, outputs) = what the last layer gives for x (rows, at least inputs), before its output activation.

    What hidden layers give is kept, from row ``first`` of buffers with room for ``capacity`` rows.
    """
    sink = carray(stack(like, 1), 1)
    for i in range(layers.size):
        layer, rows = layers[i], x.shape[0]
        weight = matrix(job.params_at, layer.weight, layer.fan_in, layer.fan_out, like)
        z = out
        if i < layers.size - 1:
            z = matrix(job.hidden_at, capacity * layer.column + first * layer.fan_out, rows, layer.fan_out, like)
        if i == 0 and job.parts:
            add_parts(job, like, first, z)
        else:
            if layer.read_ahead:
                call(job.read_ahead_at, (weight, sink))
            times(job, x, weight, z, job.x_is_far if i == 0 else 0)
        call(layer.forward, (z, vector(job.params_at, layer.bias, layer.fan_out, like)))
        x = z


@njit(**INNER)
def add_parts(job: Any, like: Any, first: Any, z: Any) -> None:
    """z (rows, fan_out) = the first layer's products, from row ``first`` of the batch on."""
    parts = matrix(job.parts_at, job.origin, job.parts, job.batch_rows * z.shape[1], like)
    call(job.add_rows_at, (parts, first * z.shape[1], vector(z.ctypes.data, job.origin, z.size, like)))


@njit(**INNER, **EXACT)
def compute_loss(job: Any, layers: Any, like: Any, out: Any, y: Any, start: Any, block: Any, weight: Any) -> None:
    """The block's part of the loss, added to its total; ``out`` becomes dL/dz. The block begins at place ``start``."""
    scale = vector(job.scales_at, start % job.batch_rows, out.shape[0], like)
    scale[:] = 1 / weight
    if job.weighted:
        weights = vector(job.weights_at, start, scale.size, like)
        for i in range(scale.size):
            scale[i] = weights[i] / weight
    d_bias = clear_bias_sums(job, layers[layers.size - 1], like, block)
    loss = carray(stack(pointer(job.totals_at, types.float64), 1), 1)
    call(job.loss_at, (out, y, scale, d_bias, loss))
    add_to_total(job, block, weight * loss[0])


@njit(**INNER)
def backward(job: Any, layers: Any, like: Any, x: Any, first: Any, block: Any) -> None:
    """Deltas of the hidden layers from those of the last; the block's part of the gradient of biases and, where all
    parameters are few, of weights.
    """
    for i in range(layers.size - 1, -1, -1):
        layer, inputs = layers[i], x
        d_out = deltas_of(job, layer, like, first, x.shape[0])
        if i > 0:
            offset = job.batch_rows * layer.input_column + first * layer.fan_in
            inputs = matrix(job.hidden_at, offset, x.shape[0], layer.fan_in, like)
        if job.narrow:
            part = matrix(job.partials_at, block * job.partial_size + layer.weight, layer.fan_in, layer.fan_out, like)
            transposed_times(job, inputs, job.origin, d_out, part)
        if i > 0:
            before = layers[i - 1]
            d_hidden = deltas_of(job, before, like, first, x.shape[0])
            weight = matrix(job.params_at, layer.weight, layer.fan_in, layer.fan_out, like)
            times_transposed(job, d_out, weight, d_hidden)
            call(before.backward, (d_hidden, inputs, clear_bias_sums(job, before, like, block)))


# Phase 2.


@njit(**INNER, **EXACT)
def work_slice(
    job: Any, layers: Any, piece: Any, like: Any, batch: Any, rows: Any, step: Any, index: Any, weight: Any
) -> None:
    """The gradient of one slice of the parameters from the whole batch and, when updating, its update."""
    layer = layers[piece.layer]
    grad = matrix(job.gradients_at, piece.start, piece.rows, layer.fan_out, like)
    if job.narrow:
        add_partials(job, like, rows, piece.start, piece.start, piece.size)
    else:
        deltas = deltas_of(job, layer, like, job.origin, rows)
        if job.parts and piece.layer == 0:
            transposed_times(job, features_of(job, piece, like, batch, rows), job.origin, deltas, grad)
        else:
            transposed_times(job, inputs_of(job, layer, like, batch, rows), piece.first, deltas, grad)
        if piece.takes_bias:
            add_partials(job, like, rows, layer.bias_sum, layer.bias, layer.fan_out)
    if job.penalized:
        param = matrix(job.params_at, piece.start, piece.rows, layer.fan_out, like)
        penalty = carray(stack(pointer(job.totals_at, types.float64), 1), 1)
        call(job.penalize_at, (param, grad, job.l2 / weight if job.l2_over_batch else job.l2, penalty))
        add_to_total(job, job.blocks + index, weight * penalty[0])
    if job.updating:
        update_slice(job, piece, like, job.updates_made + step + 1)


@njit(**INNER)
def add_partials(job: Any, like: Any, rows: Any, first: Any, start: Any, size: Any) -> None:
    """``size`` items of the gradient, from ``start`` on: the sum of what the blocks hold for them from ``first`` on."""
    used = (rows + job.block_rows - 1) // job.block_rows
    partials = matrix(job.partials_at, job.origin, used, job.partial_size, like)
    call(job.add_rows_at, (partials, first, vector(job.gradients_at, start, size, like)))


@njit(**INNER)
def inputs_of(job: Any, layer: Any, like: Any, batch: Any, rows: Any) -> Any:
    """What a layer was given for the whole batch (rows, at least fan_in)."""
    if layer.input_column >= 0:
        return matrix(job.hidden_at, job.batch_rows * layer.input_column, rows, layer.fan_in, like)
    if job.ordered:
        return matrix(job.batch_x_at, job.origin, rows, layer.fan_in, like)
    return matrix(job.x_at, batch * job.x_row, rows, job.x_row, like)


@njit(**INNER)
def update_slice(job: Any, piece: Any, like: Any, t: Any) -> None:
    """Update number ``t`` of a slice, its bias included: weight and bias lie one behind the other."""
    rule, start, size = job.rule, piece.start, piece.size
    param, grad = vector(job.params_at, start, size, like), vector(job.gradients_at, start, size, like)
    first, second = vector(job.first_at, start, size, like), vector(job.second_at, start, size, like)
    call(job.update_at, (param, grad, first, second, rule, t))


def update(job: Any, layers: Any, slices: Any, like: Any, me: int) -> None:
    """One update of all parameters from the gradient as it lies there."""
    job, mode = carray(job, 1)[0], flush_denormals()
    slices = carray(slices, job.slices)
    while True:
        index = fetch_add(job.done_at, 1)
        if index >= job.slices:
            break
        update_slice(job, slices[index], like, job.updates_made + 1)
    restore_denormals(mode)


# Prediction.


def predict(job: Any, layers: Any, slices: Any, like: Any, me: int) -> None:
    """Outputs for all rows of X, block by block, so that memory does not grow with them.

    Where it is asked for, blocks of X with NaN or infinity are counted while they are in the cache.
    """
    job, mode = carray(job, 1)[0], flush_denormals()
    layers = carray(layers, job.layers)
    while True:
        start = fetch_add(job.done_at, 1) * job.block_rows
        if start >= job.rows:
            break
        count = min(job.block_rows, job.rows - start)
        x = matrix(job.x_at, start * job.x_row, count, job.x_row, like)
        out = matrix(job.result_at, start * job.outputs, count, job.outputs, like)
        forward(job, layers, like, x, job.threads * job.block_rows, me * job.block_rows, out)
        call(job.output_at, (out,))
        if job.spoiled_at:
            found = carray(stack(pointer(job.totals_at, types.float64), 1), 1)
            call(job.find_spoiled_at, (x, job.inputs, found))
            fetch_add(job.spoiled_at, int(found[0]))
    restore_denormals(mode)


# Products. What computes them is chosen with the job.


@njit(**INNER)
def times(job: Any, a: Any, b: Any, c: Any, far: Any) -> None:
    """C = A B. a : (m, at least k); b : (k, n); c : (m, n); far : whether A is still in main memory."""
    call(job.multiply_at, (a, 0, 0, b, 0, c, far, job.gemm_at))


@njit(**INNER)
def times_transposed(job: Any, a: Any, b: Any, c: Any) -> None:
    """C = A B^T. a : (m, k); b : (n, k); c : (m, n)."""
    call(job.multiply_at, (a, 0, 0, b, 1, c, 0, job.gemm_at))


@njit(**INNER)
def transposed_times(job: Any, a: Any, first: Any, b: Any, c: Any) -> None:
    """C = A[:, first : first + m]^T B. a : (k, at least first + m); b : (k, n); c : (m, n)."""
    call(job.multiply_at, (a, 1, first, b, 0, c, 0, job.gemm_at))


# Where things lie.


@njit(**INNER)
def matrix(buffer_at: Any, offset: Any, rows: Any, columns: Any, like: Any) -> Any:
    """The part of a buffer from item ``offset`` on as a matrix (rows, columns)."""
    return carray(shift(pointer(buffer_at, like), offset), (rows, columns))


@njit(**INNER)
def vector(buffer_at: Any, offset: Any, size: Any, like: Any) -> Any:
    """The part of a buffer from item ``offset`` on as a vector (size,)."""
    return carray(shift(pointer(buffer_at, like), offset), size)


@njit(**INNER)
def deltas_of(job: Any, layer: Any, like: Any, first: Any, count: Any) -> Any:
    """dL/dz of a layer for ``count`` rows of the batch from row ``first`` on."""
    offset = job.batch_rows * layer.column + first * layer.fan_out
    return matrix(job.deltas_at, offset, count, layer.fan_out, like)


@njit(**INNER)
def clear_bias_sums(job: Any, layer: Any, like: Any, block: Any) -> Any:
    """Where a block adds up its part of the gradient of a layer's bias, set to zero."""
    sums = vector(job.partials_at, block * job.partial_size + layer.bias_sum, layer.fan_out, like)
    sums[:] = 0
    return sums


@njit(**INNER)
def add_to_total(job: Any, piece: Any, value: Any) -> None:
    """Add to what a piece of work has contributed to the epoch's loss, each on a cache line of its own."""
    carray(shift(pointer(job.totals_at, types.float64), piece * (LINE // 8)), 1)[0] += value


@njit(**INNER)
def sum_totals(job: Any, first: Any, end: Any) -> Any:
    """The sum of what pieces have contributed, in their order."""
    totals, total = carray(pointer(job.totals_at, types.float64), end * (LINE // 8)), 0.0
    for piece in range(first, end):
        total += totals[piece * (LINE // 8)]
    return total


DRIVERS = {"train": train, "predict": predict, "update": update}


@cache
def compiled(name: str, dtype: str) -> Any:
    """A driver as a C function."""
    tables = (types.CPointer(table) for table in (JOB_TYPE, LAYER_TYPE, SLICE_TYPE))
    signature = types.void(*tables, types.CPointer(ITEMS[dtype]), types.int64)
    return c_function(DRIVERS[name], signature)


def address(name: str, dtype: str) -> int:
    """Where a compiled driver begins."""
    return compiled(name, dtype).address
