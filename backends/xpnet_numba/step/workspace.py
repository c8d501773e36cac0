"""The buffers of a training step for one size of batch: allocated once, then only written."""

import ctypes
from functools import cache
from typing import Any

import numpy

from xpnet.backend import NetworkSpec
from xpnet_numba.step.job import LINE, Job, Slice, aligned, place
from xpnet_numba.step.plan import Plan


class Workspace:
    """What the driver writes while it trains on batches of ``plan.batch_rows`` rows, entered into the job.

    parameters : the size of the flat buffer of parameters
    """

    def __init__(self, spec: NetworkSpec, plan: Plan, job: Job, parameters: int) -> None:
        self.plan, self._dtype, self._job = plan, spec.dtype, job
        rows, widths, pieces = plan.batch_rows, spec.widths, plan.blocks + 2 * len(plan.slices)
        totals_size = (plan.blocks + len(plan.slices)) * LINE // 8
        self._counters = aligned(totals_size + pieces + 1, "int64")  # totals, claims, pieces done
        self._hidden = aligned(rows * sum(widths[1:-1]), spec.dtype)
        self._deltas = aligned(rows * sum(widths[1:]), spec.dtype)
        job.narrow, job.partial_size = plan.narrow, parameters if plan.narrow else sum(widths[1:])
        self._partials = aligned(plan.blocks * job.partial_size, spec.dtype)
        self._parts = aligned(plan.parts * rows * widths[1], spec.dtype)
        self._scales = aligned(rows, spec.dtype)
        self._batch_x = self._batch_y = aligned(0, spec.dtype)
        self._slices = (Slice * len(plan.slices))(*plan.slices)
        self.slices_at = ctypes.addressof(self._slices)
        self._homes = cache(self._make_homes)
        job.batch_rows, job.block_rows = plan.batch_rows, plan.block_rows
        job.blocks, job.slices, job.parts = plan.blocks, len(plan.slices), plan.parts
        job.totals_at = place(self._counters)
        job.claims_at = job.totals_at + 8 * totals_size
        job.done_at = job.claims_at + 8 * pieces
        job.hidden_at, job.deltas_at = place(self._hidden), place(self._deltas)
        job.partials_at, job.parts_at, job.scales_at = place(self._partials), place(self._parts), place(self._scales)

    def begin(self, threads: int) -> None:
        """Nothing is claimed, done or added up."""
        self._counters.fill(0)
        self._job.threads, self._job.homes_at = threads, self._homes(threads)[1]

    def make_room(self) -> None:
        """Room for a batch's gathered rows: only where rows have an order are they gathered at all."""
        job, rows = self._job, self.plan.batch_rows
        if self._batch_x.size < rows * job.inputs:
            self._batch_x = aligned(rows * job.inputs, self._dtype)
            job.batch_x_at = place(self._batch_x)
        if self._batch_y.size < rows * job.label_width:
            self._batch_y = aligned(rows * job.label_width, self._dtype)
            job.batch_y_at = place(self._batch_y)

    def _make_homes(self, threads: int) -> tuple[Any, int]:
        homes = numpy.array(self.plan.homes_of(threads), numpy.int64)
        return homes, place(homes)
