"""Devices, streams, events and graphs of the stand-in for CuPy.

Work is done as late as it may: what a stream is asked for waits in its queue until somebody waits
for the stream, or for an event that comes after it. So whatever reads without waiting, or writes
where something is still to be read, gets other numbers than the tests expect.
"""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, Self
from weakref import WeakSet

ENGINE = threading.RLock()
"""Held while queues run: what two threads wait for at the same time is done once, in order."""

COUNT = 2
"""Number of devices."""


class CudaError(RuntimeError):
    """cupy.cuda.driver.CUDADriverError and cupy.cuda.runtime.CUDARuntimeError."""

    def __init__(self, status: int) -> None:
        super().__init__(MESSAGES.get(status, f"status {status}"))
        self.status = status


MESSAGES = {
    2: "CUDA_ERROR_OUT_OF_MEMORY: out of memory",
    3: "cudaErrorInitializationError: initialization error",
    700: "cudaErrorIllegalAddress: an illegal memory access was encountered",
    900: "cudaErrorStreamCaptureUnsupported: operation not permitted when stream is capturing",
    901: "operation failed due to a previous error during capture",
    906: "cudaErrorStreamCaptureImplicit: operation would make the legacy stream depend on a "
    "capturing blocking stream",
}
"""What CUDA says of a status."""


class Failing:
    """What a test lets fail.

    load, instantiate, upload : statuses that loading a kernel, making a graph and its upload end
        with; 0 for success
    calls : how many calls the card answers until the context of the process is lost, as by a kernel
        that reads what is not there; negative for a card that answers all
    """

    load = instantiate = upload = 0
    calls = int(os.environ.get("CUPY_ON_HOST_CALLS", "-1"))


@contextmanager
def failing(**statuses: int) -> Iterator[None]:
    """Let what `Failing` names end with these statuses."""
    for name, status in statuses.items():
        setattr(Failing, name, status)
    try:
        yield
    finally:
        for name in statuses:
            setattr(Failing, name, 0)


_user: dict[str, int] = {}
"""The number of the process that first called CUDA."""


def count_devices() -> int:
    """cupy.cuda.runtime.getDeviceCount: as each call of CUDA, it fails in a process that was forked
    from one that has called CUDA.
    """
    if _user.setdefault("process", os.getpid()) != os.getpid():
        raise CudaError(3)
    return COUNT


def answer() -> None:
    """Count a call; once the context is lost, each one fails."""
    count_devices()
    if Failing.calls == 0:
        raise CudaError(700)
    Failing.calls -= 1


class Device:
    """cupy.cuda.Device; without a number the one that is current in this thread."""

    def __init__(self, number: "int | Device | None" = None) -> None:
        self.id = _devices()[-1] if number is None else int(number)
        assert 0 <= self.id < COUNT, "cudaErrorInvalidDevice: invalid device ordinal"

    def __enter__(self) -> Self:
        _devices().append(self.id)
        return self

    def __exit__(self, *exception: object) -> None:
        _devices().pop()

    def __int__(self) -> int:
        return self.id

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Device) and other.id == self.id

    def __hash__(self) -> int:
        return self.id

    def __repr__(self) -> str:
        return f"<CUDA Device {self.id}>"

    def synchronize(self) -> None:
        """Wait for all streams. A capture on the device, of any thread, is an error of this call,
        and invalid from then on.
        """
        answer()
        streams = [stream for stream in list(Stream.living) if stream.device == self.id]
        captured = [stream for stream in streams if stream.capture is not None]
        for stream in captured:
            stream.is_invalid = True
        if captured:
            raise CudaError(900)
        self.finish()

    def finish(self) -> None:
        """Do what the streams were asked for, captures or not: what a call waits for by itself."""
        for stream in list(Stream.living):
            if stream.device == self.id:
                stream.run_until(stream.asked)


class Graph:
    """cupy.cuda.Graph: the calls that were captured, one after the other."""

    made = launched = 0  # how many there have been, and how often one was launched

    def __init__(self, calls: list[Callable[[], object]]) -> None:
        Graph.made += 1
        self.calls = calls

    def upload(self, stream: Any = None) -> None:
        if Failing.upload:
            raise CudaError(Failing.upload)

    def launch(self, stream: Any = None) -> None:
        Graph.launched += 1
        (stream or current()).ask(self._run)

    def _run(self) -> None:
        for call in self.calls:
            call()


class Stream:
    """cupy.cuda.Stream: a queue of what it is asked for, or a capture of it."""

    made = 0  # how many there have been
    living: ClassVar[WeakSet["Stream"]] = WeakSet()

    def __init__(self, non_blocking: bool = False) -> None:
        Stream.made += 1
        Stream.living.add(self)
        self.device = Device().id
        self.non_blocking, self.ptr = non_blocking, id(self)
        self.capture: list[Callable[[], object]] | None = None  # the calls so far
        self.is_invalid = False  # the capture
        self._queue: deque[Callable[[], object]] = deque()
        self.asked = self.done_calls = 0

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

    def record(self) -> "Event":
        event = Event()
        event.record(self)
        return event

    def wait_event(self, event: "Event") -> None:
        assert self.capture is None and not event.captured, "a capture waits for no other stream"
        self._enqueue(event.wait)

    def synchronize(self) -> None:
        answer()
        assert self.capture is None, "synchronised while capturing"
        self.run_until(self.asked)

    def is_capturing(self) -> bool:
        """The default stream waits for streams that are not non-blocking, so while one of them is
        captured it cannot be used.
        """
        waited_for = [one for one in list(Stream.living) if not one.non_blocking]
        if self is default_stream() and any(
            one.capture is not None and one.device == self.device for one in waited_for
        ):
            raise CudaError(906)
        return self.capture is not None

    def begin_capture(self) -> None:
        assert self is not default_stream(), "the default stream cannot be captured"
        assert self.capture is None, "a capture in a capture"
        self.capture, self.is_invalid = [], False

    def end_capture(self) -> Graph:
        calls, self.capture = self.capture, None
        assert calls is not None, "no capture was begun"
        if self.is_invalid:
            raise CudaError(901)
        if Failing.instantiate:
            raise CudaError(Failing.instantiate)
        return Graph(calls)

    def ask(self, call: Callable[[], object]) -> None:
        """Put it into the queue, or into the graph."""
        assert self.device == Device().id, "a stream of another device"
        if self.capture is None:
            self._enqueue(call)
        elif self.is_invalid:
            raise CudaError(901)
        else:
            self.capture.append(call)

    def ask_outside(self, what: str, call: Callable[[], object]) -> None:
        """Put into the queue what no capture takes."""
        assert self.capture is None, f"{what} in a capture"
        self.ask(call)

    def run_until(self, count: int) -> None:
        """Do what is left of the first calls."""
        with ENGINE:
            while self.done_calls < count:
                self.done_calls += 1
                self._queue.popleft()()

    def _enqueue(self, call: Callable[[], object]) -> None:
        answer()
        with ENGINE:
            self._queue.append(call)
            self.asked += 1


class Event:
    """cupy.cuda.Event."""

    def record(self, stream: Stream | None = None) -> None:
        self.stream = stream or current()
        self.captured = self.stream.capture is not None
        self._count = self.stream.asked

    def synchronize(self) -> None:
        """A relaxed capture, which is CuPy's, lets a thread wait for an event outside of it: a step
        may be collected then.
        """
        assert not self.captured, "an event of a capture was waited for"
        self.wait()

    def wait(self) -> None:
        """What was asked for before is done."""
        self.stream.run_until(self._count)

    def calls_since(self, start: "Event") -> int:
        """What the stream was asked for between two events."""
        return self._count - start._count


_thread = threading.local()
_default_streams: dict[int, Stream] = {}


def default_stream() -> Stream:
    """The default stream of the current device."""
    device = Device().id
    if device not in _default_streams:
        _default_streams[device] = Stream()
    return _default_streams[device]


def _devices() -> list[int]:
    """The numbers of the devices that this thread has entered, device 0 first."""
    return vars(_thread).setdefault("devices", [0])


def entered() -> list[Stream]:
    """The streams that this thread has entered on the current device, the default one first."""
    return vars(_thread).setdefault(f"entered on {_devices()[-1]}", [default_stream()])


def current() -> Stream:
    """cupy.cuda.get_current_stream: each device has its own."""
    return vars(_thread).setdefault(f"current on {_devices()[-1]}", default_stream())


def make_current(stream: Stream) -> None:
    """Make a stream current on the current device."""
    vars(_thread)[f"current on {_devices()[-1]}"] = stream
