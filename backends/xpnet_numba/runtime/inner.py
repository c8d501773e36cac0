"""Functions that only compiled code calls stay LLVM's IR until the function is compiled that calls them.

Numba optimizes each such function and makes machine code of it, and then does so again with the code of its caller,
into which it has been copied. The first time is in vain, and everybody who waits for a first fit would wait for it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from numba.core import codegen
from numba.core.registry import cpu_target

USED = (
    "_optimize_functions",
    "_optimize_final_module",
    "_finalize_dynamic_globals",
    "_get_module_for_linking",
    "finalize",
    "get_pointer_to_function",
)
"""Methods of Numba's libraries, none of them public, that are replaced or called here."""

PASSES = "_module_pass_manager"
"""A method of Numba's code generator, not public, that is called here."""


class Library(codegen.JITCodeLibrary):
    """The code of one function and of all it calls: machine code from the moment on when its address is asked for."""

    _wanted = False

    @property
    def codegen(self) -> Any:
        """What makes the code; it has nowhere to note Python's objects for a function that is not there yet."""
        return self._codegen if self._wanted else _WithoutEnvironment(self._codegen)

    def get_pointer_to_function(self, name: str) -> int:
        """The address of a function, 0 for one that does not belong to this library."""
        try:
            self._final_module.get_function(name)
        except NameError:
            return 0
        self._wanted = True
        return super().get_pointer_to_function(name)

    def finalize(self) -> None:
        """Nothing yet, unless an address is asked for: then all that it needs is put together, once, and compiled."""
        if not self._wanted:
            self._finalize_dynamic_globals()
            self._finalized = True
            return
        self._link_into(self._final_module)
        self._linking_libraries: list[Any] = []
        super().finalize()

    def _get_module_for_linking(self) -> Any:
        """What a library of Numba's own kind is linked with: the function, and all that it needs."""
        module = super()._get_module_for_linking()
        if not self._wanted:
            module = module.clone()
            self._link_into(module)
        return module

    def _link_into(self, module: Any) -> None:
        """Add what is called, directly or not, each function once. Callers come first: LLVM adds what is already needed."""
        needed: dict[Any, Any] = {}
        self._note_needed(needed)
        for part in reversed(needed.values()):
            module.link_in(part, preserve=True)

    def _note_needed(self, needed: dict[Any, Any]) -> None:
        """Note the modules of what is called, by their libraries, each behind those that it calls itself."""
        for library in self._linking_libraries:
            if library not in needed:
                waits = isinstance(library, Library) and not library._wanted
                if waits:
                    library._note_needed(needed)
                needed[library] = library._function() if waits else library._get_module_for_linking()

    def _function(self) -> Any:
        """The one function alone, as it is linked with others."""
        return super()._get_module_for_linking()

    def _optimize_functions(self, module: Any) -> None:
        """Nothing yet: the whole is optimized."""

    def _optimize_final_module(self) -> None:
        """Once: Numba does so twice, so as to find what is counted in vain, and nothing is counted here."""
        passes, builder = getattr(self._codegen, PASSES)()
        passes.run(self._final_module, builder)


class _WithoutEnvironment:
    """A code generator that notes no environments."""

    def __init__(self, generator: Any) -> None:
        self._generator = generator

    def __getattr__(self, name: str) -> Any:
        return getattr(self._generator, name)

    def set_env(self, name: str, environment: Any) -> None:
        """Nothing."""


@contextmanager
def inner_functions_wait() -> Iterator[None]:
    """Inside, where the compiler's lock is held, what Numba compiles waits for the code that calls it.

    Where Numba has changed and lacks what is used here, it compiles as it always does.
    """
    generator = cpu_target.target_context.codegen()
    before = getattr(generator, "_library_class", None)
    has_all = hasattr(generator, PASSES) and all(hasattr(before, name) for name in USED)
    if before is not codegen.JITCodeLibrary or not has_all:
        yield
        return
    generator._library_class = Library
    try:
        yield
    finally:
        generator._library_class = before
