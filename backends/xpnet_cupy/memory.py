"""The arrays that an epoch reads, and the buffers of a step.

Buffers are allocated once for the network, and once for the largest batch so far.

A captured graph replays addresses, so a buffer stays where it is as long as a plan refers to it.
"""

from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from math import prod
from typing import Any, NamedTuple

import numpy

from xpnet.backend import Backend, NetworkSpec, Parameters
from xpnet.ops import ACTIVATIONS, Array
from xpnet_cupy.cublaslt import mask_stride
from xpnet_cupy.launcher import UPDATE_BLOCKS, Launcher

ALIGNMENT = 256
"""Bytes that divide the address of each parameter: what cuBLASLt's fastest kernels ask for."""

RATES = 10
"""Number of items of ``rates``, as in kernels.cu."""

ADDRESSES = 8
"""Number of items of ``data``, as in kernels.cu."""


class EpochData(NamedTuple):
    """The arrays that an epoch reads.

    x : (rows, in); labels : (rows,) class indices, or (rows, out); weight : (rows,) or None
    order : (n,) int32 row indices, -1 for a row that this rank does not have, or (members, n) where
        each member has an order of its own; None for all rows in order
    positions : (n,) int32, the index of each row in the whole batch; None where the rows follow one
        another
    """

    x: Array | None
    labels: Array | None = None
    weight: Array | None = None
    order: Array | None = None
    positions: Array | None = None


class EpochSums(NamedTuple):
    """The sums of an epoch, which the device adds up.

    loss : sum of the losses of all rows, times their weights
    squares : sum of the squared weights of the network, of each batch times its weight; of a single
        batch without update the sum alone
    weight : sum of the weights of all rows that were summed
    broken : 1 where a parameter is not finite, else 0
    """

    loss: float
    squares: float
    weight: float
    broken: float


def as_read(launcher: Launcher, array: Array, dtype: str) -> Array:
    """The array as kernels read it: itself, or a C-contiguous copy of this dtype."""
    return launcher.xp.ascontiguousarray(array).astype(dtype, copy=False)


class EpochMemory:
    """The state of an epoch on the device: its arguments, clock and sums.

    clock : (5,) int64: updates made and first row of the batch, now and for the next batch; first
        row of a part
    rates : (10,) float64: learning rate, what follows from it and the number of the update, what
        losses and gradients are scaled by, the weight of all batches so far, whether a parameter is
        not finite
    data : (8,) int64: addresses of the epoch's inputs, labels, weights, order, positions and
        outputs; whether a batch counts by its rows; from the order of a member to the next one's
    total_weight : (1,), the weight of a batch
    squares, norms : (blocks,) float64: parts of the sum of squared weights, and of squared
        gradients
    arguments, results : in pinned memory of the host: `begin` reads the arguments, `finish` writes
        the results
    """

    def __init__(self, launcher: Launcher) -> None:
        xp = launcher.xp
        self._launcher = launcher
        self.clock = xp.zeros(5, dtype=xp.int64)
        self.rates = xp.zeros(RATES, dtype=xp.float64)
        self.data = xp.zeros(ADDRESSES, dtype=xp.int64)
        self.total_weight = xp.zeros(1, dtype=launcher.dtype)
        self.squares = xp.zeros(UPDATE_BLOCKS, dtype=xp.float64)
        self.norms = xp.zeros(UPDATE_BLOCKS, dtype=xp.float64)
        self.arguments = launcher.pinned(ADDRESSES + 4, "int64")
        self.results = launcher.pinned(4, "float64")
        self._requested: Any = None  # marks the last work that was requested

    def __del__(self) -> None:
        """Wait until the arguments have been read: their memory's next owner writes there at once,
        and CuPy does not know that a kernel has the address.
        """
        if getattr(self, "_requested", None) is not None:
            with suppress(RuntimeError):  # a device that has failed reads nothing any more
                self._requested.synchronize()

    def set_arguments(
        self,
        data: EpochData,
        *,
        out: Array | None = None,
        is_row_mean: bool = False,
        learning_rate: float = 0.0,
        max_norm: float = 0.0,
        total_weight: float = 0.0,
        first_row: int = 0,
    ) -> None:
        """Set what the next `begin` reads: addresses and numbers. Waits until the epoch before has
        read its own.
        """
        if self._requested is not None:
            self._requested.synchronize()
        arrays = [0 if array is None else self._launcher.address(array) for array in (*data, out)]
        order = data.order
        order_step = 0 if order is None or order.ndim == 1 else order.shape[1]
        self.arguments[:ADDRESSES] = [*arrays, is_row_mean, order_step]
        self.arguments[ADDRESSES:].view("float64")[:] = (
            learning_rate,
            max_norm,
            total_weight,
            first_row,
        )

    def mark_requested(self) -> None:
        """Mark that the device has been asked for all work with these arguments."""
        self._requested = self._launcher.mark()

    def read(self) -> EpochSums:
        """Wait for the device, and return its sums."""
        self._requested.synchronize()
        return EpochSums(*self.results.tolist())


class NetworkMemory(EpochMemory):
    """Holds what lives as long as the step. Gradients and the optimizer's buffers are taken when
    they are first needed.

    params, gradients, buffers : one flat buffer each, every parameter aligned to 256 bytes,
        ``align`` items
    bounds : (layers, 2) int64: where weights lie
    """

    def __init__(self, spec: NetworkSpec, backend: Backend, launcher: Launcher) -> None:
        super().__init__(launcher)
        xp, self.align = launcher.xp, ALIGNMENT // numpy.dtype(spec.dtype).itemsize
        self._spec, self._backend, self._launcher = spec, backend, launcher
        self.params = self._zeros()
        weights = [slot for slot in spec.slots(self.align) if slot.name in spec.weight_names]
        self.bounds = xp.asarray(
            [[w.offset, w.offset + prod(w.shape)] for w in weights], dtype=xp.int64
        )

    @cached_property
    def gradients(self) -> Parameters:
        """Return the arrays that a backward pass fills in."""
        return self._zeros()

    @cached_property
    def buffers(self) -> dict[str, Parameters]:
        """The optimizer's arrays, by name."""
        return {name: self._zeros() for name in self._spec.rule.buffers}

    def values_of(self, parameters: Parameters) -> dict[str, numpy.ndarray]:
        """Return copies of some of its arrays on the host, by name, by one read of the device."""
        host = self._backend.to_numpy(parameters.groups[0])
        return {name: view.copy() for name, view in self._views(host).items()}

    def load_values(self, parameters: Parameters, values: Mapping[str, Any]) -> None:
        """Replace some of its arrays by values on the host, by one copy to the device."""
        host = numpy.zeros(parameters.groups[0].shape, self._spec.dtype)
        for name, view in self._views(host).items():
            view[...] = values[name]
        parameters.groups[0][...] = self._backend.asarray(host)

    def _views(self, flat: numpy.ndarray) -> dict[str, numpy.ndarray]:
        """Return the parts of a flat buffer on the host, by the name of the parameter."""
        return {
            slot.name: flat[slot.offset : slot.offset + prod(slot.shape)].reshape(slot.shape)
            for slot in self._spec.slots(self.align)
        }

    @property
    def trains(self) -> bool:
        """Return whether the optimizer's arrays have been taken."""
        return "buffers" in vars(self)

    def _zeros(self) -> Parameters:
        """Return zeros in the layout of the parameters."""
        return Parameters.zeros(self._spec, self._backend, align=self.align)


class BatchMemory:
    """Holds the buffers for up to ``rows`` rows; a smaller batch takes the first rows of each.

    trains : whether rows go back, too; where they do not, None stands for what only that needs

    x : (rows, in), gathered inputs
    outputs : one (rows, width) for each layer
    row_loss : (rows,) float64, each row's losses so far
    d_outputs : one (rows, width) for each layer
    dropped : outputs after dropout, one (rows, width) for each layer that has it, else None
    kept : what activations were given, one (rows, width) for each layer whose activation keeps
        that, else None
    masks : one (rows, bits / 8) uint8 for each ReLU without dropout, else None
    probabilities : (rows, out), where rows do not go back
    """

    def __init__(
        self, spec: NetworkSpec, launcher: Launcher, rows: int, *, trains: bool = True
    ) -> None:
        widths, xp = spec.widths[1:], launcher.xp
        rates = (*(spec.dropout or (0.0,) * len(spec.activations)), 0.0)
        layers = list(zip(widths, (*spec.activations, "identity"), rates, strict=True))
        self.rows, self.trains = rows, trains

        def empty(width: int, needed: bool = trains, dtype: str = spec.dtype) -> Any:
            """Return memory of a width for all rows, or None where it is not needed."""
            return xp.empty((rows, width), dtype=dtype) if needed else None

        self.x = empty(spec.widths[0], True)
        self.outputs = [empty(width, True) for width in widths]
        self.row_loss = xp.empty(rows, dtype=xp.float64)
        self.probabilities = empty(widths[-1], not trains)
        self.d_outputs = [empty(width) for width in widths]
        self.dropped = [empty(width, trains and rate > 0) for width, _, rate in layers]
        self.kept = [
            empty(width, trains and ACTIVATIONS[name].keeps == "x") for width, name, _ in layers
        ]
        self.masks = [
            empty(mask_stride(width) // 8, trains and name == "relu" and not rate, "uint8")
            for width, name, rate in layers
        ]


class MemberMemory:
    """Holds the buffers of members for up to ``rows`` rows of each, one member after the other.

    trains : whether rows go back, too; where they do not, None stands for what only that needs

    x : (members rows, in), the inputs, scaled for each member
    products, outputs : one (members rows, width) for each layer: before and after its activation.
        Where rows do not go back, and of the last layer, both are one array
    inputs_above : the inputs of the next layer, one (members rows, width) for each hidden layer,
        where they are other than the outputs: scaled, or after dropout
    d_outputs : one (members rows, width) for each layer
    d_x : (members rows, in)
    row_loss : (members rows,) float64, each row's losses so far
    probabilities : (members rows, out), where rows do not go back
    """

    def __init__(
        self, spec: NetworkSpec, launcher: Launcher, rows: int, *, trains: bool = True
    ) -> None:
        xp = launcher.xp
        self.rows, self.trains = rows, trains

        def empty(width: int, needed: bool = True) -> Any:
            """Return memory of a width for the rows of all members, or None where it is not
            needed.
            """
            return xp.empty((spec.members * rows, width), dtype=spec.dtype) if needed else None

        hidden = range(len(spec.activations))
        rates = spec.dropout if spec.dropout and trains else (0.0,) * len(hidden)
        self.x = empty(spec.widths[0])
        self.outputs = [empty(width) for width in spec.widths[1:]]
        self.products = [empty(spec.widths[k + 1]) if trains else self.outputs[k] for k in hidden]
        self.products.append(self.outputs[-1])
        self.inputs_above = [
            empty(spec.widths[k + 1], rates[k] > 0 or "scale_in" in spec.layer_names[k + 1])
            for k in hidden
        ]
        self.d_outputs = [empty(width, trains) for width in spec.widths[1:]]
        self.d_x = empty(spec.widths[0], trains)
        self.row_loss = xp.empty(spec.members * rows, dtype=xp.float64)
        self.probabilities = empty(spec.widths[-1], not trains)
