"""Ranks are processes that train together: each computes its part of every batch, and the gradients are added up.

``Ranks`` is what the rest of xpnet talks to: for one process it has nothing to do. ``on_all_ranks`` puts a step around
the step that computes on this rank. Passed to it are the rows that this rank has. ``order`` and ``rows`` count the rows
of all ranks: where all have the same rows that makes no difference; where each has its own, they lie one after the
other in the order of the ranks, or as ``Ranks.owners`` says.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy

from xpnet.backend import BatchPart, Group, NetworkSpec, Parameters, Step, StepState
from xpnet.backend.group import SharedMemoryGroup, Value, allgather
from xpnet.dispatch.choose import library_of
from xpnet.errors import InputError
from xpnet.ops import Array

LAUNCHERS = {
    "mpirun": ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MPI_LOCALNRANKS"),
    "srun": ("SLURM_STEP_NUM_TASKS",),
    "torchrun": ("LOCAL_WORLD_SIZE", "WORLD_SIZE"),
}
"""Environment variables in which a launcher says how many processes it has started."""


class Owners(NamedTuple):
    """Says which rank has each row, where the ranks' rows do not lie one after the other.

    rank : (rows,) int64; index : (rows,) int64, the row's place among those that its rank has
    """

    rank: Any
    index: Any


@dataclass(frozen=True)
class Ranks:
    """The processes that a computation runs on: a group, or this process alone. Alone, every method gives back its
    argument.

    Parameters
    ----------
    group : Group or None
        How they talk; None for this process alone.
    data : {"same", "own"}
        Whether each rank is given all rows, or its own.
    owners : Owners, optional
        Who has which row; None where the rows of one rank follow those of the rank before it.
    """

    group: Group | None = None
    data: Literal["same", "own"] = "same"
    owners: Owners | None = None

    @cached_property
    def rank(self) -> int:
        """Return the number of this process."""
        return 0 if self.group is None else self.group.rank

    @cached_property
    def several(self) -> bool:
        """Return whether there is another process."""
        return self.group is not None and self.group.size > 1

    @cached_property
    def own_data(self) -> bool:
        """Return whether there are rows that this process has not seen."""
        return self.several and self.data == "own"

    @cached_property
    def why(self) -> str:
        """Say how many ranks there are and how they are joined; the text is empty for one."""
        return (
            f"trained on {self.group.size} ranks, joined by {self.group.why}"
            if self.group and self.several
            else ""
        )

    def broadcast(self, value: Value) -> Value:
        """Return the value that rank 0 has."""
        return value if self.group is None or not self.several else self.group.broadcast(value)

    def sum(self, array: Any) -> Any:
        """The sum of all ranks' arrays, NumPy's, float32, float64 or int64; the array itself for one process."""
        return array if self.group is None or not self.several else self.group.allreduce(array)

    def allgather(self, value: Any) -> list[Any]:
        """Return all ranks' values, in their order, if each has rows of its own; this one's if all have the same."""
        return allgather(self.group, value) if self.group is not None and self.own_data else [value]

    def mean(self, value: float, weight: float) -> float:
        """Return the mean of a value over ranks that have rows of their own, each by its weight."""
        if not self.own_data:
            return value
        total, weights = self.sum(numpy.array([value * weight if weight else 0.0, weight])).tolist()
        return total / weights if weights else 0.0

    def count(self, rows: int) -> int:
        """Return how many rows all ranks have, of which this one has ``rows``."""
        return sum(self.allgather(rows))

    def places(self, rows: int) -> Any:
        """Return the places of this rank's rows among those of all ranks: (rows,) int64."""
        if self.owners is None:
            return numpy.arange(rows) + (
                sum(self.allgather(rows)[: self.rank]) if self.own_data else 0
            )
        own, places = numpy.flatnonzero(self.owners.rank == self.rank), numpy.empty(rows, "int64")
        places[self.owners.index[own]] = own
        return places

    def check_alike(self, spec: NetworkSpec, **settings: Any) -> None:
        """Compare what every rank is about to train.

        spec : the network of this rank; settings : what else must be equal, by the name that the user knows it by

        Raises InputError, on every rank, where one rank differs from rank 0. Arrays of unlike sizes would otherwise
        meet in one sum, which MPI does not survive, or one rank would wait for batches that another does not make.
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
                "All ranks train one network, on the same number of rows in batches of one size: "
                f"{'; '.join(differences)}. Pass the same on every rank."
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


def owning(owners: Owners | None) -> AbstractContextManager[None]:
    """Number the rows of all ranks by these owners inside a ``with`` block; by none, as they lie."""
    return using(replace(_context.get(), owners=owners)) if owners else nullcontext()


Share: TypeAlias = tuple[Any, BatchPart]
"""A rank's rows in a batch, as indices (n,) int64 into those that it has or a slice of them, and what part they are."""


def on_all_ranks(step: Step) -> Step:
    """Return the step on the ranks that ``use_group`` asked for; the step itself where this process is alone.

    step : what computes on this rank
    returns one whose ``epoch``, ``loss`` and ``gradient`` are those of the rows of all ranks
    """
    ranks = current_ranks()
    return DistributedStep(step, ranks) if ranks.several else step


def ranks_of(step: Step) -> Ranks:
    """Return the ranks that a step computes on: this process alone unless ``on_all_ranks`` has made it."""
    return step.ranks if isinstance(step, DistributedStep) else ALONE


class DistributedStep(Step):
    """A step around a step: see :class:`xpnet.backend.Step`, and the module's text for what rows are.

    step : what computes on this rank
    ranks : all that take part, two at least
    """

    def __init__(self, step: Step, ranks: Ranks) -> None:
        assert ranks.group is not None
        self.step, self.ranks, self.group = step, ranks, ranks.group
        self.spec, self.params = step.spec, step.params
        self._counted: tuple[Any, int, int] = (
            None,
            0,
            0,
        )  # X, the rows of the ranks before this one, and of all

    @cached_property
    def gradients(self) -> Parameters:
        """Return the gradients of all ranks' rows."""
        return self.step.gradients

    @property
    def why(self) -> str:
        """See :class:`xpnet.backend.Step`."""
        return f"{self.step.why}; {self.ranks.why}"

    def running(self) -> AbstractContextManager[None]:
        """See :class:`xpnet.backend.Step`."""
        return self.step.running()

    def among(self, owners: Owners, X: Array) -> "DistributedStep":
        """Return this step for rows of which each rank has its own, whoever has the others.

        owners : of each row of all ranks; X : (own, in), those of this rank
        """
        made = DistributedStep(self.step, replace(self.ranks, data="own", owners=owners))
        made._counted = X, 0, len(owners.rank)
        return made

    def broadcast_state(self) -> None:
        """See :class:`xpnet.backend.Step`."""
        state = self.ranks.broadcast(self.step.state())
        if self.ranks.rank:
            self.step.load_state(state)

    def epoch(self, X: Array, Y: Array, **how: Any) -> float:
        """See :class:`xpnet.backend.Step`."""
        return self.weighted_epoch(X, Y, **how, by_rows=False)

    def weighted_epoch(
        self,
        X: Array,
        Y: Array,
        *,
        learning_rate: float,
        batch_size: int,
        order: Any = None,
        sample_weight: Array | None = None,
        max_grad_norm: float | None = None,
        by_rows: bool = True,
    ) -> float:
        """See :class:`xpnet.backend.Step`. by_rows : whether losses are averaged by rows; ``epoch`` does by weights"""
        if not self.ranks.own_data and X.shape[0] and isinstance(self.group, SharedMemoryGroup):
            how: dict[str, Any] = {
                "by_rows": by_rows,
                "max_grad_norm": max_grad_norm,
                "group": self.group,
            }
            how |= {"learning_rate": learning_rate, "sample_weight": sample_weight}
            found = self.step.shared_memory_epoch(X, Y, **how, batch_size=batch_size, order=order)
            if found is not None:
                self.penalty = self.step.penalty
                return found
        loss, penalty, weights, count, done = 0.0, 0.0, 0.0, self.count_rows(X), 0
        for rows, part in self._shares(X, batch_size, order, sample_weight):
            size = min(batch_size, count - done)
            done += size
            if by_rows and not part.total_weight:
                continue
            weight = size if by_rows else part.total_weight
            loss += weight * self._add_up(X, Y, sample_weight, rows, part)
            penalty += weight * self.step.penalty
            weights += weight
            if max_grad_norm is not None:
                self.clip_gradients(max_grad_norm)
            self.step.update(learning_rate=learning_rate)
            if self.report is not None:
                self.report(done)
        weights = count if by_rows else weights
        loss, self.penalty = (
            total / weights if weights else 0.0 for total in self._sums(loss, penalty)
        )
        # On unlike processors the parameters of others differ from rank 0's in their last bits by now.
        self.params.update(self.ranks.broadcast(self.step.state().params))
        return loss

    def forward(self, X: Array) -> Array:
        """See :class:`xpnet.backend.Step`: outputs for these rows, on this rank alone."""
        return self.step.forward(X)

    def loss(
        self, X: Array, Y: Array, *, sample_weight: Array | None = None, rows: Any = None
    ) -> float:
        """See :class:`xpnet.backend.Step`."""
        mine, part = self._whole(X, rows, sample_weight)
        weights = (
            numpy.ones(X.shape[0])
            if sample_weight is None
            else self.backend.to_numpy(sample_weight)
        )
        own = float(weights[mine].sum())
        x, y, w, indices = _taken(X, Y, sample_weight, mine)
        mean = self.step.loss(x, y, sample_weight=w, rows=indices) if own else 0.0
        penalty = self.step.penalty if own else 0.0
        # A penalty over the rows is for those of this rank; every rank with rows knows the same one.
        per_row = own if self.spec.l2_over_batch else 1.0
        total, penalties, knowing = self._sums(
            own * (mean - penalty), per_row * penalty, float(own > 0)
        )
        weight = part.total_weight
        if not weight:
            self.penalty = 0.0
            return 0.0
        self.penalty = penalties / knowing / (weight if self.spec.l2_over_batch else 1.0)
        return total / weight + self.penalty

    def gradient(
        self,
        X: Array,
        Y: Array,
        *,
        sample_weight: Array | None = None,
        rows: Any = None,
        part: BatchPart | None = None,
    ) -> float:
        """See :class:`xpnet.backend.Step`. The rows of all ranks are always a whole batch."""
        assert part is None
        loss = self._add_up(X, Y, sample_weight, *self._whole(X, rows, sample_weight))
        loss, self.penalty = self._sums(loss, self.step.penalty)
        return loss

    def update(self, *, learning_rate: float) -> None:
        """See :class:`xpnet.backend.Step`: every rank makes the same."""
        self.step.update(learning_rate=learning_rate)

    def state(self) -> StepState:
        """See :class:`xpnet.backend.Step`."""
        return self.step.state()

    def load_state(self, state: StepState) -> None:
        """See :class:`xpnet.backend.Step`."""
        self.step.load_state(state)

    def snapshot(self) -> Callable[[], None]:
        """See :class:`xpnet.backend.Step`."""
        return self.step.snapshot()

    def count_rows(self, X: Array) -> int:
        """See :class:`xpnet.backend.Step`."""
        if self._counted[0] is not X:  # ranks are asked once for the same X
            counts = self.ranks.allgather(X.shape[0])
            self._counted = (
                X,
                sum(counts[: self.ranks.rank]) if self.ranks.own_data else 0,
                sum(counts),
            )
        return self._counted[2]

    def _shares(
        self, X: Array, batch_size: int, order: Any, sample_weight: Array | None
    ) -> Iterator[Share]:
        """Yield this rank's share of one batch after the other.

        order : (n,) int64, indices into the rows of all ranks; None for all, as they lie
        """
        weights, total = (
            None if sample_weight is None else self.backend.to_numpy(sample_weight),
            self.count_rows(X),
        )
        if self.ranks.own_data:
            rows = range(self._counted[1], self._counted[1] + X.shape[0])
            return _divide_by_owner(self.ranks, rows, total, batch_size, order, weights)
        return _divide_evenly(
            self.group, total if order is None else len(order), batch_size, order, weights
        )

    def _whole(self, X: Array, order: Any, sample_weight: Array | None) -> Share:
        """Return this rank's share where all rows, or those of ``order``, are one batch."""
        count = self.count_rows(X) if order is None else len(order)
        return (
            next(self._shares(X, count, order, sample_weight))
            if count
            else (slice(0, 0), BatchPart(0.0))
        )

    def _add_up(
        self, X: Array, Y: Array, sample_weight: Array | None, rows: Any, part: BatchPart
    ) -> float:
        """Make the gradients those of a batch, of which these rows are the share; returns their part of the loss."""
        x, y, w, indices = _taken(X, Y, sample_weight, rows)
        loss = self.step.gradient(x, y, sample_weight=w, rows=indices, part=part)
        gradients = self.step.gradients
        gradients.replace_groups([self._sum(array) for array in gradients.groups])
        return loss

    def _sum(self, array: Array) -> Array:
        """Return the sum of an array over the ranks, where it lives."""
        if library_of(array) in ("numpy", self.group.library):
            return self.group.allreduce(array)
        return self.backend.asarray(self.group.allreduce(self.backend.to_numpy(array)))

    def _sums(self, *numbers: float) -> list[float]:
        """Return the sum of each number over the ranks."""
        return self.group.allreduce(numpy.array(numbers, "float64")).tolist()


def _taken(
    X: Array, Y: Array, sample_weight: Array | None, rows: Any
) -> tuple[Array, Array, Array | None, Any]:
    """Return X, Y, weights and rows as a step takes them: a slice is cut off here, indices are left to the step."""
    if not isinstance(rows, slice):
        return X, Y, sample_weight, rows
    return X[rows, ...], Y[rows, ...], None if sample_weight is None else sample_weight[rows], None


def _divide_evenly(
    group: Group, count: int, batch_size: int, order: Any, weights: Any
) -> Iterator[Share]:
    """Every rank has all rows: each batch is cut into as many pieces as there are ranks."""
    rank, size, sums = group.rank, group.size, None
    if weights is not None:
        sums = _sums(
            numpy.arange(count) // batch_size, weights if order is None else weights[order]
        )
    for k, start in enumerate(range(0, count, batch_size)):
        n = min(batch_size, count - start)
        begin, end = start + n * rank // size, start + n * (rank + 1) // size
        total = n if sums is None else float(sums[k])
        part = BatchPart(total, first_row=begin - start, penalized=rank == 0)
        yield slice(begin, end) if order is None else order[begin:end], part


def _divide_by_owner(
    ranks: Ranks, rows: range, total: int, batch_size: int, order: Any, weights: Any
) -> Iterator[Share]:
    """Every rank has its own rows, and takes those of each batch that it has.

    rows : the places of this rank's rows among all, unless owners say where they are; total : the rows of all ranks
    """
    in_place = order is None and ranks.owners is None
    order = numpy.arange(total) if order is None else order
    if ranks.owners is None:
        lower, places = (
            order < rows.start,
            numpy.flatnonzero((order >= rows.start) & (order < rows.stop)),
        )
        own = order[places] - rows.start
    else:
        owner = ranks.owners.rank[order]
        lower, places = owner < ranks.rank, numpy.flatnonzero(owner == ranks.rank)
        own = ranks.owners.index[order[places]]
    starts = numpy.arange(0, len(order), batch_size)
    sums = numpy.minimum(batch_size, len(order) - starts)
    if weights is not None:
        sums = ranks.sum(_sums(places // batch_size, weights[own], len(starts)))
    edges = numpy.searchsorted(places, numpy.arange(0, len(order) + batch_size, batch_size))
    before = _sums(numpy.arange(len(order)) // batch_size, lower.astype("float64"))
    for k, total in enumerate(sums):
        mine = slice(edges[k], edges[k + 1])
        in_batch = places[mine] - k * batch_size
        part = BatchPart(
            float(total), first_row=int(before[k]), penalized=ranks.rank == 0, places=in_batch
        )
        yield mine if in_place else own[mine], part


def _sums(batch: Any, weights: Any, batches: int = 0) -> Any:
    """Return the sum of the weights of the rows of each batch."""
    # No rows at all are counted as whole numbers, weights or not.
    return numpy.bincount(batch, weights=weights, minlength=batches).astype("float64", copy=False)


def launched() -> str | None:
    """Name the launcher that has started this process as one of several; None for a process that was started alone."""
    for launcher, names in LAUNCHERS.items():
        if any(os.environ.get(name, "1") not in ("", "1") for name in names):
            return launcher
    return None
