"""The fit of numbers: how they are scaled, and where their bins begin and end."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from xpnet.learning.scikit_learn import fit_unlogged
from xpnet.tabular.columns.records import Kind
from xpnet.tabular.encodings.encoding_target import Target
from xpnet.tabular.encodings.number import (
    MAX_FINITE,
    MAX_SCALED,
    PERIODS,
    NumberEncoding,
    parts_of,
)

if TYPE_CHECKING:
    from sklearn.tree._tree import Tree

MAX_QUANTILE_ROWS = 200_000
"""Number of rows from which quantiles are computed; more rows move them by less than a bin."""
MIN_CUTS = 4
"""Number of cuts of a tree below which a column also gets bins of quantiles: a column that does
not tell the target alone may tell it together with others."""
QUANTILE_BINS = 8
"""Number of bins of quantiles that such a column gets."""
MIN_LEAF_ROWS = 8
"""Minimum number of rows in a leaf of a tree."""
MIN_CUT_GAIN = 20.0
"""Minimum share of the impurity that a cut of a fine tree removes, times the number of rows. The
best of many cuts reaches less by chance."""
MIN_FINE_TREE_GAIN = 0.01
"""Minimum share of the impurity that a fine tree removes beyond a usual one."""


@dataclass(frozen=True)
class Scaling:
    """How numbers are scaled.

    robust : by median and interquartile range instead of mean and standard deviation
    max_bins : maximum number of bins
    max_fine_bins : maximum number where a tree gains clearly from more bins; 0 for none
    target : of trees; None for bins of quantiles
    """

    robust: bool
    max_bins: int
    max_fine_bins: int
    target: Target | None


def fit_numbers(
    x: numpy.ndarray, scaling: Scaling, column: int, kind: Kind
) -> list[NumberEncoding]:
    """Fit a column of numbers, or the parts of timestamps that vary. x : (rows,) float64"""
    fitted = [
        _fit_number(values, scaling, column, part) for part, values in parts_of(x, kind).items()
    ]
    return [number for number in fitted if number is not None]


def _fit_number(
    x: numpy.ndarray, scaling: Scaling, column: int, part: str
) -> NumberEncoding | None:
    """Fit a number; None where it has one value only."""
    is_finite = numpy.abs(x) <= MAX_FINITE
    # A gap in a timestamp is a gap in all its parts: one indicator is enough.
    gaps = part in ("", "trend") and bool(numpy.isnan(x).any())
    finite = x[is_finite]
    if not len(finite):
        return None
    sample = numpy.sort(_sampled(finite))
    low, high = float(finite.min()), float(finite.max())
    scale = _fit_scale(sample, low, high, robust=scaling.robust)
    no_edges = numpy.empty(0)
    number = NumberEncoding(
        column=column,
        part=part,
        fill=float(sample[(len(sample) - 1) // 2]),  # the lower median
        low=low,
        high=high,
        centre=scale.centre,
        scale=scale.factor,
        clip=scaling.robust and not scale.is_binary,
        gaps=gaps,
        cycle=False,
        edges=no_edges,
    )
    if not number.scale:
        return number if gaps else None
    edges = no_edges
    if not scale.is_binary and scaling.max_bins >= 2:
        edges = _edges(x, is_finite, sample, scaling, number)
    return replace(
        number,
        cycle=part in PERIODS and not scale.is_binary,
        edges=edges if len(edges) > 2 else no_edges,
    )


def _sampled(x: numpy.ndarray) -> numpy.ndarray:
    """Return every k-th row, so that no more than MAX_QUANTILE_ROWS are left."""
    return x[:: -(-len(x) // MAX_QUANTILE_ROWS)]


class _Scale(NamedTuple):
    """How one number is scaled: (x - centre) factor; is_binary : whether it has two values only."""

    centre: float
    factor: float
    is_binary: bool


def _fit_scale(sample: numpy.ndarray, low: float, high: float, *, robust: bool) -> _Scale:
    """Return how numbers are scaled; two values become -1 and 1. sample : sorted

    The robust scale is (x - median) / interquartile range, or half the range where that is 0.
    (Holzmüller, Grinsztajn, Steinwart, Better by Default, 2024, section 3.)
    """
    is_binary = bool(((sample == low) | (sample == high)).all())
    with numpy.errstate(over="ignore", divide="ignore", invalid="ignore"):
        if is_binary:
            centre = low / 2 + high / 2
            spread = high / 2 - low / 2
        elif robust:
            first, centre, third = numpy.quantile(sample, [0.25, 0.5, 0.75])
            spread = third - first or high / 2 - low / 2
        else:
            centre = sample.mean()
            spread = sample.std()
        factor = numpy.float64(1.0) / spread
    if not numpy.isfinite([centre, factor]).all():
        return _Scale(0.0, 0.0, is_binary)
    return _Scale(float(centre), float(factor), is_binary)


def _edges(
    x: numpy.ndarray,
    is_finite: numpy.ndarray,
    sample: numpy.ndarray,
    scaling: Scaling,
    number: NumberEncoding,
) -> numpy.ndarray:
    """Return edges of bins: all values where they are few, quantiles, or a tree's thresholds.

    A column that a tree cuts less than MIN_CUTS times gets bins of quantiles as well. The tree
    computes in float32, which does not hold all float64 numbers, and so it gets scaled numbers.
    """
    if scaling.target is None:
        values = numpy.unique(sample)
        levels = numpy.linspace(0, 1, scaling.max_bins + 1)
        if len(values) <= len(levels):
            return values
        return numpy.unique(numpy.quantile(sample, levels))
    rows = _sampled(scaling.target.learned(numpy.flatnonzero(is_finite)))
    with numpy.errstate(over="ignore"):
        z = (x[rows] - number.centre) * number.scale
        z = numpy.clip(z, -MAX_SCALED, MAX_SCALED)
    thresholds = _thresholds_of_tree(z, scaling.target.y[rows], scaling)
    cuts = numpy.clip(thresholds / number.scale + number.centre, sample[0], sample[-1])
    if len(cuts) < MIN_CUTS:
        bins = min(QUANTILE_BINS, scaling.max_bins - len(cuts))
        quantiles = numpy.quantile(sample, numpy.linspace(0, 1, bins + 1))
        cuts = numpy.append(cuts, quantiles)
    return numpy.unique([sample[0], *cuts, sample[-1]])


def _thresholds_of_tree(x: numpy.ndarray, y: numpy.ndarray, scaling: Scaling) -> numpy.ndarray:
    """Return thresholds of a decision tree of one column on the target.

    A target that rises and falls many times along the column, as where numbers were assigned group
    by group, takes more cuts than usual. Each of these must remove more impurity than chance
    would, and all together clearly more than the usual cuts.
    """
    if not len(x):
        return numpy.empty(0)
    classifies = scaling.target is not None and scaling.target.task == "classification"
    tree_class = DecisionTreeClassifier if classifies else DecisionTreeRegressor
    column = x.astype(numpy.float32)[:, None]

    def nodes_of_tree(max_leaves: int, min_leaf_rows: int, min_decrease: float) -> "Tree":
        """Fit a tree to the column; return its nodes."""
        tree = tree_class(
            max_leaf_nodes=max_leaves,
            min_samples_leaf=min_leaf_rows,
            min_impurity_decrease=min_decrease,
            random_state=0,
        )
        # The column is finite and of the tree's dtype, so that nothing is left to check.
        return fit_unlogged(tree, column, y, check_input=False).tree_

    min_decrease = 1e-4 * (1.0 if classifies else float(numpy.var(y)))
    min_leaf_rows = int(min(64, max(MIN_LEAF_ROWS, len(x) // 40)))
    nodes = nodes_of_tree(scaling.max_bins, min_leaf_rows, min_decrease)
    if scaling.max_fine_bins > scaling.max_bins == nodes.n_leaves:
        impurity = nodes.impurity[0]
        min_fine_decrease = max(min_decrease, MIN_CUT_GAIN / len(x) * impurity)
        fine = nodes_of_tree(scaling.max_fine_bins, MIN_LEAF_ROWS, min_fine_decrease)
        if _impurity_of_leaves(nodes) - _impurity_of_leaves(fine) > MIN_FINE_TREE_GAIN * impurity:
            nodes = fine
    return nodes.threshold[nodes.children_left != nodes.children_right]


def _impurity_of_leaves(nodes: "Tree") -> float:
    """Return the mean impurity of a tree's leaves, weighted by their rows."""
    leaves = nodes.children_left == nodes.children_right
    return float(numpy.average(nodes.impurity[leaves], weights=nodes.n_node_samples[leaves]))
