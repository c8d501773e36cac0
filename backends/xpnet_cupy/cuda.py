"""The launcher that runs on a GPU: kernels through NVRTC, products through cuBLASLt, CUDA graphs. Imports CuPy."""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache, cached_property
from typing import Any

import array_api_compat.cupy
import cupy
import numpy

from xpnet.errors import BackendError
from xpnet.ops import Array
from xpnet_cupy.cublaslt import WORKSPACE_BYTES, CublasLt, find_cublaslt
from xpnet_cupy.launcher import SOURCE, Grid, Launch, Launcher
from xpnet_cupy.products import Product

OUT_OF_MEMORY = 2  # cudaErrorMemoryAllocation, and CUDA_ERROR_OUT_OF_MEMORY


class Pinned(numpy.ndarray):
    """An array in memory of the host that the device reads and writes by itself."""


def pinned(size: int, dtype: str) -> Pinned:
    """Zeros in such memory."""
    memory = cupy.cuda.alloc_pinned_memory(size * numpy.dtype(dtype).itemsize)
    array = numpy.frombuffer(memory, dtype, size).view(Pinned)
    array[...] = 0
    return array


class Uploads:
    """Arrays of one size go to the device on a stream of their own: one is read there while the next arrives.

    An array that was sent may be overwritten by the second one after it.
    """

    def __init__(self, stream: Any, size: int, dtype: str) -> None:
        self._sent: Any = None  # the event of the last copy
        self.stream = stream
        self._host = pinned(size, dtype)
        self._places = [cupy.empty(size, dtype=dtype) for _ in range(2)]
        # The event of what was asked for before the last copy; at first of what still reads memory that the pool gives.
        self._read = cupy.cuda.get_current_stream().record()

    def send(self, array: numpy.ndarray) -> Array:
        """Send an array, and return its copy on the device, once all work on the one before has been launched."""
        if self._sent is not None:
            self._sent.synchronize()  # until then the pinned memory is read
        self._host[...] = array
        self.stream.wait_event(self._read)
        self._read = cupy.cuda.get_current_stream().record()
        self._places.reverse()
        self._places[0].set(self._host, stream=self.stream)
        self._sent = self.stream.record()
        return self._places[0]

    def __del__(self) -> None:
        """Its memory may be given to others now: not before the last copy is done."""
        if self._sent is not None and not sys.is_finalizing():
            self._sent.synchronize()

    def arrived(self) -> None:
        """The current stream waits for what was sent last."""
        cupy.cuda.get_current_stream().wait_event(self._sent)


class CudaLauncher(Launcher):
    """Launches on the current device and stream.

    precision : of products of float32, ``fp32``, ``tf32`` or ``bf16``; float64 has its own
    """

    xp: Any = array_api_compat.cupy

    def __init__(self, dtype: str, precision: str = "fp32") -> None:
        self.dtype, self.precision = dtype, "fp64" if dtype == "float64" else precision

    @cached_property
    def of_batches(self) -> Launcher:
        """One that stores bfloat16, where that was asked for and products of it can be had."""
        return HalvedLauncher(self) if self.precision == "bf16" and self._lt is not None else self

    @property
    def about(self) -> str:
        """Say how products are computed."""
        if self._lt is not None:
            return f"products in {self.precision} through cuBLASLt"
        return "products through cupy.matmul and no CUDA graph, since cuBLASLt was not found"

    def kernel(self, name: str) -> Callable[[Grid, Grid, tuple[Any, ...]], None]:
        """Return a RawKernel, compiled when first asked for and cached on disk by CuPy."""
        with _memory_errors():
            return _kernel(self.dtype, self.stored, name, cupy.cuda.Device().id)

    def product(self, product: Product, a: Array, b: Array, out: Array) -> Launch:
        """Through cuBLASLt, or ``cupy.matmul`` where that was not found."""
        if self._lt is None:
            return product.by_matmul(self.xp, a, b, out)
        places = (a.data.ptr, b.data.ptr, out.data.ptr)
        launch = self._lt.prepare(product, self.precision, *places)
        if launch is None:
            raise BackendError(
                f"cuBLASLt must have a product in {self.precision} for {product}; it has none on this card. "
                "Use precision='fp32'."
            )
        return launch

    def fused_product(
        self, product: Product, a: Array, b: Array, out: Array, *, vector: Array | None, mask: Array | None = None
    ) -> Launch | None:
        """Through cuBLASLt where it has the epilogue."""
        if self._lt is None:
            return None
        bits = 0 if mask is None else mask.data.ptr
        places = (a.data.ptr, b.data.ptr, out.data.ptr, 0 if vector is None else vector.data.ptr)
        return self._lt.prepare(product, self.precision, *places, bits)

    def record(self, run: Launch) -> Launch:
        """A captured CUDA graph; ``run`` itself where products cannot be captured."""
        return _captured(run) if self.records else run

    @property
    def records(self) -> bool:
        """Return whether there is cuBLASLt: CuPy's own products cannot be captured."""
        return self._lt is not None

    def mark(self) -> Any:
        """Return an event of the current stream."""
        return cupy.cuda.get_current_stream().record()

    @contextmanager
    def stream(self) -> Iterator["Lane"]:
        """Enter the lane's stream, since the default stream cannot be captured."""
        lane, caller = _lanes.current(), cupy.cuda.get_current_stream()
        lane.stream.wait_event(caller.record())
        try:
            with lane.stream:
                yield lane
        finally:
            back_to(caller)
            caller.wait_event(lane.stream.record())

    @property
    def lane(self) -> "Lane":
        """This thread's lane on the current device."""
        return _lanes.current()

    def address(self, array: Array) -> int:
        """Return the address, which is the same on the device for memory of the host that it reaches."""
        return array.ctypes.data if isinstance(array, Pinned) else array.data.ptr

    def argument(self, array: Array) -> Any:
        """CuPy passes arrays of its own and numbers."""
        return numpy.uintp(array.ctypes.data) if isinstance(array, Pinned) else array

    def uploads(self, size: int, dtype: str) -> Uploads:
        """On the lane's stream for copies."""
        with _memory_errors():
            return Uploads(self.lane.copies, size, dtype)

    def pinned(self, size: int, dtype: str) -> numpy.ndarray:
        """Memory that the driver keeps in its place."""
        return pinned(size, dtype)

    def free_memory(self) -> tuple[int, int]:
        """Add the driver's free memory and that of CuPy's pool, within the pool's limit."""
        free, total = cupy.cuda.runtime.memGetInfo()
        pool = cupy.get_default_memory_pool()
        free += pool.free_bytes()
        limit = pool.get_limit()
        return (min(free, limit - pool.used_bytes()), min(total, limit)) if limit else (free, total)

    def release_memory(self) -> None:
        """Give the free memory of CuPy's pool back to the driver, from which cuBLASLt and graphs take theirs."""
        cupy.get_default_memory_pool().free_all_blocks()

    @property
    def _lt(self) -> CublasLt | None:
        return self.lane.lt


class HalvedLauncher(CudaLauncher):
    """A launcher whose batches are stored in bfloat16; parameters, gradients, logits and losses stay float32."""

    stored, about = "uint16", "products and what layers hand to each other in bf16, all sums in fp32, through cuBLASLt"

    def __init__(self, full: CudaLauncher) -> None:
        super().__init__(full.dtype, "bf16 in memory")
        self._full = full

    @property
    def of_batches(self) -> Launcher:
        """Itself."""
        return self

    @property
    def full(self) -> Launcher:
        """Return the launcher of float32."""
        return self._full


class Lane:
    """Holds what all steps of one thread on one device share: a stream, and a handle of cuBLASLt with its workspace.

    What one stream is asked for follows each other, so that no two products write to one workspace at the same time.
    """

    def __init__(self) -> None:
        self.stream = cupy.cuda.Stream(non_blocking=True)

    @cached_property
    def copies(self) -> Any:
        """The stream of copies beside the work."""
        return cupy.cuda.Stream(non_blocking=True)

    @cached_property
    def lt(self) -> CublasLt | None:
        """None where cuBLASLt was not found."""
        library = find_cublaslt(cupy.cuda.runtime.runtimeGetVersion() // 1000)
        if library is None:
            return None
        caller = cupy.cuda.get_current_stream()
        try:
            with self.stream:
                self._workspace = cupy.empty(WORKSPACE_BYTES, dtype=cupy.uint8)
        finally:
            back_to(caller)
        return CublasLt(library, lambda: cupy.cuda.get_current_stream().ptr, self._workspace.data.ptr)


def back_to(caller: Any) -> None:
    """Make the stream current that was so before another was entered.

    CuPy's own ``with stream`` (up to 14.2) goes back to the stream that was entered before, and forgets one that the
    caller has chosen by ``Stream.use()``.
    """
    if cupy.cuda.get_current_stream() != caller:
        caller.use()


def _captured(run: Callable[[], Any]) -> Launch:
    """Record what ``run`` launches on the current stream as a CUDA graph, and take the graph's memory on the card."""
    stream = cupy.cuda.get_current_stream()
    with _memory_errors():
        stream.begin_capture()
        try:
            run()
        except BaseException:
            # A capture that went wrong ends with an error of its own.
            with suppress(cupy.cuda.runtime.CUDARuntimeError):
                stream.end_capture()
            raise
        graph = stream.end_capture()
        graph.upload(stream)
    return graph.launch


class _Lent:
    """The lanes of one thread, by device; when it ends, the next thread may have them."""

    def __init__(self, free: dict[int, list[Lane]]) -> None:
        self.lanes: dict[int, Lane] = {}
        self._free = free

    def __del__(self) -> None:
        for device, lane in self.lanes.items():
            self._free.setdefault(device, []).append(lane)


class _Lanes(threading.local):
    """A lane for each thread and device, as many as threads live: a server may have a thread for each request."""

    def __init__(self, free: dict[int, list[Lane]]) -> None:
        self._free, self._lent = free, _Lent(free)

    def current(self) -> Lane:
        """Return this thread's lane on the current device."""
        device, lanes = cupy.cuda.Device().id, self._lent.lanes
        if device not in lanes:
            try:
                lanes[device] = self._free.setdefault(device, []).pop()
            except IndexError:
                lanes[device] = Lane()
        return lanes[device]


_lanes = _Lanes({})


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
def _kernel(dtype: str, stored: str, name: str, device: int) -> Any:
    """Once for each device, since a module is loaded into one."""
    return _module(dtype, stored).get_function(name)


@cache
def _module(dtype: str, stored: str) -> Any:
    real = "double" if dtype == "float64" else "float"
    halved = () if stored == dtype else ("-DBF16",)
    return cupy.RawModule(code=SOURCE, options=(f"-DREAL={real}", *halved, "--std=c++17"))
