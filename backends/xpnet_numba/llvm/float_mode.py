"""Denormals, numbers so small that they have lost digits: arithmetic on them is very slow on many cores."""

from collections.abc import Sequence

from llvmlite import ir
from numba import types
from numba.core import cgutils

from xpnet_numba.llvm.emit import BYTES, INT32, INT64, Context, Emit, Signature, Target, Type, declared, intrinsic
from xpnet_numba.llvm.target import ARM, X86

X86_FLUSH = 1 << 15 | 1 << 6
"""Bits of the register MXCSR: denormal results, and denormal operands, count as 0."""

ARM_FLUSH = 1 << 24
"""The bit of the register FPCR that says both."""


@intrinsic
def flush_denormals(context: Context) -> tuple[Signature, Emit]:
    """From here on denormals count as 0 in this thread (x86 and ARM; elsewhere nothing); returns what to restore."""

    def emit(target: Target, builder: ir.IRBuilder, signature: Signature, values: Sequence[ir.Value]) -> ir.Value:
        before = _float_mode(builder)
        if X86 or ARM:
            _set_float_mode(builder, builder.or_(before, INT32(X86_FLUSH if X86 else ARM_FLUSH)))
        return before

    return types.int32(), emit


@intrinsic
def restore_denormals(context: Context, before: Type) -> tuple[Signature, Emit]:
    """Undo :func:`flush_denormals` with what it returned."""

    def emit(target: Target, builder: ir.IRBuilder, signature: Signature, values: Sequence[ir.Value]) -> ir.Value:
        _set_float_mode(builder, values[0])
        return target.get_dummy_value()

    return types.void(types.int32), emit


def _float_mode(builder: ir.IRBuilder) -> ir.Value:
    """The register that holds the mode; 0 where it is not known. On x86 it goes through memory both ways."""
    if X86:
        slot = cgutils.alloca_once(builder, INT32)
        builder.call(declared(builder, "llvm.x86.sse.stmxcsr", ir.VoidType(), [BYTES]), [builder.bitcast(slot, BYTES)])
        return builder.load(slot)
    if ARM:
        return builder.trunc(builder.call(declared(builder, "llvm.aarch64.get.fpcr", INT64, []), []), INT32)
    return INT32(0)


def _set_float_mode(builder: ir.IRBuilder, mode: ir.Value) -> None:
    if X86:
        slot = cgutils.alloca_once_value(builder, mode)
        builder.call(declared(builder, "llvm.x86.sse.ldmxcsr", ir.VoidType(), [BYTES]), [builder.bitcast(slot, BYTES)])
    if ARM:
        set_mode = declared(builder, "llvm.aarch64.set.fpcr", ir.VoidType(), [INT64])
        builder.call(set_mode, [builder.zext(mode, INT64)])
