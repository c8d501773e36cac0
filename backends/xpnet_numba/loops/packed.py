"""The matrix product of large matrices: tiles of both factors, which are packed without gaps.

Factors that exceed the second-level cache of a core are multiplied in parts. A *block* of rows of A
stays in that cache, packed strip by strip: a *strip* is as many rows as a tile has, term by term.
Some panels of B are packed together, from adjacent numbers of each row, since each row may lie in
another page of memory. All terms of a block are added up before the next block is packed, so that
its part of C is in the cache, too.

Each number of C is the sum of its terms in their order, as in ``products.multiply``, and has the
same bits. The arguments are those of ``products``.
"""

from typing import NamedTuple

from xpnet_numba.kinds import Address, Matrix, Pointer, Vector
from xpnet_numba.llvm.arithmetic import choice, smaller
from xpnet_numba.llvm.emit import stay_apart
from xpnet_numba.llvm.memory import pointer_to, shift
from xpnet_numba.llvm.tiles import (
    AVX512,
    BYTES_PER_VECTOR,
    STRIP,
    STRIP_VECTORS,
    TILES,
    copy_panel,
    copy_strip,
    multiply_strip,
    transpose_strip,
)
from xpnet_numba.loops import inner, products
from xpnet_numba.loops.products import (
    ACCUMULATE,
    TRANSPOSE_A,
    TRANSPOSE_B,
    Operand,
    Panel,
    operand,
    part_of,
    transpose_panel,
    transposed,
)

TERMS = 200 if TILES is AVX512 else 392
"""Maximum number of terms of a panel, which then has 25 to 38 KB: about a first-level cache."""

PANELS = 8
"""Number of panels that are packed together, from up to 1.5 KB of each row of B."""

ROWS_AT_ONCE = 16
"""Rows of B from which panels are packed at a time: few enough for the cache of page addresses."""

MAX_DEPTH = 1024
"""Maximum number of terms of a block of A."""

MAX_BLOCK = 3 << 16
"""Maximum number of items of a block of A: 768 KB of float32, since second-level caches have 1 to
2 MB.
"""

MIN_BYTES, MIN_ROWS, MIN_COLUMNS = 1 << 20, 128, 256
"""Minimum size of A, and minimum numbers of rows and columns of C, for which factors are packed."""

LARGE_RESULT = 3 << 20
"""Minimum size of C in bytes for which factors are packed, whatever the lengths of rows: the
second-level cache would not hold a smaller part of it between two passes.
"""

ROUND = 1024
"""A factor A whose rows in memory have a multiple of this many bytes is packed: the rows of a tile
would compete for few places of a first-level cache.
"""

SIZE_OF_PANELS = PANELS * TERMS * STRIP_VECTORS * BYTES_PER_VECTOR // 4
SCRATCH = products.SCRATCH + SIZE_OF_PANELS + MAX_BLOCK + BYTES_PER_VECTOR
"""Number of items of a thread's memory. The last of them are written and not read."""


class PackedBlock(NamedTuple):
    """A block of A.

    rows, terms : its numbers of rows and terms
    fresh : whether its terms are the first, so that C is not read
    lanes : numbers in a vector
    """

    rows: int
    terms: int
    fresh: bool
    lanes: int


by_tiles = inner(products.multiply)


def multiply(
    a: Matrix, b: Matrix, c: Matrix, flags: int, scratch: Vector, gemm_at: Address
) -> None:
    """op(A) op(B) of packed factors, or by tiles where they are small."""
    (m, n), k = c.shape, choice(flags & TRANSPOSE_B, b.shape[1], len(b))
    if not gains(a, c, flags, k):
        by_tiles(a, b, c, flags, scratch, gemm_at)
        return
    left, right = operand(a, flags & TRANSPOSE_A), operand(b, flags & TRANSPOSE_B)
    panels_at, to_c = pointer_to(scratch), Operand(pointer_to(c), n, 1)
    block_at, depth = shift(panels_at, SIZE_OF_PANELS), even_part(k, MAX_DEPTH)
    rows = even_part(m, MAX_BLOCK // depth // STRIP * STRIP)
    rows = -(-rows // STRIP) * STRIP
    for first in range(0, k, depth):
        terms, fresh = smaller(depth, k - first), (first | flags & ACCUMULATE) == 0
        for i in range(0, m, rows):
            block = PackedBlock(smaller(rows, m - i), terms, fresh, BYTES_PER_VECTOR // c.itemsize)
            pack_rows(part_of(left, i, first), block, block_at)
            b_part, c_part = part_of(right, first, 0), part_of(to_c, i, 0)
            multiply_block(block_at, block, b_part, c_part, panels_at)


@inner
def gains(a: Matrix, c: Matrix, flags: int, terms: int) -> bool:
    """Return whether packed factors take less time than those that are read where they are."""
    (m, n), item = c.shape, c.itemsize
    if (m * terms * item < MIN_BYTES) | (m < MIN_ROWS) | (n < MIN_COLUMNS):
        return False
    round_rows = (a.shape[1] * item % ROUND == 0) & (flags & TRANSPOSE_A == 0)
    return (m * n * item >= LARGE_RESULT) | round_rows


@inner
def even_part(size: int, largest: int) -> int:
    """Return the size of parts, at most ``largest``, that are about equal."""
    return -(-size // -(-size // largest))


@inner
def pack_rows(a: Operand, block: PackedBlock, block_at: Pointer) -> None:
    """Pack a block of A strip by strip."""
    stay_apart()
    for i in range(0, block.rows, STRIP):
        strip, rows = part_of(a, i, 0), smaller(STRIP, block.rows - i)
        to = shift(block_at, i * block.terms)
        if a.row == 1:
            copy_strip(strip, to, rows, block.terms)
            continue
        for t in range(0, block.terms, block.lanes):
            transpose_strip(part_of(strip, 0, t), shift(to, t * STRIP), rows, block.terms - t)


@inner
def multiply_block(
    block_at: Pointer, block: PackedBlock, b: Operand, c: Operand, panels_at: Pointer
) -> None:
    """Multiply a packed block by its terms of B; c : the rows of the block, of all columns."""
    width, step = STRIP_VECTORS * block.lanes, even_part(block.terms, TERMS)
    for j in range(0, c.row, PANELS * width):
        columns = smaller(PANELS * width, c.row - j)
        for start in range(0, block.terms, step):
            terms, fresh = smaller(step, block.terms - start), block.fresh & (start == 0)
            pack_panels(part_of(b, start, j), columns, terms, block.lanes, panels_at)
            for p in range(0, columns, width):
                some = smaller(width, columns - p)
                panel = Panel(some, terms, fresh, -(-some // block.lanes))
                from_b = Operand(shift(panels_at, p * terms), panel.vectors * block.lanes, 1)
                from_a = shift(block_at, start * STRIP)
                sweep(from_a, block, from_b, part_of(c, 0, j + p), panel)


@inner
def pack_panels(b: Operand, columns: int, terms: int, lanes: int, panels_at: Pointer) -> None:
    """Pack up to ``PANELS`` panels of B, one after the other."""
    stay_apart()
    width = STRIP_VECTORS * lanes
    rows = choice(b.column > 1, terms, ROWS_AT_ONCE)
    for t in range(0, terms, rows):
        for p in range(0, columns, width):
            some = smaller(width, columns - p)
            vectors = -(-some // lanes)
            part = part_of(b, t, p)
            to = shift(panels_at, p * terms + t * vectors * lanes)
            if b.column > 1:
                panel = Operand(to, vectors * lanes, 1)
                transpose_panel(transposed(part), panel, lanes, some, terms)
            else:
                copy_panel(part, to, some, smaller(rows, terms - t), vectors)


@inner
def sweep(block_at: Pointer, block: PackedBlock, b: Operand, c: Operand, panel: Panel) -> None:
    """Compute all rows of C in a panel."""
    stay_apart()
    for i in range(0, block.rows, STRIP):
        strip = shift(block_at, i * block.terms)
        multiply_strip(strip, b, part_of(c, i, 0), block.rows - i, panel)
