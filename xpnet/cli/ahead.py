"""What takes a second to import, imported while a file is read, which leaves Python idle."""

import ctypes
import gc
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from threading import Thread

from xpnet.dispatch import choose


@contextmanager
def imported(module: str, backend: str | None) -> Iterator[None]:
    """Import a module, and load the backend that host data call for, beside the body, and before it is left.

    What goes wrong there is not told: it comes again where the module or the backend is used. Ctrl-C ends the import, too.
    """
    thread = Thread(target=_load, args=(module, backend))
    thread.start()
    try:
        yield
    except KeyboardInterrupt:
        _end(thread)
        raise
    finally:
        thread.join()


def _load(module: str, backend: str | None) -> None:
    gc.disable()  # modules stay: to look for garbage among them is in vain
    try:
        with suppress(Exception, SystemExit):
            import_module(module)
            choose(backend=backend)
    finally:
        gc.freeze()
        gc.enable()


def _end(thread: Thread) -> None:
    """Have the thread end at its next step: the process waits for it, and an import may take seconds."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident or 0), ctypes.py_object(SystemExit))
