"""The units of columns, and the pairs of columns in one unit with similar ranges."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy

from xpnet.tabular.encodings.differences.audition import Candidate, ColumnValues
from xpnet.tabular.encodings.number import (
    SECONDS_PER_DAY,
    NumberEncoding,
    minutes_of_clock_numbers,
)

MIN_ROWS = 100
"""Minimum number of rows of a table whose differences are auditioned."""
MIN_VALUES = 5
"""Minimum number of different values of a column that may be part of a difference."""
MIN_OVERLAP = 0.5
"""Smallest overlap of the central ranges of two alike columns, as a share of their union."""
CENTRAL_RANGE = (0.1, 0.9)
"""The quantiles between which the central range of a column lies."""
MAX_PAIRS = 500
"""Maximum number of auditioned pairs: those whose ranges overlap most."""
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


class Unit(NamedTuple):
    """The unit of a column: two columns with different units have no difference.

    is_time : whether it holds timestamps; clock : of timestamps
    is_clock_number : whether its numbers are clock times such as 1730
    period : of the unit, after which it begins again, 0 for none
    """

    is_time: bool
    clock: str
    is_clock_number: bool
    period: float


def unit_of(column: NumberColumn) -> Unit:
    """Return the unit of a column."""
    if column.encoding.part:
        period = SECONDS_PER_DAY if column.is_time_of_day else 0.0
        return Unit(True, column.clock, False, period)
    is_clock_number = are_clock_numbers(column.x)
    return Unit(False, "", is_clock_number, MINUTES_PER_DAY if is_clock_number else 0.0)


def are_clock_numbers(x: numpy.ndarray) -> bool:
    """Return whether numbers are clock times, such as 5 for 00:05, 930 for 9:30 and 2400.

    x : (rows,) float64, NaN for gaps
    """
    values = x[~numpy.isnan(x)]
    if ((values < 0) | (values > 2400) | (values != numpy.floor(values))).any():
        return False
    values = numpy.unique(values)
    minutes = values % 100
    if len(values) < MIN_CLOCK_VALUES or (minutes >= 60).any():
        return False
    return len(numpy.unique(values // 100)) >= MIN_CLOCK_HOURS and len(numpy.unique(minutes)) > 1


def in_unit(x: numpy.ndarray, unit: Unit) -> numpy.ndarray:
    """Return a column as it is subtracted; infinite numbers are gaps."""
    x = numpy.where(numpy.isfinite(x), x, numpy.nan)
    return minutes_of_clock_numbers(x) if unit.is_clock_number else x


def alike_pairs(values: ColumnValues, units: Sequence[Unit]) -> list[Candidate]:
    """Return the pairs of columns of one unit with similar ranges, the most similar ones."""
    low, high = values.quantiles(numpy.array(CENTRAL_RANGE)).T
    is_usable = (values.present >= MIN_ROWS) & (values.different_values() >= MIN_VALUES)
    unit_codes = numpy.array([units.index(unit) for unit in units])
    first, second = numpy.triu_indices(len(units), 1)
    is_possible = is_usable[first] & is_usable[second] & (unit_codes[first] == unit_codes[second])
    first, second = first[is_possible], second[is_possible]
    union = numpy.maximum(high[first], high[second]) - numpy.minimum(low[first], low[second])
    common = numpy.minimum(high[first], high[second]) - numpy.maximum(low[first], low[second])
    overlap = numpy.divide(common, union, out=numpy.zeros(len(union)), where=union > 0)
    best_first = numpy.argsort(-overlap, kind="stable")[:MAX_PAIRS]
    pairs = best_first[overlap[best_first] >= MIN_OVERLAP]
    return [
        Candidate(i, j, units[i].period)
        for i, j in zip(first[pairs].tolist(), second[pairs].tolist(), strict=True)
    ]
