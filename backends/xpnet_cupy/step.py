"""The compiled training step: a plan for each batch size, which is captured in CUDA graphs from its
second run on.

An epoch sends the addresses of the data and the learning rate to the device, then launches all
batches without waiting. While the device works, the next order is drawn and uploaded; then the
epoch waits once, for the losses. Everything that changes from batch to batch (first row, number of
the update, losses so far) and from epoch to epoch (addresses of the data) is kept on the device, so
that a CUDA graph serves all of them. All memory is taken and all graphs are captured before the
first batch changes a parameter.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Any, Literal, NamedTuple, TypeVar

import numpy

from xpnet.backend import (
    Backend,
    BatchPart,
    NetworkSpec,
    Parameters,
    PrefetchedOrders,
    StepState,
    WeightedEpochs,
)
from xpnet.errors import InputError, MixedArraysError
from xpnet.ops import Array
from xpnet_cupy import cuda
from xpnet_cupy.launcher import Launcher
from xpnet_cupy.memory import EpochData, EpochMemory, EpochSums, NetworkMemory, as_read
from xpnet_cupy.plan import Shape, batches_of, block_rows, weight_kind
from xpnet_cupy.runs import BATCHES_PER_GRAPH, Call, Runs

NEXT_UPDATES = 2
"""Index in the clock of the number of updates made."""

MAX_ORDERED_ROWS = 2**31
"""Maximum number of rows that an order numbers, in 32 bits."""

T = TypeVar("T")


class PrefetchedOrder(NamedTuple):
    """An order of rows that was uploaded before the epoch that reads it.

    order : on the host, as the caller has it; copy : (n,) int32 on the device; arrival : its event
    """

    order: Any
    copy: Array
    arrival: Any


class RequestedWork(NamedTuple):
    """Work that the device was asked for.

    epoch : receives its sums; data : stays alive while the device reads
    """

    epoch: EpochMemory
    data: EpochData

    def sums(self) -> EpochSums:
        """Wait for the device, and return the sums."""
        return self.epoch.read()


class CudaStep(PrefetchedOrders, WeightedEpochs):
    """A training step over preallocated buffers; see :class:`xpnet.backend.Step`.

    launcher : runs the launches, on a GPU or, in the tests, on the host
    on_device : context manager around all work on the device
    """

    def __init__(
        self,
        spec: NetworkSpec,
        backend: Backend,
        launcher: Launcher,
        on_device: Callable[[], AbstractContextManager[Any]],
    ) -> None:
        self.spec, self.launcher, self._on_device = spec, launcher, on_device
        self._prefetched: PrefetchedOrder | None = None
        with self._memory(f"A network of widths {spec.widths}"), launcher.stream():
            network = NetworkMemory(spec, backend, launcher)
            inference = EpochMemory(launcher)
        self._network = network
        self._training_runs = Runs(spec, launcher, network, network)
        self._inference_runs = Runs(spec, launcher, network, inference)
        self.params = network.params

    @property
    def gradients(self) -> Parameters:
        """See :class:`xpnet.backend.Step`."""
        return self._network.gradients

    @property
    def why(self) -> str:
        """See :class:`xpnet.backend.Step`."""
        batches = f"up to {BATCHES_PER_GRAPH} batches a CUDA graph"
        products = self.launcher.about
        return (
            f"the compiled CuPy step: {batches}, {products}; predictions and losses in CUDA graphs"
        )

    def epoch(self, X: Array, Y: Array, **options: Any) -> float:
        """See :class:`xpnet.backend.Step`."""
        return self._epoch(X, Y, {}, **options)

    def weighted_epoch(
        self, X: Array, Y: Array, *, max_grad_norm: float | None = None, **options: Any
    ) -> float:
        """See :class:`xpnet.backend.Step`. The weights of batches and the norms of gradients stay
        on the device.
        """
        clipped = {} if max_grad_norm is None else {"max_norm": max_grad_norm}
        return self._epoch(X, Y, {"is_row_mean": True, **clipped}, **options)

    def forward(self, X: Array) -> Array:
        """See :class:`xpnet.backend.Step`. A lane computes the outputs, which belong to the
        caller's stream.
        """
        rows, width, dtype = X.shape[0], self.spec.widths[-1], self.spec.dtype
        block = block_rows(self.spec, rows)
        with self._memory(f"A prediction of {rows} rows"):
            out = self._free_and_retry(lambda: self.launcher.xp.empty((rows, width), dtype=dtype))
            if rows:
                with self.launcher.stream():
                    batches = batches_of(rows, Shape(block, False, "prediction"))
                    self._request(
                        partial(self._read, X), batches, {"out": out}, infers=True, finish=False
                    )
            return out

    def loss(
        self, X: Array, Y: Array, *, sample_weight: Array | None = None, rows: Any = None
    ) -> float:
        """See :class:`xpnet.backend.Step`."""
        self.penalty, count = 0.0, X.shape[0] if rows is None else len(rows)
        if not count:
            return 0.0
        block = block_rows(self.spec, count)
        with self._memory(f"The loss of {count} rows"), self.launcher.stream():
            batches = batches_of(
                count, Shape(block, Y.ndim == 1, "loss", weight_kind(sample_weight))
            )
            read = partial(self._read, X, Y, sample_weight, rows)
            sums = self._request(read, batches, {}, infers=True).sums()
            weight = count if sample_weight is None else sums.weight
            return self._mean(sums, weight, self.spec.l2_for(weight)) if weight else 0.0

    def gradient(
        self,
        X: Array,
        Y: Array,
        *,
        sample_weight: Array | None = None,
        rows: Any = None,
        part: BatchPart | None = None,
    ) -> float:
        """See :class:`xpnet.backend.Step`."""
        count = X.shape[0] if rows is None else len(rows)
        if not count:  # a row of index -1 has no gradient: only the penalty is left
            rows, count = numpy.array([-1]), 1
            part = BatchPart(0.0) if part is None else replace(part, places=None)
        weight = weight_kind(sample_weight)
        arguments: dict[str, Any] = {}
        if part is not None:
            weight = "given"
            arguments = {"total_weight": part.total_weight, "first_row": part.first_row}
        penalized = part is None or part.penalized
        with self._memory(f"A gradient over {count} rows"), self.launcher.stream():
            shape = Shape(count, Y.ndim == 1, "gradients", weight, penalized)
            read = partial(self._read, X, Y, sample_weight, rows, part and part.places)
            sums = self._request(read, [(shape, 1)], arguments).sums()
        batch_weight = sums.weight if weight == "summed" else arguments.get("total_weight", count)
        return self._mean(sums, batch_weight, self.spec.l2_for(batch_weight))

    def update(self, *, learning_rate: float) -> None:
        """See :class:`xpnet.backend.Step`."""
        with self._memory("An update"), self.launcher.stream():
            update = [(Shape(0, False, "update"), 1)]
            arguments = {"learning_rate": learning_rate}
            self._request(lambda: EpochData(None), update, arguments, finish=False)

    def state(self) -> StepState:
        """See :class:`xpnet.backend.Step`."""
        network = self._network
        with self._on_device():
            self._follow_lane()
            # Before the first update they are zero.
            used = network.buffers if network.trains else {}
            buffers = {name: network.values_of(arrays) for name, arrays in used.items()}
            params = network.values_of(network.params)
            return StepState(params, buffers, int(network.clock[NEXT_UPDATES]))

    def load_state(self, state: StepState) -> None:
        """See :class:`xpnet.backend.Step`."""
        network = self._network
        with self._memory("The state of a training"), self.launcher.stream():
            takes_buffers = network.trains or state.buffers
            buffers = self._free_and_retry(lambda: network.buffers) if takes_buffers else {}
            network.clock[NEXT_UPDATES] = state.t
            network.load_values(network.params, state.params)
            for name, arrays in buffers.items():
                if name in state.buffers:
                    network.load_values(arrays, state.buffers[name])
                else:
                    arrays.groups[0][...] = 0

    def snapshot(self) -> Callable[[], None]:
        """See :class:`xpnet.backend.Step`. The device makes the copies in its own memory while the
        host goes on.
        """
        network = self._network

        def copied() -> list[tuple[Array, Array]]:
            """Return each array of the state with a copy."""
            kept = [network.clock, *(p.flat for p in (network.params, *network.buffers.values()))]
            return [(array, array.copy()) for array in kept]

        with self._memory("The state before an epoch"), self.launcher.stream():
            copies = self._free_and_retry(copied)

        def restore() -> None:
            """Put the copies back."""
            with self._on_device(), self.launcher.stream():
                for array, copy in copies:
                    array[...] = copy

        return restore

    def _epoch(
        self,
        X: Array,
        Y: Array,
        arguments: dict[str, Any],
        *,
        learning_rate: float,
        batch_size: int,
        order: Any = None,
        sample_weight: Array | None = None,
    ) -> float:
        """An epoch over all rows; arguments : of ``EpochMemory.set_arguments``, except for the
        learning rate
        """
        self.penalty, rows = 0.0, X.shape[0]
        draw, self.prefetch_order = self.prefetch_order, None
        if not rows:
            return 0.0
        size = min(batch_size, rows)
        with self._memory(f"Training on batches of {size} rows"):
            kind: Literal["clipped", "training"] = (
                "clipped" if "max_norm" in arguments else "training"
            )
            shape = Shape(size, Y.ndim == 1, kind, weight_kind(sample_weight))
            arguments["learning_rate"] = learning_rate
            read = partial(self._read, X, Y, sample_weight, order)
            with self.launcher.stream():
                requested = self._request(read, batches_of(rows, shape), arguments)
            if draw is not None:
                self._send(draw)
            sums = requested.sums()
            is_row_mean = sample_weight is None or "is_row_mean" in arguments
            weight = rows if is_row_mean else sums.weight
            return self._mean(sums, weight, self.spec.l2 / weight) if weight else 0.0

    def _request(
        self,
        read: Callable[[], EpochData],
        batches: list[tuple[Shape, int]],
        arguments: dict[str, Any],
        *,
        infers: bool = False,
        finish: bool = True,
    ) -> RequestedWork:
        """Ask the device for batches, on the open lane, without waiting for it.

        read : returns the data
        batches : their shapes, the largest first, each with its number of batches
        arguments : of :meth:`xpnet_cupy.memory.EpochMemory.set_arguments`
        infers : whether this is a prediction or a loss, which has its own clock and memory
        finish : whether the sums are sent to the host
        """

        def prepare() -> tuple[Runs, EpochData, list[Call]]:
            """Take all memory and capture all graphs, before anything changes."""
            runs = self._inference_runs if infers else self._training_runs
            runs.reserve(batches[0][0].rows)
            data = read()
            runs.epoch.set_arguments(data, **arguments)
            return runs, data, runs.prepare(batches, finish=finish)

        runs, data, calls = self._free_and_retry(prepare)
        runs.run(calls)
        return RequestedWork(runs.epoch, data)

    def _read(
        self,
        X: Array,
        Y: Array | None = None,
        sample_weight: Array | None = None,
        order: Any = None,
        positions: Any = None,
    ) -> EpochData:
        """The data as kernels read them. positions : on the host, or None; see
        `~xpnet_cupy.memory.EpochData`
        """
        launcher, dtype, xp = self.launcher, self.spec.dtype, self.launcher.xp
        own = self.backend.device(self.params.flat)
        for array in (X, Y, sample_weight):
            if array is not None and (device := self.backend.device(array)) != own:
                raise MixedArraysError(
                    f"All arrays of one call must live on one device; the parameters are on "
                    f"{own}, got an array on {device}. Move it, or build the model from "
                    "arrays of that device."
                )
        if order is not None and X.shape[0] > MAX_ORDERED_ROWS:
            raise InputError(
                f"Rows in an order must be of at most {MAX_ORDERED_ROWS} rows; got "
                f"{X.shape[0]} rows. Pass fewer rows at once."
            )
        drops = positions is not None and any(self.spec.dropout)  # only dropout reads positions
        return EpochData(
            as_read(launcher, X, dtype),
            None if Y is None else as_read(launcher, Y, "int64" if Y.ndim == 1 else dtype),
            None if sample_weight is None else as_read(launcher, sample_weight, dtype),
            None if order is None else self._order(order),
            xp.asarray(positions.astype("int32")) if drops else None,
        )

    def _follow_lane(self) -> None:
        """Have the caller's stream wait for the work that any stream has asked the lane for."""
        with self.launcher.stream():
            pass

    def _order(self, order: Any) -> Array:
        """An order as kernels read it: (n,) int32."""
        prefetched = self._prefetched
        if prefetched is not None and prefetched.order is order:
            prefetched.arrival.synchronize()  # uploaded during the epoch before
            return prefetched.copy
        return self.launcher.xp.asarray(numpy.asarray(order, dtype=numpy.int32))

    def _send(self, draw: Callable[[], Any]) -> None:
        """Draw the next order and upload it, after all work of the epoch has been launched. Without
        memory for it now, the next epoch uploads it.
        """
        order = draw()
        self._prefetched = None
        with suppress(MemoryError):
            copy, arrival = self.launcher.upload(numpy.asarray(order, dtype=numpy.int32))
            self._prefetched = PrefetchedOrder(order, copy, arrival)

    def _mean(self, sums: EpochSums, weight: float, l2: float) -> float:
        """Return the mean loss, penalty included, and set ``penalty``.

        weight : the losses are divided by it; where it is 0, they are 0
        l2 : strength of the penalty of the squares
        """
        self.penalty = l2 / 2 * sums.squares
        if sums.broken:
            return float("nan")
        return (sums.loss / weight if weight else 0.0) + self.penalty

    def _free_and_retry(self, action: Callable[[], T]) -> T:
        """Run an action; if memory runs out, free buffers and CUDA graphs and run it once more."""
        return cuda.retried(action, self._make_room)

    def _make_room(self) -> None:
        """Free what can be made again, and give the free memory of CuPy's pool back."""
        self._training_runs.free()
        self._inference_runs.free()
        self.launcher.release_memory()

    @contextmanager
    def _memory(self, what: str) -> Iterator[None]:
        """Enter the device of the step; an error says what does not fit into its memory."""
        with self._on_device(), cuda.fitting(what, "a smaller batch_size"):
            yield
