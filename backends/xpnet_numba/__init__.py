"""Fused kernels and a compiled training step on NumPy arrays. Numba compiles them at first use, and
they are cached on disk.

Importing this package imports neither Numba nor SciPy, and compiles nothing.
"""

from xpnet_numba.backend import NumbaBackend, backend
from xpnet_numba.runtime import (
    codecache as codecache,
)  # reads the sources before a compiled module is imported

__all__ = ["NumbaBackend", "backend"]
