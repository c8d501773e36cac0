"""The matrix product of SciPy's BLAS, called from compiled code by its address."""

import sys
from collections.abc import Sequence

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import get_cython_function_address

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
    intrinsic,
)

INTEGER = INT64 if sys.byteorder == "little" else INT32
"""What is written where BLAS reads an integer, which has 32 bits in most builds of SciPy and 64 in some: where the lower
half comes first, 64 bits serve both.
"""


def gemm_address(dtype: str) -> int:
    """Where SciPy's BLAS keeps ``sgemm`` (float32) or ``dgemm`` (float64), for :func:`gemm`."""
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
