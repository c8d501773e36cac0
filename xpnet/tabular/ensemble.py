"""The networks of a table, each trained on other rows until its validation loss stops falling."""

import time
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from dataclasses import dataclass, replace
from threading import Condition, Event
from typing import Any, NamedTuple

import numpy

from xpnet.backend import StepState, get_threads
from xpnet.backend.step import Step
from xpnet.backend.threads import sharing_the_machine
from xpnet.data.sources import Source
from xpnet.distributed import distributed_batches
from xpnet.distributed.coordinator import current_coordinator
from xpnet.errors import InputError
from xpnet.estimators.epochs import total_loss
from xpnet.models import Network
from xpnet.models.inputs import bring
from xpnet.models.presets import initial_values
from xpnet.ops.losses import smoothed
from xpnet.tabular.division import DividedRows, Fold, validation_inputs
from xpnet.tabular.linear_baseline import (
    LinearModel,
    best_blend_weight,
    fit_linear,
    losses_by_blend_weight,
    with_linear,
    with_scaled_inputs,
)
from xpnet.tabular.recipe import Recipe
from xpnet.tabular.refit import ParameterMean, refit, refit_epochs
from xpnet.training import Callback, EarlyStopping, LabeledRows, Training, train
from xpnet.training.streamed import SourceRows, Streamed

MIN_PROBABILITY = 1e-30
"""Smallest probability whose logarithm is taken."""
LINEAR_SHARE = 0.2
"""Share of the time of a network after which the solver of its linear baseline ends."""
WAKE_SECONDS = 0.1
"""Seconds between two looks for Ctrl-C while other threads train; on Windows a wait without an end
hears nothing."""


class Cancelled(Exception):
    """Ends the training of a network, since that of another one was interrupted or failed."""


class CancelTogether(Callback):
    """Ends a training, before any callback after it is called, when an event is set."""

    def __init__(self, cancelled: Event) -> None:
        self.cancelled = cancelled

    def within_epoch(self, training: Training) -> None:
        """Undo the epoch under way."""
        self._check()

    def epoch_end(self, training: Training) -> None:
        """Keep the epoch and make no other."""
        self._check()

    def _check(self) -> None:
        if self.cancelled.is_set():
            raise Cancelled


@dataclass(frozen=True)
class KeptEpoch:
    """The epoch that a training keeps.

    epoch : its number, from 1; state : its parameters, None for those that the network has
    """

    epoch: int
    state: StepState | None


class BestEpoch(EarlyStopping):
    """Ends the training when the validation loss stops falling or the time is over.

    The parameters of the best epoch are kept. What is compared and kept are means over the epochs:
    their loss also shows sooner that it no longer falls.

    kept : the best epoch so far, None before the first whole epoch; one assignment replaces it,
        so that an interruption at any moment leaves a whole record
    """

    def __init__(
        self, network: Network, validation: LabeledRows | None, patience: int, seconds: float
    ) -> None:
        super().__init__(patience, tol=0.0)
        self.network: Network = network
        self.validation = validation
        self.seconds: float = seconds
        self.kept: KeptEpoch | None = None

    def train_begin(self, training: Training) -> None:
        """Start counting and the clock; move the validation rows to where the network lives."""
        super().train_begin(training)
        if self.validation is not None:
            self.validation = _on_backend(self.validation, self.network.backend.asarray)
        self.mean: ParameterMean = ParameterMean()
        self.end: float = time.monotonic() + self.seconds

    def epoch_end(self, training: Training) -> None:
        """Compare the epoch with the best one so far, each by the mean of all epochs up to it."""
        if self.validation is not None:
            self._compare(training, self.validation)
        self.kept = KeptEpoch(training.history.epochs - self.waited, self.best_state)
        training.stop = training.stop or time.monotonic() > self.end

    def train_end(self, training: Training) -> None:
        """Put the best parameters back, and release the validation rows."""
        super().train_end(training)
        self.validation = None  # A fit would keep those of all its networks to its end.

    def _compare(self, training: Training, validation: LabeledRows) -> None:
        current = training.step.state()
        training.step.load_state(self.mean.add(current))
        training.history.validation_loss.append(validation_loss(training.step, validation))
        super().epoch_end(training)
        training.step.load_state(current)

    def state(self) -> dict[str, Any]:
        """Return the state of early stopping, and the mean of the parameters of all epochs."""
        mean = self.mean
        return {**super().state(), "mean": mean.params, "epochs_in_mean": mean.weights}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on comparing."""
        super().load_state(state)
        self.mean.params = dict(state["mean"])
        self.mean.weights = float(state["epochs_in_mean"])
        self.kept = KeptEpoch(self.network.history.epochs - self.waited, self.best_state)


def _on_backend(rows: LabeledRows, to_backend: Callable[[Any], Any]) -> LabeledRows:
    """Return rows on a backend; those of a source are brought there block by block later."""
    Y = to_backend(rows.Y)
    weight = None if rows.weight is None else to_backend(rows.weight)
    if isinstance(rows.X, Source):
        return SourceRows.whole(rows.X, Y, weight)
    return LabeledRows(to_backend(rows.X), Y, weight)


def validation_loss(step: Step, rows: LabeledRows) -> float:
    """Return the mean loss over validation rows, block by block where a source has them.

    Of classes it is the loss of the mean probabilities, which are what is predicted; the mean loss
    of the members would rise sooner. Of other losses it is the mean over the members.
    """
    if isinstance(rows.X, Source):
        total, weights = total_loss(step, rows)
        return total / weights
    if step.spec.loss != "softmax_cross_entropy":
        return step.loss(rows.X, rows.Y, sample_weight=rows.weight)
    to_numpy = step.backend.to_numpy
    probabilities, Y = to_numpy(step.forward(rows.X)), to_numpy(rows.Y)
    of_labels = probabilities[numpy.arange(len(Y)), Y].astype(numpy.float64)
    losses = -numpy.log(of_labels.clip(MIN_PROBABILITY))
    weight = None if rows.weight is None else to_numpy(rows.weight)
    return float(numpy.average(losses, weights=weight))


@dataclass(eq=False)
class NetworkTraining:
    """One network with its training, which may be under way, interrupted or over.

    network : the network; best : its early stopping
    linear : the linear baseline, None for none; losses : (blend weights,) validation losses of its
    blends, or None
    refitted : parameters after the epochs on all rows, None without such epochs
    """

    network: Network
    best: BestEpoch
    linear: LinearModel | None = None
    losses: numpy.ndarray | None = None
    refitted: dict[str, numpy.ndarray] | None = None

    @property
    def best_epoch(self) -> int:
        """Return the number of the epoch that is kept, 0 before the first whole epoch."""
        return 0 if self.best.kept is None else self.best.kept.epoch

    @property
    def validation_loss(self) -> float:
        """Return the validation loss of the best epoch, blended with the linear baseline."""
        return self.best.best if self.losses is None else float(self.losses.min())

    def keep_best(self) -> None:
        """Give the network the parameters of its best epoch, as a training does that ends."""
        kept = self.best.kept
        if kept is not None and kept.state is not None:
            self.network.load_values(kept.state.params)


class PlannedNetwork(NamedTuple):
    """The seed, the setting and the validation rows of one network.

    seed : of its initial weights, orders and dropout
    setting : index of its recipe among those of the ensemble
    fold : number of its validation rows; numbers go round the folds
    """

    seed: int
    setting: int
    fold: int


@dataclass(frozen=True)
class TrainedNetworks:
    """The networks of a fit, in the order of their numbers.

    networks : with the linear baseline in their weights where that helps; validated : the same
    before the epochs on all rows
    plans : of the networks, with their folds and settings
    best_epochs : the epoch that each network kept
    predict_folds_together : whether the networks of a fold predict its validation rows by their
        mean, as they predict new rows, and not one by one
    """

    networks: list[Network]
    validated: list[Network]
    plans: list[PlannedNetwork]
    best_epochs: list[int]
    predict_folds_together: bool = False

    @property
    def n_iter(self) -> int:
        """Return the largest number of epochs that a network made."""
        return max(network.history.epochs for network in self.networks)

    @property
    def settings(self) -> list[int]:
        """Return the settings of the networks, each once, in rising order."""
        return sorted({plan.setting for plan in self.plans})

    def of_settings(self, settings: Collection[int]) -> "TrainedNetworks":
        """Return the networks of some settings."""
        indices = [k for k, plan in enumerate(self.plans) if plan.setting in settings]
        return replace(
            self,
            networks=[self.networks[k] for k in indices],
            validated=[self.validated[k] for k in indices],
            plans=[self.plans[k] for k in indices],
            best_epochs=[self.best_epochs[k] for k in indices],
        )


class Ensemble:
    """Trains the networks of one fit, one after the other or in threads.

    recipe : of the estimator's parameters; recipes : one for each setting, with other dropout,
        updates and factors of inputs
    divided : rows and validation rows
    plans : one for each network; jobs : how many are trained at once
    trainings_to_make : number of plans that are carried out at most, which share the time
    """

    def __init__(
        self,
        recipe: Recipe,
        recipes: Sequence[Recipe],
        divided: DividedRows,
        plans: Sequence[PlannedNetwork],
        jobs: int,
    ) -> None:
        self.recipe: Recipe = recipe
        self.recipes: Sequence[Recipe] = recipes
        self.rows: LabeledRows = divided.rows
        self.validation: Sequence[Fold] | LabeledRows | None = divided.validation
        self.plans: Sequence[PlannedNetwork] = plans
        self.jobs: int = jobs
        self.trainings_to_make: int = len(plans)
        self.trainings: dict[int, NetworkTraining] = {}
        self.cancelled: Event = Event()
        self._changed = Condition()
        self._under_way = 0  # trainings in threads
        self._begun = 0  # trainings

    def train(self, minimum: int) -> None:
        """Train the minimum number of networks, and more while there are unused epochs."""
        self.train_networks(range(minimum))
        while self._has_time_for_another(minimum):
            self._train_one(len(self.trainings))

    def train_networks(self, numbers: Iterable[int]) -> None:
        """Train the networks of some numbers.

        An exception ends all trainings, and is raised when all threads have ended.
        """
        with sharing_the_machine(max(1, get_threads() // self.jobs)):
            if self.jobs > 1:
                self._train_in_threads(numbers)
            else:
                for number in numbers:
                    self._train_one(number)

    def recipe_of(self, number: int) -> Recipe:
        """Return the recipe of a network."""
        return self.recipes[self.plans[number].setting]

    def loss_of_setting(self, setting: int) -> float:
        """Return the sum of the validation losses of a setting's networks, 0 before all trainings.

        It compares settings whose networks have the same folds.
        """
        return sum(
            training.validation_loss
            for number, training in self.trainings.items()
            if self.plans[number].setting == setting
        )

    @property
    def whole_epochs(self) -> bool:
        """Say whether a network has made a whole epoch."""
        return any(training.best_epoch for training in self.trainings.values())

    def finished(self, *, interrupted: bool) -> TrainedNetworks:
        """Return the networks that have made an epoch, with the parameters of their best epochs.

        interrupted : whether trainings may have ended without putting back the parameters of their
        best epochs

        Raises InputError if no epoch of any network had a finite loss.
        """
        trainings = {k: self.trainings[k] for k in sorted(self.trainings)}
        trainings = {k: training for k, training in trainings.items() if training.best_epoch}
        if not trainings:
            raise InputError(
                "The loss must stay finite; no epoch of any network had a finite loss. "
                "Use a smaller learning rate."
            )
        if interrupted:
            for training in trainings.values():
                training.keep_best()
        kept = list(trainings.values())
        recipes = [
            replace(self.recipe, input_scales=self.recipe_of(number).input_scales)
            for number in trainings
        ]
        validated = with_baselines(recipes, kept, refitted=False)
        networks = validated
        if any(training.refitted is not None for training in kept):
            networks = with_baselines(recipes, kept, refitted=True)
        return TrainedNetworks(
            networks=networks,
            validated=validated,
            plans=[self.plans[number] for number in trainings],
            best_epochs=[training.best_epoch for training in trainings.values()],
        )

    def _train_in_threads(self, numbers: Iterable[int]) -> None:
        pool = ThreadPoolExecutor(self.jobs)
        try:
            futures: list[Future[None]] = [
                pool.submit(copy_context().run, self._train_in_thread, number) for number in numbers
            ]
            _wait_for(futures)
        except BaseException:
            with self._changed:
                self.cancelled.set()  # From now on no training begins.
                self._changed.wait_for(lambda: not self._under_way)
            raise
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _train_in_thread(self, number: int) -> None:
        with self._changed:
            if self.cancelled.is_set():
                raise Cancelled
            self._under_way += 1
        try:
            self._train_one(number)
        finally:
            with self._changed:
                self._under_way -= 1
                self._changed.notify_all()

    def _has_time_for_another(self, minimum: int) -> bool:
        """Say whether all networks and another one make no more epochs than the minimum may."""
        count = len(self.trainings)
        if count >= len(self.plans) or time.monotonic() >= self.recipe.deadline:
            return False
        epochs = [training.network.history.epochs for training in self.trainings.values()]
        return sum(epochs) / count * (count + 1) <= minimum * self.recipe.epochs

    def _train_one(self, number: int) -> None:
        """Train one network, within its part of the time that is left."""
        with self._changed:
            begun, self._begun = self._begun, self._begun + 1
        rounds = -(-self.trainings_to_make // self.jobs) - begun // self.jobs
        seconds = (self.recipe.deadline - time.monotonic()) / rounds
        end = time.monotonic() + seconds
        rows, validation = self._divided(number)
        train_network(self, number, rows, validation, seconds)
        if self._refits:
            refit_network(self, number, end)

    @property
    def _refits(self) -> bool:
        """Say whether networks train on all rows at the end: not on validation rows of the user."""
        return self.recipe.refit and isinstance(self.validation, Sequence)

    def _divided(self, number: int) -> tuple[LabeledRows, LabeledRows | None]:
        """Return the training rows and the validation rows of a network, with scaled inputs."""
        scales, validation = self.recipe_of(number).input_scales, self.validation
        if validation is None:
            return _scaled(self.rows, scales), None
        if isinstance(validation, LabeledRows):
            return _scaled(self.rows, scales), _scaled(validation, scales)
        fold = validation[self.plans[number].fold % len(validation)]
        training = _taken(self.rows, self.rows.X[fold.training], fold.training, scales)
        X_val = validation_inputs(self.rows.X, fold)
        return training, _taken(self.rows, X_val, fold.validation, scales)


def _wait_for(futures: Sequence[Future[None]]) -> None:
    """Wait until all have ended; raise the exception of the first that failed."""
    unfinished = set(futures)
    while unfinished:
        done, unfinished = wait(unfinished, timeout=WAKE_SECONDS, return_when=FIRST_EXCEPTION)
        for future in done:
            future.result()


def _scaled(rows: LabeledRows, scales: numpy.ndarray | None) -> LabeledRows:
    """Return rows whose inputs are multiplied by factors."""
    if scales is None:
        return rows
    return replace(rows, X=numpy.multiply(rows.X, scales, dtype=rows.X.dtype))


def _taken(
    rows: LabeledRows,
    X: numpy.ndarray,
    indices: numpy.ndarray | slice,
    scales: numpy.ndarray | None,
) -> LabeledRows:
    """Return some rows with their inputs X, which are multiplied by factors in place."""
    if scales is not None:
        numpy.multiply(X, scales, dtype=X.dtype, out=X)
    weight = None if rows.weight is None else rows.weight[indices]
    return LabeledRows(X, rows.Y[indices], weight)


def train_network(
    ensemble: Ensemble,
    number: int,
    rows: LabeledRows,
    validation: LabeledRows | None,
    seconds: float,
) -> None:
    """Fit a linear baseline and train one network, both within some seconds.

    The ensemble has the training from its beginning, so that an interruption finds it there.
    """
    recipe, started = ensemble.recipe_of(number), time.monotonic()
    linear = None
    if recipe.input_sums is not None and validation is not None:
        linear = fit_linear(
            recipe.input_sums, rows, validation, recipe.spec, started + LINEAR_SHARE * seconds
        )
    seed = ensemble.plans[number].seed
    rng, spec = numpy.random.default_rng(seed), replace(recipe.spec, seed=seed)
    values = initial_values(recipe.spec, rng)
    network = Network(
        spec, values, recipe.schedule, backend=recipe.backend, dtype=spec.dtype, rng=rng
    )
    seconds_left = seconds - (time.monotonic() - started)
    best = BestEpoch(network, validation, recipe.patience, seconds_left)
    training = ensemble.trainings[number] = NetworkTraining(network, best, linear)
    watchers, state = ((), None) if recipe.watch is None else recipe.watch(number)
    settings: dict[str, Any] = {
        "epochs": recipe.epochs,
        "batch_size": min(recipe.batch_size, len(rows.X)),
        "callbacks": [best, CancelTogether(ensemble.cancelled), *watchers],
        "resume_from": state,
    }
    Y = training_targets(recipe, rows)
    if isinstance(rows.X, Source):
        fit_over_source(network, replace(rows, Y=Y), recipe, **settings)
    else:
        network.fit(rows.X, Y, sample_weight=rows.weight, **settings)
    if linear is not None and validation is not None:
        training.losses = losses_by_blend_weight(network, linear, validation)


def training_targets(recipe: Recipe, rows: LabeledRows) -> numpy.ndarray:
    """Return the targets of rows, smoothed where the recipe says so."""
    if not recipe.label_smoothing:
        return rows.Y
    classes = recipe.spec.widths[-1]
    like = numpy.empty((0, classes), recipe.spec.dtype)
    return smoothed(rows.Y, like, recipe.label_smoothing, classes)


def refit_network(ensemble: Ensemble, number: int, end: float) -> None:
    """Train a network on, on all rows, and put back the parameters of its best epoch.

    end : the monotonic time after which no epoch begins
    """
    recipe, training = ensemble.recipe_of(number), ensemble.trainings[number]
    network = training.network
    seconds = end - time.monotonic()
    if not training.best_epoch or seconds <= 0:
        return
    rows = _scaled(ensemble.rows, recipe.input_scales)
    validated = network.values()
    refit(
        network,
        replace(rows, Y=training_targets(recipe, rows)),
        epochs=refit_epochs(training.best_epoch),
        batch_size=min(recipe.batch_size, len(rows.X)),
        learning_rate=recipe.schedule(training.best_epoch - 1, network.history.loss),
        seconds=seconds,
        callbacks=[CancelTogether(ensemble.cancelled)],
    )
    refitted = network.values()
    network.load_values(validated)
    training.refitted = refitted


def fit_over_source(
    network: Network, rows: LabeledRows, recipe: Recipe, *, batch_size: int, **settings: Any
) -> None:
    """Train a network on the rows of a source; the orders come from the network's seed.

    settings : further arguments of ``train``
    """
    backend = network.backend
    weight = None if rows.weight is None else bring(rows.weight, backend, network.spec.dtype)
    data = current_coordinator().source_rows(rows.X, network.own(bring(rows.Y, backend)), weight)
    orders = data.orders(numpy.random.RandomState(network.spec.seed))
    batches = distributed_batches(Streamed(data, batch_size=batch_size, rng=orders))
    with network.lock.training():
        train(
            network.trainable(),
            batches,
            schedule=recipe.schedule,
            history=network.history,
            lock=network.lock,
            **settings,
        )


def with_baselines(
    recipes: Sequence[Recipe], trainings: Sequence[NetworkTraining], *, refitted: bool
) -> list[Network]:
    """Return networks of unscaled inputs, with linear baselines in their weights if these help.

    recipes : for each network the recipe that describes it, whatever dropout and updates it had,
        and the factors of its inputs
    refitted : whether with the parameters after the epochs on all rows, where there are such
    """
    losses = [training.losses for training in trainings if training.losses is not None]
    helps = bool(losses) and len(losses) == len(trainings)
    blend_weight = best_blend_weight(numpy.sum(losses, axis=0)) if helps else 0.0
    networks = []
    for recipe, training in zip(recipes, trainings, strict=True):
        trained, values = training.network, training.network.values()
        spec = replace(recipe.spec, seed=trained.spec.seed)
        if refitted and training.refitted is not None:
            values = training.refitted
        if blend_weight and training.linear is not None:
            spec, values = with_linear(spec, values, training.linear, blend_weight)
        if recipe.input_scales is not None:
            values = with_scaled_inputs(spec, values, recipe.input_scales)
        network = Network(
            spec, values, recipe.learning_rate, backend=recipe.backend, dtype=spec.dtype
        )
        network.history, network.how_trained = trained.history, trained.how_trained
        networks.append(network)
    return networks
