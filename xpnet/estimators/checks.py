"""Checks of single arrays of a fit or a prediction, as scikit-learn makes them."""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple, TypeGuard

import numpy
from scipy.sparse import issparse
from sklearn.base import BaseEstimator
from sklearn.utils import assert_all_finite, check_array
from sklearn.utils.validation import validate_data

from xpnet.data.sources import Source
from xpnet.errors import InputError
from xpnet.learning.labels import check_label_types, check_numbers, check_savable_labels
from xpnet.learning.scikit_learn import ClassifierMixin
from xpnet.learning.targets import HostTargets, dense
from xpnet.models.inputs import is_on_host, on_device_of
from xpnet.ops import Array, namespace
from xpnet.typing import Rows

_TIMES = "dates or durations"

TIME_TYPES = re.compile(f"datetime|timedelta|timestamp|{_TIMES}", re.IGNORECASE)
"""Names of types of dates and durations, in errors of NumPy and Python."""

FLOATING = ("float64", "float32")
"""Names of the dtypes in which networks compute."""


@dataclass(frozen=True, eq=False)
class Columns:
    """The columns of X that a fit learns.

    count : number of columns
    names : (columns,) of str; None for X without names
    """

    count: int
    names: numpy.ndarray | None = None

    def are_of(self, X: numpy.ndarray) -> bool:
        """Return whether a matrix without names has these columns."""
        return self.names is None and X.shape[1] == self.count


class CheckedMatrix(NamedTuple):
    """A checked matrix.

    X : an array of any library, a sparse matrix or a source
    columns : its columns
    """

    X: Any
    columns: Columns


class ColumnLearner(BaseEstimator):
    """Stands for an estimator where scikit-learn checks and learns columns."""

    n_features_in_: int
    feature_names_in_: numpy.ndarray


@cache
def stand_in(name: str) -> type[ColumnLearner]:
    """Return a class of this name, which stands in scikit-learn's messages."""
    return type(name, (ColumnLearner,), {})


def validated(X: Any, kind: type, columns: Columns | None, **options: Any) -> CheckedMatrix:
    """Return a matrix as scikit-learn's ``validate_data`` does.

    kind : the class of the estimator, whose name stands in messages
    columns : those that X must have; None where X says which they are
    options : further arguments of ``validate_data``

    Raises ValueError for another number of features, and for other names.
    """
    learner = stand_in(kind.__name__)()
    if columns is not None:
        learner.n_features_in_ = columns.count
        if columns.names is not None:
            learner.feature_names_in_ = columns.names
    X = validate_data(learner, X, reset=columns is None, **options)
    if columns is None:
        names = getattr(learner, "feature_names_in_", None)
        columns = Columns(learner.n_features_in_, names)
    return CheckedMatrix(X, columns)


def check_X(X: Any, kind: type, columns: Columns, *, finite: bool = True) -> Any:
    """Check X for prediction, and return it as a matrix of numbers.

    kind : the class of the estimator; finite : whether to look at the values

    Raises ValueError for another number of features, or values that are not finite.
    """
    matrix = X if is_plain(X, FLOATING) and columns.are_of(X) else _matrix_of_frame(X, columns)
    if matrix is None:
        matrix = check_matrix(X, kind, columns, dtype="numeric").X
    if finite:
        check_values(matrix, kind)
    return matrix


def _matrix_of_frame(X: Any, columns: Columns) -> numpy.ndarray | None:
    """Return the matrix of a frame of pandas, as ``validate_data`` does for longer.

    None unless it has the columns of the fit in their order, all of one dtype of networks.
    """
    library = type(X).__module__.partition(".")[0]
    is_frame = library == "pandas" and type(X).__name__ == "DataFrame"
    if not is_frame or columns.names is None or X.columns.tolist() != columns.names.tolist():
        return None
    dtypes = set(X.dtypes)
    if len(dtypes) > 1 or not all(isinstance(dtype, numpy.dtype) for dtype in dtypes):
        return None
    matrix = X.to_numpy()
    return matrix if is_plain(matrix, FLOATING) else None


def check_matrix(
    X: Any, kind: type, columns: Columns | None, *, dtype: str | Sequence[str]
) -> CheckedMatrix:
    """Check that X is a matrix of numbers, and return it: host data as an array of NumPy or a
    sparse matrix, an array of another library unchanged.

    The values may still not be finite.

    columns : those that X must have; None where X says which they are
    dtype : the dtype of host data, as ``check_array`` takes it
    """
    if isinstance(X, Source):  # is a matrix of numbers
        return validated(X, kind, columns, skip_check_array=True)
    if not is_on_host(X):
        _check_elsewhere(X)
        return validated(X, kind, columns, skip_check_array=True)
    # NumPy warns of values beyond the dtype, which `check_values` reports.
    with numbers_required(kind), numpy.errstate(over="ignore"):
        _check_is_no_time(X)
        return validated(
            X,
            kind,
            columns,
            accept_sparse=["csr", "csc"],
            dtype=dtype,
            ensure_all_finite=False,
        )


@contextmanager
def numbers_required(kind: type) -> Iterator[None]:
    """Raise InputError in place of NumPy's error for text and for dates, which names no remedy."""
    try:
        yield
    except (TypeError, ValueError) as error:
        text = str(error).partition("could not convert string to float: ")[2]
        is_time = isinstance(error, TypeError) and TIME_TYPES.search(str(error)) is not None
        if not (text or is_time):
            raise
        received, values = (_TIMES, "them") if is_time else (f"{text:.60}", "text")
        raise InputError(
            f"`X` must hold numbers for {kind.__name__}; got {received}. "
            f"Use {_table_estimator(kind)}, which takes {values}."
        ) from error


def _check_is_no_time(X: object) -> None:
    """Raise TypeError for dates and durations, of which NumPy would make numbers of nanoseconds."""
    dtypes: Iterable[object] = X.dtypes if hasattr(X, "dtypes") else [getattr(X, "dtype", None)]
    for dtype in dtypes:
        is_polars_time = hasattr(dtype, "is_temporal") and dtype.is_temporal()
        if is_polars_time or getattr(dtype, "kind", "") in ("m", "M"):
            raise TypeError(f"{dtype} is a type of {_TIMES}")


def _table_estimator(kind: type) -> str:
    """Return the name of the estimator that takes text and gaps for the same task."""
    return "TabularClassifier" if issubclass(kind, ClassifierMixin) else "TabularRegressor"


def is_plain(X: object, dtypes: Sequence[str]) -> TypeGuard[numpy.ndarray]:
    """Return whether ``validate_data`` would return X, without names of columns, as it is.

    The values may still not be finite. ``validate_data`` takes longer than to predict a few rows.
    """
    return type(X) is numpy.ndarray and X.ndim == 2 and X.size > 0 and X.dtype in dtypes


def check_values(X: Rows | Source, kind: type) -> None:
    """Raise InputError for a matrix with a value that is not finite. A source is not read."""
    if isinstance(X, Source):
        return
    if not (isinstance(X, numpy.ndarray) or issparse(X)):
        _check_values_elsewhere(X)  # type: ignore[arg-type]  # no sparse matrix
        return
    try:
        assert_all_finite(X, input_name="X")
    except ValueError as error:
        message = str(error)  # says whether it is NaN or infinity
        remedy = (
            f"{kind.__name__} needs finite numbers: use {_table_estimator(kind)}, "
            "which takes gaps, or fill them with SimpleImputer."
            if "NaN" in message
            else "Replace such values, or drop their rows."
        )
        raise InputError(f"{message} {remedy}") from error


def _check_elsewhere(X: Array) -> None:
    """Raise InputError for an array of another library that ``check_array`` would refuse, whatever
    its values.
    """
    if X.ndim != 2 or 0 in X.shape:
        raise InputError(
            f"`X` must be a matrix (rows, features) that is not empty; got shape {tuple(X.shape)}; "
            "reshape it."
        )
    if namespace(X).isdtype(X.dtype, "complex floating"):
        raise InputError(
            f"Complex data not supported: `X` must be real; got {X.dtype}; pass real and imaginary "
            "part as features."
        )


def _check_values_elsewhere(X: Array) -> None:
    """Raise InputError for an array of another library with a value that is not finite."""
    with on_device_of(X):
        xp = namespace(X)
        is_finite = not xp.isdtype(X.dtype, "real floating") or bool(xp.all(xp.isfinite(X)))
    if not is_finite:
        raise InputError(
            "Every value of `X` must be finite; got NaN or infinity; impute or drop such rows."
        )


def check_targets(y: Any, kind: type, *, numeric: bool, name: str = "y") -> HostTargets:
    """Check numbers or labels, and make them an array on the host, (rows,) or (rows, out); a sparse
    matrix of labels stays sparse (CSR).

    Raises InputError for labels that NumPy cannot tell apart or put in order, ValueError for
    values that are not finite.
    """
    if type(y) is numpy.ndarray and y.ndim == 1 and y.size and y.dtype.kind in "biu":
        return y  # whole numbers are finite: to ask scikit-learn takes as long as a short epoch
    if numeric:
        check_numbers(y, name, kind)
    else:
        check_label_types(y, name)
    y = check_array(y, accept_sparse="csr", ensure_2d=False, dtype=None, input_name=name)
    if numeric:
        numbers = dense(y)
        return numbers.astype(numpy.float64) if numbers.dtype.kind == "O" else numbers
    if not issparse(y):
        check_savable_labels(y.ravel(), name)
    return y
