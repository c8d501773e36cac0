"""As much of CuPy as the backend uses, on the host: arrays are NumPy's, kernels fibers, graphs
calls in order.

It lets what is written for a GPU run where there is none: ``xpnet_cupy.cuda`` in the tests, and
with ``pytest -p helpers.cuda.cupy_on_host`` most of ``tests/gpu``. It shows that names, arguments
and the order of calls are right; what a GPU does with them it cannot show.
"""

import sys
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import wraps
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar, Self

import numpy as np
import pytest

from helpers.cuda.host import build, build_cublaslt, run_kernel

FOLDER, SESSION, FIBERS = Path(tempfile.mkdtemp()), ExitStack(), threading.Lock()


class Array(np.ndarray):
    """cupy.ndarray: it stays on the device that was current when it was made, and views with it.

    What computes with it refuses arrays of another device than the current one, as CuPy does where
    cards cannot read each other's memory, and leaves its results on the current device.
    """

    number: int

    def __array_finalize__(self, source: Any) -> None:
        self.number = source.number if isinstance(source, Array) else Device().id

    def __array_ufunc__(
        self, ufunc: Any, method: str, *inputs: Any, out: tuple[Any, ...] = (), **options: Any
    ) -> Any:
        check_current(*inputs, *out)
        options = {name: as_plain(value) for name, value in options.items()}
        if out:
            options["out"] = tuple(map(as_plain, out))
        result = getattr(ufunc, method)(*map(as_plain, inputs), **options)
        if out:
            return out[0] if len(out) == 1 else out
        return result.view(Array) if isinstance(result, np.ndarray) else result

    def __setitem__(self, key: Any, value: Any) -> None:
        check_current(self, value)
        super().__setitem__(key, value)

    def astype(self, dtype: Any, *order: Any, copy: bool = True, **options: Any) -> Any:
        if not copy and self.dtype == dtype:
            return self
        check_current(self)
        return as_plain(self).astype(dtype, *order, **options).view(Array)

    def copy(self, order: Any = "C") -> Any:
        return as_plain(self).copy(order).view(Array)

    @property
    def data(self) -> Any:
        return SimpleNamespace(ptr=self.ctypes.data)

    @property
    def device(self) -> "Device":
        return Device(self.number)


def as_plain(value: Any) -> Any:
    """An array of the device as NumPy's; anything else as it is."""
    return value.view(np.ndarray) if isinstance(value, Array) else value


def check_current(*values: Any) -> None:
    """Raise ValueError, as CuPy's kernels do, for an array that is not on the current device."""
    current_device = Device().id
    for value in values:
        if isinstance(value, Array) and value.number != current_device:
            raise ValueError(
                "Array device must be same as the current device: array device = "
                f"{value.number} while current = {current_device}"
            )


CONVERSIONS = "array", "asarray", "asanyarray", "ascontiguousarray"
"""Functions of NumPy that read what they are given by its ``__array__``."""


def refusing(convert: Callable[..., Any]) -> Callable[..., Any]:
    """A conversion that raises TypeError where xpnet gives it an array of the device, as it does
    for CuPy's. Tests may convert them.
    """

    @wraps(convert)
    def call(data: Any, *arguments: Any, **options: Any) -> Any:
        caller = sys._getframe(1).f_globals.get("__name__", "")
        if isinstance(data, Array) and caller.startswith("xpnet"):
            raise TypeError("Implicit conversion to a NumPy array is not allowed.")
        return convert(data, *arguments, **options)

    return call


Array.__module__ = "cupy"
PINNED: list[weakref.ref[Any]] = []


def alloc_pinned_memory(size: int) -> Any:
    """cupy.cuda.alloc_pinned_memory."""
    memory = np.full(size, 255, np.uint8)
    PINNED.append(weakref.ref(memory))
    return memory


def pinned_memory() -> list[Any]:
    """All of it that lives."""
    return [memory for reference in PINNED if (memory := reference()) is not None]


def is_pinned_at(address: int) -> bool:
    """Whether kernels may read and write there."""
    return any(0 <= address - memory.ctypes.data < memory.nbytes for memory in pinned_memory())


class CudaError(RuntimeError):
    """cupy.cuda.driver.CUDADriverError and cupy.cuda.runtime.CUDARuntimeError."""

    def __init__(self, status: int) -> None:
        super().__init__(
            "CUDA_ERROR_OUT_OF_MEMORY: out of memory" if status == 2 else f"status {status}"
        )
        self.status = status


class Failing:
    """What a test lets fail: statuses that loading a kernel, making a graph and its upload end
    with; 0 for success.
    """

    load = instantiate = upload = 0


class Device:
    """cupy.cuda.Device; without a number the one that is current in this thread."""

    def __init__(self, number: int | None = None) -> None:
        self.id = devices()[-1] if number is None else number

    def __enter__(self) -> Self:
        devices().append(self.id)
        return self

    def __exit__(self, *exception: object) -> None:
        devices().pop()

    def __repr__(self) -> str:
        return f"<CUDA Device {self.id}>"

    def synchronize(self) -> None:
        pass


@dataclass(eq=False)
class Node:
    """A call in a graph.

    after : the nodes it waits for; alone : what no two may use at once, or 0
    """

    call: Callable[[], None]
    after: set["Node"]
    alone: int

    def follows(self) -> set["Node"]:
        """All nodes that are sure to be done before this one."""
        found, waiting = set(), list(self.after)
        while waiting:
            node = waiting.pop()
            if node not in found:
                found.add(node)
                waiting += node.after
        return found


@dataclass(eq=False)
class Capture:
    """A capture under way, and the streams that are in it."""

    origin: "Stream"
    nodes: list[Node] = field(default_factory=list)
    streams: list["Stream"] = field(default_factory=list)

    def end(self) -> None:
        """The streams go on as before; the refusals of a real capture."""
        last = self.origin.tip
        done = set(last).union(*(node.follows() for node in last))
        unjoined = any(not stream.tip <= done for stream in self.streams)
        for stream in self.streams:
            stream.capture, stream.tip = None, set()
        assert not unjoined, (
            "CUDA_ERROR_STREAM_CAPTURE_UNJOINED: a stream has not been joined to the first"
        )
        for k, node in enumerate(self.nodes):
            before = node.follows()
            for other in self.nodes[:k]:
                shared = node.alone and node.alone == other.alone
                assert not shared or other in before, (
                    "two calls at the same time with one workspace"
                )


class Graph:
    """cupy.cuda.Graph: the calls that were captured, each after those it waits for."""

    made = launched = 0  # how many there have been, and how often one was launched
    late = False  # of the calls that may run, the one asked for last runs first

    def __init__(self, nodes: list[Node]) -> None:
        Graph.made += 1
        self.calls = nodes

    def upload(self, stream: Any = None) -> None:
        if Failing.upload:
            raise CudaError(Failing.upload)

    def launch(self, stream: Any = None) -> None:
        Graph.launched += 1
        current().finish()
        done: set[Node] = set()
        waiting = list(self.calls)
        while waiting:
            ready = [node for node in waiting if node.after <= done]
            node = ready[-1 if Graph.late else 0]
            waiting.remove(node)
            node.call()
            done.add(node)


class Stream:
    """cupy.cuda.Stream: what is asked of it is done at once, or kept while it captures.

    Copies that nobody waits for are done as late as they may: when the stream is asked for more, or
    an event is waited for that comes after them.
    """

    made = 0  # how many there have been
    done = True

    def __init__(self, non_blocking: bool = False) -> None:
        Stream.made += 1
        self.non_blocking, self.ptr = non_blocking, id(self)
        self.capture: Capture | None = None
        self.tip: set[Node] = set()  # what the next call waits for
        self.copying: list[Callable[[], None]] = []

    def __enter__(self) -> Self:
        entered().append(self)
        make_current(self)
        return self

    def __exit__(self, *exception: object) -> None:
        """Forget what the thread chose by ``use``, as CuPy up to 14.2 does: the stream entered
        before is current.
        """
        entered().pop()
        make_current(entered()[-1])

    def use(self) -> Self:
        """Make it current without entering it."""
        make_current(self)
        return self

    def record(self) -> Any:
        event = Event()
        event.record(self)
        return event

    def wait_event(self, event: Any) -> None:
        if event.capture is None:
            assert self.capture is None, "an event outside of the capture"
            event.wait()
            return
        assert self.capture in (None, event.capture) and event.capture.origin.capture, (
            "an event of another capture"
        )
        if self.capture is None:
            self.capture = event.capture
            self.capture.streams.append(self)
        self.tip = self.tip | event.after

    def synchronize(self) -> None:
        assert self.capture is None, "synchronised while capturing"
        self.finish()

    def copy(self, call: Callable[[], None]) -> None:
        """A copy that nobody waits for."""
        assert self.capture is None, "a copy to or from the host in a capture"
        self.copying.append(call)

    def finish(self) -> None:
        """What has been asked for is done."""
        while self.copying:
            self.copying.pop(0)()

    def begin_capture(self) -> None:
        assert self.non_blocking, "the default stream cannot be captured"
        self.capture = Capture(self)
        self.capture.streams.append(self)

    def end_capture(self) -> Graph:
        capture = self.capture
        assert capture is not None and capture.origin is self
        capture.end()
        if Failing.instantiate:
            raise CudaError(Failing.instantiate)
        return Graph(capture.nodes)

    def ask(self, call: Callable[[], None], alone: int = 0) -> None:
        """Does it, or keeps it for the graph."""
        if self.capture is None:
            self.finish()
            call()
            return
        node = Node(call, self.tip, alone)
        self.capture.nodes.append(node)
        self.tip = {node}


DEFAULT, _thread = Stream(), threading.local()


def devices() -> list[int]:
    """The numbers of the devices that this thread has entered, device 0 first."""
    return vars(_thread).setdefault("devices", [0])


def entered() -> list[Stream]:
    """The streams that this thread has entered on the current device, the default one first."""
    return vars(_thread).setdefault(f"entered on {devices()[-1]}", [DEFAULT])


def current() -> Stream:
    """cupy.cuda.get_current_stream: each device has its own."""
    return vars(_thread).setdefault(f"current on {devices()[-1]}", DEFAULT)


def make_current(stream: Stream) -> None:
    """Make a stream current on the current device."""
    vars(_thread)[f"current on {devices()[-1]}"] = stream


launched: list[str] = []  # kernels, as they were asked for
uploaded: list[int] = []  # bytes of arrays of the host that were copied to a device


class Event:
    """cupy.cuda.Event."""

    done = True

    def record(self, stream: Any = None) -> None:
        stream = stream or current()
        self.capture, self.after = stream.capture, set(stream.tip)
        self._copies = list(stream.copying)
        self._stream = stream

    def synchronize(self) -> None:
        """A relaxed capture, which is CuPy's, lets a thread wait for an event outside of it: a step
        may be collected then.
        """
        assert self.capture is None, "an event of a capture was waited for"
        self.wait()

    def wait(self) -> None:
        """What was asked for before is done."""
        while any(copy in self._stream.copying for copy in self._copies):
            self._stream.copying.pop(0)()
        self._copies = []  # which hold their memory


class RawModule:
    """cupy.RawModule: compiled for the host."""

    built: ClassVar[dict[tuple[str, str], Any]] = {}

    def __init__(self, *, code: str, options: tuple[str, ...]) -> None:
        key = (code, "float64" if "-DREAL=double" in options else "float32")
        with FIBERS:  # one thread at a time writes a library
            if key not in self.built:
                self.built[key] = build(*key, FOLDER)
        self.library = self.built[key]

    def get_function(self, name: str) -> Callable[..., None]:
        assert current().capture is None, "a kernel was loaded in a capture"
        if Failing.load:
            raise CudaError(Failing.load)

        return Kernel(self.library, name)


class Kernel:
    """cupy.RawKernel."""

    def __init__(self, library: Any, name: str) -> None:
        self.library, self.name = library, name

    def __call__(self, grid: Any, block: Any, arguments: tuple[Any, ...]) -> None:
        for argument in arguments:
            assert not isinstance(argument, np.ndarray) or type(argument) is Array, (
                "RawKernel takes CuPy's arrays"
            )
            assert (
                not isinstance(argument, np.uintp) or not argument or is_pinned_at(int(argument))
            ), "a host pointer"
            assert not isinstance(argument, Array) or argument.number == Device().id, (
                "an array of another device"
            )
        launched.append(self.name)
        current().ask(lambda: self.run(grid, block, arguments))

    def run(self, grid: Any, block: Any, arguments: tuple[Any, ...]) -> None:
        """One after the other: fibers belong to one thread."""
        with FIBERS:
            run_kernel(self.library, self.name, grid, block, arguments)


class CublasLtLibrary:
    """The stand-in for cuBLASLt, whose products are captured like kernels."""

    def __init__(self) -> None:
        self._library = build_cublaslt(FOLDER)
        self.workspaces: dict[int, set[int]] = {}  # the streams that have written to each

    def __getattr__(self, name: str) -> Any:
        return getattr(self._library, name)

    def cublasLtMatmul(self, *arguments: Any) -> int:
        stream, workspace = arguments[-1].value, arguments[-3].value
        assert stream == current().ptr, "a product on another stream"
        self.workspaces.setdefault(workspace, set()).add(stream)
        statuses: list[int] = []
        current().ask(lambda: statuses.append(self._library.cublasLtMatmul(*arguments)), workspace)
        return statuses[0] if statuses else 0


class Pool:
    """The memory pool: counts the bytes of arrays that live, and keeps its limit."""

    limit = used = emptied = 0
    total = False  # whether the limit is for all arrays together, or for each

    def counted(self) -> int:
        """What counts against the limit beside a new array."""
        return self.used if self.total else 0

    def get_limit(self) -> int:
        return self.limit

    def set_limit(self, size: int = 0) -> None:
        self.limit = size

    def free_bytes(self) -> int:
        return 0

    def used_bytes(self) -> int:
        return self.used

    total_bytes = used_bytes

    def free_all_blocks(self) -> None:
        self.emptied += 1

    def adopt(self, array: Any) -> Any:
        """Counts an array with memory of its own, as long as it lives."""
        owner = self._owner(array)
        if id(owner) not in self._owners:
            self._owners.add(id(owner))
            self.used += owner.nbytes
            weakref.finalize(owner, self._release, id(owner), owner.nbytes)
        return array

    def __init__(self) -> None:
        self._owners: set[int] = set()

    def _owner(self, array: Any) -> Any:
        while isinstance(array.base, np.ndarray):
            array = array.base
        return array

    def _release(self, owner: int, size: int) -> None:
        self._owners.discard(owner)
        self.used -= size


class OutOfMemoryError(MemoryError):
    """cupy.cuda.memory.OutOfMemoryError."""


def _on_device(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arguments: Any, **options: Any) -> Any:
        result = function(*arguments, **options)
        own = [value for value in (*arguments, *options.values()) if isinstance(value, Array)]
        is_view = isinstance(result, np.ndarray) and any(
            np.may_share_memory(result, array) for array in own
        )
        if not is_view:
            check_current(*own)
            result = np.asarray(result) if isinstance(result, np.number) else as_plain(result)
        limit = cupy.pool.limit
        if limit and isinstance(result, np.ndarray) and result.nbytes + cupy.pool.counted() > limit:
            raise OutOfMemoryError(
                f"Out of memory allocating {result.nbytes:,} bytes (limit set to: {limit:,} bytes)"
            )
        return cupy.pool.adopt(result.view(Array)) if isinstance(result, np.ndarray) else result

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

    def asarray(self, data: Any, dtype: Any = None, copy: bool | None = None) -> Any:
        """What lies on the host is copied, by way of pinned memory of the pool: nobody waits for
        that.
        """
        if isinstance(data, Array) and not copy:
            return data if dtype is None else data.astype(dtype, copy=False)
        array = np.array(data, dtype, order="C")
        if not isinstance(data, Array):
            uploaded.append(array.nbytes)
        found, stream = array, current()
        if not isinstance(data, Array) and stream is not DEFAULT and array.ndim:
            found = np.zeros_like(array)
            stream.copy(lambda: np.copyto(found, array))
        return self.pool.adopt(found.view(Array))

    def get_default_memory_pool(self) -> Pool:
        return self.pool


cupy = Cupy("cupy")
cupy.cuda = SimpleNamespace(
    is_available=lambda: True,
    Device=Device,
    Stream=Stream,
    Event=Event,
    get_current_stream=current,
    alloc_pinned_memory=alloc_pinned_memory,
    set_allocator=lambda allocator: None,
    memory=SimpleNamespace(OutOfMemoryError=OutOfMemoryError),
    driver=SimpleNamespace(CUDADriverError=CudaError),
    nvrtc=SimpleNamespace(getVersion=lambda: (13, 0)),
    runtime=SimpleNamespace(
        CUDARuntimeError=CudaError,
        getDeviceCount=lambda: 2,
        getDeviceProperties=lambda device: {"name": b"a host", "major": 8, "minor": 0},
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
    compat = vars(array_api_compat).get("cupy")
    sys.modules["cupy"] = sys.modules["array_api_compat.cupy"] = array_api_compat.cupy = cupy
    library = CublasLtLibrary()
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("CUPY_CACHE_DIR", str(FOLDER))
            for name in CONVERSIONS:
                patch.setattr(np, name, refusing(getattr(np, name)))
            patch.setattr(cublaslt, "find_cublaslt", lambda major: library)
            patch.setattr(cuda, "library", library, raising=False)
            patch.delitem(loaded, "cupy", raising=False)
            _on_device.cache_clear()
            yield cuda
    finally:
        for name in [name for name in sys.modules if _is_cupys(name)]:
            del sys.modules[name]
        sys.modules.update(before)
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
