"""What a launcher does with CuPy: kernels through NVRTC, streams, CUDA graphs, memory that the device reads by itself.

CuPy is passed in, so that nothing here imports it.
"""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy

from xpnet.ops import Array
from xpnet_cupy import cublaslt
from xpnet_cupy.cublaslt import WORKSPACE_BYTES, CublasLt

SOURCE = Path(__file__).with_name("kernels.cu").read_text(encoding="utf-8")
OUT_OF_MEMORY = 2  # cudaErrorMemoryAllocation, and CUDA_ERROR_OUT_OF_MEMORY


def pinned(cupy: Any, size: int, dtype: str) -> numpy.ndarray:
    """Zeros in memory of the host that the device reads and writes by itself."""
    memory = cupy.cuda.alloc_pinned_memory(size * numpy.dtype(dtype).itemsize)
    array = numpy.frombuffer(memory, dtype, size)
    array[...] = 0
    return array


class Uploads:
    """Arrays of one size go to the device on a stream of their own: one is read there while the next arrives.

    An array that was sent may be overwritten by the second one after it.
    """

    def __init__(self, cupy: Any, stream: Any, size: int, dtype: str) -> None:
        self._sent: Any = None  # the event of the last copy
        self._cupy, self.stream = cupy, stream
        self._host = pinned(cupy, size, dtype)
        self._places = [cupy.empty(size, dtype=dtype) for _ in range(2)]
        # The event of what was asked for before the last copy; at first of what still reads memory that the pool gives.
        self._read = cupy.cuda.get_current_stream().record()

    def send(self, array: numpy.ndarray) -> Array:
        """Send an array, and return its copy on the device, once all work on the one before has been launched."""
        if self._sent is not None:
            self._sent.synchronize()  # until then the pinned memory is read
        self._host[...] = array
        self.stream.wait_event(self._read)
        self._read = self._cupy.cuda.get_current_stream().record()
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
        self._cupy.cuda.get_current_stream().wait_event(self._sent)


class Lane:
    """Holds what all steps of one thread on one device share: a stream, and a handle of cuBLASLt with its workspace.

    What one stream is asked for follows each other, so that no two products write to one workspace at the same time.
    """

    def __init__(self, cupy: Any) -> None:
        self._cupy, self.stream = cupy, cupy.cuda.Stream(non_blocking=True)

    @cached_property
    def copies(self) -> Any:
        """The stream of copies beside the work."""
        return self._cupy.cuda.Stream(non_blocking=True)

    @cached_property
    def lt(self) -> CublasLt:
        """The handle, made when the first product is prepared."""
        cupy, caller = self._cupy, self._cupy.cuda.get_current_stream()
        try:
            with self.stream:
                self._workspace = cupy.empty(WORKSPACE_BYTES, dtype=cupy.uint8)
        finally:
            back_to(cupy, caller)
        library = cublaslt.find_cublaslt(cupy.cuda.runtime.runtimeGetVersion() // 1000)
        return CublasLt(library, lambda: cupy.cuda.get_current_stream().ptr, self._workspace.data.ptr)


def back_to(cupy: Any, caller: Any) -> None:
    """Make the stream current that was so before another was entered.

    CuPy's own ``with stream`` (up to 14.2) goes back to the stream that was entered before, and forgets one that the
    caller has chosen by ``Stream.use()``.
    """
    if cupy.cuda.get_current_stream() != caller:
        caller.use()


class _Lent(dict[int, Lane]):
    """The lanes of one thread, by device; when it ends, the next thread may have them."""

    def __init__(self, free: dict[int, list[Lane]]) -> None:
        self.free = free

    def __del__(self) -> None:
        for device, lane in self.items():
            self.free.setdefault(device, []).append(lane)


class Lanes(threading.local):
    """A lane for each thread and device, as many as threads live: a server may have a thread for each request."""

    def __init__(self, free: dict[int, list[Lane]]) -> None:
        self._lent = _Lent(free)

    def current(self, cupy: Any) -> Lane:
        """Return this thread's lane on the current device."""
        device, lent = cupy.cuda.Device().id, self._lent
        if device not in lent:
            try:
                lent[device] = lent.free.setdefault(device, []).pop()
            except IndexError:
                lent[device] = Lane(cupy)
        return lent[device]


lanes = Lanes({})


@contextmanager
def memory_errors(cupy: Any) -> Iterator[None]:
    """The driver's word for being out of memory, while a module is loaded or a graph is made, becomes MemoryError."""
    try:
        yield
    except (cupy.cuda.driver.CUDADriverError, cupy.cuda.runtime.CUDARuntimeError) as error:
        if error.status != OUT_OF_MEMORY:
            raise
        raise MemoryError(str(error)) from error


@cache
def kernel(cupy: Any, dtype: str, stored: str, name: str, device: int) -> Any:
    """Once for each device, since a module is loaded into one."""
    return _module(cupy, dtype, stored).get_function(name)


@cache
def _module(cupy: Any, dtype: str, stored: str) -> Any:
    real = "double" if dtype == "float64" else "float"
    halved = () if stored == dtype else ("-DBF16",)
    return cupy.RawModule(code=SOURCE, options=(f"-DREAL={real}", *halved, "--std=c++17"))
