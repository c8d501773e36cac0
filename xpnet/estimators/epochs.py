"""One epoch where the step's own does not do: with weights, or with clipped gradients."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy

from xpnet.backend import Backend, NetworkSpec, Parameters, Step
from xpnet.dispatch import current_ranks
from xpnet.ops import Array
from xpnet.steps import GroupedStep


def epoch_of(step: Step, backend: Backend, *, max_grad_norm: float | None, weighted: bool) -> Callable[..., float]:
    """A function with the signature of ``Step.epoch`` that returns the loss as scikit-learn reports it.

    weighted : scikit-learn averages the losses of batches by their rows, a step's ``epoch`` by their weights
    """
    if weighted or max_grad_norm is not None:
        batchwise = BatchwiseEpoch(step, backend, max_grad_norm)
        if max_grad_norm is None and (compiled := getattr(step, "epoch_by_batch_rows", None)):
            return WeightedEpoch(step, compiled, batchwise)
        return batchwise
    if step.spec.loss != "squared_error":
        return step.epoch

    def scaled(X: Array, Y: Array, **how: Any) -> float:
        return reported_loss(step.epoch(X, Y, **how), step.penalty, step.spec)

    return scaled


def reported_loss(loss: float, penalty: float, spec: NetworkSpec) -> float:
    """scikit-learn's loss: it divides the squared error, though not its gradient, by the number of outputs."""
    return (loss - penalty) / spec.widths[-1] + penalty if spec.loss == "squared_error" else loss


@dataclass
class BatchwiseEpoch:
    """Batches one by one: gradient, clipping, update.

    report : see :class:`xpnet.backend.step.ReportingStep`
    """

    step: Step
    backend: Backend
    max_grad_norm: float | None
    report: Callable[[int], None] | None = None

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
        step, count, total = self.step, current_ranks().count(X.shape[0]), 0.0
        order = numpy.arange(count) if order is None else order
        weights = self._batch_weights(X, batch_size, order, sample_weight)
        for k, start in enumerate(range(0, count, batch_size)):
            rows = order[start : start + batch_size]
            if weights is not None and not weights[k]:
                continue
            loss = step.gradient(X, Y, sample_weight=sample_weight, rows=rows)
            total += len(rows) * reported_loss(loss, step.penalty, step.spec)
            if self.max_grad_norm is not None:
                clip(step.gradients, self.max_grad_norm, self.backend)
            step.update(learning_rate=learning_rate)
            if self.report is not None:
                self.report(start + len(rows))
        return total / count

    def _batch_weights(self, X: Any, batch_size: int, order: Any, sample_weight: Array | None) -> Any:
        """The sum of the weights of each batch; None where rows have none."""
        if sample_weight is None:
            return None
        if isinstance(self.step, GroupedStep):
            return self.step.batch_weights(X, batch_size, order, sample_weight)
        weights = self.backend.to_numpy(sample_weight)[order]
        return numpy.add.reduceat(weights, range(0, len(weights), batch_size))


@dataclass
class WeightedEpoch:
    """An epoch of the step's own, or batch by batch where the step cannot since the weights of a batch are all zero.

    epoch : of a step that counts batches by their rows
    """

    step: Step
    epoch: Callable[..., float | None]
    batchwise: BatchwiseEpoch

    def __call__(self, X: Any, Y: Array, **how: Any) -> float:
        """See :meth:`xpnet.backend.Step.epoch`."""
        loss = self.epoch(X, Y, **how)
        if loss is None:
            return self.batchwise(X, Y, **how)
        return reported_loss(loss, self.step.penalty, self.step.spec)


def clip(gradients: Parameters, max_norm: float, backend: Backend) -> None:
    """Scale all gradients by min(1, max_norm / ||g||), ||g|| over all of them (Pascanu, Mikolov, Bengio, 2013)."""
    groups = gradients.groups
    norm = sum(float(backend.xp.sum(g * g)) for g in groups) ** 0.5
    if norm > max_norm:
        gradients.replace_groups([g * (max_norm / norm) for g in groups])
