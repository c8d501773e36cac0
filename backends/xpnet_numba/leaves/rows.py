"""Rows: gathered in the order of a batch, added up, read ahead, looked through."""

from typing import Any

import numpy

from xpnet_numba.leaves.registry import COUNT, INDICES, MATRIX, RESULT, VECTOR, leaf
from xpnet_numba.llvm import bits, prefetch, widest_vectors

AHEAD = 4  # rows: by the time the loop comes to a row, memory has answered (34 against 50 us for 200 rows of 3 KB)
LINE = 64  # bytes that travel together


@leaf(MATRIX, INDICES, MATRIX)
def gather_rows(x: Any, order: Any, out: Any) -> None:
    """out[i] = x[order[i]], as far as out is wide; rows to come are asked for in time."""
    step = LINE // x.itemsize
    for i in range(order.size):
        if i + AHEAD < order.size:
            ahead = order[i + AHEAD]
            for j in range(0, out.shape[1], step):
                prefetch(x[ahead, j:].ctypes.data)
        row = order[i]
        for j in range(out.shape[1]):
            out[i, j] = x[row, j]


@leaf(MATRIX, COUNT, VECTOR)
def add_rows(x: Any, first: Any, out: Any) -> None:
    """out = the sum over rows, in their order, of the columns of x from ``first`` on."""
    out[:] = 0
    for i in range(x.shape[0]):
        for j in range(out.size):
            out[j] += x[i, first + j]


@leaf(MATRIX, COUNT, RESULT)
def find_spoiled(x: Any, columns: Any, found: Any) -> None:
    """Whether any of the first columns of x holds NaN or infinity: 1 or 0."""
    widest_vectors()
    infinity = bits(x.dtype.type(numpy.inf))
    largest = infinity - infinity
    for i in range(x.shape[0]):
        for j in range(columns):
            # Read as integers, sizes are in the same order, and any NaN comes last.
            largest = max(largest, bits(abs(x[i, j])))
    found[0] = 1.0 if largest >= infinity else 0.0


@leaf(MATRIX, VECTOR)
def read_ahead(x: Any, sink: Any) -> None:
    """Read one item of every cache line of x, so that what comes next finds it near; ``sink`` keeps the reads alive."""
    flat = x.reshape(x.size)
    total = x.dtype.type(0)
    for i in range(0, flat.size, LINE // x.itemsize):
        total += flat[i]
    sink[0] = total
