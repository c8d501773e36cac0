"""NumPy's part of the backend contract. The Numba backend builds on it: both compute on NumPy
arrays.
"""

from collections.abc import Mapping
from typing import Any

import array_api_compat.numpy
import numpy
from numpy import ndarray

from xpnet.backend import Kernel
from xpnet.ops import Array


class NumpyBackend:
    """NumPy arrays on the host."""

    name = "numpy"
    xp: Any = array_api_compat.numpy
    kernels: Mapping[str, Kernel] = {}
    in_place = True

    def asarray(self, data: object, *, dtype: str | None = None) -> Array:
        """Return ``data`` as a NumPy array, of ``dtype`` unless it is None; it is copied only if
        needed.
        """
        if dtype is None and type(data) is ndarray:
            return data
        return numpy.asarray(data, dtype=dtype)

    def to_numpy(self, array: Array) -> numpy.ndarray:
        """Return the array itself."""
        return numpy.asarray(array)

    def synchronize(self) -> None:
        """Return at once: NumPy returns when it is done."""

    def device(self, array: Array) -> str:
        """Always ``cpu``."""
        return "cpu"

    def describe(self) -> dict[str, str]:
        """NumPy's version."""
        return {"numpy": numpy.__version__}


backend = NumpyBackend()
