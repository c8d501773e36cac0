"""Predictions and losses: Python's side of ``forward``, which contains the work of the threads."""

import ctypes
from collections.abc import Iterable
from functools import cached_property
from typing import Any

import numpy

from xpnet.backend import get_threads
from xpnet.backend.spec import OUTPUT_ACTIVATIONS
from xpnet.backend.threads import threads_of_training
from xpnet.ops import Array, Labels
from xpnet.typing import Rows, SparseMatrix
from xpnet_numba.runtime import threads
from xpnet_numba.runtime.memory import check_memory
from xpnet_numba.step import functions, plan
from xpnet_numba.step.arrays import CallData, natural_order, read, readable_rows, set_data
from xpnet_numba.step.functions import job_function, prediction_entry, run_job
from xpnet_numba.step.job import Job, set_pointers
from xpnet_numba.step.memory import StepMemory
from xpnet_numba.step.workspace import Workspace

WORK_PER_CALL = 2**31
"""Number of products of a row and a parameter that one call of compiled code computes, some tenths
of a second. Ctrl-C takes effect between calls, each of which costs some microseconds.
"""

WORK_PER_INPUT = 64
"""Number of products that take as long as reading one input, which may be on a slow disk.
"""

FEW = 3
"""Minimum number of rows that are predicted together. Fewer rows are predicted one by one, since
reading each weight once for all rows pays only for more.
"""

_NO_LABELS = numpy.zeros(0, numpy.int64)


class Evaluator:
    """Predicts rows with a network, and measures their losses.

    memory : the parameters
    """

    def __init__(self, memory: StepMemory) -> None:
        self.memory = memory
        self.spec = memory.spec
        self._workspace: Workspace | None = None

    def forward(self, X: Rows) -> Array:
        """See :class:`xpnet.backend.Step`."""
        self._job.nonfinite_at = 0
        return self._outputs(X)

    def forward_finite(self, X: numpy.ndarray | SparseMatrix) -> Array | None:
        """See :class:`xpnet.backend.Step`. The check needs no separate pass over X."""
        if hasattr(X, "indptr"):
            return self.forward(X) if numpy.isfinite(X.data).all() else None
        has_nonfinite = ctypes.c_double()
        self._job.nonfinite_at = ctypes.addressof(has_nonfinite)
        outputs = self._outputs(X)
        return None if has_nonfinite.value else outputs

    def _outputs(self, X: Rows) -> Array:
        """Predict all rows, in calls of compiled code that are short enough for Ctrl-C."""
        rows = X.shape[0]
        result = numpy.empty((rows, self.spec.widths[-1]), self.spec.dtype)
        if rows < FEW and not hasattr(X, "indptr"):  # without BLAS
            self._predict(X, result)
            return result
        check_memory(result.nbytes, f"A prediction for {rows} rows")
        with self.memory.limits:
            work = self.memory.size + WORK_PER_INPUT * self.spec.widths[0]  # of a row
            # one block for each thread at least
            blocks = max(WORK_PER_CALL // (plan.EVALUATED_ROWS * work), get_threads())
            for first in range(0, rows, blocks * plan.EVALUATED_ROWS):
                block = slice(first, first + blocks * plan.EVALUATED_ROWS)
                self._predict(X[block], result[block])
        return result

    def loss(
        self, X: Array, Y: Labels, sample_weight: Array | None, rows: numpy.ndarray | None
    ) -> tuple[float, float]:
        """Measure the mean loss of rows; return it, penalty included, and the penalty."""
        with self.memory.limits:
            data = read(self.spec, X, Y, rows, sample_weight)
            weight = float(data.rows if data.weights is None else data.weights.sum(dtype="float64"))
            if not weight:
                return 0.0, 0.0
            penalty = self.penalty(weight)
            totals = numpy.zeros(-(-data.rows // plan.EVALUATED_ROWS))
            self._evaluate("measure", data, {"totals_at": totals})
            return float(totals.sum()) / weight + penalty, penalty

    def penalty(self, weight: float) -> float:
        """Return l2 / 2 sum ||W||^2 for a batch of a total weight."""
        if not self.spec.l2:
            return 0.0
        weights: Iterable[Any] = (self.memory.params[name] for name in self.spec.weight_names)
        return self.spec.l2_for(weight) / 2 * sum(float(numpy.vdot(W, W)) for W in weights)

    def _evaluate(self, name: str, data: CallData, results: dict[str, numpy.ndarray]) -> None:
        """Predict or measure the rows of some data on all threads.

        results : the arrays for results, by field of the job
        """
        job = self._job
        label_width = 0 if data.order is None else data.label_width
        count, claims = self._cut(data.rows, label_width, sparse=data.sparsity is not None)
        set_data(job, data, self.spec)
        set_pointers(job, {"claims_at": claims, **results})
        job.blocks = claims.size
        job.threads = count
        job.multiply_at = self.memory.multiply_at
        run_job(name, self.spec, job, count)

    def _predict(self, X: Rows, result: numpy.ndarray) -> None:
        """Predict the rows of an array or of a SciPy matrix into (rows, outputs)."""
        dtype = self.spec.dtype
        rows = len(result)
        x, _, sparsity = readable_rows(X, dtype)
        if sparsity is not None:
            data = CallData(x, 0, _NO_LABELS, 1, natural_order(rows), None, rows, sparsity)
            self._evaluate("predict", data, {"result_at": result})
            return
        count, claims = self._cut(rows, 0, sparse=False)
        self._job.multiply_at = self._few_at if rows < FEW else self.memory.multiply_at
        function = job_function("predict", dtype, members=self.spec.members > 1)
        job_at = ctypes.addressof(self._job)
        threads.team.lead(prediction_entry(dtype), count, function, job_at, x, result, claims)

    @cached_property
    def _few_at(self) -> int:
        """Return the address of the product for few rows, compiled at first use."""
        if self.memory.products.packs:
            return self.memory.multiply_at
        return functions.address("multiply_few", self.spec.dtype)

    @cached_property
    def _job(self) -> Job:
        """Return the job of predictions and losses, created at first use."""
        job = self.memory.new_job()
        job.output_at = functions.address(
            f"{OUTPUT_ACTIVATIONS[self.spec.loss]}_output", self.spec.dtype
        )
        job.find_nonfinite_at = functions.address("find_nonfinite", self.spec.dtype)
        return job

    def _cut(self, rows: int, label_width: int, *, sparse: bool) -> tuple[int, numpy.ndarray]:
        """Cut rows into blocks; return the number of threads, and an array for the claim of each
        block.
        """
        blocks = -(-rows // plan.EVALUATED_ROWS)
        last = self._workspace
        count = min(threads_of_training(), blocks) if blocks > 1 else 1
        if (
            last is None
            or last.plan.cores < count
            or last.label_width < label_width
            or (last.plan.sparse and label_width and not sparse)
        ):
            evaluation_plan = plan.evaluation_plan(count, sparse=sparse)
            products = self.memory.products
            last = Workspace(self.spec, evaluation_plan, label_width, products=products)
            last.bind(self._job)
            self._workspace = last
        last.begin_call()
        return count, numpy.zeros(blocks, numpy.int64)
