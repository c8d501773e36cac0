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
from xpnet_cupy.memory import RATES


class Operations:
    """Operations of ``xpnet.ops`` as kernels; see there for what each computes.

    launching : opens the device of an array and gives the launcher for its dtype
    """

    def __init__(self, launching: Callable[[Array], AbstractContextManager[Launcher]]) -> None:
        self._launching = launching

    def relu_backward_bias(self, d_out: Array, x: Array) -> tuple[Array, Array]:
        """Return the gradient through ReLU and by the bias before it."""
        with self._launching(x) as launcher:
            d_out, x = _contiguous(launcher, d_out, x)
            d_x, d_bias = _empty(launcher, x.shape), _empty(launcher, x.shape[1:])
            for launch in launches.backward_bias(launcher, "relu", d_out, x, d_x, d_bias):
                launch()
            return d_x, d_bias

    def sgd_update(
        self,
        param: Array,
        grad: Array,
        velocity: Array | None = None,
        *,
        learning_rate: float,
        momentum: float = 0.0,
        nesterov: bool = False,
    ) -> tuple[Array, Array | None]:
        """Take one step of gradient descent, in place."""
        rule = UpdateRule("sgd", momentum=momentum, nesterov=nesterov)
        buffers = [] if velocity is None else [velocity]
        param, *updated = self._update(rule, [param, grad, *buffers], [learning_rate])
        return param, updated[0] if updated else None

    def adam_update(
        self,
        param: Array,
        grad: Array,
        m: Array,
        v: Array,
        *,
        t: int,
        learning_rate: float,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
        epsilon_hat: bool = False,
    ) -> tuple[Array, Array, Array]:
        """Take one step of Adam or AdamW, in place."""
        rule = UpdateRule("adam", beta1=beta1, beta2=beta2, epsilon=epsilon)
        scales = adam_scales(t, learning_rate, beta1, beta2, epsilon_hat)
        rates = [learning_rate, *scales, 1 - learning_rate * weight_decay]
        param, m, v = self._update(rule, [param, grad, m, v], rates)
        return param, m, v

    def gather(self, x: Array, order: object) -> Array:
        """Return the rows of x named by ``order``."""
        with self._launching(x) as launcher:
            rows = _rows(launcher, x, cols=prod(x.shape[1:]))
            (places,) = _contiguous(launcher, launcher.xp.asarray(order, dtype=launcher.xp.int32))
            out = _empty(launcher, (places.shape[0], rows.shape[1]))
            launches.gather(launcher, rows, places, out)()
            return out.reshape((places.shape[0], *x.shape[1:]))

    def _activation(self, name: str, x: Array, bias: Array | None = None) -> Array:
        """activation(x), or activation(x + bias)."""
        with self._launching(x) as launcher:
            rows, out = _rows(launcher, x), _empty(launcher, x.shape)
            bias = bias if bias is None else launcher.xp.ascontiguousarray(bias)
            launches.bias_activation(launcher, name, rows, bias, out.reshape(rows.shape))()
            return out

    def _backward(self, name: str, d_out: Array, kept: Array) -> Array:
        """The gradient through an activation, from what it keeps."""
        with self._launching(kept) as launcher:
            d_out, kept = _contiguous(launcher, d_out, kept)
            d_x = _empty(launcher, kept.shape)
            launches.backward(launcher, name, d_out, kept, d_x)()
            return d_x

    def of_families(self) -> dict[str, Callable[..., Any]]:
        """The kernels of losses, of softmax, and of activations forward and back, by name; identity does nothing."""
        found: dict[str, Callable[..., Any]] = {name: partial(self._loss, name) for name in LOSSES}
        found["softmax"], found["log_softmax"] = (partial(self._softmax, logarithm=log) for log in (False, True))
        found["bias_relu"] = partial(self._activation, "relu")
        for name in sorted(ACTIVATIONS - {"identity"}):
            found[name], found[f"{name}_backward"] = partial(self._activation, name), partial(self._backward, name)
        for name, kernel in found.items():
            kernel.__signature__ = inspect.signature(getattr(ops, name))  # type: ignore[attr-defined]
        return found

    def _softmax(self, x: Array, axis: int = -1, *, logarithm: bool) -> Array:
        """Softmax along an axis, or its logarithm."""
        with self._launching(x) as launcher:
            xp = launcher.xp
            moved = xp.moveaxis(x, axis, -1)
            out = _empty(launcher, moved.shape)
            rows = _rows(launcher, moved)
            launches.softmax(launcher, rows, out.reshape(rows.shape), logarithm=logarithm)()
            return xp.moveaxis(out, -1, axis)

    def _loss(
        self,
        name: str,
        outputs: Array,
        labels: Labels,
        sample_weight: Array | None = None,
        **given: float | Sequence[float],
    ) -> tuple[Array, Array]:
        """The loss and its gradient. given : the number that the loss takes, or one for each output, by its name"""
        with self._launching(outputs) as launcher:
            xp, rows = launcher.xp, outputs.shape[0]
            (outputs,) = _contiguous(launcher, outputs)
            labels = xp.ascontiguousarray(labels).astype("int64" if labels.ndim == 1 else outputs.dtype, copy=False)
            batch, total = Batch(labels.ndim == 1, labels), rows
            if sample_weight is not None:
                weight = xp.ascontiguousarray(sample_weight).astype(outputs.dtype, copy=False)
                total = xp.sum(weight)
                batch = batch._replace(weight=weight, total_weight=total.reshape(1))
            d_outputs, row_loss = _empty(launcher, outputs.shape), xp.zeros(rows, dtype=xp.float64)
            numbers: list[float] = []
            if name in LOSS_NUMBERS:
                argument, default, _ = LOSS_NUMBERS[name]  # type: ignore[index]
                numbers = numpy.broadcast_to(given.get(argument, default), outputs.shape[1:]).tolist()
            launches.loss(launcher, name, outputs, batch, d_outputs, row_loss, numbers)()
            return xp.sum(row_loss / total).astype(outputs.dtype), d_outputs

    def _update(self, rule: UpdateRule, arrays: list[Array], rates: list[float]) -> list[Array]:
        with self._launching(arrays[0]) as launcher:
            param, grad, *buffers = _contiguous(launcher, *arrays)
            on_device = launcher.xp.asarray([*rates, *[0.0] * (RATES - len(rates))], dtype=launcher.xp.float64)
            launches.update(launcher, rule, [param, grad, *buffers], on_device)()
            return [param, *buffers]


def table(launching: Callable[[Array], AbstractContextManager[Launcher]]) -> Mapping[str, Kernel]:
    """The backend's kernels by name; ``launching`` as for :class:`Operations`."""
    operations = Operations(launching)
    names = set(dir(operations)) & set(ops.__all__)
    return {name: Kernel(kernel) for name, kernel in operations.of_families().items()} | {
        name: Kernel(getattr(operations, name)) for name in names
    }


def _contiguous(launcher: Launcher, *arrays: Array) -> list[Array]:
    return [launcher.xp.ascontiguousarray(array).reshape(array.shape) for array in arrays]  # a 0-d array stays one


def _empty(launcher: Launcher, shape: tuple[int, ...]) -> Array:
    return launcher.xp.empty(shape, dtype=launcher.dtype)


def _rows(launcher: Launcher, x: Array, cols: int | None = None) -> Array:
    """x as C-contiguous rows of ``cols`` items: of its last axis where none are given."""
    cols = cols if cols is not None else (x.shape[-1] if x.ndim else 1)
    count = x.size // cols if cols else prod(x.shape[:-1])
    return launcher.xp.ascontiguousarray(x).reshape((count, cols))
