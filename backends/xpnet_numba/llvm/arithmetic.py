"""Arithmetic that Numba does not offer: vectors, integers, and denormals that count as 0."""

from llvmlite import ir
from numba import types

from xpnet_numba.internals import alloca_once, alloca_once_value, unpack_tuple
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
    in_all_lanes,
    instructions,
)

# Vectors, where Python's own arithmetic does not fill them.


LANES = 16
"""Up to this width a row is one vector for :func:`normalise`."""


_BITS = {
    types.float32: types.int32,
    types.float64: types.int64,
    types.int32: types.float32,
    types.int64: types.float64,
}


@instructions(lambda x: _BITS[x](x), typed=True)
def bits(target: Target, builder: ir.IRBuilder, signature: Signature, x: ir.Value) -> ir.Value:
    """Return the same bits under another type: float32 <-> int32, float64 <-> int64."""
    return builder.bitcast(x, target.get_value_type(signature.return_type))


@instructions(lambda x, coefficients: x(x, coefficients))
def polynomial(builder: ir.IRBuilder, x: ir.Value, coefficients: ir.Value) -> ir.Value:
    """c0 + x (c1 + x (c2 + ...)), for a tuple of float64s; Numba has no statement for each of them to compile."""
    numbers = unpack_tuple(builder, coefficients)
    if x.type != numbers[0].type:
        numbers = [builder.fptrunc(number, x.type) for number in numbers]
    total = numbers.pop()
    for number in reversed(numbers):
        total = builder.fadd(builder.fmul(total, x), number)
    return total


@instructions(lambda a, b: a(a, a))
def maximum(builder: ir.IRBuilder, a: ir.Value, b: ir.Value) -> ir.Value:
    """The larger of two floats of one type, NaN if either is.

    A comparison would have to give up its NaN semantics before it vectorises as a reduction; this keeps both.
    """
    kind = ir.FunctionType(a.type, [a.type, a.type])
    return builder.call(builder.module.declare_intrinsic("llvm.maximum", [a.type], kind), [a, b])


@instructions(lambda condition, a, b: a(types.boolean, a, a))
def select(builder: ir.IRBuilder, condition: ir.Value, a: ir.Value, b: ir.Value) -> ir.Value:
    """``a if condition else b``, both computed, and never by a jump.

    Left to itself LLVM may jump where the condition reads memory. Whether an activation is 0 follows no pattern, so
    that the processor goes the wrong way half the time.
    """
    chosen = builder.select(condition, a, b)
    chosen.set_metadata("unpredictable", builder.module.add_metadata([]))
    return chosen


def _of_row(
    source: Type, goal: Type, k: Type, scale: Type, marked: Type, columns: Type, d_bias: Type
) -> Signature:
    return scale(source, goal, types.int64, scale, types.int64, columns, d_bias)


@instructions(_of_row, typed=True)
def normalise(
    target: Target, builder: ir.IRBuilder, signature: Signature, *values: ir.Value
) -> ir.Value:
    """Multiply k numbers by scale / their sum, and take scale off the one that is ``marked``; returns the sum.

    source, goal : pointers, where ``LANES`` numbers must be readable; marked : less than 0 for none
    columns : a pointer to ``LANES`` numbers, to which the result is added, unless ``d_bias`` is None

    A row of ten numbers is too short for a loop to fill a vector with: here it is one vector, part of it masked.
    Where nothing is added a row of a few numbers takes a shorter one.
    """
    *given, columns, _ = values
    sums, widths = (
        (None, (4, 8, LANES)) if signature.args[-1] == types.none else (columns, (LANES,))
    )
    total = alloca_once(builder, given[3].type)

    def choose(width: int, *wider: int) -> None:
        if not wider:
            builder.store(_normalise(builder, width, given, sums), total)
            return
        with builder.if_else(builder.icmp_signed("<=", given[2], INT64(width))) as (fits, does_not):
            with fits:
                choose(width)
            with does_not:
                choose(*wider)

    choose(*widths)
    return builder.load(total)


def _normalise(
    builder: ir.IRBuilder, width: int, given: list[ir.Value], sums: ir.Value | None
) -> ir.Value:
    """One vector of a row: its sum, its share, and the store of what lies inside the row."""
    source, goal, k, scale, marked = given
    number = scale.type
    vector, whole = ir.VectorType(number, width), ir.VectorType(INT32, width)
    suffix, size = (f"v{width}f32", 4) if number == ir.FloatType() else (f"v{width}f64", 8)
    lane, zero = ir.Constant(whole, list(range(width))), ir.Constant(vector, [0.0] * width)

    inside = builder.icmp_signed("<", lane, in_all_lanes(builder, builder.trunc(k, INT32), width))
    row = builder.select(
        inside, builder.load(builder.bitcast(source, vector.as_pointer()), align=size), zero
    )
    add_up = declared(builder, f"llvm.vector.reduce.fadd.{suffix}", number, [number, vector])
    total = builder.call(add_up, [ir.Constant(number, -0.0), row], fastmath=("reassoc",))

    scaled = builder.fmul(row, in_all_lanes(builder, builder.fdiv(scale, total), width))
    here = builder.icmp_signed(
        "==", lane, in_all_lanes(builder, builder.trunc(marked, INT32), width)
    )
    result = builder.fsub(scaled, builder.select(here, in_all_lanes(builder, scale, width), zero))
    kinds = [vector, vector.as_pointer(), INT32, inside.type]
    put = declared(builder, f"llvm.masked.store.{suffix}.p0", ir.VoidType(), kinds)
    builder.call(put, [result, builder.bitcast(goal, vector.as_pointer()), INT32(size), inside])
    if sums is not None:
        sums = builder.bitcast(sums, vector.as_pointer())
        # Beyond the row the result is 0.
        builder.store(builder.fadd(builder.load(sums, align=size), result), sums, align=size)
    return total


# Integers: one of two, and products that are wider than Numba's. ``min`` and ``max`` are functions that Numba compiles
# anew for each caller, and a branch takes it longer than these.


def _of_integers(a: Type, b: Type) -> Signature:
    """Two integers of one type give one of it, others an int64."""
    kind = a if a == b else types.int64
    return kind(kind, kind)


@instructions(_of_integers)
def smaller(builder: ir.IRBuilder, a: ir.Value, b: ir.Value) -> ir.Value:
    """Return the smaller of two integers."""
    return builder.select(builder.icmp_signed("<", a, b), a, b)


@instructions(_of_integers)
def larger(builder: ir.IRBuilder, a: ir.Value, b: ir.Value) -> ir.Value:
    """Return the larger of two integers."""
    return builder.select(builder.icmp_signed(">", a, b), a, b)


@instructions(lambda condition, a, b: types.int64(condition, types.int64, types.int64))
def choice(builder: ir.IRBuilder, condition: ir.Value, a: ir.Value, b: ir.Value) -> ir.Value:
    """``a if condition else b``, of two integers; a condition is a boolean or an integer."""
    return builder.select(builder.icmp_unsigned("!=", condition, condition.type(0)), a, b)


@instructions(lambda index, size: types.boolean(types.int64, types.int64))
def inside(builder: ir.IRBuilder, index: ir.Value, size: ir.Value) -> ir.Value:
    """``0 <= index < size``."""
    return builder.icmp_unsigned("<", index, size)


@instructions(lambda a, b: types.uint64(types.uint64, types.uint64))
def high_product(builder: ir.IRBuilder, a: ir.Value, b: ir.Value) -> ir.Value:
    """Return the upper 64 bits of the product of two uint64s."""
    wide = ir.IntType(128)
    product = builder.mul(builder.zext(a, wide), builder.zext(b, wide))
    return builder.trunc(builder.lshr(product, wide(64)), INT64)


INT16, DRAWN = ir.IntType(16), 16
"""Four random words decide on 16 items, with 16 bits each."""


@instructions(
    lambda source, goal, words, limit, scale: types.void(source, goal, words, types.int64, scale)
)
def drop_by_bits(
    builder: ir.IRBuilder,
    source: ir.Value,
    goal: ir.Value,
    words: ir.Value,
    limit: ir.Value,
    scale: ir.Value,
) -> None:
    """Write ``DRAWN`` items times scale to goal, or times 0 where an item's 16 bits are below the limit.

    source, goal : pointers, which may be the same
    words : four uint64; the lowest 16 bits of the first decide on the first item
    """
    bits = ir.Constant(ir.VectorType(INT64, 4), ir.Undefined)
    for lane, word in enumerate(unpack_tuple(builder, words)):
        bits = builder.insert_element(bits, word, INT32(lane))
    bits = builder.bitcast(bits, ir.VectorType(INT16, DRAWN))
    keep = builder.icmp_unsigned(
        ">=", bits, in_all_lanes(builder, builder.trunc(limit, INT16), DRAWN)
    )
    vector = ir.VectorType(scale.type, DRAWN)
    factors = builder.select(
        keep, in_all_lanes(builder, scale, DRAWN), ir.Constant(vector, [0.0] * DRAWN)
    )
    items = builder.load(builder.bitcast(source, vector.as_pointer()), align=4)
    builder.store(builder.fmul(items, factors), builder.bitcast(goal, vector.as_pointer()), align=4)


# Denormals, numbers so small that they have lost digits: arithmetic on them is very slow on many cores.


X86_FLUSH = 1 << 15 | 1 << 6
"""Bits of the register MXCSR: denormal results, and denormal operands, count as 0."""

ARM_FLUSH = 1 << 24
"""The bit of the register FPCR that says both."""


@instructions(lambda: types.int32())
def flush_denormals(builder: ir.IRBuilder) -> ir.Value:
    """Let denormals count as 0 in this thread, on x86 and ARM, and return what to restore."""
    if X86:
        slot = alloca_once(builder, INT32)
        builder.call(
            declared(builder, "llvm.x86.sse.stmxcsr", ir.VoidType(), [BYTES]),
            [builder.bitcast(slot, BYTES)],
        )
        before = builder.load(slot)
    elif ARM:
        before = builder.trunc(
            builder.call(declared(builder, "llvm.aarch64.get.fpcr", INT64, []), []), INT32
        )
    else:
        return INT32(0)
    _set_float_mode(builder, builder.or_(before, INT32(X86_FLUSH if X86 else ARM_FLUSH)))
    return before


@instructions(lambda before: types.void(types.int32))
def restore_denormals(builder: ir.IRBuilder, before: ir.Value) -> None:
    """Undo :func:`flush_denormals` with what it returned."""
    _set_float_mode(builder, before)


def _set_float_mode(builder: ir.IRBuilder, mode: ir.Value) -> None:
    """Set the register that holds the mode, where it is known. On x86 it goes through memory both ways."""
    if X86:
        slot = alloca_once_value(builder, mode)
        builder.call(
            declared(builder, "llvm.x86.sse.ldmxcsr", ir.VoidType(), [BYTES]),
            [builder.bitcast(slot, BYTES)],
        )
    if ARM:
        set_mode = declared(builder, "llvm.aarch64.set.fpcr", ir.VoidType(), [INT64])
        builder.call(set_mode, [builder.zext(mode, INT64)])
