"""The correlation of targets of rows of one value, and the prior rows that means are shrunk by."""

from typing import NamedTuple

import numpy

from xpnet.tabular.encodings.encoding_target import Target
from xpnet.tabular.encodings.target_means import target_columns

MAX_COMPARED_ROWS = 100_000
"""Maximum number of rows whose targets are compared; these are drawn from more rows."""
MAX_TARGET_NUMBERS = 1 << 24
"""Maximum number of compared targets, one for each row and class; it bounds memory."""
MIN_PRIOR_ROWS = 0.2
"""Smallest number of rows with the overall mean target that are added to those of each value."""
MAX_PRIOR_ROWS = 30.0
"""Largest number of such rows."""


class ValueEffect(NamedTuple):
    """The similarity of the targets of the rows of a value, beyond that within bins.

    deviations : excess over chance, in standard deviations
    correlation : of the targets of two rows of one value; explained : share of the target's
    variance that the mean targets of other rows explain
    """

    deviations: float
    correlation: float
    explained: float


def prior_rows_of(correlation: float) -> float:
    """Return the number of rows with the overall mean target that a correlation asks for."""
    if correlation <= 1 / (1 + MAX_PRIOR_ROWS):
        return MAX_PRIOR_ROWS
    return max(MIN_PRIOR_ROWS, (1 - correlation) / correlation)


class ComparedTargets(NamedTuple):
    """The targets of some rows as columns (rows, columns), and the groups of these rows."""

    Y: numpy.ndarray
    groups: numpy.ndarray


def compared_rows(rows: numpy.ndarray) -> numpy.ndarray:
    """Return the rows whose targets are compared, of more than MAX_COMPARED_ROWS a part."""
    if len(rows) <= MAX_COMPARED_ROWS:
        return rows
    return numpy.random.default_rng(0).permutation(rows)[:MAX_COMPARED_ROWS]


def has_few_targets(target: Target, rows: numpy.ndarray) -> bool:
    """Return whether the targets of rows have few enough columns for all to be held at once."""
    outputs = 1 if target.task == "regression" else int(target.y.max())
    return outputs * len(rows) <= MAX_TARGET_NUMBERS


def compared_targets(target: Target, rows: numpy.ndarray) -> ComparedTargets | None:
    """Return the targets and groups of some rows; a row without a group is a group of its own.

    None where the targets have too many columns.
    """
    if not has_few_targets(target, rows):
        return None
    groups = target.links.take(rows).groups
    if groups is None:
        groups = numpy.arange(len(rows))
    return ComparedTargets(target_columns(target, rows), groups)


def correlation_of(indices: numpy.ndarray, target: Target) -> float:
    """Return the correlation of the targets of two rows of one value, 0 where it is not measured.

    indices : (rows,) of values, negative for rows without one
    """
    rows = compared_rows(target.learned(numpy.flatnonzero(indices >= 0)))
    targets = compared_targets(target, rows)
    if targets is None:
        return 0.0
    return effect_of_values(indices[rows], numpy.empty(0), targets).correlation


def effect_of_values(
    x: numpy.ndarray, edges: numpy.ndarray, targets: ComparedTargets
) -> ValueEffect:
    """Return how much the rows of a value have in common beyond the bins of a number.

    The products of the residuals of two rows of one value, from different groups, are summed over
    all such pairs. By chance the sum is 0 on average, and its variance is the number of pairs times
    the squared variances of the residuals.

    x : (rows,) finite, there may be none; edges : of the bins, or empty
    """
    if not len(x):
        return ValueEffect(0.0, 0.0, 0.0)
    Y = targets.Y - targets.Y.mean(axis=0)
    total = (Y**2).sum()
    bins = numpy.searchsorted(edges[1:-1], x, side="right")
    residuals = Y - _means(Y, bins)[bins]
    _, value_of_row = numpy.unique(x, return_inverse=True)
    group_count = int(targets.groups.max()) + 1
    cells, cell_of_row = numpy.unique(
        value_of_row * group_count + targets.groups, return_inverse=True
    )
    value_of_cell = cells // group_count
    rows_of_value = numpy.bincount(value_of_row).astype(numpy.float64)
    rows_of_cell = numpy.bincount(cell_of_row).astype(numpy.float64)
    pairs_of_value = rows_of_value**2 - numpy.bincount(value_of_cell, rows_of_cell**2)
    pairs = pairs_of_value.sum()
    squares = (_sums(residuals, value_of_row) ** 2).sum()
    products = squares - (_sums(residuals, cell_of_row) ** 2).sum()
    covariance = residuals.T @ residuals / len(x)
    variance = float(numpy.trace(covariance))
    if pairs == 0 or variance <= 0:
        return ValueEffect(0.0, 0.0, 0.0)
    deviations = products / (numpy.sqrt(2 * pairs) * numpy.linalg.norm(covariance))
    correlation = min(1.0, max(0.0, products / (pairs * variance)))
    others = (pairs_of_value / rows_of_value)[value_of_row]  # rows that tell about each row
    shares = correlation**2 * others / (1 + (others - 1).clip(min=0) * correlation)
    return ValueEffect(
        float(deviations), float(correlation), float(shares.mean() * variance * len(x) / total)
    )


def _sums(Y: numpy.ndarray, indices: numpy.ndarray) -> numpy.ndarray:
    """Return the sums of rows by their indices: (indices, columns)."""
    return numpy.stack([numpy.bincount(indices, column) for column in Y.T], axis=1)


def _means(Y: numpy.ndarray, indices: numpy.ndarray) -> numpy.ndarray:
    """Return the means of rows by their indices, 0 for an index without rows: (indices, columns)"""
    return _sums(Y, indices) / numpy.bincount(indices).clip(min=1)[:, None]
