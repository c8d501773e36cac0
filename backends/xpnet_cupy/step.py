"""The compiled training step: a plan for each batch size, recorded when it comes again and replayed for an epoch.

An epoch tells the device where the data lie and what the learning rate is, then asks for batch after batch without
waiting. While the device works, the next order is drawn and sent there; then the epoch waits once, for the losses. What
changes from batch to batch (first row, number of the update, losses so far) and from epoch to epoch (where the data
lie) is kept on the device, so that a recorded graph serves both. All memory is taken and all is recorded before the
first batch changes a parameter.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import cached_property, partial
from math import prod
from typing import Any, Literal, TypeVar

import numpy

from xpnet.backend import Backend, BatchPart, NetworkSpec, Parameters, Step, StepState
from xpnet.errors import DeviceMemoryError, MixedArraysError
from xpnet.ops import Array
from xpnet_cupy import launches
from xpnet_cupy.cublaslt import Launch
from xpnet_cupy.launcher import Launcher
from xpnet_cupy.memory import BatchMemory, Data, NetworkMemory, Orders, as_read, batches_of_ranks
from xpnet_cupy.plan import AT_ONCE, BatchPlan, Inference, Runs, Shape, Work, batches_of, block_rows, counted

NEXT_UPDATES = 2  # where the clock has the number of updates made

T = TypeVar("T")
Calls = list[tuple[Launch, int]]


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
        self._orders = Orders(launcher)
        with self._memory(f"A network of widths {spec.widths}"):
            self._network = NetworkMemory(spec, backend, launcher)
        self.params = self._network.params
        self._room: Runs | None = None  # in memory for the largest batch so far
        self._met: Any = None  # the group that sums have been made with
        self._of_lanes: dict[Any, Inference] = {}  # threads at the same time have lanes of their own

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

    def weighted_epoch(self, X: Array, Y: Array, *, max_grad_norm: float | None = None, **options: Any) -> float:
        """See :class:`xpnet.backend.Step`. The weights of batches and the norms of gradients stay on the device."""
        clipped = {} if max_grad_norm is None else {"max_norm": max_grad_norm}
        return self._epoch(X, Y, {"by_rows": True, **clipped}, **options)

    def data_parallel_epoch(
        self,
        X: Array,
        Y: Array,
        *,
        learning_rate: float,
        shares: Sequence[tuple[Any, BatchPart]],
        group: Any,
        sample_weight: Array | None = None,
    ) -> tuple[float, float] | None:
        """See :class:`xpnet.backend.Step`. The recordings hold the sums of gradients where the group has such."""
        if not (shares and hasattr(group, "begin_allreduce")):
            return None
        self._prepare_sums(group)
        order, parts, places = batches_of_ranks(shares)
        rows, weight = order.shape[1], float(parts[:, 0].sum())
        marks: list[Any] = []

        def wait() -> None:
            for mark in marks:  # one after the other: the time-out is that of a few sums, not of an epoch
                group.wait(mark)

        with self._memory(f"Training on batches of {rows} rows", rows), self.launcher.stream() as lane:
            shape = Shape(rows, Y.ndim == 1, "training", "given", lane=lane, group=group)
            read = partial(self._read, X, Y, sample_weight, order.reshape(-1), places, parts)
            batches, told = [(shape, len(shares))], {"learning_rate": learning_rate}
            loss, squares, _, broken = self._run(
                read, batches, told, after=lambda: marks.append(self.launcher.mark()), beside=wait
            )
            penalty = float(self.spec.l2 / 2 * squares / weight) if weight else 0.0
            return float("nan") if broken else loss, penalty

    def forward(self, X: Array) -> Array:
        """See :class:`xpnet.backend.Step`."""
        self._belongs(X)
        rows = X.shape[0]
        with self._memory(f"A prediction of {rows} rows", block_rows(self.spec, rows)):
            return self._with_room(lambda: self._predicted(X))

    def loss(self, X: Array, Y: Array, *, sample_weight: Array | None = None, rows: Any = None) -> float:
        """See :class:`xpnet.backend.Step`."""
        count = X.shape[0] if rows is None else len(rows)
        block = block_rows(self.spec, count)
        with self._memory(f"The loss of {count} rows", block), self.launcher.stream() as lane:
            loss, self.penalty = self._with_room(
                lambda: self._inference(lane).mean_loss(self._read(X, Y, sample_weight, rows), count)
            )
            return loss + self.penalty

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
        if not count:  # a row that is not there leaves the penalty's gradient alone, where that is added here
            rows, count = numpy.array([-1]), 1
            part = BatchPart(0.0, penalized=False) if part is None else replace(part, places=None)
        whole, weight = None if sample_weight is not None else count, counted(sample_weight)
        told: dict[str, Any] = {}
        if part is not None:
            whole, weight = part.total_weight, "given"
            told = {"total_weight": part.total_weight, "first_row": part.first_row}
        penalized = part is None or part.penalized
        with self._memory(f"A gradient over {count} rows", count), self.launcher.stream() as lane:
            shape = Shape(count, Y.ndim == 1, "gradients", weight, penalized, lane=lane)
            read = partial(self._read, X, Y, sample_weight, rows, part and part.places)
            return self._mean(self._run(read, [(shape, 1)], told), whole)

    def update(self, *, learning_rate: float) -> None:
        """See :class:`xpnet.backend.Step`."""
        with self._memory("An update"), self.launcher.stream():

            def prepare() -> tuple[Runs, Calls]:
                room = self._room_for(1)
                self._network.tell(Data(None), learning_rate=learning_rate)
                return room, room.prepare([(self._updating, 1)], finish=False)

            runs, calls = self._with_room(prepare)
            runs.run(calls)

    def state(self) -> StepState:
        """See :class:`xpnet.backend.Step`."""
        network = self._network
        with self._on_device():
            params = network.params.to_host()
            if network.trains:
                buffers = {name: arrays.to_host() for name, arrays in network.buffers.items()}
            else:
                buffers = {name: {n: 0 * array for n, array in params.items()} for name in self.spec.rule.buffers}
            return StepState(params, buffers, int(network.clock[NEXT_UPDATES]))

    def load_state(self, state: StepState) -> None:
        """See :class:`xpnet.backend.Step`."""
        network = self._network
        with self._on_device():
            network.clock[NEXT_UPDATES] = state.t
            network.params.update(state.params)
            if not network.trains and not state.buffers:
                return
            for name, arrays in network.buffers.items():
                arrays.update(state.buffers.get(name) or {n: numpy.zeros(a.shape) for n, a in arrays.items()})

    def snapshot(self) -> Callable[[], None]:
        """See :class:`xpnet.backend.Step`. The copies lie on the device, which makes them beside the host's work."""
        network = self._network
        kept: list[Any] = [network.params.flat, *(p.flat for p in (network.buffers.values() if network.trains else ()))]
        with self._memory("The state before an epoch"), self.launcher.stream():
            copies, clock = self._with_room(lambda: ([array.copy() for array in kept], network.clock.copy()))

        def restore() -> None:
            with self._on_device(), self.launcher.stream():
                network.clock[...] = clock
                for array, copy in zip(kept, copies, strict=True):
                    array[...] = copy
                if network.trains and len(kept) == 1:  # it has begun to train since, from zeros
                    for name in self.spec.rule.buffers:
                        network.buffers[name].groups[0][...] = 0

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

        def read() -> Data:
            if draw is not None:
                self._orders.make_room(rows)
            return self._read(X, Y, sample_weight, order)

        with self._memory(f"Training on batches of {size} rows", size), self.launcher.stream() as lane:
            weight = counted(sample_weight)
            kind: Literal["clipped", "training"] = "clipped" if "max_norm" in told else "training"
            shapes = [(Shape(n, Y.ndim == 1, kind, weight, lane=lane), times) for n, times in batches_of(rows, size)]
            beside = None if draw is None else partial(self._orders.send, draw)
            results = self._run(read, shapes, {"learning_rate": learning_rate, **told}, beside=beside)
            return self._mean(results, rows if sample_weight is None or "by_rows" in told else None)

    def _run(
        self,
        read: Callable[[], Data],
        shapes: list[tuple[Shape, int]],
        told: dict[str, Any],
        *,
        after: Launch | None = None,
        beside: Launch | None = None,
    ) -> Any:
        """Run batches on the open lane; returns their sums, as :meth:`xpnet_cupy.memory.EpochMemory.read` does.

        read : gives the data; shapes : of the batches, the largest first, each with how often it comes
        told : as for :meth:`xpnet_cupy.memory.EpochMemory.tell`
        after : called after each replay; beside : called when the device has all that it is to do
        """

        def prepare() -> tuple[Runs, Data, Calls]:
            room, data = self._room_for(shapes[0][0].rows), read()
            self._network.tell(data, **told)

            def planned(shape: Shape) -> Work:
                network, launcher = self._network, self.launcher.of_batches
                return BatchPlan(self.spec, launcher, network, network, room.memory, shape).work()

            works = [(room.work(shape, planned), times) for shape, times in shapes]
            return room, data, room.prepare(works)

        runs, _held, calls = self._with_room(prepare)  # held until the device has read it
        runs.run(calls, after)
        calls.clear()  # an error would hold recordings with sums in them, which a communicator waits for
        if beside is not None:
            beside()
        return self._network.read()

    @cached_property
    def _updating(self) -> Work:
        """An update by itself."""
        network, rule = self._network, self.spec.rule
        flats = [p.flat for p in (network.params, network.gradients, *network.buffers.values())]
        tick = launches.next_batch(self.launcher, rule, network, None)
        return Work([tick, launches.update(self.launcher, rule, flats, network.rates, clock=network.clock)], ())

    def _predicted(self, X: Array) -> Array:
        """Computed on this thread's lane; the outputs belong to the caller's stream."""
        out = self.launcher.xp.empty((X.shape[0], self.spec.widths[-1]), dtype=self.spec.dtype)
        if X.shape[0]:
            with self.launcher.stream() as lane:
                self._inference(lane).run(Data(as_read(self.launcher, X, self.spec.dtype)), len(X), out)
        return out

    def _inference(self, lane: Any) -> Inference:
        """What predicts on a lane."""
        if lane not in self._of_lanes:
            self._of_lanes[lane] = Inference(self.spec, self.launcher, self._network)
        return self._of_lanes[lane]

    def _room_for(self, size: int) -> Runs:
        """What runs in memory for batches of ``size`` rows at least."""
        if self._room is None or size > self._room.memory.rows:
            self._room = None  # what there was is let go before the larger one is asked for
            network, batches = self._network, self.launcher.of_batches
            copies = []
            if batches.halved:  # anyone may have written to the parameters
                copies = [launches.copy_parameters(batches, network.params.flat, network.copies.flat)]
            self._room = Runs(self.launcher, network, BatchMemory(self.spec, batches, size), before=copies)
        return self._room

    def _read(
        self, X: Array, Y: Array, sample_weight: Array | None, order: Any, places: Any = None, parts: Any = None
    ) -> Data:
        """The data as kernels read them. places, parts : on the host, or None; see :class:`~xpnet_cupy.memory.Data`"""
        launcher, dtype, xp = self.launcher, self.spec.dtype, self.launcher.xp
        self._belongs(X, Y, sample_weight)
        placed = places is not None and any(self.spec.dropout)  # nothing else asks where a row stands
        return Data(
            as_read(launcher, X, dtype),
            as_read(launcher, Y, "int64" if Y.ndim == 1 else dtype),
            None if sample_weight is None else as_read(launcher, sample_weight, dtype),
            None if order is None else self._orders.on_device(order),
            None if parts is None else xp.asarray(parts),
            xp.asarray(places.reshape(-1).astype("int32")) if placed else None,
        )

    def _prepare_sums(self, group: Any) -> None:
        """Make a first sum with a group, which sets up what sums need before one is recorded."""
        if self._met is not group:
            self._met = group
            group.before_it_ends(self._forget_sums)
            with self._on_device(), self.launcher.stream():
                group.begin_allreduce(self._network.gradients.flat)
                group.wait(self.launcher.mark())

    def _forget_sums(self) -> None:
        """Let go of recordings that have sums in them."""
        self._met = None
        if (room := self._room) is not None:
            for shape in [shape for shape in room.works if isinstance(shape, Shape) and shape.group is not None]:
                room.forget(shape)

    def _mean(self, results: Any, whole: float | None) -> float:
        """The mean loss, penalty included.

        whole : what losses are divided by; None for the sum of all weights
        """
        loss, squares, summed, broken = results
        weight = summed if whole is None else whole
        self.penalty = self.spec.l2 / 2 * squares / weight if weight else 0.0
        if broken:
            return float("nan")
        return loss / weight + self.penalty if weight else 0.0

    def _with_room(self, action: Callable[[], T]) -> T:
        """Run an action; where memory runs out, free what is kept for later and try once more."""
        try:
            return action()
        except MemoryError:
            self._room = None
            self._of_lanes.pop(self.launcher.lane, None)
        self.launcher.release_memory()  # out here, where the error no longer holds what the action had allocated
        return action()

    def _belongs(self, *arrays: Array | None) -> None:
        own = self.backend.device(self.params.flat)
        for array in arrays:
            if array is not None and (found := self.backend.device(array)) != own:
                raise MixedArraysError(
                    f"All arrays of one call must live on one device; the parameters are on {own}, received an array "
                    f"on {found}. Move it, or build the model from arrays of that device."
                )

    @contextmanager
    def _memory(self, what: str, rows: int | None = None) -> Iterator[None]:
        """Enter the step's device, and explain where its memory runs out.

        rows : that a batch is taken of; None for what has the size of the network
        """
        with self._on_device():
            try:
                yield
            except MemoryError as error:
                spec, itemsize = self.spec, numpy.dtype(self.spec.dtype).itemsize
                if rows is None:  # parameters, their gradients, and the optimizer's buffers
                    items = sum(prod(slot.shape) for slot in spec.slots()) * (2 + len(spec.rule.buffers))
                else:  # inputs, and every layer's outputs and gradients
                    items = rows * (spec.widths[0] + 2 * sum(spec.widths[1:]))
                sizes = items * itemsize, *self.launcher.free_memory()
                needed, free, total = (f"{size / 2**20:,.1f} MiB" for size in sizes)
                raise DeviceMemoryError(
                    f"{what} needs about {needed} beside the data; the device has {free} free of {total} ({error}). "
                    "Use a smaller batch_size or float32, or delete arrays and call "
                    "cupy.get_default_memory_pool().free_all_blocks()."
                ) from error
