"""The audition of differences: how much of the target they explain beyond single columns."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy

from xpnet.tabular.encodings.number import Difference

COLUMN_BINS = 32
"""Number of bins of each column, within which residuals are compared."""
BINS_WITH_GAPS = COLUMN_BINS + 1
"""Maximum number of bins of each column, with the one of gaps."""
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
MIN_SCREENED_ROWS = 2048
"""Smallest number of rows by which pairs are screened once, before the audition, for one target.
Several targets need fewer rows, since what bins explain of each adds up."""
MIN_DEVIATIONS_OF_SCREENED = 0.5
"""Smallest excess with bins of equal widths, from which a pair is a candidate, and stays one when
another difference is kept. One in four pairs reaches it by chance."""
MIN_SHARE_OF_BEST = 0.5
"""Smallest share, of what the best difference explains, that bins of equal widths must explain of
a candidate for it to be compared with the best one."""
MAX_NUMBERS_AT_ONCE = 1 << 15
"""Maximum number of differences of rows that are screened at once, whose bins the cache holds."""
BINNED_DEVIATIONS = 2.0
"""Number of standard deviations on each side of the mean that bins of equal widths divide."""
MIN_EXPLAINED = 0.02
"""Smallest share of the squared residuals that the bins of a difference explain."""
MIN_RATIO_TO_SUM = 2.0
"""Smallest ratio of what a difference explains to what the sum of both columns explains. Both
explain as much of another interaction, such as a product."""


class Candidate(NamedTuple):
    """A pair of alike columns. period : of their unit, 0 for none"""

    first: int
    second: int
    period: float


@dataclass(frozen=True, eq=False)
class ColumnValues:
    """The auditioned columns in their units.

    x : (columns, rows) float64, NaN for gaps
    """

    x: numpy.ndarray

    @cached_property
    def is_gap(self) -> numpy.ndarray:
        """Return which numbers are gaps: (columns, rows) bool."""
        return numpy.isnan(self.x)

    @cached_property
    def sorted(self) -> numpy.ndarray:
        """Return the numbers of each column in increasing order, and gaps last."""
        return numpy.sort(self.x, axis=1)

    @cached_property
    def present(self) -> numpy.ndarray:
        """Return the number of rows of each column that are no gaps: (columns,) int64."""
        present: numpy.ndarray = (~self.is_gap).sum(axis=1)
        return present

    def different_values(self) -> numpy.ndarray:
        """Return the number of different values of each column: (columns,) int64."""
        steps = (self.sorted[:, 1:] > self.sorted[:, :-1]).sum(axis=1)
        different: numpy.ndarray = steps + (self.present > 0)
        return different

    def quantiles(self, levels: numpy.ndarray) -> numpy.ndarray:
        """Return quantiles of each column: (columns, levels) float64, NaN for a column of gaps."""
        places = levels * (self.present[:, None] - 1).clip(min=0)
        lower = places.astype(numpy.int64)
        low = numpy.take_along_axis(self.sorted, lower, axis=1)
        high = numpy.take_along_axis(self.sorted, numpy.ceil(places).astype(numpy.int64), axis=1)
        quantiles: numpy.ndarray = low + (places - lower) * (high - low)
        return quantiles

    def bins(self, column: int) -> numpy.ndarray:
        """Return the fine bin of each row of a column: (rows,) int64."""
        if column not in self._bins:
            self._bins[column] = bins_between_quantiles(self.x[column], COLUMN_BINS)
        return self._bins[column]

    @cached_property
    def _bins(self) -> dict[int, numpy.ndarray]:
        """Return the fine bins of the columns for which they were asked."""
        return {}

    def equal_bins(self, candidates: Sequence[Candidate], step: int) -> numpy.ndarray:
        """Return the bins of equal widths of differences in each step-th row: (pairs, rows).

        Those of all rows are kept, since they are compared with the residuals again after each
        difference that is kept.
        """
        if step > 1:
            return bins_of_equal_width(self.differences(candidates, step))
        new = [pair for pair in candidates if pair not in self._pair_bins]
        if new:
            bins = bins_of_equal_width(self.differences(new)).astype(numpy.uint8)
            self._pair_bins.update(zip(new, bins, strict=True))
        return numpy.stack([self._pair_bins[pair] for pair in candidates])

    @cached_property
    def _pair_bins(self) -> dict[Candidate, numpy.ndarray]:
        """Return the bins of equal widths of the pairs for which they were asked."""
        return {}

    def differences(self, candidates: Sequence[Candidate], step: int = 1) -> numpy.ndarray:
        """Return the differences of pairs of columns in each step-th row: (pairs, rows) float64."""
        x = self.x[:, ::step]
        differences = numpy.empty((len(candidates), x.shape[1]))
        for row, (first, second, period) in zip(differences, candidates, strict=True):
            if period:
                row[...] = Difference(second, period, False).of(x[first], x[second])
            else:
                numpy.subtract(x[first], x[second], out=row)
        return differences


class _Best(NamedTuple):
    """The best candidate. x : (rows,) its difference; explained : share of the residuals"""

    candidate: Candidate
    x: numpy.ndarray
    explained: float


class _Screened(NamedTuple):
    """A candidate, and its `_Effect` by bins of equal widths."""

    candidate: Candidate
    deviations: float
    explained: float


@dataclass(frozen=True, eq=False)
class Audition:
    """The residuals of the target, which functions of single columns do not explain.

    values : of all columns
    residuals : (rows, targets); terms : number of terms that are removed from the target
    """

    values: ColumnValues
    residuals: numpy.ndarray
    terms: int

    @classmethod
    def begun(cls, values: ColumnValues, Y: numpy.ndarray) -> "Audition":
        """Remove from the targets what each column explains, by least squares.

        Each column has a piecewise-linear function. Steps would leave the slope within each bin,
        with which the difference to another column may be correlated.
        """
        count = int(min(MAX_TABLE_BINS, len(Y) // 8)) // len(values.x)
        design = linear_pieces(values, min(max(count, 1), DIFFERENCE_BINS))
        gram = design @ design.T
        gram[numpy.diag_indices_from(gram)] += RIDGE * len(Y)
        residuals = Y - design.T @ numpy.linalg.solve(gram, design @ Y)
        return cls(values, residuals - residuals.mean(axis=0), len(design))

    def without(self, x: numpy.ndarray) -> "Audition":
        """Return the audition whose residuals have no means in the bins of a difference."""
        bins = bins_between_quantiles(x, DIFFERENCE_BINS)
        residuals = self.residuals - means_of_bins(self.residuals, bins)[bins]
        return Audition(self.values, residuals, self.terms + DIFFERENCE_BINS)

    def screened_once(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Return the candidates that may explain something, by some of the rows."""
        chance = _chance(self.residuals)
        rows = MIN_SCREENED_ROWS * chance.deviation / max(chance.mean, chance.deviation)
        step = max(1, int(len(self.residuals) // max(rows, 1.0)))
        return [pair.candidate for pair in self.screened(candidates, step)]

    def best(self, screened: Sequence[_Screened]) -> _Best | None:
        """Return the candidate whose difference explains most, if it explains enough."""
        screened = [pair for pair in screened if pair.deviations >= MIN_DEVIATIONS_AT_FIRST]
        best: _Best | None = None
        for pair in sorted(screened, key=lambda pair: -pair.explained):
            if best is not None and pair.explained < MIN_SHARE_OF_BEST * best.explained:
                break
            passed = self.passed(pair.candidate)
            if passed is not None and (best is None or passed.explained > best.explained):
                best = passed
        return best

    def screened(self, candidates: Sequence[Candidate], step: int = 1) -> list[_Screened]:
        """Return the candidates that may explain something, by bins of equal widths.

        step : 2 for every second row
        """
        residuals = self.residuals[::step]
        at_once = max(1, MAX_NUMBERS_AT_ONCE // len(residuals))
        screened: list[_Screened] = []
        for start in range(0, len(candidates), at_once):
            pairs = candidates[start : start + at_once]
            effects = self.effects_of(residuals, self.values.equal_bins(pairs, step))
            columns = (effects.deviations.tolist(), effects.explained.tolist())
            screened += map(_Screened, pairs, *columns)
        return [pair for pair in screened if pair.deviations >= MIN_DEVIATIONS_OF_SCREENED]

    def passed(self, candidate: Candidate) -> _Best | None:
        """Return what the difference of a candidate explains, None where it is not enough."""
        (x,) = self.values.differences([candidate])
        residuals = self.residuals_beyond(candidate)
        effect = self._effect(residuals, x)
        if effect.deviations < MIN_DEVIATIONS or effect.explained < MIN_EXPLAINED:
            return None
        both = self.values.x[candidate.first] + self.values.x[candidate.second]
        effect_of_sum = self._effect(residuals, both)
        # On few rows the ratio may be large by chance.
        is_clear = effect.deviations - effect_of_sum.deviations >= MIN_DEVIATIONS
        if is_clear and effect.explained >= MIN_RATIO_TO_SUM * effect_of_sum.explained:
            return _Best(candidate, x, effect.explained)
        return None

    def residuals_beyond(self, candidate: Candidate) -> numpy.ndarray:
        """Return the residuals without what the fine bins of both columns explain.

        The functions of both columns are fitted by turns, each to what the other one leaves. This
        takes the number of rows of each pair of bins, and the sums of the residuals in the bins.
        """
        bins = self.values.bins(candidate.first), self.values.bins(candidate.second)
        sums = [sums_of_bins(self.residuals, of_column, BINS_WITH_GAPS) for of_column in bins]
        shape = BINS_WITH_GAPS, BINS_WITH_GAPS
        rows = numpy.bincount(bins[0] * BINS_WITH_GAPS + bins[1], minlength=BINS_WITH_GAPS**2)
        rows_of_both = rows.reshape(shape).astype(numpy.float64)
        rows_of_first = rows_of_both.sum(axis=1, keepdims=True).clip(min=1)
        rows_of_second = rows_of_both.sum(axis=0)[:, None].clip(min=1)
        of_second = numpy.zeros_like(sums[1])
        for _ in range(ADJUSTMENTS):
            of_first = (sums[0] - rows_of_both @ of_second) / rows_of_first
            of_second = (sums[1] - rows_of_both.T @ of_first) / rows_of_second
        return self.residuals - of_first[bins[0]] - of_second[bins[1]]

    def _effect(self, residuals: numpy.ndarray, x: numpy.ndarray) -> "_Effect":
        """Return how much the bins of a number explain of the residuals. x : (rows,)"""
        effects = self.effects_of(residuals, bins_between_quantiles(x, DIFFERENCE_BINS)[None])
        return _Effect(float(effects.deviations[0]), float(effects.explained[0]))

    def effects_of(self, residuals: numpy.ndarray, bins: numpy.ndarray) -> "_Effects":
        """Return how much the bins of each of several numbers explain of the residuals.

        By chance, sums of squares of means of bins have the mean (bins - 1) tr(C) and the variance
        2 (bins - 1) |C|^2, where C is the covariance of the residuals.

        residuals : (rows, targets), of all rows or some of them
        bins : (numbers, rows), from 0 to DIFFERENCE_BINS
        """
        rows = len(self.residuals)
        free_share = max(1, rows - self.terms - 2 * COLUMN_BINS) / rows
        chance = _chance(residuals / numpy.sqrt(free_share))
        if chance.mean <= 0:
            return _Effects(*numpy.zeros((2, len(bins))))
        cells = (bins + (DIFFERENCE_BINS + 1) * numpy.arange(len(bins))[:, None]).ravel()
        shape = len(bins), DIFFERENCE_BINS + 1
        counts = numpy.bincount(cells, minlength=shape[0] * shape[1])
        squares = numpy.zeros(counts.shape)
        for target in residuals.T:
            sums = numpy.bincount(cells, numpy.tile(target, len(bins)), len(counts))
            squares += sums**2
        squares /= counts.clip(min=1)
        free_bins = ((counts > 0).reshape(shape).sum(axis=1) - 1).clip(min=1)
        excess = squares.reshape(shape).sum(axis=1) - free_bins * chance.mean
        deviations = excess / (numpy.sqrt(2 * free_bins) * chance.deviation)
        return _Effects(deviations, excess / (chance.mean * len(residuals)))


class _Chance(NamedTuple):
    """The sum of squares of a free bin by chance: its mean, and its deviation by sqrt(2)."""

    mean: float
    deviation: float


def _chance(residuals: numpy.ndarray) -> _Chance:
    """Return the trace and the norm of the covariance of residuals: (rows, targets)."""
    covariance = residuals.T @ residuals / len(residuals)
    return _Chance(float(numpy.trace(covariance)), float(numpy.linalg.norm(covariance)))


class _Effect(NamedTuple):
    """The effect of bins. deviations : excess over chance; explained : share of the residuals"""

    deviations: float
    explained: float


class _Effects(NamedTuple):
    """The effects of the bins of several numbers, as of one: (numbers,) each."""

    deviations: numpy.ndarray
    explained: numpy.ndarray


def bins_between_quantiles(x: numpy.ndarray, count: int) -> numpy.ndarray:
    """Return the bin of each number, between quantiles; gaps have the last bin: (rows,) int64."""
    (quantiles,) = ColumnValues(x[None]).quantiles(numpy.linspace(0, 1, count + 1)[1:-1])
    edges = numpy.unique(quantiles)
    bins: numpy.ndarray = (x >= edges[:, None]).sum(axis=0)
    bins[numpy.isnan(x)] = len(edges) + 1
    return bins


def bins_of_equal_width(x: numpy.ndarray) -> numpy.ndarray:
    """Return the bin of each number, of equal widths around the mean; gaps have the last bin.

    These take a fraction of the time of quantiles.

    x : (numbers, rows) float64, which is overwritten; returns the same shape, int64
    """
    is_gap = numpy.isnan(x)
    has_gaps = is_gap.any()
    present = (x.shape[1] - is_gap.sum(axis=1)).clip(min=1)
    x -= (numpy.nansum(x, axis=1) if has_gaps else x.sum(axis=1))[:, None] / present[:, None]
    if has_gaps:
        x[is_gap] = 0.0
    spread = numpy.sqrt(numpy.einsum("ij,ij->i", x, x) / present)
    bins_per_number = DIFFERENCE_BINS / (2 * BINNED_DEVIATIONS)
    x *= numpy.divide(bins_per_number, spread, out=numpy.zeros(len(x)), where=spread > 0)[:, None]
    x += DIFFERENCE_BINS // 2
    bins = numpy.clip(x, 0, DIFFERENCE_BINS - 1, out=x).astype(numpy.int64)
    if has_gaps:
        bins[is_gap] = DIFFERENCE_BINS
    return bins


def linear_pieces(values: ColumnValues, count: int) -> numpy.ndarray:
    """Return the terms of piecewise-linear functions of all columns.

    These are a constant, how far each number is through each of the bins of its column, and
    whether it is a gap, for each column with gaps.

    count : maximum number of bins of a column; returns (terms, rows) float64
    """
    edges = values.quantiles(numpy.linspace(0, 1, count + 1))
    filled = numpy.where(values.is_gap, edges[:, :1], values.x)
    widths = numpy.diff(edges, axis=1)
    columns, bins = numpy.nonzero(widths > 0)
    gaps = values.is_gap[values.is_gap.any(axis=1)]
    design = numpy.empty((1 + len(columns) + len(gaps), values.x.shape[1]))
    design[0] = 1.0
    for piece, column, bin_ in zip(design[1:], columns.tolist(), bins.tolist(), strict=False):
        numpy.subtract(filled[column], edges[column, bin_], out=piece)
        piece /= widths[column, bin_]
        numpy.maximum(piece, 0.0, out=piece)
        numpy.minimum(piece, 1.0, out=piece)
    design[1 + len(columns) :] = gaps
    return design


def sums_of_bins(Y: numpy.ndarray, bins: numpy.ndarray, count: int) -> numpy.ndarray:
    """Return the sum of the rows of each of a number of bins: (bins, columns)."""
    return numpy.stack([numpy.bincount(bins, column, count) for column in Y.T], axis=1)


def means_of_bins(Y: numpy.ndarray, bins: numpy.ndarray) -> numpy.ndarray:
    """Return the mean of the rows of each bin, 0 for a bin without rows: (bins, columns)."""
    counts = numpy.bincount(bins)
    return sums_of_bins(Y, bins, len(counts)) / counts.clip(min=1)[:, None]
