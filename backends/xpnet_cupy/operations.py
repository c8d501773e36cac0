"""The kernels under the names and signatures of ``xpnet.ops``: they allocate, take any strides,
validate nothing.
"""

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
from xpnet.ops import UPDATES, Array, Labels, UpdateName
from xpnet_cupy import launches
from xpnet_cupy.launcher import ACTIVATIONS, LOSSES, Launcher
from xpnet_cupy.launches import LossBatch
from xpnet_cupy.memory import RATES, as_read

Launching = Callable[[Array], AbstractContextManager[Launcher]]
"""Opens the device of an array and gives the launcher for its dtype."""


def table(launching: Launching) -> Mapping[str, Kernel]:
    """The operations whose kernels a compiled step has, too: losses, updates, softmax and
    activations; all others are the reference's.
    """
    functions: dict[str, Callable[..., object]] = {
        **{
            update.function.__name__: partial(_update, launching, name)
            for name, update in UPDATES.items()
        },
        "softmax": partial(_softmax, launching),
        "bias_relu": partial(_activation, launching, "relu"),
        **{name: partial(_loss, launching, name) for name in LOSSES},
    }
    for name in sorted(ACTIVATIONS - {"identity"}):
        functions[name] = partial(_activation, launching, name)
    for name, kernel in functions.items():
        kernel.__signature__ = inspect.signature(getattr(ops, name))  # type: ignore[attr-defined]
    return {name: Kernel(kernel) for name, kernel in functions.items()}


def _update(
    launching: Launching,
    name: UpdateName,
    param: Array,
    grad: Array,
    *buffers: Array | None,
    learning_rate: float,
    t: int = 1,
    **numbers: Any,
) -> tuple[Array | None, ...]:
    """Make one step of an update, in place. numbers : of its rule, and perhaps buffers by their
    names
    """
    named = [numbers.pop(buffer, None) for buffer in UPDATES[name].buffers[len(buffers) :]]
    buffers = (*buffers, *named)
    rule = UpdateRule(name, **numbers)
    with launching(param) as launcher:
        present = [array for array in buffers if array is not None]
        arrays = _contiguous(launcher, param, grad, *present)
        rates = launcher.xp.asarray(_rates(rule, t, learning_rate), dtype=launcher.xp.float64)
        launches.update(launcher, rule, arrays, rates)()
    updated = iter(arrays[2:])
    return arrays[0], *(None if array is None else next(updated) for array in buffers)


def _rates(rule: UpdateRule, t: int, learning_rate: float) -> list[float]:
    """Return what `next_batch` writes into ``rates`` for an update, in the order of kernels.cu."""
    scale, root, grad_scale, *_ = (*rule.scales(t, learning_rate), 0.0, 0.0, 0.0)
    keep = 1 - learning_rate * rule.weight_decay
    rates = [learning_rate, scale, root, keep]
    return [*rates, *[0.0] * (RATES - 1 - len(rates)), grad_scale]


def _activation(launching: Launching, name: str, x: Array, bias: Array | None = None) -> Array:
    """activation(x), or activation(x + bias)."""
    with launching(x) as launcher:
        rows, out = _rows(launcher, x), _empty(launcher, x.shape)
        bias = bias if bias is None else launcher.xp.ascontiguousarray(bias)
        launches.bias_activation(launcher, name, rows, bias, launcher.xp.reshape(out, rows.shape))()
        return out


def _softmax(launching: Launching, x: Array, axis: int = -1) -> Array:
    """Softmax along an axis."""
    with launching(x) as launcher:
        xp = launcher.xp
        moved = xp.moveaxis(x, axis, -1)
        out = _empty(launcher, moved.shape)
        rows = _rows(launcher, moved)
        launches.softmax(launcher, rows, launcher.xp.reshape(out, rows.shape))()
        return xp.moveaxis(out, -1, axis)


def _loss(
    launching: Launching,
    name: str,
    outputs: Array,
    labels: Labels,
    sample_weight: Array | None = None,
    **options: float | Sequence[float],
) -> tuple[Array, Array]:
    """The loss and its gradient. options : the number that the loss takes, or one for each output,
    by its name
    """
    with launching(outputs) as launcher:
        xp, rows = launcher.xp, outputs.shape[0]
        (outputs,) = _contiguous(launcher, outputs)
        labels = as_read(launcher, labels, "int64" if labels.ndim == 1 else launcher.dtype)
        batch, total = LossBatch(labels.ndim == 1, labels), rows
        if sample_weight is not None:
            weight = as_read(launcher, sample_weight, launcher.dtype)
            total = xp.sum(weight)
            batch = batch._replace(weight=weight, total_weight=total.reshape(1))
        d_outputs, row_loss = _empty(launcher, outputs.shape), xp.zeros(rows, dtype=xp.float64)
        numbers: list[float] = []
        if name in LOSS_NUMBERS:
            argument, default, _ = LOSS_NUMBERS[name]  # type: ignore[index]
            numbers = numpy.broadcast_to(options.get(argument, default), outputs.shape[1:]).tolist()
        launches.loss(launcher, name, outputs, batch, d_outputs, row_loss, numbers)()
        return xp.sum(row_loss / total).astype(outputs.dtype), d_outputs


def _contiguous(launcher: Launcher, *arrays: Array) -> list[Array]:
    """Return each array itself or a C-contiguous copy, of the same shape also where that is 0-d."""
    return [launcher.xp.ascontiguousarray(array).reshape(array.shape) for array in arrays]


def _empty(launcher: Launcher, shape: tuple[int, ...]) -> Array:
    """Return an array for a kernel to fill."""
    return launcher.xp.empty(shape, dtype=launcher.dtype)


def _rows(launcher: Launcher, x: Array) -> Array:
    """x as C-contiguous rows of its last axis."""
    cols = x.shape[-1] if x.ndim else 1
    return launcher.xp.ascontiguousarray(x).reshape((prod(x.shape[:-1]), cols))
