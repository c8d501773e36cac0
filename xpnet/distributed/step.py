"""A training step on several ranks: each computes its part of every batch, and the gradients are
added up.

``distributed_step`` puts a step around the step that computes on this rank. It is given the rows
that this rank has. ``order`` and ``rows`` count the rows of all ranks: where all have the same rows
that makes no difference; where each has its own, they lie one after the other in the order of the
ranks, or as ``Ranks.shard_map`` says.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy

from xpnet.backend import (
    BatchPart,
    EpochRows,
    Group,
    NetworkSpec,
    Parameters,
    ProgressReports,
    SharedMemoryEpochs,
    Step,
    StepState,
    WeightedEpochs,
)
from xpnet.backend.group import SharedMemoryGroup
from xpnet.dispatch.choose import library_of
from xpnet.distributed.ranks import Ranks, ShardMap, current_ranks
from xpnet.ops import Array
from xpnet.steps import clip_gradients, report_rows


class Share(NamedTuple):
    """The rows of a batch that one rank computes.

    rows : (n,) int64, indices into the rows that the rank has, or a slice of them
    part : the place of these rows in the batch
    """

    rows: numpy.ndarray | slice
    part: BatchPart


class RowCounts(NamedTuple):
    """The numbers of rows of the ranks, which are asked once for the same X.

    X : the rows of this rank that were counted; None before any were
    before : number of rows of the ranks before this one; 0 where all have the same rows
    total : number of rows of all ranks
    """

    X: Array | None = None
    before: int = 0
    total: int = 0


class StepRows(NamedTuple):
    """Rows as the methods of a step take them.

    rows : (n,) int64, the rows of X that are used; None for all
    """

    X: Array
    Y: Array
    sample_weight: Array | None
    rows: numpy.ndarray | None


def distributed_step(step: Step) -> Step:
    """Return the step on the ranks that ``use_group`` asked for; the step itself where this process
    is alone.

    step : the step that computes on this rank
    returns one whose ``epoch``, ``loss`` and ``gradient`` are those of the rows of all ranks
    """
    ranks = current_ranks()
    return DistributedStep(step, ranks) if ranks.several else step


def count_rows(step: Step, X: Array) -> int:
    """Return the number of rows to train on, in all processes that train together."""
    return step.count_rows(X) if isinstance(step, DistributedStep) else int(X.shape[0])


def broadcast_state(step: Step) -> None:
    """Copy the parameters and the optimizer state of rank 0 to all processes that train."""
    if isinstance(step, DistributedStep):
        step.broadcast_state()


def how_distributed(step: Step) -> str:
    """Describe on which processes a step trains; the text is empty for this process alone."""
    return step.why_distributed if isinstance(step, DistributedStep) else ""


class DistributedStep(ProgressReports, WeightedEpochs):
    """A step around a step: see :class:`xpnet.backend.Step`, and the module's text for what rows
    are.

    step : the step that computes on this rank
    ranks : all that take part, two at least
    """

    def __init__(self, step: Step, ranks: Ranks) -> None:
        assert ranks.group is not None
        self.step: Step = step
        self.ranks: Ranks = ranks
        self.group: Group = ranks.group
        self.spec: NetworkSpec = step.spec
        self.params: Parameters = step.params
        self._counts: RowCounts = RowCounts()

    @cached_property
    def gradients(self) -> Parameters:
        """Return the gradients of all ranks' rows."""
        return self.step.gradients

    @property
    def why(self) -> str:
        """See :class:`xpnet.backend.Step`."""
        return f"{self.step.why}; {self.why_distributed}"

    @property
    def why_distributed(self) -> str:
        """Describe on which ranks the step trains, and where their gradients are added up."""
        if self._is_added_in_place(next(iter(self.params.values()))):
            return self.ranks.why
        return f"{self.ranks.why}, whose gradients are added up on the host"

    def running(self) -> AbstractContextManager[None]:
        """See :class:`xpnet.backend.Step`."""
        return self.step.running()

    def across(self, shard_map: ShardMap, X: Array) -> "DistributedStep":
        """Return this step for rows of which each rank has its own.

        shard_map : of each row of all ranks; X : (own, in), those of this rank
        """
        ranks = replace(self.ranks, data="own", shard_map=shard_map)
        step = DistributedStep(self.step, ranks)
        step._counts = RowCounts(X, 0, len(shard_map.rank))
        return step

    def broadcast_state(self) -> None:
        """Copy the parameters and the optimizer state of rank 0 to all ranks."""
        state = self.ranks.broadcast(self.step.state())
        if self.ranks.rank:
            self.step.load_state(state)

    def epoch(self, X: Array, Y: Array, **settings: Any) -> float:
        """See :class:`xpnet.backend.Step`."""
        return self._epoch(X, Y, **settings, is_row_mean=False)

    def weighted_epoch(self, X: Array, Y: Array, **settings: Any) -> float:
        """See :class:`xpnet.backend.WeightedEpochs`."""
        return self._epoch(X, Y, **settings, is_row_mean=True)

    def _epoch(
        self,
        X: Array,
        Y: Array,
        *,
        learning_rate: float,
        batch_size: int,
        order: numpy.ndarray | None = None,
        sample_weight: Array | None = None,
        max_grad_norm: float | None = None,
        is_row_mean: bool,
    ) -> float:
        """Make an epoch. is_row_mean : whether batches count by their rows, not by their weights"""
        mean_loss = self._shared_memory_epoch(
            EpochRows(X, Y, batch_size, order, sample_weight),
            learning_rate=learning_rate,
            is_row_mean=is_row_mean,
            max_grad_norm=max_grad_norm,
        )
        if mean_loss is not None:
            return mean_loss
        loss = 0.0
        penalty = 0.0
        weights = 0.0
        count = self.count_rows(X)
        done = 0
        for rows, part in self._shares(X, batch_size, order, sample_weight):
            size = min(batch_size, count - done)
            done += size
            if is_row_mean and not part.total_weight:
                continue
            weight = size if is_row_mean else part.total_weight
            loss += weight * self._add_up(X, Y, sample_weight, rows, part)
            penalty += weight * self.step.penalty
            weights += weight
            if max_grad_norm is not None:
                clip_gradients(self.gradients, max_grad_norm)
            self.step.update(learning_rate=learning_rate)
            report_rows(self, done)
        weights = count if is_row_mean else weights
        loss, self.penalty = (
            total / weights if weights else 0.0 for total in self._sums(loss, penalty)
        )
        # On unlike processors the parameters of others differ from rank 0's in their last bits by
        # now.
        self.params.update(self.ranks.broadcast(self.step.state().params))
        return loss

    def _shared_memory_epoch(self, rows: EpochRows, **settings: Any) -> float | None:
        """Make an epoch in memory that all ranks share; None where they have no such memory.

        settings : the further arguments of ``SharedMemoryEpochs.shared_memory_epoch``
        """
        group = self.group
        step = self.step
        if not isinstance(group, SharedMemoryGroup) or not isinstance(step, SharedMemoryEpochs):
            return None
        if self.ranks.sharded or not rows.X.shape[0]:
            return None
        mean_loss = step.shared_memory_epoch(rows, group=group, **settings)
        if mean_loss is not None:
            self.penalty = step.penalty
        return mean_loss

    def forward(self, X: Array) -> Array:
        """See :class:`xpnet.backend.Step`: outputs for these rows, on this rank alone."""
        return self.step.forward(X)

    def loss(
        self,
        X: Array,
        Y: Array,
        *,
        sample_weight: Array | None = None,
        rows: numpy.ndarray | None = None,
    ) -> float:
        """See :class:`xpnet.backend.Step`."""
        mine, part = self._whole(X, rows, sample_weight)
        weights = (
            numpy.ones(X.shape[0])
            if sample_weight is None
            else self.backend.to_numpy(sample_weight)
        )
        own = float(weights[mine].sum())
        mean = 0.0
        penalty = 0.0
        if own:
            step_rows = _rows_for_step(X, Y, sample_weight, mine)
            mean = self.step.loss(
                step_rows.X, step_rows.Y, sample_weight=step_rows.sample_weight, rows=step_rows.rows
            )
            penalty = self.step.penalty
        # A penalty over the rows is for those of this rank; each rank with rows knows the same one.
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
        rows: numpy.ndarray | None = None,
        part: BatchPart | None = None,
    ) -> float:
        """See :class:`xpnet.backend.Step`. The rows of all ranks are always a whole batch."""
        assert part is None
        loss = self._add_up(X, Y, sample_weight, *self._whole(X, rows, sample_weight))
        mean_loss, penalty = self._sums(loss, self.step.penalty)
        self.penalty: float = penalty
        return mean_loss

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
        """Return the number of rows of all ranks. X : (own, in), the rows of this rank"""
        if self._counts.X is not X:
            counts = self.ranks.allgather(X.shape[0])
            before = sum(counts[: self.ranks.rank]) if self.ranks.sharded else 0
            self._counts = RowCounts(X, before, sum(counts))
        return self._counts.total

    def _shares(
        self, X: Array, batch_size: int, order: numpy.ndarray | None, sample_weight: Array | None
    ) -> Iterator[Share]:
        """Yield this rank's share of one batch after the other.

        order : (n,) int64, indices into the rows of all ranks; None for all, in their order
        """
        weights = None if sample_weight is None else self.backend.to_numpy(sample_weight)
        total = self.count_rows(X)
        if self.ranks.sharded:
            before = self._counts.before
            rows = range(before, before + X.shape[0])
            return _divide_by_owner(self.ranks, rows, total, batch_size, order, weights)
        return _divide_evenly(
            self.group, total if order is None else len(order), batch_size, order, weights
        )

    def _whole(self, X: Array, order: numpy.ndarray | None, sample_weight: Array | None) -> Share:
        """Return this rank's share where all rows, or those of ``order``, are one batch."""
        count = self.count_rows(X) if order is None else len(order)
        return (
            next(self._shares(X, count, order, sample_weight))
            if count
            else Share(slice(0, 0), BatchPart(0.0))
        )

    def _add_up(
        self,
        X: Array,
        Y: Array,
        sample_weight: Array | None,
        rows: numpy.ndarray | slice,
        part: BatchPart,
    ) -> float:
        """Make the gradients those of a batch, of which these rows are the share; returns their
        part of the loss.
        """
        step_rows = _rows_for_step(X, Y, sample_weight, rows)
        loss = self.step.gradient(
            step_rows.X,
            step_rows.Y,
            sample_weight=step_rows.sample_weight,
            rows=step_rows.rows,
            part=part,
        )
        gradients = self.step.gradients
        gradients.replace_groups([self._sum(array) for array in gradients.groups])
        return loss

    def _sum(self, array: Array) -> Array:
        """Return the sum of an array over the ranks, where it lives."""
        if self._is_added_in_place(array):
            return self.group.allreduce(array)
        return self.backend.asarray(self.group.allreduce(self.backend.to_numpy(array)))

    def _is_added_in_place(self, array: Array) -> bool:
        """Return whether the group adds up an array where it lives."""
        return library_of(array) in ("numpy", self.group.library)

    def _sums(self, *numbers: float) -> list[float]:
        """Return the sum of each number over the ranks."""
        return self.group.allreduce(numpy.array(numbers, "float64")).tolist()


def _rows_for_step(
    X: Array, Y: Array, sample_weight: Array | None, rows: numpy.ndarray | slice
) -> StepRows:
    """Return rows as a step takes them: a slice is taken here, indices are left to the step."""
    if not isinstance(rows, slice):
        return StepRows(X, Y, sample_weight, rows)
    weight = None if sample_weight is None else sample_weight[rows]
    return StepRows(X[rows, ...], Y[rows, ...], weight, None)


def _divide_evenly(
    group: Group,
    count: int,
    batch_size: int,
    order: numpy.ndarray | None,
    weights: numpy.ndarray | None,
) -> Iterator[Share]:
    """Every rank has all rows: each batch is cut into as many pieces as there are ranks."""
    rank = group.rank
    size = group.size
    sums = None
    if weights is not None:
        sums = _sums(
            numpy.arange(count) // batch_size, weights if order is None else weights[order]
        )
    for k, start in enumerate(range(0, count, batch_size)):
        n = min(batch_size, count - start)
        begin, end = start + n * rank // size, start + n * (rank + 1) // size
        total = n if sums is None else float(sums[k])
        part = BatchPart(total, first_row=begin - start, penalized=rank == 0)
        yield Share(slice(begin, end) if order is None else order[begin:end], part)


def _divide_by_owner(
    ranks: Ranks,
    own_range: range,
    total: int,
    batch_size: int,
    order: numpy.ndarray | None,
    weights: numpy.ndarray | None,
) -> Iterator[Share]:
    """Every rank has its own rows, and takes those of each batch that it has.

    own_range : the positions of this rank's rows among all, unless a shard map gives them
    total : number of rows of all ranks
    """
    in_given_order = order is None and ranks.shard_map is None
    order = numpy.arange(total) if order is None else order
    owned = _owned_rows(ranks, own_range, order)
    starts = numpy.arange(0, len(order), batch_size)
    batch_weights = numpy.minimum(batch_size, len(order) - starts)
    if weights is not None:
        own_weights = _sums(owned.positions // batch_size, weights[owned.indices], len(starts))
        batch_weights = ranks.sum(own_weights)
    ends = numpy.arange(0, len(order) + batch_size, batch_size)
    edges = numpy.searchsorted(owned.positions, ends)
    rows_before = _sums(numpy.arange(len(order)) // batch_size, owned.before.astype("float64"))
    for batch, batch_weight in enumerate(batch_weights):
        own = slice(edges[batch], edges[batch + 1])
        part = BatchPart(
            float(batch_weight),
            first_row=int(rows_before[batch]),
            penalized=ranks.rank == 0,
            places=owned.positions[own] - batch * batch_size,
        )
        yield Share(own if in_given_order else owned.indices[own], part)


class _OwnedRows(NamedTuple):
    """The rows of this rank in an order of all rows.

    positions : (own,) int64, their positions in the order
    indices : (own,) int64, their indices among this rank's rows
    before : (n,) bool, whether a row of the order belongs to a rank before this one
    """

    positions: numpy.ndarray
    indices: numpy.ndarray
    before: numpy.ndarray


def _owned_rows(ranks: Ranks, own_range: range, order: numpy.ndarray) -> _OwnedRows:
    """Return this rank's rows in an order. order : (n,) int64, positions among the rows of all
    ranks
    """
    if ranks.shard_map is None:
        is_own = (order >= own_range.start) & (order < own_range.stop)
        positions = numpy.flatnonzero(is_own)
        return _OwnedRows(positions, order[positions] - own_range.start, order < own_range.start)
    owner = ranks.shard_map.rank[order]
    positions = numpy.flatnonzero(owner == ranks.rank)
    return _OwnedRows(positions, ranks.shard_map.index[order[positions]], owner < ranks.rank)


def _sums(batch: numpy.ndarray, weights: numpy.ndarray, batches: int = 0) -> numpy.ndarray:
    """Return the sum of the weights of the rows of each batch."""
    # No rows at all are counted as whole numbers, weights or not.
    return numpy.bincount(batch, weights=weights, minlength=batches).astype("float64", copy=False)
