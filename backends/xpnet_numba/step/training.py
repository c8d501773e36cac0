"""Training on the rows of a call: Python's side of ``train``, which contains the work of the
threads.
"""

import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy

from xpnet.backend import BatchPart, NetworkSpec
from xpnet.backend.threads import allowed_threads, threads_of_training
from xpnet_numba.runtime.memory import check_memory
from xpnet_numba.step.arrays import CallData, batch_weights, set_data
from xpnet_numba.step.functions import run_job
from xpnet_numba.step.job import address_of
from xpnet_numba.step.layout import layer_table
from xpnet_numba.step.memory import StepMemory
from xpnet_numba.step.plan import Plan, make_member_plan, make_plan
from xpnet_numba.step.shared_memory import UPDATE
from xpnet_numba.step.workspace import Workspace, set_buffers

PARTS_LIKE = 8
"""A plan is also used for parts of a batch, down to an eighth of the plan's rows."""

SECONDS_PER_CALL = 0.2
"""Seconds of work in one call of compiled code. Ctrl-C takes effect between calls, each of which
costs some microseconds.
"""


class Trainer:
    """Trains a network on batches of the rows of a call, or computes the gradient of a batch.

    An epoch can be interrupted between batches: then parameters, optimizer and number of updates
    are those after the last complete batch.

    memory : the parameters
    """

    def __init__(self, memory: StepMemory) -> None:
        self.memory = memory
        self.spec = memory.spec
        self.job = memory.new_job()
        self._workspace: Workspace | None = None
        self._steps_per_call = 1  # until a call has been timed
        self._data_of_job: CallData | None = None

    def train(
        self,
        data: CallData,
        batch_size: int,
        learning_rate: float | None,
        *,
        part: BatchPart | None = None,
        report: Callable[[int], None] | None = None,
    ) -> tuple[float, float]:
        """Train on batches of all rows, without updates if ``learning_rate`` is None; return the
        mean loss, penalty included, and the penalty.

        part : the place of the rows in a larger batch; None for a whole batch
        report : called with the number of rows that are done, a few times a second
        """
        if not data.rows:
            return 0.0, 0.0
        job = self.job
        workspace = self._set_batches(data, batch_size, part)
        workspace.arrays["totals_at"].fill(0)
        job.updating = learning_rate is not None
        self.memory.set_learning_rate(learning_rate or 0.0)
        job.penalized = self.spec.l2 > 0 and (part is None or part.penalized)
        self._run_steps(workspace, -(-data.rows // batch_size), report)
        total = data.rows if data.weights is None and part is None else float(data.shares.sum())
        if not total:
            return 0.0, 0.0
        penalty = job.penalty / total
        return job.loss / total + penalty, penalty

    def train_epochs(
        self,
        data: CallData,
        batch_size: int,
        learning_rates: Sequence[float],
        orders: Sequence[Any] | None,
        report: Callable[[int], None] | None = None,
    ) -> list[tuple[float, float]]:
        """Train for several epochs; return the mean loss and the penalty of each.

        data : with the first order; orders : of each epoch, None where rows are not shuffled
        """
        results = [self.train(data, batch_size, learning_rates[0], report=report)]
        try:
            self._data_of_job = data  # only the order differs from here on
            for epoch in range(1, len(learning_rates)):
                if orders is not None:
                    data.order = numpy.ascontiguousarray(orders[epoch], numpy.int64)
                    self.job.order_at = address_of(data.order)
                results.append(self.train(data, batch_size, learning_rates[epoch], report=report))
        finally:
            self._data_of_job = None
        return results

    def update(self, learning_rate: float) -> None:
        """Update the parameters by the gradient that is in its buffer."""
        job = self.job
        workspace = self._workspace or self._workspace_for(1, 0)
        threads = threads_for(workspace.plan)
        self.memory.set_learning_rate(learning_rate)
        workspace.reset(job, threads)
        job.updating = True
        job.first_step = 0
        job.phase = UPDATE
        job.first_piece = 0
        job.end_piece = job.slices
        run_job("train_phase", self.spec, job, threads)
        job.updates_made += 1

    def forget_data(self) -> None:
        """Let go of the rows of the last call."""
        self._data_of_job = None

    def _set_batches(self, data: CallData, batch_size: int, part: BatchPart | None) -> Workspace:
        """Set the job's data, unless they are set from the last call; return its workspace."""
        job = self.job
        last = self._workspace
        if last is not None and data is self._data_of_job and part is None:
            return last
        self._data_of_job = None  # the job changes from here on, and Ctrl-C may interrupt this
        if part is not None:
            data.sums = numpy.array([part.total_weight], "float64")
            data.rows_of_batch = (
                None if part.places is None else numpy.ascontiguousarray(part.places, numpy.int64)
            )
        elif data.sums is None:
            data.sums = batch_weights(data, batch_size)
        rows = data.rows
        batch_rows = min(batch_size, rows) if part is None else self._room_for_part(rows)
        label_width = 0 if data.order is None else data.label_width
        workspace = self._workspace_for(batch_rows, label_width, sparse=data.sparsity is not None)
        if data.shares is None:
            data.shares = data.sums
        set_data(job, data, self.spec)
        job.first_row = 0 if part is None or part.places is not None else part.first_row
        if data.may_repeat:
            self._data_of_job = data
        return workspace

    def _room_for_part(self, rows: int) -> int:
        """Return the rows to plan for if these rows are part of a batch: parts of similar sizes
        share one plan.
        """
        last = 0 if self._workspace is None else self._workspace.plan.batch_rows
        if last // PARTS_LIKE <= rows <= last:
            return last
        return rows + rows // 4 if last < rows < 2 * last else rows

    def _run_steps(
        self, workspace: Workspace, steps: int, report: Callable[[int], None] | None
    ) -> None:
        """Call compiled code, each time for the number of steps that takes ``SECONDS_PER_CALL``."""
        job = self.job
        job.first_step = 0
        while job.first_step < steps:
            job.steps = min(self._steps_per_call, steps - job.first_step)
            threads = threads_for(workspace.plan)
            workspace.reset(job, threads)
            started = time.perf_counter()
            run_job("train", self.spec, job, threads)
            if job.steps == self._steps_per_call:
                pace = SECONDS_PER_CALL / max(time.perf_counter() - started, 1e-9)
                self._steps_per_call = max(1, int(self._steps_per_call * min(pace, 4.0)))
            job.first_step += job.steps
            if report is not None and job.first_step < steps:
                report(job.first_step * job.batch_rows)

    def _workspace_for(
        self, batch_rows: int, label_width: int, *, sparse: bool = False
    ) -> Workspace:
        """Return a workspace for batches of ``batch_rows`` rows and gathered labels of this width
        (0 for none), which is bound to the job. The last one is used again if it suffices.
        """
        last = self._workspace
        if (
            last is not None
            and last.plan.batch_rows == batch_rows
            and last.plan.sparse == sparse
            and last.label_width >= label_width
        ):
            return last
        memory = self.memory
        plan = plan_of(self.spec, batch_rows, allowed_threads(), sparse)
        workspace = Workspace(self.spec, plan, label_width, products=memory.products)
        memory.allocate("gradients", *self.spec.rule.buffers)
        flat_bytes = sum(flat.nbytes for flat in memory.flat.values()) if last is None else 0
        check_memory(workspace.nbytes + flat_bytes, f"Training on batches of {batch_rows} rows")
        # All memory is allocated: nothing fails from here on.
        set_buffers(self.job, memory.flat, self.spec)
        workspace.bind(self.job)
        self._workspace = workspace
        return workspace


@lru_cache(maxsize=64)
def plan_of(spec: NetworkSpec, batch_rows: int, cores: int, sparse: bool) -> Plan:
    """Return the plan for batches of a kind of network, computed once."""
    make = make_plan if spec.members == 1 else make_member_plan
    return make(spec, list(layer_table(spec)), batch_rows, cores, sparse=sparse)


def threads_for(plan: Plan) -> int:
    """Return the number of threads that work. A system call for it takes some microseconds, which
    is long for a small batch.
    """
    return 1 if plan.workers == 1 else min(threads_of_training(), plan.workers)
