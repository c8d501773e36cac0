"""Compiled code is kept on disk where that is possible, and only in memory where it is not."""

import warnings
from collections.abc import Callable
from typing import Any


def cached(compile: Callable[[bool], Any]) -> Any:
    """``compile(True)``, which keeps its result on disk; ``compile(False)`` where no folder can be written.

    Numba looks beside the source, then in the user's cache folder (``NUMBA_CACHE_DIR`` names another).
    """
    try:
        return compile(True)
    except RuntimeError as error:
        if "cannot cache" not in str(error):
            raise
        _warn_once()
        return compile(False)


def _warn_once() -> None:
    warnings.warn(
        "Compiled code is not kept: neither the installation nor the user's cache folder can be written. "
        "Every process compiles again; set NUMBA_CACHE_DIR to a folder that can be written.",
        RuntimeWarning,
        stacklevel=2,
    )
