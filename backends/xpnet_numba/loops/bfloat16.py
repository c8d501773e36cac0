"""The matrix product of factors that are rounded to bfloat16; sums are float32.

Both factors are rounded and packed in pairs of terms: a part of A as rows, and a panel of B as for
``products``. The arguments are those of ``products``, and ``gemm_at`` is the address of the memory
for packed factors: see :func:`own_memory`.
"""

from collections.abc import Callable
from typing import Any

from numba import types

from xpnet_numba.kinds import Address, Matrix, Pointer, Vector
from xpnet_numba.llvm.amx import SIDE, configure_tiles, multiply_square, release_tiles
from xpnet_numba.llvm.arithmetic import choice, smaller
from xpnet_numba.llvm.bfloat16 import LANES, multiply_pairs, packing
from xpnet_numba.llvm.emit import stay_apart
from xpnet_numba.llvm.memory import address, array, pointer, pointer_to, shift
from xpnet_numba.llvm.tiles import FEW, HEIGHTS, PANEL
from xpnet_numba.loops import inner
from xpnet_numba.loops.products import (
    ACCUMULATE,
    SCRATCH,
    TRANSPOSE_A,
    TRANSPOSE_B,
    Operand,
    Panel,
    copy,
    operand,
    part_of,
)

ROWS = 512
"""Maximum number of rows of A that are packed at a time: with the terms of a panel they take a
quarter of a second-level cache.
"""

HEADER = 16
"""Items before the threads' parts of the memory: a cache line."""

pack_rows = packing(down=False, turned=False)
pack_columns_as_rows = packing(down=True, turned=True)
pack_columns = packing(down=True, turned=False)
pack_rows_as_columns = packing(down=False, turned=True)


def multiply(
    a: Matrix, b: Matrix, c: Matrix, flags: int, scratch: Vector, gemm_at: Address
) -> None:
    """op(A) op(B) of rounded factors: a template."""
    (m, n), k = c.shape, choice(flags & TRANSPOSE_B, b.shape[1], len(b))
    rows_at = own_memory(scratch, gemm_at)
    panel_at = shift(rows_at, ROWS * TERMS // 2)
    spare = Operand(shift(panel_at, COLUMNS * TERMS // 2), COLUMNS, 1)
    left, right, to_c = operand(a, 0), operand(b, 0), pointer_to(c)
    begin()
    for start in range(0, k, TERMS):
        terms = smaller(TERMS, k - start)
        for i in range(0, m, ROWS):
            rows = smaller(ROWS, m - i)
            packed_rows = Operand(rows_at, TERMS // 2, 1)
            pack_left(left, flags & TRANSPOSE_A, (i, start), (rows, terms), packed_rows)
            for j in range(0, n, COLUMNS):
                columns = smaller(COLUMNS, n - j)
                vectors = -(-columns // LANES)
                packed = Operand(panel_at, vectors * LANES, 1)
                pack_right(right, flags & TRANSPOSE_B, (start, j), (terms, columns), packed)
                fresh = (start | flags & ACCUMULATE) == 0
                panel = Panel(columns, (terms + 1) // 2, fresh, vectors)
                to = Operand(shift(to_c, i * n + j), n, 1)
                sweep(packed_rows, packed, to, rows, panel, spare)
    end()


TERMS: Any = None
COLUMNS: Any = None
begin: Any = None
end: Any = None
sweep: Any = None


@inner
def own_memory(scratch: Vector, memory_at: Address) -> Pointer:
    """Return the calling thread's part of the memory. The memory begins with its distance from the
    first thread's scratch in bytes, which tells the threads apart.
    """
    header = array(pointer(memory_at, types.int64), 1)
    scratch_at = pointer_to(scratch)
    me = (address(scratch_at) - memory_at - header[0]) // (SCRATCH * scratch.itemsize)
    return shift(pointer(memory_at, scratch_at), HEADER + me * OWN_MEMORY)


@inner
def pack_left(
    a: Operand, is_transposed: int, first: tuple[int, int], sizes: tuple[int, int], packed: Operand
) -> None:
    """Pack a part of op(A) by rows.

    first, sizes : first row and term of the part, and their numbers
    """
    stay_apart()
    (row, term), (rows, terms) = first, sizes
    for i in range(0, rows, LANES):
        for t in range(0, terms, 2 * LANES):
            to = part_of(packed, i, t // 2)
            if is_transposed:
                pack_columns_as_rows(part_of(a, term + t, row + i), to, terms - t, rows - i)
            else:
                pack_rows(part_of(a, row + i, term + t), to, rows - i, terms - t)


@inner
def pack_right(
    b: Operand, is_transposed: int, first: tuple[int, int], sizes: tuple[int, int], packed: Operand
) -> None:
    """Pack a part of op(B) as a panel.

    first, sizes : first term and column of the part, and their numbers
    """
    stay_apart()
    (term, column), (terms, columns) = first, sizes
    for t in range(0, terms, 2 * LANES):
        for j in range(0, columns, LANES):
            to = part_of(packed, t // 2, j)
            if is_transposed:
                pack_rows_as_columns(part_of(b, column + j, term + t), to, columns - j, terms - t)
            else:
                pack_columns(part_of(b, term + t, column + j), to, terms - t, columns - j)


@inner
def nothing() -> None:
    """Do nothing before or after a product."""


@inner
def sweep_by_vectors(
    a: Operand, b: Operand, c: Operand, m: int, panel: Panel, spare: Operand
) -> None:
    """Compute all m rows of C in a panel: as many full tiles as fit, then tiles of few rows."""
    stay_apart()
    height, i = HEIGHTS[panel.vectors], 0
    while i < m:
        multiply_pairs(part_of(a, i, 0), b, part_of(c, i, 0), m - i, panel)
        i += choice(m - i >= height, height, FEW)


@inner
def sweep_by_amx(a: Operand, b: Operand, c: Operand, m: int, panel: Panel, spare: Operand) -> None:
    """Compute all m rows of C in a panel, by squares of up to two by two tiles of AMX. A square
    that C does not fill is computed in ``spare``.
    """
    stay_apart()
    pairs = -(-panel.terms // SIDE) * SIDE
    for i in range(0, m, 2 * SIDE):
        rows, left, to = smaller(2 * SIDE, m - i), part_of(a, i, 0), part_of(c, i, 0)
        if rows == 2 * SIDE and panel.columns == 2 * SIDE:
            multiply_square(left, b, to, (2, 2, pairs, panel.fresh))
            continue
        if not panel.fresh:
            copy(to, spare, rows, panel.columns)
        multiply_square(left, b, spare, (-(-rows // SIDE), panel.vectors, pairs, panel.fresh))
        copy(spare, to, rows, panel.columns)


PRODUCTS: dict[str, tuple[Callable[..., None], dict[str, Any]]] = {
    "multiply_by_vdpbf16ps": (
        multiply,
        {
            "TERMS": 256,
            "COLUMNS": PANEL * LANES,
            "begin": nothing,
            "end": nothing,
            "sweep": sweep_by_vectors,
        },
    ),
    "multiply_by_amx": (
        multiply,
        {
            "TERMS": 512,
            "COLUMNS": 2 * SIDE,
            "begin": configure_tiles,
            "end": release_tiles,
            "sweep": sweep_by_amx,
        },
    ),
}
"""Products for float32 only, each for processors that have its instructions: the template and the
values that are filled in. ``TERMS`` is the maximum number of terms of a panel, which takes 32 KB,
and ``COLUMNS`` its maximum number of columns.
"""

OWN_MEMORY = max(
    (ROWS + values["COLUMNS"]) * values["TERMS"] // 2 + (2 * SIDE) ** 2
    for _, values in PRODUCTS.values()
)
"""Items of each thread's part of the memory: rows of A and a panel of B, in pairs, and a square of
C.
"""
