"""Tables of any library as columns of three kinds: numbers, categories and moments.

NumPy's numbers are taken as they are. All else passes through Arrow, so that a frame and the file that it was written
to give the same numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan
from typing import Any, Literal

import numpy
from scipy.sparse import issparse
from sklearn.utils.validation import check_array

from xpnet.errors import InputError

Kind = Literal["number", "category", "moment", "other"]
_NUMERIC = "fiub"
_ISO_DATE = r"^\d{4}-\d{2}-\d{2}([ T]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?)?$"


@dataclass
class Table:
    """A table. names : None where columns have no names; columns : NumPy arrays of numbers, or Arrow's arrays"""

    names: list[str] | None
    rows: int
    columns: Sequence[Any]

    def name(self, index: int) -> str:
        """Return the column as errors call it."""
        return f"Column {self.names[index]!r}" if self.names else f"Column {index}"

    def select(self, names: Sequence[str], needed: set[str]) -> "Table":
        """Return the same table with columns in this order; columns that are not needed may be missing.

        Raises InputError where one that is needed is missing.
        """
        places = {name: index for index, name in enumerate(self.names or [])}
        missing = sorted(needed - places.keys())
        if missing:
            raise InputError(
                f"The table holds the columns that were there in training; {', '.join(map(repr, missing))} is missing. "
                f"Received {', '.join(map(repr, places))}."
            )
        nothing = numpy.full(self.rows, numpy.nan)
        return Table(
            list(names), self.rows, [self.columns[places[name]] if name in places else nothing for name in names]
        )

    def part(self, start: int, end: int) -> "Table":
        """Return some rows."""
        return Table(self.names, end - start, [column[start:end] for column in self.columns])

    def kind(self, index: int) -> tuple[Kind, str]:
        """Return the kind of a column, and its type as errors call it."""
        column = self.columns[index]
        if isinstance(column, numpy.ndarray):
            return "number", str(column.dtype)
        return ("moment", "dates as text") if dates_of_text(column) is not None else _kind_of(column.type)

    def numbers(self, index: int, kind: Kind) -> numpy.ndarray:
        """Return numbers, or moments as seconds since 1970: (rows,) float64, NaN for gaps.

        Raises InputError for a column of another kind.
        """
        array = self.columns[index]
        if isinstance(array, numpy.ndarray):
            if kind == "moment" and not numpy.isnan(array).all():
                raise InputError(f"{self.name(index)} held dates in training and holds {array.dtype} now. Parse it.")
            return array.astype(numpy.float64)
        if kind == "moment" and (dates := dates_of_text(array)) is not None:
            array = dates
        found, type_ = _kind_of(array.type)
        if found != kind and array.null_count < len(array) and (kind, found) != ("number", "category"):
            held = {"number": "numbers", "moment": "dates"}[kind]
            raise InputError(f"{self.name(index)} held {held} in training and holds {type_} now. Convert it.")
        try:
            return _floats(array)
        except ValueError as error:
            raise InputError(f"{self.name(index)} held numbers in training: {error}. Convert it.") from error

    def categories(self, index: int) -> tuple[numpy.ndarray, list[str]]:
        """Return a column's values as indices (rows,) into names, -1 for gaps; and the names, which are text."""
        import pyarrow

        array = self.columns[index]
        if isinstance(array, numpy.ndarray):
            array = pyarrow.array(array, from_pandas=True)
        if isinstance(array, pyarrow.ChunkedArray):
            array = array.unify_dictionaries() if pyarrow.types.is_dictionary(array.type) else array
            array = array.combine_chunks()
        if not pyarrow.types.is_dictionary(array.type):
            array = array.dictionary_encode()
        names = [None if value is None else _text(value) for value in array.dictionary.to_pylist()]
        codes = array.indices.cast(pyarrow.int64()).fill_null(-1).to_numpy(zero_copy_only=False).copy()
        if None in names:
            codes[codes == names.index(None)] = -1
        return codes, ["" if name is None else name for name in names]


def table_of(X: Any) -> Table:
    """Return a table of what a user passes: a frame, an Arrow table, a dict of columns, or a matrix.

    Raises ValueError for other shapes, for no rows or columns, and for complex numbers, as scikit-learn does.
    """
    if getattr(X, "shape", (0, 0))[1:] == ():  # a column of a frame, or no table at all
        check_array(X, dtype=None, estimator="TableEncoder")
    if hasattr(X, "items") and not issparse(X):  # a dict of columns, or a frame of pandas
        names, columns = [name for name, _ in X.items()], [column for _, column in X.items()]
        named = all(isinstance(name, str) for name in names)  # as scikit-learn has it
        lengths = [len(column) for column in columns]
        return _checked([*map(str, names)] if named else None, [_from_array(column) for column in columns], lengths)
    if hasattr(X, "__arrow_c_stream__") or hasattr(X, "to_arrow"):
        import pyarrow

        table = X if isinstance(X, pyarrow.Table) else pyarrow.table(X)
        return _checked(table.column_names, table.columns, [table.num_rows])
    how: dict[str, Any] = {"ensure_all_finite": False, "estimator": "TableEncoder"}
    given, X = X, check_array(X, dtype=None, **how)
    if X.dtype.kind == "U" and not hasattr(given, "dtype"):  # NumPy made text of numbers beside text in a list
        X = check_array(given, dtype=object, **how)
    return _checked(None, [_from_array(X[:, index]) for index in range(X.shape[1])], [X.shape[0]])


def _checked(names: list[str] | None, columns: list[Any], lengths: list[int]) -> Table:
    if not columns or not lengths[0]:
        what = f"{lengths[0] if lengths else 0} sample(s)" if columns else "0 feature(s)"
        raise InputError(f"Found array with {what} while a minimum of 1 is required.")
    if len(set(lengths)) > 1:
        raise InputError(f"Columns are of one length; received {sorted(set(lengths))} rows.")
    if names and len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"Every column has a name of its own; {twice!r} stands there twice. Rename one.")
    return Table(names, lengths[0], columns)


def _from_array(values: Any) -> Any:
    """Return a column of NumPy's numbers as it is, and all else as Arrow's array."""
    values = values if hasattr(values, "dtype") or hasattr(values, "__arrow_array__") else numpy.asarray(values)
    if getattr(values, "ndim", 1) != 1:
        raise InputError(f"A column has one dimension; received shape {values.shape}.")
    dtype = getattr(values, "dtype", None)
    if isinstance(dtype, numpy.dtype) and dtype.kind == "c":
        raise InputError("Complex data not supported: pass real and imaginary part as columns.")
    return numpy.asarray(values) if isinstance(dtype, numpy.dtype) and dtype.kind in _NUMERIC else _to_arrow(values)


def _to_arrow(values: Any) -> Any:
    """Return an Arrow array, with text for values that are of several types."""
    try:
        import pyarrow
    except ImportError as error:
        raise InputError("Tables with other columns than numbers need pyarrow: pip install 'xpnet[tables]'.") from error
    if hasattr(values, "__arrow_c_stream__") and not hasattr(values, "iloc"):
        return pyarrow.chunked_array(values)
    if hasattr(values, "dt") and hasattr(values.dt, "to_timestamp"):  # pandas' periods
        values = values.dt.to_timestamp()
    if getattr(values, "dtype", None) == "float16" or str(getattr(values, "dtype", "")).startswith("Sparse"):
        values = numpy.asarray(values)
    try:
        array = pyarrow.array(values, from_pandas=True)
    except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError, pyarrow.ArrowNotImplementedError):
        array = None
    except OverflowError:  # of whole numbers beyond 64 bits
        return _to_arrow([float(value) if isinstance(value, int) else value for value in values])
    if array is None or isinstance(array.type, pyarrow.BaseExtensionType):
        values = [None if _is_gap(value) else _text(value) for value in values]
        array = pyarrow.array(values, pyarrow.large_string())
    return array


def _is_gap(value: Any) -> bool:
    """Return whether a value says that there is none, in Python, NumPy or pandas."""
    return value is None or type(value).__name__ in ("NAType", "NaTType") or (isinstance(value, float) and isnan(value))


def _text(value: Any) -> str:
    """Return a value as text: a whole number without decimals, however it was stored."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _kind_of(type_: Any) -> tuple[Kind, str]:
    """Return the kind of content of an Arrow type, and the type's name."""
    from pyarrow import types

    if types.is_dictionary(type_):
        scalar = not types.is_nested(type_.value_type) and not types.is_binary(type_.value_type)
        return ("category", "text") if scalar else ("other", str(type_))
    if types.is_string(type_) or types.is_large_string(type_) or types.is_string_view(type_):
        return "category", "text"
    if types.is_temporal(type_) and not types.is_duration(type_) and not types.is_interval(type_):
        return "moment", "dates"
    numeric = types.is_integer, types.is_floating, types.is_boolean, types.is_decimal, types.is_duration, types.is_null
    return "number" if any(holds(type_) for holds in numeric) else "other", str(type_)


def dates_of_text(array: Any) -> Any | None:
    """Return text as moments where every value is a date of ISO 8601, as frames read from CSV hold them; else None."""
    import pyarrow
    from pyarrow import compute

    types = pyarrow.types
    if types.is_string_view(array.type):  # which the check below does not take
        array = array.cast(pyarrow.large_string())
    if not (types.is_string(array.type) or types.is_large_string(array.type)) or array.null_count == len(array):
        return None
    if not compute.all(compute.match_substring_regex(array, _ISO_DATE)).as_py():
        return None
    try:
        return array.cast(pyarrow.timestamp("us"))
    except pyarrow.ArrowInvalid:  # a 30th of February
        return None


def _floats(array: Any) -> numpy.ndarray:
    """Return numbers; durations and times in seconds, moments as seconds since 1970 on the clock of their time zone."""
    import pyarrow
    from pyarrow import compute, types

    if types.is_dictionary(array.type):
        array = array.cast(array.type.value_type)
    if types.is_timestamp(array.type) and array.type.tz is not None:
        array = compute.local_timestamp(array)
    if not types.is_temporal(array.type):
        return numpy.asarray(array.cast(pyarrow.float64(), safe=False), numpy.float64)
    kind = pyarrow.timestamp("us")
    if not (types.is_timestamp(array.type) or types.is_date(array.type)):
        kind = pyarrow.duration("us") if types.is_duration(array.type) else pyarrow.time64("us")
    return numpy.asarray(array.cast(kind, safe=False).cast("int64").cast("float64", safe=False)) / 1e6
