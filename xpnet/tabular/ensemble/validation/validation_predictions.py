"""The predictions of validation rows by networks that were not trained on them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy

from xpnet.data.sources import Source
from xpnet.learning.split import select
from xpnet.tabular.ensemble.ensemble import TrainedNetworks
from xpnet.tabular.fitted import FittedTable, mean_of
from xpnet.tabular.rows.division import Fold
from xpnet.tabular.rows.table_split import FitRows, TableSplit
from xpnet.training import LabeledRows

MIN_CERTAIN_ROWS = 50
"""Number of validation rows from which no note says that what they measure is uncertain. The share
of right labels among 50 rows has a standard error of 7 percentage points at most."""


@dataclass(frozen=True)
class ValidationPredictions:
    """The predictions of validation rows, with the targets of these rows.

    outputs : (rows, outputs) of networks that were not trained on these rows
    Y : as the loss takes them: (rows,) class indices, (rows, outputs) numbers or soft labels, or
        labels with offsets behind them
    weight : (rows,), None for equal ones
    groups : (rows,) int64, None for rows without groups
    inverse_variance : (rows,) of targets that are rates; None for equal ones
    """

    outputs: numpy.ndarray
    Y: numpy.ndarray
    weight: numpy.ndarray | None
    groups: numpy.ndarray | None = None
    inverse_variance: numpy.ndarray | None = None

    @classmethod
    def of_folds(
        cls, outputs: numpy.ndarray, rows: FitRows, folds: Sequence[Fold]
    ) -> "ValidationPredictions":
        """Return the predictions of the validation rows of folds, one after the other.

        outputs : of these rows; rows : those of all folds
        """
        chosen = numpy.concatenate([fold.validation for fold in folds])
        groups = [fold.groups for fold in folds if fold.groups is not None]
        return cls(
            outputs,
            rows.Y[chosen],
            select(rows.weight, chosen),
            numpy.concatenate(groups) if groups else None,
            select(rows.inverse_variance, chosen),
        )


def note_of_few_rows(count: int) -> str:
    """Return a note on what few validation rows leave uncertain, "" for enough rows, and for none.

    count : number of validation rows, of all networks together
    """
    if not 0 < count < MIN_CERTAIN_ROWS:
        return ""
    rows = "1 validation row measures" if count == 1 else f"{count} validation rows measure"
    return (
        f"only {rows} the networks: the validation loss, importances, intervals and thresholds are "
        "uncertain; cross-validate to compare models"
    )


def predict_validation_rows(
    fitted: FittedTable, trained: TrainedNetworks, split: TableSplit
) -> ValidationPredictions:
    """Return the predictions of validation rows by networks that were not trained on them."""
    rows = split.rows
    validation = split.validation
    if isinstance(validation, LabeledRows):
        nested = nested_outputs_of(trained, range(len(trained.networks)))
        if nested is not None:
            return _of_users_rows(nested, validation)
        X = validation.X
        parts = [X]
        if isinstance(X, Source):
            parts = [part for block in range(X.blocks) for part in X.parts(block)]
        means = [mean_of(fitted.network_outputs(part, "predict")) for part in parts]
        return _of_users_rows(numpy.concatenate(means), validation)
    if validation is None:
        nothing = numpy.empty((0, fitted.spec.widths[-1]), fitted.spec.dtype)
        return ValidationPredictions(
            nothing, rows.Y[:0], select(rows.weight, numpy.empty(0, numpy.int64))
        )
    return predict_folds(trained, split)


def _of_users_rows(outputs: numpy.ndarray, rows: FitRows) -> ValidationPredictions:
    """Return the validation rows of a user with their predictions."""
    return ValidationPredictions(
        outputs, rows.Y, rows.weight, inverse_variance=rows.inverse_variance
    )


def predict_folds(trained: TrainedNetworks, split: TableSplit) -> ValidationPredictions:
    """Return the predictions of the validation rows of all networks, which are in folds."""
    validation = split.validation
    assert isinstance(validation, Sequence)
    indices = [plan.fold % len(validation) for plan in trained.plans]
    networks_of_part: dict[int, list[int]] = {}
    for network, index in enumerate(indices):
        part = index if trained.predict_folds_together else network
        networks_of_part.setdefault(part, []).append(network)
    outputs, folds = [], []
    backend = trained.validated[0].backend
    for networks in networks_of_part.values():
        fold = validation[indices[networks[0]]]
        predicted = nested_outputs_of(trained, networks)
        if predicted is None:
            X = backend.asarray(split.validation_rows(fold).X)
            of_networks = [trained.validated[k].predict(X) for k in networks]
            predicted = mean_of([backend.to_numpy(of_network) for of_network in of_networks])
        outputs.append(predicted)
        folds.append(fold)
    return ValidationPredictions.of_folds(numpy.concatenate(outputs), split.rows, folds)


def nested_outputs_of(trained: TrainedNetworks, networks: Sequence[int]) -> numpy.ndarray | None:
    """Return the mean outputs of the validation rows of some networks by choices of other rows.

    None where these choices were not followed.
    """
    nested = [outputs for outputs in (trained.nested[k] for k in networks) if outputs is not None]
    if len(nested) < len(networks):
        return None
    return mean_of([outputs.astype(trained.validated[0].spec.dtype) for outputs in nested])
