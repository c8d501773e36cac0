"""Losses, each in one pass over a block of rows: the formulas are those of ``xpnet.ops.losses``.

z : (rows, out), outputs of the last affine layer; become dL/dz
scale : (rows,), what each row's loss is multiplied by: 1 / batch, or w_i / sum w
d_bias : (out,), the column sums of dL/dz are added
loss : (1,), set to the sum over rows of scale_i l_i

Below them the output activations of prediction, in place.
"""

import math
from typing import Any

import numpy
from numba import carray, njit

from xpnet_numba.leaves.registry import MATRIX, RESULT, VECTOR, leaf
from xpnet_numba.llvm import INNER, LANES, maximum, normalise, pointer, shift, stack, widest_vectors
from xpnet_numba.scalars import FAST, exp, log_normal

SAFE = 64.0
"""exp of a number no larger than this overflows in no dtype, not even when a million of them are added up."""

ROWS = 128
"""Rows whose exponentials are taken at a time: they stay in the first-level cache."""

ROOM = (ROWS + 1) * LANES


@njit(**INNER, **FAST)
def shift_rows(z: Any) -> None:
    """Subtract from each row its maximum, unless exp is safe without: softmax does not change by it.

    Leaving near rows alone is faster and loses no digits to the subtraction. A NaN or an infinity in z is never safe.
    """
    zero = z.dtype.type(0)
    flat = z.reshape(z.size)
    largest = zero
    for j in range(flat.size):
        largest = maximum(largest, abs(flat[j]))
    if largest <= SAFE:
        return
    for i in range(z.shape[0]):
        top = z[i, 0]
        for j in range(z.shape[1]):
            top = maximum(top, z[i, j])
        for j in range(z.shape[1]):
            z[i, j] -= top


@njit(**INNER, **FAST)
def exp_all(z: Any) -> None:
    """exp of every item, as one long loop: a loop over ten classes would leave vectors half empty."""
    flat = z.reshape(z.size)
    for j in range(flat.size):
        flat[j] = exp(flat[j])


@leaf(MATRIX, MATRIX, VECTOR, VECTOR, RESULT)
def softmax_cross_entropy_indices(z: Any, labels: Any, scale: Any, d_bias: Any, loss: Any) -> None:
    """l_i = log sum_k exp(z_ik) - z_iy for class indices y; dL/dz = (softmax(z_i) - onehot(y)) scale_i.

    labels : (rows, 1), the indices as numbers of z's dtype, so that all kinds of labels are gathered alike
    """
    shift_rows(z)
    if z.shape[1] <= LANES:
        loss[0] = short_rows(z, labels, scale, d_bias)
        return
    total = 0.0
    for i in range(z.shape[0]):
        total -= scale[i] * z[i, int(labels[i, 0])]
    exp_all(z)
    for i in range(z.shape[0]):
        row_sum = z.dtype.type(0)
        for j in range(z.shape[1]):
            row_sum += z[i, j]
        total += scale[i] * math.log(row_sum)
        factor = scale[i] / row_sum
        for j in range(z.shape[1]):
            z[i, j] *= factor
        z[i, int(labels[i, 0])] -= scale[i]
        for j in range(z.shape[1]):
            d_bias[j] += z[i, j]
    loss[0] = total


@njit(**INNER, **FAST)
def short_rows(z: Any, labels: Any, scale: Any, d_bias: Any) -> Any:
    """The same for shifted rows that are one vector each; returns the sum of losses.

    The exponentials of some rows lie elsewhere meanwhile: a row could not be read while the one before is being stored.
    """
    widest_vectors()
    (rows, k), at = z.shape, pointer(z.ctypes.data, z.dtype)
    exponentials, columns, sums = stack(at, ROOM), stack(at, LANES), carray(stack(at, ROWS), ROWS)
    column_sums, total = carray(columns, LANES), 0.0
    column_sums[:] = 0
    for begin in range(0, rows, ROWS):
        count = min(ROWS, rows - begin)
        block, e = carray(shift(at, begin * k), count * k), carray(exponentials, count * k)
        for j in range(block.size):
            e[j] = exp(block[j])
        for i in range(count):
            row, label = shift(at, (begin + i) * k), int(labels[begin + i, 0])
            total -= scale[begin + i] * z[begin + i, label]
            sums[i] = normalise(shift(exponentials, i * k), row, k, scale[begin + i], label, columns, LANES)
        for i in range(count):
            total += scale[begin + i] * log_normal(numpy.float64(sums[i]))
    for j in range(k):
        d_bias[j] += column_sums[j]
    return total


@leaf(MATRIX, MATRIX, VECTOR, VECTOR, RESULT)
def softmax_cross_entropy_rows(z: Any, labels: Any, scale: Any, d_bias: Any, loss: Any) -> None:
    """l_i = sum_k y_ik (log sum_j exp(z_ij) - z_ik) for one-hot or soft labels y; where y is 0 nothing is added."""
    zero = z.dtype.type(0)
    shift_rows(z)
    total = 0.0
    for i in range(z.shape[0]):
        picked = zero
        for j in range(z.shape[1]):
            picked += zero if labels[i, j] == zero else labels[i, j] * z[i, j]
        total -= scale[i] * picked
    exp_all(z)
    for i in range(z.shape[0]):
        row_sum, label_sum = zero, zero
        for j in range(z.shape[1]):
            row_sum += z[i, j]
            label_sum += labels[i, j]
        if label_sum != zero:
            total += scale[i] * label_sum * math.log(row_sum)
        factor = scale[i] * label_sum / row_sum
        for j in range(z.shape[1]):
            value = z[i, j] * factor - labels[i, j] * scale[i]
            z[i, j] = value
            d_bias[j] += value
    loss[0] = total


@leaf(MATRIX, MATRIX, VECTOR, VECTOR, RESULT)
def logistic_cross_entropy(z: Any, labels: Any, scale: Any, d_bias: Any, loss: Any) -> None:
    """l_i = sum_k log(1 + exp(-|z|)) + max(z, 0) - z y; dL/dz = (logistic(z) - y) scale_i."""
    number = z.dtype.type
    zero, one = number(0), number(1)
    total = 0.0
    for i in range(z.shape[0]):
        row_loss = zero
        for j in range(z.shape[1]):
            x, y = z[i, j], labels[i, j]
            e = exp(-abs(x))
            row_loss += math.log1p(e) + (zero if x < zero else x) - x * y
            value = ((e if x < zero else one) / (one + e) - y) * scale[i]
            z[i, j] = value
            d_bias[j] += value
        total += scale[i] * row_loss
    loss[0] = total


@leaf(MATRIX, MATRIX, VECTOR, VECTOR, RESULT)
def squared_error(z: Any, targets: Any, scale: Any, d_bias: Any, loss: Any) -> None:
    """l_i = 1/2 sum_k (z - y)^2; dL/dz = (z - y) scale_i."""
    total = 0.0
    for i in range(z.shape[0]):
        row_loss = z.dtype.type(0)
        for j in range(z.shape[1]):
            error = z[i, j] - targets[i, j]
            row_loss += error * error
            value = error * scale[i]
            z[i, j] = value
            d_bias[j] += value
        total += scale[i] * row_loss
    loss[0] = 0.5 * total


@leaf(MATRIX, MATRIX, VECTOR, VECTOR, RESULT)
def poisson(z: Any, targets: Any, scale: Any, d_bias: Any, loss: Any) -> None:
    """l_i = sum_k exp(z) - y + y (log y - z); dL/dz = (exp(z) - y) scale_i."""
    number = z.dtype.type
    zero, one = number(0), number(1)
    total = 0.0
    for i in range(z.shape[0]):
        row_loss = zero
        for j in range(z.shape[1]):
            x, y = z[i, j], targets[i, j]
            mean = exp(x)
            row_loss += mean - y + y * (math.log(y if y > zero else one) - x)
            value = (mean - y) * scale[i]
            z[i, j] = value
            d_bias[j] += value
        total += scale[i] * row_loss
    loss[0] = total


@leaf(MATRIX)
def softmax_output(z: Any) -> None:
    """softmax of each row."""
    shift_rows(z)
    exp_all(z)
    one = z.dtype.type(1)
    for i in range(z.shape[0]):
        row_sum = z.dtype.type(0)
        for j in range(z.shape[1]):
            row_sum += z[i, j]
        factor = one / row_sum
        for j in range(z.shape[1]):
            z[i, j] *= factor


@leaf(MATRIX)
def logistic_output(z: Any) -> None:
    """1 / (1 + exp(-z))."""
    number = z.dtype.type
    zero, one = number(0), number(1)
    for i in range(z.shape[0]):
        for j in range(z.shape[1]):
            e = exp(-abs(z[i, j]))
            z[i, j] = (e if z[i, j] < zero else one) / (one + e)


@leaf(MATRIX)
def identity_output(z: Any) -> None:
    """z itself."""


@leaf(MATRIX)
def exp_output(z: Any) -> None:
    """exp(z)."""
    exp_all(z)
