"""The buffers of a training step for one size of batch: allocated once, then only written."""

import ctypes
from functools import cache
from typing import Any

import numpy

from xpnet.backend import NetworkSpec
from xpnet_numba.job import LINE, Job, Slice, aligned, place
from xpnet_numba.plan import Plan


class Workspace:
    """What the driver writes while it trains on batches of ``plan.batch_rows`` rows."""

    def __init__(self, spec: NetworkSpec, plan: Plan, job: Job) -> None:
        self.plan, self._dtype, self._job = plan, spec.dtype, job
        rows, widths = plan.batch_rows, spec.widths
        self._claims = aligned(plan.pieces, "int64")
        self._done = aligned(1, "int64")
        self._totals = aligned((plan.pieces, LINE // 8), "float64")
        self._hidden = aligned(rows * sum(widths[1:-1]), spec.dtype)
        self._deltas = aligned(rows * sum(widths[1:]), spec.dtype)
        self._bias_sums = aligned((plan.blocks, sum(widths[1:])), spec.dtype)
        self._scales = aligned(rows, spec.dtype)
        self._batch_x = self._batch_y = aligned(0, spec.dtype)
        self._slices = (Slice * len(plan.slices))(*plan.slices)
        self.slices_at = ctypes.addressof(self._slices)
        self._homes = cache(self._make_homes)

    def begin(self, threads: int, ordered: bool) -> None:
        """Enter sizes and addresses into the job, and start counting from zero."""
        plan, job = self.plan, self._job
        job.batch_rows, job.block_rows, job.blocks, job.slices = (
            plan.batch_rows,
            plan.block_rows,
            plan.blocks,
            len(plan.slices),
        )
        job.threads, job.homes_at = threads, place(self._homes(threads))
        job.claims_at, job.done_at, job.totals_at = place(self._claims), place(self._done), place(self._totals)
        job.hidden_at, job.deltas_at = place(self._hidden), place(self._deltas)
        job.bias_sums_at, job.scales_at = place(self._bias_sums), place(self._scales)
        self._claims[:], self._done[:], self._totals[:] = 0, 0, 0
        if ordered:
            self._make_room()

    def totals(self) -> tuple[float, float]:
        """The sums over all batches of weight times loss and of weight times penalty."""
        blocks = self.plan.blocks
        return float(self._totals[:blocks, 0].sum()), float(self._totals[blocks:, 0].sum())

    def _make_room(self) -> None:
        """Room for a batch's gathered rows: only where rows have an order are they gathered at all."""
        job, rows = self._job, self.plan.batch_rows
        if self._batch_x.size < rows * job.inputs:
            self._batch_x = aligned(rows * job.inputs, self._dtype)
        if self._batch_y.size < rows * job.label_width:
            self._batch_y = aligned(rows * job.label_width, self._dtype)
        job.batch_x_at, job.batch_y_at = place(self._batch_x), place(self._batch_y)

    def _make_homes(self, threads: int) -> Any:
        return numpy.array(self.plan.homes_of(threads), numpy.int64)
