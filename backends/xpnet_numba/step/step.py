"""The compiled training step of the Numba backend: a few calls of compiled code run a whole epoch.

This module keeps the contract of a step. ``training`` is Python's side of training, ``evaluation``
that of predictions and losses. ``arrays`` reads the arrays of a call. ``train`` and ``forward``
contain the work of the threads and explain it, ``plan`` divides the work, and ``job`` is the table
that both sides share.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import replace
from functools import cached_property
from itertools import product
from operator import is_
from typing import Any

import numpy

from xpnet.backend import (
    BatchPart,
    EpochRows,
    FinitePredictions,
    NetworkSpec,
    Parameters,
    ProgressReports,
    SeveralEpochs,
    SharedMemoryEpochs,
    SideBySide,
    Step,
    StepState,
    WeightedEpochs,
    get_threads,
)
from xpnet.backend.group import SharedMemoryGroup
from xpnet.backend.threads import allowed_threads, training_in_this_process
from xpnet.ops import Array, Labels
from xpnet.steps.generic import weighted_epoch_by_batches
from xpnet.typing import SparseMatrix
from xpnet_numba.loops import bfloat16
from xpnet_numba.loops.activations import ACTIVATIONS
from xpnet_numba.runtime import threads
from xpnet_numba.runtime.bfloat16 import Products, choose_products
from xpnet_numba.step import functions
from xpnet_numba.step.arrays import (
    CallData,
    batch_sizes,
    batch_weights,
    natural_order,
    read,
    set_data,
)
from xpnet_numba.step.evaluation import Evaluator
from xpnet_numba.step.functions import JOBS, job_function, prediction_entry
from xpnet_numba.step.job import Job
from xpnet_numba.step.layout import parameters
from xpnet_numba.step.many import ManyTrainings, draws_as_numpy, many_function
from xpnet_numba.step.memory import StepMemory
from xpnet_numba.step.shared_memory import SharedMemoryTraining
from xpnet_numba.step.training import Trainer, plan_of
from xpnet_numba.step.workspace import Workspace, set_buffers

MAX_EPOCHS_AT_ONCE = 32
"""Maximum number of epochs in one call: enough that Python's part of a call does not matter."""

MAX_PRODUCTS_AT_ONCE = 1e8
"""Maximum number of products of a row and a parameter in epochs that are made at once: some
hundredths of a second. Longer epochs gain nothing by it.
"""

BRIEF = 1e9
"""Maximum number of products of a row and a parameter in an epoch of one network that trains side
by side with others: some tenths of a second, since Ctrl-C then takes effect between epochs.
"""


def compile_step(spec: NetworkSpec, precision: str = "fp32") -> "NumbaStep | str":
    """Return the compiled step for a network, or a sentence with the reason why there is none.

    precision : of products of float32, ``fp32`` or ``bf16``

    Nothing is compiled yet: each loop is compiled at first use, and stored on disk.
    """
    if missing := set(spec.activations) - set(ACTIVATIONS):
        return f"the Numba backend has no loop for the activation {', '.join(sorted(missing))}"
    return NumbaStep(spec, precision)


def warmup(precision: str = "fp32") -> None:
    """Compile everything that any step of a precision may need on this machine, for both dtypes."""
    threads.attend_entry()
    threads.share_entry()
    draws_as_numpy()
    for dtype in ("float32", "float64"):
        prediction_entry(dtype)
        many_function(dtype)
        for name, members in product(JOBS, (False, True)):
            job_function(name, dtype, members=members)
        for name in functions.FUNCTIONS.keys() - bfloat16.PRODUCTS.keys():
            functions.address(name, dtype)
    functions.address(choose_products(precision, "float32", 0).function, "float32")


class NumbaStep(
    SeveralEpochs,
    WeightedEpochs,
    FinitePredictions,
    ProgressReports,
    SideBySide,
    SharedMemoryEpochs,
):
    """A training step in compiled code, on all threads: see :class:`xpnet.backend.Step`.

    X may be a SciPy matrix of compressed rows. Then the first layer's products are loops over the
    stored numbers.

    It serves one call at a time: callers that share it among threads must use a lock. An epoch can
    be interrupted between batches: then parameters, optimizer and number of updates are those after
    the last complete batch. Memory for a batch grows with its rows, unless the network has few
    parameters for so large a batch: then a batch of any size takes memory for a few blocks.
    """

    takes_sparse = True
    takes_offsets = True

    def __init__(self, spec: NetworkSpec, precision: str = "fp32") -> None:
        self.spec = spec
        self._memory = StepMemory(spec, precision)
        self.params = self._memory.params
        self.evaluator = Evaluator(self._memory)
        self.trainer = Trainer(self._memory)
        self._common: SharedMemoryTraining | None = None
        self._running = 0
        # Inside of ``running``: the arguments of the last call, which may be repeated, and the
        # arrays read from them.
        self._last_arguments: tuple[object, ...] = ()
        self._read: CallData | None = None

    @property
    def why(self) -> str:
        """See :class:`xpnet.backend.Step`."""
        count = get_threads()
        on_threads = f"on {count} thread{'s' * (count > 1)}"
        reason = self._memory.products.reason
        return f"the Numba backend's compiled step, {on_threads}, products by {reason}"

    @property
    def products(self) -> Products:
        """Return the matrix products that run, and why."""
        return self._memory.products

    def forward(self, X: Array) -> Array:
        """See :class:`xpnet.backend.Step`."""
        return self.evaluator.forward(X)

    def forward_finite(self, X: numpy.ndarray | SparseMatrix) -> Array | None:
        """See :class:`xpnet.backend.Step`."""
        return self.evaluator.forward_finite(X)

    def loss(
        self, X: Array, Y: Labels, *, sample_weight: Array | None = None, rows: Any = None
    ) -> float:
        """See :class:`xpnet.backend.Step`."""
        loss, self.penalty = self.evaluator.loss(X, Y, sample_weight, rows)
        return loss

    @cached_property
    def gradients(self) -> Parameters:
        """See :class:`xpnet.backend.Step`."""
        self._memory.allocate("gradients")
        return parameters(self.spec, self._memory.flat["gradients"])

    @cached_property
    def buffers(self) -> dict[str, Parameters]:
        """The optimizer's arrays, by buffer name."""
        names = self.spec.rule.buffers
        self._memory.allocate(*names)
        return {name: parameters(self.spec, self._memory.flat[name]) for name in names}

    @contextmanager
    def running(self) -> Iterator[None]:
        """In this context the arrays of repeated gradients or epochs are read once, BLAS is limited
        to one thread if products use it, and other trainings leave threads for this one.
        """
        self._running += 1
        is_first = self._running == 1
        try:
            with self._memory.limits, training_in_this_process() if is_first else nullcontext():
                yield
        finally:
            self._running -= 1
            if not self._running:
                self._last_arguments = ()
                self._read = None
                self.trainer.forget_data()

    def read_again(self, *arguments: Any) -> CallData:
        """Return the arrays of a call that may be repeated: the same object if the arguments are
        those of the last call.

        arguments : X, Y, order, sample_weight, and the batch size, or None for all rows
        """
        if self._read is not None and all(map(is_, arguments, self._last_arguments)):
            return self._read
        data = read(self.spec, *arguments[:4])
        if self._running:
            data.may_repeat = True
            self._last_arguments = arguments
            self._read = data
        return data

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
        with self._memory.limits:
            if order is None:
                data = self.read_again(X, Y, None, sample_weight, batch_size)
            else:
                data = read(self.spec, X, Y, order, sample_weight)
            return self._train(data, batch_size, learning_rate)

    def epochs_at_once(self, rows: int, batch_size: int) -> int:
        """See :class:`xpnet.backend.Step`. Other threads, such as those that predict, wait for the
        end of these epochs.
        """
        products = rows * self._memory.size * self.spec.members
        return max(1, min(MAX_EPOCHS_AT_ONCE, int(MAX_PRODUCTS_AT_ONCE // max(products, 1))))

    def epochs(
        self,
        X: Array,
        Y: Labels,
        *,
        learning_rates: Sequence[float],
        batch_size: int,
        orders: Sequence[Any] | None = None,
        sample_weight: Array | None = None,
    ) -> list[float]:
        """See :class:`xpnet.backend.Step`."""
        if sample_weight is not None:
            return super().epochs(
                X,
                Y,
                learning_rates=learning_rates,
                batch_size=batch_size,
                orders=orders,
                sample_weight=sample_weight,
            )
        with self._memory.limits:
            data = read(self.spec, X, Y, None if orders is None else orders[0], None)
            results = self.trainer.train_epochs(
                data, batch_size, learning_rates, orders, self.report
            )
        losses = [loss for loss, _ in results]
        self.penalties = [penalty for _, penalty in results]
        self.penalty = self.penalties[-1]
        return losses

    def weighted_epoch(
        self,
        X: Array,
        Y: Labels,
        *,
        learning_rate: float,
        batch_size: int,
        order: Any = None,
        sample_weight: Array | None = None,
        max_grad_norm: float | None = None,
    ) -> float:
        """See :class:`xpnet.backend.Step`."""
        if max_grad_norm is None:
            with self._memory.limits:
                data = read(self.spec, X, Y, order, sample_weight)
                data.sums = batch_weights(data, batch_size)
                data.shares = batch_sizes(data.rows, batch_size)
                if data.sums.all():
                    return self._train(data, batch_size, learning_rate)
        return weighted_epoch_by_batches(
            self,
            X,
            Y,
            learning_rate=learning_rate,
            batch_size=batch_size,
            order=order,
            sample_weight=sample_weight,
            max_grad_norm=max_grad_norm,
        )

    def shared_memory_epoch(
        self,
        rows: EpochRows,
        *,
        learning_rate: float,
        is_row_mean: bool,
        max_grad_norm: float | None,
        group: SharedMemoryGroup,
    ) -> float | None:
        """See :class:`xpnet.backend.Step`."""
        with self._memory.limits:
            data = read(self.spec, rows.X, rows.Y, rows.order, rows.sample_weight)
            data.sums = batch_weights(data, rows.batch_size)
            sizes = batch_sizes(data.rows, rows.batch_size)
            data.shares = sizes if is_row_mean else data.sums
            if is_row_mean and not data.sums.all():
                return None
            common = self._shared_memory_training(data, rows.batch_size, group)
            if not common.bind():
                return None
            set_data(common.job, data, self.spec)
            self._memory.set_learning_rate(learning_rate)
            self._memory.allocate(*self.spec.rule.buffers)
            common.job.updates_made = self.trainer.job.updates_made
            loss, self.penalty = common.train(data.shares, self._memory.flat, max_grad_norm)
            self.trainer.job.updates_made = common.job.updates_made
            return loss

    def _shared_memory_training(
        self, data: CallData, batch_size: int, group: SharedMemoryGroup
    ) -> SharedMemoryTraining:
        """Return a training by the ranks of a group; the last one is used again if it suffices."""
        cores = group.size * group.broadcast(allowed_threads())
        batch_rows = min(batch_size, data.rows)
        plan = plan_of(self.spec, batch_rows, cores, data.sparsity is not None)
        label_width = 0 if data.order is None else data.label_width
        last = self._common
        if (
            last is not None
            and last.group is group
            and last.plan is plan
            and last.label_width >= label_width
        ):
            return last
        workspace = Workspace(self.spec, plan, label_width, products=self.products)
        job = self._memory.new_job()
        self._common = SharedMemoryTraining(self.spec, group, workspace, job)
        return self._common

    @contextmanager
    def side_by_side(
        self,
        steps: Sequence[Step],
        X: Array,
        Y: Labels,
        *,
        batch_size: int,
        rows: Sequence[Any],
        rngs: Any,
    ) -> Iterator[Callable[[int, Sequence[float]], list[float]] | None]:
        """See :class:`xpnet.backend.Step`."""
        longest = max(X.shape[0] if of_one is None else len(of_one) for of_one in rows)
        is_long = longest * self._memory.size * self.spec.members > BRIEF
        if is_long or (rngs and not draws_as_numpy()):
            yield None
            return
        with self.running():
            all_data = read(self.spec, X, Y, natural_order(X.shape[0]) if rngs else None, None)
            orders = (
                None if of_one is None else numpy.ascontiguousarray(of_one, numpy.int64)
                for of_one in rows
            )
            data = [
                all_data if order is None else replace(all_data, order=order, rows=order.size)
                for order in orders
            ]
            plan = plan_of(
                self.spec,
                min(batch_size, longest),
                allowed_threads(),
                all_data.sparsity is not None,
            )
            with closing(ManyTrainings(steps, data, plan, rngs)) as training:
                yield training.epoch

    def separate_job(self) -> Job:
        """Return a separate job that trains these parameters with this optimizer."""
        self._memory.allocate("gradients", *self.spec.rule.buffers)
        job = self._memory.new_job()
        set_buffers(job, self._memory.flat, self.spec)
        job.updates_made = self.trainer.job.updates_made
        return job

    def set_learning_rate(self, learning_rate: float) -> None:
        """Set the learning rate of all jobs of this step."""
        self._memory.set_learning_rate(learning_rate)

    def take_over(self, job: Job) -> float:
        """Count the updates of an epoch of another job; return its mean loss, for rows without
        sample weights.
        """
        self.trainer.job.updates_made = job.updates_made
        self.penalty = job.penalty / job.rows
        return job.loss / job.rows + self.penalty

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
        with self._memory.limits:
            if part is None:
                data = self.read_again(X, Y, rows, sample_weight, None)
            else:
                data = read(self.spec, X, Y, rows, sample_weight)
            if data.rows and self._batch_weight(data, part):
                return self._train(data, data.rows, None, part)
            return self._gradient_of_nothing(part or BatchPart(0.0))

    def update(self, *, learning_rate: float) -> None:
        """See :class:`xpnet.backend.Step`."""
        self.trainer.update(learning_rate)

    def state(self) -> StepState:
        """See :class:`xpnet.backend.Step`."""
        t = self.trainer.job.updates_made
        used = self.buffers if t else {}  # before the first update they are zero
        return StepState(
            self.params.to_host(), {name: arrays.to_host() for name, arrays in used.items()}, t
        )

    def load_state(self, state: StepState) -> None:
        """See :class:`xpnet.backend.Step`."""
        self.trainer.job.updates_made = state.t
        self.params.update(state.params)
        for name, arrays in self.buffers.items():
            arrays.update(
                state.buffers.get(name) or {n: numpy.zeros_like(a) for n, a in arrays.items()}
            )

    def snapshot(self) -> Callable[[], None]:
        """See :class:`xpnet.backend.Step`."""
        t = self.trainer.job.updates_made
        names = ("params", *self.spec.rule.buffers)
        copies = {name: self._memory.flat[name].copy() for name in (names if t else names[:1])}

        def restore() -> None:
            """Put the number of updates and the copied arrays back."""
            self.trainer.job.updates_made = t
            for name in self._memory.flat.keys() & names:
                # Before the first update the optimizer's arrays are zero.
                self._memory.flat[name][:] = copies.get(name, 0)

        return restore

    def _train(
        self,
        data: CallData,
        batch_size: int,
        learning_rate: float | None,
        part: BatchPart | None = None,
    ) -> float:
        """Train on batches of all rows, without updates if ``learning_rate`` is None; return the
        mean loss, and set ``penalty``.
        """
        loss, self.penalty = self.trainer.train(
            data, batch_size, learning_rate, part=part, report=self.report
        )
        return loss

    @staticmethod
    def _batch_weight(data: CallData, part: BatchPart | None) -> float:
        """Return the weight of the batch that these rows, or this part and others, make up."""
        if part is not None:
            return part.total_weight
        if data.sums is None:
            data.sums = batch_weights(data, data.rows)
        return float(data.sums[0])

    def _gradient_of_nothing(self, part: BatchPart) -> float:
        """Set the gradient of rows without weight: zero or the penalty's gradient; return the
        penalty.
        """
        self.gradients.flat.fill(0)  # type: ignore[union-attr]
        self.penalty = 0.0
        if self.spec.l2 and part.penalized:
            l2 = self.spec.l2_for(part.total_weight)
            self.penalty = self.evaluator.penalty(part.total_weight)
            for name in self.spec.weight_names:
                self.gradients[name] = l2 * self.params[name]
        return self.penalty
