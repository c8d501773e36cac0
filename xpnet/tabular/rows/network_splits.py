"""The rows of each network of a fit, with scaled inputs, where the networks compute."""

from collections.abc import Sequence

import numpy

from xpnet.backend import Backend, on_device
from xpnet.data.sources import Source
from xpnet.learning.split import Split, select
from xpnet.models.inputs import is_sparse, to_host
from xpnet.ops import Array
from xpnet.tabular.rows.division import Fold
from xpnet.tabular.rows.sparse_rows import scale, scaled
from xpnet.tabular.rows.table_split import TableSplit
from xpnet.training import LabeledRows


def rows_on_host(rows: LabeledRows) -> LabeledRows:
    """Return rows as NumPy's arrays."""
    return LabeledRows(to_host(rows.X), to_host(rows.Y), to_host(rows.weight))


class NetworkSplits:
    """The training and validation rows of each network of a fit.

    All rows are moved to the backend once; those of a source are read later, block by block.

    split : all rows, on the host
    backend : where the networks compute
    """

    def __init__(self, split: TableSplit, backend: Backend) -> None:
        self.backend = backend
        self._split = split
        self._dtype = split.rows.X.dtype
        self.rows: LabeledRows = self._moved(split.rows)
        self.validation: Sequence[Fold] | LabeledRows | None = split.validation
        if isinstance(split.validation, LabeledRows):
            self.validation = self._moved(split.validation)

    def of_network(self, fold_number: int, scales: numpy.ndarray | None) -> Split:
        """Return the rows of a network.

        fold_number : of its fold; scales : (inputs,) factors of the inputs, or None
        """
        if not isinstance(self.validation, Sequence):
            validation = self.validation
            if validation is not None:
                validation = self._scaled(validation, scales)
            if not self._split.are_of_one:
                return Split(self.all_rows(scales), validation)
            if scales is not None:
                with on_device(self.backend):
                    scale(self.rows, self._factors(scales))
            return Split(self.rows, validation)
        fold = self._split.folds[fold_number]
        scales_val = scales
        if fold.unseen_inputs is not None:
            scales_val = numpy.where(fold.unseen_inputs, 0, 1 if scales is None else scales)
        if self._split.means:
            parts = self._split.training_rows(fold), self._split.validation_rows(fold)
            training, validation = map(self._moved, parts)
            return Split(self._scaled(training, scales), self._scaled(validation, scales_val))
        return Split(
            self._selected(fold.training, scales), self._selected(fold.validation, scales_val)
        )

    def all_rows(self, scales: numpy.ndarray | None) -> LabeledRows:
        """Return all rows. scales : (inputs,) factors of the inputs, or None"""
        return self._scaled(self.rows, scales)

    def _moved(self, rows: LabeledRows) -> LabeledRows:
        """Return rows on the backend."""
        if isinstance(rows.X, Source):
            return rows
        asarray = self.backend.asarray
        weight = None if rows.weight is None else asarray(rows.weight)
        X = rows.X if is_sparse(rows.X) else asarray(rows.X)
        return LabeledRows(X, asarray(rows.Y), weight)

    def _scaled(self, rows: LabeledRows, scales: numpy.ndarray | None) -> LabeledRows:
        """Return rows whose inputs are multiplied by factors."""
        if scales is None:
            return rows
        with on_device(self.backend):
            return scaled(rows, self._factors(scales))

    def _selected(
        self, selection: numpy.ndarray | slice, scales: numpy.ndarray | None
    ) -> LabeledRows:
        """Return some of all rows, with inputs that are multiplied by factors.

        A slice is a view of the rows, which are scaled where they lie: only the one network of a
        fit that may change them (`TableSplit.are_own`) has one.
        """
        with on_device(self.backend):
            if isinstance(selection, slice):
                weight = select(self.rows.weight, selection)
                selected = LabeledRows(self.rows.X[selection], self.rows.Y[selection], weight)
            else:
                selected = self.rows.take(selection, self.backend)
            if scales is not None:
                scale(selected, self._factors(scales))
            return selected

    def _factors(self, scales: numpy.ndarray) -> Array:
        """Return factors of the inputs in their dtype, on the backend."""
        return self.backend.asarray(scales.astype(self._dtype))
