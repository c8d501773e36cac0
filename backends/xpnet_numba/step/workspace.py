"""The buffers of a step: allocated once for a kind of work, then only written.

Whatever a workspace needs is allocated before the first address of it is told to a job: where memory does not suffice,
the job goes on with the workspace that it had.
"""

import ctypes
from functools import cache
from operator import attrgetter
from typing import Any

import numpy

from xpnet.backend import NetworkSpec
from xpnet_numba.llvm.memory import LINE
from xpnet_numba.loops.products import SCRATCH
from xpnet_numba.step.job import Job, Slice, aligned, place, tell
from xpnet_numba.step.network import keeps_inputs
from xpnet_numba.step.plan import Plan

EVALUATED_ROWS = 256
"""Rows predicted or measured at a time: with more what the layers give for them leaves a core's cache."""


class TrainingWorkspace:
    """What is written while batches of ``plan.batch_rows`` rows train.

    parameters : items in the flat buffer of parameters
    label_width : numbers of a row of Y where rows have an order, and so are gathered; else 0
    """

    def __init__(self, spec: NetworkSpec, plan: Plan, parameters: int, label_width: int) -> None:
        self.plan, self.label_width = plan, label_width
        rows, widths, pieces = plan.room_rows, spec.widths, plan.blocks + 2 * len(plan.slices)
        hidden, outputs = sum(widths[1:-1]), sum(widths[1:])
        self._partial_size = parameters if plan.narrow else outputs
        sizes = {
            "hidden_at": rows * hidden,
            "dropped_at": rows * hidden if any(spec.dropout) else 0,
            "kept_at": rows * hidden if keeps_inputs(spec) else 0,
            "deltas_at": rows * outputs,
            "partials_at": plan.blocks * self._partial_size,
            "parts_at": plan.parts * plan.batch_rows * widths[1],
            "scales_at": rows,
            **_of_members(spec, rows, plan.cores),
            "scratch_at": plan.cores * SCRATCH,  # on the heap: a thread's stack may be small
        }
        totals = {"totals_at": (plan.blocks + len(plan.slices)) * LINE // 8, "results_at": plan.cores * LINE // 8}
        self.arrays = aligned(spec.dtype, sizes | _gathered(spec, rows, label_width, sparse=plan.sparse and spec.members == 1))
        self.arrays |= aligned("float64", totals)
        self.arrays |= aligned("int64", {"claims_at": pieces + 1})  # the last one counts pieces that are done
        self.nbytes = bytes_of(self.arrays)
        self._slices = (Slice * len(plan.slices))(*plan.slices)
        self._homes = cache(self._make_homes)

    def enter(self, job: Job) -> None:
        """Tell a job of the plan and the buffers."""
        plan = self.plan
        job.batch_rows, job.block_rows, job.round_rows = plan.batch_rows, plan.block_rows, plan.round_rows
        job.room_rows, job.blocks, job.slices, job.parts = plan.room_rows, plan.blocks, len(plan.slices), plan.parts
        job.narrow, job.partial_size, job.slices_at = plan.narrow, self._partial_size, ctypes.addressof(self._slices)
        tell(job, self.arrays)
        job.done_at = job.claims_at + 8 * (self.arrays["claims_at"].size - 1)

    def begin(self, job: Job, threads: int) -> None:
        """Nothing is claimed and done."""
        self.arrays["claims_at"].fill(0)
        job.threads, job.homes_at = threads, self._homes(threads)[1]

    def _make_homes(self, threads: int) -> tuple[Any, int]:
        homes = numpy.array(self.plan.homes_of(threads), numpy.int64)
        return homes, place(homes)


class EvaluationWorkspace:
    """What is written while rows are predicted or measured: each thread has room for a block of them.

    label_width : numbers of a row of Y, where losses are measured of rows in an order, and so gathered; else 0
    sparse : whether the rows are those of a sparse X, which is not gathered
    """

    def __init__(self, spec: NetworkSpec, threads: int, label_width: int, *, sparse: bool) -> None:
        self.threads, self.label_width, self.rows = threads, label_width, threads * EVALUATED_ROWS
        self.gathers_x = label_width > 0 and not sparse
        sizes = {
            "hidden_at": self.rows * sum(spec.widths[1:-1]),
            "deltas_at": self.rows * spec.widths[-1],
            "scales_at": self.rows,
            **_of_members(spec, self.rows, 0),
            "partials_at": threads * spec.widths[-1],
            "scratch_at": threads * SCRATCH,
        }
        sizes |= _gathered(spec, self.rows, label_width, sparse=sparse)
        if spec.members > 1 and sparse:  # rows are written out, for all members
            sizes["batch_x_at"] = self.rows * spec.widths[0]
        self._arrays = aligned(spec.dtype, sizes)
        self._arrays |= aligned("float64", {"results_at": threads * LINE // 8})

    def serves(self, threads: int, label_width: int, *, sparse: bool) -> bool:
        """Whether it has room for so many threads, such labels and, where it is to be gathered, X."""
        x_fits = self.gathers_x or sparse or not label_width
        return self.threads >= threads and self.label_width >= label_width and x_fits

    def enter(self, job: Job) -> None:
        """Tell a job of the buffers."""
        job.block_rows, job.room_rows = EVALUATED_ROWS, self.rows
        tell(job, self._arrays)


def _of_members(spec: NetworkSpec, rows: int, threads: int) -> dict[str, int]:
    """Items of what is written for one member at a time, for so many rows, and for gradients by so many threads."""
    if spec.members == 1:
        return {}
    names = spec.layer_names
    scaled = sum(width for width, layer in zip(spec.widths, names, strict=False) if "scale_in" in layer)
    return {
        "scaled_at": rows * scaled,
        "products_at": rows * sum(spec.widths[1:-1]) if spec.member_scales == "all" else 0,
        "first_gradient_at": threads * spec.widths[0] * spec.widths[1],
    }


def bytes_of(arrays: dict[str, Any]) -> int:
    """How much memory arrays take."""
    return sum(map(attrgetter("nbytes"), arrays.values()))


def _gathered(spec: NetworkSpec, rows: int, label_width: int, *, sparse: bool) -> dict[str, int]:
    """Items of so many gathered rows of X, unless that is sparse, and of Y; none where no labels are gathered. An index
    is as wide as two float32.
    """
    wide = max(label_width, 2) if label_width else 0
    return {"batch_x_at": rows * spec.widths[0] if label_width and not sparse else 0, "batch_y_at": rows * wide}
