"""Numbers that name things, such as firms: the mean target of each of their levels.

A column of whole numbers may be the number of a firm, a school or a patient. Firms of neighbouring
numbers have nothing in common, so that neither the number nor its bins tell much. What the other
rows of the same firm tell is a number of its own.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy

from xpnet.tabular.category_encoding import details_of_values, target_columns
from xpnet.tabular.encoding_target import Target
from xpnet.tabular.number_encoding import NumberEncoding

MIN_LEVELS = 5
"""Minimum number of levels. Bins tell fewer levels from each other."""
MAX_LEVELS = 4096
"""Maximum number of levels, each of which is a number in a model's file and in an ONNX graph."""
SAMPLED_ROWS = 4 * MAX_LEVELS
"""Number of evenly spaced rows that show whether a number has more levels than that."""
MAX_COMPARED_ROWS = 100_000
"""Maximum number of rows whose targets are compared; these are drawn from more rows."""
MAX_TARGET_NUMBERS = 1 << 24
"""Maximum number of compared targets, one for each row and class; it bounds memory."""
MIN_ROWS_PER_LEVEL = 2.5
"""Minimum number of rows for each level on average."""
MIN_DEVIATIONS = 7.0
"""Smallest excess of what rows of one level have in common, in standard deviations of its value by
chance. Columns of measured numbers are below it, numbers of firms, schools and states above."""
MIN_EXPLAINED = 0.02
"""Smallest share of the target's variance that the levels must explain beyond the bins."""
MIN_PRIOR_ROWS = 0.2
"""Smallest number of rows with the overall mean target that are added to those of each level."""
MAX_PRIOR_ROWS = 30.0
"""Largest number of such rows."""


@dataclass(frozen=True)
class LevelEncoding:
    """The encoding of a number by its levels: the frequency and the mean targets of each.

    column : index of the table's column
    levels : (levels,) float64, increasing
    details : (levels, columns) float32: frequency and mean targets
    detail_labels : (columns,) names of the details
    """

    column: int
    levels: numpy.ndarray
    details: numpy.ndarray
    detail_labels: tuple[str, ...]

    @property
    def labels(self) -> list[str]:
        """Return the ending of the name of each output, which follows the column's name."""
        return [f"_level_{label}" for label in self.detail_labels]

    def write(
        self, x: numpy.ndarray, out: numpy.ndarray, details: numpy.ndarray | None = None
    ) -> None:
        """Encode rows; other numbers than the levels, and gaps, are 0.

        x : (rows,) float64; out : (rows, outputs) float32, overwritten
        details : of these rows, (rows, columns); None for those of their levels
        """
        out[...] = 0.0
        indices = indices_of_levels(x, self.levels)
        (rows,) = numpy.nonzero(indices >= 0)
        out[rows] = self.details[indices[rows]] if details is None else details[rows]


class FittedLevels(NamedTuple):
    """An encoding of levels, and the details of its training rows: (rows, columns) float32."""

    encoding: LevelEncoding
    row_details: numpy.ndarray


class LevelEffect(NamedTuple):
    """The similarity of the targets of a level's rows, beyond that within the bins of the number.

    deviations : excess over chance, in standard deviations
    correlation : of the targets of two rows of one level; explained : share of the target's
    variance that the mean targets of other rows explain
    """

    deviations: float
    correlation: float
    explained: float


def indices_of_levels(x: numpy.ndarray, levels: numpy.ndarray) -> numpy.ndarray:
    """Return for each number the index of the level that it is, -1 for none: (rows,) int64."""
    indices = numpy.searchsorted(levels, x).clip(max=len(levels) - 1)
    return numpy.where(levels[indices] == x, indices, -1)


def fit_levels(x: numpy.ndarray, number: NumberEncoding, target: Target) -> FittedLevels | None:
    """Fit the levels of a number; None where they tell nothing beyond the number and its bins.

    The mean target of a level is shrunk towards that of all rows by as many rows as its level's
    correlation asks for (the best linear predictor of a random effect: Robinson, That BLUP Is a
    Good Thing, 1991).

    x : (rows,) float64, NaN for gaps
    """
    if target.task is None:
        return None
    (rows,) = numpy.nonzero(numpy.isfinite(x))
    levels = distinct_levels(x[rows])
    if levels is None:
        return None
    if len(rows) > MAX_COMPARED_ROWS:
        rows = numpy.random.default_rng(0).permutation(rows)[:MAX_COMPARED_ROWS]
    if _outputs(target) * len(rows) > MAX_TARGET_NUMBERS:
        return None
    targets = _of_rows(target, rows)
    beyond_bins = level_effect(x[rows], number.edges, targets)
    if beyond_bins.deviations < MIN_DEVIATIONS or beyond_bins.explained < MIN_EXPLAINED:
        return None
    correlation = level_effect(x[rows], numpy.empty(0), targets).correlation
    prior_rows = prior_rows_of(correlation)
    indices = indices_of_levels(x, levels)
    details = details_of_values(indices, len(levels), target, prior_rows=prior_rows)
    encoding = LevelEncoding(number.column, levels, details.of_values, details.labels)
    return FittedLevels(encoding, details.of_rows)


def distinct_levels(x: numpy.ndarray) -> numpy.ndarray | None:
    """Return the different values of a number; None where they are too few, or too many.

    x : (rows,) finite
    """
    sample = x[:: max(1, -(-len(x) // SAMPLED_ROWS))]
    if len(numpy.unique(sample)) > MAX_LEVELS:
        return None
    levels = numpy.unique(x)
    if not MIN_LEVELS <= len(levels) <= MAX_LEVELS or len(x) < MIN_ROWS_PER_LEVEL * len(levels):
        return None
    return levels


def prior_rows_of(correlation: float) -> float:
    """Return the number of rows with the overall mean target that a correlation asks for."""
    if correlation <= 1 / (1 + MAX_PRIOR_ROWS):
        return MAX_PRIOR_ROWS
    return max(MIN_PRIOR_ROWS, (1 - correlation) / correlation)


def _outputs(target: Target) -> int:
    """Return the number of columns of a target."""
    return 1 if target.task == "regression" else int(target.y.max())


class LevelTargets(NamedTuple):
    """The targets of some rows as columns (rows, columns), and the groups of these rows."""

    Y: numpy.ndarray
    groups: numpy.ndarray


def _of_rows(target: Target, rows: numpy.ndarray) -> LevelTargets:
    """Return the targets and groups of some rows; a row without a group is a group of its own."""
    groups = target.links.take(rows).groups
    if groups is None:
        groups = numpy.arange(len(rows))
    return LevelTargets(target_columns(replace(target, y=target.y[rows])), groups)


def level_effect(x: numpy.ndarray, edges: numpy.ndarray, targets: LevelTargets) -> LevelEffect:
    """Return how much the rows of a level have in common beyond the bins of the number.

    The products of the residuals of two rows of one level, from different groups, are summed over
    all such pairs. By chance the sum is 0 on average, and its variance is the number of pairs times
    the squared variances of the residuals.

    x : (rows,) finite; edges : of the bins, or empty
    """
    Y = targets.Y - targets.Y.mean(axis=0)
    total = (Y**2).sum()
    bins = numpy.searchsorted(edges[1:-1], x, side="right")
    residuals = Y - _means(Y, bins)[bins]
    _, level_of_row = numpy.unique(x, return_inverse=True)
    group_count = int(targets.groups.max()) + 1
    cells, cell_of_row = numpy.unique(
        level_of_row * group_count + targets.groups, return_inverse=True
    )
    level_of_cell = cells // group_count
    rows_of_level = numpy.bincount(level_of_row).astype(numpy.float64)
    rows_of_cell = numpy.bincount(cell_of_row).astype(numpy.float64)
    pairs_of_level = rows_of_level**2 - numpy.bincount(level_of_cell, rows_of_cell**2)
    pairs = pairs_of_level.sum()
    squares = (_sums(residuals, level_of_row) ** 2).sum()
    products = squares - (_sums(residuals, cell_of_row) ** 2).sum()
    covariance = residuals.T @ residuals / len(x)
    variance = float(numpy.trace(covariance))
    if pairs == 0 or variance <= 0:
        return LevelEffect(0.0, 0.0, 0.0)
    deviations = products / (numpy.sqrt(2 * pairs) * numpy.linalg.norm(covariance))
    correlation = min(1.0, max(0.0, products / (pairs * variance)))
    others = (pairs_of_level / rows_of_level)[level_of_row]  # rows that tell about each row
    shares = correlation**2 * others / (1 + (others - 1).clip(min=0) * correlation)
    return LevelEffect(
        float(deviations), float(correlation), float(shares.mean() * variance * len(x) / total)
    )


def _sums(Y: numpy.ndarray, indices: numpy.ndarray) -> numpy.ndarray:
    """Return the sums of rows by their indices: (indices, columns)."""
    return numpy.stack([numpy.bincount(indices, column) for column in Y.T], axis=1)


def _means(Y: numpy.ndarray, indices: numpy.ndarray) -> numpy.ndarray:
    """Return the means of rows by their indices, 0 for an index without rows: (indices, columns)"""
    return _sums(Y, indices) / numpy.bincount(indices).clip(min=1)[:, None]
