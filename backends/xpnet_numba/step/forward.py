"""Rows of X lead to the outputs of the last layer and their loss, in training, in prediction and in validation."""

from typing import Any

from xpnet_numba.kinds import Pointer, Table, Vector
from xpnet_numba.llvm.arithmetic import flush_denormals, restore_denormals, smaller
from xpnet_numba.llvm.calls import INNER, call, njit
from xpnet_numba.llvm.memory import Block, array
from xpnet_numba.loops.products import FAR
from xpnet_numba.runtime.threads import claim
from xpnet_numba.scalars import EXACT
from xpnet_numba.step.job import (
    FIRST,
    Job,
    Layer,
    Masks,
    Rows,
    drop,
    gather_indices,
    gather_x,
    gather_y,
    inputs_of,
    kept_of,
    layers_of,
    matrix,
    multiply,
    numbers,
    outputs_of,
    result_of,
    sparse_times,
    vector,
    weight_of,
)

FEW = 3
"""Fewer rows are predicted one by one: for more it pays to read each weight once for all."""


@njit(**INNER)
def forward(job: Job, layers: Table[Layer], x: Block, rows: Rows, out: Block, masks: Masks, me: int) -> None:
    """``out`` (rows, outputs) = what the last layer gives for x (rows, at least inputs), before its output activation.

    What hidden layers give is kept at the rows' offset, and what is left of it after dropout; in training, what their
    activations were given as well, where the gradient is read from that.
    """
    for i in range(layers.size):
        layer, z = layers[i], out
        weight = weight_of(job, layer)
        if i < layers.size - 1:
            z = outputs_of(job, layer, rows)
        if i == 0 and job.parts:
            add_parts(job, rows, z)
        elif i == 0 and job.starts_at:
            sparse_times(job, rows, weight, z)
        else:
            flags = FAR * job.x_is_far if i == 0 else 0
            multiply(job, x, weight, z, flags, me)
        bias = vector(job, job.params_at, layer.bias, layer.fan_out)
        if layer.keeps and masks.first_row >= 0:
            call(job.keep_at, (z, bias, kept_of(job, layer, rows)))
        call(layer.forward, (z, bias))
        x = z
        if layer.rate > 0.0 and masks.first_row >= 0:
            x = inputs_of(job, layers[i + 1], rows)
            drop(job, layer, layer.number, z, x, masks)


@njit(**INNER)
def add_parts(job: Job, rows: Rows, z: Block) -> None:
    """z (rows, fan_out) = the first layer's products, which were made in parts."""
    parts = matrix(job, job.parts_at, 0, job.parts, job.batch_rows * z.columns)
    call(job.add_rows_at, (parts, rows.offset * z.columns, array(z.at, z.rows * z.columns)))


@njit(**INNER, **EXACT)
def loss_of(job: Job, out: Block, rows: Rows, weight: float, d_bias: Vector, me: int) -> float:
    """The sum over rows of their losses, each times w_i / ``weight`` (1 / ``weight`` without sample weights).

    ``out`` becomes dL/dz, whose sums over the rows are added to ``d_bias``. A batch without weight has neither.
    """
    weight = weight if weight != 0.0 else 1.0
    scale = vector(job, job.scales_at, rows.offset, rows.number)
    scale[:] = 1 / weight
    if job.weighted:
        weights = vector(job, job.weights_at, rows.first, rows.number)
        for i in range(rows.number):
            scale[i] = weights[i] / weight
    loss, given = result_of(job, me), vector(job, job.loss_numbers_at, 0, out.columns)
    if job.indexed:
        indices = gather_indices(job, rows, me)
        loss[0] = 0.0
        call(job.loss_at, (out, indices, scale, given, d_bias, loss))
    else:
        y = gather_y(job, rows, me)
        loss[0] = 0.0
        call(job.loss_at, (out, y, scale, given, d_bias, loss))
    return loss[0]


# Prediction and validation: outputs or losses of any number of rows, block by block, so that memory does not grow with
# them.


def evaluate(job_at: Pointer, me: int) -> None:
    """The C function of a prediction or a validation: a template, in which ``work`` does one of them for a block."""
    job, mode = array(job_at, 1)[0], flush_denormals()
    layers = layers_of(job)
    for i in range(job.blocks):
        block = (me * job.blocks // job.threads + i) % job.blocks
        if job.threads == 1 or claim(job.claims_at, block, FIRST):
            work(job, layers, rows_of(job, block, me), block, me)
    restore_denormals(mode)


work: Any = None


@njit(**INNER)
def predict(job: Job, layers: Table[Layer], rows: Rows, block: int, me: int) -> None:
    """Predict some rows. Where it is asked for, NaN and infinity in X are looked for while they are in the cache."""
    x = matrix(job, job.x_at, rows.first * job.x_row, rows.number, job.x_row)
    out = matrix(job, job.result_at, rows.first * job.outputs, rows.number, job.outputs)
    forward(job, layers, x, rows, out, Masks(-1, 0), me)
    call(job.output_at, (out, vector(job, job.loss_numbers_at, 0, job.outputs)))
    if job.nonfinite_at:
        call(job.nonfinite_function_at, (x, job.inputs, numbers(job.nonfinite_at, 0, 1)))


@njit(**INNER)
def measure(job: Job, layers: Table[Layer], rows: Rows, block: int, me: int) -> None:
    """Write to ``totals`` (blocks,) the sum of a block's losses times sample weights."""
    out = matrix(job, job.deltas_at, rows.offset * job.outputs, rows.number, job.outputs)
    x = out if job.starts_at else gather_x(job, rows, me)  # of a sparse X, x is not read
    forward(job, layers, x, rows, out, Masks(-1, 0), me)
    # The loss comes with its gradient, for which nobody asks.
    d_bias = vector(job, job.partials_at, me * job.outputs, job.outputs)
    numbers(job.totals_at, block, 1)[0] = loss_of(job, out, rows, 1.0, d_bias, me)


@njit(**INNER)
def rows_of(job: Job, block: int, me: int) -> Rows:
    """A block's rows; their part of the buffers is the thread's own."""
    first = block * job.block_rows
    return Rows(first, smaller(job.block_rows, job.rows - first), me * job.block_rows)
