"""The calls of CuPy that a launcher makes: kernels through NVRTC, streams, CUDA graphs, memory
that the device reads by itself.

CuPy is passed in, so that nothing here imports it.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, cached_property, wraps
from pathlib import Path
from typing import Any, ParamSpec, Protocol, TypeVar

from xpnet.errors import DeviceMemoryError
from xpnet_cupy import cublaslt
from xpnet_cupy.cublaslt import WORKSPACE_BYTES, CublasLt

SOURCE = Path(__file__).with_name("kernels.cu").read_text(encoding="utf-8")
OUT_OF_MEMORY = 2  # cudaErrorMemoryAllocation, and CUDA_ERROR_OUT_OF_MEMORY

Stream = Any
"""A stream of CuPy, which is not imported here."""


class CudaGraph(Protocol):
    """A CUDA graph of CuPy."""

    def upload(self, stream: Stream) -> None:
        """Take its memory on the card."""

    def launch(self) -> None:
        """Launch it on the current stream."""


P = ParamSpec("P")
T = TypeVar("T")


def made_once(make: Callable[P, T]) -> Callable[P, T]:
    """Keep what a function makes for its arguments, and make it once, though several threads ask
    for it at the same time.
    """
    kept, lock = cache(make), threading.RLock()

    @wraps(make)
    def ask(*arguments: P.args, **named: P.kwargs) -> T:
        """Return what was made for these arguments."""
        with lock:
            return kept(*arguments, **named)  # type: ignore[arg-type]

    ask.cache_clear = kept.cache_clear  # type: ignore[attr-defined]
    return ask


class Lane:
    """Holds what all steps on one device share: a stream, and a handle of cuBLASLt with its
    workspace.

    What one stream is asked for follows each other, so that no two products write to one workspace
    at the same time.

    lock : held while a thread asks for work, since a capture takes in whatever the stream is asked
        for
    """

    def __init__(self, cupy: Any) -> None:
        self._cupy, self.stream = cupy, cupy.cuda.Stream(non_blocking=True)
        self.lock = threading.RLock()

    @cached_property
    def copies(self) -> Stream:
        """The stream of copies beside the work."""
        return self._cupy.cuda.Stream(non_blocking=True)

    @cached_property
    def captures(self) -> Stream:
        """The stream that is captured. It has no memory: what another stream frees meanwhile, in
        the order of that stream, becomes no part of a graph.
        """
        return self._cupy.cuda.Stream(non_blocking=True)

    @cached_property
    def lt(self) -> CublasLt:
        """The handle, made when the first product is prepared."""
        cupy = self._cupy
        with entered(cupy, self.stream):
            self._workspace = cupy.empty(WORKSPACE_BYTES, dtype=cupy.uint8)
        library = cublaslt.find_cublaslt(cupy.cuda.runtime.runtimeGetVersion() // 1000)
        return CublasLt(
            library, lambda: cupy.cuda.get_current_stream().ptr, self._workspace.data.ptr
        )


@contextmanager
def entered(cupy: Any, stream: Stream) -> Iterator[None]:
    """Make a stream current inside a ``with`` block, and afterwards the one that was so before.

    CuPy's own ``with stream`` (up to 14.2) goes back to the stream that was entered before, and
    forgets one that the caller has chosen by ``Stream.use()``.
    """
    caller = cupy.cuda.get_current_stream()
    try:
        with stream:
            yield
    finally:
        if cupy.cuda.get_current_stream() != caller:
            caller.use()


@made_once
def lane(cupy: Any, device: int) -> Lane:
    """Return the lane of a device, which is the current one. There is one for each device: prepared
    products have the address of its workspace.
    """
    return Lane(cupy)


@contextmanager
def memory_errors(cupy: Any) -> Iterator[None]:
    """The driver's word for being out of memory, while a module is loaded or a graph is made,
    becomes MemoryError.
    """
    try:
        yield
    except (cupy.cuda.driver.CUDADriverError, cupy.cuda.runtime.CUDARuntimeError) as error:
        if error.status != OUT_OF_MEMORY:
            raise
        raise MemoryError(str(error)) from error


@contextmanager
def fitting(what: str, remedy: str) -> Iterator[None]:
    """Name what does not fit into the device's memory in the error for that."""
    try:
        yield
    except MemoryError as error:
        raise DeviceMemoryError(
            f"{what} must fit into the device's memory: {error}. "
            f"Use {remedy} or float32, or delete arrays on the device."
        ) from error


def retried(action: Callable[[], T], make_room: Callable[[], None]) -> T:
    """Run an action; if memory runs out, make room and run it once more."""
    try:
        return action()
    except MemoryError:
        pass
    # Outside of the except block: the error refers to what the action allocated.
    make_room()
    return action()


@made_once
def kernel(cupy: Any, dtype: str, name: str, device: int) -> Any:
    """Once for each device, since a module is loaded into one."""
    return _module(cupy, dtype).get_function(name)


@made_once
def _module(cupy: Any, dtype: str) -> Any:
    """Return the kernels of a dtype, compiled at their first use."""
    real = "double" if dtype == "float64" else "float"
    return cupy.RawModule(code=SOURCE, options=(f"-DREAL={real}", "--std=c++17"))
