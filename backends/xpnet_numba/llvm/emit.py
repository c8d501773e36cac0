"""How an intrinsic is written: a function that returns the types of its result and arguments, and emits LLVM's instructions.

An address is an int64. No address is ever compiled into code, all come as run-time values, so that compiled code can be
kept on disk.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from llvmlite import ir
from numba import extending, types
from numba.core import base, cgutils, typing

BYTE, INT32, INT64 = ir.IntType(8), ir.IntType(32), ir.IntType(64)
BYTES = BYTE.as_pointer()

intrinsic: Any = extending.intrinsic  # Any: a type checker cannot know that compiled code leaves out the context

Context: TypeAlias = typing.Context
"""What Numba knows while it finds types; no intrinsic here needs it."""

Type: TypeAlias = types.Type
"""What an intrinsic's definition receives for an argument: its type. The value comes to ``emit``."""

Signature: TypeAlias = typing.Signature
"""The types of an intrinsic's result and arguments."""

Target: TypeAlias = base.BaseContext
"""What Numba knows of the machine, such as how values of a type lie in memory."""

Emit: TypeAlias = Callable[[Target, ir.IRBuilder, Signature, Sequence[ir.Value]], ir.Value]
"""Emits the instructions: (target, builder, signature, values of the arguments) -> value of the result."""


def declared(builder: ir.IRBuilder, name: str, result: ir.Type, arguments: list[ir.Type]) -> ir.Function:
    """A function of that name from elsewhere, declared once in the module."""
    return cgutils.get_or_insert_function(builder.module, ir.FunctionType(result, arguments), name)


def call_address(builder: ir.IRBuilder, function: ir.Value, arguments: list[ir.Value]) -> None:
    """Call the C function at an address, one that returns nothing."""
    kind = ir.FunctionType(ir.VoidType(), [a.type for a in arguments])
    builder.call(builder.inttoptr(function, kind.as_pointer()), arguments)


def in_all_lanes(builder: ir.IRBuilder, number: ir.Value, width: int) -> ir.Value:
    """A vector with the same number in all its lanes."""
    nothing = ir.Constant(ir.VectorType(number.type, width), ir.Undefined)
    first = builder.insert_element(nothing, number, INT32(0))
    return builder.shuffle_vector(first, nothing, ir.Constant(ir.VectorType(INT32, width), [0] * width))
