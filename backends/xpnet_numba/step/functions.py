"""The C functions of a step, called by their addresses: loops for one dtype, and the jobs that call
them.

So a step is assembled at run time: each loop is compiled separately at first use, and serves every
network. Activations and losses overwrite their inputs; compiled in this way, their loops need not
test for overlap.
"""

import ctypes
import inspect
from collections.abc import Callable, Mapping
from functools import cache

from numba import types

from xpnet.backend import NetworkSpec
from xpnet_numba.internals import Signature
from xpnet_numba.kinds import Address, Compiled, Indices, Matrix, Numbers, Vector, placeholder
from xpnet_numba.llvm.emit import widest_vectors
from xpnet_numba.llvm.memory import array, flat, pointer, pointer_to, section, shift, stack
from xpnet_numba.loops import (
    activations,
    bfloat16,
    dropout,
    losses,
    members,
    packed,
    products,
    rows,
    softmax,
    updates,
)
from xpnet_numba.loops.activations import JOINED_SIZE
from xpnet_numba.runtime import threads
from xpnet_numba.runtime.compiling import c_function, filled_in
from xpnet_numba.scalars import exp, logistic
from xpnet_numba.step import forward, train
from xpnet_numba.step import members as member_jobs
from xpnet_numba.step.job import Job, job_type

ITEMS = {"float32": types.float32, "float64": types.float64}


# Templates. These names are placeholders for the loop, formula or type that is filled in.
activation: Compiled = placeholder
gradient: Compiled = placeholder
loss_of: Compiled = placeholder


def _forward(z: Matrix, bias: Vector) -> None:
    """Add the bias to ``z`` (rows, features) and apply the activation, in place."""
    widest_vectors()
    tiled = activations.tiled(bias, z.shape[0], stack(pointer_to(z), JOINED_SIZE))
    activations.forward_with_bias(activation, flat(z), tiled, flat(z))


def _backward(d: Matrix, kept: Matrix, d_bias: Vector) -> None:
    """Multiply ``d`` (rows, features) by the activation's derivative in place, and add its column
    sums to ``d_bias``.

    kept : (rows, features), what the derivative is computed from
    """
    sums = activations.sums_of(d_bias, d.shape[0], stack(pointer_to(d), JOINED_SIZE))
    activations.backward_with_sums(gradient, flat(d), flat(kept), flat(d), sums)
    activations.add_up(sums, d_bias)


def _keep(z: Matrix, bias: Vector, kept: Matrix) -> None:
    """Write z + bias, which the activation's derivative needs, to ``kept`` (rows, features)."""
    tiled = activations.tiled(bias, z.shape[0], stack(pointer_to(z), JOINED_SIZE))
    activations.forward_with_bias(activations.identity, flat(z), tiled, flat(kept))


def _softmax_loss(
    z: Matrix, labels: Matrix, scale: Vector, loss_numbers: Vector, d_bias: Vector, loss: Numbers
) -> None:
    """Replace logits ``z`` (rows, classes) by the gradient of a loss after softmax; add to
    ``loss`` and ``d_bias``.

    labels : (rows, classes)
    """
    loss_of(z, labels, scale, z, d_bias, loss)


def _indexed_loss(
    z: Matrix, labels: Indices, scale: Vector, loss_numbers: Vector, d_bias: Vector, loss: Numbers
) -> None:
    """Do what :func:`_softmax_loss` does for labels that are class indices (rows,)."""
    loss_of(z, labels, scale, z, d_bias, loss)


def _loss(
    z: Matrix, labels: Matrix, scale: Vector, loss_numbers: Vector, d_bias: Vector, loss: Numbers
) -> None:
    """Replace ``z`` (rows, outputs) by the gradient of a loss that is a sum over outputs; add to
    ``loss`` and ``d_bias``.
    """
    losses.item_by_item(loss_of, z, labels, scale, loss_numbers, d_bias, loss)


def _wide_loss(
    z: Matrix, labels: Matrix, scale: Vector, loss_numbers: Vector, d_bias: Vector, loss: Numbers
) -> None:
    """Do what :func:`_loss` does with the widest vectors of the processor, over joined rows."""
    widest_vectors()
    losses.items_of_joined_rows(loss_of, z, labels, scale, loss_numbers, d_bias, loss)


def _softmax_loss_with_offsets(
    z: Matrix, labels: Matrix, scale: Vector, loss_numbers: Vector, d_bias: Vector, loss: Numbers
) -> None:
    """Add offsets to ``z``, then do what :func:`_softmax_loss` does, row by row.

    labels : (rows, 2 * classes), the labels and behind them the offsets
    """
    k = z.shape[1]
    for i in range(z.shape[0]):
        row = section(z, i, 1)
        losses.add_offsets(row, labels[i])
        own = array(shift(pointer_to(labels), 2 * k * i), (1, k))
        loss_of(row, own, section(scale, i, 1), row, d_bias, loss)


def _loss_with_offsets(
    z: Matrix, labels: Matrix, scale: Vector, loss_numbers: Vector, d_bias: Vector, loss: Numbers
) -> None:
    """Add offsets to ``z``, then do what :func:`_loss` does, row by row.

    labels : (rows, 2 * outputs), the labels and behind them the offsets
    """
    k = z.shape[1]
    for i in range(z.shape[0]):
        row = section(z, i, 1)
        losses.add_offsets(row, labels[i])
        own = array(shift(pointer_to(labels), 2 * k * i), (1, k))
        losses.item_by_item(loss_of, row, own, section(scale, i, 1), loss_numbers, d_bias, loss)


def _elementwise(z: Matrix, loss_numbers: Vector) -> None:
    """Apply an elementwise output activation to ``z`` (rows, outputs), in place."""
    widest_vectors()
    activations.forward(activation, flat(z), flat(z))


def _softmax(z: Matrix, loss_numbers: Vector) -> None:
    """Replace each row of ``z`` (rows, classes) by its softmax."""
    softmax.softmax(z, z)


def _nothing(z: Matrix, loss_numbers: Vector) -> None:
    """Leave ``z`` as it is, as the outputs of a network without an output activation."""


def _drop(
    x: Matrix,
    out: Matrix,
    first: int,
    positions: Indices,
    rate: float,
    seed: Indices,
    layer: int,
    t: int,
) -> None:
    """Apply dropout to rows: those from ``first`` on of a larger batch, or those at ``positions``
    in it.
    """
    columns = x.shape[1]
    for i in range(positions.size):
        dropout.drop(x[i], out[i], positions[i] * columns, rate, seed, layer, t)
    if positions.size == 0:
        dropout.drop(flat(x), flat(out), first * columns, rate, seed, layer, t)


_LOOPS: list[Callable[..., None]] = [
    rows.gather,
    rows.gather_labels,
    rows.add_rows,
    rows.find_nonfinite,
]
_LOOPS += [
    members.scale,
    members.scale_backward,
    members.scale_weight_backward,
    members.add_share,
    updates.penalize,
    updates.keep_within,
]
_SPARSE_LOOPS: list[Callable[..., None]] = [rows.sparse_times, rows.sparse_gradient, rows.densify]

FUNCTIONS: dict[str, tuple[Callable[..., None], Mapping[str, object]]] = {
    "softmax_output": (_softmax, {}),
    "multi_softmax_output": (softmax.multi_softmax, {}),
    "ordered_output": (softmax.ordered, {}),
    "identity_output": (_nothing, {}),
    "logistic_output": (_elementwise, {"activation": logistic}),
    "exp_output": (_elementwise, {"activation": exp}),
    "softmax_cross_entropy_indices": (
        _indexed_loss,
        {"loss_of": losses.softmax_cross_entropy_indices},
    ),
    "softmax_cross_entropy_rows": (_softmax_loss, {"loss_of": losses.softmax_cross_entropy_rows}),
    "softmax_cross_entropy_rows_with_offsets": (
        _softmax_loss_with_offsets,
        {"loss_of": losses.softmax_cross_entropy_rows},
    ),
    "logistic_cross_entropy_with_offsets": (
        _loss_with_offsets,
        {"loss_of": losses.logistic_cross_entropy},
    ),
    "multi_softmax_cross_entropy": (losses.multi_softmax_cross_entropy, {}),
    "ordered_cross_entropy": (losses.ordered_cross_entropy, {}),
    "keep": (_keep, {}),
    "drop": (_drop, {}),
}
"""Every C function of a step by name: a loop or a template, and the values that are filled in. Its
annotations determine the types of its arguments.
"""
FUNCTIONS |= {loop.__name__: (loop, {}) for loop in _LOOPS}
FUNCTIONS |= {name: (loop, {}) for name, loop in (products.PRODUCTS | updates.UPDATES).items()}
FUNCTIONS |= {"multiply_packed": (packed.multiply, {})}
FUNCTIONS |= bfloat16.PRODUCTS
for width in (types.int32, types.int64):
    FUNCTIONS |= {f"{loop.__name__}_{width}": (loop, {"index": width}) for loop in _SPARSE_LOOPS}
FUNCTIONS |= {
    f"{name}_forward": (_forward, {"activation": f})
    for name, (f, _) in activations.ACTIVATIONS.items()
}
FUNCTIONS |= {
    f"{name}_backward": (_backward, {"gradient": f})
    for name, (_, f) in activations.ACTIVATIONS.items()
}
for name, formula in losses.FORMULAS.items():
    FUNCTIONS[name] = (_wide_loss if name in losses.WIDEST else _loss, {"loss_of": formula})


@cache
def address(name: str, dtype: str) -> Address:
    """Return the address of a function for one dtype, compiled at first use."""
    (template, values), item = FUNCTIONS[name], ITEMS[dtype]
    argument_types: dict[object, types.Type] = {
        Matrix: item[:, ::1],
        Vector: item[::1],
        float: types.float64,
        int: types.int64,
    }
    # Results may go into ``Numbers``: a C function that is called by its address returns nothing.
    argument_types |= {Indices: types.int64[::1], Numbers: types.float64[::1]}
    arguments = (
        argument_types[parameter.annotation]
        for parameter in inspect.signature(template).parameters.values()
    )
    return c_function(filled_in(template, name, **values), types.void(*arguments))


# The step's jobs, which the team runs, and their start from Python.


_PHASES = {"work_phase": member_jobs.work_phase}

JOBS: dict[str, tuple[Callable[..., None], Mapping[str, object], Mapping[str, object]]] = {
    "train": (train.train, {}, _PHASES),
    "train_phase": (train.train_phase, {}, _PHASES),
    "predict": (forward.evaluate, {"work": forward.predict}, {"work": member_jobs.predict_members}),
    "measure": (forward.evaluate, {"work": forward.measure}, {"work": member_jobs.measure_members}),
}
"""The step's jobs by name: a C function or a template, and the values that are filled in for one
network and for members.
"""


@cache
def job_function(name: str, dtype: str, *, members: bool) -> Address:
    """Return the C function of a job for one network or for members. The cache keeps it alive."""
    template, of_one, of_members = JOBS[name]
    values, name = (of_members, f"{name}_members") if members and of_members else (of_one, name)
    return c_function(filled_in(template, name, **values), signature_of(dtype))


def signature_of(dtype: str) -> Signature:
    """Return the signature of every job."""
    return types.void(types.CPointer(job_type(dtype)), types.int64)


def run_job(name: str, spec: NetworkSpec, job: Job, count: int) -> None:
    """Run a job of the step on ``count`` threads."""
    function = job_function(name, spec.dtype, members=spec.members > 1)
    threads.team.lead(threads.share_entry(), count, function, ctypes.addressof(job))


def _lead_prediction(
    board: Address,
    number: int,
    count: int,
    function: Address,
    job_at: Address,
    x: Matrix,
    result: Matrix,
    claims: Indices,
) -> None:
    """Set X and the array of outputs in a prediction's job, and share the job."""
    job = array(pointer(job_at, JOB), 1)[0]
    job.x_at, job.x_row, job.result_at = (
        x.ctypes.data,
        x.strides[0] // x.itemsize,
        result.ctypes.data,
    )
    job.starts_at = job.order_at = 0
    job.rows, job.blocks, job.threads, job.claims_at = (
        x.shape[0],
        claims.size,
        count,
        claims.ctypes.data,
    )
    threads.share(board, number, count, function, job_at)


JOB: types.Type | None = None  # placeholder for the type of the job


@cache
def prediction_entry(dtype: str) -> Callable[..., None]:
    """Return :func:`_lead_prediction` as Python calls it. It takes arrays, which takes a third of
    the time of setting each field.
    """
    item = ITEMS[dtype]
    lead = filled_in(_lead_prediction, f"lead_prediction_{dtype}", JOB=job_type(dtype))
    return threads.entry(
        lead, types.void(*[types.int64] * 5, item[:, :], item[:, ::1], types.int64[::1])
    )
