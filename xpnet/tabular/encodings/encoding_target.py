"""The target of the rows that encodings are fitted to."""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy
from numpy.random import RandomState
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import check_consistent_length, column_or_1d

from xpnet.tabular.rows.division import RowLinks
from xpnet.typing import ArrayLike

Task = Literal["classification", "regression"]
"""The kind of target: labels or numbers."""


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
    learned_rows : (rows,) bool, the rows whose targets decide how columns are encoded; None for all
    """

    y: Any
    task: Task | None
    links: RowLinks
    random_state: RandomState
    predicted: LinearPrediction | None = None
    learned_rows: numpy.ndarray | None = None

    def learned(self, rows: numpy.ndarray) -> numpy.ndarray:
        """Return those of some rows whose targets decide how columns are encoded.

        rows : indices of rows
        """
        return rows if self.learned_rows is None else rows[self.learned_rows[rows]]


def encoding_target(
    y: ArrayLike | None, task: str | None, rows: int, links: RowLinks, random_state: RandomState
) -> Target:
    """Return a target, with classes as indices.

    task : "classification", "regression", "auto" for what the values suggest, or None for no use
    rows : number of rows of the table
    """
    if y is None or task is None:
        return Target(None, None, links, random_state)
    values = column_or_1d(y)
    check_consistent_length(numpy.empty(rows), values)
    if task == "auto":
        is_continuous = type_of_target(values).startswith("continuous")
        task = "regression" if is_continuous else "classification"
    if task == "classification":
        return Target(
            numpy.unique(values, return_inverse=True)[1], "classification", links, random_state
        )
    return Target(values, "regression", links, random_state)
