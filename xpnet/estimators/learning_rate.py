"""The learning rate of an estimator, epoch by epoch."""

from collections.abc import Callable, Sequence

from xpnet.estimators.settings import FitSettings
from xpnet.optimizers import Cosine, OneCycle, Schedule

SCHEDULES: dict[str, Callable[..., Schedule]] = {"cosine": Cosine, "one_cycle": OneCycle}
"""Schedules that an estimator takes by name. Each is made from a learning rate and a number of
epochs.
"""

MIN_ADAPTIVE_RATE = 1e-6
"""Learning rate at or below which an adaptive learning rate ends the training, as in
scikit-learn.
"""

ADAPTIVE_DIVISOR = 5.0
"""Divisor of an adaptive learning rate when training no longer improves, as in scikit-learn."""


class LearningRate:
    """The learning rate of the next epoch.

    Estimators keep it as ``_optimizer``, the name that scikit-learn's own tests read.

    solver : the solver of the fit that made it
    learning_rate_init : of the first epoch
    learning_rate : of the next epoch
    power_t : exponent of ``"invscaling"``
    schedule : ``"constant"``, ``"invscaling"``, ``"adaptive"``, or a function that is called with
        the number of epochs that the fit has made and the list of their losses
    first_epoch : number of epochs in the network's history before the first epoch of the fit; None
        before that epoch
    """

    def __init__(self, settings: FitSettings) -> None:
        self.solver: str = settings.solver
        self.power_t: float = settings.power_t
        self.learning_rate_init: float = settings.learning_rate_init
        self.learning_rate: float = self.learning_rate_init
        self.schedule: str | Schedule = settings.learning_rate
        self.first_epoch: int | None = None
        if isinstance(self.schedule, str) and self.schedule in SCHEDULES:
            self.schedule = SCHEDULES[self.schedule](self.learning_rate, settings.max_iter)
        if self.schedule in ("invscaling", "adaptive") and self.solver != "sgd":
            self.schedule = "constant"  # as in scikit-learn

    @property
    def sees_losses(self) -> bool:
        """Whether the learning rate of an epoch depends on the losses before it, other than by the
        callbacks that lower it.
        """
        return callable(self.schedule) and getattr(self.schedule, "sees_losses", True)

    def __call__(self, epoch: int, losses: Sequence[float]) -> float:
        """Return the learning rate of the next epoch. epoch, losses : of all fits that the network
        has made
        """
        if self.first_epoch is None:
            self.first_epoch = epoch
        if callable(self.schedule):
            own_losses = losses[self.first_epoch :]
            self.learning_rate = float(self.schedule(epoch - self.first_epoch, own_losses))
        return self.learning_rate

    def lowered(self) -> float | None:
        """Return the adaptive learning rate that follows when training no longer improves; None if
        there is none.
        """
        if self.schedule != "adaptive" or self.learning_rate <= MIN_ADAPTIVE_RATE:
            return None
        return self.learning_rate / ADAPTIVE_DIVISOR

    def scale_by_rows(self, rows_seen: int) -> None:
        """Lower the learning rate by the number of rows seen in training, for ``"invscaling"``."""
        if self.schedule == "invscaling":
            self.learning_rate = self.learning_rate_init / (rows_seen + 1) ** self.power_t
