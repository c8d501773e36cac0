"""The compiled training step: a plan for each batch size, recorded once and replayed for an epoch.

An epoch uploads the order of the rows and the learning rate, then asks for batch after batch without waiting for the
device. While that works, the next order is drawn and sent there; then the epoch waits once, for the losses. What
changes from batch to batch (first row, number of the update, losses so far) and from epoch to epoch (where the data
lie) is kept on the device, so that a recorded graph serves both. All memory is taken and all is recorded before the
first batch changes a parameter.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any, Literal, NamedTuple, TypeVar

import numpy

from xpnet.backend import Backend, BatchPart, NetworkSpec, Parameters, Step, StepState
from xpnet.errors import MixedArraysError
from xpnet.ops import Array
from xpnet_cupy import forward, launches
from xpnet_cupy.launcher import Launcher
from xpnet_cupy.launches import Penalty, Totals
from xpnet_cupy.losses import Losses
from xpnet_cupy.memory import BatchMemory, Data, NetworkMemory, as_read, batch_bytes, enough_memory, network_bytes
from xpnet_cupy.options import Options
from xpnet_cupy.orders import Orders
from xpnet_cupy.plan import BatchPlan, Shape
from xpnet_cupy.prediction import Predictions
from xpnet_cupy.replay import Repeated
from xpnet_cupy.resident import Resident
from xpnet_cupy.shares import batches_of_ranks

KEPT_PLANS = 16  # the one used longest ago goes first
GATHERED_BYTES = 16 << 20  # a batch of all rows as they lie is copied up to this size, and above it read in place

NEXT_UPDATES, FIRST_ROW = 2, 4  # where the clock has the number of updates made, and the first row of a part

T = TypeVar("T")


class _OfLane(NamedTuple):
    predictions: Predictions
    losses: Losses


class CompiledStep(Step):
    """A training step over preallocated buffers; see :class:`xpnet.backend.Step`.

    launcher : runs the launches, on a GPU or, in the tests, on the host
    on_device : opened around all that touches the device
    """

    def __init__(
        self,
        spec: NetworkSpec,
        backend: Backend,
        launcher: Launcher,
        on_device: Callable[[], AbstractContextManager[Any]],
        options: Options = Options(),
    ) -> None:
        self.spec, self.launcher, self.options, self._on_device = spec, launcher, options, on_device
        self.prefetches_orders, self._orders = options.ahead, Orders(launcher)
        with self._memory(f"A network of widths {spec.widths}", network_bytes(spec)):
            self._network = NetworkMemory(spec, backend, launcher)
            self._resident = Resident(spec, launcher, self._network)
        self.params = self._network.params
        self._why = f"the compiled CuPy step: {self._about()}; {self._about_recordings()}"
        self._batch: BatchMemory | None = None
        self._plans: OrderedDict[Shape, BatchPlan] = OrderedDict()
        self._met: Any = None  # the group that sums have been made with, and whether all of its ranks record them
        self._of_lanes: dict[Any, _OfLane] = {}  # threads at the same time have lanes of their own

    @property
    def gradients(self) -> Parameters:
        """See :class:`xpnet.backend.Step`."""
        return self._network.gradients

    @property
    def why(self) -> str:
        """See :class:`xpnet.backend.Step`."""
        return self._why

    def epoch(
        self,
        X: Array,
        Y: Array,
        *,
        learning_rate: float,
        batch_size: int,
        order: Any = None,
        sample_weight: Array | None = None,
    ) -> float:
        """See :class:`xpnet.backend.Step`."""
        self.penalty, rows = 0.0, X.shape[0]
        prefetch, self.prefetch_order = self.prefetch_order, None
        if not rows:
            return 0.0
        size = min(batch_size, rows)
        resident = self.options.resident and size <= self._resident.batch_rows
        if order is None and (size < rows or resident):
            order = numpy.arange(rows)
        with self._memory(f"Training on batches of {size} rows", batch_bytes(self.spec, size)), self.launcher.stream():
            self._with_room(lambda: self._orders.expect(prefetch, rows))
            if resident:
                return self._resident_epoch(X, Y, sample_weight, order, size, learning_rate)

            def prepare() -> tuple[Data, list[tuple[Repeated, int]]]:
                data = self._take(X, Y, sample_weight, order, size)
                shapes = [(self._shape(data, n), times) for n, times in _batches(rows, size)]
                return data, self._prepared(data, shapes, learning_rate)

            data, runs = self._with_room(prepare)
            for repeated, times in runs:
                repeated.run(times)
            return self._mean_loss(data, rows)

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
        """See :class:`xpnet.backend.Step`. The recordings hold the sums of gradients, if the group allows it."""
        if not (shares and self.options.sums and hasattr(group, "begin_allreduce") and self._all_record(group)):
            return None
        batches = batches_of_ranks(shares)
        rows, weight = batches.order.shape[1], float(batches.parts[:, 0].sum())
        with self._memory(f"Training on batches of {rows} rows", batch_bytes(self.spec, rows)), self.launcher.stream():
            def prepare() -> tuple[Data, list[tuple[Repeated, int]]]:
                data = self._take(X, Y, sample_weight, batches.order.reshape(-1), rows)
                data = self._placed(data, batches.places)._replace(parts=self.launcher.xp.asarray(batches.parts))
                shape = replace(self._shape(data, rows, shares[0][1]), penalized=True, group=group)
                return data, self._prepared(data, [(shape, len(shares))], learning_rate)

            _held, ((repeated, times),) = self._with_room(prepare)  # until the device has read it
            marks: list[Any] = []
            repeated.run(times, lambda: marks.append(self.launcher.mark()))
            for mark in marks:  # one after the other: the time-out is that of a few sums, not of an epoch
                group.wait(mark)
            loss, squares, _, broken = self._results(batches.order.size)
            penalty = float(self.spec.l2 / 2 * squares / weight) if weight else 0.0
            return float("nan") if broken else float(loss), penalty

    def forward(self, X: Array) -> Array:
        """See :class:`xpnet.backend.Step`."""
        self._belongs(X)
        block = forward.block_rows(self.spec, X.shape[0])
        with self._memory(f"A prediction of {X.shape[0]} rows", batch_bytes(self.spec, block)):
            if self.options.predictions and self.launcher.records:
                return self._with_room(lambda: self._recorded_prediction(X))
            return self._with_room(lambda: forward.predict(self.spec, self.launcher, self.params, X))

    def loss(self, X: Array, Y: Array, *, sample_weight: Array | None = None, rows: Any = None) -> float:
        """See :class:`xpnet.backend.Step`."""
        self._belongs(X)
        block = forward.block_rows(self.spec, X.shape[0])
        what, count = f"The loss of {X.shape[0]} rows", X.shape[0] if rows is None else len(rows)
        with self._memory(what, batch_bytes(self.spec, block)), self.launcher.stream():
            loss, self.penalty = self._with_room(
                lambda: self._of_lane.losses.mean(self._read(X, Y, sample_weight, rows), count)
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
        with self._memory(f"A gradient over {count} rows", batch_bytes(self.spec, count)), self.launcher.stream():
            if not count:
                return self._no_gradient(part)

            def prepare() -> tuple[Data, list[tuple[Repeated, int]]]:
                data = self._placed(self._take(X, Y, sample_weight, rows, count), part and part.places)
                return data, self._prepared(data, [(self._shape(data, count, part), 1)], None, part)

            data, ((repeated, _),) = self._with_room(prepare)
            repeated.run(1)
            loss, xp = self._mean_loss(data, count, part), self.launcher.xp
            # A product with ReLU in it turns NaN into 0. NaN in rows shows in the gradients; what an infinite weight
            # makes of a 0 shows in the weight alone.
            lost = xp.any(xp.isnan(self.gradients.flat)) | ~xp.all(xp.isfinite(self.params.flat))
            return float("nan") if bool(lost) else loss

    def update(self, *, learning_rate: float) -> None:
        """See :class:`xpnet.backend.Step`."""
        network, rule = self._network, self.spec.rule
        with self._on_device():
            network.rates[0] = learning_rate
            flats = [p.flat for p in (network.params, network.gradients, *network.buffers.values())]
            launches.next_batch(self.launcher, rule, network.data, network.clock, network.rates, None)()
            launches.update(self.launcher, rule, flats, network.rates, clock=network.clock)()

    def state(self) -> StepState:
        """See :class:`xpnet.backend.Step`."""
        network = self._network
        with self._on_device():
            params = self._copies(network.params)
            if network.trains:
                buffers = {name: self._copies(arrays) for name, arrays in network.buffers.items()}
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
        with self._memory("The state before an epoch", network_bytes(self.spec)), self.launcher.stream():
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

    def _recorded_prediction(self, X: Array) -> Array:
        """On this thread's lane; the outputs belong to the caller's stream."""
        out = self.launcher.xp.empty((X.shape[0], self.spec.widths[-1]), dtype=self.spec.dtype)
        with self.launcher.stream():
            self._of_lane.predictions.predict(X, out)
        return out

    @property
    def _of_lane(self) -> "_OfLane":
        """Predictions and losses of this thread's lane."""
        if self.launcher.lane not in self._of_lanes:
            predictions = Predictions(self.spec, self.launcher, self.params)
            losses = Losses(self.spec, self.launcher, self._network, self.options.losses)
            self._of_lanes[self.launcher.lane] = _OfLane(predictions, losses)
        return self._of_lanes[self.launcher.lane]

    def _resident_epoch(
        self, X: Array, Y: Array, sample_weight: Array | None, order: Any, size: int, learning_rate: float
    ) -> float:
        data = self._read(X, Y, sample_weight, order)
        launch = self._resident.launch(data, batch_rows=size, learning_rate=learning_rate)
        launch()
        return self._mean(self._read_results())

    def _take(self, X: Array, Y: Array, sample_weight: Array | None, order: Any, size: int) -> Data:
        """The data as kernels read them, and memory for batches of ``size`` rows of them."""
        if self._batch is None or size > self._batch.rows:
            self._plans.clear()
            self._batch = None  # what there was is let go before the larger one is asked for
            self._batch = BatchMemory(self.spec, self.launcher.of_batches, size)
        return self._read(X, Y, sample_weight, order)

    def _read(self, X: Array, Y: Array, sample_weight: Array | None, order: Any) -> Data:
        launcher, dtype = self.launcher, self.spec.dtype
        self._belongs(X, Y, sample_weight)
        indices = Y.ndim == 1
        labels = as_read(launcher, Y, "int64" if indices else dtype)
        return Data(
            as_read(launcher, X, dtype),
            labels if indices else None,
            None if indices else labels,
            None if sample_weight is None else as_read(launcher, sample_weight, dtype),
            None if order is None else self._orders.on_device(order),
        )

    def _placed(self, data: Data, places: Any) -> Data:
        """Return the data with the places of their rows, where dropout looks for them; places : on the host, or None"""
        if places is None or not any(self.spec.dropout):
            return data
        return data._replace(places=self.launcher.xp.asarray(places.reshape(-1).astype("int32")))

    @property
    def _memory_of_batch(self) -> BatchMemory:
        """Return the memory that ``_take`` has made."""
        assert self._batch is not None
        return self._batch

    def _shape(self, data: Data, rows: int, part: BatchPart | None = None) -> Shape:
        weight: Literal["rows", "summed", "given"]
        weight = "given" if part is not None else "rows" if data.weight is None else "summed"
        in_place = data.order is None and not self.launcher.of_batches.halved and data.x.nbytes > GATHERED_BYTES
        return Shape(
            rows,
            indices=data.indices is not None,
            weight=weight,
            penalized=part is None or part.penalized,
            in_place=self.launcher.address(data.x) if in_place else None,
            lane=self.launcher.lane,
        )

    def _plan(self, shape: Shape, data: Data) -> BatchPlan:
        """Return the plan for batches of this shape, made once."""
        if shape not in self._plans:
            if len(self._plans) == KEPT_PLANS:
                self._plans.popitem(last=False)
            x = data.x if shape.in_place is not None else None
            arguments = (self.spec, self.launcher.of_batches, self._network, self._memory_of_batch, shape, x)
            self._plans[shape] = BatchPlan(*arguments, self.options)
        self._plans.move_to_end(shape)
        return self._plans[shape]

    def _prepared(
        self,
        data: Data,
        shapes: list[tuple[Shape, int]],
        learning_rate: float | None,
        part: BatchPart | None = None,
    ) -> list[tuple[Repeated, int]]:
        """Prepare the runs for batches of these shapes, each so many times, with the clock at the first row.

        learning_rate : None for gradients without updates
        """
        network, memory = self._network, self._memory_of_batch
        if part is not None:
            memory.total_weight[...] = part.total_weight
        arrays = (network.clock, network.rates, network.data, tuple(data), Totals(memory.row_loss, network.squares))
        first_row = 0 if part is None else part.first_row
        begin = launches.begin(self.launcher, *arrays, learning_rate=learning_rate or 0.0, first_row=first_row)
        begin()
        if (batches := self.launcher.of_batches).halved:  # anyone may have written to the parameters
            launches.copy_parameters(batches, network.params.flat, network.copies.flat)()
        new = any(shape not in self._plans for shape, _ in shapes)
        plans = [(self._plan(shape, data), times) for shape, times in shapes]
        runs = [(plan.gradients if learning_rate is None else plan.training, times) for plan, times in plans]
        warmed = [repeated.prepare(times) for repeated, times in runs]
        if new or any(warmed):  # a plan may have run batches: it is timed when it is made
            begin()
        return runs

    def _all_record(self, group: Any) -> bool:
        """Whether all ranks can record sums. Asked once, with a first sum, which sets up what sums of this size need."""
        if self._met is None or self._met[0] is not group:
            count = group.allreduce(numpy.full(1, float(self.launcher.records)))
            self._met = group, int(count[0]) == group.size
            if self._met[1]:
                group.before_it_ends(self._forget_sums)
                with self._on_device(), self.launcher.stream():
                    group.begin_allreduce(self._network.gradients.flat)
                    group.wait(self.launcher.mark())
        return self._met[1]

    def _forget_sums(self) -> None:
        """Let go of recordings that have sums in them."""
        self._met = None
        for shape in [shape for shape in self._plans if shape.group is not None]:
            self._plans.pop(shape).forget()

    def _mean_loss(self, data: Data, rows: int, part: BatchPart | None = None) -> float:
        """The mean loss of the batches since they began, penalty included. Waits for the device."""
        results = self._results(rows, data.weight_in_order() if part is None else None)
        return self._mean(results, None if part is None else part.total_weight)

    def _results(self, rows: int, weight: Array | None = None) -> numpy.ndarray:
        """Return the losses that ``finish`` adds up."""
        network, memory = self._network, self._memory_of_batch
        totals = Totals(memory.row_loss, network.squares)
        launches.finish(self.launcher, totals, weight, rows, network.rates, network.results)()
        return self._read_results()

    def _read_results(self) -> numpy.ndarray:
        """The results when the device has all that it is to do; the host's work for the next epoch runs beside it."""
        read = self.launcher.begin_read(self._network.results)
        self._orders.send_next()
        return read()

    def _mean(self, results: numpy.ndarray, total_weight: float | None = None) -> float:
        """The mean loss and the penalty, from the sums of an epoch; over ``total_weight`` where that is given."""
        loss, squares, weight, broken = results
        weight = weight if total_weight is None else total_weight
        self.penalty = float(self.spec.l2 / 2 * squares / weight) if weight else 0.0
        if broken:
            return float("nan")
        return float(loss / weight) + self.penalty if weight else 0.0

    def _no_gradient(self, part: BatchPart | None) -> float:
        """The gradient and the loss of no rows: those of the penalty, where it is added here."""
        network, self.penalty = self._network, 0.0
        network.gradients.groups[0][...] = 0
        if part is None or not part.penalized or not self.spec.l2:
            return 0.0
        xp = self.launcher.xp
        total, squares = xp.full(1, part.total_weight, dtype=self.spec.dtype), xp.zeros_like(network.squares)
        penalty = Penalty(network.bounds, self.spec.l2, self.spec.l2_over_batch, total, 0, squares)
        launches.l2_penalty(self.launcher, network.params.flat, network.gradients.flat, penalty)()
        self.penalty = float(self.spec.l2 / 2 * xp.sum(squares) / part.total_weight) if part.total_weight else 0.0
        return self.penalty

    def _with_room(self, action: Callable[[], T]) -> T:
        """Run an action; where memory runs out, free what is kept for later and try once more."""
        try:
            return action()
        except MemoryError:
            self._plans.clear()
            self._batch = None
            self._of_lanes.pop(self.launcher.lane, None)
        self.launcher.release_memory()  # out here, where the error no longer holds what the action had allocated
        return action()

    def _about(self) -> str:
        """List what runs here, as clauses."""
        steps, most = self.options.steps_per_graph, self._resident.batch_rows
        alone = "" if self.options.epilogues else ", no epilogues, as asked for"
        graphs = f"{steps} batches a CUDA graph, {self._about_sides()}{self.launcher.of_batches.about}{alone}"
        if not self.options.resident:
            return f"{graphs}; no epoch in one launch, as asked for"
        if not most:
            return f"{graphs}; no epoch in one launch, since {self._resident.reason}"
        return f"an epoch in one launch for batches of up to {most} rows; for larger ones {graphs}"

    def _about_sides(self) -> str:
        if not self.launcher.records or self.spec.layers == 1:
            return ""
        if not self.options.side_by_side:
            return "nothing side by side, as asked for, "
        chosen = " where that is faster" if self.options.timed else ""
        return f"gradients of weights beside the way back{chosen}, "

    def _about_recordings(self) -> str:
        """List what else is recorded (predictions, losses, sums over ranks), and what the host does meanwhile."""
        options = self.options
        every = {"predictions": options.predictions, "losses": options.losses, "sums over ranks": options.sums}
        recorded = [name for name, on in every.items() if on and self.launcher.records]
        beside = "the next order of many rows drawn beside the device's work"
        in_turn = "orders drawn in turn, as asked for"
        return f"{', '.join(recorded) or 'nothing else'} recorded; {beside if options.ahead else in_turn}"

    def _belongs(self, *arrays: Array | None) -> None:
        own = self.backend.device(self.params.flat)
        for array in arrays:
            if array is not None and (found := self.backend.device(array)) != own:
                raise MixedArraysError(
                    f"All arrays of one call must live on one device; the parameters are on {own}, received an array "
                    f"on {found}. Move it, or build the model from arrays of that device."
                )

    @contextmanager
    def _memory(self, what: str, needed: int) -> Iterator[None]:
        """Enter the step's device, and explain where its memory runs out."""
        with self._on_device(), enough_memory(self.launcher, what, needed):
            yield

    def _copies(self, parameters: Parameters) -> dict[str, Any]:
        return {name: self.launcher.to_numpy(array).copy() for name, array in parameters.items()}


def _batches(rows: int, size: int) -> list[tuple[int, int]]:
    """The batches of an epoch, as (rows of a batch, how many): the last may be smaller."""
    return [(size, rows // size), *([(rows % size, 1)] if rows % size else [])]
