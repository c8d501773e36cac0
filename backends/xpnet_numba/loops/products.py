"""The matrix product: by tiles, or by SciPy's BLAS.

By tiles, C is computed panel by panel, a panel being as many columns as the widest tile, and each panel by tiles. So
many terms are taken at a time that the panel's part of B, copied to where it lies without gaps, stays in the
first-level cache while all rows of A pass by. OpenBLAS copies A as well, and has no tiles for widths such as 100.

Both have the arguments

a : (m, at least k), or with ``TRANSPOSE_A`` (k, at least m), of whose columns the first m count
b : (k, n), or with ``TRANSPOSE_B`` (n, k)
c : (m, n), becomes op(A) op(B), or with ``ACCUMULATE`` that is added
flags : of those above; ``FAR`` where A comes from main memory: its rows are asked for a tile ahead
scratch : (SCRATCH,), room for copies; what is in it does not matter
gemm_at : where BLAS is
"""

from typing import NamedTuple

from llvmlite import binding

from xpnet_numba.kinds import Address, Matrix, Pointer, Vector
from xpnet_numba.llvm import address, array, choice, gemm, larger, pointer_to, shift, smaller, stay_apart
from xpnet_numba.llvm.tiles import (
    BYTES_PER_VECTOR,
    HEIGHTS,
    PANEL,
    ROW,
    TILES,
    VECTORS_OF_A,
    copy_panel,
    copy_rows_of_a,
    multiply_row,
    multiply_tile,
    transpose_tile,
)
from xpnet_numba.loops import inner

TRANSPOSE_A, TRANSPOSE_B, FAR, ACCUMULATE = 1, 2, 4, 8

TERMS = 400 if binding.get_host_cpu_name() == "znver4" else TILES.terms
"""The most terms of a panel: fewer leave it in the first-level cache, more have C read and written less often. AMD's
fourth Zen takes two cycles for a vector of 64 bytes, in which its second-level cache delivers the next.
"""

PANEL_BYTES = PANEL * BYTES_PER_VECTOR

SIZE_OF_B = TERMS * PANEL_BYTES // 4
SIZE_OF_A = TERMS * VECTORS_OF_A * BYTES_PER_VECTOR // 4
SIZE_OF_C = PANEL_BYTES // 4 * max(HEIGHTS)
SCRATCH = SIZE_OF_B + SIZE_OF_A + SIZE_OF_C
"""Numbers, of the smaller kind, of a panel, and of the rows of a tile of A and of C."""

WORTH_A_COPY = 8
"""With fewer rows a panel that lies without masks is read where it is: the copy would not be read often enough."""

NARROW = 2
"""Up to so many vectors a row is computed as one, and several terms at a time."""

SMALL = 1_000_000
"""OpenBLAS copies no operand of a product of up to m n k = 1e6: thin ones are faster in pieces of that size."""

THIN = 48
"""Below this width a product is worth cutting into pieces that are small for OpenBLAS."""


class Operand(NamedTuple):
    """A matrix at a pointer: how many items it is from one row to the next, and from one column to the next."""

    at: Pointer
    row: int
    column: int


class Panel(NamedTuple):
    """The part of a product in one panel.

    columns, terms : how many columns of C it has, and how many terms are added up
    fresh : whether they are the first terms, so that C is not read
    ahead : how many terms of the rows of A are asked for ahead
    vectors : how many vectors a row of the panel takes
    after : how many terms follow
    """

    columns: int
    terms: int
    fresh: bool
    ahead: int
    vectors: int
    after: int


def multiply(a: Matrix, b: Matrix, c: Matrix, flags: int, scratch: Vector, gemm_at: Address) -> None:
    """op(A) op(B) by tiles."""
    a_transposed, b_transposed, far = flags & TRANSPOSE_A, flags & TRANSPOSE_B, flags & FAR != 0
    (m, n), k = c.shape, choice(b_transposed, b.shape[1], len(b))
    a_row, a_term = choice(a_transposed, 1, a.shape[1]), choice(a_transposed, a.shape[1], 1)
    from_a, to_c = pointer_to(a), pointer_to(c)
    from_b, workspace = pointer_to(b), pointer_to(scratch)
    lanes = BYTES_PER_VECTOR // c.itemsize
    step = -(-k // -(-k // TERMS))
    for start in range(0, k, step):
        terms = smaller(step, k - start)
        fresh, after = (start | flags & ACCUMULATE) == 0, k - start - terms
        for j in range(0, n, PANEL * lanes):
            columns = smaller(PANEL * lanes, n - j)
            vectors = -(-columns // lanes)
            panel, b_term = workspace, vectors * lanes
            if b_transposed:
                transpose_panel(Operand(shift(from_b, j * k + start), k, 1), workspace, b_term, lanes, columns, terms)
            elif readable(b_term, columns, n, m, after):
                panel, b_term = shift(from_b, start * n + j), n
            else:
                copy_panel(shift(from_b, start * n + j), n, workspace, columns, terms, vectors)
            sweep(
                Operand(shift(from_a, start * a_term), a_row, a_term),
                Operand(panel, b_term, 1),
                Operand(shift(to_c, j), n, 1),
                m,
                Panel(columns, terms, fresh, choice(far & (j == 0), terms, 0), vectors, after),
                shift(workspace, SIZE_OF_B),
            )


@inner
def readable(width: int, columns: int, n: int, m: int, after: int) -> bool:
    """Return whether a panel may and should be read where it lies, ``width`` numbers of each row.

    What it has not is read from rows that follow, and goes where no column of C is.
    """
    return ((columns == width) & (m < WORTH_A_COPY)) | ((n == columns) & (width - columns <= n * after))


@inner
def transpose_panel(b: Operand, panel: Pointer, width: int, lanes: int, columns: int, terms: int) -> None:
    """Copy a panel of B^T, by tiles that are turned in registers; b : (columns, at least terms)."""
    for j in range(0, columns, lanes):
        for i in range(0, terms, lanes):
            source, target = shift(b.at, j * b.row + i), shift(panel, i * width + j)
            transpose_tile(source, b.row, target, width, columns - j, terms - i)


@inner
def sweep(a: Operand, b: Operand, c: Operand, m: int, panel: Panel, workspace: Pointer) -> None:
    """All m rows of C in a panel; ``workspace`` is for the rows of a tile.

    Tiles are whole. Where rows at the end fill none, a tile begins among the rows before them, or has copies of the
    rows if there are too few; of what it gives those at the end are used.
    """
    height = HEIGHTS[panel.vectors]
    whole = m // height * height
    multiply_tiles(a, b, c, whole, panel)
    rest = m - whole
    if rest == 0:
        return
    columns, sums = panel.columns, shift(workspace, SIZE_OF_A)
    rows, result = Operand(shift(a.at, (m - height) * a.row), a.row, a.column), shift(sums, (height - rest) * columns)
    if whole == 0:
        rows, result = a, sums
        if a.row > 1 or height - rest > a.column * panel.after:  # else rows beyond are what follows, and are not used
            rows = copied_rows(a, rest, panel.terms, workspace)
    rows_of_c, last = Operand(shift(c.at, whole * c.row), c.row, 1), Operand(result, columns, 1)
    if not panel.fresh:
        copy(rows_of_c, last, rest, columns)
    multiply_tiles(rows, b, Operand(sums, columns, 1), height, panel)
    copy(last, rows_of_c, rest, columns)


@inner
def copied_rows(a: Operand, rows: int, terms: int, workspace: Pointer) -> Operand:
    """A copy of rows of A that lies where a whole tile may be read."""
    if a.row == 1:
        copy_rows_of_a(a.at, a.column, workspace, rows, terms)
        return Operand(workspace, 1, VECTORS_OF_A * BYTES_PER_VECTOR // array(a.at, 1).itemsize)
    copied = Operand(workspace, terms, 1)
    copy(a, copied, rows, terms)
    return copied


@inner
def copy(source: Operand, target: Operand, rows: int, columns: int) -> None:
    """Copy a matrix."""
    stay_apart()
    for i in range(rows):
        row = array(shift(source.at, i * source.row), columns)
        copied = array(shift(target.at, i * target.row), columns)
        for j in range(columns):
            copied[j] = row[j]


@inner
def multiply_tiles(a: Operand, b: Operand, c: Operand, m: int, panel: Panel) -> None:
    """Compute as many tiles as m rows fill, one below the other."""
    stay_apart()
    columns, terms, fresh, ahead, vectors, _ = panel
    for i in range(0, m, HEIGHTS[vectors]):
        x, z = shift(a.at, i * a.row), shift(c.at, i * c.row)
        multiply_tile(x, a.row, a.column, b.at, b.row, z, c.row, columns, terms, fresh, ahead, vectors)


def multiply_few(a: Matrix, b: Matrix, c: Matrix, flags: int, scratch: Vector, gemm_at: Address) -> None:
    """A B for so few rows that no copy of B pays: each row passes over B as it lies. There must be no flags but FAR."""
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


def multiply_by_blas(a: Matrix, b: Matrix, c: Matrix, flags: int, scratch: Vector, gemm_at: Address) -> None:
    """op(A) op(B) by BLAS."""
    one = c.dtype.type(1)
    beta = one if flags & ACCUMULATE else c.dtype.type(0)
    (m, n), k = c.shape, b.shape[1] if flags & TRANSPOSE_B else len(b)
    plain, transposed = ord("N"), ord("T")
    from_a, to_c = pointer_to(a), pointer_to(c)
    op_a, op_b = transposed if flags & TRANSPOSE_A else plain, transposed if flags & TRANSPOSE_B else plain
    step = rows_at_once(m, n, k)
    for i in range(0, m, step):
        part = address(shift(from_a, i if flags & TRANSPOSE_A else i * a.shape[1]))
        out, rows = address(shift(to_c, i * n)), smaller(step, m - i)
        gemm(gemm_at, op_a, op_b, rows, n, k, one, part, a.shape[1], b.ctypes.data, b.shape[1], beta, out, n)


@inner
def rows_at_once(m: int, n: int, k: int) -> int:
    """Into how many rows to cut a product (m, k) (k, n), so that a thin one stays small."""
    if m * n * k <= SMALL or smaller(n, k) > THIN:
        return larger(m, 1)
    return larger(16, SMALL // (n * k) // 16 * 16)


PRODUCTS = {"multiply": multiply, "multiply_few": multiply_few, "multiply_by_blas": multiply_by_blas}
