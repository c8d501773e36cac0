"""How loops are compiled: into the code that calls them."""

from numba import carray

from xpnet_numba.kinds import Matrix, Vector
from xpnet_numba.llvm import INNER, njit, pointer
from xpnet_numba.scalars import FAST

inner = njit(**INNER, **FAST)
"""For a loop, and for what it calls."""

inlined = njit(**INNER, **FAST, forceinline=True)
"""For what is called once a row or once a number: a call would cost as much as the work, or keep a loop from
vectorising.
"""

pasted = njit(**INNER, **FAST, inline="always")
"""For a loop that is copied into its caller before anything is compiled. With one caller for a dtype that saves a
compilation. A loop that may run in place must be pasted: compiled apart, it would ask whether its arguments overlap,
and take one number at a time where they do.
"""


@inlined
def flat(x: Vector | Matrix) -> Vector:
    """All numbers of an array as one run. ``x.reshape`` would count who uses the memory, which slows the loop over it."""
    return carray(pointer(x.ctypes.data, x.dtype), x.size)


@inlined
def one_row(x: Vector | Matrix) -> Matrix:
    """All numbers of an array as a matrix of one row."""
    return carray(pointer(x.ctypes.data, x.dtype), (1, x.size))
