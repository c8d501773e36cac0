"""From arrays to a job: what every kernel's launcher shares.

A kernel is a C function over a chunk of rows, ``(a, b, c, d, index, numbers, columns, first, count, chunk)``: pointers to
at most four matrices of one dtype, to int64s and to float64s; the columns of a row; the first row of the chunk, how many
rows it has, and its number. What a kernel has no use for points nowhere in particular.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy
from numba import carray, njit, types

from xpnet.ops import Array
from xpnet_numba.llvm import INNER, shift
from xpnet_numba.runtime.chunks import leader, run_chunks
from xpnet_numba.runtime.compiling import c_function

Loop = Callable[..., None]

NO_INDEX = numpy.zeros(1, numpy.int64)
NO_NUMBERS = numpy.zeros(1)


def launch(
    loop: Loop,
    *arrays: Array,
    rows: int,
    columns: int,
    rows_per_chunk: int,
    index: Array = NO_INDEX,
    numbers: Array = NO_NUMBERS,
) -> None:
    """Run a kernel over all rows.

    arrays : one to four matrices of one dtype, C-contiguous; index : int64; numbers : float64
    rows_per_chunk : follows from the shape alone, never from the threads, so that the bits do not either
    """
    lead, function, nothing = _prepared(loop, arrays[0].dtype)
    a, b, c, d = arrays + nothing[len(arrays) :]
    run_chunks(lead, -(-rows // rows_per_chunk), function, a, b, c, d, index, numbers, columns, rows, rows_per_chunk)


@cache
def _prepared(loop: Loop, dtype: numpy.dtype) -> tuple[Any, int, tuple[Array, ...]]:
    """What a launch needs, found once: who leads jobs of a dtype, where the kernel is, and matrices for what is absent."""
    return leader(dtype), _compiled(loop, dtype).address, (numpy.zeros((1, 1), dtype),) * 4


@cache
def _compiled(loop: Loop, dtype: numpy.dtype) -> Any:
    """The C function, kept alive by the cache."""
    matrix, number = types.CPointer(getattr(types, dtype.name)), types.int64
    signature = types.void(*[matrix] * 4, types.CPointer(number), types.CPointer(types.float64), *[number] * 4)
    return c_function(loop, signature)


def contiguous(array: Array) -> Array:
    """The array itself where compiled code can read it, else a copy: of any strides, byte order or alignment."""
    array = numpy.asarray(array)
    flags = array.flags
    if flags.c_contiguous and flags.aligned and array.dtype.isnative:
        return array
    return numpy.array(array, dtype=array.dtype.newbyteorder("="), order="C")


def writable(array: Array) -> Array:
    """The array itself where compiled code can update it in place, else a copy."""
    array = contiguous(array)
    return array if array.flags.writeable else array.copy()


def matrix(array: Array) -> Array:
    """A contiguous array of any shape as one of two axes; for loops that go over its numbers as they lie."""
    return array if array.ndim == 2 else array.reshape(-1, 1)


@njit(**INNER)
def row(pointer: Any, columns: Any, number: Any) -> Any:
    """Row ``number`` of a matrix: (columns,)."""
    return carray(shift(pointer, number * columns), columns)


@njit(**INNER)
def flat(pointer: Any, columns: Any, first: Any, count: Any) -> Any:
    """Rows of a matrix from the first on, as one stretch: (count * columns,)."""
    return carray(shift(pointer, first * columns), count * columns)


@njit(**INNER)
def block(pointer: Any, columns: Any, first: Any, count: Any) -> Any:
    """Rows of a matrix from the first on: (count, columns)."""
    return carray(shift(pointer, first * columns), (count, columns))
