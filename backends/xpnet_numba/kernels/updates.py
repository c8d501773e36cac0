"""Parameter updates, in place: param, velocity, m and v are written where they lie, and returned."""

import math
from typing import Any

import numpy

from xpnet.ops import Array
from xpnet.ops.updates import adam_scales
from xpnet_numba.launching import Loop, contiguous, flat, launch, matrix, writable

CHUNK = 16384
"""Parameters that a thread claims at a time: some 5 us of work, more than sharing it costs."""


def sgd_update(
    param: Array,
    grad: Array,
    velocity: Array | None = None,
    *,
    learning_rate: float,
    momentum: float = 0.0,
    nesterov: bool = False,
) -> tuple[Array, Array | None]:
    """Kernel of :func:`xpnet.ops.sgd_update`."""
    param, grad = writable(param), contiguous(grad)
    if velocity is None:
        _update(_sgd, param, grad, numbers=[learning_rate])
        return param, None
    velocity = writable(velocity)
    _update(_momentum, param, grad, velocity, numbers=[learning_rate, momentum, float(nesterov)])
    return param, velocity


def adam_update(
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
    """Kernel of :func:`xpnet.ops.adam_update`."""
    scale, root = adam_scales(t, learning_rate, beta1, beta2, epsilon_hat)
    keep = 1 - learning_rate * weight_decay
    param, grad, m, v = writable(param), contiguous(grad), writable(m), writable(v)
    _update(_adam, param, grad, m, v, numbers=[scale, root, epsilon, keep, beta1, 1 - beta1, beta2, 1 - beta2])
    return param, m, v


def _update(loop: Loop, *arrays: Array, numbers: list[float]) -> None:
    columns = (matrix(a) for a in arrays)
    launch(loop, *columns, rows=arrays[0].size, columns=1, rows_per_chunk=CHUNK, numbers=numpy.array(numbers))


def _sgd(p: Any, g: Any, _c: Any, _d: Any, _i: Any, numbers: Any, k: Any, first: Any, count: Any, _j: Any) -> None:
    p, g = flat(p, k, first, count), flat(g, k, first, count)
    learning_rate = p.dtype.type(numbers[0])
    for i in range(p.size):
        p[i] -= learning_rate * g[i]


def _momentum(p: Any, g: Any, v: Any, _d: Any, _i: Any, numbers: Any, k: Any, first: Any, count: Any, _j: Any) -> None:
    p, g, v = flat(p, k, first, count), flat(g, k, first, count), flat(v, k, first, count)
    learning_rate, momentum, nesterov = p.dtype.type(numbers[0]), p.dtype.type(numbers[1]), numbers[2] != 0.0
    for i in range(p.size):
        step = learning_rate * g[i]
        velocity = momentum * v[i] - step
        v[i] = velocity
        p[i] += momentum * velocity - step if nesterov else velocity


def _adam(p: Any, g: Any, m: Any, v: Any, _i: Any, numbers: Any, k: Any, first: Any, count: Any, _j: Any) -> None:
    p, g, m, v = flat(p, k, first, count), flat(g, k, first, count), flat(m, k, first, count), flat(v, k, first, count)
    number = p.dtype.type
    scale, root, epsilon, keep = number(numbers[0]), number(numbers[1]), number(numbers[2]), number(numbers[3])
    beta1, rest1, beta2, rest2 = number(numbers[4]), number(numbers[5]), number(numbers[6]), number(numbers[7])
    for i in range(p.size):
        mean = beta1 * m[i] + rest1 * g[i]
        square = beta2 * v[i] + rest2 * g[i] * g[i]
        m[i], v[i] = mean, square
        p[i] = keep * p[i] - scale * mean / (math.sqrt(square) * root + epsilon)
