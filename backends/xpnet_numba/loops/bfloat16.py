"""The matrix product of factors that are rounded to bfloat16; sums are float32.

Both factors are rounded and packed in pairs of terms: a part of A as rows, and a panel of B as for
``products``. The arguments are those of ``products``, and ``gemm_at`` is the address of a
:class:`Packing`.
"""

import ctypes
from collections.abc import Callable
from typing import NamedTuple, TypedDict

import numpy
from numba import types

from xpnet_numba.internals import from_dtype
from xpnet_numba.kinds import Address, Compiled, Matrix, Pointer, Vector, placeholder
from xpnet_numba.llvm.amx import SIDE, configure_tiles, multiply_square, release_tiles
from xpnet_numba.llvm.arithmetic import choice, smaller
from xpnet_numba.llvm.bfloat16 import LANES, multiply_pairs, packing
from xpnet_numba.llvm.emit import stay_apart
from xpnet_numba.llvm.memory import address, array, load, pointer, pointer_to, shift
from xpnet_numba.llvm.tiles import FEW, HEIGHTS, PANEL
from xpnet_numba.loops import inner
from xpnet_numba.loops.products import (
    ACCUMULATE,
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

STAMPED = 16
"""Items of a cache line: each parameter begins at one."""

pack_rows = packing(down=False, turned=False)
pack_columns_as_rows = packing(down=True, turned=True)
pack_columns = packing(down=True, turned=False)
pack_rows_as_columns = packing(down=False, turned=True)


class Packing(ctypes.Structure):
    """The memory into which a job's products pack their factors.

    memory_at, thread_items : the memory of all threads, and the items of each
    scratch_at : the scratch of the first thread, from which a thread's number follows
    params_at, params : the parameters whose packed weights are kept until the next update, and
        their number, or 0 if none are kept
    stamps_at : (threads, 2, params // ``STAMPED``), for each weight and its transpose the update
        for which it was packed
    call : number of the call of compiled code, which no other call has
    updates_at, done_at, pieces : where the job's ``updates_made`` and ``done_at`` are, and the
        pieces of an update
    """

    _fields_ = [
        (name, ctypes.c_int64)
        for name in (
            "memory_at thread_items scratch_at params_at params stamps_at call updates_at done_at "
            "pieces"
        ).split()
    ]


PACKING = from_dtype(numpy.dtype(Packing))


class Kept(NamedTuple):
    """The memory for a packed factor.

    at : where it begins
    holds_factor : whether it has room for the factor, and not for a panel only
    valid : whether the factor is there already
    """

    at: Pointer
    holds_factor: bool
    valid: bool


def multiply(
    a: Matrix, b: Matrix, c: Matrix, flags: int, scratch: Vector, gemm_at: Address
) -> None:
    """op(A) op(B) of rounded factors: a template."""
    (m, n), k = c.shape, choice(flags & TRANSPOSE_B, b.shape[1], len(b))
    packing = array(pointer(gemm_at, PACKING), 1)[0]
    me = (address(pointer_to(scratch)) - packing.scratch_at) // (scratch.size * scratch.itemsize)
    rows_at = pointer(packing.memory_at + me * packing.thread_items * 4, pointer_to(scratch))
    spare = Operand(shift(rows_at, ROWS * TERMS // 2), COLUMNS, 1)
    kept = memory_for(packing, b, flags & TRANSPOSE_B, me, shift(rows_at, OWN_PART))
    left, right, to_c = operand(a, 0), operand(b, 0), pointer_to(c)
    begin()
    for start in range(0, k, TERMS):
        terms = smaller(TERMS, k - start)
        pairs = -(-terms // (2 * LANES)) * LANES
        for i in range(0, m, ROWS):
            rows = smaller(ROWS, m - i)
            packed_rows = Operand(rows_at, TERMS // 2, 1)
            pack_left(left, flags & TRANSPOSE_A, (i, start), (rows, terms), packed_rows)
            for j in range(0, n, COLUMNS):
                columns = smaller(COLUMNS, n - j)
                vectors = -(-columns // LANES)
                before = start // 2 * (-(-n // LANES) * LANES) + j * pairs
                packed = Operand(
                    shift(kept.at, choice(kept.holds_factor, before, 0)), vectors * LANES, 1
                )
                if not (kept.valid or (kept.holds_factor and i > 0)):
                    pack_right(right, flags & TRANSPOSE_B, (start, j), (terms, columns), packed)
                fresh = (start | flags & ACCUMULATE) == 0
                panel = Panel(columns, (terms + 1) // 2, fresh, vectors)
                to = Operand(shift(to_c, i * n + j), n, 1)
                sweep(packed_rows, packed, to, rows, panel, spare)
    end()


# They are filled in.
TERMS = 0
COLUMNS = 0
begin: Compiled = placeholder
end: Compiled = placeholder
sweep: Compiled = placeholder


@inner
def memory_for(packing: Packing, b: Matrix, is_transposed: int, me: int, panel_at: Pointer) -> Kept:
    """Return the memory for B: that which is kept for a weight, or that of a panel.

    A weight of at least ``2 * LANES`` rows and columns takes less than twice its items when it is
    packed. So its place among the parameters determines its place among those that are packed.
    """
    place = (address(pointer_to(b)) - packing.params_at) // b.itemsize
    if not (0 <= place < packing.params) or smaller(len(b), b.shape[1]) < 2 * LANES:
        return Kept(panel_at, False, False)
    stamps = packing.params // STAMPED
    number = (2 * me + choice(is_transposed, 1, 0)) * stamps + place // STAMPED
    stamp = array(pointer(packing.stamps_at, types.int64), number + 1)
    updates = load(packing.updates_at) + load(packing.done_at) // packing.pieces
    now = (packing.call << 32) + updates
    valid = stamp[number] == now
    stamp[number] = now
    first = PANEL_PART + 2 * place + choice(is_transposed, 2 * packing.params, 0)
    return Kept(shift(panel_at, first), True, valid)


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


class PackedProduct(TypedDict):
    """The values that are filled in for a product.

    TERMS, COLUMNS : maximum number of terms of a panel, which takes 32 KB, and of its columns
    begin, end : functions that run before and after
    sweep : computes all rows of C in a panel
    """

    TERMS: int
    COLUMNS: int
    begin: Compiled
    end: Compiled
    sweep: Compiled


PRODUCTS: dict[str, tuple[Callable[..., None], PackedProduct]] = {
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
values that are filled in.
"""

OWN_PART = max(ROWS * values["TERMS"] // 2 + (2 * SIDE) ** 2 for _, values in PRODUCTS.values())
"""Items of each thread's memory for rows of A in pairs, and for a square of C."""

PANEL_PART = max(values["COLUMNS"] * values["TERMS"] // 2 for _, values in PRODUCTS.values())
"""Items after it for a panel of B in pairs. Weights that are kept follow."""


def thread_items(params: int) -> int:
    """Return the items of each thread's memory if packed weights of ``params`` parameters are
    kept.
    """
    return OWN_PART + PANEL_PART + 4 * params
