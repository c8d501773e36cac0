"""Softmax cross-entropy with its gradient: the exponentials are taken once, for both.

With s = sum exp(z - h) and a shift h of the row (0 where its block needs none), log softmax(z)_k = z_k - h - log s.
"""

from functools import lru_cache
from typing import Any

import numpy
from numba import carray, njit

from xpnet import ops
from xpnet.ops import Array, Labels
from xpnet_numba.kernels.softmax import BLOCK, CHUNK, ROOM, exponentials, normalise_row, row_maximum
from xpnet_numba.launching import NO_INDEX, Loop, contiguous, flat, launch, row
from xpnet_numba.llvm import INNER, shift, stack
from xpnet_numba.scalars import FAST, log_normal


def softmax_cross_entropy(
    logits: Array, labels: Labels, sample_weight: Array | None = None
) -> tuple[Array, Array]:
    """Kernel of :func:`xpnet.ops.softmax_cross_entropy`; the loss is added up in float64."""
    if logits.size == 0:
        return ops.softmax_cross_entropy(logits, labels, sample_weight)
    logits = contiguous(logits)
    rows, columns = logits.shape
    rows_per_chunk = max(1, CHUNK // columns)
    d_logits, losses = numpy.empty_like(logits), numpy.empty(-(-rows // rows_per_chunk))
    scale = _uniform_scale(rows, logits.dtype) if sample_weight is None else _weights(sample_weight, logits.dtype)
    loop: Loop
    if labels.ndim == 1:
        index = contiguous(labels).astype(numpy.int64, copy=False)
        loop, soft = _index_rows, []
    else:
        index, loop, soft = NO_INDEX, _soft_rows, [contiguous(labels).astype(logits.dtype, copy=False)]
    arrays = logits, d_logits, scale, *soft
    launch(loop, *arrays, rows=rows, columns=columns, rows_per_chunk=rows_per_chunk, index=index, numbers=losses)
    return logits.dtype.type(sum(losses.tolist())), d_logits


@lru_cache(maxsize=4)
def _uniform_scale(rows: int, dtype: numpy.dtype) -> Array:
    """1 / batch for each row, (rows, 1)."""
    return numpy.full((rows, 1), 1.0 / rows, dtype)


def _weights(sample_weight: Array, dtype: numpy.dtype) -> Array:
    """w_i / sum w, (rows, 1)."""
    weight = numpy.asarray(sample_weight, dtype)
    return (weight / weight.sum())[:, None]


def _index_rows(
    z: Any, d_z: Any, scale: Any, _d: Any, labels: Any, losses: Any, k: Any, first: Any, count: Any, chunk: Any
) -> None:
    scratch, sums, rests = stack(z, ROOM), stack(z, BLOCK), stack(z, BLOCK)
    step = max(1, BLOCK // k)
    loss = 0.0
    for begin in range(first, first + count, step):
        rows = min(step, first + count - begin)
        e = scratch if k <= BLOCK else shift(d_z, begin * k)
        near = exponentials(flat(z, k, begin, rows), carray(e, rows * k), k)
        for i in range(rows):
            label, d_row = labels[begin + i], shift(d_z, (begin + i) * k)
            sums[i] = normalise_row(shift(e, i * k), d_row, k, scale[begin + i], label)
            if 0 <= label < k:
                rests[i] = shift_of(row(z, k, begin + i), near) - z[(begin + i) * k + label]
            else:
                sums[i], rests[i] = forget_row(carray(d_row, k))
        loss += weighted_losses(carray(sums, rows), carray(rests, rows), flat(scale, 1, begin, rows))
    losses[chunk] = loss


@njit(**INNER, **FAST)
def shift_of(z: Any, near: Any) -> Any:
    """h of a row."""
    return z.dtype.type(0) if near else row_maximum(z)


@njit(**INNER, **FAST)
def forget_row(d_z: Any) -> Any:
    """A label that is no class adds nothing to loss and gradient, as an empty one-hot row; returns s and rest of no loss."""
    zero = d_z.dtype.type(0)
    for j in range(d_z.size):
        d_z[j] *= zero
    return d_z.dtype.type(1), zero


@njit(**INNER, **FAST)
def weighted_losses(sums: Any, rests: Any, weights: Any) -> Any:
    """sum_i w_i (log s_i + rest_i), in float64: log s and the rest may be large and nearly cancel."""
    added = 0.0
    for i in range(sums.size):
        log_s = log_normal(numpy.float64(sums[i]))
        added += numpy.float64(weights[i]) * (log_s + numpy.float64(rests[i]))
    return added


def _soft_rows(
    z: Any, d_z: Any, scale: Any, labels: Any, _i: Any, losses: Any, k: Any, first: Any, count: Any, chunk: Any
) -> None:
    scratch, sums, weights = stack(z, ROOM), stack(z, BLOCK), stack(z, BLOCK)
    step = max(1, BLOCK // k)
    loss = 0.0
    for begin in range(first, first + count, step):
        rows = min(step, first + count - begin)
        e = scratch if k <= BLOCK else shift(d_z, begin * k)
        near = exponentials(flat(z, k, begin, rows), carray(e, rows * k), k)
        for i in range(rows):
            c, y, d_row = scale[begin + i], row(labels, k, begin + i), shift(d_z, (begin + i) * k)
            weights[i] = c * total(y)
            sums[i] = normalise_row(shift(e, i * k), d_row, k, weights[i], -1)
            loss += subtract_labels(row(z, k, begin + i), carray(d_row, k), y, c, near)
        loss += weighted_logs(carray(sums, rows), carray(weights, rows))
    losses[chunk] = loss


@njit(**INNER, **FAST)
def total(x: Any) -> Any:
    """sum x."""
    s = x.dtype.type(0)
    for i in range(x.size):
        s += x[i]
    return s


@njit(**INNER, **FAST)
def subtract_labels(z: Any, d_z: Any, y: Any, c: Any, near: Any) -> Any:
    """Take c y off the gradient; returns c sum_k y_k (h - z_k), to which a logit of -inf adds nothing where y is 0."""
    zero, h = c - c, shift_of(z, near)
    dot = zero
    for j in range(z.size):
        d_z[j] -= c * y[j]
        dot += zero if y[j] == zero else y[j] * (h - z[j])
    return numpy.float64(c) * dot


@njit(**INNER, **FAST)
def weighted_logs(sums: Any, weights: Any) -> Any:
    """sum_i w_i log s_i."""
    added = 0.0
    for i in range(sums.size):
        added += numpy.float64(weights[i]) * log_normal(numpy.float64(sums[i]))
    return added
