"""Softmax and its logarithm, row by row.

If no logit of some rows has a magnitude above ``NEAR``, exp can neither overflow nor vanish. Then
no shift by the row's maximum is needed, and the shift causes no rounding. Exponentials are taken
over all numbers of the rows as one flat loop, whatever the width of a row: a loop over ten classes
would leave vectors half empty.
"""

from typing import Any

import numpy

from xpnet_numba.kinds import Matrix, Pointer, Scalar, Vector
from xpnet_numba.llvm.arithmetic import LANES, bits, inside, larger, maximum, normalise, smaller
from xpnet_numba.llvm.emit import widest_vectors
from xpnet_numba.llvm.memory import address, array, clear, flat, pointer_to, shift, stack
from xpnet_numba.loops import inlined, inner
from xpnet_numba.scalars import exp, log_normal, logistic, softplus

BLOCK = 2048
"""Number of items that are worked on at a time, so that they stay in the first-level cache from one
loop to the next.
"""

MAX_ROWS = 256
"""Maximum number of rows that are worked on at a time, since values of each row are on the stack.
"""

SCRATCH = BLOCK + LANES
"""Number of items of scratch memory: up to one vector beyond a block is read."""

SUM_BLOCK = 4096
"""Number of items that are added up before their sum is added to others. Rounding errors grow with
this number and not with all items.
"""

NEAR = 64.0
"""Maximum magnitude of logits that are not shifted: a sum of a million such exponentials is finite
in float32.
"""


@inner
def softmax(x: Matrix, out: Matrix) -> None:
    """softmax of each row; x, out : (rows, columns), which may be the same."""
    scratch, shifts = stack(pointer_to(x), SCRATCH), stack(pointer_to(x), MAX_ROWS)
    k, one = x.shape[1], x.dtype.type(1)
    step = rows_at_once(k)
    for begin in range(0, len(x), step):
        rows = smaller(step, len(x) - begin)
        e = scratch if k <= BLOCK else shift(pointer_to(out), begin * k)
        # A slice of Numba's own: with ``section`` narrow rows take more time.
        exponentials(x[begin : begin + rows], e, array(shifts, rows))
        for i in range(rows):
            normalise_row(shift(e, i * k), shift(pointer_to(out), (begin + i) * k), k, one)


@inner
def ordered(x: Matrix, loss_numbers: Vector) -> None:
    """x = the probabilities of ordered classes, from their cumulative logits, in each row."""
    last, one = x.shape[1] - 1, x.dtype.type(1)
    for i in range(len(x)):
        logit, share, not_below = x[i, 0], one, one
        for j in range(last):
            if j > 0:
                share = logistic(x[i, j])
                logit -= softplus(x[i, j])
            x[i, j] = not_below * logistic(-logit) * share
            not_below = logistic(logit)
        x[i, last] = not_below


@inner
def multi_softmax(x: Matrix, targets: Vector) -> None:
    """x = softmax of each target's logits in each row; targets : (columns,), the number of each
    column's target.
    """
    widest_vectors()
    for i in range(len(x)):
        begin = 0
        while begin < targets.size:
            end = end_of_target(targets, begin)
            values = x[i, begin:end]
            h, s = shift_of(values), values.dtype.type(0)
            for j in range(values.size):
                values[j] = exp(values[j] - h)
                s += values[j]
            factor = values.dtype.type(1) / s
            for j in range(values.size):
                values[j] *= factor
            begin = end


@inlined
def end_of_target(targets: Vector, begin: int) -> int:
    """Return the end of the columns that belong to one target, from ``begin`` on."""
    end = begin + 1
    while end < targets.size and targets[end] == targets[begin]:
        end += 1
    return end


@inner
def log_softmax(x: Matrix, out: Matrix) -> None:
    """log softmax of each row; x, out : (rows, columns)."""
    widest_vectors()
    for i in range(len(x)):
        values, logs = x[i], out[i]
        m = row_maximum(values)
        s = values.dtype.type(0)
        for j in range(values.size):
            logs[j] = values[j] - m
            s += exp(logs[j])
        log_s = values.dtype.type(log_normal(numpy.float64(s)))
        # From memory: the compiler may add m and log_s first, which loses digits of large logits.
        for j in range(values.size):
            logs[j] -= log_s


@inlined
def rows_at_once(k: int) -> int:
    """Return the number of rows of k items that are worked on at a time."""
    return larger(1, smaller(BLOCK // k, MAX_ROWS))


@inner
def exponentials(x: Matrix, e: Pointer, shifts: Vector) -> None:
    """e = exp(x - shift), row by row, and the shifts: 0 if no logit is beyond ``NEAR``, else each
    row's maximum.

    e : memory for the results, row by row; for a single row it may be that of x
    """
    widest_vectors()
    numbers, out, largest = flat(x), array(e, x.size), bits(x.dtype.type(0))
    if address(e) == address(pointer_to(x)):
        shifts[0] = shift_of(x[0])
        shifted_exponentials(x, e, shifts)
        return
    for i in range(numbers.size):
        largest = larger(largest, bits(abs(numbers[i])))
        out[i] = exp(numbers[i])
    clear(shifts)
    if largest > bits(x.dtype.type(NEAR)):
        for i in range(len(x)):
            shifts[i] = row_maximum(x[i])
        shifted_exponentials(x, e, shifts)


@inlined
def shift_of(row: Vector) -> Scalar:
    """Return the number to subtract from a row before exp: 0 if no item is beyond ``NEAR``, else
    its maximum.
    """
    return row.dtype.type(0) if are_near(row) else row_maximum(row)


@inlined
def are_near(logits: Vector) -> bool:
    """Return whether no logit has a magnitude above ``NEAR``."""
    largest = bits(logits.dtype.type(0))
    for i in range(logits.size):
        largest = larger(largest, bits(abs(logits[i])))
    return largest <= bits(logits.dtype.type(NEAR))


@inner
def shifted_exponentials(x: Matrix, e: Pointer, shifts: Vector) -> None:
    """e = exp(x - shift), row by row."""
    widest_vectors()
    for i in range(len(x)):
        row, m = x[i], shifts[i]
        out = array(shift(e, i * row.size), row.size)
        for j in range(row.size):
            out[j] = exp(row[j] - m)


@inner
def row_maximum(x: Vector) -> Scalar:
    """max x; NaN if any item is NaN."""
    m = x[0]
    for i in range(1, x.size):
        m = maximum(m, x[i])
    return m


@inlined
def sum_of(terms: Vector) -> Scalar:
    """The sum of a vector. The compiler chooses the number of lanes."""
    total = terms.dtype.type(0)
    for j in range(terms.size):
        total += terms[j]
    return total


NO_PLACE: Any = numpy.int64(-1)
"""An index outside of every row. Numba would compile a function again for Python's -1, a literal
type.
"""


@inlined
def normalise_row(e: Pointer, out: Pointer, k: int, scale: Scalar) -> Scalar:
    """out = e scale / sum e, k numbers each, where ``LANES`` numbers must be readable; returns sum
    e.
    """
    if k > LANES:
        return normalise_long_row(e, out, k, scale, NO_PLACE)
    return normalise(e, out, k, scale, NO_PLACE, out, None)


@inlined
def normalise_long_row(e: Pointer, out: Pointer, k: int, scale: Scalar, marked: int) -> Scalar:
    """:func:`normalise_row` for a longer row, minus scale at index ``marked`` (if it is inside the
    row).
    """
    terms, shares = array(e, k), array(out, k)
    s = sum_of(array(e, smaller(k, SUM_BLOCK)))
    for begin in range(SUM_BLOCK, k, SUM_BLOCK):
        s += sum_of(array(shift(e, begin), smaller(k - begin, SUM_BLOCK)))
    factor = scale / s
    for j in range(k):
        shares[j] = terms[j] * factor
    if inside(marked, k):
        shares[marked] -= scale
    return s
