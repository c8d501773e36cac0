"""Rows of a source that several ranks share: each reads its own blocks, and all know the order of
the rows.
"""

from dataclasses import dataclass

import numpy

from xpnet.backend import Step
from xpnet.data.buffers import Division, Piece
from xpnet.data.sources import Source
from xpnet.distributed.ranks import ALONE, Ranks, ShardMap
from xpnet.distributed.step import DistributedStep
from xpnet.ops import Array
from xpnet.training.streamed import SourceRows


def source_rows(X: Source, Y: Array, weight: Array | None, ranks: Ranks) -> SourceRows:
    """Return all rows of a source, or of the sources of all ranks."""
    if not ranks.several:
        return SourceRows.whole(X, Y, weight)
    return ShardedSourceRows.of_ranks(X, Y, weight, ranks)


@dataclass
class ShardedSourceRows(SourceRows):
    """Rows of a source, or of one source on each rank, that the ranks of a group share.

    The blocks of the sources of all ranks have numbers, one rank's after the other's.

    ranks : all that train together
    home : (blocks,) int64, the rank whose source has the block; None where every rank has all
    first : the number of the first block of this rank's source
    """

    ranks: Ranks = ALONE
    home: numpy.ndarray | None = None
    first: int = 0

    @classmethod
    def of_ranks(
        cls, X: Source, Y: Array, weight: Array | None, ranks: Ranks
    ) -> "ShardedSourceRows":
        """Return the rows of the sources of all ranks."""
        all_sizes = ranks.allgather(numpy.diff(X.starts))
        sizes = numpy.concatenate(all_sizes)
        counts = [len(rank_sizes) for rank_sizes in all_sizes]
        home = numpy.repeat(numpy.arange(len(counts)), counts) if ranks.sharded else None
        first = sum(counts[: ranks.rank]) if ranks.sharded else 0
        return cls(X, Y, weight, sizes, numpy.arange(len(sizes)), ranks, home, first)

    def own(self, blocks: numpy.ndarray) -> numpy.ndarray:
        """See `SourceRows.own`."""
        return blocks if self.home is None else blocks[self.home[blocks] == self.ranks.rank]

    def in_source(self, blocks: numpy.ndarray) -> numpy.ndarray:
        """See `SourceRows.in_source`."""
        return blocks - self.first

    def division(self, blocks: numpy.ndarray) -> Division | None:
        """Divide blocks that are read in this order: each goes to the rank that has it, or has read
        fewest rows.
        """
        rows = self.sizes[blocks]
        if self.home is not None:
            return Division(self.ranks.rank, self.home[blocks], rows)
        assert self.ranks.group is not None
        owner = numpy.empty(len(blocks), numpy.int64)
        rows_read = numpy.zeros(self.ranks.group.size)
        for place, count in enumerate(rows):
            owner[place] = rows_read.argmin()
            rows_read[owner[place]] += count
        return Division(self.ranks.rank, owner, rows)

    def step_for(self, step: Step, piece: Piece, X: Array) -> Step:
        """See `SourceRows.step_for`."""
        if isinstance(step, DistributedStep):
            return step.across(ShardMap.in_order(piece.owner), X)
        return step

    def measured_blocks(self) -> numpy.ndarray:
        """Return the blocks on which this rank measures: its own, or its part of the blocks that
        all ranks have.
        """
        blocks = self.own(self.blocks)
        if self.home is not None:
            return blocks
        assert self.ranks.group is not None
        return numpy.array_split(blocks, self.ranks.group.size)[self.ranks.rank]
