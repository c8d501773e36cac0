"""Products of pairs of bfloat16 by AMX: tiles of 16 rows of 16 pairs or sums, in registers of their
own.

Intel, Intel 64 and IA-32 Architectures Software Developer's Manual, 2024, volume 1, chapter 18, and
``tdpbf16ps`` in volume 2. LLVM's intrinsics name the registers by constants.
"""

from typing import NamedTuple

from llvmlite import ir
from numba import types

from xpnet_numba.internals import alloca_once_value, for_range, unpack_tuple
from xpnet_numba.llvm.emit import (
    BYTES,
    INT64,
    Signature,
    Target,
    declared,
    instructions,
)

SIDE = 16
"""Rows of a tile, and pairs or sums of a row."""

SUMS, LEFT, RIGHT = (0, 1, 2, 3), (4, 5), (6, 7)
"""Numbers of the registers: of a square of two by two tiles of sums, and of the two tiles of A and
of B that are multiplied.
"""

INT8, ITEM_BYTES = ir.IntType(8), 4
PREFIX = "llvm.x86."
"""The start of the intrinsics' names."""

KINDS: dict[str, list[ir.Type]] = {
    "ldtilecfg": [BYTES],
    "tilerelease": [],
    "tilezero": [INT8],
    "tileloadd64": [INT8, BYTES, INT64],
    "tilestored64": [INT8, BYTES, INT64],
    "tdpbf16ps": [INT8, INT8, INT8],
}
"""The intrinsics, with the types of their arguments: registers, addresses and bytes from one row to
the next.
"""


def _emit(builder: ir.IRBuilder, name: str, *arguments: ir.Value | int) -> None:
    """Emit an instruction; a register is given by its number."""
    values = [INT8(value) if isinstance(value, int) else value for value in arguments]
    function = declared(builder, PREFIX + name, ir.VoidType(), KINDS[name])
    builder.call(function, values)


@instructions(lambda: types.void())
def configure_tiles(builder: ir.IRBuilder) -> None:
    """Let this thread use all eight registers, each for a whole tile."""
    row_bytes = [SIDE * ITEM_BYTES, 0] * 8  # uint16, the lower byte first
    table = [1, *[0] * 15, *row_bytes, *[0] * 16, *[SIDE] * 8, *[0] * 8]
    constant = ir.Constant(ir.ArrayType(INT8, len(table)), [INT8(byte) for byte in table])
    at = builder.bitcast(alloca_once_value(builder, constant), BYTES)
    _emit(builder, "ldtilecfg", at)


@instructions(lambda: types.void())
def release_tiles(builder: ir.IRBuilder) -> None:
    """Give the registers up, so that the system need not save them."""
    _emit(builder, "tilerelease")


@instructions(lambda a, b, c, size: types.void(a, b, c, size), typed=True)
def multiply_square(
    target: Target, builder: ir.IRBuilder, signature: Signature, *values: ir.Value
) -> None:
    """C = A B if ``fresh``, else C += A B, for one or two tiles of rows and of columns of C.

    a, b, c : matrices with adjacent columns: of pairs, of pairs, and of sums
    size : (tiles of rows, tiles of columns, number of terms in pairs, a multiple of ``SIDE``,
        fresh)
    """
    *matrices, size = values
    rows, columns, pairs, fresh = unpack_tuple(builder, size)
    for tall in (1, 2):
        for wide in (1, 2):
            is_size = builder.and_(
                builder.icmp_signed("==", rows, INT64(tall)),
                builder.icmp_signed("==", columns, INT64(wide)),
            )
            with builder.if_then(is_size):
                _multiply(
                    builder,
                    [SUMS[2 * i : 2 * i + wide] for i in range(tall)],
                    matrices,
                    pairs,
                    fresh,
                )


def _multiply(
    builder: ir.IRBuilder,
    sums: list[tuple[int, ...]],
    matrices: list[ir.Value],
    pairs: ir.Value,
    fresh: ir.Value,
) -> None:
    """Emit :func:`multiply_square` for the registers of its sums, row by row."""
    a, b, c = (_tiles(builder, matrix) for matrix in matrices)
    positions = [(i, j, register) for i, row in enumerate(sums) for j, register in enumerate(row)]
    with builder.if_else(fresh) as (is_first, is_later):
        with is_first:
            for _, _, register in positions:
                _emit(builder, "tilezero", register)
        with is_later:
            for i, j, register in positions:
                _emit(builder, "tileloadd64", register, *_tile(builder, c, i, j))
    with for_range(builder, builder.sdiv(pairs, INT64(SIDE))) as loop:
        left, right = _tile(builder, a, 0, loop.index), _tile(builder, b, loop.index, 0)
        for j, register in enumerate(RIGHT[: len(sums[0])]):
            _emit(builder, "tileloadd64", register, *_tile(builder, right, 0, j))
        for i, row in enumerate(sums):
            _emit(builder, "tileloadd64", LEFT[i], *_tile(builder, left, i, 0))
            for j, register in enumerate(row):
                _emit(builder, "tdpbf16ps", register, LEFT[i], RIGHT[j])
    for i, j, register in positions:
        _emit(builder, "tilestored64", register, *_tile(builder, c, i, j))


class Tiles(NamedTuple):
    """A matrix of tiles in memory: its address, and the bytes from one row to the next."""

    at: ir.Value
    row_bytes: ir.Value


def _tiles(builder: ir.IRBuilder, matrix: ir.Value) -> Tiles:
    """Return a matrix with adjacent columns as tiles."""
    first, row_items, _ = unpack_tuple(builder, matrix)
    return Tiles(builder.bitcast(first, BYTES), builder.mul(row_items, INT64(ITEM_BYTES)))


def _tile(
    builder: ir.IRBuilder, tiles: Tiles, row: ir.Value | int, column: ir.Value | int
) -> Tiles:
    """Return a matrix from a tile on, whose row and column are counted in tiles."""
    row, column = (INT64(n) if isinstance(n, int) else n for n in (row, column))
    down = builder.mul(tiles.row_bytes, builder.mul(row, INT64(SIDE)))
    right = builder.mul(column, INT64(SIDE * ITEM_BYTES))
    return Tiles(builder.gep(tiles.at, [builder.add(down, right)]), tiles.row_bytes)
