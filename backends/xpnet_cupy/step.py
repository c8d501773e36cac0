"""The compiled training step: a plan for each batch size, recorded when it comes again and replayed for an epoch.

An epoch tells the device where the data lie and what the learning rate is, then asks for batch after batch without
waiting. While the device works, the next order is drawn and sent there; then the epoch waits once, for the losses. What
changes from batch to batch (first row, number of the update, losses so far) and from epoch to epoch (where the data
lie) is kept on the device, so that a recorded graph serves both. All memory is taken and all is recorded before the
first batch changes a parameter.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, Literal, TypeVar

import numpy

from xpnet.backend import Backend, BatchPart, NetworkSpec, Parameters, Step, StepState
from xpnet.errors import MixedArraysError
from xpnet.ops import Array
from xpnet_cupy import cuda
from xpnet_cupy.cublaslt import Launch
from xpnet_cupy.launcher import Launcher
from xpnet_cupy.memory import Data, EpochMemory, NetworkMemory, as_read
from xpnet_cupy.plan import AT_ONCE, Runs, Shape, batches_of, block_rows, counted

NEXT_UPDATES = 2  # where the clock has the number of updates made

T = TypeVar("T")


class CompiledStep(Step):
    """A training step over preallocated buffers; see :class:`xpnet.backend.Step`.

    launcher : runs the launches, on a GPU or, in the tests, on the host
    on_device : opened around all that touches the device
    """

    prefetches_orders = True

    def __init__(
        self,
        spec: NetworkSpec,
        backend: Backend,
        launcher: Launcher,
        on_device: Callable[[], AbstractContextManager[Any]],
    ) -> None:
        self.spec, self.launcher, self._on_device = spec, launcher, on_device
        self._sent: tuple[Any, Array, Any] | None = (
            None  # an order on the host, its copy, and what marks its arrival
        )
        with self._memory(f"A network of widths {spec.widths}"):
            self._network = NetworkMemory(spec, backend, launcher)
        self.params = self._network.params
        self._room = self._training()
        self._of_lanes: dict[
            Any, Runs
        ] = {}  # threads that predict at the same time have lanes of their own

    @property
    def gradients(self) -> Parameters:
        """See :class:`xpnet.backend.Step`."""
        return self._network.gradients

    @property
    def why(self) -> str:
        """See :class:`xpnet.backend.Step`."""
        how = f"up to {AT_ONCE} batches a CUDA graph, {self.launcher.of_batches.about}"
        return f"the compiled CuPy step: {how}; predictions and losses recorded"

    def epoch(self, X: Array, Y: Array, **options: Any) -> float:
        """See :class:`xpnet.backend.Step`."""
        return self._epoch(X, Y, {}, **options)

    def weighted_epoch(
        self, X: Array, Y: Array, *, max_grad_norm: float | None = None, **options: Any
    ) -> float:
        """See :class:`xpnet.backend.Step`. The weights of batches and the norms of gradients stay on the device."""
        clipped = {} if max_grad_norm is None else {"max_norm": max_grad_norm}
        return self._epoch(X, Y, {"by_rows": True, **clipped}, **options)

    def forward(self, X: Array) -> Array:
        """See :class:`xpnet.backend.Step`. A lane computes the outputs, which belong to the caller's stream."""
        rows, width, dtype = X.shape[0], self.spec.widths[-1], self.spec.dtype
        block = block_rows(self.spec, rows)
        with self._memory(f"A prediction of {rows} rows"):
            out = self._with_room(lambda: self.launcher.xp.empty((rows, width), dtype=dtype))
            if rows:
                with self.launcher.stream() as lane:
                    batches = batches_of(rows, Shape(block, False, "prediction"))
                    self._run(
                        partial(self._read, X), batches, {"out": out}, lane=lane, finish=False
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
        with self._memory(f"The loss of {count} rows"), self.launcher.stream() as lane:
            batches = batches_of(count, Shape(block, Y.ndim == 1, "loss", counted(sample_weight)))
            read = partial(self._read, X, Y, sample_weight, rows)
            results = self._run(read, batches, {}, lane=lane)
            return self._mean(
                results, count if sample_weight is None else None, shared=self.spec.l2_over_batch
            )

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
        if (
            not count
        ):  # a row that is not there leaves the penalty's gradient alone, where that is added here
            rows, count = numpy.array([-1]), 1
            part = BatchPart(0.0, penalized=False) if part is None else replace(part, places=None)
        whole, weight = None if sample_weight is not None else count, counted(sample_weight)
        told: dict[str, Any] = {}
        if part is not None:
            whole, weight = part.total_weight, "given"
            told = {"total_weight": part.total_weight, "first_row": part.first_row}
        penalized = part is None or part.penalized
        with self._memory(f"A gradient over {count} rows"), self.launcher.stream() as lane:
            shape = Shape(count, Y.ndim == 1, "gradients", weight, penalized, lane=lane)
            read = partial(self._read, X, Y, sample_weight, rows, part and part.places)
            return self._mean(self._run(read, [(shape, 1)], told), whole)

    def update(self, *, learning_rate: float) -> None:
        """See :class:`xpnet.backend.Step`."""
        with self._memory("An update"), self.launcher.stream():
            told, alone = {"learning_rate": learning_rate}, [(Shape(0, False, "update"), 1)]
            self._run(lambda: Data(None), alone, told, finish=False)

    def state(self) -> StepState:
        """See :class:`xpnet.backend.Step`."""
        network = self._network
        with self._on_device():
            used = (
                network.buffers if network.trains else {}
            )  # before the first update they are zero
            buffers = {name: arrays.to_host() for name, arrays in used.items()}
            return StepState(network.params.to_host(), buffers, int(network.clock[NEXT_UPDATES]))

    def load_state(self, state: StepState) -> None:
        """See :class:`xpnet.backend.Step`."""
        network = self._network
        with self._on_device():
            network.clock[NEXT_UPDATES] = state.t
            network.params.update(state.params)
            buffers = network.buffers if network.trains or state.buffers else {}
            for name, arrays in buffers.items():
                arrays.update(
                    state.buffers.get(name) or {n: numpy.zeros(a.shape) for n, a in arrays.items()}
                )

    def snapshot(self) -> Callable[[], None]:
        """See :class:`xpnet.backend.Step`. The copies lie on the device, which makes them beside the host's work."""
        network = self._network

        def copied() -> list[tuple[Array, Array]]:
            kept = [network.clock, *(p.flat for p in (network.params, *network.buffers.values()))]
            return [(array, array.copy()) for array in kept]

        with self._memory("The state before an epoch"), self.launcher.stream():
            copies = self._with_room(copied)

        def restore() -> None:
            with self._on_device(), self.launcher.stream():
                for array, copy in copies:
                    array[...] = copy

        return restore

    def _epoch(
        self,
        X: Array,
        Y: Array,
        told: dict[str, Any],
        *,
        learning_rate: float,
        batch_size: int,
        order: Any = None,
        sample_weight: Array | None = None,
    ) -> float:
        """An epoch over all rows; told : beside the learning rate, as for ``EpochMemory.tell``"""
        self.penalty, rows = 0.0, X.shape[0]
        draw, self.prefetch_order = self.prefetch_order, None
        if not rows:
            return 0.0
        size = min(batch_size, rows)
        with self._memory(f"Training on batches of {size} rows"), self.launcher.stream() as lane:
            kind: Literal["clipped", "training"] = "clipped" if "max_norm" in told else "training"
            shape = Shape(size, Y.ndim == 1, kind, counted(sample_weight), lane=lane)
            beside = None if draw is None else partial(self._send, draw)
            told["learning_rate"] = learning_rate
            read = partial(self._read, X, Y, sample_weight, order)
            results = self._run(read, batches_of(rows, shape), told, beside=beside)
            return self._mean(results, rows if sample_weight is None or "by_rows" in told else None)

    def _run(
        self,
        read: Callable[[], Data],
        batches: list[tuple[Shape, int]],
        told: dict[str, Any],
        *,
        lane: Any = None,
        beside: Launch | None = None,
        finish: bool = True,
    ) -> Any:
        """Run batches on the open lane; returns their sums, as :meth:`xpnet_cupy.memory.EpochMemory.read` does.

        read : gives the data; batches : their shapes, the largest first, each with how often it comes
        told : as for :meth:`xpnet_cupy.memory.EpochMemory.tell`
        lane : whose clock and memory are used where a training stays as it is; None for those of the training
        beside : called when the device has all that it is to do
        finish : whether the device is waited for, and its sums are returned
        """

        def prepare() -> tuple[Runs, Data, list[tuple[Launch, int]]]:
            runs = self._room if lane is None else self._inference(lane)
            runs.make_room(batches[0][0].rows)
            data = read()
            runs.epoch.tell(data, **told)
            return runs, data, runs.prepare(batches, finish=finish)

        runs, _held, calls = self._with_room(prepare)  # held until the device has read it
        runs.run(calls)
        if beside is not None:
            beside()
        return runs.epoch.read() if finish else None

    def _training(self) -> Runs:
        """What trains, without any memory yet."""
        return Runs(self.spec, self.launcher.of_batches, self._network, self._network)

    def _inference(self, lane: Any) -> Runs:
        """What predicts on a lane."""
        if lane not in self._of_lanes:
            self._of_lanes[lane] = Runs(
                self.spec, self.launcher, self._network, EpochMemory(self.launcher)
            )
        return self._of_lanes[lane]

    def _read(
        self,
        X: Array,
        Y: Array | None = None,
        sample_weight: Array | None = None,
        order: Any = None,
        places: Any = None,
    ) -> Data:
        """The data as kernels read them. places : on the host, or None; see :class:`~xpnet_cupy.memory.Data`"""
        launcher, dtype, xp = self.launcher, self.spec.dtype, self.launcher.xp
        own = self.backend.device(self.params.flat)
        for array in (X, Y, sample_weight):
            if array is not None and (found := self.backend.device(array)) != own:
                raise MixedArraysError(
                    f"All arrays of one call must live on one device; the parameters are on {own}, received an array "
                    f"on {found}. Move it, or build the model from arrays of that device."
                )
        placed = places is not None and any(
            self.spec.dropout
        )  # nothing else asks where a row stands
        return Data(
            as_read(launcher, X, dtype),
            None if Y is None else as_read(launcher, Y, "int64" if Y.ndim == 1 else dtype),
            None if sample_weight is None else as_read(launcher, sample_weight, dtype),
            None if order is None else self._order(order),
            xp.asarray(places.astype("int32")) if placed else None,
        )

    def _order(self, order: Any) -> Array:
        """An order as kernels read it: (n,) int32."""
        if self._sent is not None and self._sent[0] is order:
            _, copy, arrival = self._sent
            arrival.synchronize()  # it was sent while the epoch before was under way
            return copy
        return self.launcher.xp.asarray(numpy.asarray(order, dtype=numpy.int32))

    def _send(self, draw: Callable[[], Any]) -> None:
        """Draw the next order and send it. All that the epoch has for the device has been asked for."""
        order = draw()
        self._sent = order, *self.launcher.upload(numpy.asarray(order, dtype=numpy.int32))

    def _mean(self, results: Any, whole: float | None, *, shared: bool = True) -> float:
        """The mean loss, penalty included.

        whole : what losses are divided by; None for the sum of all weights
        shared : whether the penalty is divided by that, too
        """
        loss, squares, summed, broken = results
        weight = summed if whole is None else whole
        self.penalty = self.spec.l2 / 2 * squares / (weight if shared else 1) if weight else 0.0
        if broken:
            return float("nan")
        return loss / weight + self.penalty if weight else 0.0

    def _with_room(self, action: Callable[[], T]) -> T:
        """Run an action; where memory runs out, free what is kept for later and try once more."""
        try:
            return action()
        except MemoryError:
            self._room = self._training()
            self._of_lanes.pop(self.launcher.lane, None)
        self.launcher.release_memory()  # out here, where the error no longer holds what the action had allocated
        return action()

    @contextmanager
    def _memory(self, what: str) -> Iterator[None]:
        """Enter the step's device, and tell what does not fit into its memory."""
        with self._on_device(), cuda.fitting(what, "a smaller batch_size"):
            yield
