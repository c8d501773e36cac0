"""What takes a second to import, imported while a file is read, which leaves Python idle."""

import gc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib import import_module

from xpnet.dispatch import choose


@contextmanager
def imported(module: str, backend: str | None) -> Iterator[None]:
    """Import a module, and load the backend that host data call for, beside the body, and before it is left.

    What goes wrong there is not told: it comes again where the module or the backend is used.
    """
    with ThreadPoolExecutor(1) as thread:
        thread.submit(_load, module, backend)
        yield


def _load(module: str, backend: str | None) -> None:
    gc.disable()  # modules stay, and to look for garbage among them takes a tenth of the time
    try:
        import_module(module)
        choose(backend=backend)
    finally:
        gc.freeze()
        gc.enable()
