"""Tables of any library as columns of three kinds: numbers, categories and moments.

NumPy's numbers are taken as they are. All else passes through Arrow, so that a frame and the file that it was written
to give the same numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isnan
from typing import Any, Literal

import numpy
from scipy.sparse import issparse
from sklearn.utils.validation import check_array

from xpnet.errors import InputError

Kind = Literal["number", "category", "moment", "other"]
_TEXTS = "string", "large_string", "string_view"  # Arrow's types of text
_ISO_DATE = r"^\d{4}-\d{2}-\d{2}([ T]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?)?$"


@dataclass
class Table:
    """A table. columns : NumPy arrays of numbers, or Arrow's arrays; named : whether these names are the user's"""

    names: Sequence[str]
    columns: Sequence[Any]
    named: bool

    @property
    def rows(self) -> int:
        """Return the number of rows."""
        return len(self.columns[0])

    def select(self, names: Sequence[str], needed: set[str]) -> "Table":
        """Return the same table with columns in this order; columns that are not needed may be missing.

        Raises InputError where one that is needed is missing.
        """
        found = dict(zip(self.names, self.columns, strict=True))
        missing = sorted(needed - found.keys())
        if missing:
            raise InputError(
                f"The table holds the columns that were there in training; {', '.join(map(repr, missing))} is missing. "
                f"Received {', '.join(map(repr, found))}."
            )
        nothing = numpy.full(self.rows, numpy.nan)
        return Table(names, [found.get(name, nothing) for name in names], True)

    def part(self, rows: slice) -> "Table":
        """Return some rows."""
        return replace(self, columns=[column[rows] for column in self.columns])

    def kind(self, index: int) -> tuple[Kind, str]:
        """Return the kind of a column, and its type as errors call it."""
        column = self.columns[index]
        return (
            ("moment", "dates as text") if dates_of_text(column) is not None else _kind_of(column)
        )

    def numbers(self, index: int, kind: Kind) -> numpy.ndarray:
        """Return numbers, or moments as seconds since 1970: (rows,) float64, NaN for gaps.

        Raises InputError for a column of another kind.
        """
        array, name = self.columns[index], f"Column {self.names[index]!r}"
        if kind == "moment" and (dates := dates_of_text(array)) is not None:
            array = dates
        found, type_ = _kind_of(array)
        if found != kind and not _is_empty(array) and (kind, found) != ("number", "category"):
            held = {"number": "numbers", "moment": "dates"}[kind]
            raise InputError(f"{name} held {held} in training and holds {type_} now. Convert it.")
        try:
            return _floats(array)
        except ValueError as error:
            raise InputError(f"{name} held numbers in training: {error}. Convert it.") from error

    def categories(self, index: int) -> tuple[numpy.ndarray, list[str]]:
        """Return a column's values as indices (rows,) into names, -1 for gaps; and the names, which are text."""
        import pyarrow

        array = self.columns[index]
        if isinstance(array, numpy.ndarray):
            array = pyarrow.array(array, from_pandas=True)
        if isinstance(array, pyarrow.ChunkedArray):
            array = array.unify_dictionaries().combine_chunks()
        if not pyarrow.types.is_dictionary(array.type):
            array = array.dictionary_encode()
        values = array.dictionary.to_pylist()
        codes = array.indices.cast(pyarrow.int64()).fill_null(-1).to_numpy(zero_copy_only=False)
        if None in values:
            codes = numpy.where(codes == values.index(None), -1, codes)
        return codes, ["" if value is None else _text(value) for value in values]


def table_of(X: Any) -> Table:
    """Return a table of what a user passes: a frame, an Arrow table, a dict of columns, or a matrix.

    Raises ValueError for other shapes, for no rows or columns, and for complex numbers, as scikit-learn does.
    """
    how: dict[str, Any] = {"dtype": None, "ensure_all_finite": False, "estimator": "TableEncoder"}
    if isinstance(X, Table):
        return X
    if getattr(X, "shape", (0, 0))[1:] == ():  # a column of a frame, or no table at all
        check_array(X, **how)
    if hasattr(X, "items") and not issparse(X):  # a dict of columns, or a frame of pandas
        names, columns = (
            [name for name, _ in X.items()],
            [_from_array(column) for _, column in X.items()],
        )
    elif hasattr(X, "__arrow_c_stream__"):
        import pyarrow

        table = X if isinstance(X, pyarrow.Table) else pyarrow.table(X)
        names, columns = table.column_names, table.columns
    else:
        given, X = X, check_array(X, **how)
        if X.dtype.kind == "U" and not hasattr(
            given, "dtype"
        ):  # NumPy made text of numbers beside text in a list
            X = check_array(given, **how | {"dtype": object})
        names, columns = [], [_from_array(column) for column in X.T]
    lengths = sorted({len(column) for column in columns})
    check_array(
        numpy.broadcast_to(0, (max(lengths, default=0), len(columns))), **how
    )  # which refuses empty tables
    if len(lengths) > 1:
        raise InputError(f"Columns are of one length; received {lengths} rows.")
    named = all(isinstance(name, str) for name in names) and bool(names)  # as scikit-learn has it
    if named and len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(
            f"Every column has a name of its own; {twice!r} stands there twice. Rename one."
        )
    return Table(names if named else [f"x{index}" for index in range(len(columns))], columns, named)


def _from_array(values: Any) -> Any:
    """Return a column of NumPy's numbers as it is, and all else as Arrow's array."""
    values = (
        values
        if hasattr(values, "dtype") or hasattr(values, "__arrow_array__")
        else numpy.asarray(values)
    )
    if getattr(values, "ndim", 1) != 1:
        raise InputError(f"A column has one dimension; received shape {values.shape}.")
    dtype = getattr(values, "dtype", None)
    if isinstance(dtype, numpy.dtype) and dtype.kind == "c":
        raise InputError("Complex data not supported: pass real and imaginary part as columns.")
    return (
        numpy.asarray(values)
        if isinstance(dtype, numpy.dtype) and dtype.kind in "fiub"
        else _to_arrow(values)
    )


def _to_arrow(values: Any) -> Any:
    """Return an Arrow array, with text for values that are of several types."""
    try:
        import pyarrow
    except ImportError as error:
        raise InputError(
            "Tables with other columns than numbers need pyarrow: pip install 'xpnet[tables]'."
        ) from error
    if hasattr(values, "dt") and hasattr(values.dt, "to_timestamp"):  # pandas' periods
        values = values.dt.to_timestamp()
    if str(getattr(values, "dtype", "")).startswith("Sparse"):
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
    return (
        value is None
        or type(value).__name__ in ("NAType", "NaTType")
        or (isinstance(value, float) and isnan(value))
    )


def _text(value: Any) -> str:
    """Return a value as text: a whole number without decimals, however it was stored."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _kind_of(array: Any) -> tuple[Kind, str]:
    """Return the kind of content of a column, and its type's name."""
    if isinstance(array, numpy.ndarray):
        return "number", str(array.dtype)
    from pyarrow import types

    type_ = array.type
    coded = types.is_dictionary(type_) and not (
        types.is_nested(type_.value_type) or types.is_binary(type_.value_type)
    )
    if coded or str(type_) in _TEXTS:
        return "category", "text"
    if types.is_temporal(type_) and not types.is_duration(type_) and not types.is_interval(type_):
        return "moment", "dates"
    numeric = (
        types.is_integer,
        types.is_floating,
        types.is_boolean,
        types.is_decimal,
        types.is_duration,
        types.is_null,
    )
    return "number" if any(holds(type_) for holds in numeric) else "other", str(type_)


def _is_empty(array: Any) -> bool:
    """Return whether a column holds gaps alone."""
    return (
        bool(numpy.isnan(array).all())
        if isinstance(array, numpy.ndarray)
        else array.null_count == len(array)
    )


def dates_of_text(array: Any) -> Any | None:
    """Return text as moments where every value is a date of ISO 8601, as frames read from CSV hold them; else None."""
    if isinstance(array, numpy.ndarray) or str(array.type) not in _TEXTS or _is_empty(array):
        return None
    import pyarrow
    from pyarrow import compute

    text = array.cast(pyarrow.large_string())
    if not compute.all(compute.match_substring_regex(text, _ISO_DATE)).as_py():
        return None
    try:
        return text.cast(pyarrow.timestamp("us"))
    except pyarrow.ArrowInvalid:  # a 30th of February
        return None


def _floats(array: Any) -> numpy.ndarray:
    """Return numbers; durations and times in seconds, moments as seconds since 1970 on the clock of their time zone."""
    if isinstance(array, numpy.ndarray):
        return array.astype(numpy.float64)
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
    return (
        numpy.asarray(array.cast(kind, safe=False).cast("int64").cast("float64", safe=False)) / 1e6
    )
