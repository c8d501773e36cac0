"""Predictions and losses: Python's side of ``forward``, which contains the work of the threads."""

import ctypes
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from operator import mul
from typing import Any

import numpy

from xpnet.backend import NetworkSpec, Step, get_threads
from xpnet.backend.spec import OUTPUT_ACTIVATIONS
from xpnet.ops import Array, Labels
from xpnet_numba.llvm.emit import gemm_address
from xpnet_numba.loops.updates import number_array
from xpnet_numba.runtime import threads
from xpnet_numba.runtime.bfloat16 import choose_products
from xpnet_numba.runtime.blas import BLAS, one_thread
from xpnet_numba.runtime.memory import check_memory
from xpnet_numba.step import functions, plan
from xpnet_numba.step.arrays import CallData, by_rows, natural_order, read, set_data
from xpnet_numba.step.functions import job_function, prediction_entry, run_job
from xpnet_numba.step.job import Job, aligned, job_class, set_pointers

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


class EvaluatingStep(Step):
    """Holds the parameters of a network in one buffer, predicts rows and measures their losses."""

    takes_sparse = True

    def __init__(self, spec: NetworkSpec, precision: str) -> None:
        self.spec, self._layers, self._size = spec, plan.layer_table(spec), plan.buffer_size(spec)
        self._flat: dict[str, Any] = {}
        self._allocate("params")
        self.params = plan.parameters(spec, self._flat["params"])
        self._rule = number_array(vars(spec.rule))
        self._seed = numpy.array([spec.seed % 2**64, spec.seed >> 64], "uint64")
        self._loss_numbers = numpy.array(
            spec.output_numbers or (0.0,) * spec.widths[-1], spec.dtype
        )
        largest = max(map(mul, spec.widths, spec.widths[1:]))
        weight_bytes = largest * numpy.dtype(spec.dtype).itemsize
        self.products = choose_products(precision, spec.dtype, weight_bytes)
        self._multiply_at = functions.address(self.products.function, spec.dtype)
        self._by_blas = self.products.function == BLAS
        self._hold: AbstractContextManager[Any] = one_thread if self._by_blas else nullcontext()
        self._rows_workspace: plan.Workspace | None = None

    @property
    def why(self) -> str:
        """See :class:`xpnet.backend.Step`."""
        count = get_threads()
        on_threads = f"on {count} thread{'s' * (count > 1)}"
        return (
            f"the Numba backend's compiled step, {on_threads}, products by {self.products.reason}"
        )

    def forward(self, X: Array) -> Array:
        """See :class:`xpnet.backend.Step`."""
        self._evaluation.nonfinite_at = 0
        return self._outputs(X)

    def forward_finite(self, X: Array) -> Array | None:
        """See :class:`xpnet.backend.Step`. The check needs no separate pass over X."""
        if hasattr(X, "indptr"):
            return self.forward(X) if numpy.isfinite(X.data).all() else None
        has_nonfinite = ctypes.c_double()
        self._evaluation.nonfinite_at = ctypes.addressof(has_nonfinite)
        outputs = self._outputs(X)
        return None if has_nonfinite.value else outputs

    def _outputs(self, X: Array) -> Array:
        """Predict all rows, in calls of compiled code that are short enough for Ctrl-C."""
        rows = X.shape[0]
        result = numpy.empty((rows, self.spec.widths[-1]), self.spec.dtype)
        if rows < FEW and not hasattr(X, "indptr"):  # without BLAS
            self._predict(X, result)
            return result
        check_memory(result.nbytes, f"A prediction for {rows} rows")
        with self._hold:
            work = self._size + WORK_PER_INPUT * self.spec.widths[0]  # of a row
            blocks = max(
                WORK_PER_CALL // (plan.EVALUATED_ROWS * work), get_threads()
            )  # one for each thread at least
            for first in range(0, rows, blocks * plan.EVALUATED_ROWS):
                block = slice(first, first + blocks * plan.EVALUATED_ROWS)
                self._predict(X[block], result[block])
        return result

    def loss(
        self, X: Array, Y: Labels, *, sample_weight: Array | None = None, rows: Any = None
    ) -> float:
        """See :class:`xpnet.backend.Step`."""
        with self._hold:
            data = read(self.spec.dtype, X, Y, rows, sample_weight)
            weight = float(data.rows if data.weights is None else data.weights.sum(dtype="float64"))
            self.penalty = self._penalty(weight) if weight else 0.0
            totals = numpy.zeros(-(-data.rows // plan.EVALUATED_ROWS))
            self._evaluate("measure", data, {"totals_at": totals})
            return float(totals.sum()) / weight + self.penalty if weight else 0.0

    def _evaluate(self, name: str, data: CallData, results: dict[str, Any]) -> None:
        """Predict or measure the rows of some data on all threads.

        results : the arrays for results, by field of the job
        """
        job, label_width = self._evaluation, 0 if data.order is None else data.label_width
        count, claims = self._cut(data.rows, label_width, sparse=data.sparsity is not None)
        set_data(job, data, self.spec)
        set_pointers(job, {"claims_at": claims, **results})
        job.blocks, job.threads, job.multiply_at = claims.size, count, self._multiply_at
        run_job(name, self.spec, job, count)

    def _penalty(self, weight: float) -> float:
        """Return l2 / 2 sum ||W||^2 for a batch of a total weight."""
        if not self.spec.l2:
            return 0.0
        weights = (self.params[name] for name in self.spec.weight_names)
        return self.spec.l2_for(weight) / 2 * sum(float(numpy.vdot(W, W)) for W in weights)

    def _predict(self, X: Any, result: Any) -> None:
        """Predict the rows of an array or of a SciPy matrix into (rows, outputs)."""
        dtype, rows = self.spec.dtype, len(result)
        x, _, sparsity = by_rows(X, dtype)
        if sparsity is not None:
            data = CallData(x, 0, _NO_LABELS, 1, natural_order(rows), None, rows, sparsity)
            self._evaluate("predict", data, {"result_at": result})
            return
        count, claims = self._cut(rows, 0, sparse=False)
        self._evaluation.multiply_at = self._few_at if rows < FEW else self._multiply_at
        function = job_function("predict", dtype, members=self.spec.members > 1)
        job_at = ctypes.addressof(self._evaluation)
        threads.team.lead(prediction_entry(dtype), count, function, job_at, x, result, claims)

    @cached_property
    def _few_at(self) -> int:
        """Return the address of the product for few rows, compiled at first use."""
        if self.products.packs:
            return self._multiply_at
        return functions.address("multiply_few", self.spec.dtype)

    @cached_property
    def _evaluation(self) -> Job:
        """Return the job of predictions and losses, created at first use."""
        job = self._new_job()
        job.output_at = functions.address(
            f"{OUTPUT_ACTIVATIONS[self.spec.loss]}_output", self.spec.dtype
        )
        job.find_nonfinite_at = functions.address("find_nonfinite", self.spec.dtype)
        return job

    def _cut(self, rows: int, label_width: int, *, sparse: bool) -> tuple[int, Any]:
        """Cut rows into blocks; return the number of threads, and an array for the claim of each
        block.
        """
        blocks, last = -(-rows // plan.EVALUATED_ROWS), self._rows_workspace
        count = min(get_threads(), blocks) if blocks > 1 else 1
        if (
            last is None
            or last.plan.cores < count
            or last.label_width < label_width
            or (last.plan.sparse and label_width and not sparse)
        ):
            cut = plan.evaluation_plan(count, sparse=sparse)
            last = plan.Workspace(self.spec, cut, label_width, packs=self.products.packs)
            last.bind(self._evaluation)
            self._rows_workspace = last
        last.begin_call()
        return count, numpy.zeros(blocks, numpy.int64)

    # Buffers and jobs.

    def _allocate(self, *names: str) -> None:
        """Allocate a flat buffer of zeros, as large as all parameters, for each missing name."""
        missing = [name for name in names if name not in self._flat]
        self._flat |= aligned(self.spec.dtype, dict.fromkeys(missing, self._size))

    def _new_job(self) -> Job:
        """Return a job with all fields that do not change from call to call."""
        spec = self.spec
        job = job_class(spec.dtype)(
            inputs=spec.widths[0],
            outputs=spec.widths[-1],
            layers=len(self._layers),
            members=spec.members,
            layers_at=ctypes.addressof(self._layers),
            l2=spec.l2,
            l2_over_batch=spec.l2_over_batch,
            multiply_at=self._multiply_at,
            gemm_at=gemm_address(spec.dtype) if self._by_blas else 0,
            **plan.functions_by_role(spec),
        )
        numbers = {
            "rule_at": self._rule,
            "seed_at": self._seed,
            "loss_numbers_at": self._loss_numbers,
        }
        set_pointers(job, {"params_at": self._flat["params"], **numbers})
        return job
