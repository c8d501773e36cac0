"""One epoch where the step's own does not do: with weights, with clipped gradients, over sparse rows."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from xpnet.backend import NetworkSpec, Parameters, Step
from xpnet.dispatch import Choice
from xpnet.estimators.inputs import Rows
from xpnet.ops import Array


def epoch_of(step: Step, home: Choice, *, max_grad_norm: float | None, batchwise: bool) -> Callable[..., float]:
    """A function with the signature of ``Step.epoch`` that returns the loss as scikit-learn reports it.

    batchwise : walk the batches here. scikit-learn averages their losses by their rows, the step by their weights.
    """
    if batchwise or max_grad_norm is not None:
        return BatchwiseEpoch(step, home, max_grad_norm)

    def fused(X: Array, Y: Array, **how: Any) -> float:
        return reported_loss(step.epoch(X, Y, **how), step.penalty, step.spec)

    return fused


def reported_loss(loss: float, penalty: float, spec: NetworkSpec) -> float:
    """scikit-learn's loss: it divides the squared error, though not its gradient, by the number of outputs."""
    return (loss - penalty) / spec.widths[-1] + penalty if spec.loss == "squared_error" else loss


@dataclass
class BatchwiseEpoch:
    """Batches one by one: gradient, clipping, update."""

    step: Step
    home: Choice
    max_grad_norm: float | None

    def __call__(
        self,
        X: Any,
        Y: Array,
        *,
        learning_rate: float,
        batch_size: int,
        order: Any = None,
        sample_weight: Array | None = None,
    ) -> float:
        """See :meth:`xpnet.backend.Step.epoch`. X may be sparse; a batch whose weights are all zero teaches nothing."""
        rows, total = Rows(X, Y, sample_weight), 0.0
        for batch in self._batches(rows, batch_size, order):
            if batch.weight is not None and not bool(self.home.backend.xp.any(batch.weight != 0)):
                continue
            loss = self._learn(batch, learning_rate)
            total += batch.count * reported_loss(loss, self.step.penalty, self.step.spec)
        return total / rows.count

    def _learn(self, batch: Rows, learning_rate: float) -> float:
        """One update from a batch; returns its loss."""
        X, Y, weight = batch.X, batch.Y, batch.weight
        if self.max_grad_norm is None:
            return self.step.epoch(X, Y, learning_rate=learning_rate, batch_size=batch.count, sample_weight=weight)
        loss = self.step.gradient(X, Y, sample_weight=weight)
        clip(self.step.gradients, self.max_grad_norm, self.home)
        self.step.update(learning_rate=learning_rate)
        return loss

    def _batches(self, rows: Rows, batch_size: int, order: Any) -> Iterator[Rows]:
        for start in range(0, rows.count, batch_size):
            end = min(start + batch_size, rows.count)
            if order is not None:
                yield rows.take(order[start:end], self.home)
            else:
                weight = None if rows.weight is None else rows.weight[start:end]
                yield Rows(rows.X[start:end, :], rows.Y[start:end, ...], weight)


def clip(gradients: Parameters, max_norm: float, home: Choice) -> None:
    """Scale all gradients by min(1, max_norm / ||g||), ||g|| over all of them (Pascanu, Mikolov, Bengio, 2013)."""
    groups = gradients.groups
    norm = sum(float(home.backend.xp.sum(g * g)) for g in groups) ** 0.5
    if norm > max_norm:
        gradients.replace_groups([g * (max_norm / norm) for g in groups])
