"""Batches of rows that are read from a source block by block: blocks in random order, rows shuffled
in a buffer.
"""

from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy

from xpnet.backend import Backend, Operations, Step
from xpnet.data.buffers import PIECE_BYTES, Division, Piece, read_rows, rows_of
from xpnet.data.sources import BUFFER_BYTES, Source
from xpnet.dispatch.choose import library_of_backend
from xpnet.ops import Array
from xpnet.training.batches import EpochSettings, InMemory, LabeledRows
from xpnet.training.orders import ChainedOrders, OrderDrawer

PART_BYTES = 2**22
"""Bytes of the rows on which a loss is measured at a time."""


class BlockOrder(NamedTuple):
    """The order of the rows in an epoch over a source.

    blocks : (blocks,) int64, the numbers of the blocks as they are read
    seed : of the orders within buffers; None for rows in the source's order
    """

    blocks: numpy.ndarray
    seed: int | None


class BlockOrders(ChainedOrders):
    """Draws the order of a source's blocks for each epoch. A source that is read from its beginning
    keeps its order.
    """

    def __init__(
        self, random_state: numpy.random.RandomState, source: Source, blocks: numpy.ndarray
    ) -> None:
        super().__init__(random_state, 0)
        self.source = source
        self.blocks = blocks

    def permutation(self, rows: int) -> Any:
        """Draw the next order, a BlockOrder."""
        blocks = self.blocks if self.source.in_order else self.random_state.permutation(self.blocks)
        return BlockOrder(blocks, int(self.random_state.randint(2**31)))


def _no_blocks() -> numpy.ndarray:
    """Return the numbers of no blocks: (0,) int64."""
    return numpy.zeros(0, numpy.int64)


@dataclass
class SourceRows(LabeledRows):
    """Rows of a source that are trained on: X is the source, Y and weight are in memory.

    sizes : (blocks,) int64, number of rows of each block
    blocks : (n,) int64, the numbers of the blocks that are trained on
    """

    sizes: numpy.ndarray = field(default_factory=_no_blocks)
    blocks: numpy.ndarray = field(default_factory=_no_blocks)

    @classmethod
    def whole(cls, X: Source, Y: Array, weight: Array | None) -> "SourceRows":
        """Return all rows of a source."""
        sizes = numpy.diff(X.starts)
        return cls(X, Y, weight, sizes, numpy.arange(len(sizes)))

    @property
    def count(self) -> int:
        """Number of rows that this process reads from its source."""
        return self.count_rows_in(self.own(self.blocks))

    def count_rows_in(self, blocks: numpy.ndarray) -> int:
        """Return the number of rows in blocks."""
        return int(self.sizes[blocks].sum())

    def own(self, blocks: numpy.ndarray) -> numpy.ndarray:
        """Return those of the blocks that the source of this process has."""
        return blocks

    def in_source(self, blocks: numpy.ndarray) -> numpy.ndarray:
        """Return the numbers of blocks as the source of this process counts them."""
        return blocks

    def division(self, blocks: numpy.ndarray) -> Division | None:
        """Divide blocks, in the order in which they are read, among processes; None for this
        process alone.
        """
        return None

    def step_for(self, step: Step, piece: Piece, X: Array) -> Step:
        """Return the step that trains on a piece, whose rows X other processes may share."""
        return step

    def measured_blocks(self) -> numpy.ndarray:
        """Return the blocks on which this process measures a loss."""
        return self.own(self.blocks)

    def orders(self, random_state: numpy.random.RandomState) -> BlockOrders:
        """Return the generator of the orders of the blocks."""
        return BlockOrders(random_state, self.X, self.blocks)

    def split(
        self, fraction: float, random_state: numpy.random.RandomState, backend: Backend, dtype: str
    ) -> tuple["SourceRows", LabeledRows]:
        """Split off whole blocks for validation: a fraction of all rows, at most a buffer, which is
        read.

        Raises ValueError where there is no block for both parts.
        """
        order = random_state.permutation(self.blocks)
        target = min(fraction * self.count_rows_in(order), self.X.buffer_rows(dtype))
        fitting = numpy.searchsorted(numpy.cumsum(self.sizes[order]), target, side="right")
        count = max(1, int(fitting))
        if count >= len(order):
            raise ValueError(
                "The validation set would be all of the source: it has a single block. Pass X_val "
                "and y_val."
            )
        validation_blocks = self.own(numpy.sort(order[:count]))
        piece = read_rows(self.X, self.in_source(validation_blocks), dtype)
        weight = None if self.weight is None else self.weight[piece.rows]
        validation = LabeledRows(backend.asarray(piece.X), self.Y[piece.rows], weight)
        return replace(self, blocks=numpy.sort(order[count:])), validation

    def parts(self, backend: Backend, dtype: str) -> Generator[LabeledRows, None, None]:
        """Yield the rows that this process measures on, piece by piece; an empty piece where there
        are none.
        """
        blocks = self.measured_blocks()
        if not self.count_rows_in(blocks):
            empty = backend.asarray(numpy.zeros((0, self.X.shape[1])), dtype=dtype)
            weight = None if self.weight is None else self.weight[:0]
            yield LabeledRows(empty, self.Y[:0, ...], weight)
            return
        pieces = rows_of(
            self.X, self.in_source(blocks), dtype, batch_size=1, piece_bytes=PART_BYTES
        )
        for piece in pieces:
            part = slice(int(piece.rows[0]), int(piece.rows[-1]) + 1)
            weight = None if self.weight is None else self.weight[part]
            yield LabeledRows(backend.asarray(piece.X), self.Y[part], weight)


class Streamed(InMemory):
    """Batches of rows that a source reads block by block, shuffled within a buffer.

    It takes the parameters of `InMemory`; ``data`` is a `SourceRows`, and orders are drawn from its
    ``orders``. Between two buffers of rows an interrupt finds every update whole.
    """

    data: SourceRows
    _report: Callable[[int], None] | None = None

    def _order_drawer(self, rows: int) -> OrderDrawer:
        """Return the drawer of the orders of the rows, which are not prefetched."""
        return OrderDrawer(self.rng, rows, self.members, prefetches=False)

    def epochs_at_once(self, step: Step) -> int:
        return 1  # each epoch reads the rows

    def report_to(self, step: Step, report: Callable[[int], None] | None) -> None:
        self._report = report  # the step would report the rows of a piece

    def _run_epoch(self, step: Step, settings: EpochSettings) -> float:
        """Make an epoch, buffer by buffer. settings : the keyword arguments of ``Step.epoch``"""
        data = self.data
        drawn: Any = settings["order"]
        order: BlockOrder = drawn or BlockOrder(data.blocks, None)
        is_on_host = library_of_backend(step.backend) == "numpy"
        pieces = rows_of(
            data.X,
            data.in_source(order.blocks),
            step.spec.dtype,
            batch_size=self.batch_size,
            seed=order.seed,
            piece_bytes=PIECE_BYTES if is_on_host else BUFFER_BYTES,
            division=data.division(order.blocks),
        )
        total = 0.0
        done = 0
        with closing(pieces):
            for piece in pieces:
                rows_in_piece = len(piece.owner)
                total += rows_in_piece * self._train_on(step, piece, settings)
                done += rows_in_piece
                if self._report is not None:
                    self._report(done)
        return total / done

    def _train_on(self, step: Step, piece: Piece, settings: EpochSettings) -> float:
        """Train on a piece of the rows; return its loss."""
        backend = step.backend
        gather = Operations(backend).gather
        positions = backend.asarray(piece.rows)
        X = backend.asarray(piece.X)
        Y = gather(self.data.Y, positions)
        weight = settings["sample_weight"]
        if weight is not None:
            weight = gather(weight, positions)
        settings = {**settings, "sample_weight": weight, "order": None}
        step = self.data.step_for(step, piece, X)
        if self.run_epoch is None:
            return step.epoch(X, Y, **settings)
        return self.run_epoch(step, X, Y, **settings)
