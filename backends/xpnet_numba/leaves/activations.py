"""Activations in place: z (rows, out) holds x W and becomes f(x W + b); d (rows, out) holds dL/df and becomes dL/dz.

The way back also adds the column sums of d to ``d_bias`` (out,): the bias gradient, while d is at hand.
"""

import math
from typing import Any

from xpnet_numba.leaves.registry import MATRIX, VECTOR, leaf
from xpnet_numba.scalars import exp


@leaf(MATRIX, VECTOR)
def identity_forward(z: Any, bias: Any) -> None:
    """z + b."""
    for i in range(z.shape[0]):
        for j in range(z.shape[1]):
            z[i, j] += bias[j]


@leaf(MATRIX, MATRIX, VECTOR)
def identity_backward(d: Any, out: Any, d_bias: Any) -> None:
    """dL/dz = dL/df."""
    for i in range(d.shape[0]):
        for j in range(d.shape[1]):
            d_bias[j] += d[i, j]


@leaf(MATRIX, VECTOR)
def relu_forward(z: Any, bias: Any) -> None:
    """max(0, z + b); NaN stays NaN."""
    zero = z.dtype.type(0)
    for i in range(z.shape[0]):
        for j in range(z.shape[1]):
            value = z[i, j] + bias[j]
            z[i, j] = zero if value < zero else value


@leaf(MATRIX, MATRIX, VECTOR)
def relu_backward(d: Any, out: Any, d_bias: Any) -> None:
    """dL/dz = dL/df where f > 0, else 0; where f is NaN, dL/df passes."""
    zero = d.dtype.type(0)
    for i in range(d.shape[0]):
        for j in range(d.shape[1]):
            value = zero if out[i, j] <= zero else d[i, j]
            d[i, j] = value
            d_bias[j] += value


@leaf(MATRIX, VECTOR)
def tanh_forward(z: Any, bias: Any) -> None:
    """tanh x = sign(x) (1 - e) / (1 + e), from e = exp(-2 |x|), which never overflows."""
    number = z.dtype.type
    one, minus_two = number(1), number(-2)
    for i in range(z.shape[0]):
        for j in range(z.shape[1]):
            x = z[i, j] + bias[j]
            e = exp(minus_two * abs(x))
            z[i, j] = math.copysign((one - e) / (one + e), x)


@leaf(MATRIX, MATRIX, VECTOR)
def tanh_backward(d: Any, out: Any, d_bias: Any) -> None:
    """dL/dz = dL/df (1 - f^2)."""
    one = d.dtype.type(1)
    for i in range(d.shape[0]):
        for j in range(d.shape[1]):
            value = d[i, j] * (one - out[i, j] * out[i, j])
            d[i, j] = value
            d_bias[j] += value


@leaf(MATRIX, VECTOR)
def logistic_forward(z: Any, bias: Any) -> None:
    """1 / (1 + exp(-x)), from e = exp(-|x|), which never overflows."""
    number = z.dtype.type
    zero, one = number(0), number(1)
    for i in range(z.shape[0]):
        for j in range(z.shape[1]):
            x = z[i, j] + bias[j]
            e = exp(-abs(x))
            z[i, j] = (e if x < zero else one) / (one + e)


@leaf(MATRIX, MATRIX, VECTOR)
def logistic_backward(d: Any, out: Any, d_bias: Any) -> None:
    """dL/dz = dL/df f (1 - f)."""
    one = d.dtype.type(1)
    for i in range(d.shape[0]):
        for j in range(d.shape[1]):
            value = d[i, j] * out[i, j] * (one - out[i, j])
            d[i, j] = value
            d_bias[j] += value
