"""Compilation at first use. Machine code is stored on disk if a folder can be written, and long
compilation is reported.

:mod:`~xpnet_numba.runtime.codecache` describes the files. A failure of the cache costs a
compilation, never a result.
"""

import gc
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, nullcontext
from functools import cache
from hashlib import sha256
from inspect import unwrap
from types import FunctionType
from typing import TypeVar

import numba

from xpnet_numba import internals
from xpnet_numba.internals import Signature, global_compiler_lock
from xpnet_numba.runtime.codecache import code_cache, sources_are_as_imported
from xpnet_numba.scalars import FAST

Result = TypeVar("Result")
"""The type of the result of a function that is compiled."""

Entry = TypeVar("Entry")
"""An entry of the cache: a function that Python calls, or the address of a C function."""

LOGGER = logging.getLogger("xpnet")
"""The logger of the library. The command line prints all of it on stderr; elsewhere Python prints
warnings alone, unless a program sets up logging."""

PATIENCE = 1.0
"""Total seconds of compilation after which a message explains the wait."""

STACK = 16 * 2**20
"""Bytes of stack for the compiler, which recurses as deeply as a program is nested."""

_compiling = 0.0


def filled_in(
    template: Callable[..., Result], name: str, **values: object
) -> Callable[..., Result]:
    """Return a copy of a module's function under another name, in which some global names have
    other values.

    So one loop serves many formulas and dtypes. A closure could not be found in the cache again.
    """
    template = unwrap(template)
    copy = FunctionType(template.__code__, {**template.__globals__, **values}, name)
    copy.__qualname__ = name
    copy.__doc__ = template.__doc__
    return copy


def c_function(function: Callable[..., object], signature: Signature) -> int:
    """Compile to a C function with the flags in ``FAST``; return its address, which compiled code
    can call.

    Raises what Numba raises for code it cannot compile.
    """
    name = name_of(function, signature)

    def compiled() -> int:
        """Compile, keep the machine code on disk, and return the address."""
        with _compiler():
            overload = _overload(function, signature, no_cpython_wrapper=True, no_rewrites=True)
            address = internals.c_address(overload)
        _keep(name, lambda: internals.machine_code(overload, for_python=False))
        return address

    entry: int = _loaded_or_compiled(name, internals.load_c_function, compiled)
    return entry


def python_function(function: Callable[..., Result], signature: Signature) -> Callable[..., Result]:
    """Compile to a function that Python calls, and that runs without the interpreter's lock.

    Its arguments must have exactly the signature's types, which it does not check: Numba's own
    dispatch does so, and takes longer than a short job. It does not count references to arrays: it
    creates none, and its caller keeps the arguments alive. Raises what Numba raises for code it
    cannot compile.
    """
    function, name, module = (
        unwrap(function),
        name_of(function, signature),
        sys.modules[function.__module__],
    )

    def compiled() -> Callable[..., Result]:
        """Compile, keep the machine code on disk, and return what Python calls."""
        with _compiler():
            overload = _overload(function, signature, no_cfunc_wrapper=True)
        _keep(name, lambda: internals.machine_code(overload, for_python=True))
        return internals.python_entry(overload)

    return _loaded_or_compiled(
        name, lambda code: internals.load_python_function(code, module), compiled
    )


def _overload(
    function: Callable[..., object], signature: Signature, **options: bool
) -> "internals.Overload":
    """Compile a function for one signature with Numba."""
    all_options = internals.UNCOUNTED | internals.known_options(**options)
    dispatcher = numba.njit([signature], nogil=True, **FAST, **all_options)(function)
    _dispatchers.append(dispatcher)
    return internals.only_overload(dispatcher)


_dispatchers: list[object] = []
"""Objects that keep the code of functions that were compiled in this process alive."""


@contextmanager
def _compiler() -> Iterator[None]:
    """Set up Numba's compiler. A message is logged once all compilation so far has taken
    ``PATIENCE``.

    Garbage collection is off meanwhile: a compilation creates many objects, most of which live
    until its end.
    """
    global _compiling
    if reason := internals.why_no_function_can_wait():
        _log(logging.WARNING, f"compiling takes longer with Numba {numba.__version__} ({reason}).")
    begin = time.perf_counter()
    collected = gc.isenabled()
    gc.disable()
    try:
        with nullcontext() if reason else internals.functions_wait():
            yield
    finally:
        if collected:
            gc.enable()
        _compiling += time.perf_counter() - begin
        if _compiling > PATIENCE:
            _log(
                logging.INFO,
                "compiling for this machine, which it does once for each kind of work; a "
                "few seconds.",
            )


def _loaded_or_compiled(
    name: str, load: Callable[[bytes], Entry | None], compiled: Callable[[], Entry]
) -> Entry:
    """Return a function from the cache or, if it is not there, from the compiler.

    The main thread has another thread load and compile: a KeyboardInterrupt inside the compiler
    could be lost in LLVM's calls back into Python, or leave half of a function. Ctrl-C takes effect
    at once. The other thread goes on, and the next call finds its result in the cache.
    """

    @global_compiler_lock
    def work() -> Entry:
        """Load the function, or compile it, while no other thread is in Numba's compiler."""
        return _from_cache(name, load) or compiled()

    if threading.current_thread() is not threading.main_thread():
        return work()
    before = threading.stack_size(STACK)
    try:
        result = ThreadPoolExecutor(1, "xpnet-compiling").submit(work)
    except RuntimeError:  # no thread can be started
        return work()
    finally:
        threading.stack_size(before)
    while not result.done():
        wait((result,), 0.1)  # Windows handles Ctrl-C between waits, other systems at once
    return result.result()


if hasattr(os, "register_at_fork"):
    # A child process lacks the thread that holds the compiler's lock. So no thread compiles while a
    # process forks.
    lock = global_compiler_lock
    os.register_at_fork(
        before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release
    )


_named: dict[str, Callable[..., object]] = {}


def name_of(function: Callable[..., object], signature: Signature) -> str:
    """Return the name of an entry of the cache: module, function and types. The folder's name
    identifies the sources.

    Raises RuntimeError if another function has that name, since one would get the code of the
    other.
    """
    types = sha256(str(signature).encode()).hexdigest()[:16]
    name = f"{function.__module__}.{function.__qualname__}.{types}"
    if not _is_same(_named.setdefault(name, function), function):
        raise RuntimeError(
            f"Functions in the cache must differ in module, name or types; two are called {name}."
        )
    return name


def _is_same(a: Callable[..., object], b: Callable[..., object]) -> bool:
    """Return whether two functions have the same code, and their global names the same values."""
    values = (tuple(f.__globals__.get(name) for name in f.__code__.co_names) for f in (a, b))
    return a is b or (
        a.__code__ == b.__code__ and all(x is y for x, y in zip(*values, strict=True))
    )


def _from_cache(name: str, load: Callable[[bytes], Entry | None]) -> Entry | None:
    """Load an entry of the cache; return None if there is no usable one.

    Functions of other packages are not cached.
    """
    if not name.startswith("xpnet_numba.") or (entry := code_cache().load(name)) is None:
        return None
    try:
        return load(entry)
    except Exception as error:  # after any error the function is compiled again
        reason = f"{type(error).__name__}: {error}"
        _log(
            logging.WARNING,
            f"compiled code that was kept cannot be loaded and is compiled again ({reason}).",
        )
        return None


def _keep(name: str, code: Callable[[], bytes | None]) -> None:
    """Write an entry; log a message if that fails.

    Nothing is written if the package was upgraded while this program runs: the name would not
    identify the compiled sources.
    """
    if not name.startswith("xpnet_numba.") or not sources_are_as_imported():
        return
    try:
        if content := code():
            code_cache().store(name, content)
    except Exception as error:  # the disk is full, say, or Numba has changed
        folder = code_cache().folder
        reason = getattr(error, "strerror", None) or error
        _log(
            logging.WARNING,
            f"compiled code cannot be kept{f' in {folder}' if folder else ''} ({reason}), so each "
            "run compiles again; let NUMBA_CACHE_DIR name a folder that can be written.",
        )


@cache
def _log(level: int, message: str) -> None:
    """Log a message, once in a process."""
    LOGGER.log(level, message)
