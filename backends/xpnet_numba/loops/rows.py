"""Rows: gathered in a given order, added up, looked through."""

import numpy

from xpnet_numba.kinds import Indices, Matrix, Numbers, Vector
from xpnet_numba.llvm import bits, larger, prefetch
from xpnet_numba.llvm.memory import LINE
from xpnet_numba.loops.compiled import inlined, inner
from xpnet_numba.loops.softmax import largest_magnitude

AHEAD = 4
"""Rows are asked for so many rows before they are read, since the processor cannot guess where the next one lies: fewer
would come too late, more would be dropped from the cache before they are read."""


@inlined
def gather(order: Indices, out: Matrix, x: Matrix, unknown: Numbers) -> None:
    """out[i] = x[order[i]], as many columns as out has. Where x has no such row, it is counted in ``unknown`` (1,) and
    out[i] stays as it was.
    """
    step = LINE // x.itemsize
    for i in range(order.size):
        if i + AHEAD < order.size and 0 <= order[i + AHEAD] < x.shape[0]:
            for j in range(0, out.shape[1], step):
                prefetch(x[order[i + AHEAD], j:].ctypes.data)
        row = order[i]
        if 0 <= row < x.shape[0]:
            for j in range(out.shape[1]):
                out[i, j] = x[row, j]
        else:
            unknown[0] += 1


def gather_labels(order: Indices, out: Indices, labels: Indices, unknown: Numbers) -> None:
    """:func:`gather` for class indices: out[i] = labels[order[i]]."""
    for i in range(order.size):
        if 0 <= order[i] < labels.size:
            out[i] = labels[order[i]]
        else:
            unknown[0] += 1


def add_rows(x: Matrix, first: int, out: Vector) -> None:
    """out = the sum over rows, in their order, of the columns of x from ``first`` on."""
    out[:] = 0
    for i in range(x.shape[0]):
        for j in range(out.size):
            out[j] += x[i, first + j]


@inner
def has_nonfinite(x: Matrix, columns: int) -> bool:
    """Return whether any of the first columns of x holds NaN or infinity."""
    infinity = bits(x.dtype.type(numpy.inf))
    largest = infinity - infinity
    for i in range(x.shape[0]):
        largest = larger(largest, largest_magnitude(x[i, :columns]))
    return largest >= infinity
