"""Addresses and pointers: a pointer is what a C function receives for an array (``numba.carray`` makes an array of one)."""

from collections.abc import Sequence

from llvmlite import ir
from numba import types

from xpnet_numba.llvm.emit import BYTES, INT32, INT64, Context, Emit, Signature, Target, Type, declared, intrinsic


@intrinsic
def prefetch(context: Context, address: Type) -> tuple[Signature, Emit]:
    """Ask for the cache line at an address, to be read soon."""

    def emit(target: Target, builder: ir.IRBuilder, signature: Signature, values: Sequence[ir.Value]) -> ir.Value:
        fetch = declared(builder, "llvm.prefetch.p0", ir.VoidType(), [BYTES, INT32, INT32, INT32])
        for_reading, some_reuse, data = INT32(0), INT32(2), INT32(1)
        builder.call(fetch, [builder.inttoptr(values[0], BYTES), for_reading, some_reuse, data])
        return target.get_dummy_value()

    return types.void(types.int64), emit


@intrinsic
def pointer(context: Context, address: Type, like: Type) -> tuple[Signature, Emit]:
    """An address as a pointer.

    like : tells of what: a pointer to such items, an item, or their type (``types.int64``)
    """
    kind = like.instance_type if isinstance(like, types.TypeRef) else like
    result = types.CPointer(kind if isinstance(kind, types.Record) else getattr(kind, "dtype", kind))

    def emit(target: Target, builder: ir.IRBuilder, signature: Signature, values: Sequence[ir.Value]) -> ir.Value:
        return builder.inttoptr(values[0], target.get_value_type(result))

    return result(types.int64, like), emit


@intrinsic
def shift(context: Context, pointer: Type, items: Type) -> tuple[Signature, Emit]:
    """The pointer moved on by a number of items."""

    def emit(target: Target, builder: ir.IRBuilder, signature: Signature, values: Sequence[ir.Value]) -> ir.Value:
        return builder.gep(values[0], [values[1]])

    return pointer(pointer, types.int64), emit


@intrinsic
def address(context: Context, pointer: Type) -> tuple[Signature, Emit]:
    """Where a pointer points, as an int64."""

    def emit(target: Target, builder: ir.IRBuilder, signature: Signature, values: Sequence[ir.Value]) -> ir.Value:
        return builder.ptrtoint(values[0], INT64)

    return types.int64(pointer), emit


@intrinsic(prefer_literal=True)
def stack(context: Context, pointer: Type, items: Type) -> tuple[Signature, Emit]:
    """A pointer to room on the stack, 64-byte aligned, for a literal number of items of the kind ``pointer`` points to."""

    def emit(target: Target, builder: ir.IRBuilder, signature: Signature, values: Sequence[ir.Value]) -> ir.Value:
        kind = target.get_value_type(pointer.dtype)
        with builder.goto_entry_block():
            room = builder.alloca(ir.ArrayType(kind, items.literal_value))
        room.align = 64
        return builder.bitcast(room, kind.as_pointer())

    return pointer(pointer, items), emit
