"""The last epochs of a network on all rows, after its validation rows have shown the best epoch.

Validation rows are rows that a network does not learn from. Once they have shown when to stop, the
network goes on for a few epochs with them among the training rows, from its best epoch. What is
measured on the validation rows, such as intervals and temperatures, is measured before that.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy

from xpnet.backend.parameters import Parameters
from xpnet.models import Network
from xpnet.optimizers import Constant
from xpnet.tabular.ensemble.training_on_rows import train_in_batches
from xpnet.training import (
    Callback,
    History,
    LabeledRows,
    TimeLimit,
    Training,
)
from xpnet.training.callbacks import CallbackLike

EPOCH_DECAY = 0.7
"""Weight of an epoch in the mean of the parameters, relative to the epoch after it."""
MIN_REFIT_EPOCHS = 3
"""Minimum number of epochs on all rows, unless the best epoch comes sooner."""

MAX_GAP = 0.3
"""Largest difference of the validation loss and the training loss of the best epoch, relative to
the loss of a constant prediction, with which epochs on all rows are made. With a larger one a
network of few rows and many columns learns its rows by heart, and would do so with all rows."""


class ParameterMean:
    """The mean of the parameters over the epochs, in which the last epochs count most.

    It predicts better than the parameters of a single epoch. (Polyak, Juditsky, Acceleration of
    Stochastic Approximation by Averaging, 1992.)

    params : the mean, empty before the first epoch; weights : the sum of the weights in it
    """

    def __init__(
        self, params: dict[str, numpy.ndarray] | None = None, weights: float = 0.0
    ) -> None:
        self.params: dict[str, numpy.ndarray] = params or {}
        self.weights: float = weights

    @classmethod
    def of_epochs(cls, params: dict[str, numpy.ndarray], epochs: int) -> "ParameterMean":
        """Return a mean over a number of epochs, which goes on with further ones."""
        return cls(params, (1 - EPOCH_DECAY**epochs) / (1 - EPOCH_DECAY))

    def add(self, params: dict[str, numpy.ndarray]) -> dict[str, numpy.ndarray]:
        """Add the parameters of an epoch; return the mean."""
        self.weights = self.weights * EPOCH_DECAY + 1
        share = 1 / self.weights
        before = self.params or params
        self.params = {
            name: before[name] + (value - before[name]) * share for name, value in params.items()
        }
        return self.params

    @contextmanager
    def with_epoch(self, params: Parameters) -> Iterator[None]:
        """Add the parameters of an epoch. Within the block the network has the mean."""
        current = params.to_host()
        params.update(self.add(current))
        try:
            yield
        finally:
            params.update(current)


class LastMean(Callback):
    """Gives a network the mean of its parameters over the epochs when the training ends.

    epochs : the epochs over which the parameters with which the training begins are a mean; this
        mean goes on. 0 begins a new one.
    """

    def __init__(self, epochs: int = 0) -> None:
        self.epochs = epochs

    def train_begin(self, training: Training) -> None:
        """Begin with the mean of earlier epochs, or with none."""
        before = training.step.params.to_host() if self.epochs else {}
        self.mean: ParameterMean = ParameterMean.of_epochs(before, self.epochs)

    def epoch_end(self, training: Training) -> None:
        """Add the parameters of the epoch."""
        self.mean.add(training.step.params.to_host())

    def train_end(self, training: Training) -> None:
        """Replace the parameters by their mean."""
        with training.lock.calls:
            training.step.params.update(self.mean.params)


def refit_epochs(best_epoch: int, share: float, history: History, classes: int) -> int:
    """Return the number of epochs on all rows, at most as many as up to the best one.

    share : of them, relative to the epochs up to the best one; history : with validation losses
    classes : number of classes, 1 for numbers, whose targets have a variance of 1
    """
    losses = history.validation_loss
    of_constant = min(abs(losses[0]), math.log(classes) if classes > 1 else 1.0)
    gap = losses[best_epoch - 1] - history.loss[best_epoch - 1]
    if gap > MAX_GAP * of_constant:
        return 0
    return min(best_epoch, max(MIN_REFIT_EPOCHS, round(share * best_epoch)))


def refit(
    network: Network,
    rows: LabeledRows,
    *,
    epochs: int,
    best_epoch: int,
    batch_size: int,
    learning_rate: float,
    seconds: float,
    callbacks: Sequence[CallbackLike],
) -> None:
    """Train a network on, on all rows; its history says nothing of these epochs.

    The mean of the parameters goes on with these epochs, and so the parameters of the best epoch
    keep a part in it: a network that stopped early, since it learned its rows by heart, would go on
    doing so.

    best_epoch : over the epochs up to which the parameters are a mean
    seconds : after which the training ends with the epoch under way
    """
    train_in_batches(
        network,
        rows,
        batch_size=batch_size,
        epochs=epochs,
        schedule=Constant(learning_rate),
        callbacks=[*callbacks, TimeLimit(seconds), LastMean(best_epoch)],
        history=History(),
    )
