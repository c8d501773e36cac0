"""This module finds NVIDIA's shared libraries: those of CuPy's own major version of CUDA."""

import ctypes
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any


@cache
def find_cublaslt(major: int) -> Any:
    """cuBLASLt of this major version, loaded, or None where there is none.

    What the process has loaded already comes first, then what cuda-pathfinder finds, which prefers the newest whatever
    CuPy was built for, then the wheels on Python's path.
    """
    for path in _candidates(major):
        try:
            library = ctypes.CDLL(path)
            library.cublasLtGetVersion.restype = ctypes.c_size_t
            if library.cublasLtGetVersion() // 10000 == major:
                return library
        except (OSError, AttributeError):  # not there, or lacking what it depends on
            continue
    return None


def _candidates(major: int) -> Iterator[str]:
    name = f"libcublasLt.so.{major}"
    yield name
    try:
        from cuda.pathfinder import load_nvidia_dynamic_lib

        found = Path(load_nvidia_dynamic_lib("cublasLt").abs_path)
        yield str(found)
        yield str(found.with_name(name))
    except (ImportError, RuntimeError, OSError):  # pathfinder, the library, and its own dependencies may be missing
        pass
    for folder in sys.path:
        yield from map(str, sorted(Path(folder or ".").glob(f"nvidia/*/lib/{name}")))
