"""Compilation on first need: cached on disk where a folder can be written, and announced where it takes long.

The cache lies beside this package, or in the user's cache folder where the package cannot be written, or where
``NUMBA_CACHE_DIR`` says. Numba renews an entry when the file changes in which the compiled function stands; after a
change in a file it calls into, remove ``__pycache__``.
"""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numba

from xpnet_numba.scalars import FAST

PATIENCE = 1.0
"""Seconds of compilation, in all, after which a person is told what they are waiting for."""

_compiling = 0.0


def c_function(function: Callable[..., Any], signature: Any) -> Any:
    """Compile to a C function (its ``address`` can be called from compiled code) under the flags in ``FAST``.

    Raises what Numba raises for code it cannot compile.
    """
    return _compile(lambda **options: numba.cfunc(signature, **FAST, **options)(function))


def python_function(function: Callable[..., Any], signature: Any) -> Any:
    """Compile to a function that Python calls, and that runs without the interpreter's lock.

    Raises what Numba raises for code it cannot compile.
    """
    return _compile(lambda **options: numba.njit([signature], nogil=True, **FAST, **options)(function))


def _compile(make: Callable[..., Any]) -> Any:
    with _announced():
        try:
            return make(cache=True)
        except RuntimeError as error:
            if "cannot cache" not in str(error):
                raise
            _say(
                "xpnet: found no folder to keep compiled code in, so each run compiles again; "
                "let NUMBA_CACHE_DIR name a folder that can be written."
            )
            return make(cache=False)


@contextmanager
def _announced() -> Iterator[None]:
    """Say what is going on when all compilation so far, with what runs in this block, exceeds ``PATIENCE``."""
    global _compiling
    message = "xpnet: compiling for this machine, which it does once for each kind of work; a few seconds."
    alarm = threading.Timer(max(0.0, PATIENCE - _compiling), _say, [message])
    alarm.daemon = True
    begin = time.perf_counter()
    alarm.start()
    try:
        yield
    finally:
        alarm.cancel()
        _compiling += time.perf_counter() - begin


@cache
def _say(message: str) -> None:
    """One line on stderr, once in a process."""
    print(message, file=sys.stderr, flush=True)
