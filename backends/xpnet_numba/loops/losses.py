"""Losses, each with its gradient with respect to the outputs of the last layer: the formulas of
``xpnet.ops.losses``.

z : (rows, out), outputs of the last layer
labels : (rows,) int64 for class indices, else (rows, out)
scale : (rows,), the factor of each row's loss: 1 / batch, or w_i / sum w
d_z : (rows, out), becomes dL/dz; may be z itself
d_bias : (out,), the sums of d_z over the rows are added; or None
loss : (1,) float64, to which the sum over rows of scale_i l_i is added
"""

from collections.abc import Callable
from typing import TypeAlias

import numpy

from xpnet_numba.kinds import Indices, Matrix, Numbers, Pointer, Scalar, Vector
from xpnet_numba.llvm.arithmetic import LANES, inside, larger, normalise, select, smaller
from xpnet_numba.llvm.emit import stay_apart, widest_vectors
from xpnet_numba.llvm.memory import array, clear, copy, flat, pointer_to, section, shift, stack
from xpnet_numba.loops import inlined, inlined_by_type, inner, inner_by_type
from xpnet_numba.loops.activations import SHORT
from xpnet_numba.loops.softmax import (
    BLOCK,
    MAX_ROWS,
    SCRATCH,
    are_near,
    end_of_target,
    exponentials,
    normalise_long_row,
    normalise_row,
    rows_at_once,
    shift_of,
)
from xpnet_numba.scalars import exp, log, log_normal, logistic, softplus

Formula: TypeAlias = Callable[[Scalar, Scalar, Scalar], tuple[Scalar, Scalar]]


@inlined_by_type
def softmax_cross_entropy_indices(
    z: Matrix, labels: Indices, scale: Vector, d_z: Matrix, d_bias: Vector | None, loss: Numbers
) -> None:
    """l_i = log sum_k exp(z_ik) - z_iy for class indices y; dL/dz = (softmax(z_i) - onehot(y))
    scale_i.

    A label that is not a class adds nothing to loss and gradient, like a row of zeros in place of
    one-hot labels.
    """
    at, gradient = pointer_to(z), pointer_to(d_z)
    scratch, shifts, distances_at, sums = (
        stack(at, SCRATCH),
        stack(at, MAX_ROWS),
        stack(at, MAX_ROWS),
        stack(at, MAX_ROWS),
    )
    h, distances, s, columns = (
        array(shifts, MAX_ROWS),
        array(distances_at, MAX_ROWS),
        array(sums, MAX_ROWS),
        stack(at, LANES),
    )
    k, step, zero = z.shape[1], rows_at_once(z.shape[1]), z.dtype.type(0)
    clear(array(columns, LANES))
    for begin in range(0, len(z), step):
        rows = smaller(step, len(z) - begin)
        block, d_block = section(z, begin, rows), shift(gradient, begin * k)
        y, c = section(labels, begin, rows), section(scale, begin, rows)
        # Read before exponentials overwrite the logits; a read after the gradient would be delayed.
        for i in range(rows):
            if inside(y[i], k):
                distances[i] = block[i, y[i]]
        e = scratch if k <= BLOCK else d_block
        exponentials(block, e, array(shifts, rows))
        for i in range(rows):
            label, d_row = y[i], shift(d_block, i * k)
            if inside(label, k):
                distances[i] = h[i] - distances[i]
                if k <= LANES:
                    s[i] = normalise(shift(e, i * k), d_row, k, c[i], label, columns, d_bias)
            else:
                s[i], distances[i] = z.dtype.type(1), zero
                clear(array(d_row, k))
        if k > LANES:
            normalise_long_rows(e, d_block, k, c, y, s, d_bias)
        loss[0] += weighted_losses(array(sums, rows), array(distances_at, rows), c)
    if d_bias is not None and k <= LANES:
        add_row(array(columns, k), d_bias)


@inlined_by_type
def softmax_cross_entropy_rows(
    z: Matrix, labels: Matrix, scale: Vector, d_z: Matrix, d_bias: Vector | None, loss: Numbers
) -> None:
    """l_i = sum_k y_ik (log sum_j exp(z_ij) - z_ik) for one-hot or soft labels y; an output with y
    = 0 adds nothing.
    """
    at = pointer_to(z)
    scratch, shifts = stack(at, SCRATCH), stack(at, MAX_ROWS)
    weights, sums = stack(at, MAX_ROWS), stack(at, MAX_ROWS)
    h, weight, s = array(shifts, MAX_ROWS), array(weights, MAX_ROWS), array(sums, MAX_ROWS)
    k, step = z.shape[1], rows_at_once(z.shape[1])
    for begin in range(0, len(z), step):
        rows = smaller(step, len(z) - begin)
        block, d_block = section(z, begin, rows), section(d_z, begin, rows)
        y, c = section(labels, begin, rows), section(scale, begin, rows)
        e = scratch if k <= BLOCK else pointer_to(d_block)
        if k <= BLOCK:
            exponentials(block, e, array(shifts, rows))
        else:  # the exponentials may overwrite z, which is read again
            h[0] = shift_of(block[0])
        for i in range(rows):
            distance, total = weigh(block[i], y[i], h[i])
            weight[i] = c[i] * total
            loss[0] += c[i] * distance
        if k > BLOCK:
            exponentials(block, e, array(shifts, rows))
        for i in range(rows):
            d_row = shift(pointer_to(d_block), i * k)
            s[i] = normalise_row(shift(e, i * k), d_row, k, weight[i])
            subtract_labels(array(d_row, k), y[i], c[i])
            if d_bias is not None:
                add_row(array(d_row, k), d_bias)
        loss[0] += weighted_logs(array(sums, rows), array(weights, rows))


@inner
def multi_softmax_cross_entropy(
    z: Matrix, labels: Matrix, scale: Vector, targets: Vector, d_bias: Vector, loss: Numbers
) -> None:
    """The cross-entropies of several targets added up; z becomes dL/dz; targets : (out,), each
    output's target.
    """
    widest_vectors()
    scratch, k, step = stack(pointer_to(z), SCRATCH), z.shape[1], rows_at_once(z.shape[1])
    for first in range(0, len(z), step):
        rows = smaller(step, len(z) - first)
        logits = flat(section(z, first, rows))
        e, near = (
            array(scratch if k <= BLOCK else pointer_to(logits), logits.size),
            k <= BLOCK and are_near(logits),
        )
        if near:  # one loop, as the classes of a target alone are too few to fill the vectors
            for n in range(logits.size):
                e[n] = exp(logits[n])
        for i in range(rows):
            y, c, begin = labels[first + i], scale[first + i], 0
            while begin < k:
                end = end_of_target(targets, begin)
                row, terms = logits[i * k + begin : i * k + end], e[i * k + begin : i * k + end]
                loss[0] += softmax_of_target(row, y[begin:end], c, terms, d_bias[begin:end], near)
                begin = end


@inner
def ordered_cross_entropy(
    z: Matrix, labels: Matrix, scale: Vector, loss_numbers: Vector, d_bias: Vector, loss: Numbers
) -> None:
    """The cross-entropy of ordered classes; z becomes dL/dz, 0 for the last output."""
    last = z.shape[1] - 1
    for i in range(len(z)):
        logit, moved, value = z[i, 0], z.dtype.type(0), z.dtype.type(0)
        for j in range(1, last):
            logit -= softplus(z[i, j])
        for j in range(last - 1, -1, -1):  # a gap moves all thresholds from its own on
            gap, y, above = z[i, j], labels[i, j], labels[i, j + 1]
            if j == 0:
                logit = gap
            value += y * softplus(logit) + above * softplus(-logit)
            moved += y * logistic(logit) - above * logistic(-logit)
            d = moved
            if j > 0:
                value += y * softplus(-gap)
                d = -logistic(gap) * moved - y * logistic(-gap)
                logit += softplus(gap)
            z[i, j] = scale[i] * d
            d_bias[j] += z[i, j]
        z[i, last] = z.dtype.type(0)
        loss[0] += numpy.float64(scale[i]) * numpy.float64(value)


@inlined
def softmax_of_target(
    z: Vector, y: Vector, c: Scalar, e: Vector, d_bias: Vector, has_exponentials: bool
) -> float:
    """One target of a row: z becomes dL/dz, and its loss times c is returned; e : exp(z) if
    ``has_exponentials``, else memory for it.
    """
    h, s = z.dtype.type(0), z.dtype.type(0)
    if not has_exponentials:
        h = shift_of(z)
    distance, total = weigh(z, y, h)
    for j in range(z.size):
        if not has_exponentials:
            e[j] = exp(z[j] - h)
        s += e[j]
    factor = c * total / s
    for j in range(z.size):
        z[j] = e[j] * factor - c * y[j]
        d_bias[j] += z[j]
    return numpy.float64(c) * (distance + numpy.float64(total) * log_normal(numpy.float64(s)))


@inner_by_type
def normalise_long_rows(
    e: Pointer,
    d_z: Pointer,
    k: int,
    scale: Vector,
    labels: Indices,
    sums: Vector,
    d_bias: Vector | None,
) -> None:
    """The gradients of the rows whose label is a class; e, d_z : k numbers for each."""
    stay_apart()
    for i in range(labels.size):
        if inside(labels[i], k):
            d_row = shift(d_z, i * k)
            sums[i] = normalise_long_row(shift(e, i * k), d_row, k, scale[i], labels[i])
            if d_bias is not None:
                add_row(array(d_row, k), d_bias)


@inlined
def add_row(row: Vector, sums: Vector) -> None:
    """sums += row."""
    for j in range(row.size):
        sums[j] += row[j]


@inner
def weighted_losses(sums: Vector, distances: Vector, weights: Vector) -> float:
    """sum_i w_i (log s_i + distance_i), in float64: both terms may be large and nearly cancel."""
    stay_apart()
    added = 0.0
    for i in range(sums.size):
        added += numpy.float64(weights[i]) * (
            log_normal(numpy.float64(sums[i])) + numpy.float64(distances[i])
        )
    return added


@inner
def weighted_logs(sums: Vector, weights: Vector) -> float:
    """sum_i w_i log s_i, to which a row of weight 0 adds nothing."""
    added = 0.0
    for i in range(sums.size):
        weight = numpy.float64(weights[i])
        added += weight * log_normal(numpy.float64(sums[i])) if weight != 0.0 else 0.0
    return added


@inner
def weigh(z: Vector, y: Vector, h: Scalar) -> tuple[Scalar, Scalar]:
    """sum_k y_k (h - z_k) of a row with shift h, to which a logit of -inf adds nothing where y is
    0; and sum_k y_k.
    """
    zero = z.dtype.type(0)
    distance, total = zero, zero
    for j in range(z.size):
        distance += zero if y[j] == zero else y[j] * (h - z[j])
        total += y[j]
    return numpy.float64(distance), total


@inner
def subtract_labels(d_z: Vector, y: Vector, c: Scalar) -> None:
    """d_z -= c y."""
    for j in range(d_z.size):
        d_z[j] -= c * y[j]


@inlined
def item_by_item(
    formula: Formula,
    z: Matrix,
    labels: Matrix,
    scale: Vector,
    loss_numbers: Vector,
    d_bias: Vector,
    loss: Numbers,
) -> None:
    """A loss that is a sum over the outputs of a row; z becomes dL/dz, the formula's slope times
    scale_i.

    formula : (z, y, number) -> the loss of one output, and its slope
    loss_numbers : (out,), the number of each output that the formula takes
    """
    for i in range(z.shape[0]):
        row_loss = z.dtype.type(0)
        for j in range(z.shape[1]):
            value, slope = formula(z[i, j], labels[i, j], loss_numbers[j])
            row_loss += value
            d = slope * scale[i]
            z[i, j] = d
            d_bias[j] += d
        loss[0] += numpy.float64(scale[i]) * row_loss


@inlined
def items_of_joined_rows(
    formula: Formula,
    z: Matrix,
    labels: Matrix,
    scale: Vector,
    loss_numbers: Vector,
    d_bias: Vector,
    loss: Numbers,
) -> None:
    """:func:`item_by_item` for formulas with exponentials: many short rows are one loop, which
    fills the vectors.
    """
    k, total = z.shape[1], 0.0
    if k >= SHORT:
        item_by_item(formula, z, labels, scale, loss_numbers, d_bias, loss)
        return
    step = larger(1, smaller(rows_at_once(k), len(z)))
    at = pointer_to(z)
    scales, numbers = array(stack(at, SCRATCH), step * k), array(stack(at, SCRATCH), step * k)
    for i in range(step):
        copy(pointer_to(loss_numbers), shift(pointer_to(numbers), i * k), k)
    for begin in range(0, len(z), step):
        rows = smaller(step, len(z) - begin)
        block, y = section(z, begin, rows), flat(section(labels, begin, rows))
        x = flat(block)
        for i in range(rows):
            for j in range(k):
                scales[i * k + j] = scale[begin + i]
        for n in range(rows * k):
            value, slope = formula(x[n], y[n], numbers[n])
            total += numpy.float64(scales[n]) * value
            x[n] = slope * scales[n]
        for i in range(rows):
            add_row(block[i], d_bias)
    loss[0] += total


@inner
def add_offsets(z: Matrix, targets: Vector) -> None:
    """Add offsets to the outputs of one row, (1, out). targets : (2 * out,), labels and offsets"""
    for j in range(z.shape[1]):
        z[0, j] += targets[z.shape[1] + j]


@inlined
def logistic_cross_entropy(x: Scalar, y: Scalar, _: Scalar) -> tuple[Scalar, Scalar]:
    """log(1 + exp(x)) - x y; slope logistic(x) - y."""
    return softplus(x) - x * y, logistic(x) - y


@inlined
def squared_error(x: Scalar, y: Scalar, _: Scalar) -> tuple[Scalar, Scalar]:
    """1/2 (x - y)^2; slope x - y."""
    error = x - y
    return type(x)(0.5) * error * error, error


@inlined
def absolute_error(x: Scalar, y: Scalar, _: Scalar) -> tuple[Scalar, Scalar]:
    """|x - y|; slope sign(x - y), NaN where the error is."""
    error, zero, one = x - y, type(x)(0), type(x)(1)
    return abs(error), select(error > zero, one, select(error < zero, -one, error))


@inlined
def huber(x: Scalar, y: Scalar, delta: Scalar) -> tuple[Scalar, Scalar]:
    """g (e - g / 2) with e = x - y and the slope g, which is e kept within delta; NaN stays NaN."""
    error = x - y
    slope = select(error > delta, delta, select(error < -delta, -delta, error))
    return slope * (error - type(x)(0.5) * slope), slope


@inlined
def quantile(x: Scalar, y: Scalar, level: Scalar) -> tuple[Scalar, Scalar]:
    """max(q e, (q - 1) e) with e = y - x; slope -q or 1 - q, NaN where the error is."""
    error, zero = y - x, type(x)(0)
    slope = select(error > zero, -level, select(error < zero, type(x)(1) - level, error))
    return -slope * error, slope


@inlined
def poisson(x: Scalar, y: Scalar, _: Scalar) -> tuple[Scalar, Scalar]:
    """exp(x) - y + y (log y - x); slope exp(x) - y."""
    mean = exp(x)
    return mean - y + y * (log_positive(y) - x), mean - y


@inlined
def gamma(x: Scalar, y: Scalar, _: Scalar) -> tuple[Scalar, Scalar]:
    """x - log y + y exp(-x) - 1; slope 1 - y exp(-x)."""
    ratio, one = y * exp(-x), type(x)(1)
    return x - log_positive(y) + ratio - one, one - ratio


@inlined
def tweedie(x: Scalar, y: Scalar, power: Scalar) -> tuple[Scalar, Scalar]:
    """y^(2-p) / ((1-p) (2-p)) - y m^(1-p) / (1-p) + m^(2-p) / (2-p) with m = exp(x); slope m^(2-p)
    - y m^(1-p).
    """
    below, above = type(x)(1) - power, type(x)(2) - power
    ratio, mean = y * exp(below * x), exp(above * x)
    minimum = select(y > type(x)(0), exp(above * type(x)(log_positive(y))), type(x)(0))
    return minimum / (below * above) - ratio / below + mean / above, mean - ratio


@inlined
def log_positive(y: Scalar) -> float:
    """log(y) in float64, 0 for what is not positive."""
    return log(numpy.float64(y) if y > 0 else 1.0)


FORMULAS = {
    formula.__name__: formula
    for formula in (
        logistic_cross_entropy,
        squared_error,
        absolute_error,
        huber,
        quantile,
        poisson,
        gamma,
        tweedie,
    )
}
"""Losses that :func:`item_by_item` makes of one output's loss and slope."""

WIDEST = {"logistic_cross_entropy", "poisson", "gamma", "tweedie"}
"""Losses whose caller should use ``widest_vectors``, since they compute exponentials."""
