"""The target of the rows that encodings are fitted to."""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy
from numpy.random import RandomState

from xpnet.tabular.rows.division import RowLinks

Task = Literal["classification", "regression"]


class LinearPrediction(NamedTuple):
    """A linear prediction of the target of rows. Means are taken over what it leaves.

    inputs : (rows, inputs) float32; weights : (inputs, outputs) float32
    """

    inputs: numpy.ndarray
    weights: numpy.ndarray

    def of(self, rows: numpy.ndarray, columns: slice) -> numpy.ndarray:
        """Return some columns of the prediction of some rows: (rows, columns)."""
        return self.inputs[rows] @ self.weights[:, columns]


@dataclass(frozen=True)
class Target:
    """The target of the rows.

    y : (rows,) class indices or numbers; None without a task
    task : what y is; None where the encoder does not use it
    links : what decides how rows may be divided; random_state : draws the folds of the rows
    predicted : by the other columns of the table, None where nothing is
    """

    y: Any
    task: Task | None
    links: RowLinks
    random_state: RandomState
    predicted: LinearPrediction | None = None
