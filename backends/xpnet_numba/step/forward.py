"""From rows of X to the outputs of the last layer and their loss: shared by training, validation and prediction."""

from xpnet_numba.kinds import Table, Vector
from xpnet_numba.llvm import INNER, array, call, njit, read_ahead
from xpnet_numba.llvm.memory import Block
from xpnet_numba.scalars import EXACT
from xpnet_numba.step.job import Job, Layer
from xpnet_numba.step.places import (
    Masks,
    Rows,
    drop,
    gather_indices,
    gather_y,
    inputs_of,
    kept_of,
    matrix,
    outputs_of,
    result_of,
    sparse_times,
    times,
    vector,
    weight_of,
)

FEW = 3
"""Fewer rows are predicted one by one: for more it pays to read each weight once for all."""


@njit(**INNER)
def forward(job: Job, layers: Table[Layer], x: Block, rows: Rows, out: Block, masks: Masks, me: int) -> None:
    """``out`` (rows, outputs) = what the last layer gives for x (rows, at least inputs), before its output activation.

    What hidden layers give is kept at the rows' place, and what is left of it after dropout; in training, what their
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
            if layer.read_ahead and rows.number >= FEW:
                read_ahead(weight.at, weight.rows * weight.columns)
            far = job.x_is_far if i == 0 else 0
            times(job, x, weight, z, far, me)
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
    call(job.add_rows_at, (parts, rows.place * z.columns, array(z.at, z.rows * z.columns)))


@njit(**INNER, **EXACT)
def loss_of(job: Job, out: Block, rows: Rows, weight: float, d_bias: Vector, me: int) -> float:
    """The sum over rows of their losses, each times w_i / ``weight`` (1 / ``weight`` without sample weights).

    ``out`` becomes dL/dz, whose sums over the rows are added to ``d_bias``.
    """
    scale = vector(job, job.scales_at, rows.place, rows.number)
    scale[:] = 1 / weight
    if job.weighted:
        weights = vector(job, job.weights_at, rows.first, rows.number)
        for i in range(rows.number):
            scale[i] = weights[i] / weight
    loss = result_of(job, me)
    if job.indexed:
        indices = gather_indices(job, rows, me)
        loss[0] = 0.0
        call(job.loss_at, (out, indices, scale, d_bias, loss))
    else:
        y = gather_y(job, rows, me)
        loss[0] = 0.0
        call(job.loss_at, (out, y, scale, d_bias, loss))
    return loss[0]
