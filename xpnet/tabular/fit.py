"""A fit of a table that is ready to train: its settings, its rows and its networks."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from joblib import effective_n_jobs
from numpy.random import RandomState
from sklearn.exceptions import ConvergenceWarning

from xpnet.errors import warn_user
from xpnet.tabular.ensemble.best_epoch import still_falls
from xpnet.tabular.ensemble.ensemble import Ensemble, TrainedNetworks
from xpnet.tabular.ensemble.recipe import Recipe, make_recipe
from xpnet.tabular.ensemble.search import make_ensemble
from xpnet.tabular.ensemble.validation.cross_fit import CrossFit, needs_cross_fit
from xpnet.tabular.ensemble.validation.validation_predictions import ValidationPredictions
from xpnet.tabular.ensemble.watching import Watching
from xpnet.tabular.rows.table_split import TableSplit
from xpnet.tabular.rows.target_coding import TargetCoding
from xpnet.tabular.settings import TableSettings
from xpnet.typing import Transformer


class BegunFit(NamedTuple):
    """The beginning of a fit.

    started : the monotonic time, in seconds; watching : callbacks and lines that follow the fit
    random_state : of all its draws
    has_offsets : whether its rows have offsets or exposures
    """

    started: float
    watching: Watching
    random_state: RandomState
    has_offsets: bool


@dataclass(frozen=True, eq=False)
class TableFit:
    """A fit that is ready to train. Nothing of the estimator has changed yet.

    settings : of the fit; encoder : fitted; coding : of the targets
    split : its rows, encoded
    recipe, ensemble : of its networks; minimum : the number of networks that it trains at least
    is_cross_fitted : whether intervals come from networks of their own
    has_offsets : whether the rows have offsets or exposures
    """

    settings: TableSettings
    encoder: Transformer
    coding: TargetCoding
    split: TableSplit
    recipe: Recipe
    ensemble: Ensemble
    minimum: int
    is_cross_fitted: bool
    has_offsets: bool

    def train(self) -> ValidationPredictions | None:
        """Train the networks; return the validation rows that networks of their own predict."""
        self.ensemble.train(self.minimum)
        if not self.is_cross_fitted:
            return None
        return CrossFit(self.ensemble, self.split).predictions()

    def warn_of_unfinished_trainings(self, trained: TrainedNetworks) -> None:
        """Warn of validation losses that still fell at a limit that the user has not set."""
        recipe = self.recipe
        may_still_fall = recipe.is_capped or self.split.validation is not None
        if self.settings.epochs is not None or not may_still_fall:
            return
        at_the_limit = [
            network
            for network, epoch in zip(trained.networks, trained.best_epochs, strict=True)
            if epoch == recipe.epochs
        ]
        unfinished = sum(
            recipe.is_capped or still_falls(network.history.validation_loss)
            for network in at_the_limit
        )
        if not unfinished:
            return
        remedy = "Set a larger `max_iter`."
        if recipe.is_capped:
            remedy = "The number of rows sets it; raise `quality`, or set `max_iter`."
        warn_user(
            f"The validation loss of {unfinished} of {len(trained.networks)} networks still "
            f"fell at the limit of {recipe.epochs} epochs. {remedy}",
            ConvergenceWarning,
        )


def prepare_fit(
    settings: TableSettings,
    encoder: Transformer,
    coding: TargetCoding,
    split: TableSplit,
    start: BegunFit,
) -> TableFit:
    """Plan the networks of a fit."""
    start.watching.encoded(encoder)
    minimum, maximum = settings.network_counts(split.rows.count)
    recipe = make_recipe(
        settings,
        encoder,
        split,
        outputs=coding.outputs,
        networks=minimum,
        started=start.started,
        watch=start.watching.of_network,
    )
    seeds = start.random_state.randint(2**31 - 1, size=maximum).tolist()
    jobs = min(effective_n_jobs(settings.n_jobs), minimum)
    is_cross_fitted = needs_cross_fit(settings, split)
    if may_change(split, recipe, maximum) and not is_cross_fitted:
        if isinstance(split.validation, Sequence):
            split = split.with_training_rows_first()
        split = replace(split, are_of_one=True)
    ensemble = make_ensemble(
        settings,
        encoder,
        recipe,
        split,
        seeds=seeds,
        jobs=jobs,
        verbose=start.watching.verbose > 0,
    )
    return TableFit(
        settings,
        encoder,
        coding,
        split,
        recipe,
        ensemble,
        minimum,
        is_cross_fitted=is_cross_fitted,
        has_offsets=start.has_offsets,
    )


def may_change(split: TableSplit, recipe: Recipe, networks: int) -> bool:
    """Return whether one network trains, once, on rows that belong to the fit."""
    has_folds = isinstance(split.validation, Sequence)
    return split.are_own and networks == 1 and not (recipe.refit and has_folds)
