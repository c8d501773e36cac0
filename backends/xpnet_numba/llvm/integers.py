"""Arithmetic on integers that are wider than Numba's."""

from collections.abc import Sequence

from llvmlite import ir
from numba import types

from xpnet_numba.llvm.emit import INT64, Context, Emit, Signature, Target, Type, intrinsic


@intrinsic
def high_product(context: Context, a: Type, b: Type) -> tuple[Signature, Emit]:
    """The upper 64 bits of the product of two uint64s."""

    def emit(target: Target, builder: ir.IRBuilder, signature: Signature, values: Sequence[ir.Value]) -> ir.Value:
        wide = ir.IntType(128)
        product = builder.mul(*(builder.zext(v, wide) for v in values))
        return builder.trunc(builder.lshr(product, wide(64)), INT64)

    return types.uint64(types.uint64, types.uint64), emit
