"""This module says how an intrinsic is written, and finds the processor that code is compiled for.

An intrinsic is a function that returns the types of its result and arguments, and emits LLVM's instructions. An address
is an int64. No address is ever compiled into code, all come as run-time values, so that compiled code can be kept on
disk.
"""

import inspect
import platform
from collections.abc import Callable, Sequence
from functools import cache, update_wrapper
from typing import Any, TypeAlias

from llvmlite import binding, ir
from numba import extending, types
from numba.core import base, cgutils, typing

INT32, INT64, BYTES = ir.IntType(32), ir.IntType(64), ir.IntType(8).as_pointer()

intrinsic: Any = extending.intrinsic  # Any: a type checker cannot know that compiled code leaves out the context

Context: TypeAlias = typing.Context
"""Numba passes this context while it finds types; no intrinsic here needs it."""

Type: TypeAlias = types.Type
"""An intrinsic's definition receives the type of an argument. The value comes to ``emit``."""

Signature: TypeAlias = typing.Signature
"""The types of an intrinsic's result and arguments."""

Target: TypeAlias = base.BaseContext
"""The context holds what Numba knows of the machine, such as how values of a type lie in memory."""

Emit: TypeAlias = Callable[[Target, ir.IRBuilder, Signature, Sequence[ir.Value]], ir.Value]
"""Emits the instructions: (target, builder, signature, values of the arguments) -> value of the result."""


def instructions(
    signature: Signature | Callable[..., Signature], *, typed: bool = False
) -> Callable[[Callable[..., ir.Value | None]], Any]:
    """Decorate a function that emits instructions, which becomes an intrinsic.

    The function takes the builder and the values of the arguments, and returns the result, or None for none.

    signature : types of the result and the arguments, or a function that gives them for the types of a call
    typed : whether the function takes target, builder and signature before the values
    """

    def made(emit: Callable[..., ir.Value | None]) -> Any:
        def definition(context: Context, *kinds: Type) -> tuple[Signature, Emit]:
            return (signature(*kinds) if callable(signature) else signature), emit_in_target

        def emit_in_target(
            target: Target, builder: ir.IRBuilder, signature: Signature, values: Sequence[ir.Value]
        ) -> ir.Value:
            result = emit(target, builder, signature, *values) if typed else emit(builder, *values)
            return target.get_dummy_value() if result is None else result

        # Numba reads the names of the arguments, which stand behind one for the context.
        names = list(inspect.signature(emit).parameters.values())
        definition.__signature__ = inspect.Signature(names[2:] if typed else names)  # type: ignore[attr-defined]
        return intrinsic(update_wrapper(definition, emit, updated=()))

    return made


def declared(builder: ir.IRBuilder, name: str, result: ir.Type, arguments: list[ir.Type]) -> ir.Function:
    """A function of that name from elsewhere, declared once in the module."""
    return cgutils.get_or_insert_function(builder.module, ir.FunctionType(result, arguments), name)


def field(target: Target, builder: ir.IRBuilder, kind: types.Record, record: ir.Value, name: str) -> ir.Value:
    """Return a field of a record."""
    number = target.get_value_type(kind.typeof(name))
    return builder.load(cgutils.get_record_member(builder, record, kind.offset(name), number))


def in_all_lanes(builder: ir.IRBuilder, number: ir.Value, width: int) -> ir.Value:
    """Return a vector with the same number in all its lanes."""
    nothing = ir.Constant(ir.VectorType(number.type, width), ir.Undefined)
    first = builder.insert_element(nothing, number, INT32(0))
    return builder.shuffle_vector(first, nothing, ir.Constant(ir.VectorType(INT32, width), [0] * width))


# The processor that Numba compiles for, which is not always the one that this runs on: ``NUMBA_CPU_NAME``,
# ``NUMBA_CPU_FEATURES`` and ``NUMBA_ENABLE_AVX`` name another.


X86 = platform.machine() in ("x86_64", "AMD64")
ARM = platform.machine() in ("aarch64", "arm64", "ARM64")

WIDEST = 64
"""Bytes of the widest vectors that any processor has."""


@cache
def vector_bytes() -> int:
    """Bytes of the vectors that the compiler uses where it is given ``WIDEST``: 64 (AVX-512), 32 (AVX) or 16.

    LLVM is asked by what it makes of an addition: the features of a processor that was named are known to it alone.
    """
    registers = {"zmm": 64, "ymm": 32}
    code = _assembly_of_an_addition()
    return next((size for register, size in registers.items() if register in code), 16)


def _assembly_of_an_addition() -> str:
    from numba.core.registry import cpu_target

    triple, name, features = cpu_target.target_context.codegen().magic_tuple()
    machine = binding.Target.from_triple(triple).create_target_machine(cpu=name, features=features, opt=2)
    return machine.emit_assembly(binding.parse_assembly(str(_addition())))


def _addition() -> ir.Module:
    module, vector = ir.Module(), ir.VectorType(ir.FloatType(), WIDEST // 4)
    module.triple = binding.get_process_triple()
    function = ir.Function(module, ir.FunctionType(vector, [vector, vector]), "add")
    builder = ir.IRBuilder(function.append_basic_block())
    builder.ret(builder.fadd(*function.args))
    return module
