"""An epoch as scikit-learn makes and measures it: its loss, and the score on validation rows."""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any, Unpack

import numpy

from xpnet.backend import NetworkSpec, SeveralEpochs, Step
from xpnet.distributed import Ranks
from xpnet.learning.validation import total_loss
from xpnet.models import Network
from xpnet.ops import Array
from xpnet.steps import weighted_epoch
from xpnet.training import LabeledRows, Training
from xpnet.training.batches import OrderedBatches
from xpnet.training.streamed import SourceRows


def reported_loss(loss: float, penalty: float, spec: NetworkSpec) -> float:
    """Convert a loss into scikit-learn's, which divides the squared error, not its gradient, by the
    outputs' number.
    """
    return (loss - penalty) / spec.widths[-1] + penalty if spec.loss == "squared_error" else loss


def run_epoch(
    step: Step,
    X: Array,
    Y: Array,
    *,
    sample_weight: Array | None,
    max_grad_norm: float | None,
    **settings: Unpack[OrderedBatches],
) -> float:
    """Make an epoch with a step, and return the loss as scikit-learn reports it.

    scikit-learn averages the losses of batches by their rows; ``Step.epoch`` averages them by their
    weights.

    settings : the further arguments of ``Step.epoch``
    """
    if sample_weight is None and max_grad_norm is None:
        loss = step.epoch(X, Y, **settings)
    else:
        loss = weighted_epoch(
            step, X, Y, sample_weight=sample_weight, max_grad_norm=max_grad_norm, **settings
        )
    return reported_loss(loss, step.penalty, step.spec)


def run_epochs(
    step: SeveralEpochs,
    X: Array,
    Y: Array,
    *,
    sample_weight: None,
    **settings: Any,
) -> list[float]:
    """Make several epochs of rows without weights; return their losses as scikit-learn reports
    them.

    settings : the further arguments of ``SeveralEpochs.epochs``
    """
    losses = step.epochs(X, Y, **settings)
    return [
        reported_loss(loss, penalty, step.spec)
        for loss, penalty in zip(losses, step.penalties, strict=True)
    ]


Score = Callable[[numpy.ndarray, numpy.ndarray, numpy.ndarray | None], float]
"""A function of targets, outputs and weights that says how good predictions are: greater is better.
"""


class Validation:
    """Validation rows: the loss and the score of a network on them, over all processes that train
    together.

    rows : the validation rows of this process; network : the network that is measured
    ranks : the processes; score : measures outputs of the network
    """

    def __init__(self, rows: LabeledRows, network: Network, ranks: Ranks, score: Score) -> None:
        self.rows = rows
        is_divided = isinstance(rows, SourceRows) and ranks.several  # each measures some blocks
        self.ranks: Ranks = replace(ranks, data="own") if is_divided else ranks
        self.score_outputs = score
        self.step: Step = network.exclusively(network.step_for, rows.X)

    def loss(self) -> float:
        """Measure the mean loss, without the penalty."""
        total, weights = total_loss(self.step, self.rows)
        loss = self.ranks.mean(total / weights if weights else 0.0, weights)
        return reported_loss(loss, 0.0, self.step.spec)

    def score(self, training: Training) -> float:
        """Measure the score of the predictions; NaN where they are not finite, for which scorers
        raise errors.
        """
        targets, outputs, weight = _joined(self.ranks.allgather(_joined(self._outputs())))
        if not numpy.isfinite(outputs).all():
            return numpy.nan
        return self.score_outputs(targets, outputs, weight)

    def _outputs(self) -> list[Sequence[numpy.ndarray | None]]:
        """Return targets, outputs and weights of each piece of the rows, as arrays of NumPy."""
        step = self.step
        to_numpy = step.backend.to_numpy
        pieces: list[Sequence[numpy.ndarray | None]] = []
        with closing(self.rows.parts(step.backend, step.spec.dtype)) as parts:
            for part in parts:
                weight = None if part.weight is None else to_numpy(part.weight)
                pieces.append((to_numpy(part.Y), to_numpy(step.forward(part.X)), weight))
        return pieces


def _joined(pieces: Sequence[Sequence[numpy.ndarray | None]]) -> Sequence[Any]:
    """Join the arrays that stand at the same place of every piece; None where there are none."""
    return [
        None if arrays[0] is None else numpy.concatenate(arrays)
        for arrays in zip(*pieces, strict=True)
    ]
