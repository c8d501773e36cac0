"""The encoded rows of a fit, divided for training and validation."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy

from xpnet.learning.split import select
from xpnet.tabular.encodings.target_means import InputMeans
from xpnet.tabular.rows.division import Fold
from xpnet.training import LabeledRows

COLUMNS_AT_ONCE = 16
"""Number of columns of inputs that are reordered at once; it bounds temporary memory."""


@dataclass
class FitRows(LabeledRows):
    """The encoded rows of a fit, with what their intervals need beside targets and weights.

    inverse_variance : (rows,) of targets that are rates, that of `xpnet.learning.exposure.Rates`;
        None for equal ones
    """

    inverse_variance: numpy.ndarray | None = None

    def part(self, chosen: numpy.ndarray | slice) -> "FitRows":
        """Return some of these rows; a slice of them is a view. chosen : indices, or a slice"""
        inverse_variance = select(self.inverse_variance, chosen)
        return FitRows(
            self.X[chosen], self.Y[chosen], select(self.weight, chosen), inverse_variance
        )

    def joined(self, others: "FitRows") -> "FitRows":
        """Return these rows and others after them."""
        return FitRows(
            numpy.concatenate([self.X, others.X]),
            numpy.concatenate([self.Y, others.Y]),
            _joined(self.weight, others.weight),
            _joined(self.inverse_variance, others.inverse_variance),
        )


def _joined(first: numpy.ndarray | None, second: numpy.ndarray | None) -> numpy.ndarray | None:
    """Return numbers of rows and those of the rows after them, None unless both have some."""
    return None if first is None or second is None else numpy.concatenate([first, second])


@dataclass(frozen=True, eq=False)
class TableSplit:
    """The encoded rows of a fit, and the rows that end its trainings.

    rows : those of all folds
    validation : folds, or validation rows for all networks, or None
    are_own : whether the inputs were made by this fit, which may reorder and scale them in place
    are_of_one : whether one network trains on them, once: it may scale them where they lie
    means : the inputs that are mean targets, which depend on the training rows of a fold
    notes : sentences on what a large table is spared
    other_folds : folds whose validation rows no network has
    """

    rows: FitRows
    validation: Sequence[Fold] | FitRows | None
    are_own: bool = False
    means: Sequence[InputMeans] = ()
    notes: Sequence[str] = ()
    other_folds: Sequence[Fold] = ()
    are_of_one: bool = False

    @property
    def folds(self) -> Sequence[Fold]:
        """Return all folds, first those of the networks; none without folds."""
        if not isinstance(self.validation, Sequence):
            return []
        return [*self.validation, *self.other_folds]

    def training_rows(self, fold: Fold, part: numpy.ndarray | None = None) -> FitRows:
        """Return the training rows of a fold, on the host; a view of them if they are a slice.

        part : indices of some of these rows, None for all
        """
        rows = self.rows
        chosen = fold.training
        if part is not None:
            chosen = part if isinstance(chosen, slice) else chosen[part]
        training = rows.part(chosen)
        if not isinstance(fold.training, slice):
            for means in self.means:
                means.write_training(training.X, fold.training, part)
        return training

    def validation_rows(self, fold: Fold, part: numpy.ndarray | None = None) -> FitRows:
        """Return the validation rows of a fold as new rows are encoded, on the host.

        An input is 0 where no training row has it.

        part : indices of some of these rows, None for all
        """
        rows = self.rows
        chosen = fold.validation if part is None else fold.validation[part]
        validation = rows.part(chosen)
        if not isinstance(fold.training, slice):
            for means in self.means:
                means.write_new(validation.X, fold.training, chosen)
        if fold.unseen_inputs is not None:
            validation.X[:, fold.unseen_inputs] = 0
        return validation

    def with_training_rows_first(self) -> "TableSplit":
        """Reorder the rows in place for their first fold, whose training rows become a slice.

        A training on the slice needs no copy of the inputs, which are most of a fit's memory.
        """
        assert isinstance(self.validation, Sequence)
        rows = self.rows
        fold = self.validation[0]
        training = fold.training
        assert not isinstance(training, slice)
        for inputs, means in self.means:
            rows.X[training, inputs] = means.of_training_rows(training)
            rows.X[fold.validation, inputs] = means.of_new_rows(training, fold.validation)
        order = numpy.concatenate([training, fold.validation])
        for first in range(0, rows.X.shape[1], COLUMNS_AT_ONCE):
            columns = slice(first, first + COLUMNS_AT_ONCE)
            rows.X[:, columns] = rows.X[order, columns]
        validation = numpy.arange(len(order) - len(fold.validation), len(order))
        fold = fold._replace(training=slice(0, validation[0]), validation=validation)
        inverse_variance = select(rows.inverse_variance, order)
        reordered = FitRows(rows.X, rows.Y[order], select(rows.weight, order), inverse_variance)
        return TableSplit(reordered, [fold], are_own=True)
