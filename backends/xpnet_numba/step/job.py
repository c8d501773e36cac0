"""The job: the table by which Python passes arguments to compiled code.

A job is a table of numbers, whose fields both sides read by name: a ``ctypes`` structure on
Python's side, a record on Numba's. Fields called ``*_at`` are addresses, of buffers, tables or C
functions; an offset counts items from the start of a buffer.
"""

import ctypes
from collections.abc import Mapping
from functools import cache
from typing import Any, TypeAlias

import numpy
from numba import types

from xpnet_numba.internals import from_dtype
from xpnet_numba.llvm.memory import LINE

CType: TypeAlias = type[ctypes.c_int64] | type[ctypes.c_double] | type[ctypes.Structure]
"""The type of a field of a structure."""

PAGE = 4096
"""Bytes of a page, within which processors prefetch."""

GAP = PAGE + 9 * LINE
"""Bytes after a buffer of at least a page. So a core that reads the buffer's end does not prefetch
memory that another core writes. And buffers of round sizes do not have their items at equal offsets
in a page, which processors can mistake for each other.
"""


def _fields(*names: str, kind: CType = ctypes.c_int64) -> list[tuple[str, CType]]:
    """Return fields of a structure: their names, each with its type."""
    return [(name, kind) for name in names]


class LayerRecord(ctypes.Structure):
    """One affine layer and its activation.

    weight, bias : offsets in the buffer of parameters, and in that of gradients
    column : sum of the widths of the layers before: its outputs begin at ``capacity_rows * column``
        in a buffer of outputs
    input_column : the same for its inputs, after dropout, or -1 if these are X
    kept_column : the same for the values from which the gradient of its activation is computed
    number : index of the layer, from 0
    keeps : whether the gradient of its activation is computed from the activation's inputs
    forward, backward : C functions
    rate : dropout rate of its outputs

    For members:
    scale_in, scale_out : offsets of their factors, or -1 if there are none
    weight_step, bias_step : items from one member's weight or bias to the next member's, 0 if it is
        shared
    scaled_column : sum of the widths of scaled inputs of the layers before
    """

    _fields_ = [
        *_fields(
            "fan_in",
            "fan_out",
            "weight",
            "bias",
            "column",
            "input_column",
            "kept_column",
            "number",
            "keeps",
        ),
        *_fields("forward", "backward"),
        *_fields("scale_in", "scale_out", "weight_step", "bias_step", "scaled_column"),
        *_fields("rate", kind=ctypes.c_double),
    ]


class Slice(ctypes.Structure):
    """Some rows of one layer's weight, and perhaps its bias: a piece of phase 2.

    layer, first, rows : index of the layer, first row of its weight, and number of rows
    start, size : first parameter of the slice, and number of parameters
    takes_bias : whether the bias, which follows the weight, belongs to it
    number : index of the slice in its layer
    own : whether it belongs to single members, whose gradients are not added up
    weights : number of its first items to which the penalty applies
    """

    _fields_ = _fields(
        "layer", "first", "rows", "start", "size", "takes_bias", "number", "own", "weights"
    )


class Job(ctypes.Structure):
    """Everything that one call of the step's compiled code needs; :func:`job_class` adds the dtype.

    The data of a call:
    x_at, x_rows, x_row : X (x_rows, x_row)
    y_at, label_width : Y (x_rows, label_width), or int64 class indices (x_rows,)
    rows, inputs, outputs : rows that are used, and the network's first and last width
    starts_at, columns_at, filled : for a sparse X, whose numbers are at x_at: the position at which
        each row begins, the column of each number, and the number of numbers; starts_at is 0 if X
        is dense
    order_at, weights_at : the order of the rows, and sample weights in that order; 0 if there are
        none
    indexed : whether Y is class indices
    order_step : items from one member's order of the rows to the next member's, 0 if the order is
        shared
    result_at, nonfinite_at : the outputs, and (1,) float64 that becomes 1 for NaN or infinity in X,
        or 0

    The requested work:
    seed_at, first_row : (2,), seed of the dropout masks, and index of the first row in a larger
        batch
    positions_at : (rows,), position of each row in a larger batch, or 0 if the rows are consecutive
    first_step, steps : first batch, and number of batches
    batch_weights_at, shares_at : (all steps,), for each batch the sum of its sample weights, and
        the weight of its mean loss
    updating, penalized, l2, l2_over_batch : whether parameters are updated, whether the penalty is
        added, its factor, and whether the factor is divided by the batch's weight
    phase, first_piece, end_piece, first_thread : if ranks share a batch, the phase, this rank's
        pieces, and the maximum number of threads of the ranks before it
    updates_made : number of updates, increased when all steps of a call are done
    rule_at : the numbers of the update rule
    low_at, high_at : the lowest and the highest values of the parameters, or 0 if none has any
    loss, penalty : results, the sums over batches of sample weights times loss and penalty

    The division of the work (see ``plan``):
    batch_rows, block_rows, round_rows : rows of a batch, of a piece of phase 1, and of those
        forwarded at a time
    layers, slices, blocks, parts, threads : their numbers
    layers_at, slices_at : tables of layers and slices
    block_gradients : whether blocks keep the gradient of weights as well
    partial_size : items that each block keeps, at partials_at
    cores, slice_starts_at : number of cores, and (cores + 1,), the first slice of each core
    claims_at : (blocks + slices + parts,), the turn in which each piece is free
    done_at : number of pieces done
    totals_at : (blocks + slices, LINE), contributions to the sum of losses
    loss_numbers_at : (outputs,), the number that the loss takes for each output

    Buffers, for ``capacity_rows`` rows:
    hidden_at : (sum of widths, capacity_rows), outputs of hidden layers; with dropout, the same
        again after it; and if an activation keeps its inputs, the same again for these
    deltas_at : (sum of widths, capacity_rows), dL/dz of all layers, layer by layer
    parts_at : (parts, batch_rows, first layer's fan_out), the products of the parts
    batch_x_at, batch_y_at, scales_at : gathered rows of X and Y, and the factor of each row's loss
    scratch_at, results_at : (threads, scratch_items), (threads, LINE), each thread's memory for
        products and for a result

    For members, their number in ``members``, and buffers for ``capacity_rows`` rows of one member:
    scaled_at : (sum of widths, capacity_rows), inputs of layers times the member's factors
    products_at : (sum of widths, capacity_rows), products with weights of hidden layers, before the
        member's factors
    first_gradient_at : (threads, first layer's weight), x^T delta of the member's first layer

    For networks side by side (see ``many``), in the job of the first network:
    lanes, lanes_at : number of lanes, and (lanes,), whether each lane is still free
    train_at : the C function that trains one network
    rng_states_at : (networks, WORDS), states of the random generators of their orders, or 0 if rows
        are not shuffled
    rows_at : (rows,), in each job, the rows of X that are shuffled
    """

    _fields_ = [
        # The data of a call.
        *_fields(
            "x_at",
            "x_rows",
            "x_row",
            "y_at",
            "label_width",
            "rows",
            "inputs",
            "outputs",
            "starts_at",
            "columns_at",
            "filled",
            "order_at",
            "weights_at",
            "indexed",
            "order_step",
            "result_at",
            "nonfinite_at",
        ),
        # The requested work.
        *_fields(
            "seed_at",
            "first_row",
            "positions_at",
            "first_step",
            "steps",
            "batch_weights_at",
            "shares_at",
            "updating",
            "penalized",
            "l2_over_batch",
            "phase",
            "first_piece",
            "end_piece",
            "first_thread",
            "updates_made",
            "rule_at",
            "low_at",
            "high_at",
        ),
        # The division of the work.
        *_fields(
            "batch_rows",
            "block_rows",
            "round_rows",
            "layers",
            "slices",
            "blocks",
            "parts",
            "threads",
            "layers_at",
            "slices_at",
            "block_gradients",
            "partial_size",
            "cores",
            "slice_starts_at",
            "claims_at",
            "done_at",
            "totals_at",
            "loss_numbers_at",
        ),
        # Buffers.
        *_fields(
            "capacity_rows",
            "params_at",
            "gradients_at",
            "first_at",
            "second_at",
            "hidden_at",
            "deltas_at",
            "partials_at",
            "parts_at",
            "batch_x_at",
            "batch_y_at",
            "scales_at",
            "scratch_at",
            "scratch_items",
            "results_at",
        ),
        # Members.
        *_fields("members", "scaled_at", "products_at", "first_gradient_at"),
        # Networks side by side.
        *_fields("lanes", "lanes_at", "train_at", "rng_states_at", "rows_at"),
        # C functions.
        *_fields(
            "gemm_at",
            "multiply_at",
            "loss_at",
            "update_at",
            "output_at",
            "penalize_at",
            "keep_within_at",
            "gather_at",
            "gather_labels_at",
            "add_rows_at",
            "find_nonfinite_at",
            "drop_at",
            "keep_at",
            "sparse_times_at",
            "sparse_gradient_at",
            "densify_at",
            "scale_at",
            "scale_backward_at",
            "scale_weight_backward_at",
            "add_share_at",
        ),
        # Numbers and results.
        *_fields("l2", "loss", "penalty", kind=ctypes.c_double),
    ]


@cache
def job_class(dtype: str) -> Any:
    """Return the class of jobs of a dtype. The type of its field ``one`` is the type of the
    buffers' items.
    """
    kind = {"float32": ctypes.c_float, "float64": ctypes.c_double}[dtype]
    fields: Any = Job._fields_
    # This is not a subclass, since NumPy reads only a structure's own fields.
    return type(f"Job{dtype}", (ctypes.Structure,), {"_fields_": [*fields, ("one", kind)]})


@cache
def job_type(dtype: str) -> types.Record:
    """Return the type of a job for compiled code."""
    return from_dtype(numpy.dtype(job_class(dtype)))


LAYER_TYPE, SLICE_TYPE = (from_dtype(numpy.dtype(s)) for s in (LayerRecord, Slice))


def aligned(dtype: str, sizes: dict[str, int]) -> dict[str, numpy.ndarray]:
    """Return an array of zeros for each name and size. Each begins at a cache line."""
    counts = list(map(numpy.dtype(dtype).itemsize.__mul__, sizes.values()))
    parts = _parts(numpy.zeros(_room_for(counts), numpy.uint8), counts)
    return {name: part.view(dtype) for name, part in zip(sizes, parts, strict=True)}


def carve(memory: numpy.ndarray, *many: dict[str, numpy.ndarray]) -> list[dict[str, numpy.ndarray]]:
    """Return arrays like these, one after the other in memory (bytes), each of which begins at a
    cache line.

    memory : (:func:`bytes_for` all of them,) uint8
    """
    counts = [array.nbytes for arrays in many for array in arrays.values()]
    parts = iter(_parts(memory, counts))
    return [
        {name: next(parts).view(array.dtype) for name, array in arrays.items()} for arrays in many
    ]


def bytes_for(*many: dict[str, numpy.ndarray]) -> int:
    """Return the number of bytes that :func:`carve` needs for arrays like these."""
    return _room_for([array.nbytes for arrays in many for array in arrays.values()])


def _room_for(counts: list[int]) -> int:
    """Return the number of bytes that suffice for arrays of these sizes with gaps between them."""
    return sum(counts) + len(counts) * (LINE + GAP) + LINE


def _parts(memory: numpy.ndarray, counts: list[int]) -> list[numpy.ndarray]:
    """Return parts of memory (bytes) of these sizes. Each begins at a cache line."""
    at, parts = -memory.ctypes.data % LINE, []
    for count in counts:
        parts.append(memory[at : at + count])
        lines = -(-count // LINE) * LINE
        at += lines + GAP if lines >= PAGE else lines
    return parts


def address_of(array: numpy.ndarray) -> int:
    """Return the address of an array's first item."""
    return array.__array_interface__["data"][0]


def set_pointers(job: ctypes.Structure, arrays: Mapping[str, numpy.ndarray | None]) -> None:
    """Set fields of a job to the addresses of arrays, or to 0 for None. The caller keeps them
    alive.
    """
    for name, memory in arrays.items():
        setattr(job, name, 0 if memory is None else memory.__array_interface__["data"][0])
