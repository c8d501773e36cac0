"""As much of CuPy as the backend uses, on the host: arrays that are NumPy's, kernels as fibers, graphs as lists of calls.

It lets what is written for a GPU run where there is none: ``xpnet_cupy.cuda`` in the tests, and with
``pytest -p cupy_on_host`` most of ``tests/gpu``. It shows that names, arguments and the order of calls are right; what a
GPU does with them it cannot show.
"""

import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar, Self

import numpy as np
from cuda_host import build, build_cublaslt, run_kernel

FOLDER, SESSION = Path(tempfile.mkdtemp()), ExitStack()


class Array(np.ndarray):
    """cupy.ndarray."""

    @property
    def data(self) -> Any:
        return SimpleNamespace(ptr=self.ctypes.data)

    @property
    def device(self) -> "Device":
        return Device(0)

    def get(self) -> Any:
        return np.array(self)


Array.__module__ = "cupy"


class Device:
    """cupy.cuda.Device."""

    def __init__(self, number: int | None = None) -> None:
        self.id = number or 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def __repr__(self) -> str:
        return f"<CUDA Device {self.id}>"

    def synchronize(self) -> None:
        pass


class Graph:
    """cupy.cuda.Graph: the calls that were captured."""

    def __init__(self, calls: list[Callable[[], None]]) -> None:
        self.calls = calls

    def launch(self, stream: Any = None) -> None:
        for call in self.calls:
            call()


class Stream:
    """cupy.cuda.Stream: what is asked of it is done at once, or kept while it captures."""

    entered: ClassVar[list[Any]] = []
    done = True

    def __init__(self, non_blocking: bool = False) -> None:
        self.non_blocking, self.ptr = non_blocking, id(self)
        self.captured: list[Callable[[], None]] | None = None

    def __enter__(self) -> Self:
        self.entered.append(self)
        return self

    def __exit__(self, *exception: object) -> None:
        self.entered.pop()

    def record(self) -> Any:
        return object()

    def wait_event(self, event: Any) -> None:
        assert self.captured is None, "an event outside of the capture"

    def synchronize(self) -> None:
        assert self.captured is None, "synchronised while capturing"

    def begin_capture(self) -> None:
        assert self.non_blocking, "the default stream cannot be captured"
        self.captured = []

    def end_capture(self) -> Graph:
        calls, self.captured = self.captured, None
        assert calls is not None
        return Graph(calls)

    def ask(self, call: Callable[[], None]) -> None:
        """Does it, or keeps it for the graph."""
        call() if self.captured is None else self.captured.append(call)


Stream.entered.append(Stream())


def current() -> Stream:
    """cupy.cuda.get_current_stream."""
    return Stream.entered[-1]


class RawModule:
    """cupy.RawModule: compiled for the host."""

    def __init__(self, *, code: str, options: tuple[str, ...]) -> None:
        dtype = "float64" if "-DREAL=double" in options else "float32"
        self.library = build(code, dtype, FOLDER)

    def get_function(self, name: str) -> Callable[..., None]:
        def kernel(grid: Any, block: Any, arguments: tuple[Any, ...]) -> None:
            current().ask(lambda: run_kernel(self.library, name, grid, block, arguments))

        return kernel


class CublasLtLibrary:
    """The stand-in for cuBLASLt, whose products are captured like kernels."""

    def __init__(self) -> None:
        self._library = build_cublaslt(FOLDER)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._library, name)

    def cublasLtMatmul(self, *arguments: Any) -> int:
        assert arguments[-1].value == current().ptr, "a product on another stream"
        current().ask(lambda: self._library.cublasLtMatmul(*arguments))
        return 0


class Pool:
    """The memory pool: counts nothing, but keeps its limit."""

    limit = 0

    def get_limit(self) -> int:
        return self.limit

    def set_limit(self, size: int = 0) -> None:
        self.limit = size

    def free_bytes(self) -> int:
        return 0

    used_bytes = total_bytes = free_bytes

    def free_all_blocks(self) -> None:
        pass


class OutOfMemoryError(MemoryError):
    """cupy.cuda.memory.OutOfMemoryError."""


def _on_device(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arguments: Any, **options: Any) -> Any:
        result = function(*arguments, **options)
        limit = cupy.pool.limit
        if limit and isinstance(result, np.ndarray) and result.nbytes > limit:
            raise OutOfMemoryError(f"Out of memory allocating {result.nbytes:,} bytes (limit set to: {limit:,} bytes)")
        return result.view(Array) if isinstance(result, np.ndarray | np.number) else result

    return call


class Cupy(ModuleType):
    """The module ``cupy``: NumPy's functions, their results on the 'device'."""

    ndarray, RawModule = Array, RawModule
    __version__, pool = "14.2.0", Pool()

    def __getattr__(self, name: str) -> Any:
        found = getattr(np, name)
        return _on_device(found) if callable(found) and not isinstance(found, type) else found

    def asnumpy(self, array: Any) -> Any:
        return np.array(array).view(np.ndarray)

    def asarray(self, data: Any, dtype: Any = None) -> Any:
        own = isinstance(data, Array)
        return np.asarray(data, dtype).view(Array) if own else np.array(data, dtype, order="C").view(Array)

    def get_default_memory_pool(self) -> Pool:
        return self.pool


cupy = Cupy("cupy")
cupy.cuda = SimpleNamespace(
    is_available=lambda: True,
    Device=Device,
    Stream=Stream,
    get_current_stream=current,
    memory=SimpleNamespace(OutOfMemoryError=OutOfMemoryError),
    runtime=SimpleNamespace(
        CUDARuntimeError=RuntimeError,
        getDeviceCount=lambda: 1,
        getDeviceProperties=lambda device: {"name": b"a host", "major": 0, "minor": 0},
        memGetInfo=lambda: (1 << 30, 2 << 30),
        driverGetVersion=lambda: 13000,
        runtimeGetVersion=lambda: 13000,
    ),
)
cupy.array_api = np


def pytest_configure() -> None:
    """As a pytest plugin: for the whole session."""
    SESSION.enter_context(installed())


def pytest_unconfigure() -> None:
    """Takes it away again."""
    SESSION.close()


@contextmanager
def installed() -> Iterator[Any]:
    """``import cupy`` finds this module, and cuBLASLt is found where it is; gives ``xpnet_cupy.cuda`` over both."""
    import array_api_compat
    import xpnet_cupy

    names = ("cupy", "array_api_compat.cupy", "xpnet_cupy.cuda")
    before = {name: sys.modules.pop(name, None) for name in names}
    sys.modules["cupy"] = sys.modules["array_api_compat.cupy"] = array_api_compat.cupy = cupy
    try:
        cuda: Any = import_module("xpnet_cupy.cuda")
        library = CublasLtLibrary()
        cuda.find_cublaslt = lambda: library
        yield cuda
    finally:
        for name in names:
            sys.modules.pop(name, None)
        sys.modules.update({name: module for name, module in before.items() if module is not None})
        array_api_compat.cupy, xpnet_cupy.cuda = before["array_api_compat.cupy"], before["xpnet_cupy.cuda"]
