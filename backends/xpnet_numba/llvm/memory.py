"""Memory: addresses, pointers and arrays, values and numbers that threads share, and calls of
functions by address.

A C function receives a pointer for an array. Numba has such functions as well, but compiles one for
each combination of types; an intrinsic is only emitted.
"""

import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

from llvmlite import ir
from numba import types

from xpnet_numba.internals import (
    alloca_once_value,
    create_struct_proxy,
    for_range_slice,
    impl_ret_borrowed,
    memset,
    populate_array,
    raw_memcpy,
    unpack_tuple,
    value_of,
)
from xpnet_numba.kinds import Pointer
from xpnet_numba.llvm.emit import (
    ARM,
    BYTES,
    INT32,
    INT64,
    X86,
    Signature,
    Target,
    Type,
    declared,
    instructions,
)

LINE = 64
"""Bytes of a cache line. Different threads write to different lines."""


class Block(NamedTuple):
    """A matrix as compiled functions pass it on: three values, whereas an array has nine. ``call``
    converts it into an array.
    """

    at: Pointer
    rows: int
    columns: int


@instructions(lambda pointer, items: types.void(pointer, types.int64), typed=True)
def prefetch(
    target: Target, builder: ir.IRBuilder, signature: Signature, pointer: ir.Value, items: ir.Value
) -> None:
    """Ask for the cache lines of some items from a pointer on, to be read soon."""
    fetch = declared(builder, "llvm.prefetch.p0", ir.VoidType(), [BYTES, INT32, INT32, INT32])
    for_reading, some_reuse, data = INT32(0), INT32(2), INT32(1)
    first = builder.bitcast(pointer, BYTES)
    size = builder.mul(items, INT64(signature.args[0].dtype.bitwidth // 8))
    with for_range_slice(builder, INT64(0), size, INT64(LINE), INT64) as (place, _):
        builder.call(fetch, [builder.gep(first, [place]), for_reading, some_reuse, data])


@instructions(lambda source, goal, items: types.void(source, goal, types.int64), typed=True)
def copy(
    target: Target,
    builder: ir.IRBuilder,
    signature: Signature,
    source: ir.Value,
    goal: ir.Value,
    items: ir.Value,
) -> None:
    """Copy some items from one pointer to another, which do not overlap."""
    raw_memcpy(builder, goal, source, items, signature.args[0].dtype.bitwidth // 8)


def _pointer_type(address: Type, like: Type) -> Signature:
    """Return the signature of :func:`pointer`: a pointer to items of the type that ``like``
    determines.
    """
    kind = like.instance_type if isinstance(like, types.TypeRef) else like
    return types.CPointer(kind if isinstance(kind, types.Record) else getattr(kind, "dtype", kind))(
        types.int64, like
    )


@instructions(_pointer_type, typed=True)
def pointer(
    target: Target, builder: ir.IRBuilder, signature: Signature, address: ir.Value, like: ir.Value
) -> ir.Value:
    """Return an address as a pointer.

    like : determines the type of the items: a pointer to such items, an item, or their type
        (``types.int64``)
    """
    return builder.inttoptr(address, target.get_value_type(signature.return_type))


@instructions(lambda array: types.CPointer(array.dtype)(array), typed=True)
def pointer_to(
    target: Target, builder: ir.IRBuilder, signature: Signature, array: ir.Value
) -> ir.Value:
    """Return a pointer to the first item of an array."""
    return create_struct_proxy(signature.args[0])(target, builder, value=array).data


def _array_type(pointer: Type, shape: Type) -> Signature:
    """Return the signature of :func:`array`: as many axes as ``shape`` has items, or one if
    ``shape`` is a number.
    """
    if not isinstance(shape, types.BaseTuple):
        return types.Array(pointer.dtype, 1, "C")(pointer, types.int64)
    return types.Array(pointer.dtype, len(shape), "C")(
        pointer, types.UniTuple(types.int64, len(shape))
    )


@instructions(_array_type, typed=True)
def array(
    target: Target, builder: ir.IRBuilder, signature: Signature, data: ir.Value, shape: ir.Value
) -> ir.Value:
    """Return the items from a pointer on as an array, (size,) or, row by row, (rows, columns)."""
    sizes = [shape] if signature.return_type.ndim == 1 else unpack_tuple(builder, shape)
    return emit_array(target, builder, signature.return_type, data, sizes)


@instructions(lambda array, first, count: array(array, types.int64, types.int64), typed=True)
def section(
    target: Target,
    builder: ir.IRBuilder,
    signature: Signature,
    array: ir.Value,
    first: ir.Value,
    count: ir.Value,
) -> ir.Value:
    """``array[first : first + count]`` of items of a vector or rows of a matrix, all of which must
    exist: unlike Numba's slices, it does not check bounds.
    """
    return _emit_rows(target, builder, signature.return_type, array, first, lambda rows: count)


def _emit_rows(
    target: Target,
    builder: ir.IRBuilder,
    kind: Type,
    x: ir.Value,
    first: ir.Value,
    count: Callable[..., ir.Value],
) -> ir.Value:
    """Emit the rows of an array, or items of a vector, from ``first`` on; ``count`` maps the
    array's length to their number.
    """
    proxy = create_struct_proxy(kind)(target, builder, value=x)
    rows, *columns = unpack_tuple(builder, proxy.shape)
    begin = first
    for size in columns:
        begin = builder.mul(begin, size)
    return emit_array(
        target, builder, kind, builder.gep(proxy.data, [begin]), [count(rows), *columns]
    )


@instructions(lambda values, first, end: values(values, types.int64, types.int64), typed=True)
def parts_of(
    target: Target,
    builder: ir.IRBuilder,
    signature: Signature,
    values: ir.Value,
    first: ir.Value,
    end: ir.Value,
) -> ir.Value:
    """``array[first:end]`` of each array of a tuple, which may have fewer rows; other values are
    unchanged.

    These arrays have no reference counts, since counting would take longer than the work on a short
    row.
    """

    def count(rows: ir.Value) -> ir.Value:
        """Return how many rows from ``first`` to ``end`` an array of ``rows`` rows has."""
        return builder.sub(builder.select(builder.icmp_signed("<", end, rows), end, rows), first)

    kinds, parts = signature.return_type, unpack_tuple(builder, values)
    for i, kind in enumerate(kinds):
        if isinstance(kind, types.Array):
            parts[i] = _emit_rows(target, builder, kind, parts[i], first, count)
    return target.make_tuple(builder, kinds, parts)


@instructions(lambda array: types.Array(array.dtype, 1, "C")(array), typed=True)
def flat(target: Target, builder: ir.IRBuilder, signature: Signature, array: ir.Value) -> ir.Value:
    """Return all numbers of an array as one run. ``reshape`` would count references, which slows a
    loop.
    """
    proxy = create_struct_proxy(signature.args[0])(target, builder, value=array)
    return emit_array(target, builder, signature.return_type, proxy.data, [proxy.nitems])


def block_type(item: Type) -> types.NamedTuple:
    """Return the type of a block of such items."""
    return types.NamedTuple([types.CPointer(item), types.int64, types.int64], Block)


def part_of_buffer(
    target: Target, builder: ir.IRBuilder, signature: Signature, *values: ir.Value
) -> ir.Value:
    """Emit some items of a buffer as an array or a block, without reading them.

    values : ignored values, then the buffer's address, the offset of the first item, and one size
        for an array or two for a block
    """
    kind = signature.return_type
    is_array = isinstance(kind, types.Array)
    buffer_at, offset, *sizes = values[-3:] if is_array else values[-4:]
    at = target.get_value_type(types.CPointer(kind.dtype) if is_array else kind[0])
    first = builder.gep(builder.inttoptr(buffer_at, at), [offset])
    if is_array:
        return emit_array(target, builder, kind, first, sizes)
    return target.make_tuple(builder, kind, [first, *sizes])


@instructions(lambda function, arguments: types.void(types.int64, arguments), typed=True)
def call(
    target: Target,
    builder: ir.IRBuilder,
    signature: Signature,
    function: ir.Value,
    arguments: ir.Value,
) -> None:
    """Call the C function at an address, one that returns nothing, with a tuple of numbers,
    pointers and arrays, or blocks for arrays.

    The function has been compiled by ``numba.cfunc`` for exactly these types: nothing checks it.
    """
    values = unpack_tuple(builder, arguments)
    for i, kind in enumerate(signature.args[1]):
        if getattr(kind, "instance_class", None) is Block:
            at, *sizes = unpack_tuple(builder, values[i])
            values[i] = emit_array(target, builder, types.Array(kind[0].dtype, 2, "C"), at, sizes)
    called = ir.FunctionType(ir.VoidType(), [value.type for value in values])
    builder.call(builder.inttoptr(function, called.as_pointer()), values)


def emit_array(
    target: Target,
    builder: ir.IRBuilder,
    kind: types.Array,
    data: ir.Value,
    sizes: Sequence[ir.Value],
) -> ir.Value:
    """Emit an array over memory, without an owner and reference counts."""
    dtype = kind.dtype
    item = INT64(dtype.size if isinstance(dtype, types.Record) else dtype.bitwidth // 8)
    strides = [item]
    for size in reversed(sizes[1:]):
        strides.insert(0, builder.mul(strides[0], size))
    proxy = create_struct_proxy(kind)(target, builder)
    populate_array(proxy, data=data, shape=sizes, strides=strides, itemsize=item, meminfo=None)
    return value_of(proxy)


@instructions(lambda array: types.void(array), typed=True)
def clear(target: Target, builder: ir.IRBuilder, signature: Signature, array: ir.Value) -> None:
    """Set all items of an array to zero, without a loop for Numba to compile."""
    proxy = create_struct_proxy(signature.args[0])(target, builder, value=array)
    memset(builder, proxy.data, builder.mul(proxy.nitems, proxy.itemsize), 0)


@instructions(lambda pointer, items: pointer(pointer, types.int64))
def shift(builder: ir.IRBuilder, pointer: ir.Value, items: ir.Value) -> ir.Value:
    """Return the pointer moved on by a number of items."""
    return builder.gep(pointer, [items])


@instructions(lambda pointer: types.int64(pointer))
def address(builder: ir.IRBuilder, pointer: ir.Value) -> ir.Value:
    """Return the address of a pointer, as an int64."""
    return builder.ptrtoint(pointer, INT64)


@instructions(lambda pointer, items: pointer(pointer, items), typed=True, prefer_literal=True)
def stack(
    target: Target, builder: ir.IRBuilder, signature: Signature, pointer: ir.Value, items: ir.Value
) -> ir.Value:
    """Return a 64-byte aligned pointer to stack memory for a literal number of items of the type of
    ``pointer``.
    """
    kind = target.get_value_type(signature.return_type.dtype)
    with builder.goto_entry_block():
        room = builder.alloca(ir.ArrayType(kind, signature.args[1].literal_value))
    room.align = 64
    return builder.bitcast(room, kind.as_pointer())


# Values that several threads read: a value on one thread's stack, which the others read through a
# pointer.


@instructions(lambda value: types.int64(value))
def spill(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    """Return the address of a copy of a value on the stack of the calling function, valid until
    that function returns.
    """
    return builder.ptrtoint(alloca_once_value(builder, value), INT64)


@instructions(lambda pointer: pointer.dtype(pointer), typed=True)
def reload(
    target: Target, builder: ir.IRBuilder, signature: Signature, pointer: ir.Value
) -> ir.Value:
    """Return the value at a pointer whose address came from :func:`spill`. The pointer has the type
    of the value.
    """
    kind = target.get_value_type(signature.return_type)
    value = builder.load(builder.bitcast(pointer, kind.as_pointer()))
    return impl_ret_borrowed(target, builder, signature.return_type, value)


# Numbers that several threads write: after a load, a thread sees all that another wrote before the
# store. All of these operations are sequentially consistent.


WHOLE_SYSTEM = 15  # the scope of an instruction barrier; no other value exists


@instructions(lambda address, number: types.int64(types.int64, types.int64))
def item(builder: ir.IRBuilder, address: ir.Value, number: ir.Value) -> ir.Value:
    """Return the address of int64 ``number``, counted from the one at ``address``."""
    return builder.add(address, builder.mul(number, INT64(8)))


@instructions(lambda address, value: types.int64(types.int64, types.int64))
def fetch_add(builder: ir.IRBuilder, address: ir.Value, value: ir.Value) -> ir.Value:
    """Add to the int64 at an address as one atomic operation; return the value before."""
    return builder.atomic_rmw(
        "add", builder.inttoptr(address, INT64.as_pointer()), value, "seq_cst"
    )


@instructions(lambda address: types.int64(types.int64))
def load(builder: ir.IRBuilder, address: ir.Value) -> ir.Value:
    """Return the int64 at an address, as other threads left it."""
    return builder.load_atomic(builder.inttoptr(address, INT64.as_pointer()), "seq_cst", 8)


@instructions(lambda address, value: types.void(types.int64, types.int64))
def store(builder: ir.IRBuilder, address: ir.Value, value: ir.Value) -> None:
    """Set the int64 at an address, for other threads to see."""
    builder.store_atomic(value, builder.inttoptr(address, INT64.as_pointer()), "seq_cst", 8)


@instructions(lambda address, expected, value: types.boolean(types.int64, types.int64, types.int64))
def exchange_if(
    builder: ir.IRBuilder, address: ir.Value, expected: ir.Value, value: ir.Value
) -> ir.Value:
    """Set the int64 at an address if it has the expected value, as one atomic operation; return
    whether it had it.
    """
    place = builder.inttoptr(address, INT64.as_pointer())
    result = builder.cmpxchg(place, expected, value, "seq_cst", "seq_cst")
    return builder.extract_value(result, 1)


@instructions(lambda: types.void())
def pause(builder: ir.IRBuilder) -> None:
    """Hint that this is a waiting loop, so that the core saves power and leaves units to its
    sibling; do nothing on processors without such an instruction.
    """
    if X86:
        builder.call(declared(builder, "llvm.x86.sse2.pause", ir.VoidType(), []), [])
    elif ARM:  # its yield does nothing on most cores; a barrier takes as long as x86's pause
        builder.call(
            declared(builder, "llvm.aarch64.isb", ir.VoidType(), [INT32]), [INT32(WHOLE_SYSTEM)]
        )


sched_yield = types.ExternalFunction(
    "SwitchToThread" if sys.platform == "win32" else "sched_yield", types.int32()
)
"""Let another thread have this core: the operating system's own function."""
