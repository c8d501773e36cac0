"""The kernels under the names and signatures of ``xpnet.ops``: they allocate, take any strides, validate nothing."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from math import prod
from typing import Any

import numpy

from xpnet import ops
from xpnet.backend import Kernel, UpdateRule
from xpnet.backend.spec import LOSS_NUMBERS
from xpnet.ops import Array, Labels
from xpnet.ops.updates import adam_scales
from xpnet_cupy import launches
from xpnet_cupy.launcher import ACTIVATIONS, LOSSES, Launcher
from xpnet_cupy.launches import Batch
from xpnet_cupy.memory import RATES, as_read

Launching = Callable[[Array], AbstractContextManager[Launcher]]
"""Opens the device of an array and gives the launcher for its dtype."""


def table(launching: Launching) -> Mapping[str, Kernel]:
    """The kernels of losses, updates, softmax, and activations forward and back; identity does nothing."""
    found: dict[str, Callable[..., Any]] = {
        "sgd_update": partial(_sgd_update, launching),
        "adam_update": partial(_adam_update, launching),
        **{name: partial(_softmax, launching, name) for name in ("softmax", "log_softmax")},
        "bias_relu": partial(_activation, launching, "relu"),
        **{name: partial(_loss, launching, name) for name in LOSSES},
    }
    for name in sorted(ACTIVATIONS - {"identity"}):
        found[name] = partial(_activation, launching, name)
        found[f"{name}_backward"] = partial(_backward, launching, name)
    for name, kernel in found.items():
        kernel.__signature__ = inspect.signature(getattr(ops, name))  # type: ignore[attr-defined]
    return {name: Kernel(kernel) for name, kernel in found.items()}


def _sgd_update(
    launching: Launching,
    param: Array,
    grad: Array,
    velocity: Array | None = None,
    *,
    learning_rate: float,
    **numbers: Any,
) -> tuple[Array, Array | None]:
    """Take one step of gradient descent, in place. numbers : of the rule"""
    buffers = [] if velocity is None else [velocity]
    param, *updated = _update(
        launching, UpdateRule("sgd", **numbers), [param, grad, *buffers], [learning_rate]
    )
    return param, updated[0] if updated else None


def _adam_update(
    launching: Launching,
    param: Array,
    grad: Array,
    m: Array,
    v: Array,
    *,
    t: int,
    learning_rate: float,
    **numbers: Any,
) -> tuple[Array, ...]:
    """Take one step of Adam or AdamW, in place. numbers : of the rule"""
    rule = UpdateRule("adam", **numbers)
    scales = adam_scales(t, learning_rate, rule.beta1, rule.beta2, rule.epsilon_hat)
    rates = [learning_rate, *scales, 1 - learning_rate * rule.weight_decay]
    return tuple(_update(launching, rule, [param, grad, m, v], rates))


def _update(
    launching: Launching, rule: UpdateRule, arrays: list[Array], rates: list[float]
) -> list[Array]:
    """Update the first array by the second; returns it and the rule's buffers."""
    with launching(arrays[0]) as launcher:
        param, grad, *buffers = _contiguous(launcher, *arrays)
        on_device = launcher.xp.asarray(
            [*rates, *[0.0] * (RATES - len(rates))], dtype=launcher.xp.float64
        )
        launches.update(launcher, rule, [param, grad, *buffers], on_device)()
        return [param, *buffers]


def _activation(launching: Launching, name: str, x: Array, bias: Array | None = None) -> Array:
    """activation(x), or activation(x + bias)."""
    with launching(x) as launcher:
        rows, out = _rows(launcher, x), _empty(launcher, x.shape)
        bias = bias if bias is None else launcher.xp.ascontiguousarray(bias)
        launches.bias_activation(launcher, name, rows, bias, out.reshape(rows.shape))()
        return out


def _backward(launching: Launching, name: str, d_out: Array, kept: Array) -> Array:
    """The gradient through an activation, from what it keeps."""
    with launching(kept) as launcher:
        d_out, kept = _contiguous(launcher, d_out, kept)
        d_x = _empty(launcher, kept.shape)
        launches.backward(launcher, name, d_out, kept, d_x)()
        return d_x


def _softmax(launching: Launching, name: str, x: Array, axis: int = -1) -> Array:
    """Softmax along an axis, or its logarithm."""
    with launching(x) as launcher:
        xp = launcher.xp
        moved = xp.moveaxis(x, axis, -1)
        out = _empty(launcher, moved.shape)
        rows = _rows(launcher, moved)
        launches.softmax(launcher, rows, out.reshape(rows.shape), name)()
        return xp.moveaxis(out, -1, axis)


def _loss(
    launching: Launching,
    name: str,
    outputs: Array,
    labels: Labels,
    sample_weight: Array | None = None,
    **given: float | Sequence[float],
) -> tuple[Array, Array]:
    """The loss and its gradient. given : the number that the loss takes, or one for each output, by its name"""
    with launching(outputs) as launcher:
        xp, rows = launcher.xp, outputs.shape[0]
        (outputs,) = _contiguous(launcher, outputs)
        labels = as_read(launcher, labels, "int64" if labels.ndim == 1 else launcher.dtype)
        batch, total = Batch(labels.ndim == 1, labels), rows
        if sample_weight is not None:
            weight = as_read(launcher, sample_weight, launcher.dtype)
            total = xp.sum(weight)
            batch = batch._replace(weight=weight, total_weight=total.reshape(1))
        d_outputs, row_loss = _empty(launcher, outputs.shape), xp.zeros(rows, dtype=xp.float64)
        numbers: list[float] = []
        if name in LOSS_NUMBERS:
            argument, default, _ = LOSS_NUMBERS[name]  # type: ignore[index]
            numbers = numpy.broadcast_to(given.get(argument, default), outputs.shape[1:]).tolist()
        launches.loss(launcher, name, outputs, batch, d_outputs, row_loss, numbers)()
        return xp.sum(row_loss / total).astype(outputs.dtype), d_outputs


def _contiguous(launcher: Launcher, *arrays: Array) -> list[Array]:
    return [
        launcher.xp.ascontiguousarray(array).reshape(array.shape) for array in arrays
    ]  # a 0-d array stays one


def _empty(launcher: Launcher, shape: tuple[int, ...]) -> Array:
    return launcher.xp.empty(shape, dtype=launcher.dtype)


def _rows(launcher: Launcher, x: Array) -> Array:
    """x as C-contiguous rows of its last axis."""
    cols = x.shape[-1] if x.ndim else 1
    return launcher.xp.ascontiguousarray(x).reshape((prod(x.shape[:-1]), cols))
