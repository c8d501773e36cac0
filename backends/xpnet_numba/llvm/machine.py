"""The machine-level pieces that Numba does not offer: everything in this backend that touches an address is here.

An address is an int64. No address is ever compiled into code, all come as run-time values, so that everything built on
these pieces can be cached on disk. A function marked ``intrinsic`` is written in LLVM's instructions: it returns the
types of its result and arguments, and the code that emits them.
"""

import platform
import sys
from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba import extending, njit, types
from numba.core import cgutils
from numba.extending import get_cython_function_address

BYTE, INT32, INT64 = ir.IntType(8), ir.IntType(32), ir.IntType(64)
BYTES = BYTE.as_pointer()

X86 = ("x86_64", "AMD64")
FLUSH_TO_ZERO, DENORMALS_ARE_ZERO = 1 << 15, 1 << 6  # bits of the register MXCSR, for results and for operands

intrinsic: Any = extending.intrinsic  # Any: a type checker cannot know that compiled code leaves out the context

Signature = Any
Emit = Callable[[Any, Any, Any, Sequence[Any]], Any]
"""Emits the instructions: (target, builder, signature, values of the arguments) -> value of the result."""


INNER: Any = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
"""How a function is compiled that nothing but compiled code calls. The wrappers for Python and C, which it goes without,
take a quarter of the time that all compilation takes.
"""


def gemm_address(dtype: str) -> int:
    """Where SciPy's BLAS keeps ``sgemm`` (float32) or ``dgemm`` (float64), for :func:`gemm`."""
    name = {"float32": "sgemm", "float64": "dgemm"}[dtype]
    return get_cython_function_address("scipy.linalg.cython_blas", name)


@intrinsic
def gemm(
    context: Any,
    function: Any,
    transpose_a: Any,
    transpose_b: Any,
    m: Any,
    n: Any,
    k: Any,
    alpha: Any,
    a: Any,
    lda: Any,
    b: Any,
    ldb: Any,
    beta: Any,
    c: Any,
    ldc: Any,
) -> tuple[Signature, Emit]:
    """C = alpha op(A) op(B) + beta C, all row by row; lda, ldb, ldc are the items from one row to the next.

    function : from :func:`gemm_address`; transpose_a, transpose_b : ord("N") or ord("T")
    op(A) : (m, k); op(B) : (k, n); C : (m, n); a, b, c : addresses; alpha, beta : numbers of the matrices' dtype

    BLAS counts along columns, and a matrix by rows is the transpose of one by columns: hence C^T = op(B)^T op(A)^T.
    """

    def emit(target: Any, builder: Any, signature: Any, values: Sequence[Any]) -> Any:
        """BLAS takes everything by reference."""
        def by_reference(value: Any, kind: Any) -> Any:
            slot = cgutils.alloca_once(builder, kind)
            builder.store(value if value.type == kind else builder.trunc(value, kind), slot)
            return builder.bitcast(slot, BYTES)

        function, transpose_a, transpose_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc = values
        flags = [by_reference(v, BYTE) for v in (transpose_b, transpose_a)]
        m, n, k, lda, ldb, ldc = (by_reference(v, INT32) for v in (m, n, k, lda, ldb, ldc))
        alpha, beta = (by_reference(v, v.type) for v in (alpha, beta))
        a, b, c = (builder.inttoptr(v, BYTES) for v in (a, b, c))
        _call_address(builder, function, [*flags, n, m, k, alpha, b, ldb, a, lda, beta, c, ldc])
        return target.get_dummy_value()

    sizes, places = [types.int64] * 3, [types.int64] * 2
    return types.void(*[types.int64] * 3, *sizes, alpha, *places, *places, beta, *places), emit


@intrinsic
def call(context: Any, function: Any, arguments: Any) -> tuple[Signature, Emit]:
    """Call the C function at an address, one that returns nothing, with a tuple of numbers, pointers and arrays.

    The function has been compiled by ``numba.cfunc`` for exactly these types: nothing checks it.
    """

    def emit(target: Any, builder: Any, signature: Any, values: Sequence[Any]) -> Any:
        function, packed = values
        unpacked = [builder.extract_value(packed, i) for i in range(len(signature.args[1]))]
        _call_address(builder, function, unpacked)
        return target.get_dummy_value()

    return types.void(types.int64, arguments), emit


def _call_address(builder: Any, function: Any, arguments: list[Any]) -> None:
    kind = ir.FunctionType(ir.VoidType(), [a.type for a in arguments])
    builder.call(builder.inttoptr(function, kind.as_pointer()), arguments)


# Atomics, all of them sequentially consistent: what one thread wrote before a store, another sees after the load.


@njit(**INNER)
def item(address: Any, number: Any) -> Any:
    """The address of int64 ``number``, counted from the one at ``address``."""
    return address + 8 * number


@intrinsic
def fetch_add(context: Any, address: Any, value: Any) -> tuple[Signature, Emit]:
    """Add to the int64 at an address, as one indivisible act; returns what was there before."""

    def emit(target: Any, builder: Any, signature: Any, values: Sequence[Any]) -> Any:
        address, value = values
        return builder.atomic_rmw("add", builder.inttoptr(address, INT64.as_pointer()), value, "seq_cst")

    return types.int64(types.int64, types.int64), emit


@intrinsic
def load(context: Any, address: Any) -> tuple[Signature, Emit]:
    """The int64 at an address, as other threads left it."""

    def emit(target: Any, builder: Any, signature: Any, values: Sequence[Any]) -> Any:
        return builder.load_atomic(builder.inttoptr(values[0], INT64.as_pointer()), "seq_cst", 8)

    return types.int64(types.int64), emit


@intrinsic
def store(context: Any, address: Any, value: Any) -> tuple[Signature, Emit]:
    """Set the int64 at an address, for other threads to see."""

    def emit(target: Any, builder: Any, signature: Any, values: Sequence[Any]) -> Any:
        address, value = values
        builder.store_atomic(value, builder.inttoptr(address, INT64.as_pointer()), "seq_cst", 8)
        return target.get_dummy_value()

    return types.void(types.int64, types.int64), emit


@intrinsic
def exchange_if(context: Any, address: Any, expected: Any, value: Any) -> tuple[Signature, Emit]:
    """Set the int64 at an address if it is what was expected, as one indivisible act; returns whether it was."""

    def emit(target: Any, builder: Any, signature: Any, values: Sequence[Any]) -> Any:
        address, expected, value = values
        place = builder.inttoptr(address, INT64.as_pointer())
        result = builder.cmpxchg(place, expected, value, "seq_cst", "seq_cst")
        return builder.extract_value(result, 1)

    return types.boolean(types.int64, types.int64, types.int64), emit


@intrinsic
def pause(context: Any) -> tuple[Signature, Emit]:
    """Tell the core that this is a waiting loop, so that it spares power and its sibling; nothing where it cannot be told."""

    def emit(target: Any, builder: Any, signature: Any, values: Sequence[Any]) -> Any:
        if platform.machine() in X86:
            builder.call(declared(builder, "llvm.x86.sse2.pause", ir.VoidType(), []), [])
        return target.get_dummy_value()

    return types.void(), emit


sched_yield = types.ExternalFunction("SwitchToThread" if sys.platform == "win32" else "sched_yield", types.int32())
"""Let another thread have this core: the operating system's own function."""


# Pointers: what a C function receives for an array (``numba.carray`` makes an array of one).


@intrinsic
def prefetch(context: Any, address: Any) -> tuple[Signature, Emit]:
    """Ask for the cache line at an address, to be read soon."""

    def emit(target: Any, builder: Any, signature: Any, values: Sequence[Any]) -> Any:
        fetch = declared(builder, "llvm.prefetch.p0", ir.VoidType(), [BYTES, INT32, INT32, INT32])
        for_reading, some_reuse, data = INT32(0), INT32(2), INT32(1)
        builder.call(fetch, [builder.inttoptr(values[0], BYTES), for_reading, some_reuse, data])
        return target.get_dummy_value()

    return types.void(types.int64), emit


@intrinsic
def pointer(context: Any, address: Any, like: Any) -> tuple[Signature, Emit]:
    """An address as a pointer: to items such as those ``like`` points to, or of the type ``like`` (``types.int64``)."""
    result = types.CPointer(like.dtype)

    def emit(target: Any, builder: Any, signature: Any, values: Sequence[Any]) -> Any:
        return builder.inttoptr(values[0], target.get_value_type(result))

    return result(types.int64, like), emit


@intrinsic
def shift(context: Any, pointer: Any, items: Any) -> tuple[Signature, Emit]:
    """The pointer moved on by a number of items."""

    def emit(target: Any, builder: Any, signature: Any, values: Sequence[Any]) -> Any:
        return builder.gep(values[0], [values[1]])

    return pointer(pointer, types.int64), emit


@intrinsic
def address(context: Any, pointer: Any) -> tuple[Signature, Emit]:
    """Where a pointer points, as an int64."""

    def emit(target: Any, builder: Any, signature: Any, values: Sequence[Any]) -> Any:
        return builder.ptrtoint(values[0], INT64)

    return types.int64(pointer), emit


@intrinsic(prefer_literal=True)
def stack(context: Any, pointer: Any, items: Any) -> tuple[Signature, Emit]:
    """A pointer to room on the stack, 64-byte aligned, for a literal number of items of the kind ``pointer`` points to."""

    def emit(target: Any, builder: Any, signature: Any, values: Sequence[Any]) -> Any:
        kind = target.get_value_type(pointer.dtype)
        with builder.goto_entry_block():
            room = builder.alloca(ir.ArrayType(kind, items.literal_value))
        room.align = 64
        return builder.bitcast(room, kind.as_pointer())

    return pointer(pointer, items), emit


# Denormals, numbers so small that they have lost digits: arithmetic on them takes a core a hundred times as long.


@intrinsic
def flush_denormals(context: Any) -> tuple[Signature, Emit]:
    """From here on denormals count as 0 in this thread (x86; elsewhere nothing); returns what to restore."""

    def emit(target: Any, builder: Any, signature: Any, values: Sequence[Any]) -> Any:
        """The register goes through memory both ways."""
        if platform.machine() not in X86:
            return INT32(0)
        slot = cgutils.alloca_once(builder, INT32)
        builder.call(declared(builder, "llvm.x86.sse.stmxcsr", ir.VoidType(), [BYTES]), [builder.bitcast(slot, BYTES)])
        before = builder.load(slot)
        _set_float_mode(builder, slot, builder.or_(before, INT32(FLUSH_TO_ZERO | DENORMALS_ARE_ZERO)))
        return before

    return types.int32(), emit


@intrinsic
def restore_denormals(context: Any, before: Any) -> tuple[Signature, Emit]:
    """Undo :func:`flush_denormals` with what it returned."""

    def emit(target: Any, builder: Any, signature: Any, values: Sequence[Any]) -> Any:
        if platform.machine() in X86:
            _set_float_mode(builder, cgutils.alloca_once(builder, INT32), values[0])
        return target.get_dummy_value()

    return types.void(types.int32), emit


def _set_float_mode(builder: Any, slot: Any, mode: Any) -> None:
    builder.store(mode, slot)
    builder.call(declared(builder, "llvm.x86.sse.ldmxcsr", ir.VoidType(), [BYTES]), [builder.bitcast(slot, BYTES)])


# Arithmetic that vectorises where Python's own does not.

LANES = 16
"""Up to this width a row is one vector for :func:`normalise`."""


@intrinsic
def bits(context: Any, x: Any) -> tuple[Signature, Emit]:
    """The same bits under another type: float32 <-> int32, float64 <-> int64."""
    pairs = {types.float32: types.int32, types.float64: types.int64}
    result: Any = (pairs | {i: f for f, i in pairs.items()})[x]

    def emit(target: Any, builder: Any, signature: Any, values: Sequence[Any]) -> Any:
        return builder.bitcast(values[0], target.get_value_type(result))

    return result(x), emit


@intrinsic
def widest_vectors(context: Any) -> tuple[Signature, Emit]:
    """Let the loops of the calling function use the processor's widest vectors.

    LLVM keeps to half of them on Intel's processors, whose early AVX-512 cores lowered their clock for the others. A
    loop over exp is bound by arithmetic and gains 25 to 40 %. llvmlite knows no name for this attribute of a function.
    """

    def emit(target: Any, builder: Any, signature: Any, values: Sequence[Any]) -> Any:
        set.add(builder.function.attributes, '"prefer-vector-width"="512"')
        return target.get_dummy_value()

    return types.void(), emit


@intrinsic
def stay_apart(context: Any) -> tuple[Signature, Emit]:
    """Keep the calling function a function: it is large, and called from several places."""

    def emit(target: Any, builder: Any, signature: Any, values: Sequence[Any]) -> Any:
        builder.function.attributes.add("noinline")
        return target.get_dummy_value()

    return types.void(), emit


@intrinsic
def maximum(context: Any, a: Any, b: Any) -> tuple[Signature, Emit]:
    """The larger of two floats of one type, NaN if either is.

    A comparison would have to give up its NaN semantics before it vectorises as a reduction; this keeps both.
    """

    def emit(target: Any, builder: Any, signature: Any, values: Sequence[Any]) -> Any:
        kind = values[0].type
        name = "llvm.maximum.f32" if kind == ir.FloatType() else "llvm.maximum.f64"
        return builder.call(declared(builder, name, kind, [kind, kind]), values)

    return a(a, a), emit


@intrinsic(prefer_literal=True)
def normalise(
    context: Any, source: Any, target: Any, k: Any, scale: Any, marked: Any, columns: Any, lanes: Any
) -> tuple[Signature, Emit]:
    """Multiply k numbers by scale / their sum, and take scale off the one that is ``marked``; returns the sum.

    source, target : pointers; marked : less than 0 for none
    columns : None, or a pointer to ``lanes`` numbers, to which the result is added
    lanes : a literal, at least k; as many numbers must be readable at source

    A row of ten numbers is too short for a loop to fill a vector with: here it is one vector, part of it masked.
    """
    width = lanes.literal_value

    def emit(machine: Any, builder: Any, signature: Any, values: Sequence[Any]) -> Any:
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


def in_all_lanes(builder: Any, number: Any, width: int) -> Any:
    nothing = ir.Constant(ir.VectorType(number.type, width), ir.Undefined)
    first = builder.insert_element(nothing, number, INT32(0))
    return builder.shuffle_vector(first, nothing, ir.Constant(ir.VectorType(INT32, width), [0] * width))


def declared(builder: Any, name: str, result: Any, arguments: list[Any]) -> Any:
    return cgutils.get_or_insert_function(builder.module, ir.FunctionType(result, arguments), name)
