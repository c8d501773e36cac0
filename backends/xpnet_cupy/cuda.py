"""The launcher that runs on a GPU: kernels through NVRTC, products through cuBLASLt, CUDA graphs. Imports CuPy."""

import ctypes
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
from xpnet_cupy.products import Product


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
        stream.begin_capture()
        try:
            run()
        finally:
            graph = stream.end_capture()
        return graph.launch

    @contextmanager
    def stream(self) -> Iterator[None]:
        """A stream of the launcher's own, since the default stream cannot be captured."""
        caller = cupy.cuda.get_current_stream()
        self._stream.wait_event(caller.record())
        try:
            with self._stream:
                yield
        finally:
            caller.wait_event(self._stream.record())

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

    @cached_property
    def _lt(self) -> CublasLt | None:
        library = find_cublaslt()
        if library is None:
            return None
        # Kept by the closure below as long as the handle that writes to it.
        workspace = cupy.empty(WORKSPACE_BYTES, dtype=cupy.uint8)
        lt = CublasLt(library, workspace.data.ptr, lambda: cupy.cuda.get_current_stream().ptr)
        self._workspace = workspace
        return lt

    @cached_property
    def _stream(self) -> Any:
        return cupy.cuda.Stream(non_blocking=True)


@cache
def find_cublaslt() -> Any:
    """The library, loaded, or None where there is none."""
    try:
        from cuda.pathfinder import load_nvidia_dynamic_lib

        return ctypes.CDLL(load_nvidia_dynamic_lib("cublasLt").abs_path)
    except (ImportError, RuntimeError, OSError):  # pathfinder, the library, and its own dependencies may be missing
        return None


@cache
def _module(dtype: str) -> Any:
    real = "double" if dtype == "float64" else "float"
    return cupy.RawModule(code=SOURCE.read_text(), options=(f"-DREAL={real}", "--std=c++17"))
