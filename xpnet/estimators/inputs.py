"""Data as a training step takes it, validated as scikit-learn validates it."""

from dataclasses import dataclass
from typing import Any

import numpy
from scipy.sparse import issparse
from sklearn.utils.validation import check_array, check_consistent_length, column_or_1d, validate_data

from xpnet.dispatch import Choice
from xpnet.dispatch.choice import by_arrays
from xpnet.errors import InputError
from xpnet.estimators.placement import on_host, to_host
from xpnet.ops import Array, namespace

FLOATING = ("float64", "float32")


@dataclass
class Rows:
    """Rows ready for a step.

    X : (rows, in), dense at home or sparse (CSR); Y : (rows,) class indices or (rows, out)
    weight : (rows,) or None
    """

    X: Any
    Y: Array
    weight: Array | None = None

    @property
    def count(self) -> int:
        """How many."""
        return self.X.shape[0]

    def take(self, indices: Any, home: Choice) -> "Rows":
        """Some of the rows. indices : (some,) int64, NumPy's"""
        weight = None if self.weight is None else take_rows(self.weight, indices, home)
        return Rows(take_rows(self.X, indices, home), take_rows(self.Y, indices, home), weight)


def take_rows(array: Any, indices: Any, home: Choice) -> Any:
    """Rows of an array at home, or of a sparse matrix. indices : (some,) int64, NumPy's"""
    if issparse(array):
        return array[indices]
    return home.ops.gather(array, home.backend.asarray(indices))


def check_X_y(estimator: Any, X: Any, y: Any, *, reset: bool, numeric: bool = False) -> tuple[Any, Any]:
    """X and y for training, checked as scikit-learn's ``validate_data`` does. X of another library stays there.

    X : (rows, in), any library; y : (rows,) or (rows, out), on the host
    returns X floating-point, y on the host

    Raises ValueError or TypeError, as ``validate_data`` does.
    """
    if on_host(X):
        X, y = validate_data(
            estimator,
            X,
            y,
            accept_sparse=["csr", "csc"],
            multi_output=True,
            y_numeric=numeric,
            dtype=estimator.dtype or FLOATING,
            reset=reset,
        )
    else:
        validate_data(estimator, _check_matrix(X), y, skip_check_array=True, reset=reset)
        y = check_array(y, accept_sparse="csr", ensure_2d=False, dtype=None, input_name="y")
        check_consistent_length(X, y)
    return X, column_or_1d(y, warn=True) if y.ndim == 2 and y.shape[1] == 1 else y


def check_X(estimator: Any, X: Any, *, finite: bool = True) -> Any:
    """X for prediction. Raises ValueError for another number of features, or values that are not finite.

    finite : whether to look at the values; on the host only
    """
    if on_host(X):
        return validate_data(estimator, X, accept_sparse=["csr", "csc"], reset=False, ensure_all_finite=finite)
    return validate_data(estimator, _check_matrix(X), skip_check_array=True, reset=False)


def _check_matrix(X: Array) -> Array:
    """What ``check_array`` asks of X, for an array that stays where it is."""
    xp = namespace(X)
    if X.ndim != 2 or 0 in X.shape:
        raise InputError(f"X is a matrix (rows, features) and not empty; received shape {tuple(X.shape)}. Reshape it.")
    if xp.isdtype(X.dtype, "complex floating"):
        raise InputError(f"Complex data not supported: X is {X.dtype}. Pass real and imaginary part as features.")
    if xp.isdtype(X.dtype, "real floating") and not bool(xp.all(xp.isfinite(X))):
        raise InputError("Every value of X is finite; received NaN or infinity. Impute or drop such rows.")
    return X


def bring(X: Any, dtype: str, home: Choice) -> Any:
    """X at home, of this dtype; a sparse matrix becomes CSR, whose rows can be taken."""
    if issparse(X):
        return X.tocsr().astype(dtype, copy=False)
    foreign = not on_host(X) and by_arrays(X).backend.xp is not home.backend.xp
    array = home.backend.asarray(to_host(X) if foreign else X, dtype=dtype)
    return numpy.ascontiguousarray(array) if isinstance(array, numpy.ndarray) else array
