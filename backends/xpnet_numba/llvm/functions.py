"""How functions are compiled and called: without wrappers, apart from their callers, for the widest vectors."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numba
from llvmlite import ir
from numba import types
from numba.core import cgutils

from xpnet_numba.internals import COUNTED, UNCOUNTED
from xpnet_numba.llvm.emit import Context, Emit, Signature, Target, Type, call_address, intrinsic
from xpnet_numba.llvm.memory import unblocked

AnyFunction = TypeVar("AnyFunction", bound=Callable[..., Any])

njit: Callable[..., Callable[[AnyFunction], AnyFunction]] = numba.njit
"""Numba's own. To a type checker, a function that it compiles keeps its signature."""

INNER: Any = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True, **UNCOUNTED}
"""How a function is compiled that nothing but compiled code calls. The wrappers for Python and C, which it goes without,
take a quarter of the time that all compilation takes.
"""

GIVES_ARRAY: Any = {**INNER, **COUNTED}
"""The same for a function that returns an array, which Numba allows only where users are counted."""


@intrinsic
def call(context: Context, function: Type, arguments: Type) -> tuple[Signature, Emit]:
    """Call the C function at an address, one that returns nothing, with a tuple of numbers, pointers and arrays, or blocks
    for arrays.

    The function has been compiled by ``numba.cfunc`` for exactly these types: nothing checks it.
    """

    def emit(target: Target, builder: ir.IRBuilder, signature: Signature, values: Sequence[ir.Value]) -> ir.Value:
        function, packed = values
        unpacked = zip(signature.args[1], cgutils.unpack_tuple(builder, packed), strict=True)
        call_address(builder, function, [unblocked(target, builder, kind, value) for kind, value in unpacked])
        return target.get_dummy_value()

    return types.void(types.int64, arguments), emit


@intrinsic
def widest_vectors(context: Context) -> tuple[Signature, Emit]:
    """Let the loops of the calling function use the processor's widest vectors, those inlined into it among them.

    LLVM keeps to half of them on Intel's processors, whose early AVX-512 cores lowered their clock for the others. A
    loop over exp is bound by arithmetic and gains 25 to 40 %. The function stays a function: copied into a caller, its loops
    would follow what holds for that. llvmlite knows no name for this attribute of a function.
    """

    def emit(target: Target, builder: ir.IRBuilder, signature: Signature, values: Sequence[ir.Value]) -> ir.Value:
        builder.function.attributes.add("noinline")
        set.add(builder.function.attributes, '"prefer-vector-width"="512"')
        return target.get_dummy_value()

    return types.void(), emit


@intrinsic
def stay_apart(context: Context) -> tuple[Signature, Emit]:
    """Keep the calling function a function: it is large and called from several places, or its sums are to be added up in
    the same order whoever calls it.
    """

    def emit(target: Target, builder: ir.IRBuilder, signature: Signature, values: Sequence[ir.Value]) -> ir.Value:
        builder.function.attributes.add("noinline")
        return target.get_dummy_value()

    return types.void(), emit
