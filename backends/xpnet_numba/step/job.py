"""The job: what Python tells compiled code, and how compiled code finds its way in it.

A job is a table of numbers, in a layout that both sides read by name: a ``ctypes`` structure on
Python's side, a record on Numba's. Fields called ``*_at`` are addresses, of buffers, tables or C
functions; an offset counts items from the start of a buffer.
"""

import ctypes
from functools import cache
from typing import Any

import numpy

from xpnet_numba.internals import from_dtype
from xpnet_numba.llvm.memory import LINE

PAGE = 4096
"""Bytes within which processors read ahead."""

GAP = PAGE + 9 * LINE
"""Bytes behind a buffer of some size. Who reads its end does not read ahead into what another core
writes. And buffers of a round size do not have their items at the same places of a page, where
processors take one for the other.
"""


def _fields(names: str, kind: Any = ctypes.c_int64) -> list[tuple[str, Any]]:
    return [(name, kind) for name in names.split()]


class LayerRecord(ctypes.Structure):
    """One affine layer and its activation.

    weight, bias : offsets in the buffer of parameters, and in that of gradients
    column : sum of the widths of the layers before: its outputs lie at ``capacity_rows * column``
    of a buffer of outputs
    input_column : the same for what it is given, after dropout, or -1 where that is X
    kept_column : the same for what the gradient of its activation reads
    number : which layer this is, from 0 on
    keeps : whether the gradient of its activation is read from what the activation was given
    forward, backward : C functions
    rate : of the dropout of its outputs

    Of members: scale_in, scale_out : offsets of their factors, or -1 where there are none
    weight_step, bias_step : items from one member's weight or bias to the next one's, 0 where it is
        shared
    scaled_column : sum of the widths of scaled inputs of the layers before
    """

    _fields_ = [
        *_fields("fan_in fan_out weight bias column input_column kept_column number keeps"),
        *_fields("forward backward"),
        *_fields("scale_in scale_out weight_step bias_step scaled_column"),
        *_fields("rate", ctypes.c_double),
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

    _fields_ = _fields("layer first rows start size takes_bias number own weights")


class Job(ctypes.Structure):
    """Everything that one call of the step's compiled code needs; :func:`job_class` adds the dtype.

    The data of a call:
    x_at, x_rows, x_row : X (x_rows, x_row)
    y_at, label_width : Y (x_rows, label_width), or int64 class indices (x_rows,)
    rows, inputs, outputs : rows that are used, and the network's first and last width
    starts_at, columns_at, filled : of a sparse X, of which x_at are the numbers, where each row
    begins among them, the column of each and how many there are; starts_at is 0 where X is dense
    order_at, weights_at : the order of the rows, and sample weights in that order; 0 where there
        are none
    indexed : whether Y is class indices
    order_step : items from one member's order of the rows to the next one's, 0 where they have one
    result_at, nonfinite_at : where outputs go, and where (1,) float64 becomes 1 for NaN or infinity
        in X, or 0

    What was asked for:
    seed_at, first_row : (2,), from which dropout masks are drawn, and how many rows of a larger
        batch stand before
    positions_at : (rows,), where each row stands in a larger batch, if not one after the other;
        else 0
    first_step, steps : which batches; batch_weights_at, shares_at : (all steps,), for each batch
    the sum of its sample weights, and by how much its mean loss counts
    updating, penalized, l2, l2_over_batch : whether, and the penalty
    phase, first_piece, end_piece, first_thread : where ranks share a batch, which pieces of which
    phase are this rank's, and how many threads the ranks before it may have
    updates_made : counted when all steps of a call are done; rule_at : the rule's numbers
    loss, penalty : results, the sums over batches of sample weights times loss and penalty

    How the work is cut (see ``plan``):
    batch_rows, block_rows, round_rows : rows of a batch, of a piece of phase 1, and of those
        forwarded at a time
    layers, slices, blocks, parts, threads : how many there are; layers_at, slices_at : their tables
    block_gradients : whether blocks keep the gradient of weights too; partial_size : how much each
    keeps, at partials_at
    cores, slice_starts_at : for how many cores it is cut, and (cores + 1,), the slice with which
        each of them begins
    claims_at : (blocks + slices + parts,), in which turn each piece is free; done_at : pieces done
    totals_at : (blocks + slices, LINE), contributions to the sum of losses
    loss_numbers_at : (outputs,), the number that the loss takes for each

    Buffers, for ``capacity_rows`` rows:
    hidden_at : (sum of widths, capacity_rows), outputs of hidden layers; where there is dropout,
    the same after it; and where an activation keeps what it was given, the same of that
    deltas_at : (sum of widths, capacity_rows), dL/dz of all layers, layer by layer
    parts_at : (parts, batch_rows, first layer's fan_out), the products of the parts
    batch_x_at, batch_y_at, scales_at : gathered rows of X and Y, and what each row's loss is
        multiplied by
    scratch_at, results_at : (threads, SCRATCH), (threads, LINE), each thread's room for products
        and for a result

    Of members, how many there are, and buffers for ``capacity_rows`` rows of one of them:
    scaled_at : (sum of widths, capacity_rows), inputs of layers times the member's factors
    products_at : (sum of widths, capacity_rows), what weights of hidden layers give, before the
        member's factors
    first_gradient_at : (threads, first layer's weight), x^T delta of the member's first layer

    Of networks side by side (see ``many``), in the first one's job:
    lanes, lanes_at : how many threads' work they are, and (lanes,), whether each lane is still free
    train_at : the C function that trains one
    streams_at : (networks, WORDS), from which their orders are drawn, or 0 where rows are not
    shuffled and in each job: rows_at : (rows,), the rows of X that are shuffled
    """

    _fields_ = [
        *_fields(
            "x_at x_rows x_row y_at label_width rows inputs outputs starts_at columns_at filled order_at"
        ),
        *_fields("weights_at indexed order_step result_at nonfinite_at"),
        *_fields(
            "seed_at first_row positions_at first_step steps batch_weights_at shares_at updating penalized"
        ),
        *_fields("l2_over_batch phase first_piece end_piece first_thread updates_made rule_at"),
        *_fields(
            "batch_rows block_rows round_rows layers slices blocks parts threads layers_at slices_at"
        ),
        *_fields(
            "block_gradients partial_size cores slice_starts_at claims_at done_at totals_at loss_numbers_at"
        ),
        *_fields(
            "capacity_rows params_at gradients_at first_at second_at hidden_at deltas_at partials_at parts_at"
        ),
        *_fields("batch_x_at batch_y_at scales_at scratch_at results_at"),
        *_fields(
            "members scaled_at products_at first_gradient_at lanes lanes_at train_at streams_at rows_at"
        ),
        *_fields(
            "gemm_at multiply_at loss_at update_at output_at penalize_at gather_at gather_labels_at add_rows_at"
        ),
        *_fields("find_nonfinite_at drop_at keep_at sparse_times_at sparse_gradient_at densify_at"),
        *_fields("scale_at scale_backward_at scale_weight_backward_at add_share_at"),
        *_fields("l2 loss penalty", ctypes.c_double),
    ]


@cache
def job_class(dtype: str) -> Any:
    """A job of a network of this dtype: its field ``one`` tells compiled code of what the buffers
    are.
    """
    kind = {"float32": ctypes.c_float, "float64": ctypes.c_double}[dtype]
    fields: Any = Job._fields_
    # Not a subclass: NumPy sees only a structure's own fields.
    return type(f"Job{dtype}", (ctypes.Structure,), {"_fields_": [*fields, ("one", kind)]})


@cache
def job_type(dtype: str) -> Any:
    """Return the type of a job for compiled code."""
    return from_dtype(numpy.dtype(job_class(dtype)))


LAYER_TYPE, SLICE_TYPE = (from_dtype(numpy.dtype(s)) for s in (LayerRecord, Slice))


def aligned(dtype: str, sizes: dict[str, int]) -> dict[str, Any]:
    """Make for each name an array of so many zeros, which begins at a cache line."""
    counts = list(map(numpy.dtype(dtype).itemsize.__mul__, sizes.values()))
    parts = _parts(numpy.zeros(_room_for(counts), numpy.uint8), counts)
    return {name: part.view(dtype) for name, part in zip(sizes, parts, strict=True)}


def carve(memory: Any, *many: dict[str, Any]) -> list[dict[str, Any]]:
    """Arrays like these, which lie one behind the other in memory (bytes), each at the beginning of
    a cache line.

    memory : (:func:`bytes_for` all of them,) uint8
    """
    counts = [array.nbytes for arrays in many for array in arrays.values()]
    parts = iter(_parts(memory, counts))
    return [
        {name: next(parts).view(array.dtype) for name, array in arrays.items()} for arrays in many
    ]


def bytes_for(*many: dict[str, Any]) -> int:
    """Return how many bytes arrays like these take when they are carved."""
    return _room_for([array.nbytes for arrays in many for array in arrays.values()])


def _room_for(counts: list[int]) -> int:
    """Return how many bytes suffice for arrays of so many bytes each, that lie apart."""
    return sum(counts) + len(counts) * (LINE + GAP) + LINE


def _parts(memory: Any, counts: list[int]) -> list[Any]:
    """Return parts of memory (bytes) of so many bytes each, which begin at a cache line."""
    at, parts = -memory.ctypes.data % LINE, []
    for count in counts:
        parts.append(memory[at : at + count])
        lines = -(-count // LINE) * LINE
        at += lines + GAP if lines >= PAGE else lines
    return parts


def address_of(array: Any) -> int:
    """Return the address of an array's first item."""
    return array.__array_interface__["data"][0]


def set_pointers(job: Any, arrays: dict[str, Any]) -> None:
    """Set fields of a job to the addresses of arrays, which must be kept alive, or to 0 for None."""
    for name, memory in arrays.items():
        setattr(job, name, 0 if memory is None else memory.__array_interface__["data"][0])
