"""All that this package uses of Numba and llvmlite beyond their documentation: one file to check with a new version.

Other modules of the package import such names from here; a test searches them for others. If a name is missing that
only saves time, compilation takes longer, or is done in each run, and a line on stderr says so. If a name is missing
that every compiled function needs, this module cannot be imported, and NumPy computes in place of Numba.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import ModuleType, SimpleNamespace
from typing import Any, TypeAlias

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

__all__ = [
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
"""The context in which an intrinsic emits code: it knows, for instance, how values of a type lie in memory."""

TypingContext: TypeAlias = typing.Context
"""The context in which Numba finds the types of an intrinsic."""


def add_attribute(function: ir.Function, attribute: str) -> None:
    """Add an attribute of LLVM to a function, of which llvmlite need not know the name."""
    set.add(function.attributes, attribute)


def compiler_target() -> tuple[str, str, str]:
    """Return the triple, the processor and its features that Numba compiles for."""
    triple, processor, features = cpu_target.target_context.codegen().magic_tuple()
    return triple, processor, features


# Options of the compiler.


def known_options(**options: bool) -> Any:
    """Return those of some options of ``njit`` that this Numba has: its documentation does not list them, and without
    them compiling takes longer.
    """
    return {name: value for name, value in options.items() if hasattr(cpu_target.options, name)}


UNCOUNTED, COUNTED = known_options(_nrt=False), known_options(_nrt=True)
"""The option by which compiled code does not count who uses an array, or does: what calls such code keeps the arrays.
To compile the counting takes time, and so does the counting itself."""

if not hasattr(create_struct_proxy(types.int64[::1]), "_getvalue"):
    raise ImportError(
        f"Numba {numba.__version__} has no StructProxy._getvalue, by which arrays are made."
    )


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
        return (
            SimpleNamespace(set_env=lambda name, environment: None)
            if self.waits
            else super().codegen
        )

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
        if self.waits:
            functions = (function for module in self.modules for function in module.functions)
            if not any(
                function.name == name and not function.is_declaration for function in functions
            ):
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
        whole, own = (
            self.modules[0].clone(),
            {f.name for module in self.modules for f in module.functions},
        )
        for library in libraries:
            if not isinstance(library, WaitingLibrary):
                super().add_linking_library(library)
                continue
            for module in library.modules[1:] if library is self else library.modules:
                whole.link_in(module, preserve=True)
        for function in whole.functions:
            if (
                function.name not in own
                and not function.is_declaration
                and function.linkage.name == "external"
            ):
                function.linkage = (
                    "linkonce_odr"  # others link the same function, and LLVM may leave it out
                )
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


def only_overload(dispatcher: Any) -> Any:
    """Return what has been compiled of a function with one signature."""
    (overload,) = dispatcher.overloads.values()
    return overload


def python_entry(overload: Any) -> Any:
    """Return a function that has been compiled, as Python calls it."""
    return overload.entry_point


def c_address(overload: Any) -> int:
    """The address of the C function that has been compiled."""
    return overload.library.get_pointer_to_function(overload.fndesc.llvm_cfunc_wrapper_name)


def machine_code(overload: Any, *, for_python: bool) -> bytes | None:
    """The code of what ``numba.njit`` has compiled, to be kept; None if it refers to Python objects.

    It is an object file behind a line of JSON: the name of the function to be called, that of a pointer to the Python
    objects that the function reads, which is empty for a C function, and the names that must be known elsewhere, in
    libraries or in Numba.
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
    """The function's address; None if a name it needs is not known."""
    return _load(code)[1]


def load_python_function(code: bytes, module: ModuleType) -> Any:
    """The function as Python calls it, which belongs to a module; None if a name it needs is not known."""
    import ctypes

    from numba import _dynfunc

    symbol, address, environment_at = _load(code)
    if address is None:
        return None
    environment = _dynfunc.Environment(vars(module))
    ctypes.c_void_p.from_address(environment_at).value = id(environment)
    return _dynfunc.make_function(module, symbol, "", address, environment, ())


def _load(code: bytes) -> tuple[str, int | None, int]:
    """The function's name, its address, or None, and that of the pointer to its Python objects.

    The code stays until the process ends: nobody knows who still has the address. Each object has an engine of its own:
    what two of them call alike stays apart.
    """
    from numba.core.runtime import rtsys

    head, _, object_file = code.partition(b"\n")
    symbol, environment, needs = json.loads(head)
    rtsys.initialize(
        cpu_target.target_context
    )  # starts LLVM once, and enters the names of Numba's runtime
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
