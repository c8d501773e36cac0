"""Rows of X: gathered in an order, added up and checked, and products with sparse rows."""

from numba import types

from xpnet_numba.kinds import Address, Indices, Matrix, Numbers, Scalar, SparseIndices, Vector
from xpnet_numba.llvm.arithmetic import inside, larger, smaller
from xpnet_numba.llvm.emit import widest_vectors
from xpnet_numba.llvm.memory import array, clear, copy, pointer, pointer_to, prefetch, shift
from xpnet_numba.loops import inlined

AHEAD = 4
"""Distance, in rows, between a row that is prefetched and the row that is read, since the processor
cannot predict the next row. A smaller distance would be too late, and with a larger one rows would
leave the cache before they are read.
"""


@inlined
def gather(order: Indices, out: Matrix, x: Matrix) -> None:
    """out[i] = x[order[i]], as many columns as out has. Without such a row out[i] is unchanged."""
    from_x, to_out, columns = pointer_to(x), pointer_to(out), out.shape[1]
    for i in range(order.size):
        later_row, row = order[smaller(i + AHEAD, order.size - 1)], order[i]
        if inside(later_row, len(x)):
            prefetch(shift(from_x, later_row * x.shape[1]), columns)
        if inside(row, len(x)):
            copy(shift(from_x, row * x.shape[1]), shift(to_out, i * columns), columns)


def gather_labels(order: Indices, out: Indices, labels: Indices) -> None:
    """:func:`gather` for class indices: out[i] = labels[order[i]]."""
    for i in range(order.size):
        if inside(order[i], labels.size):
            out[i] = labels[order[i]]


def add_rows(x: Matrix, first: int, out: Vector) -> None:
    """out = the sum over rows, in their order, of the columns of x from ``first`` on."""
    clear(out)
    for i in range(len(x)):
        for j in range(out.size):
            out[j] += x[i, first + j]


def find_nonfinite(x: Matrix, columns: int, flag: Numbers) -> None:
    """``flag`` (1,) becomes 1 if any of the first columns of x holds NaN or infinity."""
    zero = x.dtype.type(0)
    total = zero
    for i in range(len(x)):
        for j in range(columns):
            total += zero * x[i, j]  # NaN for both
    if total != zero:
        flag[0] = 1.0


# Products with sparse rows: the first layer of a network whose X is a matrix of compressed rows
# (CSR).
#
# order : (rows,), the rows that are used
# numbers : (filled,), the stored numbers of all rows, row by row
# columns_at : the address of (filled,), the column of each
# starts_at : the address of (all_rows + 1,), the position in ``numbers`` at which each row begins
#
# In a matrix that was built by hand an index may be outside of these arrays. Such entries are
# ignored.


index: types.Type | None = None
"""Placeholder for the type of columns and starts, int32 or int64."""


def sparse_times(
    order: Indices,
    numbers: Vector,
    columns_at: Address,
    starts_at: Address,
    all_rows: int,
    weight: Matrix,
    out: Matrix,
) -> None:
    """out = X[order] W. weight : (in, out); out : (rows, out)."""
    widest_vectors()
    columns, starts = (
        array(pointer(columns_at, index), numbers.size),
        array(pointer(starts_at, index), all_rows + 1),
    )
    for i in range(order.size):
        sums = out[i]
        clear(sums)
        begin, end = run_of(order[i], starts, numbers.size)
        for place in range(begin, end):
            if 0 <= columns[place] < len(weight):
                add_scaled(numbers[place], weight[columns[place]], sums)


def sparse_gradient(
    order: Indices,
    numbers: Vector,
    columns_at: Address,
    starts_at: Address,
    all_rows: int,
    first: int,
    deltas: Matrix,
    grad: Matrix,
) -> None:
    """grad += X[order]^T deltas, of the features from ``first`` on. deltas : (rows, out); grad :
    (features, out).
    """
    widest_vectors()
    columns, starts = (
        array(pointer(columns_at, index), numbers.size),
        array(pointer(starts_at, index), all_rows + 1),
    )
    for i in range(order.size):
        begin, end = run_of(order[i], starts, numbers.size)
        for place in range(begin, end):
            if 0 <= columns[place] - first < len(grad):
                add_scaled(numbers[place], deltas[i], grad[columns[place] - first])


def densify(
    order: Indices,
    numbers: Vector,
    columns_at: Address,
    starts_at: Address,
    all_rows: int,
    out: Matrix,
) -> None:
    """out = X[order], (rows, in), its zeros written out.

    The place of a row is prefetched before its numbers are, and these before they are read.
    """
    columns, starts = (
        array(pointer(columns_at, index), numbers.size),
        array(pointer(starts_at, index), all_rows + 1),
    )
    last = order.size - 1
    for i in range(order.size):
        far_row = order[smaller(i + 2 * AHEAD, last)]
        if inside(far_row, all_rows):
            prefetch(shift(pointer_to(starts), far_row), 2)
        near: int = smaller(i + AHEAD, last)
        begin, end = run_of(order[near], starts, numbers.size)
        if begin < end:
            prefetch(shift(pointer_to(numbers), begin), end - begin)
            prefetch(shift(pointer_to(columns), begin), end - begin)
        row = out[i]
        clear(row)
        begin, end = run_of(order[i], starts, numbers.size)
        for place in range(begin, end):
            if 0 <= columns[place] < row.size:
                row[columns[place]] += numbers[place]


@inlined
def run_of(row: int, starts: SparseIndices, filled: int) -> tuple[int, int]:
    """Return the positions at which the numbers of a row begin and end."""
    if 0 <= row < starts.size - 1:
        return larger(0, starts[row]), smaller(starts[row + 1], filled)
    return 0, 0


@inlined
def add_scaled(scale: Scalar, x: Vector, sums: Vector) -> None:
    """sums += scale x."""
    for j in range(sums.size):
        sums[j] += scale * x[j]
