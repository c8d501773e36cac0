"""Training on a source: its blocks in random order, and the rows of a buffer shuffled."""

from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import numpy

from xpnet.backend import Backend, Operations, Step
from xpnet.data.buffers import PIECE_BYTES, Division, read_rows, rows_of
from xpnet.data.sources import BUFFER_BYTES, Source
from xpnet.distributed import ALONE, DistributedStep, Ranks, current_ranks
from xpnet.estimators.inputs import Orders, Rows, in_their_order
from xpnet.models import Network
from xpnet.models.inputs import bring, is_host
from xpnet.ops import Array
from xpnet.training import Training, run

PART_BYTES = 2**22
"""The size of a part whose gradient is computed at once, so large that adding gradients up takes little beside it."""


BlockOrder = tuple[numpy.ndarray, int]
"""The order in which an epoch reads blocks, and the seed of the orders within buffers."""


class BlockOrders(Orders):
    """Draws the orders of a source's blocks, epoch after epoch. One that is read from its beginning keeps its order."""

    def __init__(
        self, random_state: numpy.random.RandomState, source: Source, blocks: numpy.ndarray
    ) -> None:
        super().__init__(random_state, 0)
        self.source, self.blocks = source, blocks

    def permutation(self, rows: int) -> BlockOrder:
        """Draw the next order."""
        blocks = self.blocks if self.source.in_order else self.random_state.permutation(self.blocks)
        return blocks, int(self.random_state.randint(2**31))


@dataclass
class SourceRows(Rows):
    """Rows of a source that are trained on: X is the source, Y and weight are in memory.

    The blocks of the sources of all ranks have numbers, one rank's after the other's.

    sizes : (blocks,) rows of each; home : (blocks,) the rank whose source has it, None where every rank has all
    first : the number of the first block of this rank's source; blocks : the numbers of those that are trained on
    """

    ranks: Ranks = ALONE
    sizes: Any = None
    home: Any = None
    first: int = 0
    blocks: Any = None

    @classmethod
    def whole(cls, X: Source, Y: Array, weight: Array | None, ranks: Ranks = ALONE) -> "SourceRows":
        """Return all rows of a source, or of the sources of all ranks."""
        every = ranks.allgather(numpy.diff(X.starts))
        sizes, counts = numpy.concatenate(every), [len(of_rank) for of_rank in every]
        home = numpy.repeat(numpy.arange(len(every)), counts) if ranks.own_data else None
        first = sum(counts[: ranks.rank]) if ranks.own_data else 0
        return cls(X, Y, weight, ranks, sizes, home, first, numpy.arange(len(sizes)))

    @property
    def count(self) -> int:
        """Return the number of rows that this rank's source has."""
        return self.size_of(self.own(self.blocks))

    def size_of(self, blocks: numpy.ndarray) -> int:
        """Return how many rows some blocks have."""
        return int(self.sizes[blocks].sum())

    def own(self, blocks: numpy.ndarray) -> numpy.ndarray:
        """Return those of some blocks that this rank's source has."""
        return blocks if self.home is None else blocks[self.home[blocks] == self.ranks.rank]

    def division(self, blocks: numpy.ndarray) -> Division | None:
        """Divide blocks that are read in this order: each goes to the rank that has it, or has read fewest rows."""
        group, rows = self.ranks.group, self.sizes[blocks]
        if group is None or group.size == 1:
            return None
        if self.home is not None:
            return Division(group.rank, self.home[blocks], rows)
        owner, read = numpy.empty(len(blocks), numpy.int64), numpy.zeros(group.size)
        for place, count in enumerate(rows):
            owner[place] = read.argmin()
            read[owner[place]] += count
        return Division(group.rank, owner, rows)

    def orders(self, random_state: numpy.random.RandomState, rows: int) -> BlockOrders:
        """Return what draws the order of each epoch."""
        return BlockOrders(random_state, self.X, self.blocks)

    def split(
        self,
        share: float,
        random_state: numpy.random.RandomState,
        network: Network,
        strata: Any,
        ranks: Ranks,
    ) -> tuple["SourceRows", Rows, None]:
        """Split rows into those to train on, and whole blocks that are held out: a share of all, at most a buffer.

        Raises ValueError where there is no block for both.
        """
        source, dtype = self.X, network.spec.dtype
        order = random_state.permutation(self.blocks)
        wanted = min(share * self.size_of(order), source.buffer_rows(dtype))
        chosen = max(
            1, int(numpy.searchsorted(numpy.cumsum(self.sizes[order]), wanted, side="right"))
        )
        if chosen >= len(order):
            raise ValueError(
                "The validation set would be all of the source: it has a single block. Pass X_val and y_val."
            )
        held = read_rows(source, self.own(numpy.sort(order[:chosen])) - self.first, dtype)
        weight = None if self.weight is None else self.weight[held.rows]
        held_out = Rows(network.backend.asarray(held.X), self.Y[held.rows], weight)
        return replace(self, blocks=numpy.sort(order[chosen:])), held_out, None

    def epoch(self, step: Step, compute: Callable[..., float]) -> Callable[..., float]:
        """Return what makes an epoch over the source, in place of one over an array.

        It takes the source and an order of its blocks. Between two buffers of rows an interrupt finds every update
        whole.

        compute : makes an epoch with a step, over rows in memory
        """
        backend, dtype, gather = step.backend, step.spec.dtype, Operations(step.backend).gather
        piece_bytes = PIECE_BYTES if is_host(backend) else BUFFER_BYTES

        def buffered(
            X: Source,
            Y: Array,
            *,
            batch_size: int,
            order: BlockOrder | None,
            sample_weight: Array | None,
            **how: Any,
        ) -> float:
            total, done, report, taught = 0.0, 0, step.report, step
            blocks, seed = (self.blocks, None) if order is None else order
            reading: dict[str, Any] = {
                "seed": seed,
                "piece_bytes": piece_bytes,
                "division": self.division(blocks),
            }
            step.report = step.prefetch_order = None  # which are about the rows of a buffer
            try:
                with closing(
                    rows_of(X, blocks - self.first, dtype, batch_size=batch_size, **reading)
                ) as found:
                    for part in found:
                        there = backend.asarray(part.rows)
                        x, y = backend.asarray(part.X), gather(Y, there)
                        weight = None if sample_weight is None else gather(sample_weight, there)
                        if isinstance(step, DistributedStep):
                            taught = step.among(in_their_order(part.owner), x)
                        loss = compute(
                            taught, x, y, batch_size=batch_size, sample_weight=weight, **how
                        )
                        total, done = total + loss * len(part.owner), done + len(part.owner)
                        if report is not None:
                            report(done)
            finally:
                step.report = report
            return total / done

        return buffered

    def parts(self, backend: Backend, dtype: str) -> Generator[Rows, None, None]:
        """Yield this rank's part of the rows on a backend in a dtype, some at a time, one part at least."""
        mine, group = self.own(self.blocks), self.ranks.group
        if self.home is None and group is not None:
            mine = numpy.array_split(mine, group.size)[group.rank]
        if not self.size_of(mine):
            none = backend.asarray(numpy.zeros((0, self.X.shape[1])), dtype=dtype)
            yield Rows(none, self.Y[:0, ...], None if self.weight is None else self.weight[:0])
            return
        for X, places, _ in rows_of(
            self.X, mine - self.first, dtype, batch_size=1, piece_bytes=PART_BYTES
        ):
            part = slice(int(places[0]), int(places[-1]) + 1)
            yield Rows(
                backend.asarray(X), self.Y[part], None if self.weight is None else self.weight[part]
            )


def fit_over_source(
    network: Network,
    X: Source,
    Y: numpy.ndarray,
    *,
    epochs: int,
    sample_weight: numpy.ndarray | None,
    **how: Any,
) -> None:
    """Train a network on the rows of a source, as its ``fit`` does on an array; orders come from its seed.

    how : the further arguments of ``xpnet.training.run``
    """
    weight = (
        None if sample_weight is None else bring(sample_weight, network.backend, network.spec.dtype)
    )
    rows = SourceRows.whole(X, network.own(bring(Y, network.backend)), weight, current_ranks())
    with network.lock.training():
        step, count = network.trainable(), rows.size_of(rows.blocks)
        orders = rows.orders(numpy.random.RandomState(network.spec.seed), count)
        training = Training(step, count, epochs, network.history, orders, lock=network.lock)
        epoch = rows.epoch(step, lambda step, *rows, **how: step.epoch(*rows, **how))
        run(training, X, rows.Y, shuffle=True, sample_weight=rows.weight, epoch=epoch, **how)
