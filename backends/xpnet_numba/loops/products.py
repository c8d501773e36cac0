"""The matrix product: by tiles, or by SciPy's BLAS.

With tiles, C is computed panel by panel, and each panel tile by tile. A panel has as many columns
as the widest tile. The number of terms in a pass is limited so that the panel's part of B, copied
without gaps, stays in the first-level cache while all rows of A are multiplied. OpenBLAS copies A
as well, and has no tiles for widths such as 100.

Both have the arguments

a : (m, at least k), or with ``TRANSPOSE_A`` (k, at least m), of whose columns the first m count
b : (k, n), or with ``TRANSPOSE_B`` (n, k)
c : (m, n), becomes op(A) op(B), or with ``ACCUMULATE`` that is added
flags : of those above
scratch : (SCRATCH,), memory for copies; its content does not matter
gemm_at : where BLAS is
"""

from typing import NamedTuple

from xpnet_numba.kinds import Address, Matrix, Pointer, Vector
from xpnet_numba.llvm.arithmetic import choice, smaller
from xpnet_numba.llvm.emit import stay_apart
from xpnet_numba.llvm.memory import array, call, pointer_to, shift, spill
from xpnet_numba.llvm.tiles import (
    BYTES_PER_VECTOR,
    FEW,
    HEIGHTS,
    PANEL,
    ROW,
    TILES,
    ZEN4,
    copy_panel,
    multiply_row,
    multiply_tile,
    transpose_tile,
)
from xpnet_numba.loops import inner

TRANSPOSE_A, TRANSPOSE_B, ACCUMULATE = 1, 2, 4

TERMS = 800 if ZEN4 else TILES.terms
"""Maximum number of terms of a panel. Fewer terms keep it in the first-level cache, more terms
reduce the reads and writes of C. Zen 4 reads the panel, 200 KB of 1 MB, from its second-level cache
in time.
"""

PANEL_BYTES = PANEL * BYTES_PER_VECTOR

SIZE_OF_B = TERMS * PANEL_BYTES // 4
SIZE_OF_C = PANEL_BYTES // 4 * max(HEIGHTS)
SCRATCH = SIZE_OF_B + SIZE_OF_C
"""Number of float32 items of a panel and of a thin C in it."""

WORTH_A_COPY = 8
"""Minimum number of rows for which a panel is copied. With fewer rows, a panel of full vectors is
read in place, since its copy would not be read often enough.
"""

NARROW = 2
"""Maximum number of vectors in a row that is computed at once, with several terms at a time."""


class Operand(NamedTuple):
    """A matrix at a pointer.

    row, column : items from one row to the next, and from one column to the next
    """

    at: Pointer
    row: int
    column: int


class Panel(NamedTuple):
    """The part of a product in one panel.

    columns, terms : number of columns of C, and number of terms that are added up
    fresh : whether they are the first terms, so that C is not read
    vectors : number of vectors in a row of the panel
    """

    columns: int
    terms: int
    fresh: bool
    vectors: int


def multiply(
    a: Matrix, b: Matrix, c: Matrix, flags: int, scratch: Vector, gemm_at: Address
) -> None:
    """op(A) op(B) by tiles. A thin C is computed as its transpose op(B)^T op(A)^T, whose rows fill
    the vectors.
    """
    (m, n), k, lanes = (
        c.shape,
        choice(flags & TRANSPOSE_B, b.shape[1], len(b)),
        BYTES_PER_VECTOR // c.itemsize,
    )
    left, right = operand(a, flags & TRANSPOSE_A), operand(b, flags & TRANSPOSE_B)
    # Rows of n columns may fill vectors so badly that C^T takes less time. For it, A is transposed
    # unless it is already.
    transposing = choice(flags & TRANSPOSE_A, 0, 5)
    thin = (smaller(m, k) >= lanes) & (2 * (n + transposing) <= lanes)
    workspace, to_c = pointer_to(scratch), pointer_to(c)
    sums = shift(workspace, SIZE_OF_B)
    if thin:
        left, right, m, n = transposed(right), transposed(left), n, m
    step = -(-k // -(-k // TERMS))
    for start in range(0, k, step):
        terms = smaller(step, k - start)
        fresh, after = (start | flags & ACCUMULATE) == 0, k - start - terms
        for j in range(0, n, PANEL * lanes):
            columns = smaller(PANEL * lanes, n - j)
            vectors = -(-columns // lanes)
            b_part, copied = part_of(right, start, j), Operand(workspace, vectors * lanes, 1)
            if right.column > 1:
                transpose_panel(transposed(b_part), copied, lanes, columns, terms)
            elif readable(b_part, copied.row, columns, n, m, after):
                copied = b_part
            else:
                copy_panel(b_part, workspace, columns, terms, vectors)
            out, panel = Operand(shift(to_c, j), n, 1), Panel(columns, terms, fresh, vectors)
            if not thin:
                sweep(part_of(left, 0, start), copied, out, m, panel)
                continue
            out, turned = Operand(sums, columns, 1), Operand(shift(to_c, j * m), 1, m)
            if not fresh:
                copy(turned, out, m, columns)
            sweep(part_of(left, 0, start), copied, out, m, panel)
            copy(out, turned, m, columns)


@inner
def operand(x: Matrix, is_transposed: int) -> Operand:
    """op(X)."""
    return Operand(
        pointer_to(x), choice(is_transposed, 1, x.shape[1]), choice(is_transposed, x.shape[1], 1)
    )


@inner
def transposed(x: Operand) -> Operand:
    """X^T."""
    return Operand(x.at, x.column, x.row)


@inner
def part_of(x: Operand, row: int, column: int) -> Operand:
    """X from a row and a column on."""
    return Operand(shift(x.at, row * x.row + column * x.column), x.row, x.column)


@inner
def readable(b: Operand, width: int, columns: int, n: int, m: int, after: int) -> bool:
    """Return whether a panel may and should be read in place, ``width`` numbers of each row.

    Items beyond its columns are read from the following rows, and are not used for a column of C.
    """
    return ((columns == width) & (m < WORTH_A_COPY)) | (
        (n == columns) & (width - columns <= b.row * after)
    )


@inner
def transpose_panel(b: Operand, panel: Operand, lanes: int, columns: int, terms: int) -> None:
    """Copy a panel of B^T by tiles transposed in registers; b : (columns, at least terms)."""
    for j in range(0, columns, lanes):
        for i in range(0, terms, lanes):
            transpose_tile(part_of(b, j, i), part_of(panel, i, j), columns - j, terms - i)


@inner
def copy(source: Operand, target: Operand, rows: int, columns: int) -> None:
    """Copy a matrix."""
    stay_apart()
    for i in range(rows):
        row, copied = part_of(source, i, 0), part_of(target, i, 0)
        source_row, target_row = (
            array(row.at, columns * row.column),
            array(copied.at, columns * copied.column),
        )
        for j in range(columns):
            target_row[j * copied.column] = source_row[j * row.column]


@inner
def sweep(a: Operand, b: Operand, c: Operand, m: int, panel: Panel) -> None:
    """Compute all m rows of C in a panel: as many full tiles as fit, then tiles of few rows."""
    stay_apart()
    height, i = HEIGHTS[panel.vectors], 0
    while i < m:
        multiply_tile(part_of(a, i, 0), b, part_of(c, i, 0), m - i, panel)
        i += choice(m - i >= height, height, FEW)


def multiply_few(
    a: Matrix, b: Matrix, c: Matrix, flags: int, scratch: Vector, gemm_at: Address
) -> None:
    """A B for so few rows that a copy of B does not pay: B is read in place for each row. ``flags``
    must be 0.
    """
    (m, n), k, lanes = c.shape, len(b), BYTES_PER_VECTOR // c.itemsize
    from_a, from_b = pointer_to(a), pointer_to(b)
    to_c = pointer_to(c)
    narrow = n <= NARROW * lanes
    for i in range(m):
        for j in range(0, n, ROW * lanes):
            x, y, z = shift(from_a, i * a.shape[1]), shift(from_b, j), shift(to_c, i * n + j)
            if narrow:
                multiply_row(x, y, n, z, n, k, NARROW)
            else:
                multiply_row(x, y, n, z, n - j, k, ROW)


def multiply_by_blas(
    a: Matrix, b: Matrix, c: Matrix, flags: int, scratch: Vector, gemm_at: Address
) -> None:
    """op(A) op(B) by BLAS.

    BLAS counts along columns, and a matrix by rows is the transpose of one by columns: hence C^T =
    op(B)^T op(A)^T. All arguments are passed by reference. An integer has 32 bits in most builds of
    SciPy and 64 in some: on little-endian machines, 64 bits serve both.
    """
    (m, n), k, one = c.shape, choice(flags & TRANSPOSE_B, b.shape[1], len(b)), c.dtype.type(1)
    beta = one if flags & ACCUMULATE else c.dtype.type(0)
    plain, transposed = ord("N"), ord("T")
    op_a, op_b = (
        transposed if flags & TRANSPOSE_A else plain,
        transposed if flags & TRANSPOSE_B else plain,
    )
    columns, rows, terms, row_of_b, row_of_a = (
        spill(n),
        spill(m),
        spill(k),
        spill(b.shape[1]),
        spill(a.shape[1]),
    )
    sizes = spill(op_b), spill(op_a), columns, rows, terms
    operands = spill(one), b.ctypes.data, row_of_b, a.ctypes.data, row_of_a
    call(gemm_at, sizes + operands + (spill(beta), c.ctypes.data, columns))  # noqa: RUF005


PRODUCTS = {
    "multiply": multiply,
    "multiply_few": multiply_few,
    "multiply_by_blas": multiply_by_blas,
}
