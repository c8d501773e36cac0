"""Frames, dicts and arrays of any library, as tables of columns.

narwhals reads pandas, polars, pyarrow and what is like them.
"""

import sys
from collections.abc import Mapping, Sequence, Sized
from functools import partial
from importlib import import_module
from typing import Any, NamedTuple

import narwhals.stable.v2 as narwhals
import numpy
from scipy.sparse import issparse
from sklearn.utils.validation import check_array

from xpnet.errors import InputError
from xpnet.models.inputs import check_holds_rows, to_host
from xpnet.tabular.columns.records import Column, MatrixColumns, Table, text_of
from xpnet.tabular.columns.series import values_of
from xpnet.typing import TableLike

_CHECKS: dict[str, object] = {
    "dtype": None,
    "ensure_all_finite": False,
    "estimator": "TableEncoder",
}

NUMBER_KINDS = "fiub"
"""The kinds of NumPy's dtypes of numbers and booleans, of which a matrix is read as a whole."""


def table_of(X: Any) -> Table:
    """Return a table of a frame, an Arrow table, a dict of columns, a list of dicts, or a matrix.

    Raises ValueError for other shapes, for no rows or columns, and for complex numbers, TypeError
    for names of several types, as scikit-learn does.
    """
    if isinstance(X, Table):
        return X
    check_holds_rows(X)
    X = _columns_of_records(to_host(X))
    _check_has_rows(getattr(X, "shape", ()))
    if getattr(X, "shape", (0, 0))[1:] == ():  # a column of a frame, or no table at all
        check_array(X, **_CHECKS)
    names, arrays = _columns_of(X)
    if isinstance(arrays, numpy.ndarray):
        return _with_names(names, MatrixColumns(arrays))
    if not arrays:
        raise InputError("A table must have a column or more; got none. Pass features as columns.")
    shown_names = names or _numbered(arrays)
    checked = [_checked(array, name) for array, name in zip(arrays, shown_names, strict=True)]
    _check_lengths([len(array) for array in checked])
    columns = [
        Column(len(array), partial(values_of, array, name))
        for array, name in zip(checked, shown_names, strict=True)
    ]
    return _with_names(names, columns)


def _columns_of_records(X: object) -> object:
    """Return a list of dicts, one for each row, as a dict of columns; anything else as it is.

    What a row lacks is a gap.
    """
    if not (isinstance(X, list) and X and all(isinstance(row, Mapping) for row in X)):
        return X
    names = dict.fromkeys(name for row in X for name in row)
    return {name: [row.get(name) for row in X] for name in names}


def _check_has_rows(shape: Sequence[int]) -> None:
    """Raise InputError for a table of columns without rows. shape : others than (rows, columns) are
    not looked at
    """
    if len(shape) == 2 and shape[1] and not shape[0]:
        raise InputError(
            f"A table must have a row or more; got none, of {shape[1]} columns. Leave the call "
            "out where there are no rows."
        )


class NamedColumns(NamedTuple):
    """Columns of any library, which are not checked yet.

    names : of the columns, none for those of a matrix
    arrays : single values in a wrong dict; (rows, columns) for a matrix of numbers, which needs no
        check
    """

    names: Sequence[object]
    arrays: Sequence[object] | numpy.ndarray


def _columns_of(X: TableLike) -> NamedColumns:
    """Return the columns of a frame, an Arrow table, a dict of columns, or a matrix.

    The columns of a wide table are taken together where its library allows that.
    """
    if hasattr(X, "items") and not issparse(X):  # a dict of columns, or a frame of pandas
        frame: Any = X
        is_pandas = type(X).__module__.partition(".")[0] == "pandas"
        dtypes = set(frame.dtypes) if is_pandas and frame.ndim == 2 else set()
        if len(dtypes) == 1 and all(map(_is_plain_number, dtypes)):
            return NamedColumns(frame.columns.tolist(), frame.to_numpy())
        items: list[tuple[object, object]] = list(frame.items())
        return NamedColumns([name for name, _ in items], [column for _, column in items])
    if not hasattr(X, "__arrow_c_stream__"):
        return NamedColumns([], _matrix_of(X))
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


def _matrix_of(X: TableLike) -> list[Sized] | numpy.ndarray:
    """Return the columns of an array, or of a list of rows; a matrix of numbers as it is."""
    if type(X) is numpy.ndarray and X.ndim == 2 and X.size and X.dtype.kind in NUMBER_KINDS:
        return X  # check_array takes longer than the encoding of one row.
    checked = check_array(X, **_CHECKS)
    if isinstance(X, numpy.ma.MaskedArray):  # check_array drops the mask
        checked = X
    elif checked.dtype.kind == "U" and not hasattr(X, "dtype"):
        # NumPy has made text of the numbers in a list of rows that also holds text.
        checked = check_array(X, **_CHECKS | {"dtype": object})
    is_matrix = type(checked) is numpy.ndarray and checked.dtype.kind in NUMBER_KINDS
    return checked if is_matrix else list(checked.T)


def _check_lengths(lengths: Sequence[int]) -> None:
    """Raise InputError for columns of several lengths, and where there are no rows."""
    _check_has_rows((max(lengths), len(lengths)))
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
    if getattr(values, "ndim", 1) == 0:
        raise InputError(
            f"Columns of a table must be lists of values, one for each row; got {values.item()!r} "
            f"in column {name!r}. Pass a list for each column, or a list of dicts, one for each "
            "row."
        )
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
