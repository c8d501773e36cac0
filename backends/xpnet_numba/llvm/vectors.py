"""Arithmetic that fills vectors where Python's own does not."""

from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba import types

from xpnet_numba.llvm.emit import INT32, Context, Emit, Signature, Target, Type, declared, in_all_lanes, intrinsic

LANES = 16
"""Up to this width a row is one vector for :func:`normalise`."""


@intrinsic
def bits(context: Context, x: Type) -> tuple[Signature, Emit]:
    """The same bits under another type: float32 <-> int32, float64 <-> int64."""
    pairs = {types.float32: types.int32, types.float64: types.int64}
    result: Any = (pairs | {i: f for f, i in pairs.items()})[x]

    def emit(target: Target, builder: ir.IRBuilder, signature: Signature, values: Sequence[ir.Value]) -> ir.Value:
        return builder.bitcast(values[0], target.get_value_type(result))

    return result(x), emit


@intrinsic
def maximum(context: Context, a: Type, b: Type) -> tuple[Signature, Emit]:
    """The larger of two floats of one type, NaN if either is.

    A comparison would have to give up its NaN semantics before it vectorises as a reduction; this keeps both.
    """

    def emit(target: Target, builder: ir.IRBuilder, signature: Signature, values: Sequence[ir.Value]) -> ir.Value:
        kind = values[0].type
        name = "llvm.maximum.f32" if kind == ir.FloatType() else "llvm.maximum.f64"
        return builder.call(declared(builder, name, kind, [kind, kind]), values)

    return a(a, a), emit


@intrinsic
def chosen(context: Context, condition: Type, a: Type, b: Type) -> tuple[Signature, Emit]:
    """``a if condition else b``, both computed, and never by a jump.

    Left to itself LLVM may jump where the condition reads memory. Whether an activation is 0 follows no pattern, so that
    the processor goes the wrong way half the time.
    """

    def emit(target: Target, builder: ir.IRBuilder, signature: Signature, values: Sequence[ir.Value]) -> ir.Value:
        select = builder.select(*values)
        select.set_metadata("unpredictable", builder.module.add_metadata([]))
        return select

    return a(types.boolean, a, a), emit


@intrinsic(prefer_literal=True)
def normalise(
    context: Context, source: Type, target: Type, k: Type, scale: Type, marked: Type, columns: Type, lanes: Type
) -> tuple[Signature, Emit]:
    """Multiply k numbers by scale / their sum, and take scale off the one that is ``marked``; returns the sum.

    source, target : pointers; marked : less than 0 for none
    columns : None, or a pointer to ``lanes`` numbers, to which the result is added
    lanes : a literal, at least k; as many numbers must be readable at source

    A row of ten numbers is too short for a loop to fill a vector with: here it is one vector, part of it masked.
    """
    width = lanes.literal_value

    def emit(machine: Target, builder: ir.IRBuilder, signature: Signature, values: Sequence[ir.Value]) -> ir.Value:
        """One vector of a row: its sum, its share, and the store of what lies inside the row."""
        source, target, k, scale, marked, sums, _ = values
        number = scale.type
        vector, whole = ir.VectorType(number, width), ir.VectorType(INT32, width)
        suffix, size = (f"v{width}f32", 4) if number == ir.FloatType() else (f"v{width}f64", 8)
        lane, zero = ir.Constant(whole, list(range(width))), ir.Constant(vector, [0.0] * width)

        inside = builder.icmp_signed("<", lane, in_all_lanes(builder, builder.trunc(k, INT32), width))
        row = builder.select(inside, builder.load(builder.bitcast(source, vector.as_pointer()), align=size), zero)
        add_up = declared(builder, f"llvm.vector.reduce.fadd.{suffix}", number, [number, vector])
        total = builder.call(add_up, [ir.Constant(number, -0.0), row], fastmath=("reassoc",))

        scaled = builder.fmul(row, in_all_lanes(builder, builder.fdiv(scale, total), width))
        here = builder.icmp_signed("==", lane, in_all_lanes(builder, builder.trunc(marked, INT32), width))
        result = builder.fsub(scaled, builder.select(here, in_all_lanes(builder, scale, width), zero))
        kinds = [vector, vector.as_pointer(), INT32, inside.type]
        put = declared(builder, f"llvm.masked.store.{suffix}.p0", ir.VoidType(), kinds)
        builder.call(put, [result, builder.bitcast(target, vector.as_pointer()), INT32(size), inside])
        if columns != types.none:
            sums = builder.bitcast(sums, vector.as_pointer())
            # Beyond the row the result is 0.
            builder.store(builder.fadd(builder.load(sums, align=size), result), sums, align=size)
        return total

    number = source.dtype
    return number(source, target, types.int64, number, types.int64, columns, lanes), emit
