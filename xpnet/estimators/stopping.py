"""What is noted after each epoch, and when training ends: scikit-learn's rules, with the user's validation data."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy

from xpnet.backend import Step
from xpnet.dispatch import current_ranks
from xpnet.estimators.epochs import reported_loss
from xpnet.estimators.inputs import Rows
from xpnet.estimators.reports import Reports
from xpnet.estimators.streaming import SourceRows, in_parts, mean_loss
from xpnet.training import Callback, Training
from xpnet.training.callbacks import a_line


@dataclass
class Validation:
    """Loss and score on rows that are not trained on.

    step : with the parameters of the one that trains
    score : (targets, outputs, weights), all NumPy's -> the estimator's score
    """

    rows: Rows
    step: Step
    score: Callable[[Any, Any, Any], float]

    def loss(self) -> float:
        """The mean loss, without the penalty."""
        if isinstance(self.rows, SourceRows):
            return reported_loss(mean_loss(self.step, self.rows), 0.0, self.step.spec)
        loss = self.step.data_loss(self.rows.X, self.rows.Y, sample_weight=self.rows.weight)
        ranks = current_ranks()
        if ranks.own_data:
            weight = self.rows.weight
            loss = ranks.mean(loss, self.rows.count if weight is None else float(weight.sum()))
        return reported_loss(loss, 0.0, self.step.spec)

    def current_score(self) -> float:
        """The score of the predictions now; NaN where they are not finite."""
        host, weight = self.step.backend.to_numpy, self.rows.weight
        found = [host(self.rows.Y), self._outputs(), None if weight is None else host(weight)]
        ranks = current_ranks()
        if ranks.own_data:
            every = zip(*ranks.each(found), strict=True)
            found = [None if parts[0] is None else numpy.concatenate(parts) for parts in every]
        return self.score(*found)

    def _outputs(self) -> Any:
        """Of the network, NumPy's."""
        host, forward = self.step.backend.to_numpy, self.step.forward
        if not isinstance(self.rows, SourceRows):
            return host(forward(self.rows.X))
        with closing(in_parts(self.rows, self.step)) as parts:
            return numpy.concatenate([host(forward(part.X)) for part in parts])


COUNTERS = ("n_iter_", "loss_", "t_", "best_loss_", "validation_scores_", "best_validation_score_")
"""What of an estimator goes on with a training that goes on."""


class ReportEnd(Callback):
    """Tells scikit-learn's callbacks that an iteration has ended; they may stop the training."""

    def __init__(self, estimator: Any, reports: Reports) -> None:
        self.estimator, self.reports = estimator, reports

    def epoch_end(self, training: Training) -> None:
        """Tell them."""
        last = training.stop or self.estimator.n_iter_ == training.epochs
        training.stop = self.reports.iteration_ends(last=last) or training.stop


class EpochEnd(Callback):
    """Keeps the estimator's scores, counters and learning rate, and stops training.

    began_with : the state of the random stream when the fit began, for checkpoints
    sink : where lines for the user go, with ``verbose``
    """

    brief = True

    def __init__(
        self,
        estimator: Any,
        validation: Validation | None,
        *,
        began_with: dict[str, Any] | None = None,
        sink: Callable[[str], Any] = print,
    ) -> None:
        self.estimator, self.validation, self.began_with, self.sink = estimator, validation, began_with, sink
        self.verbose = estimator.verbose and not current_ranks().rank
        self.line = a_line() if self.verbose else None
        self.watches_rows = self.line is not None

    def within_epoch(self, training: Training) -> None:
        """Say how far a long iteration is, where someone watches."""
        if self.line is not None:
            rows = f"{training.rows_done:,} of {training.rows:,} rows"
            self.line.show(f"Iteration {self.estimator.n_iter_ + 1}, {rows}")

    def epoch_end(self, training: Training) -> None:
        """Note the epoch, count those without improvement, and act when they are too many."""
        estimator = self.estimator
        estimator.n_iter_ += 1
        estimator.loss_ = training.history.loss[-1]
        estimator.t_ += training.rows
        if self.line is not None:
            self.line.close()
        if self.verbose:
            self.sink(f"Iteration {estimator.n_iter_}, loss = {estimator.loss_:.8f}")
        improved = self._score_improved(training) if estimator.early_stopping else self._loss_improved()
        estimator._no_improvement_count = 0 if improved else estimator._no_improvement_count + 1
        if estimator._optimizer.schedule == "invscaling":
            estimator._optimizer.fall(estimator.t_)
        if estimator._no_improvement_count > estimator.n_iter_no_change:
            self._stalls(training)

    def close(self, training: Training) -> None:
        """Leave an empty line, where something was shown."""
        if self.line is not None:
            self.line.close()

    def state(self) -> dict[str, Any]:
        """Counters and scores so far, the best parameters, and the learning rate."""
        estimator = self.estimator
        counters = {name: getattr(estimator, name, None) for name in COUNTERS}  # before the first epoch there is no loss_
        if estimator.early_stopping:
            counters["validation_scores_"] = list(estimator.validation_scores_)
        return {
            "counters": counters,
            "no_improvement": estimator._no_improvement_count,
            "learning_rate": estimator._optimizer.learning_rate,
            "best": estimator._best if estimator.early_stopping else {},
            "began_with": self.began_with,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        estimator = self.estimator
        vars(estimator).update({name: state["counters"][name] for name in COUNTERS})
        estimator._no_improvement_count = state["no_improvement"]
        estimator._optimizer.learning_rate = state["learning_rate"]
        if estimator.early_stopping:
            estimator._best = state["best"]

    def _loss_improved(self) -> bool:
        estimator = self.estimator
        improved = not estimator.loss_ > estimator.best_loss_ - estimator.tol
        estimator.best_loss_ = min(estimator.best_loss_, estimator.loss_)
        return improved

    def _score_improved(self, training: Training) -> bool:
        estimator = self.estimator
        assert self.validation is not None
        score = self.validation.current_score()
        estimator.validation_scores_.append(score)
        if self.verbose:
            self.sink(f"Validation score: {score:f}")
        improved = not score < estimator.best_validation_score_ + estimator.tol
        if score > estimator.best_validation_score_:
            estimator.best_validation_score_ = score
            estimator._keep_best()
        return improved

    def _stalls(self, training: Training) -> None:
        """Too many epochs without improvement: stop, or lower the learning rate and count anew."""
        estimator = self.estimator
        what = "Validation score" if estimator.early_stopping else "Training loss"
        optimizer = estimator._optimizer
        if optimizer.lower():
            estimator._no_improvement_count, action = 0, f"Setting learning rate to {optimizer.learning_rate:f}"
        else:
            training.stop = True
            action = "Learning rate too small. Stopping." if optimizer.schedule == "adaptive" else "Stopping."
        if self.verbose:
            self.sink(
                f"{what} did not improve more than tol={estimator.tol:f} for {estimator.n_iter_no_change} consecutive "
                f"epochs. {action}"
            )
