"""Values of compiled code: one that is there if another is, and those that several threads read. A value kept on one
thread's stack is read by the others through a pointer.
"""

from collections.abc import Sequence

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.imputils import impl_ret_borrowed

from xpnet_numba.llvm.emit import INT64, Context, Emit, Signature, Target, Type, intrinsic


@intrinsic
def kept(context: Context, value: Type) -> tuple[Signature, Emit]:
    """The address of a copy of a value, on the stack of the calling function: as long as that runs, the copy is
    there.
    """

    def emit(target: Target, builder: ir.IRBuilder, signature: Signature, values: Sequence[ir.Value]) -> ir.Value:
        slot = cgutils.alloca_once(builder, values[0].type)
        builder.store(values[0], slot)
        return builder.ptrtoint(slot, INT64)

    return types.int64(value), emit


@intrinsic
def taken(context: Context, pointer: Type) -> tuple[Signature, Emit]:
    """The value at a pointer, whose address came from :func:`kept`. The pointer's type says what is there."""

    def emit(target: Target, builder: ir.IRBuilder, signature: Signature, values: Sequence[ir.Value]) -> ir.Value:
        kind = target.get_value_type(signature.return_type)
        value = builder.load(builder.bitcast(values[0], kind.as_pointer()))
        return impl_ret_borrowed(target, builder, signature.return_type, value)

    return pointer.dtype(pointer), emit


@intrinsic
def with_given(context: Context, given: Type, value: Type) -> tuple[Signature, Emit]:
    """The value, or None where what may be ``given`` is None. Numba knows which by the type, and compiles one of two; both
    branches of an ``if`` would be compiled.
    """
    kind = types.none if given == types.none else value

    def emit(target: Target, builder: ir.IRBuilder, signature: Signature, values: Sequence[ir.Value]) -> ir.Value:
        if kind == types.none:
            return target.get_dummy_value()
        return impl_ret_borrowed(target, builder, kind, values[1])

    return kind(given, value), emit
