"""The innermost loop of a matrix product, in LLVM's vectors: a tile of C stays in registers for all
its terms.

A tile is some rows of C by some vectors of columns. It has enough sums that a multiplication is
always ready, and few enough that the registers hold them together with the operands of a term: the
vectors of one row of B, and a number of each row of A. So each kind of processor has its own family
of tiles.
"""

from collections.abc import Iterator
from typing import NamedTuple

from llvmlite import binding, ir
from numba import types

from xpnet_numba.internals import alloca_once_value, for_range, unpack_tuple
from xpnet_numba.llvm.emit import (
    ARM,
    BYTES,
    INT32,
    INT64,
    X86,
    Signature,
    Target,
    Type,
    declared,
    in_all_lanes,
    instructions,
    vector_bytes,
)


class Family(NamedTuple):
    """The tiles of a kind of processor.

    name : of its widest vectors
    bytes_per_vector : of these
    heights : rows of a tile that is 0, 1, 2 and so on vectors wide
    terms : maximum number of terms of a panel that stays in the first-level cache
    masked : whether reading and writing a part of a vector costs no more than all of it
    """

    name: str
    bytes_per_vector: int
    heights: tuple[int, ...]
    terms: int
    masked: bool = False


AVX512 = Family("AVX-512", 64, (0, 14, 12, 8, 6), 128, masked=True)  # 32 registers
AVX2 = Family("AVX2", 32, (0, 8, 6), 256)  # 16 registers
NEON = Family("NEON", 16, (0, 12, 12, 8, 6), 256)  # 32 registers
SSE = Family("SSE", 16, (0, 8, 6), 512)  # 16 registers


TILES = {64: AVX512, 32: AVX2}.get(vector_bytes(), NEON if ARM else SSE)
"""The tiles of the processor that Numba compiles for."""

ZEN4 = binding.get_host_cpu_name() == "znver4"
"""True on AMD's Zen 4, which takes two cycles for a vector of 64 bytes: the second-level cache
delivers the next vector meanwhile.
"""

WIDE = X86 or ARM
"""True where there are tiles for this processor."""

FEW = 3
"""Number of rows of a tile at the end of C, where fewer rows are left than a full tile has."""

BYTES_PER_VECTOR, HEIGHTS, MASKED = TILES.bytes_per_vector, TILES.heights, TILES.masked
PANEL = len(HEIGHTS) - 1
"""Maximum width of a tile in vectors."""

STRIP_VECTORS = min(3, PANEL)
"""Width in vectors of the tiles of packed factors: narrow ones read fewer bytes of B for each
product.
"""

STRIP = HEIGHTS[STRIP_VECTORS]
"""Height of the tiles of packed factors: the number of rows in a strip of A."""


# A matrix is here a tuple of a pointer and the number of items from one row, and from one column,
# to the next.


@instructions(lambda a, b, c, rows, panel: types.void(a, b, c, types.int64, panel), typed=True)
def multiply_tile(
    target: Target, builder: ir.IRBuilder, signature: Signature, *values: ir.Value
) -> None:
    """C = A B if ``fresh``, else C += A B, for one full tile, or for a tile of ``FEW`` rows if
    fewer rows are left.

    a, b, c : matrices; the columns of c are adjacent, and b must be readable for the tile's full
        width
    rows : of C from its pointer on, at least 1; what exceeds the tile is left alone
    panel : (columns, terms, fresh, vectors): number of columns of C, at least 1; number of terms
        that are added up; whether they are the first; and width of the tile in vectors, 1 to
        ``PANEL``
    """
    emit_tile(Vectors(target, builder, signature.args[0]), *values)


def emit_tile(memory: "Vectors", *values: ir.Value) -> None:
    """Emit :func:`multiply_tile` for vectors of one kind, with the values of its arguments."""
    builder, (*matrices, rows, panel) = memory.builder, values
    for width in memory.widths(unpack_tuple(builder, panel)[-1]):
        with builder.if_else(builder.icmp_signed(">=", rows, INT64(HEIGHTS[width]))) as (
            is_full,
            is_short,
        ):
            with is_full:
                _multiply_rows(
                    memory, width, [INT64(i) for i in range(HEIGHTS[width])], matrices, panel
                )
            with is_short:  # the last row takes the place of missing rows
                last = builder.sub(rows, INT64(1))
                numbers = [
                    builder.select(builder.icmp_signed("<", INT64(i), last), INT64(i), last)
                    for i in range(FEW)
                ]
                _multiply_rows(memory, width, numbers, matrices, panel)


def _multiply_rows(
    memory: "Vectors",
    width: int,
    numbers: list[ir.Value],
    matrices: list[ir.Value],
    panel: ir.Value,
) -> None:
    """Emit :func:`multiply_tile` for one width and rows of these numbers."""
    builder, lanes = memory.builder, memory.lanes
    (a, a_row, a_term), (b, b_term, _), (c, c_row, _) = (unpack_tuple(builder, x) for x in matrices)
    columns, terms, fresh, _ = unpack_tuple(builder, panel)
    a_rows, c_rows = ([_row(builder, *m, i) for i in numbers] for m in ((a, a_row), (c, c_row)))
    sums = memory.sums(len(c_rows), width)
    sums_by_place = [
        (row, v, kept)
        for row, of_row in zip(c_rows, sums, strict=True)
        for v, kept in enumerate(of_row)
    ]

    with builder.if_then(builder.not_(fresh)):
        for inside in memory.masks(columns, width):
            for row, v, kept in sums_by_place:
                builder.store(memory.load(row, v, inside[v]), kept)
    for row in c_rows:  # prefetch the tile below, which may not be in the cache
        for v in range(width):
            memory.prefetch(builder.gep(row, [builder.mul(c_row, INT64(len(numbers)))]), v)
    with for_range(builder, terms) as loop:
        b_row = builder.gep(b, [builder.mul(loop.index, b_term)])
        b_vectors = [memory.load_whole(b_row, v) for v in range(width)]
        term = builder.mul(loop.index, a_term)
        for row, sums_of_row in zip(a_rows, sums, strict=True):
            number = in_all_lanes(builder, builder.load(builder.gep(row, [term])), lanes)
            for vector, kept in zip(b_vectors, sums_of_row, strict=True):
                builder.store(memory.multiply_add(number, vector, builder.load(kept)), kept)
    for inside in memory.masks(columns, width):
        for row, v, kept in sums_by_place:
            memory.store(builder.load(kept), row, v, inside[v])


ROW = 8
"""Number of sums of :func:`multiply_row` at a time: enough that a multiplication is always ready.
"""


def _of_one_row(
    a: Type, b: Type, b_term: Type, c: Type, columns: Type, terms: Type, vectors: Type
) -> Signature:
    """Return the signature of :func:`multiply_row`, which writes its sums and returns nothing."""
    return types.void(a, b, types.int64, a, types.int64, types.int64, vectors)


@instructions(_of_one_row, typed=True, prefer_literal=True)
def multiply_row(
    target: Target, builder: ir.IRBuilder, signature: Signature, *values: ir.Value
) -> None:
    """C = A B for one row of C. B is read in place, and nothing outside of it is read.

    a, b, c : pointers; b_term : items from one row of B to the next
    columns : of C from its pointer on, of which the first ``vectors`` vectors are computed; vectors
        : a literal, a divisor of ``ROW``. If these are few, several terms are added up in parallel,
        one for each chain of sums; the remaining terms follow.
    """
    a, b, b_term, c, columns, terms, _ = values
    memory, width = Vectors(target, builder, signature.args[0]), signature.args[-1].literal_value
    lanes, chains = memory.lanes, ROW // width

    def add(term: ir.Value, kept: list[ir.Value], inside: Masks) -> None:
        """Add a term to the sums of the columns inside the masks."""
        number = in_all_lanes(builder, builder.load(builder.gep(a, [term])), lanes)
        row = builder.gep(b, [builder.mul(term, b_term)])
        for v, place in enumerate(kept):
            total = memory.multiply_add(number, memory.load(row, v, inside[v]), builder.load(place))
            builder.store(total, place)

    for inside in memory.masks(columns, width):
        sums = memory.sums(chains, width)
        rounds = builder.sdiv(terms, INT64(chains))
        with for_range(builder, rounds) as loop:
            for i, kept in enumerate(sums):
                add(builder.add(builder.mul(loop.index, INT64(chains)), INT64(i)), kept, inside)
        with for_range(builder, terms, start=builder.mul(rounds, INT64(chains))) as loop:
            add(loop.index, sums[0], inside)
        for v in range(width):
            total = builder.load(sums[0][v])
            for kept in sums[1:]:
                total = builder.fadd(total, builder.load(kept[v]))
            memory.store(total, c, v, inside[v])


@instructions(
    lambda b, panel, columns, terms, vectors: types.void(b, panel, *[types.int64] * 3), typed=True
)
def copy_panel(
    target: Target, builder: ir.IRBuilder, signature: Signature, *values: ir.Value
) -> None:
    """Copy rows of B into a panel, each as wide as a tile; columns that B lacks are 0.

    b : matrix with adjacent columns; panel : pointer to room for terms rows of all
        vectors
    columns : that B has from its pointer on; vectors : 1 to ``PANEL``
    """
    b, panel, columns, terms, vectors = values
    memory, (first, b_term, _) = (
        Vectors(target, builder, signature.args[0]),
        unpack_tuple(builder, b),
    )
    for width in memory.widths(vectors):
        for inside in memory.masks(columns, width):
            with for_range(builder, terms) as loop:
                source = builder.gep(first, [builder.mul(loop.index, b_term)])
                row = builder.gep(panel, [builder.mul(loop.index, INT64(width * memory.lanes))])
                for v in range(width):  # masked where they are read, full where they are written
                    memory.store(memory.load(source, v, inside[v]), row, v, None)


@instructions(
    lambda strip, b, c, rows, panel: types.void(strip, b, c, types.int64, panel), typed=True
)
def multiply_strip(
    target: Target, builder: ir.IRBuilder, signature: Signature, *values: ir.Value
) -> None:
    """``multiply_tile`` of a strip of A and a panel of B that are packed without gaps.

    strip : pointer to ``STRIP`` numbers for each term
    rows : of C from its pointer on, at least 1; what exceeds the strip is left alone
    panel : as for ``multiply_tile``, at most ``STRIP_VECTORS`` wide
    """
    memory = Vectors(target, builder, signature.args[0])
    *operands, rows, panel = values
    for width in range(1, STRIP_VECTORS + 1):
        vectors = unpack_tuple(builder, panel)[-1]
        with (
            builder.if_then(builder.icmp_signed("==", vectors, INT64(width))),
            builder.if_else(builder.icmp_signed(">=", rows, INT64(STRIP))) as (is_full, is_short),
        ):
            with is_full:
                _multiply_strip(memory, width, None, operands, panel)
            with is_short:
                _multiply_strip(memory, width, rows, operands, panel)


def _multiply_strip(
    memory: "Vectors",
    width: int,
    rows: ir.Value | None,
    operands: list[ir.Value],
    panel: ir.Value,
) -> None:
    """Emit :func:`multiply_strip` for one width; rows : how many C has, or None if it has all."""
    builder, lanes, (strip, from_b, to_c) = memory.builder, memory.lanes, operands
    (b, _, _), (c, c_row, _) = (unpack_tuple(builder, x) for x in (from_b, to_c))
    columns, terms, fresh, _ = unpack_tuple(builder, panel)
    c_rows = [_row(builder, c, c_row, INT64(i)) for i in range(STRIP)]
    sums = memory.sums(STRIP, width)

    with builder.if_then(builder.not_(fresh)):
        for inside in memory.masks_of_rows(columns, rows, width):
            for row, sums_of_row, masks in zip(c_rows, sums, inside, strict=True):
                for v, kept in enumerate(sums_of_row):
                    builder.store(memory.load(row, v, masks[v]), kept)
    with for_range(builder, terms) as loop:
        numbers = builder.gep(strip, [builder.mul(loop.index, INT64(STRIP))])
        b_row = builder.gep(b, [builder.mul(loop.index, INT64(width * lanes))])
        b_vectors = [memory.load_whole(b_row, v) for v in range(width)]
        for i, sums_of_row in enumerate(sums):
            number = builder.load(builder.gep(numbers, [INT64(i)]))
            number = in_all_lanes(builder, number, lanes)
            for vector, kept in zip(b_vectors, sums_of_row, strict=True):
                builder.store(memory.multiply_add(number, vector, builder.load(kept)), kept)
    for inside in memory.masks_of_rows(columns, rows, width):
        for row, sums_of_row, masks in zip(c_rows, sums, inside, strict=True):
            for v, kept in enumerate(sums_of_row):
                memory.store(builder.load(kept), row, v, masks[v])


@instructions(lambda a, strip, rows, terms: types.void(a, strip, *[types.int64] * 2), typed=True)
def copy_strip(
    target: Target, builder: ir.IRBuilder, signature: Signature, *values: ir.Value
) -> None:
    """Pack rows of A, whose columns are adjacent from row to row, into a strip.

    a : matrix whose next row lies one item further; strip : pointer to room for ``STRIP`` numbers
        of each term, and a vector beyond them, which is overwritten
    rows : 1 to ``STRIP``; the place of missing rows receives 0
    """
    a, strip, rows, terms = values
    memory, (first, _, a_term) = (
        Vectors(target, builder, signature.args[0]),
        unpack_tuple(builder, a),
    )
    vectors = -(-STRIP // memory.lanes)
    for inside in memory.masks(rows, vectors):
        with for_range(builder, terms) as loop:
            source = builder.gep(first, [builder.mul(loop.index, a_term)])
            goal = builder.gep(strip, [builder.mul(loop.index, INT64(STRIP))])
            for v in range(vectors):
                memory.store(memory.load(source, v, inside[v]), goal, v, None)


@instructions(lambda a, strip, rows, terms: types.void(a, strip, *[types.int64] * 2), typed=True)
def transpose_strip(
    target: Target, builder: ir.IRBuilder, signature: Signature, *values: ir.Value
) -> None:
    """Pack as many terms of rows of A as a vector has lanes into a strip.

    a : matrix with adjacent terms; strip : as for :func:`copy_strip`
    rows, terms : that A has from its pointer on, at least 1; the last row takes the place of
        missing rows, and missing terms are not written
    """
    a, strip, rows, terms = values
    memory = Vectors(target, builder, signature.args[0])
    first, a_row, _ = unpack_tuple(builder, a)
    lanes, last = memory.lanes, builder.sub(rows, INT64(1))
    for inside in memory.masks(terms, 1):
        groups = []
        for group in range(0, STRIP, lanes):
            numbers = [INT64(i) for i in range(group, group + lanes)]
            exist = [builder.select(builder.icmp_signed("<", i, last), i, last) for i in numbers]
            rows_of_a = [_row(builder, first, a_row, number) for number in exist]
            groups.append(memory.transpose([memory.load(row, 0, inside[0]) for row in rows_of_a]))
        for i in range(lanes):  # term by term, since a vector may reach into the next term's place
            with builder.if_then(builder.icmp_signed("<", INT64(i), terms)):
                for number, vectors in enumerate(groups):
                    goal = builder.gep(strip, [INT64(i * STRIP)])
                    memory.store(vectors[i], goal, number, None)


@instructions(
    lambda b, panel, rows, columns: types.void(b, panel, types.int64, types.int64), typed=True
)
def transpose_tile(
    target: Target, builder: ir.IRBuilder, signature: Signature, *values: ir.Value
) -> None:
    """Transpose a square tile of B, as wide as a vector has lanes, into columns of a panel.

    b, panel : matrices with adjacent columns
    rows, columns : that B has from its pointer on; the last row takes the place of missing rows,
        and missing columns are not written
    """
    *matrices, rows, columns = values
    (first, b_row, _), (goal, panel_row, _) = (unpack_tuple(builder, x) for x in matrices)
    memory, last = Vectors(target, builder, signature.args[0]), builder.sub(rows, INT64(1))
    lanes = memory.lanes
    numbers = [
        builder.select(builder.icmp_signed("<", INT64(i), last), INT64(i), last)
        for i in range(lanes)
    ]

    for inside in memory.masks(columns, 1):
        vectors = [
            memory.load(_row(builder, first, b_row, number), 0, inside[0]) for number in numbers
        ]
        for i, vector in enumerate(memory.transpose(vectors)):
            exists = in_all_lanes(builder, builder.icmp_signed("<", INT64(i), columns), lanes)
            memory.store(
                vector,
                _row(builder, goal, panel_row, INT64(i)),
                0,
                None if inside[0] is None else exists,
            )


def _row(builder: ir.IRBuilder, first: ir.Value, step: ir.Value, number: ir.Value) -> ir.Value:
    """Return a pointer to a row."""
    return builder.gep(first, [builder.mul(number, step)])


Masks = list[ir.Value | None]
"""For each vector a mask of the lanes that exist, or None if all exist."""


class Vectors:
    """Emits operations on vectors of one dtype. The position of a vector is counted in vectors from
    a pointer.

    operand : the type of a pointer to such numbers, or of a matrix of them
    """

    def __init__(self, target: Target, builder: ir.IRBuilder, operand: Type) -> None:
        pointer = operand[0] if isinstance(operand, types.BaseTuple) else operand
        number, bits = target.get_value_type(pointer.dtype), pointer.dtype.bitwidth
        self.builder, self.lanes = builder, (lanes := 8 * BYTES_PER_VECTOR // bits)
        self.kind, self.suffix, self.item_bytes = (
            ir.VectorType(number, lanes),
            f"v{lanes}f{bits}",
            INT32(bits // 8),
        )
        self.zeros, self.mask = (
            ir.Constant(self.kind, [0.0] * lanes),
            ir.VectorType(ir.IntType(1), lanes),
        )

    def widths(self, vectors: ir.Value) -> Iterator[int]:
        """Yield each width of a panel; code emitted for a width runs if the panel has that many
        vectors.
        """
        for width in range(1, PANEL + 1):
            with self.builder.if_then(self.builder.icmp_signed("==", vectors, INT64(width))):
                yield width

    def masks(self, columns: ir.Value, vectors: int) -> Iterator[Masks]:
        """Yield masks of vectors of which ``columns`` lanes exist; code emitted for masks runs if
        they apply.

        If masks cost time, there is also a case without masks, for vectors that exist completely.
        """
        if MASKED:
            yield self.lanes_before(columns, vectors)
            return
        is_complete = self.builder.icmp_signed(">=", columns, INT64(vectors * self.lanes))
        with self.builder.if_else(is_complete) as (all_exist, some_do):
            with all_exist:
                yield [None] * vectors
            with some_do:
                yield self.lanes_before(columns, vectors)

    def masks_of_rows(
        self, columns: ir.Value, rows: ir.Value | None, vectors: int
    ) -> Iterator[list[Masks]]:
        """Yield for each row of a strip its masks, as :meth:`masks`, of which rows that are missing
        have no lane.

        rows : how many exist, or None if all do
        """
        if rows is None:
            for inside in self.masks(columns, vectors):
                yield [inside] * STRIP
            return
        ends = [
            self.builder.select(self.builder.icmp_signed("<", INT64(i), rows), columns, INT64(0))
            for i in range(STRIP)
        ]
        yield [self.lanes_before(end, vectors) for end in ends]

    def lanes_before(self, columns: ir.Value, vectors: int) -> Masks:
        """Return for each vector a mask of the lanes that lie before a number of columns."""
        end = in_all_lanes(self.builder, self.builder.trunc(columns, INT32), self.lanes)
        kind = ir.VectorType(INT32, self.lanes)
        starts = (range(v * self.lanes, (v + 1) * self.lanes) for v in range(vectors))
        return [
            self.builder.icmp_signed("<", ir.Constant(kind, list(start)), end) for start in starts
        ]

    def load(self, pointer: ir.Value, place: int, inside: ir.Value | None) -> ir.Value:
        """Load a vector; lanes outside the mask are not read, and are 0."""
        if inside is None:
            return self.load_whole(pointer, place)
        kinds = [self.kind.as_pointer(), INT32, self.mask, self.kind]
        load = declared(self.builder, f"llvm.masked.load.{self.suffix}.p0", self.kind, kinds)
        return self.builder.call(
            load, [self._at(pointer, place), self.item_bytes, inside, self.zeros]
        )

    def load_whole(self, pointer: ir.Value, place: int) -> ir.Value:
        """Load a full vector: a masked load would occupy the units that multiply."""
        return self.builder.load(self._at(pointer, place), align=int(self.item_bytes.constant))

    def store(
        self, vector: ir.Value, pointer: ir.Value, place: int, inside: ir.Value | None
    ) -> None:
        """Store the lanes inside the mask."""
        if inside is None:
            self.builder.store(
                vector, self._at(pointer, place), align=int(self.item_bytes.constant)
            )
            return
        kinds = [self.kind, self.kind.as_pointer(), INT32, self.mask]
        store = declared(self.builder, f"llvm.masked.store.{self.suffix}.p0", ir.VoidType(), kinds)
        self.builder.call(store, [vector, self._at(pointer, place), self.item_bytes, inside])

    def multiply_add(self, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
        """a b + c, rounded once if the processor can."""
        kinds = [self.kind] * 3
        return self.builder.call(
            declared(self.builder, f"llvm.fmuladd.{self.suffix}", self.kind, kinds), [a, b, c]
        )

    def exchange(self, a: ir.Value, b: ir.Value, block: int) -> tuple[ir.Value, ir.Value]:
        """Swap every second block of lanes of a with the block before it of b."""
        lane_numbers = range(self.lanes)
        first = [i + self.lanes - block if i & block else i for i in lane_numbers]
        second = [i + self.lanes if i & block else i + block for i in lane_numbers]
        kind = ir.VectorType(INT32, self.lanes)
        return tuple(
            self.builder.shuffle_vector(a, b, ir.Constant(kind, order)) for order in (first, second)
        )  # type: ignore[return-value]

    def transpose(self, vectors: list[ir.Value]) -> list[ir.Value]:
        """Transpose a square of as many vectors as there are lanes. In each round pairs of vectors
        exchange blocks of lanes, and the blocks double from round to round.
        """
        turned, block = list(vectors), 1
        while block < self.lanes:
            for i in (i for i in range(self.lanes) if not i & block):
                turned[i], turned[i + block] = self.exchange(turned[i], turned[i + block], block)
            block *= 2
        return turned

    def prefetch(self, pointer: ir.Value, place: int) -> None:
        """Prefetch a vector that is read and written soon; it need not exist."""
        ask = declared(
            self.builder, "llvm.prefetch.p0", ir.VoidType(), [BYTES, INT32, INT32, INT32]
        )
        for_writing, much_reuse, data = INT32(0), INT32(3), INT32(1)
        at = self.builder.bitcast(self._at(pointer, place), BYTES)
        self.builder.call(ask, [at, for_writing, much_reuse, data])

    def sums(self, rows: int, width: int) -> list[list[ir.Value]]:
        """Return variables, 0 at first, for rows of ``width`` vectors: LLVM keeps them in
        registers.
        """
        return [
            [alloca_once_value(self.builder, self.zeros) for _ in range(width)] for _ in range(rows)
        ]

    def _at(self, pointer: ir.Value, place: int) -> ir.Value:
        """Return a pointer to the vector that begins ``place`` vectors after ``pointer``."""
        item = self.builder.gep(pointer, [INT64(place * self.lanes)])
        return self.builder.bitcast(item, self.kind.as_pointer())
