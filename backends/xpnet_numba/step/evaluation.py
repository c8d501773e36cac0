"""Predictions and losses: Python's side of ``forward``, which holds what the threads do."""

import ctypes
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from typing import Any

import numpy

from xpnet.backend import NetworkSpec, get_threads
from xpnet.backend.spec import OUTPUT_ACTIVATIONS
from xpnet.ops import Array
from xpnet_numba.runtime import threads
from xpnet_numba.runtime.machine import UNTHREADED, check_memory
from xpnet_numba.runtime.threads import share_entry
from xpnet_numba.step import functions
from xpnet_numba.step.data import Data, by_rows, is_sparse, loss_numbers, natural_order, set_data
from xpnet_numba.step.forward import FEW
from xpnet_numba.step.functions import job_function, prediction_entry
from xpnet_numba.step.job import Job, set_pointers
from xpnet_numba.step.plan import EVALUATED_ROWS, EvaluationWorkspace, blueprint

PRODUCTS_PER_CALL, BYTES_PER_CALL = 2**31, 2**25
"""How much one call of compiled code predicts: a tenth of a second, unless X lies on a slow disk."""

_NOTHING, _NO_LABELS = nullcontext(), numpy.zeros(0, numpy.int64)


class Evaluation:
    """Predicts rows by a step's network, and measures their losses.

    job : a job of the network, for evaluations alone
    hold : a context in which BLAS, where it multiplies, is held to one thread
    """

    def __init__(self, spec: NetworkSpec, job: Job, hold: AbstractContextManager[Any]) -> None:
        self.spec, self._job, self._hold, self._blueprint = spec, job, hold, blueprint(spec)
        self._multiply_at, job.x_is_far = job.multiply_at, 1
        self._workspace: EvaluationWorkspace | None = None

    def forward(self, X: Array) -> Array:
        """See :class:`xpnet.backend.Step`."""
        self._job.nonfinite_at = 0
        return self._predict(X)

    def forward_finite(self, X: Array) -> Array | None:
        """See :class:`xpnet.backend.Step`."""
        if is_sparse(X):
            return self.forward(X) if numpy.isfinite(X.data).all() else None
        found = ctypes.c_double()
        self._job.nonfinite_at = ctypes.addressof(found)
        self._job.nonfinite_function_at = functions.address("find_nonfinite", self.spec.dtype)
        outputs = self._predict(X)
        return None if found.value else outputs

    def sum_of_losses(self, data: Data) -> float:
        """The sum of all losses times sample weights."""
        job, rows = self._job, data.rows
        if not rows:
            return 0.0
        label_width = 0 if data.order is None else data.label_width
        count, claims = self._cut(rows, label_width, sparse=data.sparse is not None)
        totals = numpy.zeros(claims.size)
        set_data(job, data, self.spec)
        set_pointers(job, {"claims_at": claims, "totals_at": totals})
        job.blocks, job.threads, job.multiply_at = claims.size, count, self._multiply_at
        function = job_function("measure", self.spec.dtype, members=self.spec.members > 1)
        threads.team.lead(share_entry(), count, function, ctypes.addressof(job))
        return float(totals.sum())

    def _predict(self, X: Any) -> Array:
        """Predict the rows of an array or of a SciPy matrix."""
        job, rows, spec = self._job, X.shape[0], self.spec
        few, (lead, function, job_at) = rows < FEW, self._prediction
        with _NOTHING if few or rows * self._blueprint.largest_weight <= UNTHREADED else self._hold:
            x, _, compressed = by_rows(X, spec.dtype)
            result = numpy.empty((rows, spec.widths[-1]), spec.dtype)
            if not few:
                check_memory(result.nbytes, f"A prediction for {rows} rows")
                if rows > (most := self._predicted_at_once(rows, x.nbytes)):
                    given = x if compressed is None else X
                    for first in range(0, rows, most):
                        result[first : first + most] = self._predict(given[first : first + most])
                    return result
            count, claims = self._cut(rows, 0, sparse=compressed is not None)
            job.multiply_at = self._few_at if few else self._multiply_at
            if compressed is None:
                threads.team.lead(lead, count, function, job_at, x, result, claims)
                return result
            set_data(job, Data(x, 0, _NO_LABELS, 1, natural_order(rows), None, rows, compressed), spec)
            set_pointers(job, {"claims_at": claims, "result_at": result})
            job.blocks, job.threads = claims.size, count
            threads.team.lead(share_entry(), count, function, job_at)
            return result

    def _predicted_at_once(self, rows: int, nbytes: int) -> int:
        """Return how many rows one call of compiled code predicts: all, unless Ctrl-C would have to wait."""
        if rows * self._blueprint.size <= PRODUCTS_PER_CALL and nbytes <= BYTES_PER_CALL:
            return rows
        most = min(PRODUCTS_PER_CALL // self._blueprint.size, BYTES_PER_CALL * rows // max(nbytes, 1))
        blocks = max(most // EVALUATED_ROWS, get_threads())  # one for each thread at least
        return EVALUATED_ROWS * blocks

    @cached_property
    def _few_at(self) -> int:
        """The product of a prediction for few rows, compiled when one is first asked for."""
        return functions.address("multiply_few", self.spec.dtype)

    @cached_property
    def _prediction(self) -> tuple[Any, int, int]:
        """Find, once, the function that leads a prediction, its job's function, and the address of its job."""
        dtype, job = self.spec.dtype, self._job
        job.output_at = functions.address(f"{OUTPUT_ACTIVATIONS[self.spec.loss]}_output", dtype)
        set_pointers(job, {"loss_numbers_at": loss_numbers(self.spec)})
        function = job_function("predict", dtype, members=self.spec.members > 1)
        return prediction_entry(dtype), function, ctypes.addressof(job)

    def _cut(self, rows: int, label_width: int, *, sparse: bool) -> tuple[int, Any]:
        """Cut rows into blocks; returns for how many threads, and room for the claim of each block."""
        blocks = -(-rows // EVALUATED_ROWS)
        count = min(get_threads(), blocks) if blocks > 1 else 1
        if self._workspace is None or not self._workspace.serves(count, label_width, sparse=sparse):
            self._workspace = EvaluationWorkspace(self.spec, count, label_width, sparse=sparse)
            self._workspace.bind(self._job)
        return count, numpy.zeros(blocks, numpy.int64)
