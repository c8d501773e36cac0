"""The loss of a network on validation rows."""

from contextlib import closing

import numpy

from xpnet.backend import Step
from xpnet.backend.spec import CLASS_LOSSES
from xpnet.data.sources import Source
from xpnet.learning.scores import log_losses
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


def validation_loss(step: Step, rows: LabeledRows) -> float:
    """Return the mean loss over validation rows, block by block where a source has them.

    Of classes it is the loss of the mean probabilities, which are what is predicted; the mean loss
    of the members would rise sooner. Of other losses it is the mean over the members.
    """
    if isinstance(rows.X, Source):
        total, weights = total_loss(step, rows)
        return total / weights
    if step.spec.loss not in CLASS_LOSSES:
        return step.loss(rows.X, rows.Y, sample_weight=rows.weight)
    to_numpy = step.backend.to_numpy
    probabilities = to_numpy(step.forward(rows.X))
    losses = log_losses(probabilities, to_numpy(rows.Y))
    weight = None if rows.weight is None else to_numpy(rows.weight)
    return float(numpy.average(losses, weights=weight))
