"""The job: what Python tells compiled code, and how compiled code finds its way in it.

A job is a table of numbers, in a layout that both sides read by name: a ``ctypes`` structure on Python's side, a record
on Numba's. Fields called ``*_at`` are addresses, of buffers, tables or C functions; an offset counts items from the
start of a buffer.
"""

import ctypes
from functools import cache
from typing import Any, NamedTuple

import numpy
from numba import types
from numba.np.numpy_support import from_dtype

from xpnet_numba.kinds import Indices, Numbers, Table, Vector
from xpnet_numba.llvm import GIVES_ARRAY, INNER, array, call, njit, pointer, shift
from xpnet_numba.llvm.emit import Context, Emit, Signature, Type, intrinsic
from xpnet_numba.llvm.memory import LINE, Block, block_of_buffer, part_of_buffer
from xpnet_numba.loops.products import ACCUMULATE, FAR, SCRATCH, TRANSPOSE_A, TRANSPOSE_B
from xpnet_numba.runtime.memory import zeros

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
    input_column : the same for what it is given, or -1 where that is X
    number : which layer this is, from 0 on
    keeps : whether the gradient of its activation is read from what the activation was given
    read_ahead : whether to read the weight once, in order, before the product
    forward, backward : C functions
    rate : of the dropout of its outputs; input_rate : of the dropout of what it is given

    Of members: scale_in, scale_out : offsets of their factors, or -1 where there are none
    weight_step, bias_step : items from one member's weight or bias to the next one's, 0 where it is shared
    scaled_column : sum of the widths of scaled inputs of the layers before
    """

    _fields_ = [
        *_integers("fan_in fan_out weight bias column input_column number keeps read_ahead forward backward"),
        *_integers("scale_in scale_out weight_step bias_step scaled_column"),
        *_fields(ctypes.c_double, "rate input_rate"),
    ]


class Slice(ctypes.Structure):
    """Some rows of one layer's weight, and perhaps its bias: a piece of phase 2.

    layer, first, rows : which rows of which weight
    start, size : the run of parameters this is
    takes_bias : whether the bias, which lies behind the weight, belongs to it
    number : which of its layer's slices it is
    own : whether it belongs to single members, whose gradients are not added up
    weights : how many of its first items the penalty counts, where there are members
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
    result_at, nonfinite_at : where outputs go, and where blocks of X with NaN or infinity are counted, or 0

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
    first_slices_at : (threads,), the slice with which each thread begins
    claims_at : (blocks + slices + parts,), in which turn each piece is free; done_at : pieces done
    totals_at : (blocks + slices, LINE), contributions to the sum of losses
    loss_numbers_at : (outputs,), the number that the loss takes for each

    Buffers, for ``capacity_rows`` rows:
    hidden_at, dropped_at : (sum of widths, capacity_rows), outputs of hidden layers, before and after dropout
    kept_at : the same of what their activations were given, where one of them keeps that
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
    taken, taken_at : which of them a network's job takes from that of the thread which trains it, and how many
    networks_at : (networks,), whether each is still free; train_at : the C function that trains one
    streams_at : (networks, WORDS), from which their orders are drawn, or 0 where rows are not shuffled
    and in a network's job: rows_at : (rows,), the rows of X that it trains on
    """

    _fields_ = [
        *_integers("x_at x_rows x_row y_at label_width rows inputs outputs order_at ordered indexed weights_at"),
        *_integers("weighted x_is_far result_at nonfinite_at first_step steps batch_weights_at shares_at updating"),
        *_integers("penalized l2_over_batch updates_made rule_at batch_rows block_rows round_rows"),
        *_integers("capacity_rows layers"),
        *_integers("slices blocks parts threads layers_at slices_at block_gradients partial_size first_slices_at"),
        *_integers("claims_at done_at"),
        *_integers("totals_at gemm_at multiply_at loss_at loss_numbers_at update_at output_at penalize_at gather_at"),
        *_integers("gather_labels_at add_rows_at nonfinite_function_at params_at gradients_at"),
        *_integers("first_at second_at seed_at first_row drop_at keep_at dropped_at hidden_at kept_at"),
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
    for field, memory in arrays.items():
        setattr(job, field, memory.__array_interface__["data"][0])


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
FRESH: Any = numpy.bool_(False)
"""The first feature, and no ``more``, where these are known: for Python's 0 and False, whose types are their values,
Numba would compile a function once more.
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


@njit(**GIVES_ARRAY)
def layers_of(job: Job) -> Table[Layer]:
    """Return the table of layers."""
    return array(pointer(job.layers_at, LAYER_TYPE), job.layers)


@njit(**GIVES_ARRAY)
def slices_of(job: Job) -> Table[Slice]:
    """Return the table of slices."""
    return array(pointer(job.slices_at, SLICE_TYPE), job.slices)


@njit(**INNER)
def weight_of(job: Job, layer: Layer) -> Block:
    """Return a layer's weight (fan_in, fan_out)."""
    return matrix(job, job.params_at, layer.weight, layer.fan_in, layer.fan_out)


@njit(**INNER)
def outputs_of(job: Job, layer: Layer, rows: Rows) -> Block:
    """Return the outputs of a hidden layer's activation for some rows (rows, fan_out)."""
    offset = job.capacity_rows * layer.column + rows.offset * layer.fan_out
    return matrix(job, job.hidden_at, offset, rows.number, layer.fan_out)


@njit(**INNER)
def kept_of(job: Job, layer: Layer, rows: Rows) -> Block:
    """Return what the gradient of a hidden layer's activation reads, for some rows (rows, fan_out)."""
    offset = job.capacity_rows * layer.column + rows.offset * layer.fan_out
    buffer_at = job.kept_at if layer.keeps else job.hidden_at
    return matrix(job, buffer_at, offset, rows.number, layer.fan_out)


@njit(**INNER)
def inputs_of(job: Job, layer: Layer, rows: Rows) -> Block:
    """Return the inputs of a layer after the first for some rows (rows, fan_in), after dropout."""
    offset = job.capacity_rows * layer.input_column + rows.offset * layer.fan_in
    buffer_at = job.dropped_at if layer.input_rate else job.hidden_at
    return matrix(job, buffer_at, offset, rows.number, layer.fan_in)


@njit(**INNER)
def drop(job: Job, layer: Layer, number: int, x: Block, out: Block, masks: Masks) -> None:
    """Dropout of a layer's outputs, or of the gradients by them. x, out : (rows, fan_out), which may be the same.

    number : of the layer, by which its masks are drawn
    """
    seed = integers(job.seed_at, 0, 2)
    if job.places_at:
        places, size = integers(job.places_at, masks.first_row, x.rows), x.columns
        for row in range(x.rows):
            units, kept = array(shift(x.at, row * size), size), array(shift(out.at, row * size), size)
            call(job.drop_at, (units, kept, places[row] * size, layer.rate, seed, number, masks.t))
    else:
        size, first = x.rows * x.columns, masks.first_row * x.columns
        call(job.drop_at, (array(x.at, size), array(out.at, size), first, layer.rate, seed, number, masks.t))


@njit(**INNER)
def deltas_of(job: Job, layer: Layer, rows: Rows) -> Block:
    """dL/dz of a layer for some rows (rows, fan_out)."""
    offset = job.capacity_rows * layer.column + rows.offset * layer.fan_out
    return matrix(job, job.deltas_at, offset, rows.number, layer.fan_out)


@njit(**INNER)
def gather_x(job: Job, rows: Rows, me: int) -> Block:
    """Rows of X: gathered by the order, or as they lie; what comes back is at least as wide as X."""
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
def sparse_gradient(job: Job, rows: Rows, first: int, deltas: Block, grad: Block, more: bool) -> None:
    """grad = X^T deltas for some rows of a sparse X and the features from ``first`` on, added to it where there is
    ``more``. deltas : (rows, out); grad : (features, out).
    """
    order, x = integers(job.order_at, rows.first, rows.number), vector(job, job.x_at, 0, job.filled)
    if not more:
        array(grad.at, grad.rows * grad.columns)[:] = 0
    call(job.sparse_gradient_at, (order, x, job.columns_at, job.starts_at, job.x_rows, first, deltas, grad))


@njit(**INNER)
def gather_y(job: Job, rows: Rows, me: int) -> Block:
    """Rows of Y, which are not class indices."""
    if not job.ordered:
        return matrix(job, job.y_at, rows.first * job.label_width, rows.number, job.label_width)
    y = matrix(job, job.y_at, 0, job.x_rows, job.label_width)
    out = matrix(job, job.batch_y_at, rows.offset * job.label_width, rows.number, job.label_width)
    call(job.gather_at, (integers(job.order_at, rows.first, rows.number), out, y, result_of(job, me)))
    return out


@njit(**GIVES_ARRAY)
def gather_indices(job: Job, rows: Rows, me: int) -> Indices:
    """Class indices of rows."""
    if not job.ordered:
        return integers(job.y_at, rows.first, rows.number)
    y, out = integers(job.y_at, 0, job.x_rows), integers(job.batch_y_at, rows.offset, rows.number)
    order = integers(job.order_at, rows.first, rows.number)
    call(job.gather_labels_at, (order, out, y, result_of(job, me)))
    return out


@njit(**GIVES_ARRAY)
def result_of(job: Job, me: int) -> Numbers:
    """Return the array in which functions that a thread calls leave a number (1,)."""
    return numbers(job.results_at, me * (LINE // 8), 1)


@njit(**GIVES_ARRAY)
def scratch_of(job: Job, me: int) -> Vector:
    """Return a thread's room for products."""
    return vector(job, job.scratch_at, me * SCRATCH, SCRATCH)


@njit(**INNER)
def times(job: Job, a: Block, b: Block, c: Block, far: int, me: int) -> None:
    """C = A B. a : (m, at least k); b : (k, n); c : (m, n); far : whether A is still in main memory."""
    flags = FAR if far else 0
    call(job.multiply_at, (a, b, c, flags, scratch_of(job, me), job.gemm_at))


@njit(**INNER)
def times_transposed(job: Job, a: Block, b: Block, c: Block, me: int) -> None:
    """C = A B^T. a : (m, k); b : (n, k); c : (m, n)."""
    call(job.multiply_at, (a, b, c, TRANSPOSE_B, scratch_of(job, me), job.gemm_at))


@njit(**INNER)
def transposed_times(job: Job, a: Block, b: Block, c: Block, more: bool, me: int) -> None:
    """C = A[:, :m]^T B, added to C where there is ``more``. a : (k, at least m); b : (k, n); c : (m, n)."""
    flags = TRANSPOSE_A | ACCUMULATE if more else TRANSPOSE_A
    call(job.multiply_at, (a, b, c, flags, scratch_of(job, me), job.gemm_at))


@njit(**INNER)
def add_to_total(job: Job, piece: int, value: float) -> None:
    """Add to what a piece of work has contributed to the epoch's loss, each on a cache line of its own."""
    numbers(job.totals_at, piece * (LINE // 8), 1)[0] += value


@njit(**INNER)
def sums_of_totals(job: Job) -> tuple[float, float]:
    """The sums of what blocks and of what slices have contributed, in their order: loss and penalty."""
    pieces = job.blocks + job.slices
    totals, loss, penalty = numbers(job.totals_at, 0, pieces * (LINE // 8)), 0.0, 0.0
    for block in range(job.blocks):
        loss += totals[block * (LINE // 8)]
    for piece in range(job.blocks, pieces):
        penalty += totals[piece * (LINE // 8)]
    return loss, penalty
