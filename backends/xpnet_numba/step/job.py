"""The job: what Python tells compiled code, and how compiled code finds its way in it.

A job is a table of numbers, in a layout that both sides read by name: a ``ctypes`` structure on Python's side, a record
on Numba's. Fields called ``*_at`` are addresses, of buffers, tables or C functions; an offset counts items from the
start of a buffer.
"""

import ctypes
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.np.numpy_support import from_dtype

from xpnet_numba.kinds import Indices, Numbers, Table
from xpnet_numba.llvm.calls import GIVES_ARRAY, INNER, call, njit
from xpnet_numba.llvm.emit import Context, Emit, Signature, Target, Type, field, intrinsic
from xpnet_numba.llvm.memory import LINE, Block, array, block_of_buffer, block_type, clear, emit_array, part_of_buffer
from xpnet_numba.loops.products import SCRATCH
from xpnet_numba.runtime.machine import zeros

PAGE = 4096
"""Bytes within which processors read ahead."""

GAP = PAGE + 9 * LINE
"""Bytes behind a buffer of some size. Who reads its end does not read ahead into what another core writes. And buffers
of a round size do not have their items at the same places of a page, where processors take one for the other.
"""


def _fields(kind: Any, names: str) -> list[tuple[str, Any]]:
    return [(name, kind) for name in names.split()]


def _integers(names: str) -> list[tuple[str, Any]]:
    return _fields(ctypes.c_int64, names)


class Layer(ctypes.Structure):
    """One affine layer and its activation.

    weight, bias : offsets in the buffer of parameters, and in that of gradients
    column : sum of the widths of the layers before: its outputs lie at ``capacity_rows * column`` of a buffer of
    outputs
    input_column : the same for what it is given, after dropout, or -1 where that is X
    kept_column : the same for what the gradient of its activation reads
    number : which layer this is, from 0 on
    keeps : whether the gradient of its activation is read from what the activation was given
    forward, backward : C functions
    rate : of the dropout of its outputs

    Of members: scale_in, scale_out : offsets of their factors, or -1 where there are none
    weight_step, bias_step : items from one member's weight or bias to the next one's, 0 where it is shared
    scaled_column : sum of the widths of scaled inputs of the layers before
    """

    _fields_ = [
        *_integers("fan_in fan_out weight bias column input_column kept_column number keeps"),
        *_integers("forward backward"),
        *_integers("scale_in scale_out weight_step bias_step scaled_column"),
        *_fields(ctypes.c_double, "rate"),
    ]


class Slice(ctypes.Structure):
    """Some rows of one layer's weight, and perhaps its bias: a piece of phase 2.

    layer, first, rows : which rows of which weight
    start, size : the run of parameters this is
    takes_bias : whether the bias, which lies behind the weight, belongs to it
    number : which of its layer's slices it is
    own : whether it belongs to single members, whose gradients are not added up
    weights : how many of its first items the penalty counts
    """

    _fields_ = _integers("layer first rows start size takes_bias number own weights")


class Job(ctypes.Structure):
    """Everything that one call of the step's compiled code needs; :func:`job_class` adds the dtype.

    The data of a call:
    x_at, x_rows, x_row : X (x_rows, x_row)
    y_at, label_width : Y (x_rows, label_width), or int64 class indices (x_rows,)
    rows, inputs, outputs : rows that are used, and the network's first and last width
    starts_at, columns_at, filled : of a sparse X, of which x_at are the numbers, where each row begins among them, the
    column of each and how many there are; starts_at is 0 where X is dense
    order_at, ordered, indexed, weights_at, weighted : the order of the rows, sample weights in that order, and whether
    order_step : items from one member's order of the rows to the next one's, 0 where they have one
    x_is_far : whether rows come from main memory
    result_at, nonfinite_at : where outputs go, and where (1,) float64 becomes 1 for NaN or infinity in X, or 0

    What was asked for:
    seed_at, first_row : (2,), from which dropout masks are drawn, and how many rows of a larger batch stand before
    places_at : (rows,), where each row stands in a larger batch, if not one after the other; else 0
    first_step, steps : which batches; batch_weights_at, shares_at : (all steps,), for each batch the sum of its
    sample weights, and by how much its mean loss counts
    updating, penalized, l2, l2_over_batch : whether, and the penalty
    phase, first_piece, end_piece, first_thread : where ranks share a batch, which pieces of which phase are this
    rank's, and how many threads the ranks before it may have
    updates_made : counted when all steps of a call are done; rule_at : the rule's numbers
    loss, penalty : results, the sums over batches of sample weights times loss and penalty

    How the work is cut (see ``plan``):
    batch_rows, block_rows, round_rows : rows of a batch, of a piece of phase 1, and of those forwarded at a time
    layers, slices, blocks, parts, threads : how many there are; layers_at, slices_at : their tables
    block_gradients : whether blocks keep the gradient of weights too; partial_size : how much each keeps, at
    partials_at
    cores, slice_starts_at : for how many cores it is cut, and (cores + 1,), the slice with which each of them begins
    claims_at : (blocks + slices + parts,), in which turn each piece is free; done_at : pieces done
    totals_at : (blocks + slices, LINE), contributions to the sum of losses
    loss_numbers_at : (outputs,), the number that the loss takes for each

    Buffers, for ``capacity_rows`` rows:
    hidden_at : (sum of widths, capacity_rows), outputs of hidden layers; where there is dropout, the same after it; and
    where an activation keeps what it was given, the same of that
    deltas_at : (sum of widths, capacity_rows), dL/dz of all layers, layer by layer
    parts_at : (parts, batch_rows, first layer's fan_out), the products of the parts
    batch_x_at, batch_y_at, scales_at : gathered rows of X and Y, and what each row's loss is multiplied by
    scratch_at, results_at : (threads, SCRATCH), (threads, LINE), each thread's room for products and for a result

    Of members, how many there are, and buffers for ``capacity_rows`` rows of one of them:
    scaled_at : (sum of widths, capacity_rows), inputs of layers times the member's factors
    products_at : (sum of widths, capacity_rows), what weights of hidden layers give, before the member's factors
    first_gradient_at : (threads, first layer's weight), x^T delta of the member's first layer

    Of networks side by side (see ``many``), in the first thread's job:
    lanes : how many threads have a job; fields : how many 64-bit fields of a job there are
    taken, taken_at : how many of them, and which, a network's job takes from that of the thread which trains it
    networks_at : (networks,), whether each is still free; train_at : the C function that trains one
    streams_at : (networks, WORDS), from which their orders are drawn, or 0 where rows are not shuffled
    and in a network's job: rows_at : (rows,), the rows of X that it trains on
    """

    _fields_ = [
        *_integers("x_at x_rows x_row y_at label_width rows inputs outputs order_at ordered indexed weights_at"),
        *_integers("weighted x_is_far result_at nonfinite_at first_step steps batch_weights_at shares_at updating"),
        *_integers("penalized l2_over_batch updates_made rule_at batch_rows block_rows round_rows"),
        *_integers("capacity_rows layers"),
        *_integers("slices blocks parts threads layers_at slices_at block_gradients partial_size cores"),
        *_integers("slice_starts_at claims_at done_at"),
        *_integers("totals_at gemm_at multiply_at loss_at loss_numbers_at update_at output_at penalize_at gather_at"),
        *_integers("gather_labels_at add_rows_at nonfinite_function_at params_at gradients_at"),
        *_integers("first_at second_at seed_at first_row drop_at keep_at hidden_at"),
        *_integers("deltas_at parts_at starts_at columns_at filled sparse_times_at sparse_gradient_at"),
        *_integers("partials_at scales_at batch_x_at batch_y_at scratch_at results_at"),
        *_integers("phase first_piece end_piece first_thread places_at"),
        *_integers("members order_step scaled_at products_at first_gradient_at densify_at"),
        *_integers("scale_at scale_backward_at scale_weight_backward_at add_share_at"),
        *_integers("lanes fields taken taken_at networks_at train_at streams_at rows_at"),
        *_fields(ctypes.c_double, "l2 loss penalty"),
    ]


@cache
def job_class(dtype: str) -> Any:
    """A job of a network of this dtype: its field ``one`` tells compiled code of what the buffers are."""
    kind = {"float32": ctypes.c_float, "float64": ctypes.c_double}[dtype]
    fields: Any = Job._fields_
    # Not a subclass: NumPy sees only a structure's own fields.
    return type(f"Job{dtype}", (ctypes.Structure,), {"_fields_": [*fields, ("one", kind)]})


@cache
def job_type(dtype: str) -> Any:
    """Return the type of a job for compiled code."""
    return from_dtype(numpy.dtype(job_class(dtype)))


LAYER_TYPE, SLICE_TYPE = (from_dtype(numpy.dtype(s)) for s in (Layer, Slice))


def aligned(dtype: str, sizes: dict[str, int]) -> dict[str, Any]:
    """Make for each name an array of so many zeros, which begins at a cache line."""
    counts = list(map(numpy.dtype(dtype).itemsize.__mul__, sizes.values()))
    places, size = _places(counts)
    found: dict[str, Any] = {}
    for name, part in zip(sizes, _parts(zeros(size), places, counts), strict=True):
        found[name] = part.view(dtype)
    return found


def carve(memory: Any, *many: dict[str, Any]) -> list[dict[str, Any]]:
    """Arrays like these, which lie one behind the other in memory (bytes), each at the beginning of a cache line.

    memory : (:func:`bytes_for` all of them,) uint8
    """
    counts = [array.nbytes for arrays in many for array in arrays.values()]
    parts = iter(_parts(memory, _places(counts)[0], counts))
    return [{name: next(parts).view(array.dtype) for name, array in arrays.items()} for arrays in many]


def bytes_for(*many: dict[str, Any]) -> int:
    """Return how many bytes arrays like these take when they are carved."""
    return _places([array.nbytes for arrays in many for array in arrays.values()])[1]


def _places(counts: list[int]) -> tuple[list[int], int]:
    """Return where arrays of so many bytes begin, and how many bytes all of them take."""
    places, at = [], 0
    for count in counts:
        places.append(at)
        lines = -(-count // LINE) * LINE
        at += lines + GAP if lines >= PAGE else lines
    return places, at + LINE


def _parts(memory: Any, places: list[int], counts: list[int]) -> list[Any]:
    first, parts = -memory.ctypes.data % LINE, []
    for at, count in zip(places, counts, strict=True):
        parts.append(memory[first + at : first + at + count])
    return parts


def address_of(array: Any) -> int:
    """Return the address of an array's first item."""
    return array.__array_interface__["data"][0]


def set_pointers(job: Any, arrays: dict[str, Any]) -> None:
    """Set fields of a job to the addresses of arrays, which must be kept alive."""
    for name, memory in arrays.items():
        setattr(job, name, memory.__array_interface__["data"][0])


# In compiled code: parts of the job's buffers as arrays, and the products of such arrays.


class Rows(NamedTuple):
    """Rows that are worked on together: the first, counted in the order of all rows, how many, and from which row of
    the buffers on they lie.
    """

    first: int
    number: int
    offset: int


class Masks(NamedTuple):
    """Says for which rows of the whole batch masks are drawn, and how many updates have been made.

    Without dropout, as in a prediction, the first is -1.
    """

    first_row: int
    t: int


FIRST: Any = numpy.int64(0)
"""The first feature, where it is known: for Python's 0, whose type is its value, Numba would compile a function once
more.
"""


@intrinsic
def matrix(
    context: Context, job: Type, buffer_at: Type, offset: Type, rows: Type, columns: Type
) -> tuple[Signature, Emit]:
    """Return the part of a buffer from item ``offset`` on as a block (rows, columns)."""
    return block_of_buffer(job.typeof("one"), job)


@intrinsic
def vector(context: Context, job: Type, buffer_at: Type, offset: Type, size: Type) -> tuple[Signature, Emit]:
    """Return the part of a buffer from item ``offset`` on as a vector (size,)."""
    return part_of_buffer(types.Array(job.typeof("one"), 1, "C"), job)


@intrinsic
def numbers(context: Context, buffer_at: Type, offset: Type, size: Type) -> tuple[Signature, Emit]:
    """Return the part of a buffer from item ``offset`` on as float64s (size,)."""
    return part_of_buffer(types.float64[::1])


@intrinsic
def integers(context: Context, buffer_at: Type, offset: Type, size: Type) -> tuple[Signature, Emit]:
    """Return the part of a buffer from item ``offset`` on as int64s (size,)."""
    return part_of_buffer(types.int64[::1])


def _table(kind: types.Record, place: str, size: str) -> Callable[[Job], Table[Any]]:
    """Make the function that returns a table of a job, as an array of records."""

    @intrinsic
    def table(context: Context, job: Type) -> tuple[Signature, Emit]:
        result = types.Array(kind, 1, "C")

        def emit(target: Target, builder: ir.IRBuilder, signature: Signature, values: Sequence[ir.Value]) -> ir.Value:
            start, count = (field(target, builder, job, values[0], name) for name in (place, size))
            first = builder.inttoptr(start, target.get_data_type(kind).as_pointer())
            return emit_array(target, builder, result, first, [count])

        return result(job), emit

    return table


layers_of = _table(LAYER_TYPE, "layers_at", "layers")
slices_of = _table(SLICE_TYPE, "slices_at", "slices")


def _rows_of(buffer: str, column: str, width: str) -> Callable[[Job, Layer, Rows], Block]:
    """Make the function that returns what a buffer holds of a layer for some rows, as a block (rows, width)."""

    @intrinsic
    def part(context: Context, job: Type, layer: Type, rows: Type) -> tuple[Signature, Emit]:
        def emit(target: Target, builder: ir.IRBuilder, signature: Signature, values: Sequence[ir.Value]) -> ir.Value:
            of_job, of_layer, of_rows = values
            _, number, offset = cgutils.unpack_tuple(builder, of_rows)
            buffer_at, capacity = (field(target, builder, job, of_job, name) for name in (buffer, "capacity_rows"))
            begin, size = (field(target, builder, layer, of_layer, name) for name in (column, width))
            first = builder.add(builder.mul(capacity, begin), builder.mul(offset, size))
            at = builder.inttoptr(buffer_at, target.get_value_type(signature.return_type[0]))
            return target.make_tuple(builder, signature.return_type, [builder.gep(at, [first]), number, size])

        return block_type(job.typeof("one"))(job, layer, rows), emit

    return part


outputs_of = _rows_of("hidden_at", "column", "fan_out")
"""The outputs of a hidden layer's activation for some rows (rows, fan_out)."""

kept_of = _rows_of("hidden_at", "kept_column", "fan_out")
"""What the gradient of a hidden layer's activation reads, for some rows (rows, fan_out)."""

inputs_of = _rows_of("hidden_at", "input_column", "fan_in")
"""The inputs of a layer after the first for some rows (rows, fan_in), after dropout."""

deltas_of = _rows_of("deltas_at", "column", "fan_out")
"""dL/dz of a layer for some rows (rows, fan_out)."""


@njit(**INNER)
def weight_of(job: Job, layer: Layer) -> Block:
    """Return a layer's weight (fan_in, fan_out)."""
    return matrix(job, job.params_at, layer.weight, layer.fan_in, layer.fan_out)


@njit(**INNER)
def drop(job: Job, layer: Layer, number: int, x: Block, out: Block, masks: Masks) -> None:
    """Dropout of a layer's outputs, or of the gradients by them. x, out : (rows, fan_out), which may be the same.

    number : of the layer, by which its masks are drawn
    """
    first, places_at, count = masks.first_row, job.places_at, x.rows
    if not places_at:
        count = 0
    places = integers(places_at, first, count)
    call(job.drop_at, (x, out, first, places, layer.rate, integers(job.seed_at, 0, 2), number, masks.t))


@njit(**INNER)
def gather_x(job: Job, rows: Rows, me: int) -> Block:
    """Return rows of X: gathered by the order, or as they lie; what comes back is at least as wide as X."""
    if not job.ordered:
        return matrix(job, job.x_at, rows.first * job.x_row, rows.number, job.x_row)
    x = matrix(job, job.x_at, 0, job.x_rows, job.x_row)
    out = matrix(job, job.batch_x_at, rows.offset * job.inputs, rows.number, job.inputs)
    call(job.gather_at, (integers(job.order_at, rows.first, rows.number), out, x, result_of(job, me)))
    return out


@njit(**INNER)
def sparse_times(job: Job, rows: Rows, weight: Block, z: Block) -> None:
    """z = X W for some rows of a sparse X. weight : (inputs, out); z : (rows, out)."""
    order, x = integers(job.order_at, rows.first, rows.number), vector(job, job.x_at, 0, job.filled)
    call(job.sparse_times_at, (order, x, job.columns_at, job.starts_at, job.x_rows, weight, z))


@njit(**INNER)
def sparse_gradient(job: Job, rows: Rows, first: int, deltas: Block, grad: Block, more: int) -> None:
    """grad = X^T deltas for some rows of a sparse X and the features from ``first`` on, added to it where there is
    ``more``. deltas : (rows, out); grad : (features, out).
    """
    order, x = integers(job.order_at, rows.first, rows.number), vector(job, job.x_at, 0, job.filled)
    if not more:
        clear(array(grad.at, grad.rows * grad.columns))
    call(job.sparse_gradient_at, (order, x, job.columns_at, job.starts_at, job.x_rows, first, deltas, grad))


@njit(**INNER)
def gather_y(job: Job, rows: Rows, me: int) -> Block:
    """Return rows of Y, which are not class indices: gathered by the order, or as they lie."""
    if not job.ordered:
        return matrix(job, job.y_at, rows.first * job.label_width, rows.number, job.label_width)
    y = matrix(job, job.y_at, 0, job.x_rows, job.label_width)
    out = matrix(job, job.batch_y_at, rows.offset * job.label_width, rows.number, job.label_width)
    call(job.gather_at, (integers(job.order_at, rows.first, rows.number), out, y, result_of(job, me)))
    return out


@njit(**GIVES_ARRAY)
def gather_indices(job: Job, rows: Rows, me: int) -> Indices:
    """Return the class indices of rows: gathered by the order, or as they lie."""
    if not job.ordered:
        return integers(job.y_at, rows.first, rows.number)
    y, out = integers(job.y_at, 0, job.x_rows), integers(job.batch_y_at, rows.offset, rows.number)
    order = integers(job.order_at, rows.first, rows.number)
    call(job.gather_labels_at, (order, out, y, result_of(job, me)))
    return out


@njit(**GIVES_ARRAY)
def result_of(job: Job, me: int) -> Numbers:
    """Return the array in which functions that a thread calls leave a number, (1,) float64."""
    return numbers(job.results_at, me * (LINE // 8), 1)


@njit(**INNER)
def multiply(job: Job, a: Block, b: Block, c: Block, flags: int, me: int) -> None:
    """Call the step's matrix product with a thread's own scratch: see ``loops.products`` for flags."""
    call(job.multiply_at, (a, b, c, flags, vector(job, job.scratch_at, me * SCRATCH, SCRATCH), job.gemm_at))


@njit(**INNER)
def add_to_total(job: Job, piece: int, value: float) -> None:
    """Add to what a piece of work has contributed to the epoch's loss, each on a cache line of its own."""
    numbers(job.totals_at, piece * (LINE // 8), 1)[0] += value


@njit(**INNER)
def sums_of_totals(job: Job) -> tuple[float, float]:
    """Return the sums of what blocks and of what slices have contributed, in their order: loss and penalty."""
    return _sum_of_totals(job, FIRST, job.blocks), _sum_of_totals(job, job.blocks, job.slices)


@njit(**INNER)
def _sum_of_totals(job: Job, first: int, count: int) -> float:
    totals, total = numbers(job.totals_at, first * (LINE // 8), count * (LINE // 8)), 0.0
    for i in range(0, totals.size, LINE // 8):
        total += totals[i]
    return total
