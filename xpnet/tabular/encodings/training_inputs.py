"""The encoded rows of a fit, in which mean targets depend on the rows that a network trains on."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy

from xpnet.tabular.encodings.target_means import ColumnMeans


class InputMeans(NamedTuple):
    """The mean targets of a column among the inputs.

    inputs : their places; means : of the rows that the encoder was fitted to
    places : (rows of the encoder,) int, which rows of the fit these are, rising; None for all
    """

    inputs: slice
    means: ColumnMeans
    places: numpy.ndarray | None = None

    def write_training(self, X: numpy.ndarray, training: numpy.ndarray) -> None:
        """Give training rows the mean targets that other training rows have.

        X : (training rows, inputs), overwritten; training : their indices
        """
        positions, fitted = self._fitted(training)
        X[positions, self.inputs] = self.means.of_training_rows(fitted)

    def write_new(self, X: numpy.ndarray, training: numpy.ndarray, rows: numpy.ndarray) -> None:
        """Give rows the mean targets of training rows, as new rows get them.

        X : (rows, inputs), overwritten; training, rows : indices of rows
        """
        positions, fitted = self._fitted(rows)
        _, fitted_training = self._fitted(training)
        X[positions, self.inputs] = self.means.of_new_rows(fitted_training, fitted)

    def of_fitted_rows(self) -> "WrittenMeans":
        """Return what `write_training` gives the rows of the encoder where all train."""
        assert self.places is not None
        values = self.means.of_training_rows(numpy.arange(len(self.places)))
        return WrittenMeans(self.inputs, self.places, values)

    def _fitted(self, rows: numpy.ndarray) -> tuple[numpy.ndarray | slice, numpy.ndarray]:
        """Return which of some rows the encoder was fitted to: places here, and in the encoder."""
        if self.places is None:
            return slice(None), rows
        indices = numpy.searchsorted(self.places, rows).clip(max=len(self.places) - 1)
        (positions,) = numpy.nonzero(self.places[indices] == rows)
        return positions, indices[positions]


class WrittenMeans(NamedTuple):
    """The mean targets of the rows of an encoder, for rows that are encoded block by block.

    inputs : their places among the inputs; places : (rows of the encoder,) int, those of the rows
    values : (rows of the encoder, means)
    """

    inputs: slice
    places: numpy.ndarray
    values: numpy.ndarray

    def write(self, X: numpy.ndarray, first: int) -> None:
        """Write the means of consecutive rows. X : (rows, inputs); first : place of the first"""
        own = slice(*numpy.searchsorted(self.places, [first, first + len(X)]))
        X[self.places[own] - first, self.inputs] = self.values[own]


class TrainingInputs(NamedTuple):
    """The encoded training rows of a table.

    X : (rows, inputs) as the encoder transforms the rows, which own targets influence
    means : the inputs that are mean targets
    """

    X: numpy.ndarray
    means: Sequence[InputMeans]

    def encoded(self) -> numpy.ndarray:
        """Return the inputs in which no mean target is influenced by its row: (rows, inputs)."""
        for means in self.means:
            means.write_training(self.X, numpy.arange(len(self.X)))
        return self.X
