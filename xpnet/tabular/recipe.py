"""The networks of a table each train on other rows, until the loss on the rows set apart no longer falls."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Any

import numpy
from joblib import Parallel, delayed

from xpnet.backend import Backend, NetworkSpec, get_threads
from xpnet.backend.step import StepState
from xpnet.backend.threads import sharing_the_machine
from xpnet.models import Network
from xpnet.models.presets import initial_values
from xpnet.ops.losses import smoothed
from xpnet.tabular.plain import (
    Linear,
    best_share,
    fit_linear,
    losses_by_share,
    with_linear,
    with_scaled_inputs,
)
from xpnet.training import Callback, Training, TrainingState

Watchers = tuple[Sequence[Callback], TrainingState | None]
"""Callbacks that see a training, and the state from which it goes on."""


@dataclass(frozen=True)
class Rows:
    """Rows as a network takes them.

    X : (rows, in) float; Y : (rows,) class indices, (rows, classes) or (rows, out); weight : (rows,) or None
    """

    X: numpy.ndarray
    Y: numpy.ndarray
    weight: numpy.ndarray | None = None

    def take(self, indices: numpy.ndarray | slice, scales: numpy.ndarray | None = None) -> "Rows":
        """Return some of the rows, their inputs times scales; a slice without scales is no copy."""
        X = self.X[indices]
        if scales is not None:
            X = numpy.multiply(X, scales, dtype=X.dtype, out=X if X.base is None else None)
        return Rows(X, self.Y[indices], None if self.weight is None else self.weight[indices])


@dataclass(frozen=True)
class Recipe:
    """Holds what does not differ between networks.

    spec : the network, without a seed; patience : epochs without a fall of the validation loss
    smoothing : the share of a label that is spread over all classes; end : the monotonic time when all must be trained
    watch : called with the number of a network, returns what watches its training
    scales : factors of the inputs in training, (inputs,), or none
    numbers : sums of inputs that a linear model beside the networks takes, (inputs, numbers), or none
    """

    spec: NetworkSpec
    learning_rate: float
    batch_size: int
    epochs: int
    patience: int
    smoothing: float = 0.0
    end: float = inf
    backend: str | Backend | None = None
    watch: Callable[[int], Watchers] | None = None
    scales: numpy.ndarray | None = None
    numbers: numpy.ndarray | None = None


class BestEpoch(Callback):
    """Ends the training when the validation loss no longer falls or time is over; the best epoch's parameters stay."""

    def __init__(self, network: Network, rows: Rows | None, patience: int, seconds: float) -> None:
        self.network, self.rows, self.patience, self.seconds = network, rows, patience, seconds

    def train_begin(self, training: Training) -> None:
        """Start counting and the clock; rows go where the network lives."""
        if self.rows is not None:
            there, weight = self.network.backend.asarray, self.rows.weight
            self.rows = Rows(there(self.rows.X), there(self.rows.Y), None if weight is None else there(weight))
        self.best, self.epoch = inf, 0
        self.kept: StepState | None = None
        self.end = time.monotonic() + self.seconds

    def epoch_end(self, training: Training) -> None:
        """Compare the epoch with the best one so far."""
        if self.rows is None:
            self.epoch = training.done
        else:
            loss = training.step.loss(self.rows.X, self.rows.Y, sample_weight=self.rows.weight)
            training.history.validation_loss.append(loss)
            if loss < self.best or not self.epoch:
                self.best, self.epoch, self.kept = loss, training.done, training.step.state()
        late = training.done - self.epoch >= self.patience
        training.stop = training.stop or late or time.monotonic() > self.end

    def state(self) -> dict[str, Any]:
        """Return the best loss so far, its epoch and its parameters."""
        kept = None if self.kept is None else vars(self.kept)
        return {"best": self.best, "epoch": self.epoch, "kept": kept}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on comparing."""
        self.best, self.epoch = float(state["best"]), int(state["epoch"])
        self.kept = None if state["kept"] is None else StepState(**state["kept"])

    def train_end(self, training: Training) -> None:
        """Put the best parameters back."""
        if self.kept is not None:
            training.step.load_state(self.kept)


@dataclass(frozen=True)
class Trained:
    """A network, the epoch it keeps, and a linear model for beside it with the losses of its shares."""

    network: Network
    epoch: int
    linear: Linear | None = None
    losses: numpy.ndarray | None = None


def train_networks(
    recipe: Recipe,
    rows: Rows,
    folds: Sequence[tuple[numpy.ndarray, numpy.ndarray]] | Rows | None,
    seeds: Sequence[int],
    jobs: int,
) -> tuple[list[Network], list[int]]:
    """Train independent networks, one for each seed.

    folds : for each network indices of the rows to train on and of those set apart; or the user's rows for all; or none
    returns the networks, and the best epoch of each
    """
    rounds, all_rows = -(-len(seeds) // jobs), slice(None)

    def train(number: int) -> Trained:
        left = recipe.end - time.monotonic()
        if isinstance(folds, Rows) or folds is None:
            inner, outer = rows.take(all_rows, recipe.scales), folds and folds.take(all_rows, recipe.scales)
        else:
            inner, outer = (rows.take(indices, recipe.scales) for indices in folds[number % len(folds)])
        return train_one(recipe, inner, outer, number, seeds[number], left / (rounds - number // jobs))

    if jobs == 1:
        found = [train(number) for number in range(len(seeds))]
    else:
        with sharing_the_machine(max(1, get_threads() // jobs)):
            found = Parallel(jobs, backend="threading")(delayed(train)(number) for number in range(len(seeds)))
    return finished(recipe, found), [trained.epoch for trained in found]


def train_one(recipe: Recipe, rows: Rows, apart: Rows | None, number: int, seed: int, seconds: float) -> Trained:
    """Fit a linear model, and train one network beside which it may stand; both within so many seconds."""
    began = time.monotonic()
    linear = None if recipe.numbers is None or apart is None else fit_linear(recipe.numbers, rows, apart, recipe.spec)
    rng = numpy.random.default_rng(seed)
    network = Network(
        replace(recipe.spec, seed=seed),
        initial_values(recipe.spec, rng),
        recipe.learning_rate,
        backend=recipe.backend,
        dtype=recipe.spec.dtype,
        rng=rng,
    )
    watch = BestEpoch(network, apart, recipe.patience, seconds - (time.monotonic() - began))
    watchers, state = ((), None) if recipe.watch is None else recipe.watch(number)
    network.fit(
        rows.X,
        _smoothed(rows.Y, recipe) if recipe.smoothing else rows.Y,
        epochs=recipe.epochs,
        batch_size=min(recipe.batch_size, len(rows.X)),
        callbacks=[watch, *watchers],
        resume_from=state,
        sample_weight=rows.weight,
    )
    losses = None if linear is None or apart is None else losses_by_share(network, linear, apart)
    return Trained(network, watch.epoch, linear, losses)


def finished(recipe: Recipe, found: list[Trained]) -> list[Network]:
    """Return networks that take inputs as they are, with linear models beside them where these help."""
    share, losses = 0.0, [trained.losses for trained in found if trained.losses is not None]
    if len(losses) == len(found):
        share = best_share(numpy.sum(losses, axis=0))
    if not share and recipe.scales is None:
        return [trained.network for trained in found]
    networks = []
    for trained in found:
        spec, values = trained.network.spec, trained.network.values()
        if share and trained.linear is not None:
            spec, values = with_linear(spec, values, trained.linear, share)
        if recipe.scales is not None:
            values = with_scaled_inputs(spec, values, recipe.scales)
        network = Network(spec, values, recipe.learning_rate, backend=recipe.backend, dtype=spec.dtype)
        network.history = trained.network.history
        networks.append(network)
    return networks


def _smoothed(labels: numpy.ndarray, recipe: Recipe) -> numpy.ndarray:
    classes = recipe.spec.widths[-1]
    return smoothed(labels, numpy.empty((0, classes), recipe.spec.dtype), recipe.smoothing, classes)
