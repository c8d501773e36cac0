"""Products with sparse rows: the first layer of a network whose X is a matrix of compressed rows (CSR).

order : (rows,), the rows that are used
numbers : (filled,), the numbers of all rows, one row behind the other
columns : (filled,), the column of each
starts : (all rows + 1,), where each row begins among them

Where a matrix was put together by hand, an index may point outside of these arrays: what it stands for is left out.
"""

from xpnet_numba.kinds import Indices, Matrix, Scalar, SparseIndices, Vector
from xpnet_numba.llvm import larger, smaller
from xpnet_numba.loops.compiled import inlined


@inlined
def times(
    order: Indices, numbers: Vector, columns: SparseIndices, starts: SparseIndices, weight: Matrix, out: Matrix
) -> None:
    """out = X[order] W. weight : (in, out); out : (rows, out)."""
    for i in range(order.size):
        sums = out[i]
        sums[:] = 0
        begin, end = run_of(order[i], starts, numbers.size)
        for place in range(begin, end):
            if 0 <= columns[place] < weight.shape[0]:
                add_scaled(numbers[place], weight[columns[place]], sums)


@inlined
def transposed_times(
    order: Indices,
    numbers: Vector,
    columns: SparseIndices,
    starts: SparseIndices,
    first: int,
    deltas: Matrix,
    grad: Matrix,
) -> None:
    """grad += X[order]^T deltas, of the features from ``first`` on. deltas : (rows, out); grad : (features, out)."""
    for i in range(order.size):
        begin, end = run_of(order[i], starts, numbers.size)
        for place in range(begin, end):
            if 0 <= columns[place] - first < grad.shape[0]:
                add_scaled(numbers[place], deltas[i], grad[columns[place] - first])


@inlined
def densify(order: Indices, numbers: Vector, columns: SparseIndices, starts: SparseIndices, out: Matrix) -> None:
    """out = X[order], (rows, in), its zeros written out."""
    for i in range(order.size):
        row = out[i]
        row[:] = 0
        begin, end = run_of(order[i], starts, numbers.size)
        for place in range(begin, end):
            if 0 <= columns[place] < row.size:
                row[columns[place]] += numbers[place]


@inlined
def run_of(row: int, starts: SparseIndices, filled: int) -> tuple[int, int]:
    """The place where the numbers of a row begin, and where they end."""
    if 0 <= row < starts.size - 1:
        return larger(0, starts[row]), smaller(starts[row + 1], filled)
    return 0, 0


@inlined
def add_scaled(scale: Scalar, x: Vector, sums: Vector) -> None:
    """sums += scale x."""
    for j in range(sums.size):
        sums[j] += scale * x[j]
