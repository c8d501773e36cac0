"""A table of features and labels, and what is asked of a file that shall become one."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from reprlib import repr as short
from typing import Any, Literal

import numpy

from xpnet.errors import DataFileError

Kind = Literal["number", "text"]
"""What a feature's column holds."""


@dataclass(frozen=True)
class Dialect:
    """How a text file is written; None for what the file itself shows.

    separator : between two values; decimal : before the fraction of a number; encoding : a name that Python knows
    header : whether the first line names the columns
    """

    separator: str | None = None
    decimal: str | None = None
    encoding: str | None = None
    header: bool = True


@dataclass(frozen=True)
class Request:
    """What is asked of a data file.

    Parameters
    ----------
    target : str or None
        Column of the labels. The bundled data sets and ``.npz``, HDF5 and Zarr files (there: ``y``) need none.
    labelled : bool
        False to read features alone.
    features : sequence of str or None
        The columns that make X, in this order; None for all that can serve.
    drop, ids : sequences of str
        Columns to leave out, and columns to carry along as text.
    known_ids : sequence of str
        Columns to carry along where the file has them.
    text : sequence of str
        Columns to take as text though they hold numbers.
    kinds : mapping of str to Kind, or None
        What each feature must hold, where a model says so; None to learn it from the file.
    missing : {"error", "keep"}
        Whether an empty cell is refused, or kept: NaN among numbers, None among text.
    dtype : {"float32", "float64"} or None
        Of the numbers; None for the smallest that holds them exactly (float64 for text files).
    dialect : Dialect
        How a text file is written.
    """

    target: str | None = None
    labelled: bool = True
    features: Sequence[str] | None = None
    drop: Sequence[str] = ()
    ids: Sequence[str] = ()
    known_ids: Sequence[str] = ()
    text: Sequence[str] = ()
    kinds: Mapping[str, Kind] | None = None
    missing: Literal["error", "keep"] = "error"
    dtype: str | None = None
    dialect: Dialect = field(default_factory=Dialect)


@dataclass(frozen=True)
class Coded:
    """Labels of which few differ, in a few bytes a row.

    distinct : (few,) those that differ, sorted; places : (rows,) the place of each row's among them, unsigned integers
    """

    distinct: numpy.ndarray
    places: numpy.ndarray

    def __len__(self) -> int:
        return len(self.places)

    @property
    def dtype(self) -> numpy.dtype:
        """Of the labels."""
        return self.distinct.dtype


@dataclass(frozen=True)
class Table:
    """What a data file holds.

    Parameters
    ----------
    name : str
        The file or data set.
    X : array, shape (rows, features), float32 or float64, or pyarrow.Table
        The features: a matrix where all are numbers, else a table with a column for each, numbers or text.
    features : list of str
        A name for each column of X.
    labels : array, shape (rows,), int64, float64 or str
        Empty where none were asked for. ``Coded`` where the rows are read block by block.
    target : str or None
        The name of the labels' column.
    ids : dict of str to iterable of str
        The columns that are carried along, cell by cell.
    left_out : dict of str to str
        Columns that make no feature, each with the reason.
    notes : list of str
        What was done to read the file that its owner should know.
    """

    name: str
    X: Any
    features: list[str]
    labels: Any = field(default_factory=lambda: numpy.empty(0, dtype=numpy.int64))
    target: str | None = None
    ids: Mapping[str, Iterable[str | None]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """How many."""
        return int(self.X.shape[0])


@dataclass(frozen=True)
class Columns:
    """Which columns of a file are read.

    features : those that may make X; target : that of the labels, or None; ids : those that are carried along
    chosen : whether the features were named, so that none may be left out
    """

    features: list[str]
    target: str | None
    ids: list[str]
    chosen: bool

    @property
    def all(self) -> list[str]:
        """Every column that is read, each once."""
        return list(dict.fromkeys([*self.features, *([] if self.target is None else [self.target]), *self.ids]))


def pick_columns(name: str, header: Sequence[str], request: Request) -> Columns:
    """The columns to read from a file with that header.

    Raises DataFileError for columns that are missing or named twice, for a target that is not named, and when no column
    is left for X.
    """
    seen: set[str] = set()
    repeated = {column for column in header if column in seen or seen.add(column)}  # type: ignore[func-returns-value]
    if repeated:
        raise DataFileError(
            f"{name}: columns have different names; {listed(sorted(repeated))} stands there twice. Rename one."
        )
    target = need_target(name, request.target, header) if request.labelled else None
    named = [*([] if target is None else [target]), *(request.features or []), *request.ids, *request.text]
    missing = [column for column in dict.fromkeys([*named, *request.drop]) if column not in seen]
    if missing:
        raise DataFileError(_no_columns(name, missing, header))
    apart = {target, *request.ids, *request.drop}
    features = [c for c in header if c not in apart] if request.features is None else list(request.features)
    if not features:
        raise DataFileError(f"{name}: at least one column beside the target is needed; received {listed(header)}.")
    if target in features:
        raise DataFileError(f"{name}: {target!r} is the target, and no feature can be. Name another.")
    ids = [*request.ids, *(column for column in request.known_ids if column in seen)]
    return Columns(features, target, list(dict.fromkeys(ids)), request.features is not None)


def _no_columns(name: str, missing: Sequence[str], header: Sequence[str]) -> str:
    told = f"{name}: no column {listed(missing)}; the first line names {listed(header)}. "
    numbers = sum(_is_number(column) for column in header)
    if len(header) > 1 and 2 * numbers > len(header):
        return told + "It holds numbers: if there is no line of names, --no-header calls the columns x0, x1, ..."
    return told + "Check the spelling."


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def need_target(name: str, target: str | None, header: Sequence[str]) -> str:
    """The target, if there is one; raises DataFileError otherwise."""
    if target is None:
        raise DataFileError(
            f"{name}: which column holds the labels must be named as the target: one of {listed(header)}."
        )
    return target


def numbered(columns: int) -> list[str]:
    """``x0``, ``x1``, ...: names for columns that have none."""
    return [f"x{column}" for column in range(columns)]


def check_rows(name: str, rows: int) -> None:
    """Raise DataFileError for a table without rows."""
    if not rows:
        raise DataFileError(f"{name}: at least one row is needed; received none below the header.")


def check_numbers(name: str, X: numpy.ndarray, features: Sequence[str], *, missing: str = "error") -> None:
    """Raise DataFileError unless X (rows, features) has rows and finite values; names every column that has others.

    missing : ``"keep"`` to allow NaN
    """
    check_rows(name, X.shape[0])
    bad = [_bad_cells(X[:, place], feature, missing) for place, feature in _suspects(X, features)]
    raise_for(name, [cells for cells in bad if cells is not None])


def _suspects(X: numpy.ndarray, features: Sequence[str]) -> list[tuple[int, str]]:
    """Columns with a value that is not finite: a sum is finite where all of its terms are, or overflows."""
    with numpy.errstate(over="ignore", invalid="ignore"):
        sums = X.sum(axis=0)
    return [(place, features[place]) for place in numpy.flatnonzero(~numpy.isfinite(sums)).tolist()]


@dataclass(frozen=True)
class BadCells:
    """The cells of a column that cannot be used.

    row : of the first, counted from 0; value : what it holds, None where it is empty; count : of cells
    """

    column: str
    row: int
    value: Any
    count: int

    @property
    def empty(self) -> bool:
        """Whether cells are missing, and not merely unreadable."""
        return self.value is None or self.value != self.value or not str(self.value).strip()

    def __str__(self) -> str:
        held = "is empty" if self.empty else f"holds {short(self.value)}"
        return f"row {self.row + 1}, column {short(self.column)} {held} ({self.count} such cells)"


def _bad_cells(values: numpy.ndarray, feature: str, missing: str) -> BadCells | None:
    bad = ~numpy.isfinite(values) if missing == "error" else numpy.isinf(values)
    if not bad.any():
        return None
    row = int(bad.argmax())
    return BadCells(feature, row, None if numpy.isnan(values[row]) else float(values[row]), int(bad.sum()))


def raise_for(name: str, bad: Sequence[BadCells]) -> None:
    """Raise one DataFileError for all columns with cells that cannot be used; nothing for none."""
    if not bad:
        return
    shown = "; ".join(map(str, bad[:6]))
    more = f"; and {len(bad) - 6} more columns: {listed([b.column for b in bad[6:]])}" if len(bad) > 6 else ""
    rule, remedy = _rule_and_remedy(bad)
    leave_out = " ".join(f"--drop {_quoted(b.column)}" for b in bad[:6])
    raise DataFileError(f"{name}: {rule}; {shown}{more}. {remedy}; {leave_out} leaves out.")


def _rule_and_remedy(bad: Sequence[BadCells]) -> tuple[str, str]:
    if all(cells.empty for cells in bad):
        return "every value must be there", "--missing impute fills gaps"
    if all(cells.empty or isinstance(cells.value, float) for cells in bad):
        return "every value must be finite", "Mend the cells (--dtype float64 where they are too large for float32)"
    text = " ".join(f"--text {_quoted(b.column)}" for b in bad[:6] if not b.empty)
    return "a column must hold numbers, or text, not both", f"Mend the cells; {text} takes them as text"


def _quoted(column: str) -> str:
    return repr(column) if any(c in column for c in " '\"$*()[]") else column


def listed(names: Sequence[Any], most: int = 12) -> str:
    """``'a', 'b', 'c'``, cut after so many."""
    shown = ", ".join(short(str(n)) for n in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
