"""The compiled training step: a plan for each batch size, recorded once and replayed for an epoch.

An epoch uploads the order of the rows and the learning rate, then asks for batch after batch without waiting for the
device, and waits once, when it reads the losses. What changes from batch to batch (first row, number of the update,
losses so far) is kept on the device by the kernels themselves. The first batch of a size is run launch by launch, which
compiles and loads what it needs; from the second on a recorded graph is replayed; a last smaller batch is run launch by
launch.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy

from xpnet.backend import Backend, BatchPart, NetworkSpec, Parameters, StepState
from xpnet.errors import BackendError, MixedArraysError
from xpnet.ops import Array
from xpnet_cupy import launches
from xpnet_cupy.launcher import Launcher
from xpnet_cupy.memory import BatchMemory, NetworkMemory, Staging, batch_bytes, enough_memory, network_bytes
from xpnet_cupy.plan import Data, TrainingPlan, predict, update_launches

PREDICTION_ROWS = 8192  # rows forwarded at a time, so that prediction needs no memory beyond its output
KEPT_PLANS = 64  # the oldest goes first; one for each batch size, and for each block of validation data


class CompiledStep:
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
    ) -> None:
        self.spec, self.backend, self.launcher, self._on_device = spec, backend, launcher, on_device
        self.penalty = 0.0
        with self._memory(f"A network of widths {spec.widths}", network_bytes(spec)):
            self._network = NetworkMemory(spec, backend, launcher)
            self._update = update_launches(spec, launcher, self._network, 0)
            self.why = f"the compiled CuPy step: {launcher.about}"
        self.params, self.gradients = self._network.params, self._network.gradients
        self._batch = BatchMemory(spec, launcher, 0, gathers=False)
        self._plans: dict[tuple[Any, ...], TrainingPlan] = {}  # by rows, and addresses and shapes of the data
        self._staging = Staging(launcher)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Plans and graphs are kept from call to call; when it ends, the data they refer to is let go."""
        try:
            yield
        finally:
            self._plans.clear()
            self._staging = Staging(self.launcher)

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
        if not rows:
            return 0.0
        size = min(batch_size, rows)
        if order is None and size < rows:
            order = numpy.arange(rows)
        needed = batch_bytes(self.spec, size)
        with self._memory(f"Training on batches of {size} rows", needed), self.launcher.stream():
            data = self._take(X, Y, sample_weight, order, size)
            # Both plans are made, and all memory is taken, before the first batch changes a parameter.
            full = self._plan(data, size)
            rest = self._plan(data, rows % size) if rows % size else None
            self._begin(learning_rate)
            full.repeat(rows // size)
            if rest is not None:
                rest.train()
            return self._mean_loss(data, rows)

    def forward(self, X: Array) -> Array:
        """See :class:`xpnet.backend.Step`."""
        spec, xp, rows = self.spec, self.launcher.xp, X.shape[0]
        size = min(rows, PREDICTION_ROWS)
        self._belongs(X)
        with self._memory(f"A prediction of {rows} rows", batch_bytes(spec, size)):
            X = Staging(self.launcher)("x", X, spec.dtype)
            out = xp.empty((rows, spec.widths[-1]), dtype=spec.dtype)
            hidden = [xp.empty((size, width), dtype=spec.dtype) for width in spec.widths[1:]]
            for start in range(0, rows, PREDICTION_ROWS):
                x, result = (a[start : start + size] for a in (X, out))
                predict(spec, self.launcher, self.params, x, [h[: x.shape[0]] for h in hidden], result)
            return out

    def loss(self, X: Array, Y: Array, *, sample_weight: Array | None = None, rows: Any = None) -> float:
        """See :class:`xpnet.backend.Step`."""
        return self.gradient(X, Y, sample_weight=sample_weight, rows=rows)

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
        if rows is not None:
            X, Y, sample_weight = X[rows], Y[rows], None if sample_weight is None else sample_weight[rows]
        if part is not None:
            raise BackendError("The CUDA step takes no parts of a batch yet.")
        count = X.shape[0]
        with self._memory(f"A gradient over {count} rows", batch_bytes(self.spec, count)), self.launcher.stream():
            data = self._take(X, Y, sample_weight, None, count)
            plan = self._plan(data, count)
            self._begin(0.0)
            plan.gradient()
            loss, total = self._mean_loss(data, count), self.launcher.xp.sum
            # A product with ReLU in it may have turned NaN into 0; gradients and parameters keep it.
            kept = float(total(self.gradients.flat) + total(self.params.flat))
            return float("nan") if math.isnan(kept) else loss

    def update(self, *, learning_rate: float) -> None:
        """See :class:`xpnet.backend.Step`."""
        with self._on_device():
            self._network.rates[0] = learning_rate
            for launch in self._update:
                launch()

    def state(self) -> StepState:
        """See :class:`xpnet.backend.Step`."""
        with self._on_device():
            buffers = {name: self._copies(arrays) for name, arrays in self._network.buffers.items()}
            return StepState(self._copies(self.params), buffers, int(self._network.clock[0]))

    def load_state(self, state: StepState) -> None:
        """See :class:`xpnet.backend.Step`."""
        with self._on_device():
            self._network.clock[0] = state.t
            self.params.update(state.params)
            for name, arrays in self._network.buffers.items():
                arrays.update(state.buffers.get(name) or {n: numpy.zeros(a.shape) for n, a in arrays.items()})

    def _begin(self, learning_rate: float) -> None:
        """Clears the losses and turns the clock back to the first row."""
        network = self._network
        arrays = (self._batch.row_loss, network.squares)
        launches.begin(self.launcher, network.clock, network.rates, learning_rate, *arrays)()

    def _mean_loss(self, data: Data, rows: int) -> float:
        """The mean loss of the batches since ``_begin``, penalty included. Waits for the device."""
        network = self._network
        arrays = (self._batch.row_loss, network.squares, data.weight)
        launches.finish(self.launcher, *arrays, rows, network.rates, network.results)()
        loss, squares, weight, broken = self.launcher.to_numpy(network.results)
        with numpy.errstate(all="ignore"):  # weights that sum to zero give nan, as in the reference
            self.penalty = float(self.spec.l2 / 2 * squares / weight)
            return float("nan") if broken else float(loss / weight) + self.penalty

    def _take(self, X: Array, Y: Array, sample_weight: Array | None, order: Any, size: int) -> Data:
        """The data as kernels read it, and memory for batches of ``size`` rows of it."""
        dtype, stage = self.spec.dtype, self._staging
        self._belongs(X)
        if not self._batch.holds(size, gathers=order is not None):
            rows, gathers = max(size, self._batch.rows), order is not None or self._batch.gathers
            self._plans.clear()
            for capacity in (0, rows):  # what there was is let go before the larger one is asked for
                self._batch = BatchMemory(self.spec, self.launcher, capacity, gathers=gathers)
        return Data(
            stage("x", X, dtype),
            stage("labels", Y, "int64" if Y.ndim == 1 else dtype),
            None if sample_weight is None else stage("weight", sample_weight, dtype),
            None if order is None else stage.upload("order", numpy.asarray(order, dtype=numpy.int32)),
        )

    def _plan(self, data: Data, rows: int) -> TrainingPlan:
        """The plan for batches of ``rows`` rows of this data, made once."""
        places = (None if array is None else (self.launcher.address(array), array.shape) for array in data)
        key = (rows, *places)
        if key not in self._plans:
            if len(self._plans) == KEPT_PLANS:
                self._plans.pop(next(iter(self._plans)))
            self._plans[key] = TrainingPlan(self.spec, self.launcher, self._network, self._batch, data, rows)
        return self._plans[key]

    def _belongs(self, X: Array) -> None:
        found, own = self.backend.device(X), self.backend.device(self.params.flat)
        if found != own:
            raise MixedArraysError(
                f"All arrays of one call must live on one device; the parameters are on {own}, received rows on {found}. "
                "Move the rows, or build the model from arrays of that device."
            )

    @contextmanager
    def _memory(self, what: str, needed: int) -> Iterator[None]:
        """The step's device, with running out of its memory explained."""
        with self._on_device(), enough_memory(self.launcher, what, needed):
            yield

    def _copies(self, parameters: Parameters) -> dict[str, Any]:
        return {name: self.launcher.to_numpy(array).copy() for name, array in parameters.items()}
