"""Integers: the smaller and the larger of two, and products that are wider than Numba's.

``min`` and ``max`` are functions that Numba compiles anew for each caller.
"""

from collections.abc import Sequence

from llvmlite import ir
from numba import types

from xpnet_numba.llvm.emit import INT64, Context, Emit, Signature, Target, Type, intrinsic


@intrinsic
def smaller(context: Context, a: Type, b: Type) -> tuple[Signature, Emit]:
    """The smaller of two integers."""
    return _one_of_two(a, b, "<")


@intrinsic
def larger(context: Context, a: Type, b: Type) -> tuple[Signature, Emit]:
    """The larger of two integers."""
    return _one_of_two(a, b, ">")


def _one_of_two(a: Type, b: Type, order: str) -> tuple[Signature, Emit]:
    kind = a if a == b else types.int64

    def emit(target: Target, builder: ir.IRBuilder, signature: Signature, values: Sequence[ir.Value]) -> ir.Value:
        return builder.select(builder.icmp_signed(order, *values), *values)

    return kind(kind, kind), emit


@intrinsic
def high_product(context: Context, a: Type, b: Type) -> tuple[Signature, Emit]:
    """The upper 64 bits of the product of two uint64s."""

    def emit(target: Target, builder: ir.IRBuilder, signature: Signature, values: Sequence[ir.Value]) -> ir.Value:
        wide = ir.IntType(128)
        product = builder.mul(*(builder.zext(v, wide) for v in values))
        return builder.trunc(builder.lshr(product, wide(64)), INT64)

    return types.uint64(types.uint64, types.uint64), emit
