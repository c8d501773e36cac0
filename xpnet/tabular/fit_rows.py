"""The rows of a fit: those whose weight is not 0, with their targets, and their predictions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _num_samples, check_consistent_length

from xpnet.data.sources import Source
from xpnet.errors import InputError
from xpnet.estimators.checks import check_weights, weights_in_dtype
from xpnet.tabular.columns import Table
from xpnet.tabular.division import Fold, validation_inputs
from xpnet.tabular.encoder import TableEncoder
from xpnet.tabular.ensemble import TrainedNetworks
from xpnet.tabular.fitted import FittedTable
from xpnet.tabular.frames import table_of
from xpnet.training import LabeledRows
from xpnet.typing import ArrayLike, Transformer


class TargetCoding(Protocol):
    """The coding of targets, which a fit learns from the training rows before it trains."""

    @property
    def outputs(self) -> int:
        """Return the number of outputs of the networks."""

    def encode(self, y: numpy.ndarray, name: str) -> numpy.ndarray:
        """Return targets as the loss takes them: (rows,) class indices or (rows, outputs).

        name : of the argument, for errors
        """


@dataclass(frozen=True)
class WeightedTargets:
    """The rows of a table that count, with their targets.

    indices : (rows,) their places in the table, None for all rows
    Y : (rows,) class indices or (rows, outputs) numbers
    weight : (rows,) positive, None for equal ones
    """

    indices: numpy.ndarray | None
    Y: numpy.ndarray
    weight: numpy.ndarray | None

    def part(self, selection: numpy.ndarray) -> "WeightedTargets":
        """Return some of these rows. selection : (these rows,) bool"""
        chosen = numpy.flatnonzero(selection)
        return WeightedTargets(
            chosen if self.indices is None else self.indices[chosen],
            self.Y[chosen],
            select(self.weight, chosen),
        )


@dataclass(frozen=True)
class PredictedRows:
    """Validation rows with their predictions.

    outputs : (rows, outputs) of networks that were not trained on these rows
    Y : (rows,) class indices or (rows, outputs) numbers
    weight : (rows,), None for equal ones
    groups : (rows,) int64, None for rows without groups
    """

    outputs: numpy.ndarray
    Y: numpy.ndarray
    weight: numpy.ndarray | None
    groups: numpy.ndarray | None = None


def check_row_weights(
    weights: ArrayLike | None, rows: int, dtype: str, name: str
) -> numpy.ndarray | None:
    """Return weights of rows, (rows,) of a dtype, None for no weights.

    Raises InputError for negative weights and for those that the dtype takes for 0 or for infinity,
    ValueError for another shape.
    """
    if weights is None:
        return None
    checked = check_weights(weights, rows, name)
    if (checked < 0).any():
        raise InputError(
            f"`{name}` must not be negative; got {checked.min():g}. Leave {name} out, or "
            "correct it."
        )
    return weights_in_dtype(checked, dtype, name)


def counted(weight: numpy.ndarray | None) -> numpy.ndarray | None:
    """Return the indices of the rows whose weight is not 0, None for all rows."""
    return None if weight is None or weight.all() else numpy.flatnonzero(weight)


def select(values: Any, indices: numpy.ndarray | None) -> Any:
    """Return a selection of values. indices : None for all"""
    return values if values is None or indices is None else values[indices]


def unequal(weight: numpy.ndarray | None) -> numpy.ndarray | None:
    """Return weights, None for equal ones, which have no effect."""
    return None if weight is None or (weight == weight[:1]).all() else weight


def counted_table(X: Any, rows: int, encoder: Transformer, targets: WeightedTargets) -> Any:
    """Return the rows of a table that count, as the encoder takes them.

    Raises ValueError for a table of another number of rows.
    """
    table = table_of(X) if isinstance(encoder, TableEncoder) else X
    count = table.rows if isinstance(table, Table) else int(_num_samples(table))
    check_consistent_length(numpy.empty(count), numpy.empty(rows))
    if targets.indices is None:
        return table
    if isinstance(table, Table):
        return table.take(targets.indices)
    return _safe_indexing(table, targets.indices)


def predicted_rows(
    fitted: FittedTable,
    trained: TrainedNetworks,
    rows: LabeledRows,
    validation: Sequence[Fold] | LabeledRows | None,
) -> PredictedRows:
    """Return the predictions of rows by networks that were not trained on them.

    rows : those of all folds; validation : folds, or rows of the user, or None
    """
    if isinstance(validation, LabeledRows):
        X: Any = validation.X
        parts = [X]
        if isinstance(X, Source):
            parts = [part for block in range(X.blocks) for part in X.parts(block)]
        means = [numpy.mean(fitted.network_outputs(part, "predict"), axis=0) for part in parts]
        return PredictedRows(numpy.concatenate(means), validation.Y, validation.weight)
    if validation is None:
        nothing = numpy.empty((0, fitted.spec.widths[-1]), fitted.spec.dtype)
        return PredictedRows(nothing, rows.Y[:0], select(rows.weight, numpy.empty(0, numpy.int64)))
    return rows_of_folds(trained, rows, validation)


def rows_of_folds(
    trained: TrainedNetworks, rows: LabeledRows, validation: Sequence[Fold]
) -> PredictedRows:
    """Return the predictions of the validation rows of all networks."""
    indices = [plan.fold % len(validation) for plan in trained.plans]
    networks_of_part: dict[int, list[int]] = {}
    for network, index in enumerate(indices):
        part = index if trained.predict_folds_together else network
        networks_of_part.setdefault(part, []).append(network)
    outputs, folds = [], []
    backend = trained.validated[0].backend
    for networks in networks_of_part.values():
        fold = validation[indices[networks[0]]]
        X = backend.asarray(validation_inputs(rows.X, fold))
        predicted = [trained.validated[k].predict(X) for k in networks]
        outputs.append(numpy.mean([backend.to_numpy(one) for one in predicted], axis=0))
        folds.append(fold)
    chosen = numpy.concatenate([fold.validation for fold in folds])
    groups = [fold.groups for fold in folds if fold.groups is not None]
    return PredictedRows(
        numpy.concatenate(outputs),
        rows.Y[chosen],
        select(rows.weight, chosen),
        numpy.concatenate(groups) if groups else None,
    )
