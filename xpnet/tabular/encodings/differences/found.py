"""The differences of the columns of a table that explain its target."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy
from scipy.special import ndtri
from scipy.stats import rankdata

from xpnet.tabular.encodings.differences.audition import Audition, ColumnValues
from xpnet.tabular.encodings.differences.units import (
    MIN_ROWS,
    NumberColumn,
    alike_pairs,
    in_unit,
    unit_of,
)
from xpnet.tabular.encodings.encoding_target import Target, Task
from xpnet.tabular.encodings.number import Difference, NumberEncoding

MAX_ROWS = 4096
"""Maximum number of rows that are auditioned; these are drawn from more rows."""
MAX_SUBTRACTED_COLUMNS = 100
"""Maximum number of numbers and timestamps of a table whose differences are auditioned. In a table
of more, chance and the time of the audition grow with the square of their number."""
MAX_CLASSES = 16
"""Maximum number of classes whose indicators are compared: the most frequent ones."""
MAX_DIFFERENCES = 8
"""Maximum number of differences that a table gets."""


@dataclass(frozen=True)
class FoundDifference:
    """A difference that explains the target.

    first : how the column is encoded from which the other one is subtracted
    difference : how they are subtracted
    explained : share of the squared residuals that its bins explain
    """

    first: NumberEncoding
    difference: Difference
    explained: float

    @property
    def why(self) -> str:
        """Return why the difference is encoded."""
        return f"explains {self.explained:.0%} of what the columns alone do not explain"


def auditioned_rows(target: Target) -> numpy.ndarray:
    """Return the indices of the auditioned rows, which are independent: one row of each group.

    Returns (auditioned rows,) int64, increasing; none where they would be too few.
    """
    if target.task is None:
        return numpy.empty(0, numpy.int64)
    order = target.learned(numpy.random.default_rng(0).permutation(len(target.y)))
    if target.links.groups is not None:
        _, first_of_group = numpy.unique(target.links.groups[order], return_index=True)
        order = order[numpy.sort(first_of_group)]
    return numpy.sort(order[:MAX_ROWS]) if len(order) >= MIN_ROWS else order[:0]


def find_differences(
    columns: Sequence[NumberColumn], y: numpy.ndarray, task: Task
) -> list[FoundDifference]:
    """Return the differences that explain what functions of all single columns do not.

    Piecewise-linear functions of all columns are fitted to the target. What the bins of a
    difference explain of the residuals is compared with what they explain by chance. The best
    difference is kept, its bins are fitted to the residuals, and so on until none explains enough.

    columns : two or more, in the auditioned rows; y : (auditioned rows,) numbers or class indices
    """
    units = [unit_of(column) for column in columns]
    in_units = [in_unit(column.x, unit) for column, unit in zip(columns, units, strict=True)]
    values = ColumnValues(numpy.stack(in_units))
    candidates = alike_pairs(values, units)
    if not candidates:
        return []
    audition = Audition.begun(values, _comparable_targets(y, task))
    candidates = audition.screened_once(candidates)
    differences: list[FoundDifference] = []
    while len(differences) < MAX_DIFFERENCES:
        screened = audition.screened(candidates)
        best = audition.best(screened)
        if best is None:
            break
        first, second, _ = best.candidate
        candidates = [pair.candidate for pair in screened if pair.candidate != best.candidate]
        audition = audition.without(best.x)
        unit = units[first]
        minus = columns[second].encoding.column
        difference = Difference(minus, unit.period, unit.is_clock_number)
        differences.append(FoundDifference(columns[first].encoding, difference, best.explained))
    return differences


def _comparable_targets(y: numpy.ndarray, task: Task) -> numpy.ndarray:
    """Return targets without heavy tails: normal scores of numbers, indicators of classes.

    Returns (rows, columns) float64.
    """
    if task == "regression":
        scores: numpy.ndarray = ndtri((rankdata(y) - 0.5) / len(y))
        return scores[:, None]
    classes, indices = numpy.unique(y, return_inverse=True)
    if len(classes) > MAX_CLASSES:
        frequent = numpy.argsort(-numpy.bincount(indices), kind="stable")[:MAX_CLASSES]
        return (indices[:, None] == frequent).astype(numpy.float64)
    return (indices[:, None] == numpy.arange(1, len(classes))).astype(numpy.float64)
