"""Products of factors rounded to bfloat16, by the instruction vdpbf16ps: rounding and packing in
pairs, and tiles of sums of float32.

Two successive terms of a factor are a *pair*: two bfloat16 in the place of one float32. A vector of
pairs of one row of B times one pair of A in all lanes adds two terms to the sums. So a tile is that
of ``tiles``, with half as many terms.
"""

from collections.abc import Callable

from llvmlite import ir
from numba import types

from xpnet_numba.internals import BFLOAT16, unpack_tuple
from xpnet_numba.llvm.emit import (
    INT32,
    INT64,
    Signature,
    Target,
    declared,
    instructions,
)
from xpnet_numba.llvm.tiles import Vectors, emit_tile

LANES = 16
"""Pairs in a vector of 64 bytes, the only one that these products use."""

FLOATS, PAIRS = ir.VectorType(ir.FloatType(), LANES), ir.VectorType(BFLOAT16, 2 * LANES)


class PairVectors(Vectors):
    """Emits operations on vectors of pairs, which have the type of vectors of float32."""

    def multiply_add(self, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
        """Add both terms of each pair: c + a b, each term rounded to float32."""
        name = "llvm.x86.avx512bf16.dpbf16ps.512"
        function = declared(self.builder, name, FLOATS, [FLOATS, PAIRS, PAIRS])
        factors = [self.builder.bitcast(factor, PAIRS) for factor in (a, b)]
        return self.builder.call(function, [c, *factors])

    def round_both(self, low: ir.Value, high: ir.Value) -> ir.Value:
        """Round two vectors of float32 to bfloat16, to nearest even; ``low`` comes first."""
        name = "llvm.x86.avx512bf16.cvtne2ps2bf16.512"
        function = declared(self.builder, name, PAIRS, [FLOATS, FLOATS])
        return self.builder.bitcast(self.builder.call(function, [high, low]), FLOATS)

    def interleave(self, vector: ir.Value) -> ir.Value:
        """Make pairs of the numbers of the lower half and those of the upper half."""
        halves = ir.VectorType(ir.IntType(16), 2 * LANES)
        numbers = self.builder.bitcast(vector, halves)
        order = [lane // 2 + LANES * (lane % 2) for lane in range(2 * LANES)]
        order = ir.Constant(ir.VectorType(INT32, 2 * LANES), order)
        return self.builder.bitcast(self.builder.shuffle_vector(numbers, numbers, order), FLOATS)


@instructions(lambda a, b, c, rows, panel: types.void(a, b, c, types.int64, panel), typed=True)
def multiply_pairs(
    target: Target, builder: ir.IRBuilder, signature: Signature, *values: ir.Value
) -> None:
    """``multiply_tile`` for a and b of pairs, whose terms are pairs as well."""
    emit_tile(PairVectors(target, builder, signature.args[0]), *values)


class _Source:
    """A part of a matrix of float32 that is packed.

    matrix : tuple of a pointer, and the items from one row to the next; columns are adjacent
    rows, columns : that the matrix has from its pointer on
    complete : whether it has all that are read; those that are missing are 0
    """

    def __init__(
        self,
        memory: PairVectors,
        matrix: ir.Value,
        sizes: tuple[ir.Value, ir.Value],
        *,
        complete: bool,
    ) -> None:
        self.memory, self.builder, self.complete = memory, memory.builder, complete
        self.first, self.row_step, _ = unpack_tuple(memory.builder, matrix)
        self.rows, self.columns = sizes

    def vector(self, row: int, place: int) -> ir.Value:
        """Return a vector of a row, whose place is counted in vectors."""
        at = self.builder.gep(self.first, [self.builder.mul(self.row_step, INT64(row))])
        if self.complete:
            return self.memory.load_whole(at, place)
        left = self.builder.sub(self.columns, INT64(place * LANES))
        exists = self.builder.icmp_signed("<", INT64(row), self.rows)
        columns = self.builder.select(exists, left, INT64(0))
        return self.memory.load(at, place, self.memory.lanes_before(columns, 1)[0])

    def pairs(self, number: int, *, down: bool) -> ir.Value:
        """Return a vector of pairs: of row ``number``, or of that pair of rows if ``down``."""
        if not down:
            return self.memory.round_both(self.vector(number, 0), self.vector(number, 1))
        upper, lower = self.vector(2 * number, 0), self.vector(2 * number + 1, 0)
        return self.memory.interleave(self.memory.round_both(upper, lower))


def packing(*, down: bool, turned: bool) -> Callable[..., object]:
    """Return an intrinsic that rounds a part of a matrix of float32 and packs it into 16 vectors of
    pairs.

    down : whether the terms of a pair are adjacent in a column, and not in a row
    turned : whether the square of pairs is transposed
    """
    height, width = (2 * LANES, LANES) if down else (LANES, 2 * LANES)

    @instructions(
        lambda source, goal, rows, columns: types.void(source, goal, types.int64, types.int64),
        typed=True,
    )
    def pack(
        target: Target, builder: ir.IRBuilder, signature: Signature, *values: ir.Value
    ) -> None:
        """Pack 32 rows of 16 columns if ``down``, or else 16 rows of 32 columns.

        source, goal : matrices with adjacent columns
        rows, columns : of the source from its pointer on, at least 1; those that are missing are 0
        """
        matrix, goal, rows, columns = values
        memory = PairVectors(target, builder, signature.args[0])
        to, goal_step, _ = unpack_tuple(builder, goal)

        def emit(*, complete: bool) -> None:
            """Emit the loads, the transposition and the stores of one square of pairs.

            complete : whether no row and no column is missing
            """
            source = _Source(memory, matrix, (rows, columns), complete=complete)
            vectors = [source.pairs(i, down=down) for i in range(LANES)]
            for i, vector in enumerate(memory.transpose(vectors) if turned else vectors):
                memory.store(vector, builder.gep(to, [builder.mul(goal_step, INT64(i))]), 0, None)

        is_complete = builder.and_(
            builder.icmp_signed(">=", rows, INT64(height)),
            builder.icmp_signed(">=", columns, INT64(width)),
        )
        with builder.if_else(is_complete) as (all_exist, some_do):
            with all_exist:
                emit(complete=True)
            with some_do:
                emit(complete=False)

    return pack
