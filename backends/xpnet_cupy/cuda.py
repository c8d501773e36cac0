"""The launcher that runs on a GPU: kernels through NVRTC, products through cuBLASLt, CUDA graphs. Imports CuPy."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, cached_property
from typing import Any

import array_api_compat.cupy
import cupy
import numpy

from xpnet.errors import BackendError
from xpnet.ops import Array
from xpnet_cupy.cublaslt import WORKSPACE_BYTES, CublasLt
from xpnet_cupy.launcher import SOURCE, Grid, Launch, Launcher
from xpnet_cupy.libraries import find_cublaslt
from xpnet_cupy.products import Product

OUT_OF_MEMORY = 2  # cudaErrorMemoryAllocation, and CUDA_ERROR_OUT_OF_MEMORY
KEPT_WORKSPACES = 8  # of the streams used last


class CudaLauncher(Launcher):
    """Launches on the current device and stream.

    precision : of products of float32, ``fp32``, ``tf32`` or ``bf16``; float64 has its own
    """

    xp: Any = array_api_compat.cupy

    def __init__(self, dtype: str, precision: str = "fp32") -> None:
        self.dtype, self.precision = dtype, "fp64" if dtype == "float64" else precision

    @property
    def about(self) -> str:
        """How products are computed."""
        if self._lt is not None:
            return f"products in {self.precision} through cuBLASLt"
        return "products through cupy.matmul and no CUDA graph, since cuBLASLt was not found"

    def kernel(self, name: str) -> Callable[[Grid, Grid, tuple[Any, ...]], None]:
        """A RawKernel, compiled when first asked for and cached on disk by CuPy."""
        with _memory_errors():
            return _module(self.dtype).get_function(name)

    def product(self, product: Product, a: Array, b: Array, out: Array) -> Launch:
        """Through cuBLASLt, or ``cupy.matmul`` where that was not found."""
        if self._lt is None:
            return product.by_matmul(self.xp, a, b, out)
        launch = self._lt.prepare(product, self.precision, a.data.ptr, b.data.ptr, out.data.ptr)
        if launch is None:
            raise BackendError(
                f"cuBLASLt must have a product in {self.precision} for {product}; it has none on this card. "
                "Use precision='fp32'."
            )
        return launch

    def fused_product(
        self, product: Product, a: Array, b: Array, out: Array, *, vector: Array, mask: Array | None = None
    ) -> Launch | None:
        """Through cuBLASLt where it has the epilogue."""
        if self._lt is None:
            return None
        bits = 0 if mask is None else mask.data.ptr
        places = (a.data.ptr, b.data.ptr, out.data.ptr, vector.data.ptr)
        return self._lt.prepare(product, self.precision, *places, bits)

    def record(self, run: Launch) -> Launch:
        """A captured CUDA graph; ``run`` itself where products cannot be captured."""
        if self._lt is None:
            return run
        stream = cupy.cuda.get_current_stream()
        with _memory_errors():
            stream.begin_capture()
            try:
                run()
            finally:
                graph = stream.end_capture()
        return graph.launch

    @contextmanager
    def stream(self) -> Iterator[None]:
        """The lane's stream, since the default stream cannot be captured."""
        own, caller = self.lane.stream, cupy.cuda.get_current_stream()
        own.wait_event(caller.record())
        try:
            with own:
                yield
        finally:
            caller.wait_event(own.record())

    @property
    def lane(self) -> "Lane":
        """This thread's lane on the current device."""
        return _lane()

    def address(self, array: Array) -> int:
        """The address on the device."""
        return array.data.ptr

    def to_numpy(self, array: Array) -> numpy.ndarray:
        """A copy on the host."""
        return cupy.asnumpy(array)

    def free_memory(self) -> tuple[int, int]:
        """What the driver says, and what CuPy's pool has at hand, within its limit."""
        free, total = cupy.cuda.runtime.memGetInfo()
        pool = cupy.get_default_memory_pool()
        free += pool.free_bytes()
        limit = pool.get_limit()
        return (min(free, limit - pool.used_bytes()), min(total, limit)) if limit else (free, total)

    def release_memory(self) -> None:
        """What CuPy's pool has at hand goes back to the driver, which cuBLASLt and graphs take theirs from."""
        cupy.get_default_memory_pool().free_all_blocks()

    @property
    def _lt(self) -> CublasLt | None:
        return self.lane.lt


class Lane:
    """What all steps of one thread on one device share: a stream, and a handle of cuBLASLt with its workspaces.

    Their launches follow each other, so that no two products write to one workspace at the same time.
    """

    def __init__(self) -> None:
        self.stream = cupy.cuda.Stream(non_blocking=True)
        self._workspaces: dict[int, Any] = {}

    @cached_property
    def lt(self) -> CublasLt | None:
        """None where cuBLASLt was not found."""
        library = find_cublaslt(cupy.cuda.runtime.runtimeGetVersion() // 1000)
        if library is None:
            return None
        with self.stream:
            self._workspace(self.stream.ptr)  # before a capture, in which nothing can be allocated
        return CublasLt(library, lambda: cupy.cuda.get_current_stream().ptr, self._workspace)

    def _workspace(self, stream: int) -> int:
        """The address of the workspace of the current stream: predictions run on the caller's."""
        if stream not in self._workspaces:
            while len(self._workspaces) >= KEPT_WORKSPACES:
                self._workspaces.pop(next(k for k in self._workspaces if k != self.stream.ptr))
            self._workspaces[stream] = cupy.empty(WORKSPACE_BYTES, dtype=cupy.uint8)
        return self._workspaces[stream].data.ptr


_threads = threading.local()


def _lane() -> Lane:
    lanes, device = vars(_threads).setdefault("lanes", {}), cupy.cuda.Device().id
    if device not in lanes:
        lanes[device] = Lane()
    return lanes[device]


@contextmanager
def _memory_errors() -> Iterator[None]:
    """The driver's word for being out of memory, while a module is loaded or a graph is made, becomes MemoryError."""
    try:
        yield
    except (cupy.cuda.driver.CUDADriverError, cupy.cuda.runtime.CUDARuntimeError) as error:
        if error.status != OUT_OF_MEMORY:
            raise
        raise MemoryError(str(error)) from error


@cache
def _module(dtype: str) -> Any:
    real = "double" if dtype == "float64" else "float"
    return cupy.RawModule(code=SOURCE.read_text(encoding="utf-8"), options=(f"-DREAL={real}", "--std=c++17"))
