"""All that is used of Numba beyond its documentation, so that a new version has to be held against one file.

Where Numba lacks something, compilation takes longer or is done in each run, and a line on stderr says so; where it
lacks what no compiled function can do without, this module cannot be imported, and NumPy computes in Numba's place.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import ModuleType
from typing import Any, NamedTuple

import numba
from llvmlite import binding
from numba import types
from numba.core import cgutils, codegen
from numba.core.registry import cpu_target


def known_options(**options: bool) -> Any:
    """Return those of some options of ``njit`` that this Numba has: its documentation does not list them, and without
    them compiling takes longer.
    """
    return {name: value for name, value in options.items() if hasattr(cpu_target.options, name)}


UNCOUNTED, COUNTED = known_options(_nrt=False), known_options(_nrt=True)
"""The option by which compiled code does not count who uses an array, or does: what calls such code keeps the arrays.
To compile the counting takes time, and so does the counting itself."""

if not hasattr(cgutils.create_struct_proxy(types.int64[::1]), "_getvalue"):
    raise ImportError(f"Numba {numba.__version__} has no StructProxy._getvalue, by which arrays are made.")


def value_of(proxy: Any) -> Any:
    """The value of a structure of LLVM's, such as an array, whose fields have been set."""
    return proxy._getvalue()


# Functions that only compiled code calls.


class WaitingLibrary(codegen.JITCodeLibrary):
    """The code of one function, optimized together with all that it calls, and only once its address is asked for.

    Numba optimizes every function that compiled code calls and makes machine code of it, and then does so again with
    the code of its caller, into which it has been copied. The first time is in vain.

    functions_wait : whether functions wait now; the compiler's lock is held where this is changed
    """

    functions_wait = False

    def __init__(self, generator: Any, name: str) -> None:
        super().__init__(generator, name)
        self.modules: list[Any] = []
        self.callees: list[Any] = []
        self.waits = True

    @property
    def codegen(self) -> Any:
        """The code generator, which has nowhere to note the Python objects of a function that waits."""
        return _WithoutEnvironment(super().codegen) if self.waits else super().codegen

    def add_llvm_module(self, module: Any) -> None:
        """Keep a module as it is, a function or a wrapper around it."""
        self.modules.append(module)

    def _optimize_functions(self, module: Any) -> None:
        """Leave the functions as they are: the whole is optimized. Where Numba has no such method, each is before."""

    def add_linking_library(self, library: Any) -> None:
        """Keep a library that is called."""
        self.callees.append(library)

    def get_pointer_to_function(self, name: str) -> int:
        """The address of a function, whose code is made now; 0 for a function that is not defined here."""
        if self.waits and not any(_defines(module, name) for module in self.modules):
            return 0
        self.waits = False
        return super().get_pointer_to_function(name)

    def finalize(self) -> None:
        """Link all that is called, directly or not, and compile it; nothing yet while the functions wait."""
        if self.waits and self.functions_wait:
            return
        self.waits = False
        libraries: dict[Any, None] = {}
        self._collect(libraries)
        whole, own = self.modules[0].clone(), {f.name for module in self.modules for f in module.functions}
        for library in libraries:
            if not isinstance(library, WaitingLibrary):
                super().add_linking_library(library)
                continue
            for module in library.modules[1:] if library is self else library.modules:
                whole.link_in(module, preserve=True)
        for function in whole.functions:
            if function.name not in own and not function.is_declaration and function.linkage.name == "external":
                function.linkage = "linkonce_odr"  # others link the same function, and LLVM may leave it out
        super().add_llvm_module(whole)
        super().finalize()

    def _collect(self, libraries: dict[Any, None]) -> None:
        """Note this library and those that it calls, each once."""
        if self not in libraries:
            libraries[self] = None
            for library in self.callees:
                if isinstance(library, WaitingLibrary):
                    library._collect(libraries)
                else:
                    libraries[library] = None


def _defines(module: Any, name: str) -> bool:
    try:
        return not module.get_function(name).is_declaration
    except NameError:
        return False


class _WithoutEnvironment:
    """A code generator that notes no Python objects."""

    def __init__(self, generator: Any) -> None:
        self._generator = generator

    def __getattr__(self, name: str) -> Any:
        return getattr(self._generator, name)

    def set_env(self, name: str, environment: Any) -> None:
        """Do nothing."""


@contextmanager
def functions_wait() -> Iterator[None]:
    """Inside, where the compiler's lock is held, what Numba compiles waits for the code that calls it."""
    generator = cpu_target.target_context.codegen()
    generator.create_library = lambda name, **options: WaitingLibrary(generator, name, **options)
    WaitingLibrary.functions_wait = True
    try:
        yield
    finally:
        WaitingLibrary.functions_wait = False
        del generator.create_library


@cache
def why_no_function_can_wait() -> str:
    """An empty text where Numba is as :class:`WaitingLibrary` expects it, tried with two small functions; else why
    not.
    """
    try:
        inner = numba.njit(**known_options(no_cpython_wrapper=True, no_cfunc_wrapper=True))(_plus_one)
        outer = numba.njit(lambda x: inner(x) + inner(x))
        with functions_wait():
            result = outer(1)
        return "" if result == 4 else f"a trial gave {result}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def _plus_one(x: int) -> int:
    return x + 1


# Machine code.


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
        """Return all of it as bytes."""
        return json.dumps([self.symbol, self.environment, self.needs]).encode() + b"\n" + self.object_file

    @classmethod
    def unpack(cls, packed: bytes) -> "MachineCode":
        """Restore what :meth:`pack` has packed."""
        head, _, object_file = packed.partition(b"\n")
        symbol, environment, needs = json.loads(head)
        return cls(symbol, environment, tuple(needs), object_file)


def c_address(overload: Any) -> int:
    """The address of the C function that has been compiled."""
    return overload.library.get_pointer_to_function(overload.fndesc.llvm_cfunc_wrapper_name)


def machine_code(overload: Any, *, for_python: bool) -> MachineCode | None:
    """The code of what ``numba.njit`` has compiled; None if it refers to Python objects."""
    if overload.environment.consts:
        return None
    _, _, (object_file, bitcode) = overload.library.serialize_using_object_code()
    module, fndesc = binding.parse_bitcode(bitcode), overload.fndesc
    declared = (v.name for v in (*module.functions, *module.global_variables) if v.is_declaration)
    needs = tuple(name for name in declared if not name.startswith("llvm."))
    if for_python:
        return MachineCode(fndesc.llvm_cpython_wrapper_name, fndesc.env_name, needs, object_file)
    return MachineCode(fndesc.llvm_cfunc_wrapper_name, "", needs, object_file)


def load_c_function(code: MachineCode) -> int | None:
    """The function's address; None if a name it needs is not known."""
    engine = _load(code)
    return engine and _address(engine, code)


def load_python_function(code: MachineCode, module: ModuleType) -> Any:
    """The function as Python calls it, which belongs to a module; None if a name it needs is not known."""
    import ctypes

    from numba import _dynfunc

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
    from numba.core.runtime import rtsys

    rtsys.initialize(cpu_target.target_context)
