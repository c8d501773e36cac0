"""Predictions of rows of few groups by networks that these rows have not influenced, for intervals.

The validation rows of a network choose its epoch and its linear baseline, and the trees that scale
inputs are fitted to them. With many groups this hardly matters. Rows of a group are alike, however:
with few groups the choices fit these groups, and errors on them are smaller than on new groups.

So the intervals of a table with few groups come from networks of their own, one for each fold.
Each is trained on the other folds alone, for as many epochs and with the linear baseline that the
validation rows of other folds have chosen. So all groups count, too, not only those that a network
of the fit has for validation. (Vovk, Cross-conformal predictors, 2015; Barber, Candes, Ramdas,
Tibshirani, Predictive inference with the jackknife+, 2021.)
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy

from xpnet.backend.spec import OUTPUT_ACTIVATIONS
from xpnet.models import Network
from xpnet.tabular.ensemble.balance import totals_of
from xpnet.tabular.ensemble.ensemble import Ensemble
from xpnet.tabular.ensemble.linear.baseline import fit_linear
from xpnet.tabular.ensemble.linear.solvers import LinearModel
from xpnet.tabular.ensemble.network_training import new_network, training_targets
from xpnet.tabular.ensemble.predicting_networks import blend_weight_of
from xpnet.tabular.ensemble.recipe import LARGE_ROWS, Recipe
from xpnet.tabular.ensemble.refit import LastMean
from xpnet.tabular.ensemble.validation.validation_predictions import ValidationPredictions
from xpnet.tabular.rows.division import Fold
from xpnet.tabular.rows.network_splits import rows_on_host
from xpnet.tabular.rows.table_split import TableSplit
from xpnet.tabular.settings import TableSettings
from xpnet.training import LabeledRows, TimeLimit

MAX_GROUPS = 100
"""Number of groups up to which rows are predicted so. The validation rows of more groups say enough
of new ones."""


class Choices(NamedTuple):
    """The choices for the network of a fold, by the validation rows of other folds.

    epochs : the median of their best epochs
    blend_weight : of the linear baseline, 0 for none; penalty : of its squared weights
    """

    epochs: int
    blend_weight: float
    penalty: float


def needs_cross_fit(settings: TableSettings, split: TableSplit) -> bool:
    """Return whether intervals must come from networks of their own: for numbers in few groups."""
    folds = split.folds
    if settings.task != "regression" or not folds:
        return False
    by_group = [fold.groups for fold in folds if fold.unseen_inputs is not None]
    count = sum(len(numpy.unique(groups)) for groups in by_group if groups is not None)
    return 0 < count <= MAX_GROUPS and split.rows.count < LARGE_ROWS


@dataclass(frozen=True)
class CrossFit:
    """Trains a network for each fold, and predicts the rows of the fold.

    ensemble : the networks of the fit, whose training is over
    split : the rows of all folds, on the host
    """

    ensemble: Ensemble
    split: TableSplit

    @property
    def folds(self) -> Sequence[Fold]:
        """Return the folds of the fit, also those whose validation rows no network has."""
        return self.split.folds

    def predictions(self) -> ValidationPredictions | None:
        """Return the predictions of all rows, fold by fold.

        None where the time of the fit is over before the last fold, and where a loss was not
        finite.
        """
        outputs = []
        for number in range(len(self.folds)):
            if time.monotonic() >= self.ensemble.recipe.deadline:
                return None
            outputs.append(self._outputs_of_fold(number))
        predictions = numpy.concatenate(outputs)
        if not numpy.isfinite(predictions).all():
            return None
        return ValidationPredictions.of_folds(predictions, self.split.rows, self.folds)

    def _outputs_of_fold(self, number: int) -> numpy.ndarray:
        """Return the outputs for the rows of a fold: (rows, outputs)."""
        recipe = self.ensemble.recipes.of(0, number)
        choices = self._choices_of_others(number)
        split = self.ensemble.splits.of_network(number, recipe.input_scales)
        rows, validation = split.training, split.validation
        assert validation is not None
        network = self.trained_network(number, recipe, rows, choices.epochs)
        outputs = network.backend.to_numpy(network.predict(validation.X))
        if OUTPUT_ACTIVATIONS[network.spec.loss] == "exp":
            outputs = outputs * numpy.exp(totals_of(network, rows).shift)
        if not choices.blend_weight:
            return outputs
        linear = self._fitted_baseline(recipe, rows_on_host(rows), choices.penalty)
        of_linear = linear.outputs(rows_on_host(validation).X)
        blended = (1 - choices.blend_weight) * outputs + choices.blend_weight * of_linear
        return blended.astype(outputs.dtype)

    def _choices_of_others(self, number: int) -> Choices:
        """Return the choices by validation rows, without those of a fold if there are others."""
        trainings = [
            training for training in self.ensemble.trainings.values() if training.best_epoch
        ]
        others = [
            training
            for index, training in self.ensemble.trainings.items()
            if training.best_epoch and self.ensemble.fold_of(self.ensemble.plans[index]) != number
        ]
        others = others or trainings
        epochs = round(float(numpy.median([training.best_epoch for training in others])))
        blend_weight = blend_weight_of(others)
        penalty = 0.0
        if blend_weight:
            penalties = [
                training.linear.penalty for training in others if training.linear is not None
            ]
            penalty = float(numpy.median(penalties))
        return Choices(max(1, epochs), blend_weight, penalty)

    def trained_network(
        self, number: int, recipe: Recipe, rows: LabeledRows, epochs: int
    ) -> Network:
        """Train a network for a number of epochs; it has the mean of their parameters.

        number : of the fold
        """
        plans = self.ensemble.plans
        network = new_network(recipe, plans[number % len(plans)].seed, rows)
        seconds = max(0.0, recipe.deadline - time.monotonic())
        network.fit(
            rows.X,
            training_targets(recipe, rows, network.backend),
            sample_weight=rows.weight,
            epochs=epochs,
            batch_size=min(recipe.batch_size, rows.count),
            callbacks=[TimeLimit(seconds), LastMean()],
        )
        return network

    def _fitted_baseline(self, recipe: Recipe, rows: LabeledRows, penalty: float) -> LinearModel:
        """Fit the linear baseline of one penalty to rows."""
        assert recipe.input_sums is not None
        choice = fit_linear(
            recipe.input_sums, rows, rows, recipe.spec, recipe.deadline, penalties=[penalty]
        )
        assert choice is not None
        return choice.best
