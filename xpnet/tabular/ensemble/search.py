"""Settings in which the networks of a fit differ, and the search for the best of them.

Networks of different settings make different errors, so that their mean predicts better than as
many networks of one setting. At some qualities the networks of a fit take the first settings in
turn. At the highest quality a search chooses the settings.

The search is successive halving (Jamieson, Talwalkar, Non-stochastic Best Arm Identification and
Hyperparameter Optimization, 2016). A rung trains networks of all settings that are left on a few
more folds, and the settings with the lower validation losses go on to the next rung. Nothing of it
is lost: networks of the last settings are the networks of the fit.
"""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy

from xpnet.data.sources import Source
from xpnet.tabular.columns.records import enumerated
from xpnet.tabular.encodings.encoding import Encoding
from xpnet.tabular.ensemble.blending import best_blend
from xpnet.tabular.ensemble.ensemble import Ensemble, PlannedNetwork, TrainedNetworks
from xpnet.tabular.ensemble.network_training import NetworkTraining
from xpnet.tabular.ensemble.recipe import LARGE_ROWS, FoldScales, Recipe, with_scales
from xpnet.tabular.quality import Rung
from xpnet.tabular.rows.table_split import TableSplit
from xpnet.tabular.settings import TableSettings
from xpnet.training import LabeledRows
from xpnet.training.log import log_named
from xpnet.typing import Transformer


@dataclass(frozen=True)
class NetworkSetting:
    """The values of one setting, in place of those of the fit.

    title : names the setting in lines about a fit
    label_dropout, number_dropout : probability for classifiers and for regressors; None for that
        of the fit
    bin_scale : factor of the inputs of bins
    uses_importances : whether inputs are scaled by the importances of trees
    learning_rate, weight_decay : factors of those of the fit
    """

    title: str
    label_dropout: float | None = None
    number_dropout: float | None = None
    bin_scale: float = 1.0
    uses_importances: bool = True
    learning_rate: float = 1.0
    weight_decay: float = 1.0

    @property
    def changes_dropout(self) -> bool:
        """Return whether the dropout differs from that of the fit."""
        return self.label_dropout is not None

    @property
    def changes_scales(self) -> bool:
        """Return whether the inputs have other factors."""
        return self.bin_scale != 1.0 or not self.uses_importances

    @property
    def changes_updates(self) -> bool:
        """Return whether the learning rate and the weight decay differ from the estimator's."""
        return self.learning_rate != 1.0


SETTINGS = (
    NetworkSetting("small bins", bin_scale=0.4),
    NetworkSetting("no importances", uses_importances=False),
    NetworkSetting("other dropout", label_dropout=0.0, number_dropout=0.05),
    NetworkSetting(
        "small bins, no importances, large steps",
        bin_scale=0.4,
        uses_importances=False,
        learning_rate=2.0,
        weight_decay=4.0,
    ),
)
"""The settings, in the order in which networks take them."""
DEFAULTS = NetworkSetting("defaults")
"""The setting where the user has chosen what all others change."""


def usable_settings(fit_settings: TableSettings, recipe: Recipe) -> list[NetworkSetting]:
    """Return the settings that change nothing that the user has chosen, at least one."""
    may_change_scales = recipe.has_helpers
    has_hidden = len(recipe.spec.widths) > 2
    may_change_dropout = has_hidden and not fit_settings.has_chosen_dropout
    settings = [
        setting
        for setting in SETTINGS
        if (may_change_scales or not setting.changes_scales)
        and (may_change_dropout or not setting.changes_dropout)
        and (not fit_settings.has_chosen_updates or not setting.changes_updates)
    ]
    return settings if len(settings) > 1 else [DEFAULTS, *settings]


def settings_of_networks(
    fit_settings: TableSettings, recipe: Recipe, count: int
) -> list[NetworkSetting]:
    """Return the settings that the networks of a fit have, at least one.

    One network alone has the setting of the fit if it predicts labels: other settings pay by their
    differences. If it predicts numbers it has the first one, whose smaller bins predict better.

    count : maximum number of settings
    """
    if count == 1 and fit_settings.task == "classification":
        return [DEFAULTS]
    return usable_settings(fit_settings, recipe)[:count]


def recipe_of_setting(
    recipe: Recipe, setting: NetworkSetting, encodings: Sequence[Encoding], task: str
) -> Recipe:
    """Return a recipe with the dropout, updates and factors of the inputs that a setting has.

    encodings : of the table, whose inputs the factors are for
    """
    if setting == DEFAULTS:
        return recipe
    dropout = setting.label_dropout if task == "classification" else setting.number_dropout
    spec = recipe.spec
    schedule = recipe.schedule
    if dropout is not None:
        hidden = len(spec.widths) - 2
        spec = replace(spec, dropout=(dropout,) * hidden if dropout else ())
    rule = replace(spec.rule, weight_decay=spec.rule.weight_decay * setting.weight_decay)
    recipe = replace(
        recipe,
        spec=replace(spec, rule=rule),
        learning_rate=recipe.learning_rate * setting.learning_rate,
        schedule=lambda epoch, losses: schedule(epoch, losses) * setting.learning_rate,
    )
    if recipe.input_scales is None or not setting.changes_scales:
        return recipe
    ones = numpy.ones_like(recipe.input_scales)
    scales = recipe.input_scales if setting.uses_importances else ones
    scales = numpy.where(are_bins(encodings), setting.bin_scale, 1.0) * scales
    sums = recipe.input_sums
    if sums is not None:
        sums = sums.multiply((recipe.input_scales / scales)[:, None]).tocsr()
    return replace(recipe, input_scales=scales, input_sums=sums)


def are_bins(encodings: Sequence[Encoding]) -> numpy.ndarray:
    """Return which inputs are bins of numbers: (inputs,) bool."""
    masks = []
    for encoding in encodings:
        outputs = len(encoding.labels)
        masks.append(numpy.arange(outputs) >= outputs - encoding.bins)
    return numpy.concatenate(masks)


@dataclass(frozen=True)
class SettingRecipes:
    """The recipes of the networks of a fit, by their settings and folds.

    recipe : of the fit; encodings : of the table; task : of the fit
    scales : the factors of the inputs, None for no factors
    """

    recipe: Recipe
    settings: Sequence[NetworkSetting]
    encodings: Sequence[Encoding]
    task: str
    scales: FoldScales | None

    def of(self, setting: int, fold: int) -> Recipe:
        """Return the recipe of a setting for the training rows of a fold, both by their numbers."""
        recipe = self.recipe
        if self.scales is not None:
            recipe = with_scales(recipe, self.scales.of_fold(fold))
        return recipe_of_setting(recipe, self.settings[setting], self.encodings, self.task)


def plans_in_turn(settings: int, seeds: Sequence[int]) -> list[PlannedNetwork]:
    """Return plans of networks that take the settings in turn, each on the next fold."""
    return [PlannedNetwork(seed, k % settings, k) for k, seed in enumerate(seeds)]


def plans_of_search(
    settings: int, rungs: Sequence[Rung], seeds: Sequence[int]
) -> list[PlannedNetwork]:
    """Return plans of networks of each setting on each fold; the search trains some of them.

    Networks of one fold begin alike, so that their losses show what their settings do.
    """
    folds = sum(rung.folds for rung in rungs)
    return [
        PlannedNetwork(seeds[fold], setting, fold)
        for fold in range(folds)
        for setting in range(settings)
    ]


class SearchingEnsemble(Ensemble):
    """Trains the networks of a search, and keeps those of the settings that predict best.

    rungs : of the search; verbose : whether a line about each rung is logged
    """

    leaves_out: bool = False  # The choice of the best together does so.

    def __init__(
        self,
        recipe: Recipe,
        recipes: SettingRecipes,
        split: TableSplit,
        plans: Sequence[PlannedNetwork],
        jobs: int,
        *,
        rungs: Sequence[Rung],
        verbose: bool,
    ) -> None:
        super().__init__(recipe, recipes, split, plans, jobs)
        self.settings: Sequence[NetworkSetting] = recipes.settings
        self.rungs: Sequence[Rung] = rungs
        self.verbose: bool = verbose
        self.trainings_to_make: int = networks_of_search(len(self.settings), rungs)
        self.kept_settings: list[int] = list(range(len(self.settings)))

    def train(self, minimum: int) -> None:
        """Train the networks of each rung; no rung but the first begins when the time is over.

        minimum : not used, since the rungs say how many networks are trained
        """
        folds = 0
        for rung in self.rungs:
            if folds:
                self._keep_best(rung.settings)
            if folds and time.monotonic() >= self.recipe.deadline:
                continue
            new_folds = range(folds, folds + rung.folds)
            self.train_networks(
                number
                for number, plan in enumerate(self.plans)
                if plan.fold in new_folds and plan.setting in self.kept_settings
            )
            folds = new_folds.stop

    def _keep_best(self, count: int) -> None:
        """Keep the settings with the lowest validation losses. count : maximum number of them"""
        self._keep_comparable()
        self.kept_settings = sorted(self.kept_settings, key=self.loss_of_setting)[:count]
        self._log_settings("go on", self.kept_settings)

    def _keep_comparable(self) -> None:
        """Keep the settings with the most networks, which the time may have left on all folds."""
        trained = Counter(self.plans[number].setting for number in self.trainings)
        max_trained = max(trained[setting] for setting in self.kept_settings)
        self.kept_settings = [k for k in self.kept_settings if trained[k] == max_trained]

    def finished(self, *, interrupted: bool) -> TrainedNetworks:
        """Return the networks of the settings that predict the validation rows best together.

        After an interruption these are all networks that have made an epoch.
        """
        if interrupted:
            return super().finished(interrupted=True)
        self._keep_comparable()
        self.trainings: dict[int, NetworkTraining] = {
            number: training
            for number, training in self.trainings.items()
            if self.plans[number].setting in self.kept_settings
        }
        trained = replace(super().finished(interrupted=False), predict_folds_together=True)
        blend = best_blend(trained, self.split)
        self._log_settings("blended", blend.settings)
        return blend

    def _log_settings(self, name: str, settings: Sequence[int]) -> None:
        """Log a line with the titles of some settings."""
        if self.verbose:
            log_named(name, enumerated(self.settings[setting].title for setting in settings))


def networks_of_search(settings: int, rungs: Sequence[Rung]) -> int:
    """Return the number of networks that a search trains."""
    return sum(min(settings, rung.settings) * rung.folds for rung in rungs)


def make_ensemble(
    fit_settings: TableSettings,
    encoder: Transformer,
    recipe: Recipe,
    split: TableSplit,
    *,
    seeds: Sequence[int],
    jobs: int,
    verbose: bool,
) -> Ensemble:
    """Return what trains the networks of a fit: of one setting, of several in turn, or by a search.

    seeds : one for each network, of a search one for each fold; jobs : networks trained at once
    verbose : whether lines about a search are logged
    """
    quality = fit_settings.quality
    searches = may_search(fit_settings, split)
    minimum, _ = fit_settings.network_counts(split.rows.count)
    count = quality.search[0].settings if searches else min(quality.settings, minimum)
    settings = settings_of_networks(fit_settings, recipe, count)
    searches = searches and len(settings) > 1
    encodings = getattr(encoder, "encodings_", ())
    scales = None
    if recipe.has_helpers:
        folds = max(1, len(split.folds) - len(split.other_folds))
        scales = FoldScales(
            fit_settings, encodings, split, recipe.spec.widths[-1], min(minimum, folds)
        )
    recipes = SettingRecipes(recipe, settings, encodings, fit_settings.task, scales)
    if not searches:
        plans = plans_in_turn(len(settings), seeds)
        return Ensemble(recipe, recipes, split, plans, jobs)
    plans = plans_of_search(len(settings), quality.search, seeds)
    return SearchingEnsemble(
        recipe,
        recipes,
        split,
        plans,
        jobs,
        rungs=quality.search,
        verbose=verbose,
    )


def may_search(fit_settings: TableSettings, split: TableSplit) -> bool:
    """Return whether settings are searched for: with validation rows, and networks to choose."""
    validation = split.validation
    parts = [split.rows, *([validation] if isinstance(validation, LabeledRows) else [])]
    in_memory = not any(isinstance(part.X, Source) for part in parts)
    return (
        bool(fit_settings.quality.search)
        and fit_settings.networks is None
        and validation is not None
        and in_memory
        and split.rows.count < LARGE_ROWS
    )
