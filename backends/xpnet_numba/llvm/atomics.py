"""Numbers that several threads write: what one thread wrote before a store, another sees after the load.

All of these are sequentially consistent.
"""

import sys
from collections.abc import Sequence

from llvmlite import ir
from numba import types

from xpnet_numba.llvm.emit import INT32, INT64, Context, Emit, Signature, Target, Type, declared, intrinsic
from xpnet_numba.llvm.target import ARM, X86

WHOLE_SYSTEM = 15  # the reach of an instruction barrier, the only one there is


@intrinsic
def item(context: Context, address: Type, number: Type) -> tuple[Signature, Emit]:
    """The address of int64 ``number``, counted from the one at ``address``."""

    def emit(target: Target, builder: ir.IRBuilder, signature: Signature, values: Sequence[ir.Value]) -> ir.Value:
        address, number = values
        return builder.add(address, builder.mul(number, INT64(8)))

    return types.int64(types.int64, types.int64), emit


@intrinsic
def fetch_add(context: Context, address: Type, value: Type) -> tuple[Signature, Emit]:
    """Add to the int64 at an address, as one indivisible act; returns what was there before."""

    def emit(target: Target, builder: ir.IRBuilder, signature: Signature, values: Sequence[ir.Value]) -> ir.Value:
        address, value = values
        return builder.atomic_rmw("add", builder.inttoptr(address, INT64.as_pointer()), value, "seq_cst")

    return types.int64(types.int64, types.int64), emit


@intrinsic
def load(context: Context, address: Type) -> tuple[Signature, Emit]:
    """The int64 at an address, as other threads left it."""

    def emit(target: Target, builder: ir.IRBuilder, signature: Signature, values: Sequence[ir.Value]) -> ir.Value:
        return builder.load_atomic(builder.inttoptr(values[0], INT64.as_pointer()), "seq_cst", 8)

    return types.int64(types.int64), emit


@intrinsic
def store(context: Context, address: Type, value: Type) -> tuple[Signature, Emit]:
    """Set the int64 at an address, for other threads to see."""

    def emit(target: Target, builder: ir.IRBuilder, signature: Signature, values: Sequence[ir.Value]) -> ir.Value:
        address, value = values
        builder.store_atomic(value, builder.inttoptr(address, INT64.as_pointer()), "seq_cst", 8)
        return target.get_dummy_value()

    return types.void(types.int64, types.int64), emit


@intrinsic
def exchange_if(context: Context, address: Type, expected: Type, value: Type) -> tuple[Signature, Emit]:
    """Set the int64 at an address if it is what was expected, as one indivisible act; returns whether it was."""

    def emit(target: Target, builder: ir.IRBuilder, signature: Signature, values: Sequence[ir.Value]) -> ir.Value:
        address, expected, value = values
        place = builder.inttoptr(address, INT64.as_pointer())
        result = builder.cmpxchg(place, expected, value, "seq_cst", "seq_cst")
        return builder.extract_value(result, 1)

    return types.boolean(types.int64, types.int64, types.int64), emit


@intrinsic
def pause(context: Context) -> tuple[Signature, Emit]:
    """Tell the core that this is a waiting loop, so that it spares power and its sibling; nothing where it cannot be told."""

    def emit(target: Target, builder: ir.IRBuilder, signature: Signature, values: Sequence[ir.Value]) -> ir.Value:
        if X86:
            builder.call(declared(builder, "llvm.x86.sse2.pause", ir.VoidType(), []), [])
        elif ARM:  # its yield does nothing on most cores; a barrier takes as long as x86's pause
            builder.call(declared(builder, "llvm.aarch64.isb", ir.VoidType(), [INT32]), [INT32(WHOLE_SYSTEM)])
        return target.get_dummy_value()

    return types.void(), emit


sched_yield = types.ExternalFunction("SwitchToThread" if sys.platform == "win32" else "sched_yield", types.int32())
"""Let another thread have this core: the operating system's own function."""
