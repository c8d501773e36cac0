"""The loops: each operation once, over arrays, whether it is launched alone or runs inside the training step.

``activations``  f(x + b) and its gradient, for every activation
``softmax``      softmax and its logarithm, by rows
``losses``       each loss with its gradient, by rows
``dropout``      leaving units out
``updates``      update rules and the penalty, over a run of parameters
``rows``         gathering, adding up and looking through rows
``products``     the matrix product

A loop writes only what its arguments name, knows nothing of threads, and can be called with any number of rows.
``xpnet_numba.ops`` launches loops over chunks of rows, ``xpnet_numba.step.functions`` makes of them what a step calls.
"""

from xpnet_numba.llvm.emit import BY_TYPE, GIVES_ARRAY, INNER, njit
from xpnet_numba.scalars import FAST

inner = njit(**INNER, **FAST, forceinline=False)
"""Compiles a loop, and what it calls. LLVM decides what is inlined: Numba would hand the option down from a caller
that is."""

inlined = njit(**INNER, **FAST, forceinline=True)
"""Compiles what is called once a row or once a number: a call would cost as much as the work, or keep a loop from
vectorising. It serves a loop that may run in place, too: apart, it would ask whether its arguments overlap, and take
one number at a time where they do.
"""

inner_by_type = njit(**BY_TYPE, **FAST, forceinline=False)
inlined_by_type = njit(**BY_TYPE, **FAST, forceinline=True)
"""The same for a function of whose branches Numba compiles those that an argument's type leaves."""

inner_array = njit(**GIVES_ARRAY, **FAST, forceinline=False)
"""The same for a function that returns an array."""
