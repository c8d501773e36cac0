"""Plans for compiled code: the pieces of a batch, the table of a network, and buffers.

A batch is cut into blocks of rows for phase 1, and slices of parameters for phase 2. The cut
depends on the network, the batch and the number of cores this process may use, never on the number
of threads, so that sums have the same order on any number of threads. BLAS's own threads are never
used.
"""

import ctypes
from collections import Counter
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from itertools import accumulate, chain, count
from math import prod

import numpy
from xpnet_numpy import backend as numpy_backend

from xpnet.backend import NetworkSpec, Parameters
from xpnet.ops import ACTIVATIONS
from xpnet_numba.kinds import Address, Vector
from xpnet_numba.llvm.memory import LINE
from xpnet_numba.loops import bfloat16, updates
from xpnet_numba.loops.products import SCRATCH
from xpnet_numba.step import functions
from xpnet_numba.step.job import Job, LayerRecord, Slice, address_of, aligned, set_pointers

GRAIN = 1_200_000
"""Minimum work for a thread, in bytes of numbers to multiply. Sharing less takes longer than the
work.
"""

MAX_ROWS = 512
"""Rows that go forward at a time.

Activations of more rows do not fit the cache of a core; with fewer rows products are too short.
"""

BLOCK_GRADIENTS = 8
"""Blocks keep gradients of their own if this many times their size is at most the size of inputs
and deltas.

A gradient in parts is written, read and added up, and its products are shorter.
"""

FEATURES = 1
"""The first product is cut by features if a cut by rows moves at least this many times the bytes.
"""

BLOCKS_PER_CORE = 4
"""Maximum number of blocks with a gradient of their own, for each core. More would take more
memory.
"""

EVALUATED_ROWS = 256
"""Rows that are predicted or measured at a time. Outputs of more rows do not fit the cache of a
core.
"""

MEMBER_ROWS = 128
"""Rows of one member that are worked on at a time, as ``MAX_ROWS``: three arrays of each layer are
stored for them.
"""

KEPT_PARAMETERS = 1 << 18
"""Maximum number of parameters whose packed weights are kept: more would not stay in the cache of a
core.
"""

MEMBER_BLOCKS_PER_CORE = 2
"""Blocks of members for each core, each of which keeps a gradient of the shared weights."""


@dataclass(frozen=True)
class Plan:
    """The pieces of a batch.

    cores : number of cores that it is made for, and maximum number of threads
    block_rows, blocks : rows of a piece of phase 1, and number of pieces
    round_rows : rows that a piece forwards at a time
    sparse : whether X is sparse
    block_gradients : whether each block keeps the gradient of all parameters from its own rows
    parts : slices of the first weight that are multiplied by their features of the whole batch; 0
        for none
    starts : for each core the slice with which it begins, followed by the number of slices
    """

    cores: int
    batch_rows: int
    block_rows: int
    round_rows: int
    blocks: int
    sparse: bool
    block_gradients: bool
    parts: int
    slices: list[Slice]
    starts: list[int]

    @cached_property
    def capacity_rows(self) -> int:
        """Number of rows in the buffers: the rows of a batch, or of a round for each core if blocks
        keep gradients.
        """
        return self.cores * self.round_rows if self.block_gradients else self.batch_rows

    @cached_property
    def workers(self) -> int:
        """Return the number of threads that have work: the maximum number of pieces in a phase."""
        pieces = Counter(piece.layer for piece in self.slices)
        return min(self.cores, max(self.blocks, *pieces.values()))


def make_plan(
    spec: NetworkSpec,
    layers: list[LayerRecord],
    batch_rows: int,
    cores: int,
    *,
    sparse: bool = False,
) -> Plan:
    """Cut batches of ``batch_rows`` rows, those of a sparse X or of a dense one, for ``cores``
    cores.
    """
    item = 4 if spec.dtype == "float32" else 8
    work = batch_rows * sum(layer.fan_in * layer.fan_out for layer in layers) * item
    workers = _workers(work, cores)
    rounds = -(-batch_rows // (workers * MAX_ROWS))
    round_rows = block_rows = -(-batch_rows // (workers * rounds))
    blocks, max_blocks = -(-batch_rows // round_rows), BLOCKS_PER_CORE * cores
    block_gradients = blocks > 1 and _keeps_block_gradients(
        spec, batch_rows, min(blocks, max_blocks), sparse=sparse
    )
    if block_gradients and blocks > max_blocks:
        block_rows = -(-blocks // max_blocks) * round_rows
        blocks = -(-batch_rows // block_rows)
    row_bytes = item * (blocks if block_gradients else batch_rows)
    slices = [
        piece
        for index, layer in enumerate(layers)
        for piece in _slices(index, layer, row_bytes, cores)
    ]
    parts = 0 if block_gradients or sparse else _parts(spec, batch_rows, slices)
    ordered, starts = _share_out(slices, cores)
    return Plan(
        cores,
        batch_rows,
        block_rows,
        round_rows,
        blocks,
        sparse,
        block_gradients,
        parts,
        ordered,
        starts,
    )


def make_member_plan(
    spec: NetworkSpec, layers: list[LayerRecord], batch_rows: int, cores: int, *, sparse: bool
) -> Plan:
    """Cut the work for members: phase 1 into blocks of members, each of which keeps a gradient of
    the shared parameters.
    """
    item = 4 if spec.dtype == "float32" else 8
    weights = sum(layer.fan_in * layer.fan_out for layer in layers)
    workers = _workers(spec.members * batch_rows * weights * item, cores)
    blocks = min(spec.members, MEMBER_BLOCKS_PER_CORE * workers) if workers > 1 else 1
    round_rows = -(-batch_rows // -(-batch_rows // MEMBER_ROWS))
    of_layers = (
        _member_slices(spec, index, layer, item * blocks, cores)
        for index, layer in enumerate(layers)
    )
    ordered, starts = _share_out(list(chain(*of_layers)), cores)
    return Plan(cores, batch_rows, batch_rows, round_rows, blocks, sparse, True, 0, ordered, starts)


def evaluation_plan(threads: int, *, sparse: bool) -> Plan:
    """Return the plan of predictions and losses: each thread has buffers for a block of rows, and
    no parameter is updated.
    """
    rows = EVALUATED_ROWS
    return Plan(threads, threads * rows, rows, rows, threads, sparse, False, 0, [], [0])


def _member_slices(
    spec: NetworkSpec, index: int, layer: LayerRecord, row_bytes: int, cores: int
) -> list[Slice]:
    """Return a layer's slices: the shared weight cut by rows, with a shared bias, and the members'
    own parameters.
    """
    weight, members = layer.fan_in * layer.fan_out, spec.members
    if layer.weight_step:
        slices = [Slice(index, 0, 0, layer.weight, members * weight, 0, 0, 1, members * weight)]
    else:
        slices = _slices(index, layer, row_bytes, cores)
        # The factors between weight and bias, or the bias itself, are not shared.
        if layer.bias_step or layer.scale_in >= 0:
            last = slices[-1]
            last.takes_bias, last.size = 0, last.weights
    own = [(layer.scale_in, layer.fan_in), (layer.scale_out, layer.fan_out)]
    runs = [(offset, members * size) for offset, size in own if offset >= 0]
    if layer.bias_step:
        runs.append((layer.bias, members * layer.fan_out))
    slices += [Slice(index, 0, 0, start, size, 0, 0, 1, 0) for start, size in runs]
    if not layer.bias_step and layer.scale_in >= 0:
        slices.append(Slice(index, 0, 0, layer.bias, layer.fan_out, 1, 0, 0, 0))
    return slices


def _keeps_block_gradients(
    spec: NetworkSpec, batch_rows: int, blocks: int, *, sparse: bool
) -> bool:
    """Return whether the blocks' gradients move less between cores than the inputs and deltas of a
    whole batch.

    Sparse inputs are not counted.
    """
    parameters = sum(
        (fan_in + 1) * fan_out
        for fan_in, fan_out in zip(spec.widths, spec.widths[1:], strict=False)
    )
    return BLOCK_GRADIENTS * blocks * parameters <= batch_rows * (
        sum(spec.widths[sparse:-1]) + sum(spec.widths[1:])
    )


def _parts(spec: NetworkSpec, batch_rows: int, slices: list[Slice]) -> int:
    """Return the number of parts of the first layer's product; 0 if parts would move more between
    cores.

    A cut by rows moves the weight and the batch's inputs between cores; a cut in parts moves
    products and deltas.
    """
    parts = sum(piece.layer == 0 for piece in slices)
    fan_in, fan_out = spec.widths[:2]
    by_rows, in_parts = fan_in * (fan_out + batch_rows), 2 * batch_rows * fan_out
    return parts if parts > 1 and by_rows >= FEATURES * in_parts else 0


def _workers(work: int, cores: int) -> int:
    """Return the number of cores that are worth using for ``work`` bytes."""
    return max(1, min(cores, work // GRAIN))


def _slices(index: int, layer: LayerRecord, row_bytes: int, cores: int) -> list[Slice]:
    """Return slices of a layer's weight, cut by rows; the last slice takes the bias.

    row_bytes : bytes of one feature in the whole batch
    """
    rows = -(-layer.fan_in // _workers(layer.fan_in * layer.fan_out * row_bytes, cores))
    firsts = range(0, layer.fan_in, rows)
    return [
        _slice(index, layer, f, min(rows, layer.fan_in - f), number)
        for number, f in enumerate(firsts)
    ]


def _slice(index: int, layer: LayerRecord, first: int, rows: int, number: int) -> Slice:
    start = layer.weight + first * layer.fan_out
    last = first + rows == layer.fan_in
    end = layer.bias + layer.fan_out if last else start + rows * layer.fan_out
    return Slice(index, first, rows, start, end - start, last, number, 0, rows * layer.fan_out)


def _share_out(slices: list[Slice], cores: int) -> tuple[list[Slice], list[int]]:
    """Return slices in the order of the cores that begin with them, and the first slice of each
    core.

    All cores have about the same work: the largest slice goes first, each to the core with the
    least work.
    """
    shares: list[list[Slice]] = [[] for _ in range(cores)]
    loads = [0] * cores
    for piece in sorted(slices, key=lambda s: -s.size):
        core = loads.index(min(loads))
        shares[core].append(piece)
        loads[core] += piece.size
    return list(chain(*shares)), list(accumulate(map(len, shares), initial=0))


# A network in the form of compiled code: offsets of parameters, the table of layers, and the
# numbers of the update rule.


@lru_cache(maxsize=64)
def buffer_size(spec: NetworkSpec) -> int:
    """Return how many items the flat buffer of all parameters has: whole cache lines."""
    alignment = _alignment(spec.dtype)
    last = spec.slots(alignment)[-1]
    return last.offset + -(-prod(last.shape) // alignment) * alignment


@lru_cache(maxsize=64)
def functions_by_role(spec: NetworkSpec) -> dict[str, Address]:
    """Return the addresses of the functions that every call needs, by the fields of a job; those of
    activations are in the table of layers.
    """
    rule = spec.rule
    update = updates.loop_name(rule.name, has_buffers=bool(rule.buffers))
    roles = {"update": update, "add_rows": "add_rows"}
    sometimes = {"penalize": spec.l2 > 0, "drop": any(spec.dropout), "keep": keeps_inputs(spec)}
    sometimes |= dict.fromkeys(
        ("scale", "scale_backward", "scale_weight_backward", "add_share"), spec.members > 1
    )
    roles |= {role: role for role, needed in sometimes.items() if needed}
    return {f"{role}_at": functions.address(name, spec.dtype) for role, name in roles.items()}


def keeps_inputs(spec: NetworkSpec) -> bool:
    """Return whether the gradient of an activation is computed from its input, then kept."""
    return any(ACTIVATIONS[name].keeps == "x" for name in spec.activations)


def parameters(spec: NetworkSpec, flat: Vector) -> Parameters:
    """Return parameters over a flat buffer, in which each parameter begins at a cache line."""
    return Parameters.over(flat, spec, numpy_backend, align=_alignment(spec.dtype))


@cache
def _alignment(dtype: str) -> int:
    """Return the number of items in a cache line."""
    return LINE // numpy.dtype(dtype).itemsize


@lru_cache(maxsize=64)
def layer_table(spec: NetworkSpec) -> ctypes.Array[LayerRecord]:
    """Return the affine layers, each with the functions of the activation after it; computed once,
    and only read.
    """
    slots, dtype = {slot.name: slot for slot in spec.slots(_alignment(spec.dtype))}, spec.dtype
    rates, rows, scaled_column = (*(spec.dropout or [0.0] * len(spec.activations)), 0.0), [], 0
    hidden = sum(spec.widths[1:-1])
    after_dropout = (
        hidden if any(spec.dropout) else 0
    )  # the first column of the outputs after dropout
    for i, activation in enumerate((*spec.activations, "identity")):
        fan_in, fan_out = spec.widths[i : i + 2]
        of_input = ACTIVATIONS[activation].keeps == "x"
        layer_slots = {role: slots[name] for role, name in spec.layer_names[i].items()}
        offsets = {
            "scale_in": -1,
            "scale_out": -1,
            **{role: slot.offset for role, slot in layer_slots.items()},
        }
        rows.append(
            LayerRecord(
                fan_in=fan_in,
                fan_out=fan_out,
                **offsets,
                weight_step=fan_in * fan_out if len(layer_slots["weight"].shape) == 3 else 0,
                bias_step=fan_out if len(layer_slots["bias"].shape) == 2 else 0,
                scaled_column=scaled_column,
                column=sum(spec.widths[1 : i + 1]),
                input_column=sum(spec.widths[1:i]) + (after_dropout if rates[i - 1] else 0)
                if i
                else -1,
                kept_column=sum(spec.widths[1 : i + 1])
                + (hidden + after_dropout if of_input else 0),
                number=i,
                keeps=of_input,
                rate=rates[i],
                forward=functions.address(f"{activation}_forward", dtype),
                backward=functions.address(f"{activation}_backward", dtype)
                if i < len(spec.activations)
                else 0,
            )
        )
        scaled_column += fan_in if "scale_in" in layer_slots else 0
    return (LayerRecord * spec.layers)(*rows)


_calls = count(1)
"""Numbers of the calls of compiled code whose products pack weights."""


def _kept_parameters(spec: NetworkSpec, plan: Plan) -> int:
    """Return the number of parameters whose packed weights are kept until the next update: all or
    none. They are kept if threads multiply by a weight several times between two updates.
    """
    is_evaluation, size = not plan.slices, buffer_size(spec)
    several = spec.members > 1 or is_evaluation or plan.batch_rows > plan.cores * plan.round_rows
    return size if several and size <= KEPT_PARAMETERS else 0


# Buffers are allocated once for a kind of work, then only written. All memory of a workspace is
# allocated before a job receives an address of it: if memory does not suffice, the job keeps its
# old workspace.


class Workspace:
    """Holds the buffers that are written while batches of ``plan.batch_rows`` rows train, or as
    many rows are predicted or measured.

    label_width : numbers in a row of Y if rows have an order, and so are gathered; else 0
    threads : number of threads that use it; None for the plan's number of cores
    packs : whether products pack their factors, for which each thread needs memory
    """

    def __init__(
        self,
        spec: NetworkSpec,
        plan: Plan,
        label_width: int,
        threads: int | None = None,
        *,
        packs: bool = False,
    ) -> None:
        self.plan, self.label_width, threads = plan, label_width, threads or plan.cores
        rows, widths, pieces = plan.capacity_rows, spec.widths, plan.blocks + 2 * len(plan.slices)
        hidden, outputs, members = sum(widths[1:-1]), sum(widths[1:]), spec.members > 1
        scaled = sum(
            width
            for width, names in zip(widths, spec.layer_names, strict=False)
            if "scale_in" in names
        )
        self._partial_size = buffer_size(spec) if plan.block_gradients else outputs
        sizes = {
            "hidden_at": rows * hidden * (1 + any(spec.dropout) + keeps_inputs(spec)),
            "deltas_at": rows * outputs,
            "partials_at": plan.blocks * self._partial_size,
            "parts_at": plan.parts * plan.batch_rows * widths[1],
            "scales_at": rows,
            "scaled_at": rows * scaled,
            "products_at": rows * hidden if members and spec.member_scales == "all" else 0,
            "first_gradient_at": threads * widths[0] * widths[1] if members and plan.slices else 0,
            "scratch_at": threads * SCRATCH,  # on the heap, since a thread's stack may be small
            "batch_x_at": rows * widths[0] if label_width and (members or not plan.sparse) else 0,
            "batch_y_at": rows * max(label_width, 2)
            if label_width
            else 0,  # an index is as wide as two float32
        }
        self._kept = _kept_parameters(spec, plan) if packs else 0
        self._packings: list[bfloat16.Packing] = []
        totals = {
            "totals_at": (plan.blocks + len(plan.slices)) * LINE // 8,
            "results_at": threads * LINE // 8,
        }
        self.arrays = aligned(spec.dtype, sizes) | aligned("float64", totals)
        self.arrays |= aligned(
            "int64", {"claims_at": pieces + 1}
        )  # the last item counts pieces that are done
        if packs:
            items = threads * bfloat16.thread_items(self._kept)
            self.arrays |= aligned(spec.dtype, {"memory_at": items})
            stamps = threads * 2 * self._kept // bfloat16.STAMPED
            self.arrays |= aligned("int64", {"stamps_at": stamps})
        self.nbytes = sum(array.nbytes for array in self.arrays.values())
        self._slices, self._starts = (
            (Slice * len(plan.slices))(*plan.slices),
            numpy.array(plan.starts, numpy.int64),
        )

    def bind(self, job: Job) -> None:
        """Set the fields of a job for the plan and the buffers."""
        plan = self.plan
        job.batch_rows, job.block_rows, job.round_rows = (
            plan.batch_rows,
            plan.block_rows,
            plan.round_rows,
        )
        job.capacity_rows, job.blocks = plan.capacity_rows, plan.blocks
        job.slices, job.parts = len(plan.slices), plan.parts
        job.block_gradients, job.partial_size = plan.block_gradients, self._partial_size
        job.slices_at, job.slice_starts_at = (
            ctypes.addressof(self._slices),
            address_of(self._starts),
        )
        job.cores = plan.cores
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
