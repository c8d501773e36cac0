"""Training by epochs: first weights, orders of rows, learning rates, validation, when training ends, checkpoints."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from math import inf
from pathlib import Path
from time import monotonic
from typing import Any

import numpy
from numpy.random import MT19937, RandomState, SeedSequence
from scipy.sparse import issparse
from sklearn.metrics import get_scorer
from sklearn.utils import check_random_state

import xpnet
from xpnet.backend import NetworkSpec, Step
from xpnet.data.sources import Source
from xpnet.dispatch import get_backend
from xpnet.distributed import Ranks
from xpnet.distributed.digest import digest_of_rows
from xpnet.errors import InputError
from xpnet.estimators.inputs import Rows
from xpnet.estimators.streaming import SourceRows
from xpnet.models.inputs import to_host
from xpnet.models.presets import initial_values as initial_values_of_members
from xpnet.ops import Array
from xpnet.optimizers import Cosine, OneCycle
from xpnet.training import Callback, Training, TrainingState, set_stream_state, stream_state

IRRELEVANT = {"checkpoint", "verbose", "backend", "time_limit"}
"""Parameters that do not decide what an epoch finds."""

SCHEDULES = {"cosine": Cosine, "one_cycle": OneCycle}
"""Schedules that an estimator takes by name, of a learning rate and a number of epochs."""

SMALLEST_RATE = 1e-6
"""Below this an adaptive learning rate ends the training, as in scikit-learn."""


class _Unseeded(SeedSequence):
    """A sequence that seeds a generator with zeros, since it is seeded again at once."""

    def generate_state(self, n_words: int, dtype: Any = numpy.uint32) -> Any:
        return numpy.zeros(n_words, dtype)


_UNSEEDED = _Unseeded(0)


def random_state_of(seed: Any) -> RandomState:
    """Return what scikit-learn's ``check_random_state`` returns.

    ``RandomState(0)`` seeds its generator with entropy before it seeds it with 0, which takes as long as some epochs of
    a small network.
    """
    if type(seed) is not int:
        return check_random_state(seed)
    random_state = RandomState(MT19937(_UNSEEDED))
    random_state.seed(seed)
    return random_state


def initial_values(spec: NetworkSpec, random_state: RandomState) -> dict[str, Any]:
    """Draw U(-a, a) for weights and biases in scikit-learn's order, a = sqrt(6 / (fan_in + fan_out)).

    Layers with the logistic function have sqrt(2 / (fan_in + fan_out)). (Glorot, Bengio, 2010, eq. 16.)

    Members, which scikit-learn does not have, begin as ``xpnet.models`` lets them begin.

    returns float64 arrays by the spec's names
    """
    if spec.members > 1:
        return initial_values_of_members(spec, random_state)
    values, names = {}, spec.parameter_names
    for k, (fan_in, fan_out) in enumerate(zip(spec.widths, spec.widths[1:], strict=False)):
        activation = (
            spec.activations[min(k, len(spec.activations) - 1)] if spec.activations else "identity"
        )
        bound = numpy.sqrt((2.0 if activation == "logistic" else 6.0) / (fan_in + fan_out))
        for name, shape in ((names[2 * k], (fan_in, fan_out)), (names[2 * k + 1], (fan_out,))):
            values[name] = random_state.uniform(-bound, bound, shape)
    return values


class LearningRate:
    """The learning rate of the next epoch; estimators keep it as ``_optimizer``, under scikit-learn's name.

    solver : for which it was begun
    learning_rate_init : of the first epoch; learning_rate : of the next; power_t : how fast it falls
    schedule : ``"constant"``, ``"invscaling"``, ``"adaptive"``, or a function
    began : the epochs of the network's history before its first
    """

    def __init__(self, estimator: Any) -> None:
        self.solver, self.power_t = estimator.solver, estimator.power_t
        self.learning_rate_init = self.learning_rate = float(estimator.learning_rate_init)
        self.schedule: Any = estimator.learning_rate
        self.began: int | None = None
        if self.schedule in [*SCHEDULES]:
            self.schedule = SCHEDULES[self.schedule](self.learning_rate, int(estimator.max_iter))
        if (
            self.schedule in ("invscaling", "adaptive") and self.solver != "sgd"
        ):  # as in scikit-learn
            self.schedule = "constant"

    def __call__(self, epoch: int, losses: Sequence[float]) -> float:
        """Return the learning rate of the next epoch."""
        if self.began is None:
            self.began = epoch
        if callable(self.schedule):
            self.learning_rate = float(self.schedule(epoch - self.began, losses[self.began :]))
        return self.learning_rate

    def lower(self) -> float | None:
        """Return the adaptive learning rate that follows when training no longer improves, if there is one."""
        if self.schedule != "adaptive" or self.learning_rate <= SMALLEST_RATE:
            return None
        return self.learning_rate / 5.0

    def epoch_ends(self, t: int, lower: float | None) -> None:
        """Lower the learning rate: to that which follows, or by the number of rows seen."""
        if lower is not None:
            self.learning_rate = lower
        elif self.schedule == "invscaling":
            self.learning_rate = self.learning_rate_init / (t + 1) ** self.power_t


def reported_loss(loss: float, penalty: float, spec: NetworkSpec) -> float:
    """Convert a loss into scikit-learn's, which divides the squared error, not its gradient, by the outputs' number."""
    return (loss - penalty) / spec.widths[-1] + penalty if spec.loss == "squared_error" else loss


def total_loss(step: Step, rows: Rows) -> tuple[float, float]:
    """Return the sum of the losses of rows times their weights, without the penalty, and the sum of the weights."""
    total = weights = 0.0
    with closing(rows.parts(step.backend, step.spec.dtype)) as parts:
        for part in parts:
            weight = float(
                part.count if part.weight is None else step.backend.to_numpy(part.weight).sum()
            )
            if weight:
                total += weight * (
                    step.loss(part.X, part.Y, sample_weight=part.weight) - step.penalty
                )
                weights += weight
    return total, weights


def _joined(parts: Sequence[Sequence[Any]]) -> Sequence[Any]:
    """Join the arrays that lie at one place of every part; None where there are none."""
    return [
        None if arrays[0] is None else numpy.concatenate(arrays)
        for arrays in zip(*parts, strict=True)
    ]


COUNTERS = ("n_iter_", "loss_", "t_", "best_loss_", "validation_scores_", "best_validation_score_")
"""A training that goes on takes these attributes of an estimator over."""


class EpochEnd(Callback):
    """Makes an estimator's epochs by scikit-learn's rules: keeps scores, counters and learning rate, ends the training.

    held_out : rows that are not trained on, and ranks : all that train
    began_with : the state of the random stream when the fit began, for checkpoints
    sink : where lines for the user go
    """

    brief = True

    def __init__(
        self,
        estimator: Any,
        held_out: Rows | None,
        ranks: Ranks,
        began_with: Any,
        sink: Any = print,
    ) -> None:
        self.estimator, self.network, self.began_with, self.sink = (
            estimator,
            estimator._fitted,
            began_with,
            sink,
        )
        # Of a source that all ranks have, each measures some blocks.
        self.ranks = replace(ranks, data="own") if isinstance(held_out, SourceRows) else ranks
        self.held_out: Any = held_out
        self.step: Any = (
            None
            if held_out is None
            else self.network.exclusively(self.network.step_for, held_out.X)
        )
        self.rate, self.says = estimator._optimizer, estimator.verbose and not ranks.rank
        self.scored, self.limit = bool(estimator.early_stopping), estimator.time_limit or inf
        self.began, self.late = monotonic(), False

    def epoch(
        self, step: Step, X: Array, Y: Array, *, sample_weight: Array | None, **how: Any
    ) -> float:
        """Make an epoch with a step, and return the loss as scikit-learn reports it.

        It averages the losses of batches by their rows, a step's ``epoch`` by their weights.

        how : the further arguments of ``Step.epoch``
        """
        largest = self.estimator.max_grad_norm
        if sample_weight is None and largest is None:
            loss = step.epoch(X, Y, **how)
        else:
            loss = step.weighted_epoch(
                X, Y, sample_weight=sample_weight, max_grad_norm=largest, **how
            )
        return reported_loss(loss, step.penalty, step.spec)

    def validation_loss(self) -> float:
        """Measure the mean loss on the rows held out, without the penalty, over all ranks."""
        total, weights = total_loss(self.step, self.held_out)
        loss = self.ranks.mean(total / weights if weights else 0.0, weights)
        return reported_loss(loss, 0.0, self.network.spec)

    def score(self) -> float:
        """Measure the score of the predictions now, on the rows held out; NaN where they are not finite."""
        estimator, step, found = self.estimator, self.step, []
        host = step.backend.to_numpy
        with closing(self.held_out.parts(step.backend, step.spec.dtype)) as parts:
            for part in parts:
                weight = None if part.weight is None else host(part.weight)
                found.append((host(part.Y), host(step.forward(part.X)), weight))
        targets, outputs, weight = _joined(self.ranks.allgather(_joined(found)))
        if not numpy.isfinite(outputs).all():  # for which scorers raise
            return numpy.nan
        scorer = (
            type(estimator).score if estimator.scoring is None else get_scorer(estimator.scoring)
        )
        # The scorer sees an estimator whose rows are the network's outputs.
        judged: Any = object.__new__(type(estimator))
        vars(judged).update(vars(estimator), _outputs=lambda rows: (rows, get_backend("numpy")))
        weighted = {} if weight is None else {"sample_weight": weight}
        return float(scorer(judged, outputs, estimator._decode(targets), **weighted))

    def epoch_end(self, training: Training) -> None:
        """Note the epoch, count those without improvement, and act when they are too many."""
        estimator, rate, loss = self.estimator, self.rate, training.history.loss[-1]
        if not (scored := self.scored):
            measured = -loss
        elif estimator.early_stopping == "loss":
            measured = -training.history.validation_loss[-1]
        else:
            measured = self.score()
        best = estimator.best_validation_score_ if scored else -estimator.best_loss_
        waited = estimator._no_improvement_count + 1 if measured < best + estimator.tol else 0
        stalls = waited > estimator.n_iter_no_change
        lower = rate.lower() if stalls else None
        if self.says:
            self._say(loss, measured if scored else None, stalls=stalls, lower=lower)
        if scored and measured > best:
            estimator._best = self.network.values()
        estimator.n_iter_ += 1
        estimator.loss_, estimator.t_ = loss, estimator.t_ + training.rows
        if scored:  # a new list: the one of before is there again if the epoch is undone
            estimator.validation_scores_ = [*estimator.validation_scores_, measured]
            estimator.best_validation_score_ = max(best, measured)
        else:
            estimator.best_loss_ = min(-best, loss)
        estimator._no_improvement_count = waited if lower is None else 0
        rate.epoch_ends(estimator.t_, lower)
        training.stop = training.stop or (stalls and lower is None)
        self.late = not training.stop and monotonic() - self.began > self.limit
        training.stop = training.stop or self.late

    def state(self) -> dict[str, Any]:
        """Return counters and scores so far, the best parameters, and the learning rate."""
        return {
            "counters": {
                name: vars(self.estimator).get(name) for name in COUNTERS
            },  # there is no loss_ at first
            "no_improvement": self.estimator._no_improvement_count,
            "learning_rate": self.rate.learning_rate,
            "began": self.rate.began,
            "best": self.estimator._best if self.scored else {},
            "began_with": self.began_with,
            "seconds": monotonic() - self.began,
            "late": self.late,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        vars(self.estimator).update({name: state["counters"][name] for name in COUNTERS})
        self.estimator._no_improvement_count, self.estimator._best = (
            state["no_improvement"],
            state["best"],
        )
        self.rate.learning_rate, self.rate.began = state["learning_rate"], state["began"]
        self.began = monotonic() - float(state["seconds"])

    def _say(self, loss: float, score: float | None, *, stalls: bool, lower: float | None) -> None:
        """Write what scikit-learn's networks write of an epoch. lower : the learning rate that follows"""
        estimator, what = self.estimator, "Training loss" if score is None else "Validation score"
        self.sink(f"Iteration {estimator.n_iter_ + 1}, loss = {loss:.8f}")
        if score is not None:
            self.sink(f"{what}: {score:f}")
        if not stalls:
            return
        action = (
            "Learning rate too small. Stopping."
            if self.rate.schedule == "adaptive"
            else "Stopping."
        )
        self.sink(
            f"{what} did not improve more than tol={estimator.tol:f} for {estimator.n_iter_no_change} consecutive "
            f"epochs. {action if lower is None else f'Setting learning rate to {lower:f}'}"
        )


Checkpoints = tuple[list[Callback], TrainingState | None, dict[str, Any] | None]
"""What writes the checkpoints of a fit, the last of them, and the state of its random stream when it first began."""


def resuming(
    estimator: Any,
    rows: Sequence[Any],
    held_out: Sequence[Any] | None,
    start: Sequence[Any],
    ranks: Ranks,
) -> Checkpoints:
    """Look for checkpoints of a fit in a folder that is named after all that the fit is made from.

    Fits with other data or parameters have other folders: a search over parameters can keep its checkpoints in one
    place, and goes on as a whole. The stream that the fit draws from is put where it was when the fit first began.

    rows, held_out : data, targets and weights, as they were validated; None for what is not there
    start : parameters that the fit goes on from; ranks : whose rows these are
    """
    import joblib

    stream = estimator._random_state
    params = {
        name: value for name, value in estimator.get_params().items() if name not in IRRELEVANT
    }
    training = digest_of_rows([*map(_on_host, rows)], ranks)
    validation = held_out and digest_of_rows([*map(_on_host, held_out)], ranks, ordered=False)
    contents = type(estimator).__name__, params, training, validation, [*map(_on_host, start)]
    folder = Path(estimator.checkpoint) / joblib.hash(contents)
    state: TrainingState | None = xpnet.Checkpoint.latest(folder)
    if state is not None:
        try:
            found = state.callbacks["0"]
            set_stream_state(stream, found["began_with"])
            if found["late"] and found["seconds"] <= (estimator.time_limit or inf):
                state = replace(state, stop=False)  # there is more time now
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"A fit goes on from its own checkpoints; this one is none: {error!r}."
            ) from error
    return [xpnet.Checkpoint(folder, keep=1)], state, stream_state(stream)


def _on_host(array: Any) -> Any:
    """Return an array as NumPy's, and a sparse matrix as CSR; None and a source stay what they are."""
    if array is None or isinstance(array, Source):
        return array
    return array.tocsr() if issparse(array) else numpy.ascontiguousarray(to_host(array))
