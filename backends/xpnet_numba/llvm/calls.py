"""Functions are compiled and called by these names, with the widest vectors where they gain by it."""

from collections.abc import Callable
from typing import Any, TypeVar

import numba
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import get_cython_function_address

from xpnet_numba.internals import COUNTED, UNCOUNTED, known_options
from xpnet_numba.llvm.emit import Signature, Target, instructions
from xpnet_numba.llvm.memory import unblocked

AnyFunction = TypeVar("AnyFunction", bound=Callable[..., Any])

njit: Callable[..., Callable[[AnyFunction], AnyFunction]] = numba.njit
"""Numba's own. To a type checker, a function that it compiles keeps its signature."""

INNER: Any = {**known_options(no_cpython_wrapper=True, no_cfunc_wrapper=True, no_rewrites=True), **UNCOUNTED}
"""How a function is compiled that nothing but compiled code calls: without wrappers for Python and C, and without
Numba's rewriting of code.
"""

GIVES_ARRAY: Any = {**INNER, **COUNTED}
"""The same for a function that returns an array, which Numba allows only where users are counted."""

BY_TYPE: Any = {**INNER, **known_options(no_rewrites=False)}
"""The same for a function that asks whether an argument is None, or takes a tuple apart by places: Numba rewrites it
before it finds types."""


@instructions(lambda function, arguments: types.void(types.int64, arguments), typed=True)
def call(target: Target, builder: ir.IRBuilder, signature: Signature, function: ir.Value, arguments: ir.Value) -> None:
    """Call the C function at an address, one that returns nothing, with a tuple of numbers, pointers and arrays, or
    blocks for arrays.

    The function has been compiled by ``numba.cfunc`` for exactly these types: nothing checks it.
    """
    unpacked = zip(signature.args[1], cgutils.unpack_tuple(builder, arguments), strict=True)
    values = [unblocked(target, builder, kind, value) for kind, value in unpacked]
    called = ir.FunctionType(ir.VoidType(), [value.type for value in values])
    builder.call(builder.inttoptr(function, called.as_pointer()), values)


@instructions(types.void())
def widest_vectors(builder: ir.IRBuilder) -> None:
    """Let the loops of the calling function use the processor's widest vectors, those inlined into it among them.

    LLVM keeps to half of them on Intel's processors, whose early AVX-512 cores lowered their clock for the others. A
    loop over exp is bound by arithmetic and gains 25 to 40 %. The function stays a function: copied into a caller, its
    loops would follow what holds for that. llvmlite knows no name for this attribute of a function.
    """
    builder.function.attributes.add("noinline")
    set.add(builder.function.attributes, '"prefer-vector-width"="512"')


@instructions(types.void())
def stay_apart(builder: ir.IRBuilder) -> None:
    """Keep the calling function a function: it is large and called from several places, or its sums are to be added up
    in the same order whoever calls it.
    """
    builder.function.attributes.add("noinline")


def gemm_address(dtype: str) -> int:
    """Return the address at which SciPy's BLAS keeps ``sgemm`` (float32) or ``dgemm`` (float64)."""
    name = {"float32": "sgemm", "float64": "dgemm"}[dtype]
    return get_cython_function_address("scipy.linalg.cython_blas", name)
