"""The networks of a table each train on other rows, until the loss on the rows set apart no longer falls."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy
from joblib import Parallel, delayed
from scipy.sparse import csr_array

from xpnet.backend import NetworkSpec, get_threads
from xpnet.backend.step import Step
from xpnet.backend.threads import sharing_the_machine
from xpnet.data.sources import Source
from xpnet.estimators.epochs import total_loss
from xpnet.estimators.inputs import Rows
from xpnet.estimators.streaming import SourceRows, fit_over_source
from xpnet.models import Network
from xpnet.models.presets import initial_values
from xpnet.ops.losses import smoothed
from xpnet.optimizers import Constant, Schedule
from xpnet.tabular.plain import (
    Linear,
    best_share,
    fit_linear,
    losses_by_share,
    with_linear,
    with_scaled_inputs,
)
from xpnet.training import Callback, EarlyStopping, Training, TrainingState

FADING = 0.7
"""An epoch counts so much in the mean of parameters as the epoch after it."""
FALL, LAST = 2 / 3, 0.02
"""The learning rate falls from this share of the epochs on, down to this share of it."""

Watchers = tuple[Sequence[Callback], TrainingState | None]
"""Callbacks that see a training, and the state from which it goes on."""


@dataclass(frozen=True)
class Recipe:
    """Holds what an estimator's parameters make of its rows, which does not differ between networks.

    spec : the network, without a seed; epochs : at most
    scales : factors of the inputs in training, (inputs,), or none
    numbers : sums of inputs that a linear model beside the networks takes, (inputs, numbers), or none
    end : the monotonic time when all must be trained
    watch : called with the number of a network, returns what watches its training; None for nothing
    """

    estimator: Any
    spec: NetworkSpec
    batch_size: int
    epochs: int
    scales: numpy.ndarray | None
    numbers: csr_array | None
    end: float
    watch: Callable[[int], Watchers] | None


class BestEpoch(EarlyStopping):
    """Ends the training when the validation loss no longer falls or time is over; the best epoch's parameters stay.

    The parameters that are compared and kept are means over the epochs, the last of which count most. They predict
    better than those of a single epoch, and their loss tells sooner that it no longer falls. (Polyak, Juditsky,
    Acceleration of Stochastic Approximation by Averaging, 1992.)
    """

    def __init__(self, network: Network, rows: Rows | None, patience: int, seconds: float) -> None:
        super().__init__(patience, tol=0.0)
        self.network, self.rows, self.seconds = network, rows, seconds

    def train_begin(self, training: Training) -> None:
        """Start counting and the clock; rows go where the network lives."""
        super().train_begin(training)
        if self.rows is not None:
            there, (X, Y, weight) = (
                self.network.backend.asarray,
                (self.rows.X, self.rows.Y, self.rows.weight),
            )
            rows = (there(Y), None if weight is None else there(weight))
            self.rows = (
                SourceRows.whole(X, *rows) if isinstance(X, Source) else Rows(there(X), *rows)
            )
        self.epochs_in_mean = 0.0
        self.mean: dict[str, numpy.ndarray] = {}
        self.end = time.monotonic() + self.seconds

    def epoch_end(self, training: Training) -> None:
        """Compare the epoch with the best one so far, each by the mean of all epochs up to it."""
        if self.rows is not None:
            now = training.step.state()
            self.epochs_in_mean = self.epochs_in_mean * FADING + 1
            share, before = 1 / self.epochs_in_mean, self.mean or now.params
            self.mean = {
                name: before[name] + (value - before[name]) * share
                for name, value in now.params.items()
            }
            training.step.load_state(replace(now, params=self.mean))
            training.history.validation_loss.append(_mean_loss(training.step, self.rows))
            super().epoch_end(training)
            training.step.load_state(now)
        training.stop = training.stop or time.monotonic() > self.end

    def state(self) -> dict[str, Any]:
        """Return the best loss so far, its parameters and the number of epochs since, and the mean of all epochs."""
        return {**super().state(), "mean": self.mean, "epochs_in_mean": self.epochs_in_mean}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on comparing."""
        super().load_state(state)
        self.mean, self.epochs_in_mean = dict(state["mean"]), float(state["epochs_in_mean"])


def _mean_loss(step: Step, rows: Rows) -> float:
    """Return the mean loss over rows, some at a time where a source has them."""
    if not isinstance(rows.X, Source):
        return step.loss(rows.X, rows.Y, sample_weight=rows.weight)
    total, weights = total_loss(step, rows)
    return total / weights


Folds = Sequence[tuple[numpy.ndarray, numpy.ndarray]]
"""Indices of the rows to train on, and of those set apart."""
Trained = tuple[Network, int, Linear | None, numpy.ndarray | None]
"""A network, the epoch it keeps, and a linear model for beside it with the losses of its shares."""


def train_networks(
    recipe: Recipe,
    rows: Rows,
    folds: Folds | Rows | None,
    seeds: Sequence[int],
    least: int,
    jobs: int,
) -> tuple[list[Network], list[int]]:
    """Train independent networks, one for each seed; those beyond the least only where they left epochs unused.

    folds : those of the networks, one after the other; or rows of the user's that are set apart for all; or none
    returns the networks, and the best epoch of each
    """
    rounds = -(-len(seeds) // jobs)

    def train(number: int) -> Trained:
        left = recipe.end - time.monotonic()
        if isinstance(folds, Rows) or folds is None:
            inner, outer = (
                _taken(rows, None, recipe.scales),
                folds and _taken(folds, None, recipe.scales),
            )
        else:
            inner, outer = (
                _taken(rows, indices, recipe.scales) for indices in folds[number % len(folds)]
            )
        return train_one(
            recipe, inner, outer, number, seeds[number], left / (rounds - number // jobs)
        )

    with sharing_the_machine(max(1, get_threads() // jobs)):
        found = Parallel(jobs, backend="threading")(
            delayed(train)(number) for number in range(least)
        )
    while len(found) < len(seeds) and time.monotonic() < recipe.end:
        usual = sum(network.history.epochs for network, *_ in found) / len(found)
        if usual * (len(found) + 1) > least * recipe.epochs:
            break
        found.append(train(len(found)))
    return finished(recipe, found), [epoch for _, epoch, *_ in found]


def _taken(rows: Rows, indices: numpy.ndarray | None, scales: numpy.ndarray | None) -> Rows:
    """Return some of the rows, or all, their inputs times scales."""
    if indices is not None:
        rows = Rows(
            rows.X[indices], rows.Y[indices], None if rows.weight is None else rows.weight[indices]
        )
    if scales is None:
        return rows
    out = None if indices is None else rows.X  # which is a copy
    return replace(rows, X=numpy.multiply(rows.X, scales, dtype=rows.X.dtype, out=out))


def train_one(
    recipe: Recipe, rows: Rows, apart: Rows | None, number: int, seed: int, seconds: float
) -> Trained:
    """Fit a linear model, and train one network beside which it may stand; both within so many seconds."""
    began = time.monotonic()
    linear = (
        None
        if recipe.numbers is None or apart is None
        else fit_linear(recipe.numbers, rows, apart, recipe.spec)
    )
    estimator, rng = recipe.estimator, numpy.random.default_rng(seed)
    rate, smoothing = estimator.learning_rate_init, getattr(estimator, "label_smoothing", 0.0)
    schedule = falling(rate, recipe.epochs) if estimator.max_iter == "auto" else Constant(rate)
    spec, values = replace(recipe.spec, seed=seed), initial_values(recipe.spec, rng)
    network = Network(spec, values, schedule, backend=estimator.backend, dtype=spec.dtype, rng=rng)
    watch = BestEpoch(
        network, apart, estimator.n_iter_no_change, seconds - (time.monotonic() - began)
    )
    watchers, state = ((), None) if recipe.watch is None else recipe.watch(number)
    how: dict[str, Any] = {
        "epochs": recipe.epochs,
        "batch_size": min(recipe.batch_size, len(rows.X)),
        "callbacks": [watch, *watchers],
        "resume_from": state,
        "sample_weight": rows.weight,
    }
    classes, Y = spec.widths[-1], rows.Y
    if smoothing:
        Y = smoothed(Y, numpy.empty((0, classes), spec.dtype), smoothing, classes)
    if isinstance(rows.X, Source):
        fit_over_source(network, rows.X, Y, schedule=schedule, **how)
    else:
        network.fit(rows.X, Y, **how)
    losses = None if linear is None or apart is None else losses_by_share(network, linear, apart)
    return network, network.history.epochs - watch.waited, linear, losses


def falling(learning_rate: float, epochs: int) -> Schedule:
    """Return a schedule of the learning rate that stays for two thirds of the epochs, and then falls evenly."""
    return lambda epoch, _: learning_rate * min(1.0, max(LAST, (1 - epoch / epochs) / (1 - FALL)))


def finished(recipe: Recipe, found: list[Trained]) -> list[Network]:
    """Return networks that take inputs as they are, with linear models beside them where these help."""
    losses = [of_shares for *_, of_shares in found if of_shares is not None]
    share = best_share(numpy.sum(losses, axis=0)) if len(losses) == len(found) else 0.0
    networks = []
    for trained, _, linear, _ in found:
        spec, values = trained.spec, trained.values()
        if share and linear is not None:
            spec, values = with_linear(spec, values, linear, share)
        if recipe.scales is not None:
            values = with_scaled_inputs(spec, values, recipe.scales)
        rate, backend = recipe.estimator.learning_rate_init, recipe.estimator.backend
        network = Network(spec, values, rate, backend=backend, dtype=spec.dtype)
        network.history, network.how_trained = trained.history, trained.how_trained
        networks.append(network)
    return networks
