"""Calls of the step's C functions from Python, without a compiled caller for each list of types."""

import ctypes
from typing import Any

import numpy as np


def call_c(address: int, *arguments: Any) -> None:
    """Call the C function at an address with whole numbers, float64 and C-contiguous arrays.

    An array is passed as the fields of Numba's record of it, one after the other, which is how LLVM
    passes a record by value.
    """
    values = [field for argument in arguments for field in _fields(argument)]
    kinds = [ctypes.c_double if isinstance(v, float) else ctypes.c_int64 for v in values]
    ctypes.CFUNCTYPE(None, *kinds)(address)(*values)


def _fields(argument: Any) -> list[Any]:
    """Owner and parent (none), items, bytes of an item, address, shape and strides of an array."""
    if not isinstance(argument, np.ndarray):
        return [argument]
    assert argument.flags.c_contiguous
    address = argument.ctypes.data
    return [0, 0, argument.size, argument.itemsize, address, *argument.shape, *argument.strides]
