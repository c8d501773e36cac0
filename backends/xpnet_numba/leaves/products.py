"""The matrix product of the step: by tiles where the processor has wide vectors (``tiles.WIDE``), else by SciPy's BLAS.

By tiles, C is computed panel by panel, a panel being up to four vectors of columns, and each panel by tiles. So many terms are
taken at a time that the panel's part of B, copied to where it lies without gaps, stays in the first-level cache while
all rows of A pass by.

OpenBLAS copies A as well and has no tiles for widths such as 100: on AMD's fifth Zen whole steps take 0.5 to 0.8 of the
time that it takes for their products alone (``xpnet bench --suite training``, the column of floors).
"""

from typing import Any

from llvmlite import binding
from numba import carray, njit

from xpnet_numba.leaves.registry import COUNT, MATRIX, leaf
from xpnet_numba.llvm import INNER, address, gemm, pointer, shift, stack, stay_apart
from xpnet_numba.llvm.tiles import BYTES_PER_VECTOR, HEIGHTS, copy_panel, multiply_tile, turn_tile
from xpnet_numba.scalars import FAST

TERMS = 400 if binding.get_host_cpu_name() == "znver4" else 128
"""The most terms of a panel, 256 bytes of B each, so that it stays in the first-level cache. AMD's fourth Zen takes two
cycles for a vector, in which its second-level cache delivers the next: there what counts is how seldom C is read and
written again.
"""

PANEL_BYTES = 4 * BYTES_PER_VECTOR

ROOM = TERMS * PANEL_BYTES // 4
ROOM_OF_A = TERMS * 2 * BYTES_PER_VECTOR // 4
ROOM_OF_C = PANEL_BYTES // 4 * max(HEIGHTS)
"""Numbers of a panel, of the smaller kind, and of the rows of a tile."""

WORTH_A_COPY = 8
"""With fewer rows a panel that lies without masks is read where it is."""

SMALL = 1_000_000
"""Products of up to m n k = 1e6 take OpenBLAS's path that copies no operand, up to 3.5 times as fast where thin."""

THIN = 48
"""Below this width a product is worth cutting into pieces that are small for OpenBLAS."""


@leaf(MATRIX, COUNT, COUNT, MATRIX, COUNT, MATRIX, COUNT, COUNT)
def multiply(a: Any, a_transposed: Any, first: Any, b: Any, b_transposed: Any, c: Any, far: Any, gemm_at: Any) -> None:
    """C = op(A) op(B).

    a : (m, at least k); transposed, (k, at least first + m), of whose columns those from ``first`` on count
    b : (k, n); transposed, (n, k); c : (m, n)
    far : whether rows of A are to be asked for a tile ahead: where they come from main memory that saves a quarter of
        the time, where they are near it costs 3 %
    gemm_at : where BLAS is, for which there is no need here
    """
    (m, n), k = c.shape, b.shape[1] if b_transposed else b.shape[0]
    a_row, a_term = (1, a.shape[1]) if a_transposed else (a.shape[1], 1)
    from_a, to_c = pointer(a.ctypes.data, a.dtype), pointer(c.ctypes.data, c.dtype)
    from_b = pointer(b.ctypes.data, b.dtype)
    room = stack(from_b, ROOM)
    lanes = BYTES_PER_VECTOR // c.itemsize
    step = -(-k // -(-k // TERMS))
    for start in range(0, k, step):
        terms = min(step, k - start)
        part_of_a = shift(from_a, first * a_row + start * a_term)
        for j in range(0, n, 4 * lanes):
            columns = min(4 * lanes, n - j)
            vectors = -(-columns // lanes)
            panel, b_term = room, vectors * lanes
            if b_transposed:
                turn_panel(shift(from_b, j * k + start), k, room, b_term, lanes, columns, terms)
            elif columns == vectors * lanes and (n == columns or m < WORTH_A_COPY):
                panel, b_term = shift(from_b, start * n + j), n
            else:
                pack(shift(from_b, start * n + j), n, room, columns, terms, vectors)
            sweep(
                part_of_a,
                a_row,
                a_term,
                panel,
                b_term,
                shift(to_c, j),
                n,
                m,
                columns,
                terms,
                start == 0,
                terms if far and j == 0 else 0,
                vectors,
            )


@njit(**INNER, **FAST)
def pack(b: Any, b_term: Any, panel: Any, columns: Any, terms: Any, vectors: Any) -> None:
    """Copy a panel of B."""
    if vectors == 4:
        copy_panel(b, b_term, panel, columns, terms, 4)
    elif vectors == 3:
        copy_panel(b, b_term, panel, columns, terms, 3)
    elif vectors == 2:
        copy_panel(b, b_term, panel, columns, terms, 2)
    else:
        copy_panel(b, b_term, panel, columns, terms, 1)


@njit(**INNER, **FAST)
def turn_panel(b: Any, b_row: Any, panel: Any, width: Any, lanes: Any, columns: Any, terms: Any) -> None:
    """Copy a panel of B^T, by tiles that are turned in registers; b : pointer to (columns, at least terms)."""
    for j in range(0, columns, lanes):
        for i in range(0, terms, lanes):
            turn_tile(shift(b, j * b_row + i), b_row, shift(panel, i * width + j), width, columns - j, terms - i)


@njit(**INNER, **FAST)
def sweep(
    a: Any,
    a_row: Any,
    a_term: Any,
    b: Any,
    b_term: Any,
    c: Any,
    c_row: Any,
    m: Any,
    columns: Any,
    terms: Any,
    fresh: Any,
    ahead: Any,
    vectors: Any,
) -> None:
    """All rows of C in a panel; the arguments are those of ``multiply_tile``.

    Tiles are whole. Where rows at the end fill none, a tile begins among the rows before them, or has copies of the rows
    if there are too few; of what it gives those at the end are used.
    """
    height = HEIGHTS[vectors]
    whole = m // height * height
    multiply_tiles(a, a_row, a_term, b, b_term, c, c_row, whole, columns, terms, fresh, ahead, vectors)
    rest = m - whole
    if rest == 0:
        return
    rows, sums = shift(a, (m - height) * a_row), stack(a, ROOM_OF_C)
    result = shift(sums, (height - rest) * columns)
    if whole == 0:
        rows, result = stack(a, ROOM_OF_A), sums
        if a_row == 1:
            copy_panel(a, a_term, rows, rest, terms, 2)
            a_term = 2 * BYTES_PER_VECTOR // carray(a, 1).itemsize
        else:
            copy(a, a_row, rows, terms, rest, terms)
            a_row = terms
    rows_of_c = shift(c, whole * c_row)
    if not fresh:
        copy(rows_of_c, c_row, result, columns, rest, columns)
    multiply_tiles(rows, a_row, a_term, b, b_term, sums, columns, height, columns, terms, fresh, ahead, vectors)
    copy(result, columns, rows_of_c, c_row, rest, columns)


@njit(**INNER, **FAST)
def copy(source: Any, source_row: Any, target: Any, target_row: Any, rows: Any, columns: Any) -> None:
    """Copy a matrix between pointers, with so many items from one row to the next."""
    for i in range(rows):
        row, copied = carray(shift(source, i * source_row), columns), carray(shift(target, i * target_row), columns)
        for j in range(columns):
            copied[j] = row[j]


@njit(**INNER, **FAST)
def multiply_tiles(
    a: Any,
    a_row: Any,
    a_term: Any,
    b: Any,
    b_term: Any,
    c: Any,
    c_row: Any,
    m: Any,
    columns: Any,
    terms: Any,
    fresh: Any,
    ahead: Any,
    vectors: Any,
) -> None:
    """As many tiles as m rows fill, one below the other."""
    stay_apart()
    for i in range(0, m, HEIGHTS[vectors]):
        part_of_a, part_of_c = shift(a, i * a_row), shift(c, i * c_row)
        if vectors == 4:
            multiply_tile(part_of_a, a_row, a_term, b, b_term, part_of_c, c_row, columns, terms, fresh, ahead, 4)
        elif vectors == 3:
            multiply_tile(part_of_a, a_row, a_term, b, b_term, part_of_c, c_row, columns, terms, fresh, ahead, 3)
        elif vectors == 2:
            multiply_tile(part_of_a, a_row, a_term, b, b_term, part_of_c, c_row, columns, terms, fresh, ahead, 2)
        else:
            multiply_tile(part_of_a, a_row, a_term, b, b_term, part_of_c, c_row, columns, terms, fresh, ahead, 1)


@leaf(MATRIX, COUNT, COUNT, MATRIX, COUNT, MATRIX, COUNT, COUNT)
def multiply_few(
    a: Any, a_transposed: Any, first: Any, b: Any, b_transposed: Any, c: Any, far: Any, gemm_at: Any
) -> None:
    """C = A B for so few rows that no copy of B pays: each row passes over B as it lies. Neither A nor B is transposed."""
    whole = b.shape[0] // 4 * 4
    for i in range(c.shape[0]):
        x, z = a[i], c[i]
        z[:] = 0
        for t in range(0, whole, 4):
            x0, x1, x2, x3 = x[t], x[t + 1], x[t + 2], x[t + 3]
            b0, b1, b2, b3 = b[t], b[t + 1], b[t + 2], b[t + 3]
            for j in range(z.size):
                z[j] += (x0 * b0[j] + x1 * b1[j]) + (x2 * b2[j] + x3 * b3[j])
        for t in range(whole, b.shape[0]):
            for j in range(z.size):
                z[j] += x[t] * b[t, j]


@leaf(MATRIX, COUNT, COUNT, MATRIX, COUNT, MATRIX, COUNT, COUNT)
def multiply_by_blas(
    a: Any, a_transposed: Any, first: Any, b: Any, b_transposed: Any, c: Any, far: Any, gemm_at: Any
) -> None:
    """The same by BLAS, which starts at the address ``gemm_at``."""
    one, zero = c.dtype.type(1), c.dtype.type(0)
    (m, n), k = c.shape, b.shape[1] if b_transposed else b.shape[0]
    plain, transposed = ord("N"), ord("T")
    from_a, to_c = pointer(a.ctypes.data, a.dtype), pointer(c.ctypes.data, c.dtype)
    op_a, op_b = transposed if a_transposed else plain, transposed if b_transposed else plain
    step = rows_at_once(m, n, k)
    for i in range(0, m, step):
        part = address(shift(from_a, first + i if a_transposed else i * a.shape[1]))
        out = address(shift(to_c, i * n))
        rows = min(step, m - i)
        gemm(gemm_at, op_a, op_b, rows, n, k, one, part, a.shape[1], b.ctypes.data, b.shape[1], zero, out, n)


@njit(**INNER, **FAST)
def rows_at_once(m: Any, n: Any, k: Any) -> Any:
    """Into how many rows to cut a product (m, k) (k, n), so that a thin one stays small."""
    if m * n * k <= SMALL or min(n, k) > THIN:
        return max(m, 1)
    return max(16, SMALL // (n * k) // 16 * 16)
