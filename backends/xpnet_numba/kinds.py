"""Names for the types of compiled code's arguments, for readers and for the type checker.

Numba compiles each function for the types that it is called with. A C function of the training step
is compiled for the types that its annotations name. An ``int`` is an int64, a ``float`` a float64.
Arrays are stored row by row, without gaps.

An overload must have the annotations of the functions that it returns, or Numba refuses it. Both
are annotated with ``Any``.
"""

from collections.abc import Callable
from typing import Any, NewType, NoReturn, TypeAlias

import numpy

Scalar: TypeAlias = numpy.floating
"""A number of the network's dtype: float32 or float64."""

Vector: TypeAlias = numpy.ndarray[tuple[int], numpy.dtype[Scalar]]
"""(n,), of the network's dtype."""

Matrix: TypeAlias = numpy.ndarray[tuple[int, int], numpy.dtype[Scalar]]
"""(rows, columns), of the network's dtype."""

Numbers: TypeAlias = numpy.ndarray[tuple[int], numpy.dtype[numpy.float64]]
"""(n,) float64, whatever the network's dtype is."""

Indices: TypeAlias = numpy.ndarray[tuple[int], numpy.dtype[numpy.int64]]
"""(n,) int64: numbers of rows, or class indices."""

SparseIndices: TypeAlias = numpy.ndarray[tuple[int], numpy.dtype[numpy.signedinteger]]
"""(n,) int32 or int64: columns of a sparse X, or where its rows begin."""

Address: TypeAlias = int
"""The address of a buffer, a table or a C function in memory."""

Compiled: TypeAlias = Callable[..., Any]
"""A function that Numba compiles. Its result has other types than Python sees, which follow from
those of its arguments.
"""


def placeholder(*arguments: object) -> NoReturn:
    """Stand for a function in a template, which is compiled with a real function in its place."""
    raise NotImplementedError("A template has no code of its own; compile it for a function.")


Pointer = NewType("Pointer", object)
"""An address with the type of its items, which are scalars unless stated otherwise. Python has no
such value; ``llvm.array`` makes an array from a pointer.
"""
