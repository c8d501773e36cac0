"""Compilation on first need: kept on disk where a folder can be written, and announced where it takes long.

What is kept, and for how long, is in :mod:`~xpnet_numba.runtime.codecache`. Whatever goes wrong there costs a
compilation, never a result.
"""

import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from typing import Any, NamedTuple

import numba
from numba.core.caching import NullCache
from numba.core.compiler import CompileResult
from numba.core.serialize import dumps

from xpnet_numba.runtime.codecache import code_cache
from xpnet_numba.runtime.objects import MachineCode, load, machine_code
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
    name = _name(function, signature)
    if address := _from_cache(name, lambda entry: load(MachineCode.unpack(entry))):
        return CFunction(address)
    with _announced(), _interrupts_wait():
        compiled = numba.cfunc(signature, **FAST)(function)
    _keep(name, machine_code(compiled).pack())
    return CFunction(compiled.address)


def python_function(function: Callable[..., Any], signature: Any) -> Any:
    """Compile to a function that Python calls, and that runs without the interpreter's lock.

    Raises what Numba raises for code it cannot compile.
    """
    dispatcher = numba.njit(nogil=True, **FAST)(function)
    dispatcher._cache = _KeptDispatcher(_name(function, signature))
    with _announced(), _interrupts_wait():
        dispatcher.compile(signature)
    dispatcher.disable_compile()
    return dispatcher


def _name(function: Callable[..., Any], signature: Any) -> str:
    """What an entry of the cache is called. The folder stands for the sources, so the place in them is enough."""
    types = sha256(str(signature).encode()).hexdigest()[:16]
    return f"{function.__module__}.{function.__qualname__}.{types}"


def _from_cache(name: str, read: Callable[[bytes], Any]) -> Any:
    """What ``read`` makes of an entry of the cache; None where there is none, or none of any use.

    Nothing is kept of functions that are not this package's.
    """
    if not name.startswith("xpnet_numba.") or (entry := code_cache().load(name)) is None:
        return None
    try:
        return read(entry)
    except Exception:  # whatever it is, compiling again is right
        return None


def _keep(name: str, content: bytes) -> None:
    """Write an entry; where that fails, say so once, and keep nothing from then on."""
    if not name.startswith("xpnet_numba."):
        return
    try:
        code_cache().store(name, content)
    except OSError as error:
        folder = code_cache().folder
        code_cache().folder = None
        _say_once(
            "no cache",
            f"xpnet: compiled code cannot be kept{f' in {folder}' if folder else ''} ({error.strerror or error}), so "
            "each run compiles again; let NUMBA_CACHE_DIR name a folder that can be written.",
        )


class _KeptDispatcher(NullCache):
    """What Numba asks for a function's compiled form, by the one signature that it has."""

    def __init__(self, name: str) -> None:
        self.name = name

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """From the cache, or None."""

        def read(entry: bytes) -> Any:
            target_context.refresh()
            return CompileResult._rebuild(target_context, *pickle.loads(entry))

        return _from_cache(self.name, read)

    def save_overload(self, sig: Any, cres: Any) -> None:
        """To the cache."""
        _keep(self.name, dumps(cres._reduce()))


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


@contextmanager
def _interrupts_wait() -> Iterator[None]:
    """Hold Ctrl-C back until the block ends: inside, LLVM's calls back into Python would swallow it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    caught: list[Any] = []
    before = signal.signal(signal.SIGINT, lambda *signal_and_frame: caught.append(signal_and_frame))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if caught and callable(before):
            before(*caught[0])
