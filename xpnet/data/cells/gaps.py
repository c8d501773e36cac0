"""Words and numbers that stand for gaps: the usual ones, those of the user, and suspicious ones."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy

from xpnet.data.cells.dates import is_date

MISSING: list[str] = [
    *("", "NA", "N/A", "<NA>", "#N/A", "#N/A N/A", "#NA", "n/a"),
    *("NaN", "nan", "-NaN", "-nan", "1.#IND", "1.#QNAN", "-1.#IND", "-1.#QNAN"),
    *("NULL", "null", "None"),
]
"""Cells that are gaps: pandas' list, so that a frame read by pandas gets the same predictions."""

ALL_COLUMNS = ""
"""Key of a dict of values that are gaps, for those of all columns."""
CODES = frozenset({-1.0, *(sign * (10.0**n - 1) for n in range(1, 8) for sign in (1, -1))})
"""Numbers that many tables write for gaps: -1, and 9, 99, 999 and so on with either sign."""
MIN_CODE_SHARE = 0.01
"""Share of the rows from which a number in many rows may be a code for gaps."""
MIN_CODE_ROWS = 5
"""Number of rows from which a number in many rows may be a code for gaps."""
MIN_OTHER_VALUES = 5
"""Number of different other values that show where the numbers of a column lie."""


class GapValues(NamedTuple):
    """The values that a user calls gaps.

    words : texts; numbers : the same as numbers, as far as they are any
    replaces_usual : whether a word is among them that is neither a number nor a date: then the
        usual words are gaps in text no more
    """

    words: tuple[str, ...] = ()
    numbers: tuple[float, ...] = ()
    replaces_usual: bool = False


def gap_values(values: Iterable[object]) -> GapValues:
    """Return values that a user calls gaps, which are numbers or text."""
    words: list[str] = []
    numbers: list[float] = []
    replaces_usual = False
    for value in values:
        try:
            number = float(value)  # type: ignore[arg-type]
        except ValueError:
            replaces_usual = replaces_usual or not is_date(str(value))
            words.append(str(value))
            continue
        numbers.append(number)
        words.append(str(value))
        if number.is_integer():
            words += [str(int(number)), f"{int(number)}.0"]
    return GapValues(tuple(dict.fromkeys(words)), tuple(dict.fromkeys(numbers)), replaces_usual)


def gaps_of_column(values: object, name: str) -> GapValues:
    """Return the values of one column that a user calls gaps.

    values : one or several for all columns, or a dict of these by column; None for none
    """
    if not isinstance(values, Mapping):
        return gap_values(listed(values))
    return gap_values([*listed(values.get(ALL_COLUMNS)), *listed(values.get(name))])


def listed(values: object) -> list[object]:
    """Return one value, several, or none, as a list."""
    if values is None:
        return []
    return (
        list(values) if isinstance(values, Iterable) and not isinstance(values, str) else [values]
    )


def suspicious_codes(numbers: numpy.ndarray) -> list[float]:
    """Return the numbers of a column that look like codes for gaps.

    They are usual codes in many rows, and lie far outside of all others.

    numbers : (rows,) float64, NaN for gaps
    """
    present = numbers[~numpy.isnan(numbers)]
    if len(present) < MIN_CODE_ROWS or not {present.min(), present.max()} & CODES:
        return []
    is_code = numpy.isin(present, list(CODES))
    others = present[~is_code]
    if len(numpy.unique(others)) < MIN_OTHER_VALUES:
        return []
    low, high = float(others.min()), float(others.max())
    quarters = numpy.quantile(others, [0.25, 0.75])
    spread = max(float(numpy.diff(quarters)[0]), float(others.std())) / 2
    codes, counts = numpy.unique(present[is_code], return_counts=True)
    minimum = max(MIN_CODE_ROWS, MIN_CODE_SHARE * len(present))
    return [
        code
        for code, count in zip(codes.tolist(), counts.tolist(), strict=True)
        if count >= minimum and max(low - code, code - high) > spread
    ]
