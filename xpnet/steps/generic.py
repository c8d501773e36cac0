"""Weighted epochs and checked predictions for steps that have no such ability of their own."""

from functools import partial
from typing import Any

import numpy

from xpnet.backend import FinitePredictions, Parameters, ProgressReports, Step, WeightedEpochs
from xpnet.backend.step import PREDICTION_ROWS
from xpnet.ops import Array
from xpnet.typing import SparseMatrix


def weighted_epoch(
    step: Step,
    X: Array,
    Y: Array,
    *,
    learning_rate: float,
    batch_size: int,
    order: numpy.ndarray | None = None,
    sample_weight: Array | None = None,
    max_grad_norm: float | None = None,
) -> float:
    """Train for an epoch as `WeightedEpochs.weighted_epoch` does, with any step."""
    train = (
        step.weighted_epoch
        if isinstance(step, WeightedEpochs)
        else partial(weighted_epoch_by_batches, step)
    )
    return train(
        X,
        Y,
        learning_rate=learning_rate,
        batch_size=batch_size,
        order=order,
        sample_weight=sample_weight,
        max_grad_norm=max_grad_norm,
    )


def weighted_epoch_by_batches(
    step: Step,
    X: Array,
    Y: Array,
    *,
    learning_rate: float,
    batch_size: int,
    order: numpy.ndarray | None = None,
    sample_weight: Array | None = None,
    max_grad_norm: float | None = None,
) -> float:
    """Train for an epoch as `WeightedEpochs.weighted_epoch` does, by gradients and updates."""
    count = X.shape[0]
    total = 0.0
    penalty = 0.0
    order = numpy.arange(count) if order is None else order
    weights = None if sample_weight is None else step.backend.to_numpy(sample_weight)
    for start in range(0, count, batch_size):
        rows = order[start : start + batch_size]
        if weights is not None and not weights[rows].any():
            continue
        total += len(rows) * step.gradient(X, Y, sample_weight=sample_weight, rows=rows)
        penalty += len(rows) * step.penalty
        if max_grad_norm is not None:
            clip_gradients(step.gradients, max_grad_norm)
        step.update(learning_rate=learning_rate)
        report_rows(step, start + len(rows))
    step.penalty = penalty / count if count else 0.0
    return total / count if count else 0.0


def report_rows(step: Step, rows: int) -> None:
    """Report that a step has trained on a number of rows in this epoch, if somebody listens."""
    if isinstance(step, ProgressReports) and step.report is not None:
        step.report(rows)


def clip_gradients(gradients: Parameters, max_norm: float) -> None:
    """Clip the norm of all gradients together: scale them by min(1, max_norm / ||g||)."""
    arrays = gradients.groups
    norm = sum(float(gradients.backend.xp.sum(g * g)) for g in arrays) ** 0.5
    if norm > max_norm:
        gradients.replace_groups([g * (max_norm / norm) for g in arrays])


def forward_finite(step: Step, X: numpy.ndarray | SparseMatrix) -> Array | None:
    """Compute outputs as `FinitePredictions.forward_finite` does, with any step."""
    if isinstance(step, FinitePredictions):
        return step.forward_finite(X)
    outputs: list[Any] = []
    for start in range(0, max(X.shape[0], 1), PREDICTION_ROWS):
        rows = numpy.asarray(X[start : start + PREDICTION_ROWS], dtype=step.spec.dtype)
        if not numpy.isfinite(rows).all():
            return None
        outputs.append(step.forward(rows))
    return outputs[0] if len(outputs) == 1 else numpy.concatenate(outputs)
