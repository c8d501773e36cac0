"""A second process that compiles beside this one, on a core of its own: Numba compiles one function at a time.

What it compiles comes back by way of the cache. Wherever there is no second core, no cache or no second Python, this
process compiles all by itself.
"""

import atexit
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from xpnet.backend.threads import allowed_threads
from xpnet_numba.runtime.codecache import code_cache

PATIENCE = 0.1
"""Seconds of one wait: Windows hears Ctrl-C between waits, others at once."""

LONGEST = 60.0
"""Seconds after which nobody waits any more for a process that may hang."""

_working: dict[str, "subprocess.Popen[bytes]"] = {}
"""The processes, by the name under which what they compile is kept."""


def begin(name: str, module: str, *arguments: str) -> None:
    """Have a second Python run a module that compiles what is kept under this name, unless it is kept."""
    if name in _working or not _possible() or code_cache().load(name) is not None:
        return
    folders = [folder for folder in sys.path if folder and isinstance(folder, str)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(folders)}
    with suppress(OSError, MemoryError):  # no more processes are allowed
        _working[name] = subprocess.Popen(
            [sys.executable, "-P", "-m", module, *arguments],  # -P: nothing is imported from the current folder
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )


def end(name: str) -> None:
    """Wait for what was begun under this name; Ctrl-C ends the wait, and the work goes on."""
    last = time.monotonic() + LONGEST
    while name in _working and _working[name].poll() is None and time.monotonic() < last:
        with suppress(subprocess.TimeoutExpired):
            _working[name].wait(PATIENCE)


@atexit.register
def _end_all() -> None:
    """Nobody needs it any more."""
    for process in _working.values():
        process.kill()
        process.wait()


def _possible() -> bool:
    """Whether it would help, and the interpreter is Python: a program that embeds or packs it would start itself."""
    python = Path(sys.executable or "").name.lower().startswith("python") and not hasattr(sys, "frozen")
    finds_all = not sys.flags.ignore_environment  # which names the folders of packages
    return python and finds_all and allowed_threads() > 1 and code_cache().folder is not None
