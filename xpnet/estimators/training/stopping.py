"""When a fit ends: callbacks that measure each epoch, lower the learning rate, and stop, by
scikit-learn's rules.

They are transactional: their state is rolled back with the epoch. `Improvement` comes first; the
others ask it.

`xpnet.training.EarlyStopping` has another rule. It compares with the last epoch that was better by
``tol``; scikit-learn compares with the best epoch, however little better it was. So the two end
trainings at different epochs, and only this one finds scikit-learn's numbers.
"""

from collections.abc import Callable
from math import inf

import numpy

from xpnet.estimators.learning_rate import LearningRate
from xpnet.estimators.record import TrainingRecord
from xpnet.training import Callback, Training
from xpnet.typing import SavedState

Measure = Callable[[Training], float]
"""Returns how good an epoch is: greater is better."""


def negative_training_loss(training: Training) -> float:
    """Return the training loss of the last epoch, with a minus sign."""
    return -training.history.loss[-1]


def negative_validation_loss(training: Training) -> float:
    """Return the validation loss of the last epoch, with a minus sign."""
    return -training.history.validation_loss[-1]


class Rule(Callback):
    """A rule of scikit-learn's, whose state is rolled back with the epoch."""

    transactional = True

    def max_epochs_at_once(self) -> float:
        """See `Callback.max_epochs_at_once`: the rule acts when `Improvement` says that it may."""
        return inf


class Improvement(Rule):
    """Measures each epoch, and counts the epochs without improvement.

    record : the record of the training; measure : returns how good an epoch is
    tol : an epoch improves if it is better than the best by this at least
    patience : training stalls after more than this many epochs in a row without improvement
    parameters : returns the network's parameters, which are kept for the best score

    Attributes: measured, of the last epoch; stalled, whether training stalls
    """

    def __init__(
        self,
        record: TrainingRecord,
        measure: Measure,
        *,
        tol: float,
        patience: float,
        parameters: Callable[[], dict[str, numpy.ndarray]],
    ) -> None:
        self.record = record
        self.measure = measure
        self.tol = tol
        self.patience = patience
        self.parameters = parameters
        self.is_scored: bool = record.is_scored
        self.measured: float = 0.0
        self.stalled: bool = False

    def epoch_end(self, training: Training) -> None:
        """Measure the epoch, and compare it with the best one so far."""
        record = self.record
        best_loss = record.best_loss_
        best = record.best_validation_score_ if best_loss is None else -best_loss
        assert best is not None
        self.measured = self.measure(training)
        improved = not self.measured < best + self.tol
        record.no_improvement_count = 0 if improved else record.no_improvement_count + 1
        self.stalled = record.no_improvement_count > self.patience
        if not self.is_scored:
            record.best_loss_ = -max(best, self.measured)
            return
        if self.measured > best:
            record.best_parameters = self.parameters()
        assert record.validation_scores_ is not None
        # A new list: the one before is put back if the epoch is undone.
        record.validation_scores_ = [*record.validation_scores_, self.measured]
        record.best_validation_score_ = max(best, self.measured)

    def max_epochs_at_once(self) -> float:
        """See `Callback.max_epochs_at_once`: as many as can end before the training stalls. A score
        needs the network of each epoch.
        """
        if self.is_scored:
            return 1
        return max(self.patience - self.record.no_improvement_count + 1, 1)

    def state(self) -> dict[str, object]:
        """See `Callback.state`."""
        record = self.record
        return {
            "best_loss": record.best_loss_,
            "scores": record.validation_scores_,
            "best_score": record.best_validation_score_,
            "no_improvement": record.no_improvement_count,
            "best": record.best_parameters if self.is_scored else {},
        }

    def load_state(self, state: SavedState) -> None:
        """See `Callback.load_state`."""
        record = self.record
        record.best_loss_ = state["best_loss"]
        record.validation_scores_ = state["scores"]
        record.best_validation_score_ = state["best_score"]
        record.no_improvement_count = state["no_improvement"]
        record.best_parameters = state["best"]


class StopWhenStalled(Rule):
    """Ends the training when it stalls."""

    state_key = "Stopping"

    def __init__(self, improvement: Improvement) -> None:
        self.improvement = improvement

    def epoch_end(self, training: Training) -> None:
        """Stop the training if it stalls."""
        training.stop = training.stop or self.improvement.stalled


class AdaptiveLearningRate(Rule):
    """Lowers the learning rate when training stalls, and ends the training when it is too low for
    that.

    Attributes: lowered, the learning rate to which the last epoch has lowered it, or None
    """

    state_key = "Stopping"

    def __init__(self, improvement: Improvement, learning_rate: LearningRate) -> None:
        self.improvement = improvement
        self.learning_rate = learning_rate
        self.lowered: float | None = None

    def epoch_end(self, training: Training) -> None:
        """Lower the learning rate, or stop the training, if it stalls."""
        self.lowered = self.learning_rate.lowered() if self.improvement.stalled else None
        if self.lowered is not None:
            self.learning_rate.learning_rate = self.lowered
            self.improvement.record.no_improvement_count = 0
        elif self.improvement.stalled:
            training.stop = True


class LearningRateState(Rule):
    """Keeps the learning rate from epoch to epoch, and lowers it by the rows seen where it scales
    inversely.
    """

    def __init__(self, learning_rate: LearningRate, record: TrainingRecord) -> None:
        self.learning_rate = learning_rate
        self.record = record

    def epoch_end(self, training: Training) -> None:
        """Scale the learning rate by the rows seen."""
        self.learning_rate.scale_by_rows(self.record.t_)

    def max_epochs_at_once(self) -> float:
        """See `Callback.max_epochs_at_once`."""
        return 1 if self.learning_rate.schedule == "invscaling" else inf

    def state(self) -> dict[str, object]:
        """See `Callback.state`."""
        return {
            "learning_rate": self.learning_rate.learning_rate,
            "first_epoch": self.learning_rate.first_epoch,
        }

    def load_state(self, state: SavedState) -> None:
        """See `Callback.load_state`."""
        self.learning_rate.learning_rate = state["learning_rate"]
        self.learning_rate.first_epoch = state["first_epoch"]


class Counters(Rule):
    """Counts the epochs and the rows of a fit, and notes the last loss."""

    def __init__(self, record: TrainingRecord) -> None:
        self.record = record

    def epoch_end(self, training: Training) -> None:
        """Count the epoch and its rows."""
        self.record.n_iter_ += 1
        self.record.t_ += training.batches.rows
        self.record.loss_ = training.history.loss[-1]

    def state(self) -> dict[str, object]:
        """See `Callback.state`."""
        record = self.record
        return {
            "n_iter": record.n_iter_,
            "t": record.t_,
            "loss": getattr(record, "loss_", None),  # None before the first epoch
        }

    def load_state(self, state: SavedState) -> None:
        """See `Callback.load_state`."""
        self.record.n_iter_ = state["n_iter"]
        self.record.t_ = state["t"]
        if state["loss"] is not None:
            self.record.loss_ = state["loss"]
        elif hasattr(self.record, "loss_"):
            del self.record.loss_
