"""The encoded rows of a fit, in which mean targets depend on the rows that a network trains on."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy

from xpnet.tabular.encodings.target_means import ColumnMeans


class InputMeans(NamedTuple):
    """The mean targets of a column among the inputs.

    inputs : their places; means : of the rows that the encoder was fitted to
    """

    inputs: slice
    means: ColumnMeans

    def write_training(
        self, X: numpy.ndarray, training: numpy.ndarray, part: numpy.ndarray | None = None
    ) -> None:
        """Give training rows the mean targets that other training rows have.

        X : (rows, inputs), overwritten; training : indices of the training rows
        part : those of the training rows that X has, None for all
        """
        means = self.means.of_training_rows(training)
        X[:, self.inputs] = means if part is None else means[part]

    def write_new(self, X: numpy.ndarray, training: numpy.ndarray, rows: numpy.ndarray) -> None:
        """Give rows the mean targets of training rows, as new rows get them.

        X : (rows, inputs), overwritten; training, rows : indices of rows
        """
        X[:, self.inputs] = self.means.of_new_rows(training, rows)


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
