"""The encoded rows of a fit, in which mean targets depend on the rows that a network trains on."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy

from xpnet.tabular.encodings.target_means import ColumnMeans


class InputMeans(NamedTuple):
    """The mean targets of a column among the inputs. inputs : their places; means : of the rows"""

    inputs: slice
    means: ColumnMeans


class TrainingInputs(NamedTuple):
    """The encoded training rows of a table.

    X : (rows, inputs) as the encoder transforms the rows, which own targets influence
    means : the inputs that are mean targets
    """

    X: numpy.ndarray
    means: Sequence[InputMeans]

    def encoded(self) -> numpy.ndarray:
        """Return the inputs in which no mean target is influenced by its row: (rows, inputs)."""
        write_training_means(self.X, self.means, numpy.arange(len(self.X)))
        return self.X


def write_training_means(
    X: numpy.ndarray, means: Sequence[InputMeans], training: numpy.ndarray
) -> None:
    """Give training rows the mean targets that other training rows tell.

    X : (training rows, inputs), overwritten; training : their indices
    """
    for inputs, of_column in means:
        X[:, inputs] = of_column.of_training_rows(training)


def write_new_means(
    X: numpy.ndarray, means: Sequence[InputMeans], training: numpy.ndarray, rows: numpy.ndarray
) -> None:
    """Give rows the mean targets that training rows tell, as new rows get them.

    X : (rows, inputs), overwritten; training, rows : indices of rows
    """
    for inputs, of_column in means:
        X[:, inputs] = of_column.of_new_rows(training, rows)
