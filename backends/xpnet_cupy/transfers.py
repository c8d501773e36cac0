"""Copies between host and device that nobody waits for: in pinned memory, beside the device's work. Imports CuPy."""

import sys
from collections.abc import Callable
from math import prod
from typing import Any

import cupy
import numpy

from xpnet.ops import Array


class Uploads:
    """Arrays of one shape go to the device on a stream of their own: one is read there while the next arrives.

    An array that was sent may be overwritten by the second one after it.
    """

    def __init__(self, stream: Any, shape: tuple[int, ...], dtype: str) -> None:
        self._sent: Any = None  # the event of the last copy
        self.stream = stream
        self._host = pinned(shape, dtype)
        self._places = [cupy.empty(shape, dtype=dtype) for _ in range(2)]
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


def begin_read(array: Array, host: numpy.ndarray) -> Callable[[], numpy.ndarray]:
    """Ask the current stream for a copy in pinned memory; what is returned waits for it and gives it."""
    array.get(out=host, blocking=False)
    copied = cupy.cuda.get_current_stream().record()

    def read() -> numpy.ndarray:
        copied.synchronize()
        return host.copy()

    return read


def pinned(shape: tuple[int, ...], dtype: str) -> numpy.ndarray:
    """Memory of the host that the device can copy to and from by itself."""
    size = prod(shape)
    memory = cupy.cuda.alloc_pinned_memory(size * numpy.dtype(dtype).itemsize)
    return numpy.frombuffer(memory, dtype, size).reshape(shape)
