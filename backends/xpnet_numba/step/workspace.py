"""The buffers of compiled code: those of the rows that it works on, and those of a network."""

import ctypes
from itertools import count

import numpy

from xpnet.backend import NetworkSpec
from xpnet_numba.llvm.memory import LINE
from xpnet_numba.loops import bfloat16, packed
from xpnet_numba.loops import products as tiled
from xpnet_numba.runtime.bfloat16 import Products
from xpnet_numba.runtime.blas import PACKED
from xpnet_numba.step.job import Job, Slice, address_of, aligned, set_pointers
from xpnet_numba.step.layout import buffer_size, keeps_inputs, scaled_width
from xpnet_numba.step.plan import Plan

KEPT_PARAMETERS = 1 << 18
"""Maximum number of parameters whose packed weights are kept: more would not stay in the cache of a
core.
"""

_calls = count(1)
"""Numbers of the calls of compiled code whose products pack weights."""


def _kept_parameters(spec: NetworkSpec, plan: Plan) -> int:
    """Return the number of parameters whose packed weights are kept until the next update: all or
    none. They are kept if threads multiply by a weight several times between two updates.
    """
    size = buffer_size(spec)
    is_evaluation = not plan.slices
    has_rounds = plan.batch_rows > plan.cores * plan.round_rows
    multiplies_again = spec.members > 1 or is_evaluation or has_rounds
    return size if multiplies_again and size <= KEPT_PARAMETERS else 0


def _partial_size(spec: NetworkSpec, plan: Plan) -> int:
    """Return the number of items that a block adds up: its gradient, or that of the biases."""
    return buffer_size(spec) if plan.block_gradients else sum(spec.widths[1:])


def _buffer_sizes(spec: NetworkSpec, plan: Plan, label_width: int, threads: int) -> dict[str, int]:
    """Return the number of items of each buffer of floating-point numbers, by its field of a
    job.
    """
    rows = plan.capacity_rows
    widths = spec.widths
    hidden = sum(widths[1:-1])
    has_members = spec.members > 1
    scales_all = has_members and spec.member_scales == "all"
    gathers_inputs = label_width and (has_members or not plan.sparse)
    return {
        "hidden_at": rows * hidden * (1 + any(spec.dropout) + keeps_inputs(spec)),
        "deltas_at": rows * sum(widths[1:]),
        "partials_at": plan.blocks * _partial_size(spec, plan),
        "parts_at": plan.parts * plan.batch_rows * widths[1],
        "scales_at": rows,
        "scaled_at": rows * scaled_width(spec, spec.layers),
        "products_at": rows * hidden if scales_all else 0,
        "first_gradient_at": threads * widths[0] * widths[1] if has_members and plan.slices else 0,
        "batch_x_at": rows * widths[0] if gathers_inputs else 0,
        # An index is as wide as two float32.
        "batch_y_at": rows * max(label_width, 2) if label_width else 0,
    }


def _scratch_items(products: Products) -> int:
    """Return the number of items of each thread's scratch, a multiple of a cache line."""
    items = packed.SCRATCH if products.function == PACKED else tiled.SCRATCH
    return -(-items // LINE) * LINE


class Workspace:
    """Holds the buffers that are written while batches of ``plan.batch_rows`` rows train, or as
    many rows are predicted or measured.

    They are allocated once for a kind of work, then only written. All memory of a workspace is
    allocated before a job receives an address of it: if memory does not suffice, the job keeps its
    old workspace.

    label_width : numbers in a row of Y if rows have an order, and so are gathered; else 0
    threads : number of threads that use it; None for the plan's number of cores
    products : the step's products, for whose packed factors each thread needs memory
    """

    def __init__(
        self,
        spec: NetworkSpec,
        plan: Plan,
        label_width: int,
        threads: int | None = None,
        *,
        products: Products,
    ) -> None:
        threads = threads or plan.cores
        self.plan = plan
        self.label_width = label_width
        self._partial_size = _partial_size(spec, plan)
        self._kept = _kept_parameters(spec, plan) if products.packs else 0
        self._scratch_items = _scratch_items(products)
        self._packings: list[bfloat16.Packing] = []
        pieces = plan.blocks + 2 * len(plan.slices)
        sizes = _buffer_sizes(spec, plan, label_width, threads)
        totals = {
            "totals_at": (plan.blocks + len(plan.slices)) * LINE // 8,
            "results_at": threads * LINE // 8,
        }
        claims = {"claims_at": pieces + 1}  # the last item counts pieces that are done
        # On the heap, since a thread's stack may be small.
        sizes["scratch_at"] = threads * self._scratch_items
        self.arrays = aligned(spec.dtype, sizes)
        self.arrays |= aligned("float64", totals)
        self.arrays |= aligned("int64", claims)
        if products.packs:
            items = threads * bfloat16.thread_items(self._kept)
            self.arrays |= aligned(spec.dtype, {"memory_at": items})
            stamps = threads * 2 * self._kept // bfloat16.STAMPED
            self.arrays |= aligned("int64", {"stamps_at": stamps})
        self.nbytes = sum(array.nbytes for array in self.arrays.values())
        self._slices = (Slice * len(plan.slices))(*plan.slices)
        self._starts = numpy.array(plan.starts, numpy.int64)

    def bind(self, job: Job) -> None:
        """Set the fields of a job for the plan and the buffers."""
        plan = self.plan
        job.batch_rows = plan.batch_rows
        job.block_rows = plan.block_rows
        job.round_rows = plan.round_rows
        job.capacity_rows = plan.capacity_rows
        job.blocks = plan.blocks
        job.slices = len(plan.slices)
        job.parts = plan.parts
        job.block_gradients = plan.block_gradients
        job.partial_size = self._partial_size
        job.slices_at = ctypes.addressof(self._slices)
        job.slice_starts_at = address_of(self._starts)
        job.cores = plan.cores
        job.scratch_items = self._scratch_items
        own = ("memory_at", "stamps_at")
        set_pointers(job, {name: a for name, a in self.arrays.items() if name not in own})
        job.done_at = job.claims_at + 8 * (self.arrays["claims_at"].size - 1)
        if "memory_at" in self.arrays:
            self._bind_packing(job)

    def _bind_packing(self, job: Job) -> None:
        """Set the memory in which a job's products pack their factors."""
        packing = bfloat16.Packing(
            thread_items=bfloat16.thread_items(self._kept),
            scratch_at=job.scratch_at,
            params_at=job.params_at,
            params=self._kept,
            updates_at=ctypes.addressof(job) + type(job).updates_made.offset,
            done_at=job.done_at,
            pieces=job.parts + job.blocks + job.slices,
        )
        set_pointers(packing, {name: self.arrays[name] for name in ("memory_at", "stamps_at")})
        self.arrays["stamps_at"].fill(0)
        self._packings.append(packing)
        job.gemm_at = ctypes.addressof(packing)

    def reset(self, job: Job, threads: int) -> None:
        """Mark every piece as neither claimed nor done."""
        self.arrays["claims_at"].fill(0)
        job.threads = threads
        self.begin_call()

    def begin_call(self) -> None:
        """Let the products of the next call of compiled code pack the weights again."""
        for packing in self._packings:
            packing.call = next(_calls)


def set_buffers(job: Job, flat: dict[str, numpy.ndarray], spec: NetworkSpec) -> None:
    """Set a job's addresses of parameters, gradients and the optimizer's arrays, which are flat
    buffers by name.
    """
    first, second, *_ = (*spec.rule.buffers, "params", "params")  # some rules have none
    names = {
        "params_at": "params",
        "gradients_at": "gradients",
        "first_at": first,
        "second_at": second,
    }
    set_pointers(job, {field: flat[name] for field, name in names.items()})
