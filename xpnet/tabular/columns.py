"""Tables of any library as columns of three kinds: numbers, categories and timestamps.

NumPy's numbers are taken as they are; everything else is converted to Arrow, so that a frame and
the file that it was written to give the same numbers. Four rules hold for all libraries and files:

- A timestamp with a time zone is an instant: it is read on the clock of UTC, whatever zone it is
  written in. A timestamp without a zone is read on its own clock.
- Empty text is a gap, as it is in CSV files.
- A whole number that is a category is text without decimals, whatever type stores it.
- What NumPy's masked arrays mask is a gap.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isnan
from typing import Any, Literal, NamedTuple

import numpy
from scipy.sparse import issparse
from sklearn.utils.validation import check_array

from xpnet.errors import InputError

Kind = Literal["number", "category", "timestamp", "other"]
Clock = Literal["utc", "naive", ""]
"""The clock of a column of timestamps: UTC where they have a time zone, "naive" where they have
none; "" in model files that were written before clocks were recorded: the clock of any zone."""

MAX_NAMES_IN_A_MESSAGE = 10
"""Number of columns that an error names; their number stands for the others."""
MAX_EXACT_INTEGER = 2**53
"""Largest whole number up to which float64 holds each one."""

_ARROW_TEXT_TYPES = "string", "large_string", "string_view"
_ISO_DATE = r"^\d{4}-\d{2}-\d{2}([ T]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?)?"
_ISO_DATE_NAIVE = f"{_ISO_DATE}$"
_ISO_DATE_WITH_ZONE = rf"{_ISO_DATE}(Z|[+-]\d{{2}}(:?\d{{2}})?)$"
_DURATION = (  # as pandas writes durations to CSV files: "-1 days +23:59:53.5"
    r"^(?P<days>-?\d+) days"
    r"(?: \+?(?P<hours>\d\d):(?P<minutes>\d\d):(?P<seconds>\d\d)(?:\.(?P<fraction>\d{1,9}))?)?$"
)
_CHECKS: dict[str, Any] = {
    "dtype": None,
    "ensure_all_finite": False,
    "estimator": "TableEncoder",
}


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


@dataclass
class Table:
    """A table.

    names : text, one for each column
    columns : NumPy arrays of numbers, or Arrow's arrays
    named : whether the names are the user's; otherwise they are x0, x1, ...
    labels : the user's names as text where they are of another type than text, else empty
    """

    names: Sequence[str]
    columns: Sequence[Any]
    named: bool
    labels: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        """Return the number of rows."""
        return len(self.columns[0])

    def select(self, names: Sequence[str], required: set[str]) -> "Table":
        """Return the table with these columns in this order; columns of gaps replace missing ones.

        Raises InputError where a required column is missing.
        """
        own_names = self.labels or self.names
        columns = dict(zip(own_names, self.columns, strict=True))
        missing = sorted(required - columns.keys())
        if missing:
            raise InputError(
                f"A table must have the columns of the training; {enumerated(map(repr, missing))} "
                f"is missing. Got {enumerated(map(repr, own_names))}."
            )
        gaps = numpy.full(self.rows, numpy.nan)
        return Table(names, [columns.get(name, gaps) for name in names], True)

    def part(self, rows: slice) -> "Table":
        """Return a part of the rows."""
        return replace(self, columns=[column[rows] for column in self.columns])

    def take(self, indices: numpy.ndarray) -> "Table":
        """Return the rows at some indices."""
        return replace(self, columns=[column.take(indices) for column in self.columns])

    def kind(self, index: int) -> ColumnKind:
        """Return what a column holds; text that holds dates or durations counts as these."""
        column = self.columns[index]
        if dates_of_text(column) is not None:
            return ColumnKind("timestamp", "dates as text")
        if _durations_of_text(column) is not None:
            return ColumnKind("number", "durations as text")
        return _kind_of(column)

    def clock(self, index: int) -> Clock:
        """Return the clock of a column of timestamps."""
        column = self.columns[index]
        dates = dates_of_text(column)
        return _clock_of(column if dates is None else dates)

    def numbers(self, index: int) -> numpy.ndarray:
        """Return a column of numbers: (rows,) float64, NaN for gaps; durations are in seconds.

        Raises InputError for a column of another kind.
        """
        column, name = self.columns[index], self.names[index]
        kind, type_name = _kind_of(column)
        if kind != "number":
            if _is_empty(column):
                return numpy.full(self.rows, numpy.nan)
            durations = _durations_of_text(column)
            if durations is not None:
                return durations
            if kind != "category":
                raise InputError(_changed_kind(name, "numbers", type_name))
        try:
            return _floats(column)
        except ValueError as error:
            raise InputError(_changed_kind(name, "numbers", f"{type_name} ({error})")) from error

    def timestamps(self, index: int, clock: Clock) -> numpy.ndarray:
        """Return a column of timestamps: (rows,) float64, seconds since 1970, NaN for gaps.

        clock : the one of the training, on which the seconds count

        Raises InputError for a column of another kind or on another clock.
        """
        column, name = self.columns[index], self.names[index]
        if _is_empty(column):
            return numpy.full(self.rows, numpy.nan)
        dates = dates_of_text(column)
        if dates is not None:
            column = dates
        kind, type_name = _kind_of(column)
        if kind != "timestamp":
            raise InputError(_changed_kind(name, "dates", type_name))
        if clock and clock != _clock_of(column):
            raise InputError(_changed_clock(name, clock))
        return _seconds(column, clock)

    def categories(self, index: int) -> CategoryCodes:
        """Return the values of a column of categories."""
        pyarrow = import_pyarrow()
        array = self.columns[index]
        if isinstance(array, numpy.ndarray):
            array = pyarrow.array(array, from_pandas=True)
        if isinstance(array, pyarrow.ChunkedArray):
            array = array.unify_dictionaries().combine_chunks()
        if not pyarrow.types.is_dictionary(array.type):
            array = array.dictionary_encode()
        indices = array.indices.cast(pyarrow.int64()).fill_null(-1)
        codes = indices.to_numpy(zero_copy_only=False)
        texts = [None if value is None else _text(value) for value in array.dictionary.to_pylist()]
        distinct = [text for text in dict.fromkeys(texts) if text is not None]
        if len(distinct) < len(texts):  # a gap in the dictionary, or 0.0 and -0.0
            code_of = {text: code for code, text in enumerate(distinct)}
            new_codes = [code_of.get(text, -1) if text is not None else -1 for text in texts]
            codes = numpy.array([*new_codes, -1], numpy.int64)[codes]
        return CategoryCodes(codes, distinct)

    def is_merged_by_float64(self, index: int) -> bool:
        """Return whether a column holds whole numbers that are different and equal in float64."""
        column = self.columns[index]
        if isinstance(column, numpy.ndarray):
            if column.dtype.kind not in "iu" or not _exceeds(column.min(), column.max()):
                return False
            return len(numpy.unique(column)) > len(numpy.unique(column.astype(numpy.float64)))
        pyarrow = import_pyarrow()
        from pyarrow import compute

        if not pyarrow.types.is_integer(column.type) or _is_empty(column):
            return False
        extremes = compute.min_max(column).as_py()
        if not _exceeds(extremes["min"], extremes["max"]):
            return False
        floats = column.cast(pyarrow.float64(), safe=False)
        counts = [compute.count_distinct(values).as_py() for values in (column, floats)]
        return bool(counts[0] > counts[1])


def _exceeds(low: Any, high: Any) -> bool:
    """Return whether whole numbers of this range are beyond those that float64 holds."""
    return int(low) < -MAX_EXACT_INTEGER or int(high) > MAX_EXACT_INTEGER


def _changed_kind(name: str, kind: str, type_name: str) -> str:
    """Return the message about a column of another kind than in training."""
    return f"Column {name!r} must hold {kind}, as in training; got {type_name}. Convert the column."


def _changed_clock(name: str, clock: Clock) -> str:
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


def enumerated(items: Any) -> str:
    """Return the items of a message; of many the first ones, and how many more there are."""
    texts = list(items)
    shown = texts[:MAX_NAMES_IN_A_MESSAGE]
    if len(texts) > len(shown):
        return f"{', '.join(shown)} and {len(texts) - len(shown)} more"
    return ", ".join(shown)


def import_pyarrow() -> Any:
    """Return the module pyarrow. Raises InputError, which says what to install, without it."""
    try:
        import pyarrow
    except ImportError as error:
        raise InputError(
            "Frames, and columns of anything but numbers, need pyarrow; got a table that needs it. "
            "Install it: pip install 'xpnet[tables]'."
        ) from error
    return pyarrow


def table_of(X: Any) -> Table:
    """Return a table of a frame, an Arrow table, a dict of columns, or a matrix.

    Raises ValueError for other shapes, for no rows or columns, and for complex numbers, TypeError
    for names of several types, as scikit-learn does.
    """
    if isinstance(X, Table):
        return X
    if getattr(X, "shape", (0, 0))[1:] == ():  # a column of a frame, or no table at all
        check_array(X, **_CHECKS)
    if hasattr(X, "items") and not issparse(X):  # a dict of columns, or a frame of pandas
        names = [name for name, _ in X.items()]
        columns = [_from_array(column, name) for name, column in X.items()]
    elif hasattr(X, "__arrow_c_stream__"):
        pyarrow = import_pyarrow()
        table = X if isinstance(X, pyarrow.Table) else pyarrow.table(X)
        names, columns = table.column_names, table.columns
    else:
        names, columns = [], _columns_of_matrix(X)
    _check_lengths(columns)
    return _with_names(names, columns)


def _columns_of_matrix(X: Any) -> list[Any]:
    """Return the columns of an array, or of a list of rows."""
    checked = check_array(X, **_CHECKS)
    if isinstance(X, numpy.ma.MaskedArray):  # check_array drops the mask
        checked = X
    elif checked.dtype.kind == "U" and not hasattr(X, "dtype"):
        # NumPy has made text of the numbers in a list of rows that also holds text.
        checked = check_array(X, **_CHECKS | {"dtype": object})
    return [_from_array(column, f"x{index}") for index, column in enumerate(checked.T)]


def _check_lengths(columns: Sequence[Any]) -> None:
    """Raise ValueError for columns of several lengths, and where there are no rows or columns."""
    lengths = sorted({len(column) for column in columns})
    check_array(numpy.broadcast_to(0, (max(lengths, default=0), len(columns))), **_CHECKS)
    if len(lengths) > 1:
        raise InputError(f"Columns of a table must have one length; got columns of {lengths} rows.")


def _with_names(names: Sequence[Any], columns: Sequence[Any]) -> Table:
    """Return a table of columns with the names that the user gave them; none for a matrix.

    Raises TypeError for names of several types, InputError for a name that occurs twice.
    """
    types = sorted({"str" if isinstance(name, str) else type(name).__name__ for name in names})
    if types == ["str"]:
        if len(set(names)) < len(names):
            repeated = next(name for name in names if names.count(name) > 1)
            raise InputError(
                f"Each column must have a name of its own; got {repeated!r} twice. Rename one."
            )
        return Table(names, columns, True)
    if "str" in types:
        raise TypeError(
            "Names of columns must all be text, or none of them; got names of the types "
            f"{', '.join(map(repr, types))}. Convert them, for example by "
            "X.columns = X.columns.astype(str)."
        )
    labels = tuple(map(_text, names))
    if len(set(labels)) < len(labels):  # columns that no name tells apart are read by position
        labels = ()
    return Table([f"x{index}" for index in range(len(columns))], columns, False, labels)


def warn_of_names() -> None:
    """Warn that a table with names meets an encoder that knows positions only, as sklearn does."""
    warnings.warn(
        "X has feature names, but TableEncoder was fitted without feature names",
        UserWarning,
        stacklevel=3,
    )


def _from_array(values: Any, name: Any) -> Any:
    """Return a column of NumPy's numbers as it is, and any other column as Arrow's array."""
    if not hasattr(values, "dtype") and not hasattr(values, "__arrow_array__"):
        values = numpy.asarray(values)
    if getattr(values, "ndim", 1) != 1:
        raise InputError(
            f"Column {name!r} must have one dimension; got shape {values.shape}. "
            "Pass each of its columns under a name of its own."
        )
    dtype = getattr(values, "dtype", None)
    if not isinstance(dtype, numpy.dtype) or dtype.kind not in "fiubc":
        return _to_arrow(values, name)
    if dtype.kind == "c":
        raise InputError("Complex data not supported: pass real and imaginary part as columns.")
    if isinstance(values, numpy.ma.MaskedArray) and numpy.ma.is_masked(values):
        return numpy.ma.filled(values.astype(numpy.float64), numpy.nan)
    return numpy.asarray(values)


def _to_arrow(values: Any, name: Any) -> Any:
    """Return an Arrow array; values of several types become text.

    Raises InputError for text that is not valid Unicode, and without pyarrow.
    """
    pyarrow = import_pyarrow()
    if hasattr(values, "dt") and hasattr(values.dt, "to_timestamp"):  # pandas' periods
        values = values.dt.to_timestamp()
    if str(getattr(values, "dtype", "")).startswith("Sparse"):
        values = numpy.asarray(values)
    try:
        return _to_arrow_or_text(pyarrow, values)
    except OverflowError:  # whole numbers beyond 64 bits
        floats = [float(value) if isinstance(value, int) else value for value in values]
        return _to_arrow(floats, name)
    except UnicodeError:
        surrogate = next(value for value in values if not _is_unicode(value))
        raise InputError(
            f"Text must be valid Unicode; got {str(surrogate)!r} in column {name!r}. "
            "Replace its lone surrogates, for example by "
            "text.encode('utf-8', 'replace').decode()."
        ) from None


def _to_arrow_or_text(pyarrow: Any, values: Any) -> Any:
    """Return an Arrow array of values of one type, and of text for values of several types."""
    try:
        array = pyarrow.array(values, from_pandas=True)
    except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError, pyarrow.ArrowNotImplementedError):
        array = None
    if array is None or isinstance(array.type, pyarrow.BaseExtensionType):
        texts = [None if _is_gap(value) else _text(value) for value in values]
        array = pyarrow.array(texts, pyarrow.large_string())
    return array


def _is_unicode(value: Any) -> bool:
    """Return whether a value is no text, or text without lone surrogates."""
    return not any("\ud800" <= letter <= "\udfff" for letter in str(value))


def _is_gap(value: Any) -> bool:
    """Return whether a value stands for a gap in Python, NumPy or pandas."""
    return (
        value is None
        or value is numpy.ma.masked
        or type(value).__name__ in ("NAType", "NaTType")
        or (isinstance(value, float) and isnan(value))
    )


def _text(value: Any) -> str:
    """Return a value as text; a whole number has no decimals, whatever type it has."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _kind_of(array: Any) -> ColumnKind:
    """Return what a column holds by its type alone."""
    if isinstance(array, numpy.ndarray):
        return ColumnKind("number", str(array.dtype))
    from pyarrow import types

    type_ = array.type
    is_coded = types.is_dictionary(type_) and not (
        types.is_nested(type_.value_type) or types.is_binary(type_.value_type)
    )
    if is_coded or str(type_) in _ARROW_TEXT_TYPES:
        return ColumnKind("category", "text")
    is_span = types.is_duration(type_) or types.is_interval(type_)
    if types.is_temporal(type_) and not is_span:
        return ColumnKind("timestamp", "dates")
    numeric = (
        types.is_integer,
        types.is_floating,
        types.is_boolean,
        types.is_decimal,
        types.is_duration,
        types.is_null,
    )
    is_number = any(is_of_type(type_) for is_of_type in numeric)
    return ColumnKind("number" if is_number else "other", str(type_))


def _clock_of(array: Any) -> Clock:
    """Return the clock of an Arrow array of timestamps, dates or times."""
    return "utc" if getattr(array.type, "tz", None) is not None else "naive"


def _is_empty(array: Any) -> bool:
    """Return whether a column holds gaps alone."""
    if isinstance(array, numpy.ndarray):
        return bool(numpy.isnan(array).all())
    return bool(array.null_count == len(array))


def _text_with_gaps(array: Any) -> Any | None:
    """Return a column of text, with gaps for empty text; None for other columns, and gaps alone."""
    if isinstance(array, numpy.ndarray) or str(array.type) not in _ARROW_TEXT_TYPES:
        return None
    import pyarrow
    from pyarrow import compute

    text = array.cast(pyarrow.large_string())
    text = compute.if_else(compute.equal(text, ""), None, text)
    return None if _is_empty(text) else text


def _all_match(text: Any, pattern: str) -> bool:
    """Return whether all values of a column of text match; the first rows decide for most."""
    from pyarrow import compute

    return all(
        compute.all(compute.match_substring_regex(rows, pattern)).as_py() is not False
        for rows in (text[:100], text)
    )


def dates_of_text(array: Any) -> Any | None:
    """Return text as timestamps where each value is a date of ISO 8601; None otherwise.

    A frame that is read from a CSV file holds dates as such text. All of them have a time zone, or
    none of them.
    """
    text = _text_with_gaps(array)
    if text is None:
        return None
    import pyarrow

    for pattern, zone in ((_ISO_DATE_NAIVE, None), (_ISO_DATE_WITH_ZONE, "UTC")):
        if _all_match(text, pattern):
            try:
                return text.cast(pyarrow.timestamp("us", zone))
            except pyarrow.ArrowInvalid:  # a 30th of February
                return None
    return None


def _durations_of_text(array: Any) -> numpy.ndarray | None:
    """Return text as seconds where each value is a duration as pandas writes them; None otherwise.

    returns (rows,) float64, NaN for gaps
    """
    if isinstance(array, numpy.ndarray):
        return None
    import pyarrow
    from pyarrow import compute, types

    if types.is_dictionary(array.type):  # as the text of files is stored
        if isinstance(array, pyarrow.ChunkedArray):
            array = array.unify_dictionaries().combine_chunks()
        seconds = _durations_of_text(array.dictionary)
        if seconds is None:
            return None
        codes = array.indices.cast("int64").fill_null(len(seconds)).to_numpy(zero_copy_only=False)
        return numpy.append(seconds, numpy.nan)[codes]
    text = _text_with_gaps(array)
    if text is None or not _all_match(text, _DURATION):
        return None
    if isinstance(text, pyarrow.ChunkedArray):
        text = text.combine_chunks()
    fields = compute.extract_regex(text, _DURATION)

    def count(name: str) -> Any:
        field = compute.struct_field(fields, name)
        field = compute.if_else(compute.equal(field, ""), "0", field)
        return field.cast(pyarrow.int64()).fill_null(0).to_numpy(zero_copy_only=False)

    fraction = compute.utf8_rpad(compute.struct_field(fields, "fraction"), 6, "0")
    fraction = compute.utf8_slice_codeunits(fraction, 0, 6)
    microseconds = fraction.cast(pyarrow.int64()).fill_null(0).to_numpy(zero_copy_only=False)
    minutes = (count("days") * 24 + count("hours")) * 60 + count("minutes")
    total = (minutes * 60 + count("seconds")) * 1_000_000 + microseconds
    gaps = text.is_null().to_numpy(zero_copy_only=False)
    return numpy.where(gaps, numpy.nan, total / 1e6)


def _floats(array: Any) -> numpy.ndarray:
    """Return a column of numbers, or of text that holds numbers; durations are in seconds.

    returns (rows,) float64, NaN for gaps

    Raises ValueError for text that holds no numbers.
    """
    if isinstance(array, numpy.ndarray):
        return array.astype(numpy.float64)
    import pyarrow
    from pyarrow import types

    if types.is_dictionary(array.type):
        array = array.cast(array.type.value_type)
    if types.is_duration(array.type):
        return _microseconds(array, pyarrow.duration("us")) / 1e6
    return numpy.asarray(array.cast(pyarrow.float64(), safe=False), numpy.float64)


def _seconds(array: Any, clock: Clock) -> numpy.ndarray:
    """Return timestamps and dates as seconds since 1970, times as seconds since midnight."""
    import pyarrow
    from pyarrow import compute, types

    if types.is_time(array.type):
        return _microseconds(array, pyarrow.time64("us")) / 1e6
    zone = getattr(array.type, "tz", None)
    if zone is not None and not clock:
        array, zone = compute.local_timestamp(array), None
    return _microseconds(array, pyarrow.timestamp("us", zone)) / 1e6


def _microseconds(array: Any, type_: Any) -> numpy.ndarray:
    """Return an Arrow array of times as microseconds: (rows,) float64, NaN for gaps."""
    microseconds = array.cast(type_, safe=False).cast("int64")
    return numpy.asarray(microseconds.cast("float64", safe=False))
