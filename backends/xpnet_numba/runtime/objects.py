"""Machine code as LLVM emits it: taken from what Numba has compiled, and loaded again without compiling.

Numba's own cache reads back everything that it knows of a function, types included, for which it first imports all of
itself. What is called by its address needs the code alone.
"""

import json
from functools import cache
from typing import Any, NamedTuple

from llvmlite import binding


class MachineCode(NamedTuple):
    """An object file with one function to be called.

    symbol : the function's name; needs : names that must be known elsewhere, in libraries or in Numba
    """

    symbol: str
    needs: tuple[str, ...]
    object_file: bytes

    def pack(self) -> bytes:
        """All of it as bytes."""
        return json.dumps([self.symbol, self.needs]).encode() + b"\n" + self.object_file

    @classmethod
    def unpack(cls, packed: bytes) -> "MachineCode":
        """What :meth:`pack` has packed."""
        head, _, object_file = packed.partition(b"\n")
        symbol, needs = json.loads(head)
        return cls(symbol, tuple(needs), object_file)


def machine_code(compiled: Any) -> MachineCode:
    """The code of a function that ``numba.cfunc`` has compiled."""
    library = compiled._library
    module = library._final_module
    needs = (v.name for v in (*module.functions, *module.global_variables) if v.is_declaration)
    return MachineCode(
        compiled.native_name,
        tuple(name for name in needs if not name.startswith("llvm.")),
        library._get_compiled_object(),
    )


def load(code: MachineCode) -> int | None:
    """The function's address; None if a name it needs is not known.

    Each object has an engine of its own: what two of them call alike stays apart. The code stays until the process ends,
    for nobody knows who still has the address.
    """
    _prepare_numba()
    if not all(map(binding.address_of_symbol, code.needs)):
        return None
    machine = binding.Target.from_default_triple().create_target_machine(codemodel="jitdefault", jit=True)
    engine = binding.create_mcjit_compiler(binding.parse_assembly(""), machine)
    engine.add_object_file(binding.ObjectFileRef.from_data(code.object_file))
    engine.finalize_object()
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
