"""The buffers that a training step allocates: once for the network, once for the largest batch so far.

A captured graph replays addresses, so a buffer stays where it is as long as a plan refers to it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from typing import Any

import numpy

from xpnet.backend import Backend, NetworkSpec, Parameters
from xpnet.errors import DeviceMemoryError
from xpnet.ops import Array
from xpnet_cupy.launcher import Launcher
from xpnet_cupy.launches import PENALTY_BLOCKS
from xpnet_cupy.products import mask_stride

ALIGNMENT = 256  # bytes: what cuBLASLt's fastest kernels ask of a matrix


class NetworkMemory:
    """What lives as long as the step.

    params, gradients, buffers : one flat buffer each, every parameter aligned to 256 bytes
    clock : (2,) int32: updates made; first row of the batch in the order of the epoch
    rates : (5,) float64: learning rate, what follows from it and the number of the update, whether a parameter is NaN
    results : (4,) float64: what is read at the end of an epoch
    squares : (blocks,) float64: parts of the sum of squared weights; bounds : (layers, 2) int64: where weights lie
    """

    def __init__(self, spec: NetworkSpec, backend: Backend, launcher: Launcher) -> None:
        xp, align = launcher.xp, ALIGNMENT // itemsize(spec)
        self.params = Parameters.zeros(spec, backend, align=align)
        self.gradients = Parameters.zeros(spec, backend, align=align)
        self.buffers = {name: Parameters.zeros(spec, backend, align=align) for name in spec.rule.buffers}
        self.clock = xp.zeros(2, dtype=xp.int32)
        self.rates = xp.zeros(5, dtype=xp.float64)
        self.results = xp.zeros(4, dtype=xp.float64)
        self.squares = xp.zeros(PENALTY_BLOCKS, dtype=xp.float64)
        weights = [slot for slot in spec.slots(align) if len(slot.shape) == 2]
        self.bounds = xp.asarray([[w.offset, w.offset + prod(w.shape)] for w in weights], dtype=xp.int64)


class BatchMemory:
    """What a batch of up to ``rows`` rows needs; a smaller batch takes the first rows of each.

    x : (rows, in), gathered inputs, or None where batches are read in place
    outputs, d_outputs : one (rows, width) for each layer
    dropped : outputs after dropout, one (rows, width) for each hidden layer that has it, else None
    masks : one (rows, bits / 8) uint8 for each hidden ReLU without dropout, else None
    row_loss : (rows,) float64, each row's losses so far; total_weight : (1,), the sum of a batch's weights
    """

    def __init__(self, spec: NetworkSpec, launcher: Launcher, rows: int, *, gathers: bool) -> None:
        xp, widths = launcher.xp, spec.widths[1:]
        self.rows, self.gathers = rows, gathers
        self.x = xp.empty((rows, spec.widths[0]), dtype=spec.dtype) if gathers else None
        self.outputs = [xp.empty((rows, width), dtype=spec.dtype) for width in widths]
        self.d_outputs = [xp.empty((rows, width), dtype=spec.dtype) for width in widths]
        rates = spec.dropout or (0.0,) * len(spec.activations)
        self.dropped = [
            xp.empty((rows, width), dtype=spec.dtype) if rate else None
            for width, rate in zip(widths[:-1], rates, strict=True)
        ]
        self.masks = [
            xp.empty((rows, mask_stride(width) // 8), dtype=xp.uint8) if activation == "relu" and not rate else None
            for width, activation, rate in zip(widths[:-1], spec.activations, rates, strict=True)
        ]
        self.row_loss = xp.zeros(rows, dtype=xp.float64)
        self.total_weight = xp.zeros(1, dtype=spec.dtype)

    def holds(self, rows: int, *, gathers: bool) -> bool:
        """Whether a batch of ``rows`` rows fits."""
        return rows <= self.rows and (self.gathers or not gathers)


class Staging:
    """Arrays as kernels read them: C-contiguous and of the right dtype.

    What has to be converted lands in the same buffer every time, so that recorded addresses stay true.
    """

    def __init__(self, launcher: Launcher) -> None:
        self._xp = launcher.xp
        self._buffers: dict[tuple[Any, ...], Array] = {}

    def __call__(self, name: str, array: Array, dtype: str) -> Array:
        """The array itself, or its values in the buffer of this name and shape."""
        if array.dtype == dtype and array.flags.c_contiguous:
            return array
        return self._filled(name, array, dtype)

    def upload(self, name: str, host: numpy.ndarray) -> Array:
        """The values of an array on the host, in the buffer of this name and shape."""
        return self._filled(name, self._xp.asarray(host), host.dtype.name)

    def _filled(self, name: str, array: Array, dtype: str) -> Array:
        key = (name, *array.shape)
        if key not in self._buffers:
            self._buffers[key] = self._xp.empty(array.shape, dtype=dtype)
        self._buffers[key][...] = array
        return self._buffers[key]


def network_bytes(spec: NetworkSpec) -> int:
    """What a network needs: parameters, their gradients, and the optimizer's buffers."""
    size = sum(prod(slot.shape) for slot in spec.slots())
    return size * (2 + len(spec.rule.buffers)) * itemsize(spec)


def batch_bytes(spec: NetworkSpec, rows: int) -> int:
    """What a batch of ``rows`` rows needs, in round numbers: its inputs, and outputs and gradients of every layer."""
    return rows * (spec.widths[0] + 2 * sum(spec.widths[1:])) * itemsize(spec)


def itemsize(spec: NetworkSpec) -> int:
    """Bytes of one number."""
    return 8 if spec.dtype == "float64" else 4


@contextmanager
def enough_memory(launcher: Launcher, what: str, needed: int) -> Iterator[None]:
    """Out of memory inside becomes DeviceMemoryError, which names the sizes and the remedy.

    what : what is being done; needed : bytes it allocates, about
    """
    try:
        yield
    except MemoryError as error:
        free, total = launcher.free_memory()
        raise DeviceMemoryError(
            f"{what} needs about {_mebibytes(needed)} beside the data; the device has {_mebibytes(free)} free of "
            f"{_mebibytes(total)} ({error}). Use a smaller batch_size or float32, or delete arrays and call "
            "cupy.get_default_memory_pool().free_all_blocks()."
        ) from error


def _mebibytes(count: Any) -> str:
    return f"{count / 2**20:,.1f} MiB"
