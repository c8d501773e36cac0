"""The compiled training step of the Numba backend: one call of compiled code runs a whole epoch.

``driver`` explains the phases of a step, ``leaves`` holds its loops, ``plan`` cuts the work, ``team`` shares it among
threads. Here Python's side: parameters, arguments, results.
"""

import ctypes
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import lru_cache
from threading import Lock
from typing import Any

import numpy
from xpnet_numpy import backend as numpy_backend

from xpnet.backend import BatchPart, NetworkSpec, Parameters, Step, StepState, get_threads
from xpnet.backend.threads import allowed_threads
from xpnet.ops import Array, Labels
from xpnet_numba import leaves
from xpnet_numba.llvm import gemm_address
from xpnet_numba.llvm.tiles import WIDE
from xpnet_numba.runtime import team
from xpnet_numba.runtime.blas import UNTHREADED, one_thread
from xpnet_numba.step import driver
from xpnet_numba.step.job import LINE, Job, Layer, Rule, aligned, by_rows, place
from xpnet_numba.step.plan import NEAR_BYTES, make_plan
from xpnet_numba.step.workspace import Workspace

PREDICTION_ROWS = 256  # rows forwarded at a time: what the layers give for them stays in a core's cache

LOSS_ROWS = 8192

FEW = 3  # fewer rows are predicted one by one: 784-100-10 takes 10 us for a row, 12.5 for two, by tiles 15 for either

OUTPUTS = {
    "softmax_cross_entropy": "softmax_output",
    "logistic_cross_entropy": "logistic_output",
    "squared_error": "identity_output",
    "poisson": "exp_output",
}


def compile_step(spec: NetworkSpec) -> Step | str:
    """The compiled step for a network, or a sentence that says why there is none.

    Compiles nothing yet: each loop is compiled when it is first needed, and kept on disk.
    """
    if any(spec.dropout):
        return "the Numba backend compiles no dropout"
    return CompiledStep(spec)


def warmup() -> None:
    """Compile everything that any step may need, for both dtypes."""
    team.calls()
    for dtype in ("float32", "float64"):
        for name in driver.DRIVERS:
            driver.compiled(name, dtype)
        for name in leaves.names():
            leaves.compiled(name, dtype)


class CompiledStep:
    """A training step in compiled code, on all threads: see :class:`xpnet.backend.Step`.

    It serves one call at a time; a second thread that calls it waits. An epoch cannot be interrupted.
    """

    def __init__(self, spec: NetworkSpec) -> None:
        self.spec, self.penalty, self._lock = spec, 0.0, Lock()
        self.params, self.gradients = _parameters(spec), _parameters(spec)
        self.buffers = {name: _parameters(spec) for name in spec.rule.buffers}
        self._job, self._prediction, self._layers = _make_job(self), _make_job(self), _layer_table(spec)
        self._product = _product()
        self._hold: AbstractContextManager[Any] = nullcontext() if WIDE else one_thread
        self._largest_weight = max(layer.fan_in * layer.fan_out for layer in self._layers)
        self._workspace: Workspace | None = None
        self._hidden, self._counter = aligned(0, spec.dtype), ctypes.c_int64()
        prediction = self._prediction
        prediction.x_is_far, prediction.block_rows = 1, PREDICTION_ROWS
        prediction.done_at = ctypes.addressof(self._counter)

    @property
    def why(self) -> str:
        """What runs here, and why."""
        threads = get_threads()
        return f"the Numba backend's compiled step, on {threads} thread{'s' * (threads > 1)}"

    @contextmanager
    def running(self) -> Iterator[None]:
        """Where BLAS is needed it is held to one thread, once for all calls inside."""
        with self._hold:
            yield

    def epoch(
        self,
        X: Array,
        Y: Labels,
        *,
        learning_rate: float,
        batch_size: int,
        order: Any = None,
        sample_weight: Array | None = None,
    ) -> float:
        """See :class:`xpnet.backend.Step`."""
        with self._lock, self._hold:
            job = self._job
            job.updating, job.rule.learning_rate = 1, learning_rate
            loss = self._train(X, Y, batch_size, order, sample_weight)
            job.updates_made += job.steps
            return loss

    def loss(self, X: Array, Y: Labels, *, sample_weight: Array | None = None, rows: Any = None) -> float:
        """See :class:`xpnet.backend.Step`."""
        if rows is not None:
            X, Y, sample_weight = X[rows], Y[rows], None if sample_weight is None else sample_weight[rows]
        total = weights = 0.0
        for start in range(0, X.shape[0], LOSS_ROWS):
            block = slice(start, start + LOSS_ROWS)
            w = None if sample_weight is None else sample_weight[block]
            weight = float(X[block].shape[0] if w is None else w.sum())
            total += weight * self.gradient(X[block], Y[block], sample_weight=w)
            weights += weight
        return total / weights if weights else 0.0

    def gradient(
        self,
        X: Array,
        Y: Labels,
        *,
        sample_weight: Array | None = None,
        rows: Any = None,
        part: BatchPart | None = None,
    ) -> float:
        """See :class:`xpnet.backend.Step`."""
        with self._lock, self._hold:
            self._job.updating = 0
            if rows is not None:
                X, Y, sample_weight = X[rows], Y[rows], None if sample_weight is None else sample_weight[rows]
            if not X.shape[0]:
                self.gradients.flat.fill(0)  # type: ignore[union-attr]
            mean = self._train(X, Y, X.shape[0], None, sample_weight)
            return mean if part is None else self._scale_to(part, mean, X, sample_weight)

    def _scale_to(self, part: BatchPart, mean: float, X: Array, sample_weight: Array | None) -> float:
        """Turn the mean over these rows, penalty included, into their part of a batch."""
        weight = float(X.shape[0] if sample_weight is None else sample_weight.sum())
        share, l2 = weight / part.total_weight, self.spec.l2
        own_l2, part_l2 = (l2 / w if self.spec.l2_over_batch else l2 for w in (weight or 1.0, part.total_weight))
        squares = 0.0
        for name in self.spec.parameter_names:
            grad = self.gradients[name]
            grad *= share
            if name in self.spec.parameter_names[::2] and l2:
                param = self.params[name]
                grad += ((part_l2 if part.penalized else 0.0) - (share * own_l2 if weight else 0.0)) * param
                squares += float((param * param).sum())
        loss = share * (mean - self.penalty)
        self.penalty = part_l2 / 2 * squares if part.penalized else 0.0
        return loss + self.penalty

    def update(self, *, learning_rate: float) -> None:
        """See :class:`xpnet.backend.Step`."""
        with self._lock:
            job, workspace = self._job, self._workspace or self._workspace_for(1)
            job.rule.learning_rate = learning_rate
            workspace.begin(threads := min(get_threads(), job.slices))
            self._run("update", job, workspace.slices_at, threads)
            job.updates_made += 1

    def forward(self, X: Array) -> Array:
        """See :class:`xpnet.backend.Step`."""
        with self._lock:
            self._prediction.spoiled_at = 0
            return self._predict(X)

    def forward_finite(self, X: Array) -> Array | None:
        """See :class:`xpnet.backend.step.CheckingStep`."""
        spoiled = ctypes.c_int64()
        with self._lock:
            self._prediction.spoiled_at = ctypes.addressof(spoiled)
            self._prediction.find_spoiled_at = leaves.address("find_spoiled", self.spec.dtype)
            outputs = self._predict(X)
        return None if spoiled.value else outputs

    def _predict(self, X: Array) -> Array:
        few = X.shape[0] < FEW
        with nullcontext() if few or X.shape[0] * self._largest_weight <= UNTHREADED else self._hold:
            job, (x, self._prediction.x_row) = self._prediction, by_rows(X, self.spec.dtype)
            job.output_at = leaves.address(OUTPUTS[self.spec.loss], self.spec.dtype)
            job.multiply_at = leaves.address("multiply_few" if few else self._product, self.spec.dtype)
            job.rows = x.shape[0]
            result = numpy.empty((job.rows, job.outputs), self.spec.dtype)
            job.threads = max(1, min(get_threads(), -(-job.rows // PREDICTION_ROWS)))
            room = job.threads * PREDICTION_ROWS * sum(self.spec.widths[1:-1])
            if self._hidden.size < room:
                self._hidden = aligned(room, self.spec.dtype)
                job.hidden_at = place(self._hidden)
            self._counter.value = 0
            job.x_at, job.result_at = place(x), place(result)
            self._run("predict", job, 0, job.threads)
            return result

    def state(self) -> StepState:
        """See :class:`xpnet.backend.Step`."""
        buffers = {name: _copies(arrays) for name, arrays in self.buffers.items()}
        return StepState(_copies(self.params), buffers, self._job.updates_made)

    def load_state(self, state: StepState) -> None:
        """See :class:`xpnet.backend.Step`."""
        self._job.updates_made = state.t
        self.params.update(state.params)
        for name, arrays in self.buffers.items():
            arrays.update(state.buffers.get(name) or {n: numpy.zeros_like(a) for n, a in arrays.items()})

    def _train(
        self, X: Array, Y: Labels, batch_size: int, order: Any = None, sample_weight: Array | None = None
    ) -> float:
        """Batches over all rows; returns the mean loss, and sets how much of it is the penalty."""
        job, rows, self.penalty = self._job, X.shape[0], 0.0
        job.steps = -(-rows // batch_size) if rows else 0
        if not rows:
            return 0.0
        workspace = self._workspace_for(min(batch_size, rows))
        alive = self._enter_data(workspace, X, Y, order), self._enter_weights(rows, batch_size, order, sample_weight)
        workspace.begin(threads := min(get_threads(), max(job.blocks, job.slices)))
        self._run("train", job, workspace.slices_at, threads)
        total = rows if sample_weight is None else float(alive[1][1].sum())
        self.penalty = job.penalty / total if total else 0.0
        return job.loss / total + self.penalty if total else 0.0

    def _enter_data(self, workspace: Workspace, X: Array, Y: Labels, order: Any) -> tuple[Any, Any, Any]:
        """Tell the job of X, Y and order; returns what must be kept alive while it runs."""
        job, dtype = self._job, self.spec.dtype
        (x, job.x_row), y = by_rows(X, dtype), numpy.ascontiguousarray(Y, dtype)
        leaf: str = self.spec.loss
        if leaf == "softmax_cross_entropy":
            leaf += "_indices" if y.ndim == 1 else "_rows"
        job.rows, job.label_width = x.shape[0], y.size // y.shape[0]
        job.loss_at, job.x_at, job.y_at = leaves.address(leaf, dtype), place(x), place(y)
        job.ordered = order is not None
        job.x_is_far = order is None and job.steps > 1
        if order is not None:
            order = numpy.ascontiguousarray(order, numpy.int64)
            job.order_at, job.gather_at = place(order), leaves.address("gather_rows", dtype)
            workspace.make_room()
        return x, y, order

    def _enter_weights(self, rows: int, batch_size: int, order: Any, sample_weight: Any) -> tuple[Any, Any]:
        """Tell the job of sample weights; returns them as the batches take them, and their sum in each batch."""
        job, dtype = self._job, self.spec.dtype
        job.weighted = sample_weight is not None
        if sample_weight is None:
            sums = _batch_sizes(rows, batch_size)
        else:
            sample_weight = numpy.ascontiguousarray(sample_weight if order is None else sample_weight[order], dtype)
            sums = numpy.add.reduceat(sample_weight, range(0, rows, batch_size), dtype="float64")
            job.weights_at = place(sample_weight)
        job.batch_weights_at = place(sums)
        return sample_weight, sums

    def _workspace_for(self, batch_rows: int) -> Workspace:
        if self._workspace is None or self._workspace.plan.batch_rows != batch_rows:
            plan = make_plan(self.spec, self._layers, batch_rows, allowed_threads())
            for layer in self._layers:
                layer.bias_sum = layer.bias if plan.narrow else layer.column
            self._workspace = Workspace(self.spec, plan, self._job, _buffer_size(self.spec))
        return self._workspace

    def _run(self, name: str, job: Job, slices_at: int, threads: int) -> None:
        """Run a driver on so many threads."""
        arguments = ctypes.addressof(job), ctypes.addressof(self._layers), slices_at, job.params_at
        team.team.run(driver.address(name, self.spec.dtype), arguments, threads)


def _product() -> str:
    """The leaf that multiplies matrices."""
    return "multiply" if WIDE else "multiply_by_blas"


def _parameters(spec: NetworkSpec) -> Parameters:
    """Zeros in one flat buffer, in which every parameter begins at a cache line."""
    return Parameters.over(aligned(_buffer_size(spec), spec.dtype), spec, numpy_backend, align=_alignment(spec))


def _alignment(spec: NetworkSpec) -> int:
    """Items in a cache line."""
    return LINE // numpy.dtype(spec.dtype).itemsize


def _buffer_size(spec: NetworkSpec) -> int:
    """Items in the flat buffer of all parameters."""
    last = spec.slots(_alignment(spec))[-1]
    return last.offset + -(-last.shape[0] // _alignment(spec)) * _alignment(spec)


@lru_cache(maxsize=8)
def _batch_sizes(rows: int, batch_size: int) -> Any:
    """The rows of each batch, as float64 (batches,)."""
    sizes = numpy.full(-(-rows // batch_size), batch_size, "float64")
    sizes[-1] = rows - batch_size * (sizes.size - 1)
    return sizes


def _make_job(step: CompiledStep) -> Job:
    """A job with all that does not change from call to call."""
    spec, rule = step.spec, step.spec.rule
    buffers = [place(b.flat) for b in step.buffers.values()] + [place(step.params.flat)] * 2  # some rules have none
    numbers = (0.0, rule.momentum, rule.beta1, rule.beta2, rule.epsilon, rule.weight_decay, rule.epsilon_hat)
    return Job(
        inputs=spec.widths[0],
        outputs=spec.widths[-1],
        layers=spec.layers,
        penalized=spec.l2 > 0,
        l2=spec.l2,
        l2_over_batch=spec.l2_over_batch,
        rule=Rule(*numbers),
        params_at=place(step.params.flat),
        gradients_at=place(step.gradients.flat),
        first_at=buffers[0],
        second_at=buffers[1],
        gemm_at=gemm_address(spec.dtype),
        **{f"{role}_at": leaves.address(leaf, spec.dtype) for role, leaf in _leaf_names(spec).items()},
    )


def _leaf_names(spec: NetworkSpec) -> dict[str, str]:
    """The leaves that every call needs, by their role in the job; those of activations stand with their layers."""
    rule = spec.rule
    momentum = ("nesterov" if rule.nesterov else "momentum") if rule.momentum else "sgd"
    update = "adam" if rule.name == "adam" else momentum
    roles = {"update": update, "multiply": _product(), "add_rows": "add_rows", "read_ahead": "read_ahead"}
    return roles | ({"penalize": "penalize"} if spec.l2 > 0 else {})


def _layer_table(spec: NetworkSpec) -> Any:
    """The affine layers, each with the leaves of the activation behind it."""
    slots = spec.slots(_alignment(spec))
    rows = []
    for i, activation in enumerate((*spec.activations, "identity")):
        fan_in, fan_out = slots[2 * i].shape
        rows.append(
            Layer(
                fan_in=fan_in,
                fan_out=fan_out,
                weight=slots[2 * i].offset,
                bias=slots[2 * i + 1].offset,
                column=sum(spec.widths[1 : i + 1]),
                input_column=sum(spec.widths[1:i]) if i else -1,
                read_ahead=fan_in * fan_out * LINE <= NEAR_BYTES * _alignment(spec),
                forward=leaves.address(f"{activation}_forward", spec.dtype),
                backward=leaves.address(f"{activation}_backward", spec.dtype) if i < len(spec.activations) else 0,
            )
        )
    return (Layer * spec.layers)(*rows)


def _copies(parameters: Parameters) -> dict[str, Any]:
    return {name: array.copy() for name, array in parameters.items()}
