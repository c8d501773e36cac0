"""Notes on values of training columns that are gaps, infinite, or that look like codes for gaps."""

import numpy

from xpnet.data.cells.dates import MICROSECONDS_PER_DAY
from xpnet.data.cells.gaps import MIN_CODE_ROWS, MIN_CODE_SHARE, GapValues, suspicious_codes
from xpnet.tabular.columns.records import Numbers, Timestamps, Values, Words

MICROSECONDS_PER_YEAR = 365.25 * MICROSECONDS_PER_DAY
MIN_YEARS_TO_NO_DATE = 50
"""Number of years between all other dates and one that may mean "no date"."""


def note_of_named_gaps(values: Values, read: Values, gaps: GapValues) -> str:
    """Return the note on the values of a column that the user calls gaps; "" where it has none.

    values, read : before and after they were read
    """
    if isinstance(read, Timestamps) and isinstance(values, Timestamps | Words):
        count = int((values.is_present & ~read.is_present).sum()) if gaps.words else 0
    elif isinstance(values, Numbers) and gaps.numbers:
        count = int(numpy.isin(values.values, gaps.numbers).sum())
    elif isinstance(values, Words):
        texts, counts = values.counts()
        count = sum(
            rows for text, rows in zip(texts, counts.tolist(), strict=True) if text in gaps.words
        )
    else:
        count = 0
    return f"holds values in {count:,} rows that are gaps by missing_values" if count else ""


def note_of_infinities(values: Values) -> str:
    """Return the note on infinite numbers of a column, and how they are read; "" for none."""
    if not isinstance(values, Numbers) or values.values.dtype.kind != "f":
        return ""
    count = int(numpy.isinf(values.values).sum())
    if not count:
        return ""
    rows = "an infinite number in 1 row" if count == 1 else f"infinite numbers in {count:,} rows"
    return f"holds {rows}, which count as the smallest and largest of its finite numbers"


def note_of_codes(numbers: Numbers, name: str) -> str:
    """Return the note on numbers that look like codes for gaps, "" for none.

    name : of the column, since such a number may be a value of another column
    """
    floats = numbers.floats()
    codes = suspicious_codes(floats)
    if not codes:
        return ""
    listed = ", ".join(f"{code:.0f}" for code in codes)
    rows = int(numpy.isin(floats, codes).sum())
    values = listed if len(codes) == 1 else f"[{listed}]"
    return (
        f"holds {listed} in {rows:,} rows, far outside of all other numbers; "
        f"missing_values={{{name!r}: {values}}} reads gaps"
    )


def note_of_no_date(timestamps: Timestamps) -> str:
    """Return the note on a date that may mean "no date", "" for none.

    It is in many rows, and further from all other dates than these are from each other.
    """
    present = timestamps.microseconds[timestamps.is_present]
    for end in (present.min(), present.max()):
        others = present[present != end]
        count = len(present) - len(others)
        if count < max(MIN_CODE_ROWS, MIN_CODE_SHARE * len(present)) or not len(others):
            continue
        distance = min(abs(others.min() - end), abs(others.max() - end))
        span = others.max() - others.min()
        if distance > max(span, MIN_YEARS_TO_NO_DATE * MICROSECONDS_PER_YEAR):
            day = numpy.datetime64(int(end), "us").astype("datetime64[D]")
            return (
                f"holds the date {day} in {count:,} rows, far from all others, which may mean "
                f"'no date'; missing_values='{day}' reads gaps"
            )
    return ""
