"""Softmax and its logarithm.

Where no logit of a block exceeds 64 in size, exp can neither overflow nor vanish: no shift by the row's maximum is
needed, one loop runs over all the block's numbers, whatever the width of a row, and the rounding of the shift is saved.
"""

from collections.abc import Callable
from typing import Any

import numpy
from numba import carray, njit

from xpnet import ops
from xpnet.ops import Array
from xpnet_numba.launching import Loop, contiguous, flat, launch, row
from xpnet_numba.llvm import INNER, LANES, bits, maximum, normalise, shift, stack, widest_vectors
from xpnet_numba.scalars import FAST, exp, log_normal

BLOCK = 2048
"""Numbers worked on at a time, so that a block stays in the first-level cache from one loop to the next."""

ROOM = BLOCK + LANES
"""More than a block holds may be read."""

CHUNK = 8192
"""Numbers that a thread claims at a time: 3 to 6 us of work, more than sharing it costs."""

NEAR = 64.0


def softmax(x: Array, axis: int = -1) -> Array:
    """Kernel of :func:`xpnet.ops.softmax`; fastest along the last axis."""
    return _along(axis, x, _softmax_rows, ops.softmax)


def log_softmax(x: Array, axis: int = -1) -> Array:
    """Kernel of :func:`xpnet.ops.log_softmax`; fastest along the last axis."""
    return _along(axis, x, _log_softmax_rows, ops.log_softmax)


def _along(axis: int, x: Array, loop: Loop, reference: Callable[..., Array]) -> Array:
    """Run a loop over the vectors along one axis; the reference says what there is to say where there are none."""
    if x.size == 0 or x.ndim == 0:
        return reference(x, axis)
    if axis not in (-1, x.ndim - 1):
        return numpy.moveaxis(_along(-1, numpy.moveaxis(x, axis, -1), loop, reference), -1, axis)
    x = contiguous(x)
    rows = x if x.ndim == 2 else x.reshape(-1, x.shape[-1])
    out = numpy.empty_like(rows)
    count, columns = rows.shape
    launch(loop, rows, out, rows=count, columns=columns, rows_per_chunk=max(1, CHUNK // columns))
    return out if x.ndim == 2 else out.reshape(x.shape)


def _softmax_rows(x: Any, out: Any, _c: Any, _d: Any, _i: Any, _n: Any, k: Any, first: Any, count: Any, _j: Any) -> None:
    scratch = stack(x, ROOM)
    step = max(1, BLOCK // k)
    for begin in range(first, first + count, step):
        rows = min(step, first + count - begin)
        e = scratch if k <= BLOCK else shift(out, begin * k)
        exponentials(flat(x, k, begin, rows), carray(e, rows * k), k)
        for i in range(rows):
            normalise_row(shift(e, i * k), shift(out, (begin + i) * k), k, carray(x, 1).dtype.type(1), -1)


@njit(**INNER, **FAST)
def exponentials(x: Any, out: Any, k: Any) -> Any:
    """exp of rows of k numbers, each row less its maximum unless all are near 0; returns whether they are."""
    widest_vectors()
    # Read as integers, sizes are in the same order, and any NaN comes last.
    size_of_largest = bits(x.dtype.type(0))
    for i in range(x.size):
        size_of_largest = max(size_of_largest, bits(abs(x[i])))
        out[i] = exp(x[i])
    near = size_of_largest <= bits(x.dtype.type(NEAR))
    if not near:
        for begin in range(0, x.size, k):
            m = row_maximum(x[begin : begin + k])
            for i in range(begin, begin + k):
                out[i] = exp(x[i] - m)
    return near


@njit(**INNER, **FAST)
def row_maximum(x: Any) -> Any:
    """max x, NaN if any is."""
    m = x[0]
    for i in range(1, x.size):
        m = maximum(m, x[i])
    return m


@njit(**INNER, **FAST, forceinline=True)  # called once a row: a call would cost as much as the row
def normalise_row(e: Any, out: Any, k: Any, scale: Any, marked: Any) -> Any:
    """out = e scale / sum e, k numbers each, less scale at ``marked`` (unless that is no place in the row).

    Returns sum e. ``LANES`` numbers must be readable at e.
    """
    widest_vectors()
    if k <= 4:
        return normalise(e, out, k, scale, marked, None, 4)
    if k <= 8:
        return normalise(e, out, k, scale, marked, None, 8)
    if k <= LANES:
        return normalise(e, out, k, scale, marked, None, LANES)
    terms, out = carray(e, k), carray(out, k)
    s = scale - scale
    for j in range(k):
        s += terms[j]
    factor = scale / s
    for j in range(k):
        out[j] = terms[j] * factor
    if 0 <= marked < k:
        out[marked] -= scale
    return s


def _log_softmax_rows(
    x: Any, out: Any, _c: Any, _d: Any, _i: Any, _n: Any, k: Any, first: Any, count: Any, _j: Any
) -> None:
    widest_vectors()
    for i in range(first, first + count):
        values, logs = row(x, k, i), row(out, k, i)
        m = row_maximum(values)
        s = values.dtype.type(0)
        for j in range(k):
            s += exp(values[j] - m)
        log_s = values.dtype.type(log_normal(numpy.float64(s)))
        for j in range(k):
            logs[j] = (values[j] - m) - log_s
