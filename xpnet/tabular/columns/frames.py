"""Frames, dicts and arrays of any library, as tables of NumPy's columns.

narwhals reads pandas, polars, pyarrow and what is like them. Codes of text, and the types that
narwhals does not know, are read by each library's own calls.
"""

import sys
from collections.abc import Callable, Iterable, Sequence, Sized
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from importlib import import_module
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, NamedTuple, SupportsFloat

import narwhals.stable.v2 as narwhals
import numpy
from scipy.sparse import issparse
from sklearn.utils.validation import check_array

from xpnet.data.cells.numbers import MAX_EXACT_INTEGER
from xpnet.errors import InputError
from xpnet.models.inputs import check_no_loader, to_host
from xpnet.tabular.columns.records import (
    Column,
    Numbers,
    OtherValues,
    Table,
    Timestamps,
    Values,
    Words,
    codes_of_texts,
    text_of,
)
from xpnet.typing import TableLike

if TYPE_CHECKING:
    import pyarrow

_CHECKS: dict[str, object] = {
    "dtype": None,
    "ensure_all_finite": False,
    "estimator": "TableEncoder",
}
_GAP_TYPES = ("NoneType", "MaskedConstant", "NAType", "NaTType")
"""Names of the types of Python, NumPy and pandas whose values stand for gaps."""


def table_of(X: Any) -> Table:
    """Return a table of a frame, an Arrow table, a dict of columns, or a matrix.

    Raises ValueError for other shapes, for no rows or columns, and for complex numbers, TypeError
    for names of several types, as scikit-learn does.
    """
    if isinstance(X, Table):
        return X
    check_no_loader(X)
    X = to_host(X)
    if getattr(X, "shape", (0, 0))[1:] == ():  # a column of a frame, or no table at all
        check_array(X, **_CHECKS)
    names, arrays = _columns_of(X)
    if not arrays:
        raise InputError("A table must have a column or more; got none. Pass features as columns.")
    shown_names = names or _numbered(arrays)
    arrays = [_checked(array, name) for array, name in zip(arrays, shown_names, strict=True)]
    _check_lengths([len(array) for array in arrays])
    columns = [
        Column(len(array), partial(values_of, array, name))
        for array, name in zip(arrays, shown_names, strict=True)
    ]
    return _with_names(names, columns)


class NamedColumns(NamedTuple):
    """Columns of any library. names : of the columns, none for those of a matrix"""

    names: Sequence[object]
    arrays: Sequence[Sized]


def _columns_of(X: TableLike) -> NamedColumns:
    """Return the columns of a frame, an Arrow table, a dict of columns, or a matrix.

    The columns of a wide table are taken together where its library allows that.
    """
    if hasattr(X, "items") and not issparse(X):  # a dict of columns, or a frame of pandas
        frame: Any = X
        is_pandas = type(X).__module__.partition(".")[0] == "pandas"
        dtypes = set(frame.dtypes) if is_pandas and frame.ndim == 2 else set()
        if len(dtypes) == 1 and all(map(_is_plain_number, dtypes)):
            return NamedColumns(frame.columns.tolist(), list(frame.to_numpy().T))
        items: list[tuple[object, Sized]] = list(frame.items())
        return NamedColumns([name for name, _ in items], [column for _, column in items])
    if not hasattr(X, "__arrow_c_stream__"):
        return NamedColumns([], _columns_of_matrix(X))
    table = _frame_of(X)
    if table.implementation.is_pyarrow():
        return NamedColumns(table.columns, table.to_native().columns)
    return NamedColumns(table.columns, [column.to_native() for column in table.iter_columns()])


def _is_plain_number(dtype: object) -> bool:
    """Return whether a dtype is one of NumPy's integers or floating-point numbers."""
    return isinstance(dtype, numpy.dtype) and dtype.kind in "fiu"


def _numbered(columns: Sequence[object]) -> list[str]:
    """Return names for columns that have none."""
    return [f"x{index}" for index in range(len(columns))]


def _frame_of(X: TableLike) -> narwhals.DataFrame:
    """Return a table of a library that narwhals knows, or of Arrow's interface, as its frame.

    Raises InputError where neither pyarrow nor polars is installed, which read that interface.
    """
    frame = narwhals.from_native(X, eager_only=True, pass_through=True)
    if isinstance(frame, narwhals.DataFrame):
        return frame
    for library in ("pyarrow", "polars"):
        try:
            import_module(library)
        except ImportError:
            continue
        return narwhals.from_arrow(X, backend=library)
    raise InputError(
        "Tables of Arrow's interface must be read by pyarrow or polars; got a "
        f"{type(X).__name__}, and neither is installed. Install one: pip install 'xpnet[tables]'."
    )


def _columns_of_matrix(X: TableLike) -> list[Sized]:
    """Return the columns of an array, or of a list of rows."""
    checked = check_array(X, **_CHECKS)
    if isinstance(X, numpy.ma.MaskedArray):  # check_array drops the mask
        checked = X
    elif checked.dtype.kind == "U" and not hasattr(X, "dtype"):
        # NumPy has made text of the numbers in a list of rows that also holds text.
        checked = check_array(X, **_CHECKS | {"dtype": object})
    return list(checked.T)


def _check_lengths(lengths: Sequence[int]) -> None:
    """Raise ValueError for columns of several lengths, and where there are no rows or columns."""
    check_array(numpy.broadcast_to(0, (max(lengths, default=0), len(lengths))), **_CHECKS)
    if len(set(lengths)) > 1:
        raise InputError(
            f"Columns of a table must have one length; got columns of {sorted(set(lengths))} rows."
        )


def _with_names(names: Sequence[Any], columns: Sequence[Column]) -> Table:
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
    labels = tuple(map(text_of, names))
    if len(set(labels)) < len(labels):  # columns that no name tells apart are read by position
        labels = ()
    return Table(_numbered(columns), columns, False, labels)


def _checked(values: Any, name: object) -> Any:
    """Return a column as an array of NumPy or a series of a library.

    Raises ValueError for several dimensions and for complex numbers.
    """
    values = to_host(values)
    library = type(values).__module__.partition(".")[0]
    if library == "pandas" and not hasattr(values, "to_frame"):  # one of pandas' arrays
        values = sys.modules["pandas"].Series(values)
    elif library == "pyarrow" and not hasattr(values, "chunks"):
        values = sys.modules["pyarrow"].chunked_array([values])
    elif not hasattr(values, "dtype") and library != "pyarrow":
        values = _array_of(values)
    if getattr(values, "ndim", 1) != 1:
        raise InputError(
            f"Column {name!r} must have one dimension; got shape {values.shape}. "
            "Pass each of its columns under a name of its own."
        )
    dtype = getattr(values, "dtype", None)
    if isinstance(dtype, numpy.dtype) and dtype.kind == "c":
        raise InputError("Complex data not supported: pass real and imaginary part as columns.")
    return values


def _array_of(values: Any) -> numpy.ndarray:
    """Return a sequence as an array; of several types as objects, of which some may be gaps."""
    is_list = isinstance(values, list | tuple)
    types = set(map(type, values)) if is_list else set()
    if not is_list or (len(types) == 1 and types <= {int, float, bool}) or types & {list, tuple}:
        return numpy.asarray(values)
    objects = numpy.empty(len(values), object)
    objects[:] = values
    return objects


def values_of(array: Any, name: object) -> Values:
    """Return the values of an array of NumPy or of a series of a library.

    Raises InputError for text that is not valid Unicode.
    """
    dtype = getattr(array, "dtype", None)
    if isinstance(dtype, numpy.dtype) and dtype.kind in "fiubO":  # of NumPy or of pandas
        return _of_numpy(array if isinstance(array, numpy.ndarray) else array.to_numpy(), name)
    if isinstance(array, numpy.ndarray):
        return _of_numpy(array, name)
    if str(dtype).startswith(("Sparse", "interval")):
        return _of_numpy(numpy.asarray(array), name)
    if str(dtype).startswith("period"):
        array = array.dt.to_timestamp()
    if hasattr(dtype, "pyarrow_dtype"):  # pandas' series of Arrow's types
        array = array.array.__arrow_array__()
    if type(array).__module__.startswith("pyarrow"):
        return _of_arrow(array, name)
    series = narwhals.from_native(array, series_only=True, pass_through=True)
    if isinstance(series, narwhals.Series):
        return _of_series(series, name)
    return _of_numpy(numpy.asarray(array), name)  # of a library that narwhals does not know


def _of_numpy(array: numpy.ndarray, name: object) -> Values:
    """Return the values of a NumPy array of one dimension; what a mask hides is a gap."""
    kind = array.dtype.kind
    is_masked = isinstance(array, numpy.ma.MaskedArray) and numpy.ma.is_masked(array)
    if kind in "fiub":
        if is_masked:
            return Numbers(numpy.ma.filled(array.astype(numpy.float64), numpy.nan))
        return Numbers(numpy.asarray(array))
    if kind in "mM":
        data = numpy.ma.getdata(array).astype(f"{kind}8[us]")
        microseconds = numpy.where(numpy.isnat(data), numpy.nan, data.astype(numpy.int64))
        microseconds[numpy.ma.getmaskarray(array)] = numpy.nan
        return _durations(microseconds) if kind == "m" else Timestamps(microseconds, "naive")
    if kind == "S":
        return OtherValues(len(array), str(array.dtype))
    return _of_objects(array.tolist(), name)


def _of_arrow(array: "pyarrow.Array | pyarrow.ChunkedArray", name: object) -> Values:
    """Return the values of an Arrow array."""
    pyarrow = sys.modules["pyarrow"]
    types = pyarrow.types
    type_ = array.type
    if str(type_) in ("float", "double"):  # without narwhals, which takes 0.1 ms for a column
        return Numbers(array.cast(pyarrow.float64(), safe=False).to_numpy(zero_copy_only=False))
    if types.is_integer(type_) and not array.null_count:
        return Numbers(array.to_numpy())
    if types.is_dictionary(type_):
        return _words_of_dictionary(array, is_category=True)
    if types.is_null(type_):
        return Numbers(numpy.full(len(array), numpy.nan))
    if isinstance(type_, pyarrow.BaseExtensionType):
        return _of_objects(array.to_pylist(), name)
    if str(type_) in ("string", "large_string", "string_view"):
        text = array.cast(pyarrow.large_string())
        return _words_of_dictionary(text.dictionary_encode(), is_category=False)
    if types.is_date64(type_):
        array = array.cast(pyarrow.date32())
    elif types.is_time(type_):
        array = array.cast(pyarrow.time64("us"), safe=False)
    if not isinstance(array, pyarrow.ChunkedArray):
        array = pyarrow.chunked_array([array])
    return _of_series(narwhals.from_native(array, series_only=True), name)


def _words_of_dictionary(
    array: "pyarrow.DictionaryArray | pyarrow.ChunkedArray", *, is_category: bool
) -> Values:
    """Return the values of an Arrow array of coded values, which are text in most of them."""
    pyarrow = sys.modules["pyarrow"]
    if isinstance(array, pyarrow.ChunkedArray):
        array = array.unify_dictionaries().combine_chunks()
    if pyarrow.types.is_nested(array.type.value_type) or pyarrow.types.is_binary(
        array.type.value_type
    ):
        return OtherValues(len(array), str(array.type.value_type))
    codes = array.indices.cast(pyarrow.int64()).fill_null(-1).to_numpy(zero_copy_only=False)
    return _words(codes, array.dictionary.to_pylist(), is_category=is_category)


def _of_series(series: Any, name: object) -> Values:
    """Return the values of a series of narwhals."""
    dtype = series.dtype
    if dtype.is_integer() and "128" not in str(dtype):
        if not series.null_count():
            return Numbers(series.to_numpy())
        return Numbers(series.fill_null(0).to_numpy(), series.is_null().to_numpy())
    if dtype.is_numeric() or dtype == narwhals.Boolean:
        floats = _floats(series)
        is_exact = dtype.is_decimal() or dtype.is_integer()
        if is_exact and _are_large_integers(floats[~numpy.isnan(floats)]):
            return _of_objects(series.to_list(), name)
        return Numbers(floats)
    if dtype == narwhals.Datetime:
        return _timestamps(series, dtype.time_zone)
    if dtype == narwhals.Date:
        return Timestamps(_floats(series.dt.timestamp("us")), "naive", unit="date")
    if dtype == narwhals.Duration:
        return _durations(_floats(series.dt.total_microseconds()))
    if dtype in (narwhals.Categorical, narwhals.Enum):
        return _words_of_series(series, name, is_category=True)
    if dtype == narwhals.String:
        return _words_of_series(series, name, is_category=False)
    if dtype in (narwhals.Object, narwhals.Time, narwhals.Unknown):
        return _of_objects(series.to_list(), name)
    return OtherValues(len(series), str(dtype))


def _durations(microseconds: numpy.ndarray) -> Numbers:
    """Return durations in seconds. microseconds : (rows,) float64, NaN for gaps"""
    return Numbers(microseconds / 1e6, are_durations=True)


def _floats(series: narwhals.Series) -> numpy.ndarray:
    """Return a series of numbers as (rows,) float64, NaN for gaps.

    Microseconds more than 285 years from 1970 are rounded, which pyarrow refuses otherwise.
    """
    floats: numpy.ndarray
    if series.implementation.is_pyarrow():
        floats = series.to_native().cast("float64", safe=False).to_numpy()
    else:
        floats = series.cast(narwhals.Float64).to_numpy()
    return floats


def _timestamps(series: narwhals.Series, zone: str | None) -> Timestamps:
    """Return a series of timestamps. zone : of the series, None for none"""
    microseconds = _floats(series.dt.timestamp("us"))
    if zone is None:
        return Timestamps(microseconds, "naive")
    if zone == "UTC":
        return Timestamps(microseconds, "utc")
    local = _floats(series.dt.replace_time_zone(None).dt.timestamp("us"))
    return Timestamps(microseconds, "utc", local)


def _words_of_series(series: narwhals.Series, name: object, *, is_category: bool) -> Words:
    """Return a series of text or categories, coded by the calls of its library."""
    native = series.to_native()
    if series.implementation.is_polars():
        text = series.cast(narwhals.String).to_native()
        categories = text.drop_nulls().unique(maintain_order=True)
        indices = numpy.arange(len(categories))
        codes = text.replace_strict(categories, indices, default=-1).to_numpy()
    elif is_category:
        codes = native.cat.codes.to_numpy()
        categories = native.cat.categories
    else:
        codes, categories = native.factorize()
    words = _words(codes.astype(numpy.int64), list(categories), is_category=is_category)
    _check_unicode(words.texts, name)
    return words


def _words(codes: numpy.ndarray, categories: Iterable[object], *, is_category: bool) -> Words:
    """Return text of categories of any type. codes : (rows,) indices, -1 for gaps"""
    texts = [None if _is_gap(value) else text_of(value) for value in categories]
    distinct = codes_of_texts(codes, texts)
    return Words(distinct.codes, distinct.texts, is_category)


def _of_objects(values: list[Any], name: object) -> Values:
    """Return Python's objects as the values of the one kind that all of them have, or as text.

    Raises InputError for text that is not valid Unicode.
    """
    is_gap = _gaps_of(values)
    present = [value for value, gap in zip(values, is_gap.tolist(), strict=True) if not gap]
    if not present:
        return Numbers(numpy.full(len(values), numpy.nan))
    types = set(map(type, present))
    has_one_kind = bool not in types or types <= {bool, numpy.bool_}
    for classes, read in _READERS.items():
        if has_one_kind and all(issubclass(kind, classes) for kind in types):
            column = read(present, is_gap)
            if column is not None:
                return column
            break
    texts = present if types == {str} else list(map(text_of, present))
    code_of = {text: code for code, text in enumerate(dict.fromkeys(texts))}
    codes = numpy.full(len(values), -1)
    codes[~is_gap] = numpy.fromiter(map(code_of.__getitem__, texts), numpy.int64, len(texts))
    _check_unicode(code_of, name)
    return Words(codes, list(code_of))


def _check_unicode(texts: Iterable[str], name: object) -> None:
    """Raise InputError for text with lone surrogates. name : of the column"""
    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError:
            raise InputError(
                f"Text must be valid Unicode; got {text!r} in column {name!r}. Replace its lone "
                "surrogates, for example by text.encode('utf-8', 'replace').decode()."
            ) from None


def _is_gap(value: object) -> bool:
    """Return whether a value stands for a gap in Python, NumPy or pandas."""
    if isinstance(value, float | numpy.floating | Decimal):
        return bool(value != value)
    return type(value).__name__ in _GAP_TYPES


def _gaps_of(values: list[object]) -> numpy.ndarray:
    """Return which values stand for gaps, as ``_is_gap`` says: (rows,) bool.

    Each type is looked at once, and only numbers of floating point one by one.
    """
    types = set(map(type, values))
    float_types = {kind for kind in types if issubclass(kind, float | numpy.floating | Decimal)}
    gap_types = {kind for kind in types if kind.__name__ in _GAP_TYPES}
    if not float_types and not gap_types:
        return numpy.zeros(len(values), bool)
    is_gap = [
        kind in gap_types or (kind in float_types and bool(value != value))
        for kind, value in zip(map(type, values), values, strict=True)
    ]
    return numpy.array(is_gap, bool)


def _with_gaps(numbers: numpy.ndarray, is_gap: numpy.ndarray) -> numpy.ndarray:
    """Return the numbers of rows without gaps as (rows,) float64, NaN for gaps."""
    floats = numpy.full(len(is_gap), numpy.nan)
    floats[~is_gap] = numbers
    return floats


def _of_integers(present: list[int], is_gap: numpy.ndarray) -> Numbers | None:
    """Return whole numbers; None beyond 64 bits, where they name things, and stay text."""
    numbers = numpy.array(present)
    if numbers.dtype.kind not in "iu":
        return None
    values = numpy.zeros(len(is_gap), numbers.dtype)
    values[~is_gap] = numbers
    return Numbers(values, is_gap if is_gap.any() else None)


def _of_reals(present: Sequence[SupportsFloat], is_gap: numpy.ndarray) -> Numbers | None:
    """Return numbers of any of Python's types; None for whole decimals beyond float64."""
    floats = numpy.array(list(map(float, present)))
    if all(isinstance(number, Decimal) for number in present) and _are_large_integers(floats):
        return None
    return Numbers(_with_gaps(floats, is_gap))


def _are_large_integers(floats: numpy.ndarray) -> bool:
    """Return whether these are whole numbers, of which some are beyond those float64 holds."""
    return bool((numpy.abs(floats) > MAX_EXACT_INTEGER).any() and (floats % 1 == 0).all())


def _of_datetimes(present: list[datetime], is_gap: numpy.ndarray) -> Timestamps | None:
    """Return timestamps; None for some with and some without a time zone."""
    is_aware = {timestamp.tzinfo is not None for timestamp in present}
    if len(is_aware) > 1:
        return None
    without_zone = [timestamp.replace(tzinfo=None) for timestamp in present]
    own_clock = numpy.array(without_zone, "datetime64[us]")
    local = _with_gaps(own_clock.astype(numpy.int64), is_gap)
    if is_aware == {False}:
        return Timestamps(local, "naive")
    utc = [timestamp.astimezone(UTC).replace(tzinfo=None) for timestamp in present]
    instants = numpy.array(utc, "datetime64[us]").astype(numpy.int64)
    return Timestamps(_with_gaps(instants, is_gap), "utc", local)


def _of_dates(present: list[object], is_gap: numpy.ndarray) -> Timestamps:
    """Return days."""
    microseconds = numpy.array(present, "datetime64[us]").astype(numpy.int64)
    return Timestamps(_with_gaps(microseconds, is_gap), "naive", unit="date")


def _of_times(present: list[time], is_gap: numpy.ndarray) -> Timestamps:
    """Return times of day."""
    midnight = datetime.min.date()
    spans = [
        datetime.combine(midnight, clock_time.replace(tzinfo=None)) - datetime.min
        for clock_time in present
    ]
    microseconds = numpy.array(spans, "timedelta64[us]").astype(numpy.int64)
    return Timestamps(_with_gaps(microseconds, is_gap), "naive", unit="time")


def _of_spans(present: list[object], is_gap: numpy.ndarray) -> Numbers:
    """Return durations in seconds."""
    microseconds = numpy.array(present, "timedelta64[us]").astype(numpy.int64)
    return _durations(_with_gaps(microseconds, is_gap))


def _of_numpy_times(present: list[object], is_gap: numpy.ndarray) -> Timestamps:
    """Return NumPy's timestamps."""
    microseconds = numpy.array(present, "datetime64[us]").astype(numpy.int64)
    return Timestamps(_with_gaps(microseconds, is_gap), "naive")


def _of_others(present: list[object], is_gap: numpy.ndarray) -> OtherValues:
    """Return values that are not encoded."""
    return OtherValues(len(is_gap), type(present[0]).__name__)


_Reader = Callable[[list[Any], numpy.ndarray], Values | None]
_READERS: dict[tuple[type, ...], _Reader] = {
    (bool, numpy.bool_): _of_reals,
    (str,): lambda present, is_gap: None,
    (Integral,): _of_integers,
    (Real, Decimal): _of_reals,
    (datetime,): _of_datetimes,
    (date,): _of_dates,
    (time,): _of_times,
    (timedelta, numpy.timedelta64): _of_spans,
    (numpy.datetime64,): _of_numpy_times,
    (bytes, list, tuple, dict, numpy.ndarray): _of_others,
}
"""The function that reads objects which all have one of these types, the narrowest types first.

Objects of several types are text."""
