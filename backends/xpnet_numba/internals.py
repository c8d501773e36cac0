"""All undocumented parts of Numba and llvmlite that this package uses. Check this file with a new
version.

Other modules of the package import such names from here; a test finds direct imports. If a missing
name only saves time, compilation takes longer or runs in each process, and a line on stderr reports
it. If a missing name is needed by every compiled function, this module cannot be imported, and
NumPy computes in place of Numba.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Protocol, TypeAlias

import numba
from llvmlite import binding, ir
from numba import types
from numba.core import base, codegen, typing
from numba.core.cgutils import (
    alloca_once,
    alloca_once_value,
    create_struct_proxy,
    for_range,
    for_range_slice,
    get_or_insert_function,
    get_record_member,
    memset,
    raw_memcpy,
    unpack_tuple,
)
from numba.core.compiler_lock import global_compiler_lock
from numba.core.imputils import impl_ret_borrowed
from numba.core.registry import cpu_target
from numba.np.arrayobj import populate_array
from numba.np.numpy_support import from_dtype

from xpnet_numba.kinds import Compiled

if TYPE_CHECKING:
    from numba.core.compiler import CompileResult as Overload
    from numba.core.dispatcher import Dispatcher

__all__ = [
    "BFLOAT16",
    "COUNTED",
    "UNCOUNTED",
    "Signature",
    "Target",
    "TypingContext",
    "WaitingLibrary",
    "add_attribute",
    "alloca_once",
    "alloca_once_value",
    "c_address",
    "compiler_target",
    "create_struct_proxy",
    "for_range",
    "for_range_slice",
    "from_dtype",
    "functions_wait",
    "get_or_insert_function",
    "get_record_member",
    "global_compiler_lock",
    "impl_ret_borrowed",
    "known_options",
    "load_c_function",
    "load_python_function",
    "machine_code",
    "memset",
    "only_overload",
    "populate_array",
    "python_entry",
    "raw_memcpy",
    "unpack_tuple",
    "value_of",
    "why_no_function_can_wait",
]

# Intrinsics.

Signature: TypeAlias = typing.Signature
"""The types of an intrinsic's result and arguments."""

Target: TypeAlias = base.BaseContext
"""The context in which an intrinsic emits code. It knows, for instance, the memory layout of each
type.
"""

TypingContext: TypeAlias = typing.Context
"""The context in which Numba finds the types of an intrinsic."""


Generator: TypeAlias = codegen.CPUCodegen
"""The generator of libraries of compiled code."""

Library: TypeAlias = codegen.CodeLibrary
"""The code of a function that is compiled, and of the wrappers around it."""


class Structure(Protocol):
    """An LLVM structure whose fields are set one by one."""

    def _getvalue(self) -> ir.Value: ...


class _BFloat16(ir.Type):
    """LLVM's type ``bfloat``, which llvmlite does not name."""

    def _to_string(self) -> str:
        """Return the name of the type in LLVM's text."""
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _BFloat16)

    def __hash__(self) -> int:
        return hash(_BFloat16)


BFLOAT16 = _BFloat16()
"""A number of 16 bits with the exponent of float32 and 8 bits of precision."""


def add_attribute(function: ir.Function, attribute: str) -> None:
    """Add an attribute of LLVM to a function. llvmlite need not know the attribute's name."""
    set.add(function.attributes, attribute)


def compiler_target() -> tuple[str, str, str]:
    """Return the triple, the processor and its features that Numba compiles for."""
    triple, processor, features = cpu_target.target_context.codegen().magic_tuple()
    return triple, processor, features


# Options of the compiler.


def known_options(**options: bool) -> dict[str, bool]:
    """Return the options of ``njit`` that this version of Numba has. Its documentation does not
    list them, and without them compilation takes longer.
    """
    return {name: value for name, value in options.items() if hasattr(cpu_target.options, name)}


UNCOUNTED, COUNTED = known_options(_nrt=False), known_options(_nrt=True)
"""The options by which compiled code does not count references to arrays, or does. Without
counting, the caller keeps the arrays alive. Counting takes time to compile and to run.
"""

if not hasattr(create_struct_proxy(types.int64[::1]), "_getvalue"):
    raise ImportError(
        f"Numba {numba.__version__} has no StructProxy._getvalue, which makes arrays."
    )


def value_of(proxy: "Structure") -> ir.Value:
    """Return the value of an LLVM structure, such as an array, after its fields have been set."""
    return proxy._getvalue()


# Functions that only compiled code calls.


class WaitingLibrary(codegen.JITCodeLibrary):
    """The code of one function, optimized together with all functions that it calls when its
    address is first needed.

    Numba optimizes every function that compiled code calls, and compiles it to machine code. Then
    it does so again with the caller, into which the function has been copied. The first compilation
    is not used.

    functions_wait : whether functions wait now; the compiler's lock is held where this is changed
    """

    functions_wait = False

    def __init__(self, generator: Generator, name: str) -> None:
        super().__init__(generator, name)
        self.modules: list[binding.ModuleRef] = []
        self.callees: list[Library] = []
        self.waits = True

    @property
    def codegen(self) -> Generator | SimpleNamespace:
        """Return the code generator. It records no Python objects of functions that wait."""
        return (
            SimpleNamespace(set_env=lambda name, environment: None)
            if self.waits
            else super().codegen
        )

    def add_llvm_module(self, module: object) -> None:
        """Keep a module as it is, a function or a wrapper around it."""
        self.modules.append(module)

    def _optimize_functions(self, module: object) -> None:
        """Leave the functions as they are, since the linked module is optimized. A Numba without
        this method optimizes each function first.
        """

    def add_linking_library(self, library: object) -> None:
        """Keep a library that is called."""
        self.callees.append(library)

    def get_pointer_to_function(self, name: str) -> int:
        """Return the address of a function, which is compiled now; 0 for a function that is not
        defined here.
        """
        if self.waits:
            functions = (function for module in self.modules for function in module.functions)
            if not any(
                function.name == name and not function.is_declaration for function in functions
            ):
                return 0
        self.waits = False
        return super().get_pointer_to_function(name)

    def finalize(self) -> None:
        """Link all functions that are called, directly or indirectly, and compile them, unless
        functions wait.
        """
        if self.waits and self.functions_wait:
            return
        self.waits = False
        libraries: dict[Library, None] = {}
        self._collect(libraries)
        combined, own = (
            self.modules[0].clone(),
            {f.name for module in self.modules for f in module.functions},
        )
        for library in libraries:
            if not isinstance(library, WaitingLibrary):
                super().add_linking_library(library)
                continue
            for module in library.modules[1:] if library is self else library.modules:
                combined.link_in(module, preserve=True)
        for function in combined.functions:
            if (
                function.name not in own
                and not function.is_declaration
                and function.linkage.name == "external"
            ):
                function.linkage = (
                    "linkonce_odr"  # other modules link the same function, and LLVM may omit it
                )
        super().add_llvm_module(combined)
        super().finalize()

    def _collect(self, libraries: dict[Library, None]) -> None:
        """Collect this library and those that it calls, each once."""
        if self not in libraries:
            libraries[self] = None
            for library in self.callees:
                if isinstance(library, WaitingLibrary):
                    library._collect(libraries)
                else:
                    libraries[library] = None


@contextmanager
def functions_wait() -> Iterator[None]:
    """Let functions that Numba compiles in this context wait for the code that calls them. The
    caller holds the compiler's lock.
    """
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
    """Return an empty text if :class:`WaitingLibrary` works with this Numba, or else the reason.
    Two small functions are compiled as a trial.
    """
    try:
        inner = numba.njit(**known_options(no_cpython_wrapper=True, no_cfunc_wrapper=True))(
            lambda x: x + 1
        )
        outer = numba.njit(lambda x: inner(x) + inner(x))
        with functions_wait():
            result = outer(1)
        return "" if result == 4 else f"a trial gave {result}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"


# Machine code.


def only_overload(dispatcher: "Dispatcher") -> "Overload":
    """Return the compiled overload of a function with one signature."""
    (overload,) = dispatcher.overloads.values()
    return overload


def python_entry(overload: "Overload") -> Compiled:
    """Return the entry point by which Python calls a compiled function."""
    return overload.entry_point


def c_address(overload: "Overload") -> int:
    """Return the address of the compiled C function."""
    return overload.library.get_pointer_to_function(overload.fndesc.llvm_cfunc_wrapper_name)


def machine_code(overload: "Overload", *, for_python: bool) -> bytes | None:
    """Return the machine code of a function that ``numba.njit`` has compiled; None if it refers to
    Python objects.

    The code is a line of JSON and an object file. The line holds the name of the function, the name
    of a pointer to the Python objects that the function reads (empty for a C function), and the
    names that libraries or Numba must define.
    """
    if overload.environment.consts:
        return None
    _, _, (object_file, bitcode) = overload.library.serialize_using_object_code()
    module, fndesc = binding.parse_bitcode(bitcode), overload.fndesc
    declared = (v.name for v in (*module.functions, *module.global_variables) if v.is_declaration)
    needs = [name for name in declared if not name.startswith("llvm.")]
    symbols = fndesc.llvm_cfunc_wrapper_name, ""
    if for_python:
        symbols = fndesc.llvm_cpython_wrapper_name, fndesc.env_name
    return json.dumps([*symbols, needs]).encode() + b"\n" + object_file


def load_c_function(code: bytes) -> int | None:
    """Return the function's address; None if a name that it needs is not defined."""
    return _load(code)[1]


def load_python_function(code: bytes, module: ModuleType) -> Compiled | None:
    """Return a function of a module as Python calls it; None if a name that it needs is not
    defined.
    """
    import ctypes

    from numba import _dynfunc

    symbol, address, environment_at = _load(code)
    if address is None:
        return None
    environment = _dynfunc.Environment(vars(module))
    ctypes.c_void_p.from_address(environment_at).value = id(environment)
    return _dynfunc.make_function(module, symbol, "", address, environment, ())


def _load(code: bytes) -> tuple[str, int | None, int]:
    """Return the function's name, its address or None, and the address of the pointer to its Python
    objects.

    The code stays until the process ends, since the address may still be in use. Each object has
    its own engine, so that equal names in two objects do not collide.
    """
    from numba.core.runtime import rtsys

    head, _, object_file = code.partition(b"\n")
    symbol, environment, needs = json.loads(head)
    # This starts LLVM once, and adds the names of Numba's runtime.
    rtsys.initialize(cpu_target.target_context)
    if not all(map(binding.address_of_symbol, needs)):
        return symbol, None, 0
    machine = binding.Target.from_default_triple().create_target_machine(
        codemodel="jitdefault", jit=True
    )
    engine = binding.create_mcjit_compiler(binding.parse_assembly(""), machine)
    engine.add_object_file(binding.ObjectFileRef.from_data(object_file))
    engine.finalize_object()
    address = engine.get_function_address(symbol)
    environment_at = engine.get_global_value_address(environment) if environment else 0
    engine.detach()
    return symbol, address, environment_at
