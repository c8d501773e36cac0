"""How loops are compiled: into the code that calls them."""

from typing import Any

from numba import carray, njit

from xpnet_numba.llvm import INNER, pointer
from xpnet_numba.scalars import FAST

inner: Any = njit(**INNER, **FAST)
"""For a loop, and for what it calls."""

inlined: Any = njit(**INNER, **FAST, forceinline=True)
"""For what is called once a row or once a number: a call would cost as much as the work, or keep a loop from
vectorising.
"""

pasted: Any = njit(**INNER, **FAST, inline="always")
"""For a loop that becomes part of its caller before anything is compiled: where it has but one caller for a dtype,
that saves its own compilation. A loop that may be run in place must be so: compiled apart, it would have to ask whether
what it writes overlaps what it reads, and where it does, would take one number at a time.
"""


@inlined
def flat(x: Any) -> Any:
    """All numbers of an array as one run. ``x.reshape`` would count who uses the memory, which slows the loop over it."""
    return carray(pointer(x.ctypes.data, x.dtype), x.size)


@inlined
def one_row(x: Any) -> Any:
    """The same as a matrix of one row."""
    return carray(pointer(x.ctypes.data, x.dtype), (1, x.size))
