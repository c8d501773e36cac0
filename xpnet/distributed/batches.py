"""Batches whose rows several ranks share: see :class:`xpnet.training.Batches`."""

from collections.abc import Callable
from typing import TypeVar

import numpy

from xpnet.backend import Step
from xpnet.backend.group import Value
from xpnet.distributed.ranks import Ranks, current_ranks
from xpnet.distributed.step import broadcast_state
from xpnet.errors import InputError
from xpnet.training.batches import Batches, InMemory
from xpnet.training.rng import rng_state, set_rng_state
from xpnet.typing import RandomGenerator

Random = TypeVar("Random")
"""A random generator, or None."""


def distributed_batches(batches: InMemory) -> Batches:
    """Return batches on the ranks that ``use_group`` asked for; the batches themselves for one
    process.
    """
    ranks = current_ranks()
    return Sharded(batches, ranks) if ranks.several else batches


def begin_alike(rng: Random, ranks: Ranks) -> Random:
    """Put a random generator into the state that it has on rank 0, and return it."""
    if ranks.several:
        set_rng_state(rng, ranks.broadcast(rng_state(rng)))
    return rng


class Sharded(Batches):
    """Batches that the ranks of a group share: every rank makes the same epochs, each with the rows
    that it has.

    batches : the rows of this rank, which are all rows where every rank has all
    ranks : all that train together, two at least
    """

    def __init__(self, batches: InMemory, ranks: Ranks) -> None:
        self.batches = batches
        self.ranks = ranks
        self.is_main_process: bool = ranks.rank == 0
        self.rng: RandomGenerator | None = batches.rng
        batches.count_rows(ranks.count(batches.data.count))
        self.rows: int = batches.rows

    def begin(self, step: Step, epochs: int) -> None:
        """Check that all ranks are about to train the same, and let them draw the same orders.

        Raises InputError on every rank where one differs, and on a rank whose rows are not finite.
        """
        batches = self.batches
        if batches.members > 1:
            raise InputError(
                "`own_batches` must be False where several processes train together, which share "
                "one batch of all members; got True."
            )
        self.ranks.check_alike(
            step.spec,
            rows=self.rows,
            batch_size=batches.batch_size,
            epochs=epochs,
            shuffle=batches.shuffle,
            weighted=batches.data.weight is not None,
            validated=batches.measure is not None,
        )
        batches.check_now()  # one rank's NaN would spread to all ranks
        begin_alike(self.rng, self.ranks)

    def epoch(self, step: Step, learning_rate: float, *, last: bool = False) -> float:
        """See `Batches.epoch`."""
        return self.batches.epoch(step, learning_rate, last=last)

    def validation_loss(self) -> float | None:
        """See `Batches.validation_loss`."""
        return self.batches.validation_loss()

    def snapshot(self, step: Step, *, rng_is_shared: bool) -> Callable[[], None]:
        """See `Batches.snapshot`."""
        return self.batches.snapshot(step, rng_is_shared=rng_is_shared)

    def report_to(self, step: Step, report: Callable[[int], None] | None) -> None:
        """See `Batches.report_to`."""
        self.batches.report_to(step, report)

    def share_state(self, step: Step) -> None:
        """See `Batches.share_state`."""
        broadcast_state(step)

    def agree(self, value: Value) -> Value:
        """See `Batches.agree`."""
        return self.ranks.broadcast(value)

    def any_stops(self, stop: bool) -> bool:
        """See `Batches.any_stops`."""
        return bool(self.ranks.sum(numpy.array([stop], "int64"))[0])
