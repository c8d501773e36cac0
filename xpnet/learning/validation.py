"""The loss of a network on validation rows."""

from contextlib import closing

from xpnet.backend import Step
from xpnet.training import LabeledRows


def total_loss(step: Step, rows: LabeledRows) -> tuple[float, float]:
    """Return the sum of the losses of rows times their weights, without the penalty, and the sum of
    the weights.
    """
    total = 0.0
    weights = 0.0
    with closing(rows.parts(step.backend, step.spec.dtype)) as parts:
        for part in parts:
            if part.weight is None:
                weight = float(part.count)
            else:
                weight = float(step.backend.to_numpy(part.weight).sum())
            if weight:
                loss = step.loss(part.X, part.Y, sample_weight=part.weight) - step.penalty
                total += weight * loss
                weights += weight
    return total, weights
