"""Machine code as LLVM emits it: taken from what Numba has compiled, and loaded again without compiling.

Numba's own cache reads back everything that it knows of a function, types included, for which it first imports all of
itself. What is called by its address needs the code alone.
"""

import ctypes
import json
from functools import cache
from types import ModuleType
from typing import Any, NamedTuple

from llvmlite import binding
from numba import _dynfunc


class MachineCode(NamedTuple):
    """An object file with one function to be called.

    symbol : the function's name
    environment : the name of a pointer to the Python objects that the function reads; empty for a C function
    needs : names that must be known elsewhere, in libraries or in Numba
    """

    symbol: str
    environment: str
    needs: tuple[str, ...]
    object_file: bytes

    def pack(self) -> bytes:
        """All of it as bytes."""
        return json.dumps([self.symbol, self.environment, self.needs]).encode() + b"\n" + self.object_file

    @classmethod
    def unpack(cls, packed: bytes) -> "MachineCode":
        """What :meth:`pack` has packed."""
        head, _, object_file = packed.partition(b"\n")
        symbol, environment, needs = json.loads(head)
        return cls(symbol, environment, tuple(needs), object_file)


def c_code(compiled: Any) -> MachineCode:
    """The code of a function that ``numba.cfunc`` has compiled."""
    return _code(compiled.native_name, "", compiled._library)


def python_code(overload: Any) -> MachineCode | None:
    """The code of a function that ``numba.njit`` has compiled for Python; None if it refers to Python objects."""
    if overload.environment.consts:
        return None
    return _code(overload.fndesc.llvm_cpython_wrapper_name, overload.fndesc.env_name, overload.library)


def _code(symbol: str, environment: str, library: Any) -> MachineCode:
    module = library._final_module
    needs = (v.name for v in (*module.functions, *module.global_variables) if v.is_declaration)
    needed = tuple(name for name in needs if not name.startswith("llvm."))
    return MachineCode(symbol, environment, needed, library._get_compiled_object())


def load_c_function(code: MachineCode) -> int | None:
    """The function's address; None if a name it needs is not known."""
    engine = _load(code)
    return engine and _address(engine, code)


def load_python_function(code: MachineCode, module: ModuleType) -> Any:
    """The function as Python calls it, which belongs to a module; None if a name it needs is not known."""
    engine = _load(code)
    if engine is None:
        return None
    environment = _dynfunc.Environment(vars(module))
    ctypes.c_void_p.from_address(engine.get_global_value_address(code.environment)).value = id(environment)
    return _dynfunc.make_function(module, code.symbol, "", _address(engine, code), environment, ())


def _load(code: MachineCode) -> Any:
    """An engine of its own for each object: what two of them call alike stays apart."""
    _prepare_numba()
    if not all(map(binding.address_of_symbol, code.needs)):
        return None
    machine = binding.Target.from_default_triple().create_target_machine(codemodel="jitdefault", jit=True)
    engine = binding.create_mcjit_compiler(binding.parse_assembly(""), machine)
    engine.add_object_file(binding.ObjectFileRef.from_data(code.object_file))
    engine.finalize_object()
    return engine


def _address(engine: Any, code: MachineCode) -> int:
    """The address of the function, whose code stays until the process ends: nobody knows who still has the address."""
    address = engine.get_function_address(code.symbol)
    engine.detach()
    return address


@cache
def _prepare_numba() -> None:
    """Start LLVM and enter the names of Numba's runtime, as Numba does before it compiles."""
    from numba.core.registry import cpu_target
    from numba.core.runtime import _nrt_python

    cpu_target.target_context  # noqa: B018  made when first asked for
    for name, address in _nrt_python.c_helpers.items():
        binding.add_symbol(name if name.startswith("_") else f"NRT_{name}", address)
