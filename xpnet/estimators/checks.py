"""Checks of single arrays of a fit or a prediction, as scikit-learn makes them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy
from scipy.sparse import issparse
from sklearn.base import is_classifier
from sklearn.utils import assert_all_finite, check_array
from sklearn.utils.validation import validate_data

from xpnet.data.sources import Source
from xpnet.errors import InputError
from xpnet.learning.labels import check_label_types, check_numbers, check_savable_labels
from xpnet.models.inputs import is_on_host, on_device_of
from xpnet.ops import Array, namespace
from xpnet.typing import Rows

if TYPE_CHECKING:
    from xpnet.estimators.mlp import MLP
    from xpnet.learning.scikit_learn import BaseEstimator

FLOATING = ("float64", "float32")
"""Names of the dtypes in which networks compute."""


def check_X(estimator: "BaseEstimator", X: Any, *, finite: bool = True) -> Any:
    """Check X for prediction, and return it as a matrix of numbers.

    finite : whether to look at the values

    Raises ValueError for another number of features, or values that are not finite.
    """
    if not (is_plain(X, FLOATING) and _has_columns_of(estimator, X)):
        X = check_matrix(estimator, X, dtype="numeric", reset=False)
    if finite:
        check_values(estimator, X)
    return X


def check_matrix(
    estimator: "BaseEstimator", X: Any, *, dtype: str | Sequence[str], reset: bool
) -> Rows | Source:
    """Check that X is a matrix of numbers with the columns of an estimator, and return it: host
    data as an array of NumPy or a sparse matrix, an array of another library unchanged.

    The values may still not be finite.

    dtype : the dtype of host data, as ``check_array`` takes it
    reset : whether the estimator learns the columns of X
    """
    if isinstance(X, Source):  # is a matrix of numbers
        return validate_data(estimator, X, skip_check_array=True, reset=reset)
    if not is_on_host(X):
        _check_elsewhere(X)
        return validate_data(estimator, X, skip_check_array=True, reset=reset)
    # NumPy warns of values beyond the dtype, of which `check_values` tells.
    with numbers_required(estimator), numpy.errstate(over="ignore"):
        return validate_data(
            estimator,
            X,
            reset=reset,
            accept_sparse=["csr", "csc"],
            dtype=dtype,
            ensure_all_finite=False,
        )


@contextmanager
def numbers_required(estimator: "BaseEstimator") -> Iterator[None]:
    """Raise InputError in place of NumPy's error for text, which names no remedy."""
    try:
        yield
    except ValueError as error:
        text = str(error).partition("could not convert string to float: ")[2]
        if not text:
            raise
        raise InputError(
            f"`X` must hold numbers for {type(estimator).__name__}; got {text:.60}. "
            f"Use {_table_estimator(estimator)}, which takes text."
        ) from error


def _table_estimator(estimator: "BaseEstimator") -> str:
    """Return the name of the estimator that takes text and gaps for the same task."""
    return "TabularClassifier" if is_classifier(estimator) else "TabularRegressor"


def dtypes_of_training(estimator: "MLP") -> Sequence[str]:
    """Return the dtypes in which rows are trained on as they are."""
    return FLOATING if estimator.dtype is None else (estimator.dtype,)


def is_plain(X: object, dtypes: Sequence[str]) -> TypeGuard[numpy.ndarray]:
    """Tell whether ``validate_data`` would return X, without names of columns, as it is.

    The values may still not be finite. ``validate_data`` takes longer than to predict a few rows.
    """
    return type(X) is numpy.ndarray and X.ndim == 2 and X.size > 0 and X.dtype in dtypes


def _has_columns_of(estimator: "BaseEstimator", X: numpy.ndarray) -> bool:
    """Tell whether X, without names, has the columns that an estimator without names was fitted
    on.
    """
    count = getattr(estimator, "n_features_in_", None)
    return X.shape[1] == count and "feature_names_in_" not in vars(estimator)


def check_values(estimator: "BaseEstimator", X: Rows | Source) -> None:
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
            f"{type(estimator).__name__} needs finite numbers: use {_table_estimator(estimator)}, "
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


def check_targets(estimator: object, y: Any, *, numeric: bool, name: str = "y") -> numpy.ndarray:
    """Check numbers or labels, and make them an array on the host, (rows,) or (rows, out), dense or
    sparse (CSR).

    Raises InputError for labels that NumPy cannot tell apart or put in order, ValueError for
    values that are not finite.
    """
    if type(y) is numpy.ndarray and y.ndim == 1 and y.size and y.dtype.kind in "biu":
        return y  # whole numbers are finite: to ask scikit-learn takes as long as a short epoch
    if numeric:
        check_numbers(y, name, estimator)
    else:
        check_label_types(y, name)
    y = check_array(y, accept_sparse="csr", ensure_2d=False, dtype=None, input_name=name)
    if not (numeric or issparse(y)):
        check_savable_labels(y.ravel(), name)
    return y.astype(numpy.float64) if numeric and y.dtype.kind == "O" else y
