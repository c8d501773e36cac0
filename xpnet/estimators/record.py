"""The record of an estimator's training: counters, losses and scores, after each whole epoch."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy

if TYPE_CHECKING:
    from xpnet.training import History


class TrainingRecord:
    """The counters and scores of a training, under scikit-learn's names. A number that is not kept
    has no attribute.

    n_iter_ : epochs or iterations made
    t_ : rows seen
    loss_ : of the last epoch
    loss_curve_, validation_loss_curve_ : one number an epoch, the lists of the network's history
    best_loss_ : the lowest loss; None where scores decide when training ends
    validation_scores_, best_validation_score_ : one number an epoch, and the highest; None where
        losses decide
    no_improvement_count : epochs in a row without improvement
    best_parameters : those of the epoch with the best score, by name; not kept where losses decide
    """

    n_iter_: int
    t_: int
    loss_: float
    loss_curve_: list[float]
    validation_loss_curve_: list[float]
    best_loss_: float | None
    validation_scores_: list[float] | None
    best_validation_score_: float | None
    no_improvement_count: int
    best_parameters: dict[str, numpy.ndarray]

    @property
    def is_scored(self) -> bool:
        """Return whether scores decide when training ends."""
        return self.validation_scores_ is not None

    def begin_epochs(
        self,
        history: "History",
        *,
        scored: bool,
        parameters: Callable[[], dict[str, numpy.ndarray]],
    ) -> None:
        """Prepare for epochs; keep the numbers of earlier epochs only if these go on with them.

        history : of the network
        scored : whether scores decide when training ends, and not losses
        parameters : returns the network's parameters
        """
        if getattr(self, "loss_curve_", None) is not history.loss:  # the network has made no epochs
            self.loss_curve_ = history.loss
            self.validation_loss_curve_ = history.validation_loss
            self.no_improvement_count = 0
        elif scored == self.is_scored:
            return
        self.validation_scores_ = [] if scored else None
        self.best_validation_score_ = -numpy.inf if scored else None
        self.best_loss_ = None if scored else numpy.inf
        if scored:
            self.best_parameters = parameters()


class Recorded:
    """An attribute of an estimator that its TrainingRecord holds."""

    def __init__(self, name: str = "") -> None:
        self.name: str = name

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = self.name or name
        self.public_name = name

    def __get__(self, estimator: object, owner: type | None = None) -> Any:
        if estimator is None:
            return self
        record = vars(estimator).get("_record")
        if not hasattr(record, self.name):
            raise AttributeError(
                f"{type(estimator).__name__!r} object has no attribute {self.public_name!r}"
            )
        return getattr(record, self.name)

    def __set__(self, estimator: object, value: object) -> None:
        record = vars(estimator).setdefault("_record", TrainingRecord())
        setattr(record, self.name, value)
