"""The buffers of a step: allocated once for a kind of work, then only written.

Whatever a workspace needs is allocated before the first address of it is told to a job: where memory does not suffice,
the job goes on with the workspace that it had.
"""

import ctypes
from functools import cache
from typing import Any

import numpy

from xpnet.backend import NetworkSpec
from xpnet_numba.loops.products import SCRATCH
from xpnet_numba.step.job import LINE, Job, Slice, aligned, place
from xpnet_numba.step.plan import Plan

EVALUATED_ROWS = 256
"""Rows predicted or measured at a time: with more what the layers give for them leaves a core's cache."""


class TrainingWorkspace:
    """What is written while batches of ``plan.batch_rows`` rows train.

    parameters : items in the flat buffer of parameters
    label_width : numbers of a row of Y where rows have an order, and so are gathered; else 0
    """

    def __init__(self, spec: NetworkSpec, plan: Plan, parameters: int, label_width: int) -> None:
        self.plan, self.label_width, dtype = plan, label_width, spec.dtype
        rows, widths, pieces = plan.room_rows, spec.widths, plan.blocks + 2 * len(plan.slices)
        self._partial_size = parameters if plan.narrow else sum(widths[1:])
        self._totals = aligned((plan.blocks + len(plan.slices)) * LINE // 8, "float64")
        self._counters = aligned(pieces + 1, "int64")  # claims, pieces done
        self._hidden, self._deltas = aligned(rows * sum(widths[1:-1]), dtype), aligned(rows * sum(widths[1:]), dtype)
        self._dropped = aligned(rows * sum(widths[1:-1]) if any(spec.dropout) else 0, dtype)
        self._partials = aligned(plan.blocks * self._partial_size, dtype)
        self._parts = aligned(plan.parts * plan.batch_rows * widths[1], dtype)
        self._scales, self._threads = aligned(rows, dtype), Threads(plan.cores, dtype)
        self._batch_x, self._batch_y = gathered_rows(spec, rows, label_width)
        self._slices = (Slice * len(plan.slices))(*plan.slices)
        self._homes = cache(self._make_homes)

    def serves(self, batch_rows: int, label_width: int) -> bool:
        """Whether it was made for batches of so many rows, and has room for such labels."""
        return self.plan.batch_rows == batch_rows and self.label_width >= label_width

    def start_totals(self) -> None:
        """Nothing is added up."""
        self._totals.fill(0)

    def enter(self, job: Job) -> None:
        """Tell a job of the plan and the buffers."""
        plan = self.plan
        job.batch_rows, job.block_rows, job.round_rows = plan.batch_rows, plan.block_rows, plan.round_rows
        job.room_rows, job.blocks, job.slices, job.parts = plan.room_rows, plan.blocks, len(plan.slices), plan.parts
        job.narrow, job.partial_size, job.slices_at = plan.narrow, self._partial_size, ctypes.addressof(self._slices)
        job.totals_at, job.claims_at = place(self._totals), place(self._counters)
        job.done_at = job.claims_at + 8 * (self._counters.size - 1)
        job.hidden_at, job.dropped_at, job.deltas_at = place(self._hidden), place(self._dropped), place(self._deltas)
        job.partials_at, job.parts_at, job.scales_at = place(self._partials), place(self._parts), place(self._scales)
        job.batch_x_at, job.batch_y_at = place(self._batch_x), place(self._batch_y)
        self._threads.enter(job)

    def begin(self, job: Job, threads: int) -> None:
        """Nothing is claimed and done."""
        self._counters.fill(0)
        job.threads, job.homes_at = threads, self._homes(threads)[1]

    def _make_homes(self, threads: int) -> tuple[Any, int]:
        homes = numpy.array(self.plan.homes_of(threads), numpy.int64)
        return homes, place(homes)


class EvaluationWorkspace:
    """What is written while rows are predicted or measured: each thread has room for a block of them.

    label_width : numbers of a row of Y, where losses are measured of rows in an order, and so gathered; else 0
    """

    def __init__(self, spec: NetworkSpec, threads: int, label_width: int = 0) -> None:
        self.threads, self.label_width = threads, label_width
        self.rows, outputs = threads * EVALUATED_ROWS, spec.widths[-1]
        self._hidden = aligned(self.rows * sum(spec.widths[1:-1]), spec.dtype)
        self._outputs, self._scales = aligned(self.rows * outputs, spec.dtype), aligned(self.rows, spec.dtype)
        self._bias_sums, self._threads = aligned(threads * outputs, spec.dtype), Threads(threads, spec.dtype)
        self._batch_x, self._batch_y = gathered_rows(spec, self.rows, label_width)

    def serves(self, threads: int, label_width: int) -> bool:
        """Whether it has room for so many threads and such labels."""
        return self.threads >= threads and self.label_width >= label_width

    def enter(self, job: Job) -> None:
        """Tell a job of the buffers."""
        job.block_rows, job.room_rows = EVALUATED_ROWS, self.rows
        job.hidden_at, job.deltas_at, job.scales_at = place(self._hidden), place(self._outputs), place(self._scales)
        job.partials_at = place(self._bias_sums)
        job.batch_x_at, job.batch_y_at = place(self._batch_x), place(self._batch_y)
        self._threads.enter(job)


def gathered_rows(spec: NetworkSpec, rows: int, label_width: int) -> tuple[Any, Any]:
    """Room for so many gathered rows of X and Y; none where no labels are gathered. An index is as wide as two
    float32.
    """
    wide = max(label_width, 2) if label_width else 0
    return aligned(rows * spec.widths[0] if label_width else 0, spec.dtype), aligned(rows * wide, spec.dtype)


class Threads:
    """What each thread has for itself, on the heap: a thread's stack may be small."""

    def __init__(self, threads: int, dtype: str) -> None:
        self._scratch = aligned(threads * SCRATCH, dtype)
        self._results = aligned(threads * LINE // 8, "float64")

    def enter(self, job: Job) -> None:
        """Tell a job of it."""
        job.scratch_at, job.results_at = place(self._scratch), place(self._results)
