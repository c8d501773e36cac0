"""The CUDA kernels on the host: the same source, compiled by g++ behind ``cuda_on_host.h``, called
like CuPy's.
"""

import ctypes
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import array_api_compat.numpy
import numpy as np
import pytest
from xpnet_cupy.cublaslt import WORKSPACE_BYTES, CublasLt
from xpnet_cupy.kernel_table import Parameter
from xpnet_cupy.launcher import KERNELS, Launcher

HERE = Path(__file__).parent
needs_compiler = pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("g++") is None,
    reason="kernels run on a Linux host through g++",
)


def build(text: str, dtype: str, folder: Path, *, optimise: bool = True) -> ctypes.CDLL:
    """The kernels of a source text, loaded; the table's types are checked by the compiler on the
    way. A read or a write at an address that its type does not divide is an error.
    """
    level = "-O1" if optimise else "-O0"
    return ctypes.CDLL(str(compiled(text, dtype, folder, level, "-fsanitize=alignment")))


def compiled(text: str, dtype: str, folder: Path, *options: str) -> Path:
    """The kernels of a source text as a shared library."""
    here = {
        name: parameters for name, parameters in KERNELS.items() if re.search(rf"\b{name}\b", text)
    }
    glue = "".join(_entry(name, parameters) for name, parameters in here.items())
    stem = re.sub(r"[-=]", "", f"{dtype}_{'_'.join(options)}")
    # A library of the same name would not be loaded anew.
    source, library = folder / f"{stem}.cpp", folder / f"{stem}.so"
    source.write_text(f'#include "{HERE}/cuda_on_host.h"\n{text}\n{glue}')
    real = "double" if dtype == "float64" else "float"
    # Contraction into fused multiply-adds is allowed on a GPU and off here, so that a host has one
    # answer.
    every = [
        "-std=c++17",
        *options,
        "-ffp-contract=off",
        f"-DREAL={real}",
        "-fPIC",
        "-w",
    ]
    compiled_file = source.with_suffix(".o")
    # The header answers for misaligned addresses itself: no library of a sanitizer is linked.
    linked = [option for option in options if option == "-fsanitize=thread"]
    for command in (
        ["g++", *every, "-c", str(source), "-o", str(compiled_file)],
        ["g++", "-shared", *linked, str(compiled_file), "-o", str(library)],
    ):
        subprocess.run(command, check=True, timeout=120)
    return library


def run_kernel(
    library: ctypes.CDLL,
    name: str,
    grid: Any,
    block: Any,
    arguments: tuple[Any, ...],
    *,
    reversed: bool = False,
    only: int = -1,
) -> None:
    """Run a kernel as CuPy's launches do: arrays by address, NumPy scalars by value, both through
    a pointer. only : the number of the one block that runs, or -1 for all blocks
    """
    run = getattr(library, f"run_{name}")
    run.restype = ctypes.c_char_p
    kept = [
        np.array(np.uintp(a.ctypes.data) if isinstance(a, np.ndarray) else a) for a in arguments
    ]
    pointers = (ctypes.c_void_p * len(kept))(*(value.ctypes.data for value in kept))
    if error := run(pointers, _three(grid), _three(block), int(reversed), ctypes.c_longlong(only)):
        raise RuntimeError(f"{name}: {error.decode()}")


def _entry(name: str, parameters: tuple[Parameter, ...]) -> str:
    values = ", ".join(
        f"*({one.kind} *{'*' if one.is_array else ''})a[{i}]" for i, one in enumerate(parameters)
    )
    return (
        f'extern "C" const char *run_{name}'
        "(void **a, unsigned *grid, unsigned *block, int reversed, long long only) {\n"
        f"  return host::launch([](void **a) {{ {name}({values}); }}, a, grid, block, "
        "reversed, only);\n}\n"
    )


class GuardedNumpy:
    """NumPy, but what it leaves empty is full of NaN (bytes of ones), and lies between guards of
    the same.
    """

    GUARD = 256

    def __init__(self) -> None:
        self._buffers: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(array_api_compat.numpy, name)

    def empty(self, shape: Any, dtype: Any) -> Any:
        like = np.empty(shape, dtype)
        buffer = np.full(like.nbytes + 2 * self.GUARD, 255, np.uint8)
        self._buffers.append(buffer)
        return buffer[self.GUARD : buffer.size - self.GUARD].view(like.dtype).reshape(like.shape)

    def guarded(self, array: Any) -> Any:
        """A C-contiguous copy between guards: what is read beyond it is NaN."""
        copy = self.empty(array.shape, array.dtype)
        copy[...] = array
        return copy

    def check(self) -> None:
        """Nobody has written beyond an array."""
        for buffer in self._buffers:
            assert (buffer[: self.GUARD] == 255).all() and (buffer[-self.GUARD :] == 255).all(), (
                "written out of bounds"
            )


class HostLane:
    """A lane without a stream."""

    def __init__(self, lt: CublasLt | None) -> None:
        self.lt = lt


class HostLauncher(Launcher):
    """Kernels as fibers, products through NumPy or, with ``lt``, through a cuBLASLt that works on
    host memory.

    It looks at what a kernel and a plan compute, on NumPy's arrays and at once; the stand-in for
    CuPy looks at when, and in whose memory. Both run a kernel by `run_kernel`. What only this one
    has: fibers in both orders, guards around each array, products that share no code with
    cuBLASLt's, and counts of the bytes that kernels move.

    reversed : whether fibers run last to first
    graphs : number of captured graphs; replays : number of their launches
    launched, products : names of the kernels that ran, and the products
    """

    def __init__(
        self,
        library: ctypes.CDLL,
        dtype: str,
        lt: CublasLt | None = None,
        *,
        reversed: bool = False,
    ) -> None:
        self.precision = "fp64" if dtype == "float64" else "fp32"
        self.library, self.lt, self.reversed = library, lt, reversed
        self.dtype, self.xp, self.cupy = dtype, GuardedNumpy(), np
        self.graphs = self.replays = 0
        self.launched: list[str] = []
        self.products: list[Any] = []

    def kernel(self, name: str) -> Callable[..., None]:
        def launch(
            grid: tuple[int, ...], block: tuple[int, ...], arguments: tuple[Any, ...]
        ) -> None:
            self.launched.append(name)
            run_kernel(self.library, name, grid, block, arguments, reversed=self.reversed)

        return launch

    def prepare(self, name: str, grid: Any, block: Any, *arguments: Any) -> Any:
        launch = super().prepare(name, grid, block, *arguments)
        arrays = [
            (kind, a)
            for kind, a in zip(KERNELS[name], arguments, strict=True)
            if kind.is_array and a is not None
        ]
        for k, (kind, array) in enumerate(arrays):
            others = [other for i, (_, other) in enumerate(arrays) if i != k]
            overlaps = kind.overlaps_none and any(
                np.may_share_memory(array, other) for other in others
            )
            assert not overlaps, f"kernel {name} writes to memory where another of its arrays lies"
        return launch

    def product(self, product: Any, a: Any, b: Any, out: Any) -> Any:
        if self.lt is None:
            return self._counted(product, by_matmul(product, a, b, out))
        return super().product(product, a, b, out)

    def fused_product(
        self, product: Any, a: Any, b: Any, out: Any, *, vector: Any, mask: Any = None
    ) -> Any:
        if self.lt is None:
            return None
        launch = super().fused_product(product, a, b, out, vector=vector, mask=mask)
        return None if launch is None else self._counted(product, launch)

    def take_counts(self) -> tuple[int, int]:
        """Bytes moved by counted loads and stores since this was last asked, and the number of
        accesses.
        """
        counts = (ctypes.c_ulonglong * 2)()
        self.library.take_counts(counts)
        return counts[0], counts[1]

    def _counted(self, product: Any, launch: Callable[[], None]) -> Callable[[], None]:
        def run() -> None:
            self.products.append(product)
            launch()

        return run

    def capture(self, run: Callable[[], None]) -> Callable[[], None]:
        self.graphs += 1

        def replay() -> None:
            self.replays += 1
            run()

        return replay

    def mark(self) -> Any:
        return SimpleNamespace(synchronize=lambda: None)

    @contextmanager
    def stream(self) -> Iterator[Any]:
        yield self.lane

    @cached_property
    def lane(self) -> Any:
        return HostLane(self.lt)

    def address(self, array: Any) -> int:
        return array.ctypes.data

    def upload(self, array: Any) -> tuple[Any, Any]:
        return array, self.mark()

    def pinned(self, size: int, dtype: str) -> Any:
        return np.zeros(size, dtype)


def by_matmul(product: Any, a: Any, b: Any, out: Any) -> Callable[[], None]:
    """The product of C-contiguous arrays through NumPy, prepared; the epilogue is not in it."""
    left = b.swapaxes(-1, -2) if product.transpose_b else b
    right = a.swapaxes(-1, -2) if product.transpose_a else a
    return lambda: np.matmul(left, right, out=out)


def _three(sizes: tuple[int, ...]) -> Any:
    return (ctypes.c_uint * 3)(*(*sizes, 1, 1)[:3])


def build_cublaslt(folder: Path) -> ctypes.CDLL:
    """``fake_cublaslt.cpp``, which computes on host memory what cuBLASLt is documented to
    compute.
    """
    library = folder / "fake_cublaslt.so"
    command = [
        "g++",
        "-std=c++17",
        "-O1",
        "-shared",
        "-fPIC",
        str(HERE / "fake_cublaslt.cpp"),
        "-o",
        str(library),
    ]
    subprocess.run(command, check=True, timeout=120)
    return ctypes.CDLL(str(library))


class HostCublasLt(CublasLt):
    """A handle of it, with a workspace of its own at a multiple of 256 bytes.

    library : of `build_cublaslt`
    """

    def __init__(self, library: ctypes.CDLL) -> None:
        self._memory = np.empty(WORKSPACE_BYTES + 256, np.uint8)
        super().__init__(library, lambda: 0, -(-self._memory.ctypes.data // 256) * 256)


def launching(launcher: HostLauncher) -> Callable[[Any], Any]:
    """What ``xpnet_cupy.operations.table`` wants: the launcher for any array."""
    return lambda array: nullcontext(launcher)
