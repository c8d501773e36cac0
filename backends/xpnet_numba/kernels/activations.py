"""Activations and their gradients, element by element."""

import math
from typing import Any

import numpy

from xpnet import ops
from xpnet.ops import Array
from xpnet_numba.launching import Loop, block, contiguous, flat, launch, matrix, row
from xpnet_numba.llvm import widest_vectors
from xpnet_numba.scalars import exp, expm1_negative

CHUNK = 32768
"""Numbers that a thread claims at a time: some 5 us of work, more than sharing it costs."""


SMALL = 4096
"""Up to so many numbers NumPy's own loop costs less than to launch another."""


def relu(x: Array) -> Array:
    """Kernel of :func:`xpnet.ops.relu`."""
    return numpy.maximum(x, x.dtype.type(0)) if x.size <= SMALL else _each(_relu, x)


def relu_backward(d_out: Array, x: Array) -> Array:
    """Kernel of :func:`xpnet.ops.relu_backward`."""
    return _each(_relu_backward, d_out, x) if d_out.shape == x.shape else ops.relu_backward(d_out, x)


def tanh(x: Array) -> Array:
    """Kernel of :func:`xpnet.ops.tanh`."""
    return _each(_tanh, x)


def logistic(x: Array) -> Array:
    """Kernel of :func:`xpnet.ops.logistic`."""
    return _each(_logistic, x)


def bias_relu(x: Array, bias: Array) -> Array:
    """Kernel of :func:`xpnet.ops.bias_relu`."""
    x, bias = contiguous(x), contiguous(bias)
    out = numpy.empty_like(x)
    rows, columns = x.shape
    launch(_bias_relu, x, bias[None, :], out, rows=rows, columns=columns, rows_per_chunk=_rows_per_chunk(columns))
    return out


def relu_backward_bias(d_out: Array, x: Array) -> tuple[Array, Array]:
    """Kernel of :func:`xpnet.ops.relu_backward_bias`."""
    d_out, x = contiguous(d_out), contiguous(x)
    d_x = numpy.empty_like(x)
    rows, columns = x.shape
    rows_per_chunk = _rows_per_chunk(columns)
    sums = numpy.zeros((-(-rows // rows_per_chunk), columns), x.dtype)
    launch(_relu_backward_bias, d_out, x, d_x, sums, rows=rows, columns=columns, rows_per_chunk=rows_per_chunk)
    return d_x, sums.sum(axis=0)


def _each(loop: Loop, *arrays: Array) -> Array:
    """Run a loop over arrays of one shape as if each were a column."""
    matrices = [matrix(contiguous(a)) for a in arrays]
    out = numpy.empty(arrays[0].shape, matrices[0].dtype)
    launch(loop, *matrices, matrix(out), rows=out.size, columns=1, rows_per_chunk=CHUNK)
    return out


def _rows_per_chunk(columns: int) -> int:
    return max(1, CHUNK // max(1, columns))


def _relu(x: Any, out: Any, _c: Any, _d: Any, _i: Any, _n: Any, k: Any, first: Any, count: Any, _j: Any) -> None:
    x, out = flat(x, k, first, count), flat(out, k, first, count)
    zero = x.dtype.type(0)
    for i in range(x.size):
        out[i] = zero if x[i] < zero else x[i]


def _relu_backward(
    d_out: Any, x: Any, d_x: Any, _d: Any, _i: Any, _n: Any, k: Any, first: Any, count: Any, _j: Any
) -> None:
    d_out, x, d_x = flat(d_out, k, first, count), flat(x, k, first, count), flat(d_x, k, first, count)
    zero = x.dtype.type(0)
    for i in range(x.size):
        d_x[i] = zero if x[i] <= zero else d_out[i]


def _bias_relu(
    x: Any, bias: Any, out: Any, _d: Any, _i: Any, _n: Any, k: Any, first: Any, count: Any, _j: Any
) -> None:
    x, bias, out = block(x, k, first, count), row(bias, k, 0), block(out, k, first, count)
    zero = bias.dtype.type(0)
    for i in range(count):
        for j in range(k):
            z = x[i, j] + bias[j]
            out[i, j] = zero if z < zero else z


def _relu_backward_bias(
    d_out: Any, x: Any, d_x: Any, sums: Any, _i: Any, _n: Any, k: Any, first: Any, count: Any, chunk: Any
) -> None:
    d_out, x, d_x = block(d_out, k, first, count), block(x, k, first, count), block(d_x, k, first, count)
    d_bias = row(sums, k, chunk)
    zero = d_bias.dtype.type(0)
    for i in range(count):
        for j in range(k):
            d = zero if x[i, j] <= zero else d_out[i, j]
            d_x[i, j] = d
            d_bias[j] += d


def _tanh(x: Any, out: Any, _c: Any, _d: Any, _i: Any, _n: Any, k: Any, first: Any, count: Any, _j: Any) -> None:
    """tanh |x| = (1 - e) / (1 + e) with e = exp(-2 |x|), and 1 - e without cancellation."""
    x, out = flat(x, k, first, count), flat(out, k, first, count)
    widest_vectors()
    two = x.dtype.type(2)
    for i in range(x.size):
        minus_one = expm1_negative(-two * abs(x[i]))
        out[i] = math.copysign(minus_one / (two + minus_one), x[i])


def _logistic(x: Any, out: Any, _c: Any, _d: Any, _i: Any, _n: Any, k: Any, first: Any, count: Any, _j: Any) -> None:
    """1 / (1 + e) or e / (1 + e) with e = exp(-|x|), by the sign of x."""
    x, out = flat(x, k, first, count), flat(out, k, first, count)
    widest_vectors()
    zero, one = x.dtype.type(0), x.dtype.type(1)
    for i in range(x.size):
        e = exp(-abs(x[i]))
        out[i] = (e if x[i] < zero else one) / (one + e)
