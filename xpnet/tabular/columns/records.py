"""Tables of any library as columns of four kinds: numbers, categories, timestamps and others.

A column is read into NumPy when it is first needed (``xpnet.tabular.columns.series``), by the same
rules for all libraries, so that a frame and the file that it was written to give the same numbers:

- A timestamp with a time zone is an instant: it is read on the clock of UTC, whatever zone it is
  written in. A timestamp without a zone is read on its own clock.
- Empty text is a gap, as it is in CSV files.
- A whole number that is a category is text without decimals, whatever type stores it.
- What NumPy's masked arrays mask is a gap.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC
from functools import cached_property, partial
from operator import eq
from typing import Literal, NamedTuple, SupportsInt, overload

import numpy

from xpnet.data.cells.dates import Clock
from xpnet.data.cells.forms import LearnedForm
from xpnet.data.cells.numbers import MAX_EXACT_INTEGER, TextCounts
from xpnet.errors import InputError

Kind = Literal["number", "category", "timestamp", "other"]

MAX_NAMES_IN_A_MESSAGE = 10
"""Number of columns that an error names; their number stands for the others."""


class ColumnKind(NamedTuple):
    """The kind of the values of a column. type_name : the name of its type in messages"""

    kind: Kind
    type_name: str


class CategoryCodes(NamedTuple):
    """The values of a column of categories.

    codes : (rows,) int64, the index of each row's value in ``texts``; -1 for gaps
    texts : the values as text, each once
    """

    codes: numpy.ndarray
    texts: list[str]


@dataclass(frozen=True, eq=False)
class Numbers:
    """A column of numbers, booleans or durations, which are in seconds.

    values : (rows,) of one of NumPy's dtypes of numbers; NaN for gaps
    gaps : (rows,) bool, whether a whole number is a gap; None for no gaps among them
    are_durations : whether they are typed durations
    """

    values: numpy.ndarray
    gaps: numpy.ndarray | None = None
    are_durations: bool = False

    @property
    def kind(self) -> ColumnKind:
        """Return the kind of the column."""
        return ColumnKind("number", str(self.values.dtype))

    @property
    def is_empty(self) -> bool:
        """Return whether all rows are gaps."""
        return not self.is_present.any()

    def take(self, rows: numpy.ndarray | slice) -> "Numbers":
        """Return some rows. rows : indices or a slice"""
        gaps = None if self.gaps is None else self.gaps[rows]
        return replace(self, values=self.values[rows], gaps=gaps)

    def floats(self) -> numpy.ndarray:
        """Return the numbers as (rows,) float64, NaN for gaps."""
        floats = self.values.astype(numpy.float64)
        if self.gaps is not None:
            floats[self.gaps] = numpy.nan
        return floats

    @property
    def is_present(self) -> numpy.ndarray:
        """Return which rows are no gaps: (rows,) bool."""
        is_number = self.values == self.values  # NaN differs from itself.
        return is_number if self.gaps is None else is_number & ~self.gaps

    def categories(self) -> CategoryCodes:
        """Return the numbers as categories."""
        is_present = self.is_present
        distinct, present_codes = numpy.unique(self.values[is_present], return_inverse=True)
        codes = numpy.full(len(self.values), -1)
        codes[is_present] = present_codes
        return codes_of_texts(codes, map(text_of, distinct.tolist()))


@dataclass(frozen=True, eq=False)
class Timestamps:
    """A column of timestamps, dates or times of day.

    microseconds : (rows,) float64 since 1970 on the clock of the column, or since midnight of
        times of day; NaN for gaps
    clock : the clock; local : the same on the clock of the time zone, where that is another one
    unit : "datetime", "date" or "time"
    """

    microseconds: numpy.ndarray
    clock: Clock
    local: numpy.ndarray | None = None
    unit: Literal["date", "time", "datetime"] = "datetime"

    @property
    def kind(self) -> ColumnKind:
        """Return the kind of the column."""
        return ColumnKind("timestamp", "times of day" if self.unit == "time" else "dates")

    @property
    def is_empty(self) -> bool:
        """Return whether all rows are gaps."""
        return not self.is_present.any()

    @property
    def is_present(self) -> numpy.ndarray:
        """Return which rows are no gaps: (rows,) bool."""
        return ~numpy.isnan(self.microseconds)

    def take(self, rows: numpy.ndarray | slice) -> "Timestamps":
        """Return some rows. rows : indices or a slice"""
        local = None if self.local is None else self.local[rows]
        return replace(self, microseconds=self.microseconds[rows], local=local)

    def on_clock(self, clock: Clock) -> "Timestamps | None":
        """Return the timestamps on a clock of the training; None where they are on another one.

        clock : "" for the clock of any zone
        """
        if clock == "" and self.local is not None:
            return replace(self, microseconds=self.local)
        return self if clock in ("", self.clock) else None

    def categories(self) -> CategoryCodes:
        """Return the timestamps as categories, in the text that Python writes."""
        distinct, codes = numpy.unique(self.microseconds, return_inverse=True)
        timestamps = distinct.astype("datetime64[us]").tolist()  # None for gaps
        if self.clock == "utc":
            timestamps = [timestamp and timestamp.replace(tzinfo=UTC) for timestamp in timestamps]
        if self.unit != "datetime":
            timestamps = [timestamp and getattr(timestamp, self.unit)() for timestamp in timestamps]
        texts = [None if timestamp is None else str(timestamp) for timestamp in timestamps]
        return codes_of_texts(codes.astype(numpy.int64), texts)


@dataclass(frozen=True, eq=False)
class Words:
    """A column of text.

    codes : (rows,) int64, the index of each row's text in ``texts``; -1 for gaps
    texts : each once; empty text is a gap
    is_category : whether the column has a type for categories: these stay categories, even if
        they spell dates
    """

    codes: numpy.ndarray
    texts: list[str]
    is_category: bool = False

    @property
    def kind(self) -> ColumnKind:
        """Return the kind of the column."""
        return ColumnKind("category", "text")

    @cached_property
    def filled_texts(self) -> list[str]:
        """Return the texts that are no gaps."""
        return [text for text in self.texts if text]

    @property
    def is_empty(self) -> bool:
        """Return whether all rows are gaps."""
        return not self.filled_texts or bool((self.codes < 0).all())

    @property
    def is_present(self) -> numpy.ndarray:
        """Return which rows are no gaps: (rows,) bool."""
        is_filled = numpy.array([*(text != "" for text in self.texts), False], bool)
        return is_filled[self.codes]

    def take(self, rows: numpy.ndarray | slice) -> "Words":
        """Return some rows, and the texts of these. rows : indices or a slice"""
        codes = self.codes[rows]
        if isinstance(rows, slice):
            return Words(codes, self.texts, self.is_category)
        present = numpy.unique(codes[codes >= 0])
        new_codes = numpy.full(len(self.texts) + 1, -1)
        new_codes[present] = numpy.arange(len(present))
        texts = [self.texts[index] for index in present.tolist()]
        return Words(new_codes[codes], texts, self.is_category)

    def categories(self) -> CategoryCodes:
        """Return the texts as categories."""
        return CategoryCodes(self.codes, self.texts)

    def counts(self) -> TextCounts:
        """Return the texts that are no gaps, and the number of rows of each."""
        counts = numpy.bincount(self.codes[self.codes >= 0], minlength=len(self.texts))
        is_filled = numpy.array([text != "" for text in self.texts], bool) & (counts > 0)
        texts = [self.texts[index] for index in numpy.flatnonzero(is_filled).tolist()]
        return TextCounts(texts, counts[is_filled])

    def of_rows(self, of_texts: numpy.ndarray) -> numpy.ndarray:
        """Return the numbers of the rows from those of the texts: (rows,) float64, NaN for gaps."""
        return numpy.append(of_texts, numpy.nan)[self.codes]


@dataclass(frozen=True, eq=False)
class OtherValues:
    """A column of values that are not encoded. rows : their number; type_name : of their type"""

    rows: int
    type_name: str
    is_empty = False

    @property
    def kind(self) -> ColumnKind:
        """Return the kind of the column."""
        return ColumnKind("other", self.type_name)

    def take(self, rows: numpy.ndarray | slice) -> "OtherValues":
        """Return some rows. rows : indices or a slice"""
        return OtherValues(len(numpy.empty(self.rows)[rows]), self.type_name)


Values = Numbers | Timestamps | Words | OtherValues


class Column:
    """A column of a table, which is read when its values are first needed.

    rows : their number; read : returns the values
    """

    def __init__(self, rows: int, read: Callable[[], Values]) -> None:
        self.rows = rows
        self._read = read

    @cached_property
    def values(self) -> Values:
        """Return the values."""
        return self._read()

    def take(self, rows: numpy.ndarray | slice) -> "Column":
        """Return some rows. rows : indices or a slice"""
        count = len(range(*rows.indices(self.rows))) if isinstance(rows, slice) else len(rows)
        return Column(count, lambda: self.values.take(rows))


class _MadeColumns(Sequence[Column], ABC):
    """Columns each of which is made when it is first asked for.

    made : columns that are known before, by their index
    """

    def __init__(self, made: Mapping[int, Column]) -> None:
        self._made = dict(made)

    @abstractmethod
    def _make(self, index: int) -> Column:
        """Return a new column."""

    @overload
    def __getitem__(self, index: int) -> Column: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Column]: ...

    def __getitem__(self, index: int | slice) -> Column | Sequence[Column]:
        if isinstance(index, slice):
            return [self[k] for k in range(*index.indices(len(self)))]
        column = self._made.get(index)
        if column is None:
            column = self._made[index] = self._make(index)
        return column


class _TakenColumns(_MadeColumns):
    """Some rows of columns.

    A wide table is divided into many blocks of rows, of which each reads some of the columns.

    columns : of all rows; rows : indices or a slice
    """

    def __init__(self, columns: Sequence[Column], rows: numpy.ndarray | slice) -> None:
        super().__init__({})
        self._columns = columns
        self._rows = rows

    def __len__(self) -> int:
        return len(self._columns)

    def _make(self, index: int) -> Column:
        return self._columns[index].take(self._rows)


class MatrixColumns(_MadeColumns):
    """The columns of a matrix of numbers, which are read together where all are numbers.

    matrix : (rows, columns) of one of NumPy's dtypes of numbers, or of booleans
    changed : columns in place of those of the matrix, by their index
    """

    def __init__(self, matrix: numpy.ndarray, changed: Mapping[int, Column] | None = None) -> None:
        self._matrix = matrix
        self._changed = dict(changed or {})
        super().__init__(self._changed)

    def __len__(self) -> int:
        return int(self._matrix.shape[1])

    def _make(self, index: int) -> Column:
        values = Numbers(self._matrix[:, range(len(self))[index]])
        return Column(len(self._matrix), lambda: values)

    @property
    def is_unchanged(self) -> bool:
        """Return whether all columns are those of the matrix."""
        return not self._changed

    def take(self, rows: slice) -> "MatrixColumns":
        """Return some rows."""
        changed = {index: column.take(rows) for index, column in self._changed.items()}
        return MatrixColumns(self._matrix[rows], changed)

    def with_changed(self, changed: Mapping[int, Column]) -> "MatrixColumns":
        """Return the columns with others in place of some."""
        return MatrixColumns(self._matrix, {**self._changed, **changed})

    def floats(self, indices: Sequence[int]) -> numpy.ndarray | None:
        """Return columns as (rows, columns) float64; None where one is no column of the matrix."""
        if not self._changed.keys().isdisjoint(indices):
            return None
        if isinstance(indices, range):  # whose columns need no copy
            chosen = self._matrix[:, indices.start : indices.stop]
        else:
            chosen = self._matrix[:, indices]
        return chosen.astype(numpy.float64, copy=False)


@dataclass
class Table:
    """A table.

    names : text, one for each column
    columns : of equal length
    named : whether the names are the user's; otherwise they are x0, x1, ...
    labels : the user's names as text where they are of another type than text, else empty
    forms : how columns are read, by their names, where that is known before they are looked at
    row_numbers : (rows,) int, of the rows in their source, for messages; None for 0, 1, 2, ...
    """

    names: Sequence[str]
    columns: Sequence[Column]
    named: bool
    labels: tuple[str, ...] = ()
    forms: Mapping[str, LearnedForm] = field(default_factory=dict)
    row_numbers: numpy.ndarray | None = None

    @property
    def rows(self) -> int:
        """Return the number of rows."""
        return self.columns[0].rows

    def select(self, names: Sequence[str], required: set[str]) -> "Table":
        """Return the table with these columns in this order; columns of gaps replace missing ones.

        Raises InputError where a required column is missing.
        """
        own_names = self.labels or self.names
        if len(names) == len(own_names) and all(map(eq, names, own_names)):
            return replace(self, names=names, named=True, labels=())
        columns = dict(zip(own_names, self.columns, strict=True))
        missing = sorted(required - columns.keys())
        if missing:
            raise InputError(
                f"A table must have the columns of the training; {enumerated(map(repr, missing))} "
                f"is missing. Got {enumerated(map(repr, own_names))}."
            )
        rows = self.rows
        gaps = Column(rows, lambda: Numbers(numpy.full(rows, numpy.nan)))
        chosen = [columns.get(name, gaps) for name in names]
        return replace(self, names=names, columns=chosen, named=True, labels=())

    def take(self, rows: numpy.ndarray | slice) -> "Table":
        """Return some rows. rows : indices or a slice"""
        columns: Sequence[Column]
        if isinstance(rows, slice) and isinstance(self.columns, MatrixColumns):
            columns = self.columns.take(rows)
        else:
            columns = _TakenColumns(self.columns, rows)
        numbers = None if self.row_numbers is None else self.row_numbers[rows]
        return replace(self, columns=columns, row_numbers=numbers)

    def chunks(self, rows: numpy.ndarray, size: int) -> Iterator["Table"]:
        """Yield some rows. rows : indices; size : number of rows of each table but the last"""
        for first in range(0, len(rows), size):
            yield self.take(rows[first : first + size])

    def with_values(self, values: dict[int, Values]) -> "Table":
        """Return the table with other values in some columns. values : by the column's index"""
        changed = {index: Column(self.rows, partial(values.__getitem__, index)) for index in values}
        if isinstance(self.columns, MatrixColumns):
            return replace(self, columns=self.columns.with_changed(changed))
        columns = [changed.get(index, column) for index, column in enumerate(self.columns)]
        return replace(self, columns=columns)

    def values(self, index: int) -> Values:
        """Return the values of a column."""
        return self.columns[index].values

    def kind(self, index: int) -> ColumnKind:
        """Return the kind of a column."""
        return self.values(index).kind

    def clock(self, index: int) -> Clock:
        """Return the clock of a column of timestamps."""
        return getattr(self.values(index), "clock", "")

    def is_time_of_day(self, index: int) -> bool:
        """Return whether a column holds times without dates."""
        return getattr(self.values(index), "unit", "") == "time"

    @property
    def is_matrix(self) -> bool:
        """Return whether all columns are those of one matrix of numbers."""
        return isinstance(self.columns, MatrixColumns) and self.columns.is_unchanged

    def numbers_together(self, indices: Sequence[int]) -> numpy.ndarray | None:
        """Return columns of numbers of one matrix as (rows, columns) float64, NaN for gaps.

        None where they are not of one matrix, and ``numbers`` must read them one by one.

        indices : of the columns; of a range, whose step is 1, no copy is made
        """
        columns = self.columns
        return columns.floats(indices) if isinstance(columns, MatrixColumns) else None

    def numbers(self, index: int) -> numpy.ndarray:
        """Return a column of numbers: (rows,) float64, NaN for gaps; durations are in seconds.

        Raises InputError for a column of another kind.
        """
        values = self.values(index)
        name = self.names[index]
        if values.is_empty:
            return numpy.full(self.rows, numpy.nan)
        if not isinstance(values, Numbers):
            raise InputError(changed_kind(name, "numbers", values.kind.type_name))
        return values.floats()

    def timestamps(self, index: int) -> numpy.ndarray:
        """Return a column of timestamps: (rows,) float64, seconds since 1970, NaN for gaps.

        Raises InputError for a column of another kind.
        """
        values = self.values(index)
        name = self.names[index]
        if values.is_empty:
            return numpy.full(self.rows, numpy.nan)
        if not isinstance(values, Timestamps):
            raise InputError(changed_kind(name, "dates", values.kind.type_name))
        return values.microseconds / 1e6

    def categories(self, index: int) -> CategoryCodes:
        """Return the values of a column as categories.

        Raises InputError for a column of another kind.
        """
        values = self.values(index)
        if isinstance(values, OtherValues):
            name = self.names[index]
            raise InputError(changed_kind(name, "text or numbers", values.kind.type_name))
        return values.categories()

    def is_merged_by_float64(self, index: int) -> bool:
        """Return whether a column holds whole numbers that are different and equal in float64."""
        values = self.values(index)
        if not isinstance(values, Numbers) or values.values.dtype.kind not in "iu":
            return False
        integers = values.values[values.is_present]
        if not len(integers) or not _exceeds(integers.min(), integers.max()):
            return False
        return len(numpy.unique(integers)) > len(numpy.unique(integers.astype(numpy.float64)))


def _exceeds(low: SupportsInt, high: SupportsInt) -> bool:
    """Return whether whole numbers of this range are beyond those that float64 holds."""
    return int(low) < -MAX_EXACT_INTEGER or int(high) > MAX_EXACT_INTEGER


def changed_kind(name: str, kind: str, type_name: str) -> str:
    """Return the message about a column of another kind than in training."""
    return f"Column {name!r} must hold {kind}, as in training; got {type_name}. Convert the column."


def changed_clock(name: str, clock: Clock) -> str:
    """Return the message about a column of timestamps on another clock than in training."""
    if clock == "utc":
        return (
            f"Column {name!r} must hold dates with a time zone, as in training; got dates without "
            "one. Say which zone they are in, for example by dt.tz_localize('UTC') in pandas."
        )
    return (
        f"Column {name!r} must hold dates without a time zone, as in training; got dates with "
        "one. Remove it: in pandas dt.tz_localize(None) keeps the clock of the zone, and "
        "dt.tz_convert(None) gives the clock of UTC."
    )


def enumerated(items: Iterable[str]) -> str:
    """Return the items of a message; of many the first ones, and how many more there are."""
    texts = list(items)
    shown = texts[:MAX_NAMES_IN_A_MESSAGE]
    if len(texts) > len(shown):
        return f"{', '.join(shown)} and {len(texts) - len(shown)} more"
    return ", ".join(shown)


def text_of(value: object) -> str:
    """Return a value as text; a whole number has no decimals, whatever type it has."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def slices_of(count: int, size: int) -> list[slice]:
    """Return slices of at most ``size`` items, one after the other, that cover ``count`` items.

    scikit-learn's ``gen_batches`` checks its arguments for longer than one row is encoded.
    """
    return [slice(first, min(first + size, count)) for first in range(0, count, size)]


def codes_of_texts(codes: numpy.ndarray, texts: Iterable[str | None]) -> CategoryCodes:
    """Return codes of texts each of which occurs once.

    codes : (rows,) int64, indices in ``texts``, -1 for gaps
    texts : some of which may be equal, such as those of 0.0 and -0.0; None for gaps
    """
    texts = list(texts)
    distinct = [text for text in dict.fromkeys(texts) if text is not None]
    if len(distinct) == len(texts):
        return CategoryCodes(codes, distinct)
    code_of = {text: code for code, text in enumerate(distinct)}
    new_codes = [-1 if text is None else code_of[text] for text in texts]
    return CategoryCodes(numpy.array([*new_codes, -1], numpy.int64)[codes], distinct)
