"""The settings whose networks predict validation rows best together."""

from collections.abc import Sequence

import numpy

from xpnet.backend.spec import CLASS_LOSSES
from xpnet.learning.scores import log_losses
from xpnet.tabular.ensemble.ensemble import TrainedNetworks
from xpnet.tabular.ensemble.validation.validation_predictions import (
    ValidationPredictions,
    predict_folds,
)
from xpnet.tabular.fitted import mean_of
from xpnet.tabular.rows.table_split import TableSplit
from xpnet.training import LabeledRows

MAX_RISE = 0.01
"""Share of its loss by which the mean of more predictions may be worse: few validation rows do not
show that more networks vary less."""


def best_blend(trained: TrainedNetworks, split: TableSplit) -> TrainedNetworks:
    """Return the networks of the settings whose mean predicts the validation rows best.

    Losses other than that of classes and squared errors keep all settings.
    """
    loss = trained.validated[0].spec.loss
    has_classes = loss in CLASS_LOSSES
    if not has_classes and loss != "squared_error":
        return trained
    settings = trained.settings
    predicted = [
        _predictions_of_setting(trained.of_settings([setting]), split) for setting in settings
    ]
    chosen = best_together(predicted, are_classes=has_classes)
    return trained.of_settings([settings[k] for k in chosen])


def best_together(
    predicted: Sequence[ValidationPredictions], *, are_classes: bool | None = None
) -> list[int]:
    """Return the indices of the predictions whose mean has the lowest loss, chosen one by one.

    The best one comes first, and each time the one that lowers the loss most is added, or raises it
    by MAX_RISE at most. (Caruana, Niculescu-Mizil, Crew, Ksikes, Ensemble Selection from Libraries
    of Models, 2004; here each is added once, since weights that are fitted to few rows predict
    others worse.)

    predicted : predictions of the same rows, at least one
    are_classes : whether they are probabilities; None if they are for class indices alone
    """
    chosen: list[int] = []
    lowest = numpy.inf
    while len(chosen) < len(predicted):
        losses = {
            k: _loss_of_mean([predicted[i] for i in (*chosen, k)], are_classes)
            for k in range(len(predicted))
            if k not in chosen
        }
        best = min(losses, key=losses.__getitem__)
        if chosen and not losses[best] <= lowest * (1 + MAX_RISE):
            break
        chosen.append(best)
        lowest = min(lowest, losses[best])
    return chosen


def _predictions_of_setting(trained: TrainedNetworks, split: TableSplit) -> ValidationPredictions:
    """Return the predictions of the validation rows by the networks of one setting."""
    validation = split.validation
    if not isinstance(validation, LabeledRows):
        return predict_folds(trained, split)
    backend = trained.validated[0].backend
    X = backend.asarray(validation.X)
    outputs = [backend.to_numpy(network.predict(X)) for network in trained.validated]
    return ValidationPredictions(mean_of(outputs), validation.Y, validation.weight)


def _loss_of_mean(predicted: Sequence[ValidationPredictions], are_classes: bool | None) -> float:
    """Return the loss of the mean of several predictions of the same rows."""
    rows = predicted[0]
    outputs = numpy.stack([prediction.outputs for prediction in predicted])
    mean = outputs.mean(axis=0, dtype=numpy.float64)
    if rows.Y.ndim == 1 or are_classes:
        losses = log_losses(mean, rows.Y)
    else:
        losses = ((mean - rows.Y) ** 2).mean(axis=1)
    return float(numpy.average(losses, weights=rows.weight))
