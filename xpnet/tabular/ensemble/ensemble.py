"""The networks of a table, each trained on other rows until its validation loss stops falling."""

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from dataclasses import dataclass, replace
from statistics import fmean
from threading import Condition, Event
from typing import NamedTuple, Protocol

import numpy

from xpnet.backend import get_threads
from xpnet.backend.threads import sharing_the_machine
from xpnet.data.sources import Source
from xpnet.dispatch import choose
from xpnet.errors import InputError
from xpnet.models import Network
from xpnet.models.inputs import to_host
from xpnet.tabular.ensemble.linear.wide_tables import WideBaseline, fit_wide
from xpnet.tabular.ensemble.network_training import (
    LINEAR_SHARE,
    NetworkTraining,
    begin_training,
    measure_totals,
    refit_network,
    train_network,
)
from xpnet.tabular.ensemble.predicting_networks import nested_predictions, with_baselines
from xpnet.tabular.ensemble.recipe import Recipe
from xpnet.tabular.rows.constant import Constants
from xpnet.tabular.rows.constant_choice import ConstantChoice, ValidatedNetwork
from xpnet.tabular.rows.division import Fold
from xpnet.tabular.rows.nested_choices import ValidationParts, validation_parts_of
from xpnet.tabular.rows.network_splits import NetworkSplits
from xpnet.tabular.rows.table_split import TableSplit
from xpnet.training import Callback, LabeledRows, Training

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
        """Raise Cancelled if another network's training has been cancelled."""
        if self.cancelled.is_set():
            raise Cancelled


class RecipesOfNetworks(Protocol):
    """The recipes of the networks of a fit."""

    def of(self, setting: int, fold: int) -> Recipe:
        """Return the recipe of a setting for the training rows of a fold, both by their numbers."""


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
    nested : outputs of each network's validation rows, (rows, outputs), by choices of other rows;
    None where these were not followed
    nested_losses : the mean loss of these outputs for each network, None likewise
    predict_folds_together : whether the networks of a fold predict its validation rows by their
        mean, as they predict new rows, and not one by one
    note : a sentence on networks that predict worse than a constant, "" for none
    """

    networks: list[Network]
    validated: list[Network]
    plans: list[PlannedNetwork]
    best_epochs: list[int]
    nested: list[numpy.ndarray | None]
    nested_losses: list[float | None]
    predict_folds_together: bool = False
    note: str = ""

    @classmethod
    def one_a_fold(
        cls, networks: list[Network], nested: list[numpy.ndarray | None]
    ) -> "TrainedNetworks":
        """Return networks of which each has the fold of its number, and made no epochs after it.

        nested : the outputs of their validation rows by choices of other rows
        """
        plans = [PlannedNetwork(0, 0, fold) for fold in range(len(networks))]
        count = len(networks)
        return cls(networks, networks, plans, [1] * count, nested, [None] * count)

    @property
    def n_iter(self) -> int:
        """Return the largest number of epochs that a network made."""
        return max(network.history.epochs for network in self.networks)

    @property
    def validation_loss(self) -> float | None:
        """Return the mean validation loss of the networks, if any has one.

        The lowest loss of few rows is lower than that of new rows. So each row of few is measured
        with the epoch and the linear baseline that others choose; of many rows it is the loss of
        the best epoch.
        """
        losses = [
            network.history.validation_loss[epoch - 1] if nested is None else nested
            for network, epoch, nested in zip(
                self.networks, self.best_epochs, self.nested_losses, strict=True
            )
            if network.history.validation_loss
        ]
        return fmean(losses) if losses else None

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
            nested=[self.nested[k] for k in indices],
            nested_losses=[self.nested_losses[k] for k in indices],
        )


class Ensemble:
    """Trains the networks of one fit, one after the other or in threads.

    recipe : of the estimator's parameters; recipes : of the networks, with other dropout, updates
        and factors of inputs
    split : rows and validation rows
    plans : one for each network; jobs : how many are trained at once
    trainings_to_make : number of plans that are carried out at most, which share the time
    leaves_out : whether networks that predict worse than a constant are left out
    """

    leaves_out: bool = True

    def __init__(
        self,
        recipe: Recipe,
        recipes: RecipesOfNetworks,
        split: TableSplit,
        plans: Sequence[PlannedNetwork],
        jobs: int,
    ) -> None:
        self.recipe: Recipe = recipe
        self.recipes: RecipesOfNetworks = recipes
        self.split: TableSplit = split
        self.validation: Sequence[Fold] | LabeledRows | None = split.validation
        backend = choose(backend=recipe.backend).backend
        self.splits: NetworkSplits = NetworkSplits(split, backend)
        self.plans: Sequence[PlannedNetwork] = plans
        self.jobs: int = jobs
        self.trainings_to_make: int = len(plans)
        self.trainings: dict[int, NetworkTraining] = {}
        self.wide: WideBaseline | None = self._fit_wide()
        self.cancelled: Event = Event()
        self._changed = Condition()
        self._under_way = 0  # trainings in threads
        self._begun = 0  # trainings

    def train(self, minimum: int) -> None:
        """Train the minimum number of networks, and more while there are unused epochs."""
        self.train_networks(range(minimum))
        while self._has_time_for_another(minimum):
            self.train_one(len(self.trainings))

    def train_networks(self, numbers: Iterable[int]) -> None:
        """Train the networks of some numbers.

        An exception ends all trainings, and is raised when all threads have ended.
        """
        with sharing_the_machine(max(1, get_threads() // self.jobs)):
            if self.jobs > 1:
                self._train_in_threads(numbers)
            else:
                for number in numbers:
                    self.train_one(number)

    def train_one(self, number: int) -> None:
        """Train one network, within its part of the time that is left; none without time."""
        if self._is_out_of_time:
            return
        recipe = self.recipe_of(number)
        with self._changed:
            begun = self._begun
            self._begun += 1
        rounds = -(-self.trainings_to_make // self.jobs) - begun // self.jobs
        seconds = (self.recipe.deadline - time.monotonic()) / rounds
        end = time.monotonic() + seconds
        plan = self.plans[number]
        fold = self.fold_of(plan)
        split = self.splits.of_network(fold, recipe.input_scales)
        rows, validation = split.training, split.validation
        parts = self._validation_parts(plan, validation)
        wide = None
        if self.wide is not None:
            wide = self.wide.of_network(fold, recipe.input_scales, refits=self._refits)
        training = begin_training(
            recipe, plan.seed, rows, validation, parts=parts, seconds=seconds, wide=wide
        )
        self.trainings[number] = training  # From now on an interruption finds it there.
        watchers, state = ((), None) if recipe.watch is None else recipe.watch(number)
        cancel = CancelTogether(self.cancelled)
        train_network(
            training, recipe, rows, validation, callbacks=[cancel, *watchers], resume_from=state
        )
        measure_totals(
            training, rows, validation if isinstance(self.validation, Sequence) else None
        )
        seconds = end - time.monotonic()
        if self._refits and training.best_epoch and seconds > training.network.history.seconds[-1]:
            all_rows = self.splits.all_rows(recipe.input_scales)
            refit_network(training, recipe, all_rows, seconds=seconds, callbacks=[cancel])

    def recipe_of(self, number: int) -> Recipe:
        """Return the recipe of a network."""
        plan = self.plans[number]
        return self.recipes.of(plan.setting, self.fold_of(plan))

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
        """Return whether a network has made a whole epoch."""
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
        choice = self._choice_of(trainings)
        beaten = [
            number for number, is_beaten in zip(trainings, choice.beaten, strict=True) if is_beaten
        ]
        note = _note_of_beaten(len(beaten), len(trainings))
        if 0 < len(beaten) < len(trainings):
            trainings = {k: trainings[k] for k in trainings if k not in beaten}
            choice = self._choice_of(trainings)
        kept = list(trainings.values())
        recipes = [
            replace(self.recipe, input_scales=self.recipe_of(number).input_scales)
            for number in trainings
        ]
        nested = choice.nested_outputs()
        constant = choice.constants.of_all_rows if choice.is_constant else None
        validated = with_baselines(recipes, kept, refitted=False, constant=constant)
        networks = validated
        has_totals = any(one.final_totals is not one.totals for one in kept)
        has_refits = any(one.refitted is not None for one in kept)
        if has_totals or (self._refits and (self.wide or has_refits)):
            networks = with_baselines(recipes, kept, refitted=True, constant=constant)
        return TrainedNetworks(
            networks=networks,
            validated=validated,
            plans=[self.plans[number] for number in trainings],
            best_epochs=[training.best_epoch for training in kept],
            note=note,
            nested=nested,
            nested_losses=[
                None
                if outputs is None or training.nested is None
                else training.nested.parts.mean_loss(outputs)
                for outputs, training in zip(nested, kept, strict=True)
            ],
        )

    def _choice_of(self, trainings: Mapping[int, NetworkTraining]) -> ConstantChoice:
        """Return the choice between the networks of some trainings and a constant."""
        folds = [self.fold_of(self.plans[number]) for number in trainings]
        outputs = [
            training.balanced(nested)
            for training, nested in zip(
                trainings.values(),
                nested_predictions(list(trainings.values()), folds),
                strict=True,
            )
        ]
        parts = [
            None if training.nested is None else training.nested.parts.part_of_row
            for training in trainings.values()
        ]
        return ConstantChoice(
            Constants(self.split, self.recipe.spec),
            [
                ValidatedNetwork(*of_network)
                for of_network in zip(folds, outputs, parts, strict=True)
            ],
            noise_folds=frozenset() if self.wide is not None else self.recipe.noise_folds,
            may_leave_out=self.leaves_out,
            may_leave_out_all=self.recipe.may_be_constant,
        )

    def fold_of(self, plan: PlannedNetwork) -> int:
        """Return the number of the validation rows of a network, 0 where all have the same."""
        return plan.fold % len(self.validation) if isinstance(self.validation, Sequence) else 0

    def _validation_parts(
        self, plan: PlannedNetwork, validation: LabeledRows | None
    ) -> ValidationParts | None:
        """Return the parts of a network's validation rows, of which the others choose."""
        if validation is None or isinstance(validation.X, Source):
            return None
        groups = None
        if isinstance(self.validation, Sequence):
            groups = self.validation[self.fold_of(plan)].groups
        rows = LabeledRows(validation.X, to_host(validation.Y), to_host(validation.weight))
        return validation_parts_of(rows, groups, self.recipe.spec)

    def _train_in_threads(self, numbers: Iterable[int]) -> None:
        """Train the networks with these numbers in threads; an error ends all trainings."""
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
        """Train one network, counted among those under way; raise Cancelled if none may begin."""
        with self._changed:
            if self.cancelled.is_set():
                raise Cancelled
            self._under_way += 1
        try:
            self.train_one(number)
        finally:
            with self._changed:
                self._under_way -= 1
                self._changed.notify_all()

    def _has_time_for_another(self, minimum: int) -> bool:
        """Return whether all networks and another one make no more epochs than the minimum may."""
        count = len(self.trainings)
        if count >= len(self.plans) or time.monotonic() >= self.recipe.deadline:
            return False
        epochs = [training.network.history.epochs for training in self.trainings.values()]
        return sum(epochs) / count * (count + 1) <= minimum * self.recipe.epochs

    @property
    def _is_out_of_time(self) -> bool:
        """Return whether the time is over and a network has made a whole epoch, so that one can
        predict.
        """
        return time.monotonic() >= self.recipe.deadline and self.whole_epochs

    def _fit_wide(self) -> WideBaseline | None:
        """Fit linear models to a table with more numbers than rows; None for another."""
        if self.recipe.input_sums is None:
            return None
        now = time.monotonic()
        deadline = now + LINEAR_SHARE * (self.recipe.deadline - now)
        return fit_wide(self.recipe.input_sums, self.split, self.recipe.spec, deadline)

    @property
    def _refits(self) -> bool:
        """Return whether networks train on all rows at the end; not where the user validates."""
        return self.recipe.refit and isinstance(self.validation, Sequence)


def _note_of_beaten(beaten: int, count: int) -> str:
    """Return a sentence on networks that predict worse than a constant, "" for none.

    beaten : number of these networks; count : of all
    """
    if not beaten:
        return ""
    left_out = "" if beaten == count else ", and have no part in the predictions"
    return f"{beaten} of {count} networks predicted validation rows worse than a constant{left_out}"


def _wait_for(futures: Sequence[Future[None]]) -> None:
    """Wait until all have ended; raise the exception of the first that failed."""
    unfinished = set(futures)
    while unfinished:
        done, unfinished = wait(unfinished, timeout=WAKE_SECONDS, return_when=FIRST_EXCEPTION)
        for future in done:
            future.result()
