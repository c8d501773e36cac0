"""What Python tells compiled code: tables of numbers, in a layout that both sides read by name.

``ctypes`` structures on Python's side, records on Numba's. Fields called ``*_at`` are addresses, of buffers, tables or
C functions; an offset counts items from the start of a buffer.
"""

import ctypes
from typing import Any

import numpy
from numba.np.numpy_support import from_dtype

LINE = 64
"""Bytes that caches exchange: what different threads write lies on different lines."""


def _fields(kind: Any, names: str) -> list[tuple[str, Any]]:
    return [(name, kind) for name in names.split()]


def _integers(names: str) -> list[tuple[str, Any]]:
    return _fields(ctypes.c_int64, names)


class Rule(ctypes.Structure):
    """The numbers of an update: those of ``UpdateRule``, and the learning rate."""

    _fields_ = _fields(ctypes.c_double, "learning_rate momentum beta1 beta2 epsilon weight_decay") + _integers(
        "epsilon_hat"
    )


class Layer(ctypes.Structure):
    """One affine layer and its activation.

    weight, bias : offsets in the buffer of parameters, and in that of gradients
    bias_sum : offset of the bias's part in what each block keeps of the gradient
    column : sum of the widths of the layers before: its outputs lie at ``capacity * column`` of a buffer of outputs
    input_column : the same for what it is given, or -1 where that is X
    read_ahead : whether to read the weight once, in order, before the product
    forward, backward : leaves
    """

    _fields_ = _integers("fan_in fan_out weight bias bias_sum column input_column read_ahead forward backward")


class Slice(ctypes.Structure):
    """Some rows of one layer's weight, and perhaps its bias: a piece of phase 2.

    layer, first, rows : which rows of which weight
    start, size : the run of parameters this is
    takes_bias : whether the bias, which lies behind the weight, belongs to it
    number : which of its layer's slices it is
    """

    _fields_ = _integers("layer first rows start size takes_bias number")


class Job(ctypes.Structure):
    """Everything that one call of a driver needs.

    rows, inputs, outputs, label_width : of X, the result and Y; block_rows, batch_rows, steps : how they are taken
    x_row : items from one row of X to the next, at least inputs; x_is_far : whether rows come from main memory
    layers, slices, blocks, threads : how many there are; origin : 0
    parts : how many slices of the first weight are multiplied by their features before phase 1; 0 for none
    narrow : whether blocks keep the gradient of weights too; partial_size : how much each keeps, at partials_at
    ordered, weighted, updating, penalized, l2_over_batch : whether
    x_at, y_at, weights_at, order_at : X (rows, x_row), Y (rows, label_width), sample weights in their order, order
    batch_weights_at : (steps,), the sum of the sample weights of each batch
    spoiled_at : where blocks of X with NaN or infinity are counted, or 0
    homes_at : (threads,), the slice with which each thread begins
    claims_at : (blocks + 2 slices,), the step for which each piece is free; done_at : pieces done
    totals_at : (blocks + slices, LINE), contributions to the sum of losses
    loss, penalty : results, the sums over batches of sample weights times loss and penalty
    parts_at : (parts, batch_rows, first layer's fan_out), the products of the parts
    hidden_at, deltas_at : (sum of widths, batch_rows), outputs of hidden layers and dL/dz of all, layer by layer
    """

    _fields_ = [
        *_integers(
            "rows inputs x_row x_is_far outputs label_width block_rows batch_rows steps layers slices blocks threads"
        ),
        *_integers("parts partial_size updates_made origin narrow ordered weighted updating penalized l2_over_batch"),
        *_integers("gemm_at multiply_at loss_at update_at output_at penalize_at gather_at add_rows_at read_ahead_at"),
        *_integers("homes_at claims_at done_at totals_at params_at gradients_at first_at second_at"),
        *_integers("hidden_at deltas_at parts_at partials_at scales_at batch_x_at batch_y_at"),
        *_integers("x_at y_at weights_at batch_weights_at order_at result_at find_spoiled_at spoiled_at"),
        *_fields(ctypes.c_double, "l2 loss penalty"),
        ("rule", Rule),
    ]


RULE_TYPE, LAYER_TYPE, SLICE_TYPE, JOB_TYPE = (from_dtype(numpy.dtype(s)) for s in (Rule, Layer, Slice, Job))


def aligned(shape: int | tuple[int, ...], dtype: str) -> Any:
    """Zeros that begin at a cache line."""
    size = numpy.prod(shape, dtype=int) * numpy.dtype(dtype).itemsize
    memory = numpy.zeros(size + LINE, numpy.uint8)
    skip = -memory.ctypes.data % LINE
    return memory[skip : skip + size].view(dtype).reshape(shape)


def by_rows(X: Any, dtype: str) -> tuple[Any, int]:
    """A matrix whose rows compiled code can read, a copy if it must be, and the items from one row to the next."""
    item = numpy.dtype(dtype).itemsize
    step, columns = X.strides[0], X.shape[1]
    whole = X.dtype == dtype and X.flags.aligned and X.strides[1] == item and step % item == 0
    if whole and step >= item * columns and X.shape[0] > 1:
        return X, step // item
    return numpy.ascontiguousarray(X, dtype), columns


def place(array: Any) -> int:
    """The address of an array's first item."""
    return array.__array_interface__["data"][0]
