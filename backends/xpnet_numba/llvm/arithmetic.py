"""Arithmetic that Numba does not offer: vectors, integers, and flushing of denormals to 0."""

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

# Vectors, in code where Numba's own loops would not fill them.


LANES = 16
"""Maximum number of columns of a row that :func:`normalise` treats as one vector."""


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
    """c0 + x (c1 + x (c2 + ...)), for a tuple of float64s. As an intrinsic it takes Numba no time
    for each term.
    """
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

    A reduction by comparisons vectorises only if NaN may be ignored; this one keeps NaN.
    """
    kind = ir.FunctionType(a.type, [a.type, a.type])
    return builder.call(builder.module.declare_intrinsic("llvm.maximum", [a.type], kind), [a, b])


@instructions(lambda condition, a, b: a(types.boolean, a, a))
def select(builder: ir.IRBuilder, condition: ir.Value, a: ir.Value, b: ir.Value) -> ir.Value:
    """``a if condition else b``, both computed, and never by a jump.

    LLVM might otherwise emit a jump if the condition reads memory. The processor cannot predict
    whether an activation is 0, so half of the jumps would be mispredicted.
    """
    chosen = builder.select(condition, a, b)
    chosen.set_metadata("unpredictable", builder.module.add_metadata([]))
    return chosen


def _of_row(
    source: Type, goal: Type, k: Type, scale: Type, marked: Type, columns: Type, d_bias: Type
) -> Signature:
    """Return the signature of :func:`normalise`, whose result has the type of ``scale``."""
    return scale(source, goal, types.int64, scale, types.int64, columns, d_bias)


@instructions(_of_row, typed=True)
def normalise(
    target: Target, builder: ir.IRBuilder, signature: Signature, *values: ir.Value
) -> ir.Value:
    """Multiply k numbers by scale / their sum, and subtract scale from the number at ``marked``;
    return the sum.

    source, goal : pointers, where ``LANES`` numbers must be readable; marked : less than 0 for none
    columns : a pointer to ``LANES`` numbers, to which the result is added, unless ``d_bias`` is
        None

    A row of ten numbers is too short to fill the vectors of a loop: here it is one masked vector.
    If nothing is added to ``columns``, a row of few numbers is a shorter vector.
    """
    *row, columns, _ = values
    sums, widths = (
        (None, (4, 8, LANES)) if signature.args[-1] == types.none else (columns, (LANES,))
    )
    total = alloca_once(builder, row[3].type)

    def choose(width: int, *wider: int) -> None:
        """Emit the code for the narrowest width that holds the row."""
        if not wider:
            builder.store(_normalise(builder, width, row, sums), total)
            return
        with builder.if_else(builder.icmp_signed("<=", row[2], INT64(width))) as (fits, does_not):
            with fits:
                choose(width)
            with does_not:
                choose(*wider)

    choose(*widths)
    return builder.load(total)


def _normalise(
    builder: ir.IRBuilder, width: int, row: list[ir.Value], sums: ir.Value | None
) -> ir.Value:
    """Emit the code for a row as one vector: its sum, the scaled row, and a masked store."""
    source, goal, k, scale, marked = row
    number = scale.type
    vector, lane_numbers = ir.VectorType(number, width), ir.VectorType(INT32, width)
    suffix, size = (f"v{width}f32", 4) if number == ir.FloatType() else (f"v{width}f64", 8)
    lane, zero = ir.Constant(lane_numbers, list(range(width))), ir.Constant(vector, [0.0] * width)

    inside = builder.icmp_signed("<", lane, in_all_lanes(builder, builder.trunc(k, INT32), width))
    masked_row = builder.select(
        inside, builder.load(builder.bitcast(source, vector.as_pointer()), align=size), zero
    )
    add_up = declared(builder, f"llvm.vector.reduce.fadd.{suffix}", number, [number, vector])
    total = builder.call(add_up, [ir.Constant(number, -0.0), masked_row], fastmath=("reassoc",))

    scaled = builder.fmul(masked_row, in_all_lanes(builder, builder.fdiv(scale, total), width))
    is_marked = builder.icmp_signed(
        "==", lane, in_all_lanes(builder, builder.trunc(marked, INT32), width)
    )
    result = builder.fsub(
        scaled, builder.select(is_marked, in_all_lanes(builder, scale, width), zero)
    )
    kinds = [vector, vector.as_pointer(), INT32, inside.type]
    put = declared(builder, f"llvm.masked.store.{suffix}.p0", ir.VoidType(), kinds)
    builder.call(put, [result, builder.bitcast(goal, vector.as_pointer()), INT32(size), inside])
    if sums is not None:
        sums = builder.bitcast(sums, vector.as_pointer())
        # The result is 0 in lanes beyond the row.
        builder.store(builder.fadd(builder.load(sums, align=size), result), sums, align=size)
    return total


# Integers: selection of one of two, and products of 128 bits. Numba compiles ``min`` and ``max``
# again for each caller, and compiles a branch more slowly than these.


def _of_integers(a: Type, b: Type) -> Signature:
    """Two integers of one type give that type; other pairs give an int64."""
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
    """Write ``DRAWN`` items times scale to goal, or times 0 if an item's 16 bits are below the
    limit.

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


# Denormals, numbers so small that they have lost digits: arithmetic on them is very slow on many
# cores.


X86_FLUSH = 1 << 15 | 1 << 6
"""Bits of the register MXCSR: denormal results, and denormal operands, count as 0."""

ARM_FLUSH = 1 << 24
"""Bit of the register FPCR for both."""


@instructions(lambda: types.int32())
def flush_denormals(builder: ir.IRBuilder) -> ir.Value:
    """Let denormals count as 0 in this thread, on x86 and ARM, and return the mode to restore."""
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
    """Undo :func:`flush_denormals` with the mode that it returned."""
    _set_float_mode(builder, before)


def _set_float_mode(builder: ir.IRBuilder, mode: ir.Value) -> None:
    """Set the register of the mode, on x86 and ARM. On x86 it is accessed through memory."""
    if X86:
        slot = alloca_once_value(builder, mode)
        builder.call(
            declared(builder, "llvm.x86.sse.ldmxcsr", ir.VoidType(), [BYTES]),
            [builder.bitcast(slot, BYTES)],
        )
    if ARM:
        set_mode = declared(builder, "llvm.aarch64.set.fpcr", ir.VoidType(), [INT64])
        builder.call(set_mode, [builder.zext(mode, INT64)])
