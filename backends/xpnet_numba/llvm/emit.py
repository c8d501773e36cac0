"""This module says how intrinsics are written and functions compiled, and finds the processor to compile for.

An intrinsic is a function that returns the types of its result and arguments, and emits LLVM's instructions. An address
is an int64. No address is ever compiled into code, all come as run-time values, so that compiled code can be kept on
disk.
"""

import inspect
import platform
from collections.abc import Callable, Sequence
from functools import update_wrapper
from typing import Any, TypeAlias, TypeVar

import numba
from llvmlite import binding, ir
from numba import extending, types

from xpnet_numba.internals import (
    COUNTED,
    UNCOUNTED,
    Signature,
    Target,
    TypingContext,
    add_attribute,
    compiler_target,
    get_or_insert_function,
    get_record_member,
    known_options,
)

INT32, INT64, BYTES = ir.IntType(32), ir.IntType(64), ir.IntType(8).as_pointer()

Type: TypeAlias = types.Type
"""An intrinsic's definition receives the type of an argument. The value comes to ``emit``."""


def instructions(
    signature: Callable[..., Signature], *, typed: bool = False, prefer_literal: bool = False
) -> Callable[[Callable[..., ir.Value | None]], Any]:
    """Decorate a function that emits instructions, which becomes an intrinsic.

    The function takes the builder and the values of the arguments, and returns the result, or None for none.

    signature : a function of the types of a call's arguments, which gives those of the result and the arguments
    typed : whether the function takes target, builder and signature before the values
    prefer_literal : whether the type of an argument that is a literal tells its value
    """

    def made(emit: Callable[..., ir.Value | None]) -> Any:
        def definition(context: TypingContext, *kinds: Type) -> tuple[Signature, Any]:
            return signature(*kinds), emit_in_target

        def emit_in_target(
            target: Target, builder: ir.IRBuilder, signature: Signature, values: Sequence[ir.Value]
        ) -> ir.Value:
            result = emit(target, builder, signature, *values) if typed else emit(builder, *values)
            return target.get_dummy_value() if result is None else result

        # Numba reads the names of the arguments, which stand behind one for the context.
        named = inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD)
        given = inspect.signature(signature).parameters.values()
        definition.__signature__ = inspect.Signature([named, *given])  # type: ignore[attr-defined]
        return extending.intrinsic(prefer_literal=prefer_literal)(
            update_wrapper(definition, emit, updated=())
        )

    return made


def declared(
    builder: ir.IRBuilder, name: str, result: ir.Type, arguments: list[ir.Type]
) -> ir.Function:
    """A function of that name from elsewhere, declared once in the module."""
    return get_or_insert_function(builder.module, ir.FunctionType(result, arguments), name)


def field(
    target: Target, builder: ir.IRBuilder, kind: types.Record, record: ir.Value, name: str
) -> ir.Value:
    """Return a field of a record."""
    number = target.get_value_type(kind.typeof(name))
    return builder.load(get_record_member(builder, record, kind.offset(name), number))


def in_all_lanes(builder: ir.IRBuilder, number: ir.Value, width: int) -> ir.Value:
    """Return a vector with the same number in all its lanes."""
    nothing = ir.Constant(ir.VectorType(number.type, width), ir.Undefined)
    first = builder.insert_element(nothing, number, INT32(0))
    return builder.shuffle_vector(
        first, nothing, ir.Constant(ir.VectorType(INT32, width), [0] * width)
    )


# How functions are compiled, with the widest vectors where they gain by it.


AnyFunction = TypeVar("AnyFunction", bound=Callable[..., Any])

njit: Callable[..., Callable[[AnyFunction], AnyFunction]] = numba.njit
"""Numba's own. To a type checker, a function that it compiles keeps its signature."""

INNER: Any = {
    **known_options(no_cpython_wrapper=True, no_cfunc_wrapper=True, no_rewrites=True),
    **UNCOUNTED,
}
"""How a function is compiled that nothing but compiled code calls: without wrappers for Python and C, and without
Numba's rewriting of code.
"""

GIVES_ARRAY: Any = {**INNER, **COUNTED}
"""The same for a function that returns an array, which Numba allows only where users are counted."""

BY_TYPE: Any = {**INNER, **known_options(no_rewrites=False)}
"""The same for a function that asks whether an argument is None, or takes a tuple apart by places: Numba rewrites it
before it finds types."""


@instructions(lambda: types.void())
def widest_vectors(builder: ir.IRBuilder) -> None:
    """Let the loops of the calling function use the processor's widest vectors, those inlined into it among them.

    LLVM keeps to half of them on Intel's processors, whose early AVX-512 cores lowered their clock for the others. A
    loop over exp is bound by arithmetic and gains 25 to 40 %. The function stays a function: copied into a caller, its
    loops would follow what holds for that.
    """
    builder.function.attributes.add("noinline")
    add_attribute(builder.function, '"prefer-vector-width"="512"')


@instructions(lambda: types.void())
def stay_apart(builder: ir.IRBuilder) -> None:
    """Mark the calling function noinline: it is large, or its sums must have one order for all callers."""
    builder.function.attributes.add("noinline")


def gemm_address(dtype: str) -> int:
    """Return the address at which SciPy's BLAS keeps ``sgemm`` (float32) or ``dgemm`` (float64)."""
    name = {"float32": "sgemm", "float64": "dgemm"}[dtype]
    return extending.get_cython_function_address("scipy.linalg.cython_blas", name)


# The processor that Numba compiles for, which is not always the one that this runs on: ``NUMBA_CPU_NAME``,
# ``NUMBA_CPU_FEATURES`` and ``NUMBA_ENABLE_AVX`` name another.


X86 = platform.machine() in ("x86_64", "AMD64")
ARM = platform.machine() in ("aarch64", "arm64", "ARM64")

ADDITION = """
define <16 x float> @add(<16 x float> %a, <16 x float> %b) {
    %sum = fadd <16 x float> %a, %b
    ret <16 x float> %sum
}
"""
"""An addition of vectors of 64 bytes, the widest that any processor has."""


def vector_bytes() -> int:
    """Bytes of the vectors that the compiler uses where it is given the widest: 64 (AVX-512), 32 (AVX) or 16.

    LLVM is asked by what it makes of an addition: the features of a processor that was named are known to it alone.
    """
    triple, name, features = compiler_target()
    machine = binding.Target.from_triple(triple).create_target_machine(
        cpu=name, features=features, opt=2
    )
    code = machine.emit_assembly(binding.parse_assembly(ADDITION))
    return next((size for register, size in {"zmm": 64, "ymm": 32}.items() if register in code), 16)
