"""Rows of a matrix in a given order."""

from math import prod
from typing import Any

import numpy
from numba import carray

from xpnet import ops
from xpnet.ops import Array
from xpnet_numba.launching import contiguous, launch, row
from xpnet_numba.llvm import address, prefetch, shift

CHUNK = 16384
"""Numbers that a thread claims at a time."""

AHEAD = 4
"""Rows are asked for so many rows before they are read: the processor cannot guess where the next one lies."""


def gather(x: Array, order: Any) -> Array:
    """Kernel of :func:`xpnet.ops.gather`; an order it cannot follow goes to the reference, which says what is wrong."""
    columns = prod(x.shape[1:])
    index = contiguous(order)
    if columns == 0 or index.ndim != 1 or index.dtype.kind not in "iu":
        return ops.gather(x, order)
    x, index = contiguous(x), index.astype(numpy.int64, copy=False)
    out = numpy.empty((index.size, columns), x.dtype)
    numbers = numpy.array([x.shape[0], 0.0])
    launch(
        _gather,
        x.reshape(1, -1),
        out,
        rows=index.size,
        columns=columns,
        rows_per_chunk=max(1, CHUNK // columns),
        index=index,
        numbers=numbers,
    )
    return ops.gather(x, order) if numbers[1] else out.reshape(index.size, *x.shape[1:])


def _gather(x: Any, out: Any, _c: Any, _d: Any, index: Any, numbers: Any, k: Any, first: Any, count: Any, _j: Any) -> None:
    rows, line = int(numbers[0]), 64 // carray(x, 1).itemsize
    for i in range(first, first + count):
        if not 0 <= index[i] < rows:
            numbers[1] = 1.0
            return
        if i + AHEAD < first + count:
            for j in range(0, k, line):
                prefetch(address(shift(x, index[i + AHEAD] * k + j)))
        source, target = row(x, k, index[i]), row(out, k, i)
        for j in range(k):
            target[j] = source[j]
