"""Fused kernels and a compiled training step on NumPy arrays, compiled by Numba on first need and cached on disk.

Importing this package imports neither Numba nor SciPy, and compiles nothing.
"""

from xpnet_numba.backend import NumbaBackend, backend
from xpnet_numba.runtime import (
    codecache as codecache,
)  # notes the sources before any that is compiled is imported

__all__ = ["NumbaBackend", "backend"]
