"""A training step on several ranks: each computes its part of every batch, and the gradients are added up.

Passed in are the rows that this rank has. ``order`` and ``rows`` count the rows of all ranks: where all have the
same rows that makes no difference; where each has its own, they lie one after the other in the order of the ranks.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from functools import cached_property
from typing import Any

import numpy

from xpnet.backend import Backend, BatchPart, Parameters, Step, StepState
from xpnet.backend.group import NearGroup
from xpnet.dispatch import Ranks, current_ranks
from xpnet.dispatch.choice import library_of
from xpnet.ops import Array
from xpnet.steps.shares import Share, divide, rows_of


def grouped(step: Step, backend: Backend) -> Step:
    """The step on the ranks that ``use_group`` asked for; the step itself where this process is alone.

    Parameters
    ----------
    step : Step
        What computes on this rank.
    backend : Backend
        Where its arrays live.

    Returns
    -------
    Step
        One whose ``epoch``, ``loss`` and ``gradient`` are those of the rows of all ranks.
    """
    ranks = current_ranks()
    return GroupedStep(step, backend, ranks) if ranks.several else step


class GroupedStep(Step):
    """A step around a step: see :class:`xpnet.backend.Step`, and the module's text for what rows are.

    Parameters
    ----------
    step : Step
        What computes on this rank.
    backend : Backend
        Where its arrays live.
    ranks : Ranks
        All that take part, two at least.

    Attributes
    ----------
    in_common : bool
        Whether the last epoch was computed in memory of all ranks: these have the same bits then.
    """

    def __init__(self, step: Step, backend: Backend, ranks: Ranks) -> None:
        assert ranks.group is not None
        self.step, self.ranks, self.group = step, ranks, ranks.group
        self.spec, self.params = step.spec, step.params
        self.in_common = False

    @cached_property
    def gradients(self) -> Parameters:
        """The gradients of all ranks' rows."""
        return self.step.gradients

    @property
    def why(self) -> str:
        """What runs here, and who adds up."""
        how = "batches shared in common memory" if self.in_common else "gradients added up"
        return f"{self.step.why}; {how} by {self.group.size} ranks of {self.group.why}"

    def running(self) -> AbstractContextManager[None]:
        """See :class:`xpnet.backend.Step`."""
        return self.step.running()

    def epoch(
        self,
        X: Array,
        Y: Array,
        *,
        learning_rate: float,
        batch_size: int,
        order: Any = None,
        sample_weight: Array | None = None,
    ) -> float:
        """See :class:`xpnet.backend.Step`."""
        common = self._common_epoch(X, Y, learning_rate, batch_size, order, sample_weight)
        self.in_common = common is not None
        if common is not None:
            return common
        shares: Iterable[Share] = self._shares(X, batch_size, order, sample_weight)
        if type(self.step).data_parallel_epoch is not Step.data_parallel_epoch:
            shares = list(shares)
            recorded = self._recorded_epoch(X, Y, sample_weight, shares, learning_rate)
            if recorded is not None:
                loss, self.penalty = recorded
                return loss
        loss = penalty = weights = 0.0
        for rows, part in shares:
            loss += part.total_weight * self._add_up(X, Y, sample_weight, rows, part)
            penalty += part.total_weight * self.step.penalty
            weights += part.total_weight
            self.step.update(learning_rate=learning_rate)
        loss, self.penalty = (float(total) / weights if weights else 0.0 for total in self._sums(loss, penalty))
        return loss

    def forward(self, X: Array) -> Array:
        """See :class:`xpnet.backend.Step`: outputs for these rows, on this rank alone."""
        return self.step.forward(X)

    def loss(self, X: Array, Y: Array, *, sample_weight: Array | None = None, rows: Any = None) -> float:
        """See :class:`xpnet.backend.Step`."""
        share = self._whole(X, rows, sample_weight)
        own, (x, y, w, indices) = self._weight_of(share.rows, sample_weight), _taken(X, Y, sample_weight, share.rows)
        mean = self.step.loss(x, y, sample_weight=w, rows=indices) if own else 0.0
        penalty = self.step.penalty if own else 0.0
        # A penalty over the rows is for those of this rank; every rank with rows knows the same one.
        per_row = own if self.spec.l2_over_batch else 1.0
        total, penalties, knowing = self._sums(own * (mean - penalty), per_row * penalty, float(own > 0))
        weight = share.part.total_weight
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
        share = self._whole(X, rows, sample_weight)
        loss = self._add_up(X, Y, sample_weight, share.rows, share.part)
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
        return self.ranks.count(X.shape[0])

    def batch_weights(self, X: Array, batch_size: int, order: Any, sample_weight: Array | None) -> list[float] | None:
        """See :class:`xpnet.backend.Step`."""
        if sample_weight is None:
            return None
        return [part.total_weight for _, part in self._shares(X, batch_size, order, sample_weight)]

    def _common_epoch(
        self, X: Array, Y: Array, learning_rate: float, batch_size: int, order: Any, sample_weight: Array | None
    ) -> float | None:
        """The loss of an epoch that the step computes in memory of all ranks; None for a step that does not, where
        there is no such memory, and where not every rank has all rows.
        """
        if self.ranks.own_data or not X.shape[0] or not isinstance(self.group, NearGroup):
            return None
        loss = self.step.shared_memory_epoch(
            X,
            Y,
            learning_rate=learning_rate,
            batch_size=batch_size,
            order=order,
            sample_weight=sample_weight,
            group=self.group,
        )
        self.penalty = self.step.penalty if loss is not None else self.penalty
        return loss

    def _recorded_epoch(
        self, X: Array, Y: Array, sample_weight: Array | None, shares: list[Share], learning_rate: float
    ) -> tuple[float, float] | None:
        """The loss of an epoch and its penalty, where the step adds up by itself what all ranks have computed.

        The step of ``xpnet_cupy`` does. None where it cannot.
        """
        found = self.step.data_parallel_epoch(
            X, Y, sample_weight=sample_weight, shares=shares, learning_rate=learning_rate, group=self.group
        )
        if found is None:
            return None
        (loss,), penalty = self._sums(found[0]), found[1]
        weight = sum(part.total_weight for _, part in shares)
        return (loss / weight + penalty, penalty) if weight else (0.0, 0.0)

    def _shares(self, X: Array, batch_size: int, order: Any, sample_weight: Array | None) -> Iterator[Share]:
        """This rank's share of one batch after the other."""
        rows = rows_of(self.ranks, X.shape[0])
        weights = None if sample_weight is None else self.backend.to_numpy(sample_weight)
        return divide(self.ranks, rows, batch_size, order, weights)

    def _whole(self, X: Array, order: Any, sample_weight: Array | None) -> Share:
        """This rank's share where all rows, or those of ``order``, are one batch."""
        rows = rows_of(self.ranks, X.shape[0])
        weights = None if sample_weight is None else self.backend.to_numpy(sample_weight)
        count = rows.total if order is None else len(order)
        return next(divide(self.ranks, rows, count, order, weights)) if count else Share(slice(0, 0), BatchPart(0.0))

    def _add_up(self, X: Array, Y: Array, sample_weight: Array | None, rows: Any, part: BatchPart) -> float:
        """Make the gradients those of a batch, of which these rows are the share; returns their part of the loss."""
        x, y, w, indices = _taken(X, Y, sample_weight, rows)
        loss = self.step.gradient(x, y, sample_weight=w, rows=indices, part=part)
        gradients = self.step.gradients
        gradients.replace_groups([self._sum(array) for array in gradients.groups])
        return loss

    def _sum(self, array: Array) -> Array:
        """The sum of an array over the ranks, where it lives."""
        if library_of(array) in ("numpy", self.group.library):
            return self.group.sum(array)
        return self.backend.asarray(self.group.sum(self.backend.to_numpy(array)))

    def _sums(self, *numbers: float) -> list[float]:
        """The sum of each number over the ranks."""
        return self.group.sum(numpy.array(numbers, "float64")).tolist()

    def _weight_of(self, rows: Any, sample_weight: Array | None) -> float:
        """The weight of some rows that this rank has."""
        if sample_weight is not None:
            return float(self.backend.to_numpy(sample_weight)[rows].sum())
        return float(rows.stop - rows.start if isinstance(rows, slice) else len(rows))


def _taken(X: Array, Y: Array, sample_weight: Array | None, rows: Any) -> tuple[Array, Array, Array | None, Any]:
    """X, Y, sample_weight and rows as a step takes them: a slice is cut off here, indices are left to the step."""
    if not isinstance(rows, slice):
        return X, Y, sample_weight, rows
    return X[rows, ...], Y[rows, ...], None if sample_weight is None else sample_weight[rows], None
