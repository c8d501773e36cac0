"""The decorator of intrinsics, options by which functions are compiled, and the processor to
compile for.

An intrinsic is a function that returns the types of its result and arguments, and emits LLVM's
instructions. An address is an int64. No address is compiled into code: all are run-time values, so
that compiled code can be stored on disk.
"""

import inspect
import platform
from collections.abc import Callable, Sequence
from functools import update_wrapper
from typing import TypeAlias, TypeVar

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
from xpnet_numba.kinds import Compiled

INT32, INT64, BYTES = ir.IntType(32), ir.IntType(64), ir.IntType(8).as_pointer()

Type: TypeAlias = types.Type
"""The type of an argument. An intrinsic's definition receives types, and ``emit`` receives values.
"""


def instructions(
    signature: Callable[..., Signature], *, typed: bool = False, prefer_literal: bool = False
) -> Callable[[Callable[..., ir.Value | None]], Compiled]:
    """Return a decorator that makes an intrinsic of a function that emits instructions.

    The function takes the builder and the values of the arguments, and returns the result, or None
    if there is none.

    signature : a function from the types of a call's arguments to the types of its result and
        arguments
    typed : whether the function takes target, builder and signature before the values
    prefer_literal : whether the type of a literal argument contains its value
    """

    def decorate(emit: Callable[..., ir.Value | None]) -> Compiled:
        """Return the Numba function whose code a function emits."""

        def definition(
            context: TypingContext, *kinds: Type
        ) -> tuple[Signature, Callable[..., ir.Value]]:
            """Return the signature of a call with these types, and what emits its code."""
            return signature(*kinds), emit_in_target

        def emit_in_target(
            target: Target, builder: ir.IRBuilder, signature: Signature, values: Sequence[ir.Value]
        ) -> ir.Value:
            """Emit the code of a call; return its result, or Numba's None if it has none."""
            result = emit(target, builder, signature, *values) if typed else emit(builder, *values)
            return target.get_dummy_value() if result is None else result

        # Numba reads the names of the arguments, which follow one for the context.
        context_parameter = inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD)
        parameters = inspect.signature(signature).parameters.values()
        called_as = inspect.Signature([context_parameter, *parameters])
        definition.__signature__ = called_as  # type: ignore[attr-defined]
        return extending.intrinsic(prefer_literal=prefer_literal)(
            update_wrapper(definition, emit, updated=())
        )

    return decorate


def declared(
    builder: ir.IRBuilder, name: str, result: ir.Type, arguments: list[ir.Type]
) -> ir.Function:
    """Return an external function of this name, declared once in the module."""
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


# Options by which functions are compiled, and the widest vectors for functions that gain by them.


AnyFunction = TypeVar("AnyFunction", bound=Callable[..., object])

njit: Callable[..., Callable[[AnyFunction], AnyFunction]] = numba.njit
"""Numba's decorator. For a type checker, a compiled function keeps its signature."""

INNER: dict[str, bool] = {
    **known_options(no_cpython_wrapper=True, no_cfunc_wrapper=True, no_rewrites=True),
    **UNCOUNTED,
}
"""Options for a function that only compiled code calls: no wrappers for Python and C, and no
rewriting of code by Numba.
"""

GIVES_ARRAY: dict[str, bool] = {**INNER, **COUNTED}
"""Options for a function that returns an array, which Numba allows only with reference counts.
"""

BY_TYPE: dict[str, bool] = {**INNER, **known_options(no_rewrites=False)}
"""Options for a function that tests whether an argument is None, or unpacks a tuple by index: Numba
rewrites such code before it infers types.
"""


@instructions(lambda: types.void())
def widest_vectors(builder: ir.IRBuilder) -> None:
    """Let the loops of the calling function, and loops inlined into it, use the processor's widest
    vectors.

    LLVM uses vectors of half the width on Intel's processors, whose early AVX-512 cores lowered
    their clock for the widest. A loop over exp is bound by arithmetic and gains 25 to 40 %. The
    function is not inlined, since its loops would then have the options of its caller.
    """
    builder.function.attributes.add("noinline")
    add_attribute(builder.function, '"prefer-vector-width"="512"')


@instructions(lambda: types.void())
def stay_apart(builder: ir.IRBuilder) -> None:
    """Do not inline the calling function: it is large and has several callers, or its sums must be
    added up in the same order for each caller.
    """
    builder.function.attributes.add("noinline")


def gemm_address(dtype: str) -> int:
    """Return the address at which SciPy's BLAS keeps ``sgemm`` (float32) or ``dgemm`` (float64)."""
    name = {"float32": "sgemm", "float64": "dgemm"}[dtype]
    return extending.get_cython_function_address("scipy.linalg.cython_blas", name)


# The processor that Numba compiles for, which is not always the one that this runs on:
# ``NUMBA_CPU_NAME``, ``NUMBA_CPU_FEATURES`` and ``NUMBA_ENABLE_AVX`` name another.


X86 = platform.machine() in ("x86_64", "AMD64")
ARM = platform.machine() in ("aarch64", "arm64", "ARM64")

ADDITION = """
define <16 x float> @add(<16 x float> %a, <16 x float> %b) {
    %sum = fadd <16 x float> %a, %b
    ret <16 x float> %sum
}
"""
"""An addition of vectors of 64 bytes, the widest of any processor."""


def vector_bytes() -> int:
    """Return the bytes of the widest vectors that the compiler uses: 64 (AVX-512), 32 (AVX) or 16.

    The result is read from LLVM's code for an addition, since only LLVM knows the features of each
    named processor.
    """
    triple, name, features = compiler_target()
    machine = binding.Target.from_triple(triple).create_target_machine(
        cpu=name, features=features, opt=2
    )
    code = machine.emit_assembly(binding.parse_assembly(ADDITION))
    return next((size for register, size in {"zmm": 64, "ymm": 32}.items() if register in code), 16)
