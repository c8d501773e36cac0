"""The loops: each operation once, over arrays. A loop is launched alone, or runs inside the
training step.

``activations``  f(x + b) and its gradient, for every activation
``softmax``      softmax and its logarithm, by rows
``losses``       each loss with its gradient, by rows
``dropout``      dropout of units
``updates``      update rules and the penalty, over a run of parameters
``rows``         gathering, adding up and checking rows
``products``     the matrix product
``packed``       the matrix product of large matrices, whose factors are packed
``bfloat16``     the matrix product of factors rounded to bfloat16

A loop writes only to its arguments, does not depend on threads, and takes any number of rows.
``xpnet_numba.ops`` launches loops over chunks of rows, and ``xpnet_numba.step.functions`` turns
them into the C functions of a step.
"""

from xpnet_numba.llvm.emit import BY_TYPE, GIVES_ARRAY, INNER, njit
from xpnet_numba.scalars import FAST

inner = njit(**INNER, **FAST, forceinline=False)
"""Decorator of a loop or of a function that a loop calls. LLVM decides about inlining. The option
is explicit, since Numba would otherwise inherit it from an inlined caller.
"""

inlined = njit(**INNER, **FAST, forceinline=True)
"""Decorator of a function that is called once for each row or number: a call would cost as much as
the work, or prevent vectorisation. A loop that may run in place is inlined as well: as a separate
function it would test whether its arguments overlap, and take one number at a time if they do.
"""

inner_by_type = njit(**BY_TYPE, **FAST, forceinline=False)
inlined_by_type = njit(**BY_TYPE, **FAST, forceinline=True)
"""Decorators for a function in which Numba removes branches by the types of arguments."""

inner_array = njit(**GIVES_ARRAY, **FAST, forceinline=False)
"""Decorator for a function that returns an array."""
