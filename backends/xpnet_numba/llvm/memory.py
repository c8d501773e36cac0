"""Memory: addresses, pointers and arrays, values that others read, and numbers that several threads write.

A pointer is what a C function receives for an array. Numba has such functions, too, but compiles one for each
combination of types: an intrinsic is only emitted.
"""

import sys
from collections.abc import Sequence
from typing import NamedTuple

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.imputils import impl_ret_borrowed
from numba.np.arrayobj import populate_array

from xpnet_numba.internals import value_of
from xpnet_numba.kinds import Pointer
from xpnet_numba.llvm.emit import (
    ARM,
    BYTES,
    INT32,
    INT64,
    X86,
    Context,
    Emit,
    Signature,
    Target,
    Type,
    declared,
    instructions,
    intrinsic,
)

LINE = 64
"""Bytes that caches exchange: what different threads write lies on different lines."""


class Block(NamedTuple):
    """A matrix as it is handed on: three values, where an array has nine. ``call`` makes an array of it."""

    at: Pointer
    rows: int
    columns: int


@instructions(lambda pointer, items: types.void(pointer, types.int64), typed=True)
def prefetch(target: Target, builder: ir.IRBuilder, signature: Signature, pointer: ir.Value, items: ir.Value) -> None:
    """Ask for the cache lines of some items from a pointer on, to be read soon."""
    fetch = declared(builder, "llvm.prefetch.p0", ir.VoidType(), [BYTES, INT32, INT32, INT32])
    for_reading, some_reuse, data = INT32(0), INT32(2), INT32(1)
    first = builder.bitcast(pointer, BYTES)
    size = builder.mul(items, INT64(signature.args[0].dtype.bitwidth // 8))
    with cgutils.for_range_slice(builder, INT64(0), size, INT64(LINE), INT64) as (place, _):
        builder.call(fetch, [builder.gep(first, [place]), for_reading, some_reuse, data])


@instructions(lambda source, goal, items: types.void(source, goal, types.int64), typed=True)
def copy(
    target: Target, builder: ir.IRBuilder, signature: Signature, source: ir.Value, goal: ir.Value, items: ir.Value
) -> None:
    """Copy some items from one pointer to another, which do not overlap."""
    cgutils.raw_memcpy(builder, goal, source, items, signature.args[0].dtype.bitwidth // 8)


@intrinsic
def pointer(context: Context, address: Type, like: Type) -> tuple[Signature, Emit]:
    """Return an address as a pointer.

    like : tells of what: a pointer to such items, an item, or their type (``types.int64``)
    """
    kind = like.instance_type if isinstance(like, types.TypeRef) else like
    result = types.CPointer(kind if isinstance(kind, types.Record) else getattr(kind, "dtype", kind))

    def emit(target: Target, builder: ir.IRBuilder, signature: Signature, values: Sequence[ir.Value]) -> ir.Value:
        return builder.inttoptr(values[0], target.get_value_type(result))

    return result(types.int64, like), emit


@instructions(lambda array: types.CPointer(array.dtype)(array), typed=True)
def pointer_to(target: Target, builder: ir.IRBuilder, signature: Signature, array: ir.Value) -> ir.Value:
    """Return a pointer to the first item of an array."""
    return cgutils.create_struct_proxy(signature.args[0])(target, builder, value=array).data


@intrinsic
def array(context: Context, pointer: Type, shape: Type) -> tuple[Signature, Emit]:
    """Return the items from a pointer on as an array, (size,) or, row by row, (rows, columns)."""
    dimensions = len(shape) if isinstance(shape, types.BaseTuple) else 1

    def emit(target: Target, builder: ir.IRBuilder, signature: Signature, values: Sequence[ir.Value]) -> ir.Value:
        data, shape = values
        sizes = [shape] if dimensions == 1 else cgutils.unpack_tuple(builder, shape)
        return emit_array(target, builder, signature.return_type, data, sizes)

    sizes = types.int64 if dimensions == 1 else types.UniTuple(types.int64, dimensions)
    return types.Array(pointer.dtype, dimensions, "C")(pointer, sizes), emit


@instructions(lambda array, first, count: array(array, types.int64, types.int64), typed=True)
def section(
    target: Target, builder: ir.IRBuilder, signature: Signature, array: ir.Value, first: ir.Value, count: ir.Value
) -> ir.Value:
    """``array[first : first + count]``, some items of a vector or rows of a matrix, all of which must be there: unlike
    Numba's own, it does not look at the bounds.
    """
    whole = cgutils.create_struct_proxy(signature.return_type)(target, builder, value=array)
    sizes = [count, *cgutils.unpack_tuple(builder, whole.shape)[1:]]
    for size in sizes[1:]:
        first = builder.mul(first, size)
    return emit_array(target, builder, signature.return_type, builder.gep(whole.data, [first]), sizes)


@instructions(lambda array: types.Array(array.dtype, 1, "C")(array), typed=True)
def flat(target: Target, builder: ir.IRBuilder, signature: Signature, array: ir.Value) -> ir.Value:
    """Return all numbers of an array as one run. ``reshape`` would count who uses the memory, which slows a loop."""
    whole = cgutils.create_struct_proxy(signature.args[0])(target, builder, value=array)
    return emit_array(target, builder, signature.return_type, whole.data, [whole.nitems])


def part_of_buffer(kind: types.Array, *unread: Type) -> tuple[Signature, Emit]:
    """Defines an intrinsic that is called with (what it does not read, a buffer's address, an offset, sizes): the
    array of so many items from the offset on.
    """

    def emit(target: Target, builder: ir.IRBuilder, signature: Signature, values: Sequence[ir.Value]) -> ir.Value:
        buffer_at, offset, *sizes = values[len(unread) :]
        buffer = builder.inttoptr(buffer_at, target.get_value_type(types.CPointer(kind.dtype)))
        return emit_array(target, builder, kind, builder.gep(buffer, [offset]), sizes)

    return kind(*unread, *[types.int64] * (2 + kind.ndim)), emit


def block_type(item: Type) -> types.NamedTuple:
    """Return the type of a block of such items."""
    return types.NamedTuple([types.CPointer(item), types.int64, types.int64], Block)


def block_of_buffer(item: Type, *unread: Type) -> tuple[Signature, Emit]:
    """The same for a block, of which nothing is read on the way."""
    at = types.CPointer(item)

    def emit(target: Target, builder: ir.IRBuilder, signature: Signature, values: Sequence[ir.Value]) -> ir.Value:
        buffer_at, offset, *sizes = values[len(unread) :]
        first = builder.gep(builder.inttoptr(buffer_at, target.get_value_type(at)), [offset])
        return target.make_tuple(builder, signature.return_type, [first, *sizes])

    return block_type(item)(*unread, *[types.int64] * 4), emit


def unblocked(target: Target, builder: ir.IRBuilder, kind: Type, value: ir.Value) -> ir.Value:
    """A block as an array, and what is no block as it is."""
    if getattr(kind, "instance_class", None) is not Block:
        return value
    at, *sizes = cgutils.unpack_tuple(builder, value)
    return emit_array(target, builder, types.Array(kind[0].dtype, 2, "C"), at, sizes)


def emit_array(
    target: Target, builder: ir.IRBuilder, kind: types.Array, data: ir.Value, sizes: Sequence[ir.Value]
) -> ir.Value:
    """An array over memory, which nobody owns who counts its users."""
    dtype = kind.dtype
    item = INT64(dtype.size if isinstance(dtype, types.Record) else dtype.bitwidth // 8)
    strides = [item]
    for size in reversed(sizes[1:]):
        strides.insert(0, builder.mul(strides[0], size))
    made = cgutils.create_struct_proxy(kind)(target, builder)
    populate_array(made, data=data, shape=sizes, strides=strides, itemsize=item, meminfo=None)
    return value_of(made)


@instructions(lambda array: types.void(array), typed=True)
def clear(target: Target, builder: ir.IRBuilder, signature: Signature, array: ir.Value) -> None:
    """Set all items of an array to zero, without a loop for Numba to compile."""
    given = cgutils.create_struct_proxy(signature.args[0])(target, builder, value=array)
    cgutils.memset(builder, given.data, builder.mul(given.nitems, given.itemsize), 0)


@instructions(lambda pointer, items: pointer(pointer, types.int64))
def shift(builder: ir.IRBuilder, pointer: ir.Value, items: ir.Value) -> ir.Value:
    """Return the pointer moved on by a number of items."""
    return builder.gep(pointer, [items])


@instructions(lambda pointer: types.int64(pointer))
def address(builder: ir.IRBuilder, pointer: ir.Value) -> ir.Value:
    """Return the address of a pointer, as an int64."""
    return builder.ptrtoint(pointer, INT64)


@intrinsic(prefer_literal=True)
def stack(context: Context, pointer: Type, items: Type) -> tuple[Signature, Emit]:
    """Return a 64-byte aligned pointer to stack memory for a literal number of items of the type of ``pointer``."""

    def emit(target: Target, builder: ir.IRBuilder, signature: Signature, values: Sequence[ir.Value]) -> ir.Value:
        kind = target.get_value_type(pointer.dtype)
        with builder.goto_entry_block():
            room = builder.alloca(ir.ArrayType(kind, items.literal_value))
        room.align = 64
        return builder.bitcast(room, kind.as_pointer())

    return pointer(pointer, items), emit


# Values: one that is there if another is, and those that several threads read. A value kept on one thread's stack is
# read by the others through a pointer.


@instructions(lambda value: types.int64(value))
def spill(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    """The address of a copy of a value, on the stack of the calling function: as long as that runs, the copy is
    there.
    """
    slot = cgutils.alloca_once(builder, value.type)
    builder.store(value, slot)
    return builder.ptrtoint(slot, INT64)


@instructions(lambda pointer: pointer.dtype(pointer), typed=True)
def reload(target: Target, builder: ir.IRBuilder, signature: Signature, pointer: ir.Value) -> ir.Value:
    """The value at a pointer, whose address came from :func:`spill`. The pointer's type says what is there."""
    kind = target.get_value_type(signature.return_type)
    value = builder.load(builder.bitcast(pointer, kind.as_pointer()))
    return impl_ret_borrowed(target, builder, signature.return_type, value)


@intrinsic
def with_given(context: Context, given: Type, value: Type) -> tuple[Signature, Emit]:
    """The value, or None where what may be ``given`` is None. Numba knows which by the type, and compiles one of two;
    both branches of an ``if`` would be compiled.
    """
    kind = types.none if given == types.none else value

    def emit(target: Target, builder: ir.IRBuilder, signature: Signature, values: Sequence[ir.Value]) -> ir.Value:
        if kind == types.none:
            return target.get_dummy_value()
        return impl_ret_borrowed(target, builder, kind, values[1])

    return kind(given, value), emit


# Numbers that several threads write: what one thread wrote before a store, another sees after the load. All of these
# are sequentially consistent.


WHOLE_SYSTEM = 15  # the reach of an instruction barrier, the only one there is


@instructions(types.int64(types.int64, types.int64))
def item(builder: ir.IRBuilder, address: ir.Value, number: ir.Value) -> ir.Value:
    """Return the address of int64 ``number``, counted from the one at ``address``."""
    return builder.add(address, builder.mul(number, INT64(8)))


@instructions(types.int64(types.int64, types.int64))
def fetch_add(builder: ir.IRBuilder, address: ir.Value, value: ir.Value) -> ir.Value:
    """Add to the int64 at an address, as one indivisible act; returns what was there before."""
    return builder.atomic_rmw("add", builder.inttoptr(address, INT64.as_pointer()), value, "seq_cst")


@instructions(types.int64(types.int64))
def load(builder: ir.IRBuilder, address: ir.Value) -> ir.Value:
    """Return the int64 at an address, as other threads left it."""
    return builder.load_atomic(builder.inttoptr(address, INT64.as_pointer()), "seq_cst", 8)


@instructions(types.void(types.int64, types.int64))
def store(builder: ir.IRBuilder, address: ir.Value, value: ir.Value) -> None:
    """Set the int64 at an address, for other threads to see."""
    builder.store_atomic(value, builder.inttoptr(address, INT64.as_pointer()), "seq_cst", 8)


@instructions(types.boolean(types.int64, types.int64, types.int64))
def exchange_if(builder: ir.IRBuilder, address: ir.Value, expected: ir.Value, value: ir.Value) -> ir.Value:
    """Set the int64 at an address if it is what was expected, as one indivisible act; returns whether it was."""
    place = builder.inttoptr(address, INT64.as_pointer())
    result = builder.cmpxchg(place, expected, value, "seq_cst", "seq_cst")
    return builder.extract_value(result, 1)


@instructions(types.void())
def pause(builder: ir.IRBuilder) -> None:
    """Tell the core that this is a waiting loop, so that it spares power and its sibling; nothing where it cannot be
    told.
    """
    if X86:
        builder.call(declared(builder, "llvm.x86.sse2.pause", ir.VoidType(), []), [])
    elif ARM:  # its yield does nothing on most cores; a barrier takes as long as x86's pause
        builder.call(declared(builder, "llvm.aarch64.isb", ir.VoidType(), [INT32]), [INT32(WHOLE_SYSTEM)])


sched_yield = types.ExternalFunction("SwitchToThread" if sys.platform == "win32" else "sched_yield", types.int32())
"""Let another thread have this core: the operating system's own function."""
