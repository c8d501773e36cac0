"""Functions are compiled and called by these names, with the widest vectors where they gain by it; so is BLAS."""

import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numba
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import get_cython_function_address

from xpnet_numba.internals import COUNTED, UNCOUNTED, known_options
from xpnet_numba.llvm.emit import (
    BYTE,
    BYTES,
    INT32,
    INT64,
    Context,
    Emit,
    Signature,
    Target,
    Type,
    call_address,
    instructions,
    intrinsic,
)
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


@intrinsic
def call(context: Context, function: Type, arguments: Type) -> tuple[Signature, Emit]:
    """Call the C function at an address, one that returns nothing, with a tuple of numbers, pointers and arrays, or
    blocks for arrays.

    The function has been compiled by ``numba.cfunc`` for exactly these types: nothing checks it.
    """

    def emit(target: Target, builder: ir.IRBuilder, signature: Signature, values: Sequence[ir.Value]) -> ir.Value:
        function, packed = values
        unpacked = zip(signature.args[1], cgutils.unpack_tuple(builder, packed), strict=True)
        call_address(builder, function, [unblocked(target, builder, kind, value) for kind, value in unpacked])
        return target.get_dummy_value()

    return types.void(types.int64, arguments), emit


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


# The matrix product of SciPy's BLAS, called by its address.


INTEGER = INT64 if sys.byteorder == "little" else INT32
"""What is written where BLAS reads an integer, which has 32 bits in most builds of SciPy and 64 in some: where the
lower half comes first, 64 bits serve both.
"""


def gemm_address(dtype: str) -> int:
    """Return the address at which SciPy's BLAS keeps ``sgemm`` (float32) or ``dgemm`` (float64), for :func:`gemm`."""
    name = {"float32": "sgemm", "float64": "dgemm"}[dtype]
    return get_cython_function_address("scipy.linalg.cython_blas", name)


@intrinsic
def gemm(
    context: Context,
    function: Type,
    transpose_a: Type,
    transpose_b: Type,
    m: Type,
    n: Type,
    k: Type,
    alpha: Type,
    a: Type,
    lda: Type,
    b: Type,
    ldb: Type,
    beta: Type,
    c: Type,
    ldc: Type,
) -> tuple[Signature, Emit]:
    """C = alpha op(A) op(B) + beta C, all row by row; lda, ldb, ldc are the items from one row to the next.

    function : from :func:`gemm_address`; transpose_a, transpose_b : ord("N") or ord("T")
    op(A) : (m, k); op(B) : (k, n); C : (m, n); a, b, c : addresses; alpha, beta : numbers of the matrices' dtype

    BLAS counts along columns, and a matrix by rows is the transpose of one by columns: hence C^T = op(B)^T op(A)^T.
    """

    def emit(target: Target, builder: ir.IRBuilder, signature: Signature, values: Sequence[ir.Value]) -> ir.Value:
        """BLAS takes everything by reference."""

        def by_reference(value: ir.Value, kind: ir.Type) -> ir.Value:
            slot = cgutils.alloca_once(builder, kind)
            builder.store(value if value.type == kind else builder.trunc(value, kind), slot)
            return builder.bitcast(slot, BYTES)

        function, transpose_a, transpose_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc = values
        flags = [by_reference(v, BYTE) for v in (transpose_b, transpose_a)]
        m, n, k, lda, ldb, ldc = (by_reference(v, INTEGER) for v in (m, n, k, lda, ldb, ldc))
        alpha, beta = (by_reference(v, v.type) for v in (alpha, beta))
        a, b, c = (builder.inttoptr(v, BYTES) for v in (a, b, c))
        call_address(builder, function, [*flags, n, m, k, alpha, b, ldb, a, lda, beta, c, ldc])
        return target.get_dummy_value()

    sizes, places = [types.int64] * 3, [types.int64] * 2
    return types.void(*[types.int64] * 3, *sizes, alpha, *places, *places, beta, *places), emit
