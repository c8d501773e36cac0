"""Compilation on first need: kept on disk where a folder can be written, and announced where it takes long.

What is kept, and for how long, is in :mod:`~xpnet_numba.runtime.codecache`. Whatever goes wrong there costs a
compilation, never a result.
"""

import gc
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from typing import Any, NamedTuple

import numba

from xpnet_numba.llvm.passes import Passes
from xpnet_numba.runtime.aside import aside
from xpnet_numba.runtime.codecache import code_cache, sources_are_as_imported
from xpnet_numba.runtime.inner import inner_functions_wait
from xpnet_numba.runtime.objects import MachineCode, c_code, load_c_function, load_python_function, python_code
from xpnet_numba.scalars import FAST

PATIENCE = 1.0
"""Seconds of compilation, in all, after which a person is told what they are waiting for."""

_compiling = 0.0


class CFunction(NamedTuple):
    """A function that C and compiled code can call at its ``address``."""

    address: int


def c_function(function: Callable[..., Any], signature: Any) -> CFunction:
    """Compile to a C function (its ``address`` can be called from compiled code) under the flags in ``FAST``.

    Raises what Numba raises for code it cannot compile.
    """
    name = name_of(function, signature)
    if address := _from_cache(name, load_c_function):
        return CFunction(address)
    return aside(name, lambda: _compile_c(name, function, signature))


def _compile_c(name: str, function: Callable[..., Any], signature: Any) -> CFunction:
    with _announced(), _uncollected(), inner_functions_wait():
        compiled = numba.cfunc(signature, pipeline_class=Passes, **FAST)(function)
    _keep(name, c_code(compiled))
    return CFunction(compiled.address)


def python_function(function: Callable[..., Any], signature: Any) -> Callable[..., Any]:
    """Compile to a function that Python calls, and that runs without the interpreter's lock.

    It takes arguments of exactly the signature's types and does not look at them: Numba's own dispatch does, which takes
    longer than a short job. Nor does it count who uses an array: it makes none, and its caller keeps those it is given.
    Raises what Numba raises for code it cannot compile.
    """
    name, module = name_of(function, signature), sys.modules[function.__module__]
    if loaded := _from_cache(name, lambda code: load_python_function(code, module)):
        return loaded
    return aside(name, lambda: _compile_python(name, function, signature))


def _compile_python(name: str, function: Callable[..., Any], signature: Any) -> Callable[..., Any]:
    with _announced(), _uncollected(), inner_functions_wait():
        dispatcher = numba.njit([signature], nogil=True, pipeline_class=Passes, **FAST)(function)
    (overload,) = dispatcher.overloads.values()
    _keep(name, python_code(overload))
    _dispatchers.append(dispatcher)
    return overload.entry_point


_dispatchers: list[Any] = []
"""What keeps the code alive of functions that were compiled in this process."""


_named: dict[str, Callable[..., Any]] = {}


def name_of(function: Callable[..., Any], signature: Any) -> str:
    """What an entry of the cache is called. The folder stands for the sources, so the place in them is enough.

    Raises RuntimeError where another function has that name: one would be given the code of the other.
    """
    types = sha256(str(signature).encode()).hexdigest()[:16]
    name = f"{function.__module__}.{function.__qualname__}.{types}"
    if not _is_same(_named.setdefault(name, function), function):
        raise RuntimeError(f"Functions must differ in module, name or types to be kept; two are called {name}.")
    return name


def _is_same(a: Any, b: Any) -> bool:
    """Whether two functions have the same code, and their global names the same values."""
    values = (tuple(f.__globals__.get(name) for name in f.__code__.co_names) for f in (a, b))
    return a is b or (a.__code__ == b.__code__ and all(x is y for x, y in zip(*values, strict=True)))


def _from_cache(name: str, load: Callable[[MachineCode], Any]) -> Any:
    """What an entry of the cache is loaded as; None where there is none, or none of any use.

    Nothing is kept of functions that are not this package's.
    """
    if not name.startswith("xpnet_numba.") or (entry := code_cache().load(name)) is None:
        return None
    try:
        return load(MachineCode.unpack(entry))
    except Exception:  # whatever it is, compiling again is right
        return None


def _keep(name: str, code: MachineCode | None) -> None:
    """Write an entry; where that fails, say so once, and keep nothing from then on.

    After an upgrade under a running program nothing is written: the name would say less than what has been compiled.
    """
    if code is None or not name.startswith("xpnet_numba.") or not sources_are_as_imported():
        return
    try:
        code_cache().store(name, code.pack())
    except OSError as error:
        folder = code_cache().folder
        code_cache().folder = None
        _say_once(
            "no cache",
            f"xpnet: compiled code cannot be kept{f' in {folder}' if folder else ''} ({error.strerror or error}), so "
            "each run compiles again; let NUMBA_CACHE_DIR name a folder that can be written.",
        )


@contextmanager
def _uncollected() -> Iterator[None]:
    """Look for no garbage in this block: a compilation makes many objects, most of which live until its end, and to look
    through them takes a seventh of its time.
    """
    collected = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collected:
            gc.enable()


@contextmanager
def _announced() -> Iterator[None]:
    """Say what is going on when all compilation so far, with what runs in this block, exceeds ``PATIENCE``."""
    global _compiling
    alarm = threading.Timer(max(0.0, PATIENCE - _compiling), _announce)
    alarm.daemon = True
    begin = time.perf_counter()
    try:
        alarm.start()
    except RuntimeError:  # no thread can be started
        _announce()
    try:
        yield
    finally:
        alarm.cancel()
        _compiling += time.perf_counter() - begin


def _announce() -> None:
    _say_once(
        "compiling", "xpnet: compiling for this machine, which it does once for each kind of work; a few seconds."
    )


_said: set[str] = set()


def _say_once(topic: str, message: str) -> None:
    """One line on stderr, once in a process for each topic; nothing where there is no stderr."""
    if topic in _said:
        return
    _said.add(topic)
    if sys.stderr is not None:
        with suppress(OSError, ValueError):  # a closed pipe or file
            print(message, file=sys.stderr, flush=True)
