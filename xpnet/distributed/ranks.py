"""Ranks are processes that train together. ``Ranks`` says which ones they are, and carries what
they exchange.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Literal, NamedTuple, TypeVar

import numpy

from xpnet.backend import Group, NetworkSpec
from xpnet.backend.group import Value, allgather
from xpnet.errors import InputError
from xpnet.ops import Array

LAUNCHERS: dict[str, tuple[str, ...]] = {
    "mpirun": ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MPI_LOCALNRANKS"),
    "srun": ("SLURM_STEP_NUM_TASKS",),
    "torchrun": ("LOCAL_WORLD_SIZE", "WORLD_SIZE"),
}
"""Environment variables in which a launcher says how many processes it has started."""

Summed = TypeVar("Summed", bound=Array)
"""An array that ranks add up."""


class ShardMap(NamedTuple):
    """The rank of each row, where the ranks' rows do not lie one after the other.

    rank : (rows,) int64, the rank that has the row
    index : (rows,) int64, the position of the row among those that its rank has
    """

    rank: numpy.ndarray
    index: Any

    @classmethod
    def in_order(cls, rank: numpy.ndarray) -> "ShardMap":
        """Return the map of rows of which each rank has its own one after the other. rank : (rows,)
        that has the row
        """
        index = numpy.empty(len(rank), numpy.int64)
        for number in range(int(rank.max(initial=0)) + 1):
            own = rank == number
            index[own] = numpy.arange(numpy.count_nonzero(own))
        return cls(rank, index)


@dataclass(frozen=True)
class Ranks:
    """The processes that a computation runs on: a group, or this process alone.

    For one process every method returns its argument.

    Parameters
    ----------
    group : Group or None
        What connects them; None for this process alone.
    data : {"same", "own"}
        Whether each rank is given all rows, or its own.
    shard_map : ShardMap, optional
        Which rank has which row; None where the rows of one rank follow those of the rank before
        it.
    """

    group: Group | None = None
    data: Literal["same", "own"] = "same"
    shard_map: ShardMap | None = None

    @cached_property
    def rank(self) -> int:
        """Return the number of this process."""
        return 0 if self.group is None else self.group.rank

    @cached_property
    def several(self) -> bool:
        """Return whether there is another process."""
        return self.group is not None and self.group.size > 1

    @cached_property
    def sharded(self) -> bool:
        """Return whether each of several processes has rows of its own."""
        return self.several and self.data == "own"

    @cached_property
    def why(self) -> str:
        """Describe how many ranks there are and how they are joined; empty for one."""
        return (
            f"trained on {self.group.size} ranks, joined by {self.group.why}"
            if self.group and self.several
            else ""
        )

    def broadcast(self, value: Value) -> Value:
        """Return the value that rank 0 has."""
        return value if self.group is None or not self.several else self.group.broadcast(value)

    def sum(self, array: Summed) -> Summed:
        """The sum of all ranks' arrays, NumPy's, float32, float64 or int64; the array itself for
        one process.
        """
        return array if self.group is None or not self.several else self.group.allreduce(array)

    def allgather(self, value: Value) -> list[Value]:
        """Return all ranks' values, in their order, if each has rows of its own; this one's if all
        have the same.
        """
        return allgather(self.group, value) if self.group is not None and self.sharded else [value]

    def mean(self, value: float, weight: float) -> float:
        """Return the mean of a value over ranks that have rows of their own, each by its weight."""
        if not self.sharded:
            return value
        total, weights = self.sum(numpy.array([value * weight if weight else 0.0, weight])).tolist()
        return total / weights if weights else 0.0

    def count(self, rows: int) -> int:
        """Return how many rows all ranks have, of which this one has ``rows``."""
        return sum(self.allgather(rows))

    def positions(self, rows: int) -> numpy.ndarray:
        """Return the positions of this rank's rows among those of all ranks: (rows,) int64."""
        if self.shard_map is None:
            first = sum(self.allgather(rows)[: self.rank]) if self.sharded else 0
            return numpy.arange(rows) + first
        own = numpy.flatnonzero(self.shard_map.rank == self.rank)
        positions = numpy.empty(rows, "int64")
        positions[self.shard_map.index[own]] = own
        return positions

    def check_alike(self, spec: NetworkSpec, **settings: object) -> None:
        """Compare what every rank is about to train.

        spec : the network of this rank; settings : what else must be equal, by the name that the
            user knows it by

        Raises InputError, on every rank, where one rank differs from rank 0. Arrays of unlike sizes
        would otherwise meet in one sum, which MPI does not survive, or one rank would wait for
        batches that another does not make.
        """
        if self.group is None or not self.several:
            return
        network = {field.name: getattr(spec, field.name) for field in fields(spec)}
        facts = {name: repr(value) for name, value in (network | settings).items()}
        first, *others = allgather(self.group, facts)
        differences = [
            f"rank {rank} has {name} = {other.get(name)}, rank 0 has {value}"
            for rank, other in enumerate(others, 1)
            for name, value in first.items()
            if other.get(name) != value
        ]
        if differences:
            raise InputError(
                "All ranks must train one network, on the same number of rows in batches of one "
                f"size; got {'; '.join(differences)}; pass the same on every rank."
            )


ALONE = Ranks()
_context: ContextVar[Ranks] = ContextVar("xpnet_ranks", default=ALONE)


current_ranks: Callable[[], Ranks] = _context.get
"""Return the ranks of the innermost ``use_group``; outside of any, this process alone."""


@contextmanager
def using(ranks: Ranks) -> Iterator[None]:
    """Make these the current ranks inside a ``with`` block."""
    token = _context.set(ranks)
    try:
        yield
    finally:
        _context.reset(token)


def using_shard_map(shard_map: ShardMap | None) -> AbstractContextManager[None]:
    """Number the rows of all ranks by a shard map inside a ``with`` block; None changes nothing."""
    return using(replace(_context.get(), shard_map=shard_map)) if shard_map else nullcontext()


def launched() -> str | None:
    """Name the launcher that has started this process as one of several; None for a process that
    was started alone.
    """
    for launcher, names in LAUNCHERS.items():
        if any(os.environ.get(name, "1") not in ("", "1") for name in names):
            return launcher
    return None
