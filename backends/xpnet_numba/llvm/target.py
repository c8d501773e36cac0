"""The processor that Numba compiles for, which is not always the one that this runs on.

``NUMBA_CPU_NAME``, ``NUMBA_CPU_FEATURES`` and ``NUMBA_ENABLE_AVX`` name another.
"""

import platform
from functools import cache

from llvmlite import binding, ir

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
