"""Differences of two columns in the same unit, such as an opening and a closing price.

Where the target depends on which of two columns is larger, and by how much, bins of each column
explain little of it: a network would have to learn the difference from many cells of both. A
difference that explains the target becomes a number of its own. Each pair of columns with similar
ranges is auditioned on the training rows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import numpy
from scipy.special import ndtri
from scipy.stats import rankdata

from xpnet.tabular.encodings.encoding_target import Target, Task
from xpnet.tabular.encodings.number import (
    SECONDS_PER_DAY,
    Difference,
    NumberEncoding,
    minutes_of_clock_numbers,
)

MIN_ROWS = 100
"""Minimum number of rows of a table whose differences are auditioned."""
MAX_ROWS = 4096
"""Maximum number of rows that are auditioned; these are drawn from more rows."""
MAX_COLUMNS = 100
"""Maximum number of numbers and timestamps of a table whose differences are auditioned. In a table
of more, chance and the time of the audition grow with the square of their number."""
MAX_CLASSES = 16
"""Maximum number of classes whose indicators are compared: the most frequent ones."""
MIN_VALUES = 5
"""Minimum number of different values of a column that may be part of a difference."""
MIN_OVERLAP = 0.5
"""Smallest overlap of the central ranges of two alike columns, as a share of their union."""
CENTRAL_RANGE = (0.1, 0.9)
"""The quantiles between which the central range of a column lies."""
MAX_PAIRS = 500
"""Maximum number of auditioned pairs: those whose ranges overlap most."""
MAX_DIFFERENCES = 8
"""Maximum number of differences that a table gets."""
COLUMN_BINS = 32
"""Number of bins of each column, within which residuals are compared."""
MAX_TABLE_BINS = 256
"""Maximum number of bins of all columns together."""
DIFFERENCE_BINS = 16
"""Number of bins of an auditioned difference."""
RIDGE = 1e-8
"""Ridge of the least squares, for each row: bins of different columns may be the same."""
ADJUSTMENTS = 3
"""Number of times that what the bins of both columns explain is removed, by turns."""
MIN_DEVIATIONS = 9.0
"""Smallest excess of what the bins of a difference explain, in standard deviations of what they
explain by chance. Among a thousand tables of noise none reaches it."""
MIN_DEVIATIONS_AT_FIRST = 3.0
"""Smallest excess with bins of equal widths, from which a candidate is examined with quantiles and
without what the bins of both columns explain."""
BINNED_DEVIATIONS = 2.0
"""Number of standard deviations on each side of the mean that bins of equal widths divide."""
MIN_EXPLAINED = 0.02
"""Smallest share of the squared residuals that the bins of a difference explain."""
MIN_RATIO_TO_SUM = 2.0
"""Smallest ratio of what a difference explains to what the sum of both columns explains. Both
explain as much of another interaction, such as a product."""
MIN_CLOCK_VALUES = 20
"""Minimum number of different values of a column of clock times that are written as numbers."""
MIN_CLOCK_HOURS = 3
"""Minimum number of different hours of such a column."""
MINUTES_PER_DAY = 1440.0


class NumberColumn(NamedTuple):
    """A column that may be part of a difference.

    encoding : how the column is encoded; of timestamps, their trend
    x : (auditioned rows,) float64, NaN for gaps: the numbers, or seconds of timestamps
    is_time_of_day : whether the timestamps have no date; clock : of timestamps
    """

    encoding: NumberEncoding
    x: numpy.ndarray
    is_time_of_day: bool
    clock: str


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


class _Unit(NamedTuple):
    """The unit of a column: two columns with different units have no difference.

    is_time : whether it holds timestamps; clock : of timestamps
    is_clock_number : whether its numbers are clock times such as 1730
    period : of the unit, after which it begins again, 0 for none
    """

    is_time: bool
    clock: str
    is_clock_number: bool
    period: float


class _Candidate(NamedTuple):
    """A pair of alike columns. overlap : of their central ranges, a share of the union"""

    first: int
    second: int
    overlap: float


def auditioned_rows(target: Target) -> numpy.ndarray:
    """Return the indices of the auditioned rows, which are independent: one row of each group.

    Returns (auditioned rows,) int64, increasing; none where they would be too few.
    """
    if target.task is None:
        return numpy.empty(0, numpy.int64)
    order = numpy.random.default_rng(0).permutation(len(target.y))
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

    columns : the columns, in the auditioned rows; y : (auditioned rows,) numbers or class indices
    """
    if len(columns) > MAX_COLUMNS:
        return []
    units = [_unit_of(column) for column in columns]
    values = [_in_unit(column.x, unit) for column, unit in zip(columns, units, strict=True)]
    candidates = _alike_pairs(values, units)
    if not candidates:
        return []
    audition = _Audition.begun(values, _comparable_targets(y, task))
    differences: list[FoundDifference] = []
    while len(differences) < MAX_DIFFERENCES:
        best = audition.best(candidates, units)
        if best is None:
            break
        first, second, _ = best.candidate
        candidates.remove(best.candidate)
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


def _unit_of(column: NumberColumn) -> _Unit:
    """Return the unit of a column."""
    if column.encoding.part:
        period = SECONDS_PER_DAY if column.is_time_of_day else 0.0
        return _Unit(True, column.clock, False, period)
    is_clock_number = are_clock_numbers(column.x)
    return _Unit(False, "", is_clock_number, MINUTES_PER_DAY if is_clock_number else 0.0)


def are_clock_numbers(x: numpy.ndarray) -> bool:
    """Return whether numbers are clock times, such as 5 for 00:05, 930 for 9:30 and 2400.

    x : (rows,) float64, NaN for gaps
    """
    values = numpy.unique(x[~numpy.isnan(x)])
    if len(values) < MIN_CLOCK_VALUES or values[0] < 0 or values[-1] > 2400:
        return False
    minutes = values % 100
    if (values != numpy.floor(values)).any() or (minutes >= 60).any():
        return False
    return len(numpy.unique(values // 100)) >= MIN_CLOCK_HOURS and len(numpy.unique(minutes)) > 1


def _in_unit(x: numpy.ndarray, unit: _Unit) -> numpy.ndarray:
    """Return a column as it is subtracted; infinite numbers are gaps."""
    x = numpy.where(numpy.isfinite(x), x, numpy.nan)
    return minutes_of_clock_numbers(x) if unit.is_clock_number else x


def _alike_pairs(values: Sequence[numpy.ndarray], units: Sequence[_Unit]) -> list[_Candidate]:
    """Return the pairs of columns of one unit with similar ranges, the most similar ones."""
    ranges = [_central_range(x) for x in values]
    pairs = []
    for first, second in combinations(range(len(values)), 2):
        overlap = _overlap(ranges[first], ranges[second])
        if units[first] == units[second] and overlap >= MIN_OVERLAP:
            pairs.append(_Candidate(first, second, overlap))
    return sorted(pairs, key=lambda pair: -pair.overlap)[:MAX_PAIRS]


def _central_range(x: numpy.ndarray) -> tuple[float, float] | None:
    """Return the central range of a column; None for one of too few values or rows."""
    x = x[~numpy.isnan(x)]
    if len(x) < MIN_ROWS or len(numpy.unique(x)) < MIN_VALUES:
        return None
    low, high = numpy.quantile(x, CENTRAL_RANGE)
    return float(low), float(high)


def _overlap(first: tuple[float, float] | None, second: tuple[float, float] | None) -> float:
    """Return the overlap of two ranges as a share of their union, 0 where one is missing."""
    if first is None or second is None:
        return 0.0
    union = max(first[1], second[1]) - min(first[0], second[0])
    intersection = min(first[1], second[1]) - max(first[0], second[0])
    return max(0.0, intersection / union) if union > 0 else 0.0


class _Best(NamedTuple):
    """The best candidate. x : (rows,) its difference; explained : share of the residuals"""

    candidate: _Candidate
    x: numpy.ndarray
    explained: float


@dataclass(frozen=True, eq=False)
class _Audition:
    """The residuals of the target, which functions of single columns do not explain.

    values : of each column, (rows,); bins : of each column, (rows,) int; cells : their number
    residuals : (rows, targets); terms : number of terms that are removed from the target
    """

    values: Sequence[numpy.ndarray]
    bins: Sequence[numpy.ndarray]
    residuals: numpy.ndarray
    terms: int

    @classmethod
    def begun(cls, values: Sequence[numpy.ndarray], Y: numpy.ndarray) -> "_Audition":
        """Remove from the targets what each column explains, by least squares.

        Each column has a piecewise-linear function. Steps would leave the slope within each bin,
        with which the difference to another column may be correlated.
        """
        count = int(min(MAX_TABLE_BINS, len(Y) // 8)) // len(values)
        design = [numpy.ones((len(Y), 1))]
        design += [_pieces(x, min(max(count, 1), DIFFERENCE_BINS)) for x in values]
        matrix = numpy.concatenate(design, axis=1)
        gram = matrix.T @ matrix
        gram[numpy.diag_indices_from(gram)] += RIDGE * len(Y)
        residuals = Y - matrix @ numpy.linalg.solve(gram, matrix.T @ Y)
        bins = [_bins(x, COLUMN_BINS) for x in values]
        return cls(values, bins, residuals - residuals.mean(axis=0), matrix.shape[1])

    def without(self, x: numpy.ndarray) -> "_Audition":
        """Return the audition whose residuals have no means in the bins of a difference."""
        bins = _bins(x, DIFFERENCE_BINS)
        residuals = self.residuals - _means(self.residuals, bins)[bins]
        return _Audition(self.values, self.bins, residuals, self.terms + DIFFERENCE_BINS)

    def best(self, candidates: Sequence[_Candidate], units: Sequence[_Unit]) -> _Best | None:
        """Return the candidate whose difference explains most, if it explains enough."""
        passed = self._passed(candidates, units)
        return max(passed, key=lambda best: best.explained, default=None)

    def _passed(self, candidates: Sequence[_Candidate], units: Sequence[_Unit]) -> Iterator[_Best]:
        """Yield the candidates that explain enough."""
        for candidate in candidates:
            first, second = self.values[candidate.first], self.values[candidate.second]
            period = units[candidate.first].period
            x = Difference(candidate.second, period, False).of(first, second)
            if self._effect(self.residuals, _equal_bins(x)).deviations < MIN_DEVIATIONS_AT_FIRST:
                continue
            residuals = self._beyond(candidate)
            effect = self._effect(residuals, _bins(x, DIFFERENCE_BINS))
            if effect.deviations < MIN_DEVIATIONS or effect.explained < MIN_EXPLAINED:
                continue
            effect_of_sum = self._effect(residuals, _bins(first + second, DIFFERENCE_BINS))
            # On few rows the ratio may be large by chance.
            lead = effect.deviations - effect_of_sum.deviations
            if lead < MIN_DEVIATIONS:
                continue
            if effect.explained >= MIN_RATIO_TO_SUM * effect_of_sum.explained:
                yield _Best(candidate, x, effect.explained)

    def _beyond(self, candidate: _Candidate) -> numpy.ndarray:
        """Return the residuals without what the fine bins of both columns explain."""
        residuals = self.residuals
        for index in (candidate.first, candidate.second) * ADJUSTMENTS:
            bins = self.bins[index]
            residuals = residuals - _means(residuals, bins)[bins]
        return residuals

    def _effect(self, residuals: numpy.ndarray, bins: numpy.ndarray) -> "_Effect":
        """Return how much bins explain of the residuals.

        By chance, sums of squares of means of bins have the mean (bins - 1) tr(C) and the variance
        2 (bins - 1) |C|^2, where C is the covariance of the residuals.

        residuals : (rows, targets); bins : (rows,) of each row
        """
        counts = numpy.bincount(bins)
        squares = float((counts[:, None] * _means(residuals, bins) ** 2).sum())
        free_rows = max(1, len(residuals) - self.terms - 2 * COLUMN_BINS)
        covariance = residuals.T @ residuals / free_rows
        total = float(numpy.trace(covariance))
        if total <= 0:
            return _Effect(0.0, 0.0)
        free_bins = max(1, int((counts > 0).sum()) - 1)
        excess = squares - free_bins * total
        chance = numpy.sqrt(2 * free_bins) * float(numpy.linalg.norm(covariance))
        return _Effect(excess / chance, excess / (total * len(residuals)))


class _Effect(NamedTuple):
    """The effect of bins. deviations : excess over chance; explained : share of the residuals"""

    deviations: float
    explained: float


def _bins(x: numpy.ndarray, count: int) -> numpy.ndarray:
    """Return the bin of each number, between quantiles; gaps have the last bin: (rows,) int64."""
    is_gap = numpy.isnan(x)
    if is_gap.all():
        return numpy.zeros(len(x), numpy.int64)
    edges = numpy.unique(numpy.quantile(x[~is_gap], numpy.linspace(0, 1, count + 1)[1:-1]))
    return numpy.where(is_gap, len(edges) + 1, numpy.searchsorted(edges, x, side="right"))


def _equal_bins(x: numpy.ndarray) -> numpy.ndarray:
    """Return the bin of each number, of equal widths around the mean; gaps have the last bin.

    These take a fraction of the time of quantiles.
    """
    is_gap = numpy.isnan(x)
    filled = x[~is_gap]
    spread = filled.std() if len(filled) else 0.0
    if not spread > 0:
        return is_gap.astype(numpy.int64)
    steps = (x - filled.mean()) * (DIFFERENCE_BINS / (2 * BINNED_DEVIATIONS) / spread)
    half = DIFFERENCE_BINS // 2
    bins = numpy.floor(steps).clip(-half, half - 1) + half
    return numpy.where(is_gap, DIFFERENCE_BINS, bins).astype(numpy.int64)


def _pieces(x: numpy.ndarray, count: int) -> numpy.ndarray:
    """Return how far a number is through each of its bins, and whether it is a gap.

    Returns (rows, bins + 1) float64, without the last column where there are no gaps.
    """
    is_gap = numpy.isnan(x)
    edges = numpy.unique(numpy.quantile(x[~is_gap], numpy.linspace(0, 1, count + 1)))
    filled = numpy.where(is_gap, edges[0], x)
    pieces = numpy.empty((len(x), len(edges) - 1))
    for piece, low, high in zip(pieces.T, edges[:-1], edges[1:], strict=True):
        piece[...] = (numpy.clip(filled, low, high) - low) / (high - low)
    return numpy.column_stack([pieces, is_gap]) if is_gap.any() else pieces


def _means(Y: numpy.ndarray, bins: numpy.ndarray) -> numpy.ndarray:
    """Return the mean of the rows of each bin, 0 for a bin without rows: (bins, columns)."""
    sums = numpy.stack([numpy.bincount(bins, column) for column in Y.T], axis=1)
    return sums / numpy.bincount(bins).clip(min=1)[:, None]
