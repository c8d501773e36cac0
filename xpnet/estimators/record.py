"""The record of an estimator's training: counters, losses and scores, after each whole epoch."""

from collections.abc import Callable

import numpy

from xpnet.typing import SavedState


class TrainingRecord:
    """The counters and scores of a training, under scikit-learn's names. A number that is not kept
    has no attribute.

    n_iter_ : epochs or iterations made
    t_ : rows seen
    loss_ : of the last epoch
    best_loss_ : the lowest loss; None where scores decide when training ends
    validation_scores_, best_validation_score_ : one number an epoch, and the highest; None where
        losses decide
    no_improvement_count : epochs in a row without improvement
    best_parameters : those of the epoch with the best score, by name; not kept where losses decide
    """

    n_iter_: int = 0
    t_: int = 0
    loss_: float
    best_loss_: float | None
    validation_scores_: list[float] | None
    best_validation_score_: float | None
    no_improvement_count: int
    best_parameters: dict[str, numpy.ndarray]

    @property
    def is_scored(self) -> bool:
        """Return whether scores decide when training ends."""
        return self.validation_scores_ is not None

    @classmethod
    def of_facts(cls, facts: SavedState, best: dict[str, numpy.ndarray] | None) -> "TrainingRecord":
        """Return the record that a file holds. best : parameters of the best epoch, or None"""
        record = cls()
        for name, value in facts.items():
            if name in cls.__annotations__:
                setattr(record, name, value)
        if "_no_improvement_count" in facts:
            record.no_improvement_count = facts["_no_improvement_count"]
        if best is not None:
            record.best_parameters = best
        return record

    def check_epochs(self) -> None:
        """Raise AttributeError where no epochs were made."""
        _ = self.no_improvement_count

    def begin_epochs(
        self, *, scored: bool, parameters: Callable[[], dict[str, numpy.ndarray]]
    ) -> None:
        """Prepare for epochs; keep the numbers of earlier epochs only if these go on with them.

        scored : whether scores decide when training ends, and not losses
        parameters : returns the network's parameters
        """
        if not hasattr(self, "no_improvement_count"):  # no epochs were made
            self.no_improvement_count = 0
        elif scored == self.is_scored:
            return
        self.validation_scores_ = [] if scored else None
        self.best_validation_score_ = -numpy.inf if scored else None
        self.best_loss_ = None if scored else numpy.inf
        if scored:
            self.best_parameters = parameters()
