"""As much of CuPy as the backend uses, on the host: kernels are fibers, graphs calls in order.

It lets what is written for a GPU run where there is none: ``xpnet_cupy.cuda`` in the tests, and
with ``pytest -p helpers.cuda.cupy_on_host`` or ``python -m helpers.cuda.cupy_on_host [-c CODE |
SCRIPT] [ARG ...]`` most of ``tests/gpu``. It shows that names, arguments
and the order of calls are right; what a GPU does with them it cannot show.
"""

import runpy
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib import import_module
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from helpers.cuda.device_arrays import (
    MISSING,
    PINNED,
    POOL,
    Array,
    OutOfMemoryError,
    asarray,
    compute,
    empty,
)
from helpers.cuda.rig import HostKernels, folder, host_cublaslt, host_kernels
from helpers.cuda.streams import (
    CudaError,
    Device,
    Event,
    Failing,
    Stream,
    answer,
    count_devices,
    current,
)

SESSION = ExitStack()

launched: list[str] = []  # kernels, as they were asked for


class RawModule:
    """cupy.RawModule: compiled for the host."""

    def __init__(self, *, code: str, options: tuple[str, ...]) -> None:
        dtype = "float64" if "-DREAL=double" in options else "float32"
        self.kernels = host_kernels(dtype, code)

    def get_function(self, name: str) -> Callable[..., None]:
        assert current().capture is None, "a kernel was loaded in a capture"
        if Failing.load:
            raise CudaError(Failing.load)

        return Kernel(self.kernels, name)


class Kernel:
    """cupy.RawKernel."""

    def __init__(self, kernels: HostKernels, name: str) -> None:
        self.kernels, self.name = kernels, name

    def __call__(self, grid: Any, block: Any, arguments: tuple[Any, ...]) -> None:
        values = tuple(map(_by_value, arguments))
        launched.append(self.name)
        current().ask(lambda: self.kernels.run(self.name, grid, block, values))


def _by_value(argument: Any) -> Any:
    """What a launch keeps of an argument: the address of an array, which it does not keep alive."""
    assert not isinstance(argument, np.ndarray), "RawKernel takes CuPy's arrays"
    if isinstance(argument, Array):
        assert argument.number == Device().id, "an array of another device"
        return np.uintp(argument.data.ptr)
    is_address = isinstance(argument, np.uintp) and argument
    assert not is_address or PINNED.contains(int(argument)), "a host pointer"
    return argument


EXECUTION_FAILED = 13  # cublasStatus_t


class CublasLtLibrary:
    """The stand-in for cuBLASLt, whose products are captured like kernels."""

    def __init__(self) -> None:
        self._library = host_cublaslt()
        self.workspaces: dict[int, set[int]] = {}  # the streams that have written to each

    def __getattr__(self, name: str) -> Any:
        return getattr(self._library, name)

    def cublasLtMatmul(self, *arguments: Any) -> int:
        stream, workspace = arguments[-1].value, arguments[-3].value
        assert stream == current().ptr, "a product on another stream"
        if current().is_invalid:
            return EXECUTION_FAILED
        if current().capture is None:  # a captured product writes when its graph is launched
            self.workspaces.setdefault(workspace, set()).add(stream)
        status = self._library.fake_status(*arguments)
        if status == 0:
            current().ask(lambda: self._library.cublasLtMatmul(*arguments))
        return status


class Functions(ModuleType):
    """A module of CuPy: the functions of NumPy's that CuPy has, over arrays of the device."""

    def __init__(self, name: str, of_numpy: Any) -> None:
        super().__init__(name)
        self._of_numpy = of_numpy
        names = {*of_numpy.__all__} - MISSING
        modules = {name for name in names if isinstance(getattr(of_numpy, name), ModuleType)}
        self.__all__ = sorted(names - modules)

    def __getattr__(self, name: str) -> Any:
        if name not in self.__all__:
            raise AttributeError(f"module {self.__name__} has no attribute {name}")
        value = getattr(self._of_numpy, name)
        return partial(compute, value) if callable(value) and not isinstance(value, type) else value


class Cupy(Functions):
    """The module ``cupy``."""

    ndarray, RawModule = Array, RawModule
    __version__, pool = "14.2.0", POOL
    asarray, empty = staticmethod(asarray), staticmethod(empty)

    def __init__(self) -> None:
        super().__init__("cupy", np)
        self.linalg = Functions("cupy.linalg", np.linalg)
        self.fft = Functions("cupy.fft", np.fft)

    def array(self, data: Any, dtype: Any = None, copy: bool = True) -> Array:
        array = asarray(data, dtype)
        return array.copy() if copy and array is data else array

    def asnumpy(self, array: Any) -> Any:
        return array.get() if isinstance(array, Array) else np.array(array)

    def get_default_memory_pool(self) -> Any:
        return POOL


def _free_and_total() -> tuple[int, int]:
    """Bytes of memory."""
    answer()
    return 1 << 30, 2 << 30


cupy: Any = Cupy()
cupy.__spec__ = ModuleSpec("cupy", None)  # who looks for the package finds it
cupy.cuda = SimpleNamespace(
    Device=Device,
    Stream=Stream,
    Event=Event,
    get_elapsed_time=lambda start, end: float(1 + end.calls_since(start)),  # a millisecond a call
    get_current_stream=current,
    alloc_pinned_memory=PINNED.take,
    set_allocator=lambda allocator: None,
    memory=SimpleNamespace(OutOfMemoryError=OutOfMemoryError),
    driver=SimpleNamespace(CUDADriverError=CudaError),
    nvrtc=SimpleNamespace(getVersion=lambda: (13, 0)),
    runtime=SimpleNamespace(
        CUDARuntimeError=CudaError,
        getDeviceCount=count_devices,
        getDeviceProperties=lambda device: {"name": b"a host", "major": 8, "minor": 0},
        memGetInfo=_free_and_total,
        driverGetVersion=lambda: 13010,
        runtimeGetVersion=lambda: 13000,
    ),
)


def pytest_configure() -> None:
    """As a pytest plugin: for the whole session."""
    SESSION.enter_context(installed())


def pytest_unconfigure() -> None:
    """Takes it away again."""
    SESSION.close()


@contextmanager
def installed() -> Iterator[Any]:
    """``import cupy`` finds this module, and cuBLASLt is found where it is; gives
    ``xpnet_cupy.cuda`` over both.

    What was imported of CuPy before is put away, and put back afterwards: a CuPy that is installed
    does not reach these tests, and the stand-in does not reach those of a card.
    """
    import array_api_compat
    from xpnet_cupy import cublaslt, cuda
    from xpnet_cupy.backend import _on_device

    # The package has a function of the module's name.
    loaded = import_module("xpnet.dispatch.choose")._loaded

    before = {name: sys.modules.pop(name) for name in list(sys.modules) if _is_cupys(name)}
    backend_before = loaded.pop("cupy", None)
    compat = vars(array_api_compat).get("cupy")
    device: Any = SimpleNamespace(Device=Device)
    own = {"": cupy, ".linalg": cupy.linalg, ".fft": cupy.fft, ".cuda.device": device}
    sys.modules.update({f"cupy{name}": module for name, module in own.items()})
    array_api_compat.cupy = import_module("array_api_compat.cupy")
    library = CublasLtLibrary()
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("CUPY_CACHE_DIR", str(folder()))
            patch.setattr(cublaslt, "find_cublaslt", lambda major: library)
            patch.setattr(cuda, "library", library, raising=False)
            _on_device.cache_clear()
            yield cuda
    finally:
        for name in [name for name in sys.modules if _is_cupys(name)]:
            del sys.modules[name]
        sys.modules.update(before)
        loaded.pop("cupy", None)  # a backend over the stand-in
        if backend_before is not None:
            loaded["cupy"] = backend_before
        for cache in (_on_device, cuda.kernel, cuda.lane, cuda._module):
            cache.cache_clear()
        if compat is not None:
            array_api_compat.cupy = compat
        else:
            del array_api_compat.cupy


def _is_cupys(module: str) -> bool:
    """Whether a module is CuPy's, or array-api-compat's for it."""
    roots = "cupy", "cupyx", "cupy_backends", "array_api_compat.cupy"
    return any(module == root or module.startswith(f"{root}.") for root in roots)


def run_program(arguments: list[str]) -> None:
    """Run a script, or code after ``-c``, for the whole process."""
    pytest_configure()
    sys.argv = arguments
    if arguments[0] == "-c":
        exec(arguments[1], {"__name__": "__main__"})
    else:
        sys.path.insert(0, str(Path(arguments[0]).parent))
        runpy.run_path(arguments[0], run_name="__main__")


if __name__ == "__main__":
    # Of the module that the program imports: the state of the stand-in is there.
    from helpers.cuda import cupy_on_host

    cupy_on_host.run_program(sys.argv[1:])
