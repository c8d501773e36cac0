"""The rig: all code for the card, compiled for the host once in a clone, and the one way to run a
kernel there.

The kernels are the same source, compiled by g++ behind ``cuda_on_host.h``; cuBLASLt is
``fake_cublaslt.cpp``. `HostLauncher` runs them on NumPy's arrays and at once, the stand-in for CuPy
in queues and in memory of its own.
"""

import atexit
import ctypes
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from xpnet_cupy.cuda import SOURCE, made_once
from xpnet_cupy.kernel_table import Parameter
from xpnet_cupy.launcher import KERNELS

HERE = Path(__file__).parent
HEADER = HERE / "cuda_on_host.h"
KEPT = HERE.parents[2] / "build" / "host_libraries"
"""Folder of libraries that later processes load: rehearsals of a card start dozens of them."""
FIBERS = threading.Lock()
"""Held while a kernel runs: fibers belong to one thread."""

needs_compiler = pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("g++") is None,
    reason="kernels run on a Linux host through g++",
)


class HostKernels:
    """The kernels of a source text for one floating-point type.

    path : of the shared library
    """

    def __init__(self, path: Path | str) -> None:
        self._library = ctypes.CDLL(str(path))

    def run(
        self,
        name: str,
        grid: tuple[int, ...],
        block: tuple[int, ...],
        arguments: tuple[Any, ...],
        *,
        reversed: bool = False,
        only: int = -1,
    ) -> None:
        """Run a kernel as CuPy's launches do: arrays by address, NumPy scalars by value, both
        through a pointer.

        reversed : whether fibers run last to first
        only : the number of the one block that runs, or -1 for all blocks
        """
        run = getattr(self._library, f"run_{name}")
        run.restype = ctypes.c_char_p
        kept = [
            np.array(np.uintp(a.ctypes.data) if isinstance(a, np.ndarray) else a) for a in arguments
        ]
        pointers = (ctypes.c_void_p * len(kept))(*(value.ctypes.data for value in kept))
        sizes, one = (_three(grid), _three(block)), ctypes.c_longlong(only)
        with FIBERS:
            error = run(pointers, *sizes, int(reversed), one)
        if error:
            raise RuntimeError(f"{name}: {error.decode()}")

    def take_counts(self) -> tuple[int, int]:
        """Bytes moved by counted loads and stores since this was last asked, and the number of
        accesses.
        """
        counts = (ctypes.c_ulonglong * 2)()
        self._library.take_counts(counts)
        return counts[0], counts[1]

    def remove_barrier(self, number: int) -> None:
        """Let threads pass the barrier of a number in the source from now on."""
        self._library.remove_barrier(number)


@made_once
def host_kernels(dtype: str, text: str = SOURCE, quickly: bool = False) -> HostKernels:
    """The kernels of a source text, loaded; the table's types are checked by the compiler on the
    way. A read or a write at an address that its type does not divide, or beyond a variable of a
    thread, is an error.

    quickly : compile in a third of the time: not optimised, and without the errors
    """
    options = ["-O0"] if quickly else ["-O1", "-fsanitize=alignment,object-size"]
    if text == SOURCE:
        made_of = (HEADER.read_text(), text, repr(KERNELS), dtype, *options)
        return HostKernels(kept(made_of, lambda place: compiled(text, dtype, place, *options)))
    # A library of the same name would not be loaded anew.
    place = Path(tempfile.mkdtemp(dir=folder()))
    return HostKernels(compiled(text, dtype, place, *options))


@made_once
def host_cublaslt() -> ctypes.CDLL:
    """``fake_cublaslt.cpp``, which computes on host memory what cuBLASLt is documented to
    compute.
    """
    source, options = HERE / "fake_cublaslt.cpp", ["-std=c++17", "-O1", "-shared", "-fPIC"]

    def build(place: Path) -> Path:
        library = place / "fake_cublaslt.so"
        command = ["g++", *options, str(source), "-o", str(library)]
        subprocess.run(command, check=True, timeout=120)
        return library

    return ctypes.CDLL(str(kept((source.read_text(), *options), build)))


def kept(made_of: tuple[str, ...], build: Callable[[Path], Path]) -> Path:
    """A library that a process of this clone has built, or that is built now.

    made_of : all that it is built from, besides this file and the compiler
    build : builds the library in a folder
    """
    version = subprocess.run(["g++", "--version"], check=True, capture_output=True, text=True)
    texts = (version.stdout, Path(__file__).read_text(), *made_of)
    library = KEPT / f"{sha256(repr(texts).encode()).hexdigest()}.so"
    if not library.exists():
        KEPT.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=KEPT) as place:
            os.replace(build(Path(place)), library)  # whole, also for a process that looks now
    return library


@cache
def folder() -> Path:
    """A folder of this process, which ends with it."""
    path = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return Path(path)


def compiled(text: str, dtype: str, place: Path, *options: str) -> Path:
    """The kernels of a source text as a shared library in a folder."""
    here = {
        name: parameters for name, parameters in KERNELS.items() if re.search(rf"\b{name}\b", text)
    }
    glue = "".join(_entry(name, parameters) for name, parameters in here.items())
    source, library = place / "kernels.cpp", place / "kernels.so"
    source.write_text(f'#include "{HEADER}"\n{text}\n{glue}')
    real = "double" if dtype == "float64" else "float"
    # Contraction into fused multiply-adds is allowed on a GPU and off here, so that a host has one
    # answer.
    every = ["-std=c++17", *options, "-ffp-contract=off", f"-DREAL={real}", "-fPIC", "-w"]
    compiled_file = source.with_suffix(".o")
    # The header answers for misaligned addresses itself: no library of a sanitizer is linked.
    linked = [option for option in options if option == "-fsanitize=thread"]
    for command in (
        ["g++", *every, "-c", str(source), "-o", str(compiled_file)],
        ["g++", "-shared", *linked, str(compiled_file), "-o", str(library)],
    ):
        subprocess.run(command, check=True, timeout=120)
    return library


def _entry(name: str, parameters: tuple[Parameter, ...]) -> str:
    """A C function that runs a kernel."""
    values = ", ".join(
        f"*({one.kind} *{'*' if one.is_array else ''})a[{i}]" for i, one in enumerate(parameters)
    )
    return (
        f'extern "C" const char *run_{name}'
        "(void **a, unsigned *grid, unsigned *block, int reversed, long long only) {\n"
        f"  return host::launch([](void **a) {{ {name}({values}); }}, a, grid, block, "
        "reversed, only);\n}\n"
    )


def _three(sizes: tuple[int, ...]) -> Any:
    """Sizes along x, y and z as C passes them."""
    return (ctypes.c_uint * 3)(*(*sizes, 1, 1)[:3])
