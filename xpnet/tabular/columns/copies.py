"""Notes on columns that tell the target, and on columns that say the same as another one."""

from collections.abc import Container, Mapping
from math import log

import numpy
from scipy.special import gammaln

from xpnet.tabular.columns.records import Numbers, OtherValues, Table, Timestamps, Words

Comparable = Numbers | Timestamps | Words
"""The values of a column whose rows can be compared."""

MIN_ROWS = 20
"""Minimum rows of a note. Fewer rows can be looked at."""
MAX_CHANCE = 1e-3
"""Maximum probability that noise gives a table a note: two columns of zeros with a 1 in one of 25
rows are equal in one of 25 tables."""
MIN_ROWS_A_VALUE = 2
"""Minimum mean rows of each value of the target where a column's values may have another order."""
COMPARED_FIRST = 64
"""Number of rows that show of nearly all columns that they are no copies."""
MAX_COPIES = 20
"""Maximum columns with the note that they repeat another one: a wide table may have thousands."""

TELLS_TARGET = (
    "tells the target of each training row: each of its values goes with one value of the target; "
    "leave it out unless it is known before the target"
)
"""The note on a column that is the target, or a one-to-one function of it."""


def notes_of_copies(
    table: Table, y: numpy.ndarray | None, left_out: Container[str]
) -> dict[int, str]:
    """Return a note for each column that tells the target, or has the values of an earlier one.

    y : (rows,) class indices or numbers; None for no target
    left_out : names of columns that have no notes
    """
    if table.rows < MIN_ROWS:
        return {}
    names = table.labels or table.names
    used: dict[int, Comparable] = {}
    for index, name in enumerate(names):
        values = table.values(index)
        if name not in left_out and not isinstance(values, OtherValues):
            used[index] = values
    notes: dict[int, str] = {}
    target = None if y is None else _SortedTarget(y)
    if target is not None and target.log_chance <= log(MAX_CHANCE / max(len(used), 1)):
        notes |= {k: TELLS_TARGET for k, values in used.items() if target.is_told_by(values)}
    for index, other in list(_copies(used).items())[:MAX_COPIES]:
        note = f"has the values of {names[other]!r} in all rows; one of the two is enough"
        notes[index] = f"{notes[index]}, and {note}" if index in notes else note
    return notes


def _copies(columns: Mapping[int, Comparable]) -> dict[int, int]:
    """Return the first column with the same values, for each column that repeats one.

    Columns that chance would make equal, as two with a 1 in one row, are left out.
    """
    alike: dict[object, list[int]] = {}  # by the first rows
    for index, values in columns.items():
        alike.setdefault(_cells_to_compare(values, COMPARED_FIRST), []).append(index)
    copies: dict[int, int] = {}
    pairs = max(len(columns), 1) ** 2
    min_log_arrangements = log(pairs / MAX_CHANCE)
    for places in alike.values():
        originals: dict[object, int] = {}  # by all rows
        for index in places if len(places) > 1 else ():
            original = originals.setdefault(_cells_to_compare(columns[index]), index)
            log_arrangements = _log_arrangements(_cells(columns[index]))
            if original != index and log_arrangements >= min_log_arrangements:
                copies[index] = original
    return dict(sorted(copies.items()))


class _SortedTarget:
    """The target in its order, by which columns are compared with it.

    y : (rows,) class indices or numbers
    """

    def __init__(self, y: numpy.ndarray) -> None:
        self.order: numpy.ndarray = numpy.argsort(y, kind="stable")
        ordered = y[self.order]
        self.rises: numpy.ndarray = ordered[1:] != ordered[:-1]
        self.starts: numpy.ndarray = numpy.flatnonzero(numpy.append(True, self.rises))
        self.is_nearly_distinct: bool = len(y) < MIN_ROWS_A_VALUE * len(self.starts)

    @property
    def log_chance(self) -> float:
        """Return the logarithm of the probability that a column of noise tells the target.

        The column has as many rows of each value as the target, in one of all arrangements.
        """
        values = len(self.starts)
        log_orders = log(2) if self.is_nearly_distinct else float(gammaln(values + 1))
        ordered = numpy.repeat(self.starts, numpy.diff(self.starts, append=len(self.order)))
        return log_orders - _log_arrangements(ordered)

    def is_told_by(self, values: Comparable) -> bool:
        """Return whether each value of a column goes with one value of the target, and the reverse.

        Where the target has nearly as many values as rows, the column must rise or fall with it.
        """
        if len(self.starts) < 2:
            return False
        cells = _cells(values)
        first = cells[self.order[:COMPARED_FIRST]]
        if not numpy.array_equal(first[1:] != first[:-1], self.rises[: len(first) - 1]):
            return False
        ordered = cells[self.order]
        is_told = numpy.array_equal(ordered[1:] != ordered[:-1], self.rises)
        if not (is_told and values.is_present.all()):
            return False
        distinct = ordered[self.starts]
        if not self.is_nearly_distinct:
            return len(numpy.unique(distinct)) == len(distinct)
        rises = distinct[1:] > distinct[:-1]
        return not isinstance(values, Words) and bool(rises.all() or not rises.any())


def _log_arrangements(cells: numpy.ndarray) -> float:
    """Return the logarithm of the number of orders of a column's cells that differ."""
    counts = numpy.unique(cells, return_counts=True)[1]
    return float(gammaln(len(cells) + 1) - gammaln(counts + 1).sum())


def _cells(values: Comparable) -> numpy.ndarray:
    """Return a column as (rows,) numbers, those of text in no order."""
    if isinstance(values, Words):
        return values.codes
    return values.values if isinstance(values, Numbers) else values.microseconds


def _cells_to_compare(values: Comparable, rows: int | None = None) -> tuple[object, ...]:
    """Return what is equal for two columns if their first rows are equal, or all of them."""
    cells = _cells(values)[:rows]
    if isinstance(values, Words):
        distinct, first_rows, codes = numpy.unique(cells, return_index=True, return_inverse=True)
        order = numpy.argsort(first_rows)  # of the distinct texts, by where they come first
        texts = (values.texts[code] if code >= 0 else None for code in distinct[order].tolist())
        return "text", *texts, numpy.argsort(order)[codes].tobytes()
    clock = values.clock if isinstance(values, Timestamps) else None
    floats = cells.astype(numpy.float64) + 0.0  # -0.0 is 0.0
    floats[~values.is_present[:rows]] = numpy.nan
    return clock, floats.tobytes()
