"""Data as a training step takes it, validated as scikit-learn validates it."""

from dataclasses import dataclass
from typing import Any

import numpy
from scipy.sparse import issparse
from sklearn.utils.validation import (
    assert_all_finite,
    check_array,
    check_consistent_length,
    column_or_1d,
    validate_data,
)

from xpnet.backend import Backend, Operations
from xpnet.data.sources import Source
from xpnet.dispatch import current_ranks
from xpnet.errors import InputError
from xpnet.models.placement import check_in_memory, on_host, to_host
from xpnet.ops import Array, namespace

FLOATING = ("float64", "float32")
AT_ONCE = 2**24
"""Bytes of X that are looked at in one call, which no Ctrl-C interrupts: X may be mapped from a slow disk."""


@dataclass
class Given:
    """What the user passed to ``fit`` or ``partial_fit``; labels and weights are on the host."""

    X: Any
    y: Any
    sample_weight: Any = None
    X_val: Any = None
    y_val: Any = None
    sample_weight_val: Any = None

    def __post_init__(self) -> None:
        check_in_memory((self.X, self.y))
        for name in ("y", "y_val", "sample_weight", "sample_weight_val"):
            value = getattr(self, name)
            if value is not None and type(value) is not numpy.ndarray:
                setattr(self, name, to_host(value))

    def check_validation(self, solver: str, stochastic: tuple[str, ...]) -> None:
        """Raise InputError for validation rows without targets, targets without rows, and rows nothing would read."""
        if self.X_val is None and self.y_val is None and self.sample_weight_val is None:
            return
        if self.X_val is None or self.y_val is None:
            missing = "X_val" if self.X_val is None else "y_val"
            raise InputError(f"Validation takes X_val and y_val together; {missing} is missing. Pass both, or neither.")
        if solver not in stochastic:
            raise InputError(
                f"Validation rows are measured after each epoch, and solver={solver!r} makes none. Leave X_val and "
                f"y_val out, or choose a solver of {', '.join(stochastic)}."
            )


@dataclass
class Rows:
    """Rows ready for a step.

    X : (rows, in), dense where the network lives or sparse (CSR); Y : (rows,) class indices or (rows, out)
    weight : (rows,) or None
    """

    X: Any
    Y: Array
    weight: Array | None = None

    @property
    def count(self) -> int:
        """How many."""
        return self.X.shape[0]

    def take(self, indices: Any, backend: Backend) -> "Rows":
        """Some of the rows. indices : (some,) int64, NumPy's"""
        gather, there = Operations(backend).gather, backend.asarray(indices)
        X = self.X[indices] if issparse(self.X) else gather(self.X, there)
        return Rows(X, gather(self.Y, there), None if self.weight is None else gather(self.weight, there))


def check_X_y(estimator: Any, X: Any, y: Any, *, reset: bool, numeric: bool = False) -> tuple[Any, Any]:
    """X and y for training, checked as scikit-learn's ``validate_data`` does. X of another library stays there.

    X : (rows, in), any library; y : (rows,) or (rows, out), on the host
    returns X floating-point, y on the host

    Raises ValueError or TypeError, as ``validate_data`` does.
    """
    if _is_plain(estimator, X, reset=reset) and _are_plain_targets(y, len(X)):
        _check_finite(estimator, X)
        if y.dtype.kind == "f":
            assert_all_finite(y, input_name="y")
        estimator.n_features_in_ = X.shape[1]
        return X, y
    if current_ranks().own_data and not X.shape[0]:
        validate_data(estimator, X, y, skip_check_array=True, reset=reset)
        X, y = X if issparse(X) else numpy.asarray(X, estimator.dtype), numpy.asarray(y)
    elif isinstance(X, Source):
        validate_data(estimator, X, y, skip_check_array=True, reset=reset)
        y = check_array(y, ensure_2d=False, dtype="numeric" if numeric else None, input_name="y")
        check_consistent_length(X, y)
    elif type(X) is numpy.ndarray or on_host(X):
        at_once = not isinstance(X, numpy.ndarray) or X.nbytes <= AT_ONCE
        X, y = validate_data(
            estimator,
            X,
            y,
            accept_sparse=["csr", "csc"],
            multi_output=True,
            y_numeric=numeric,
            dtype=estimator.dtype or FLOATING,
            ensure_all_finite=at_once,
            reset=reset,
        )
        if not at_once:
            _check_finite(estimator, X)
    else:
        validate_data(estimator, _check_matrix(X), y, skip_check_array=True, reset=reset)
        y = check_array(y, accept_sparse="csr", ensure_2d=False, dtype=None, input_name="y")
        check_consistent_length(X, y)
    return X, column_or_1d(y, warn=True) if y.ndim == 2 and y.shape[1] == 1 else y


def _is_plain(estimator: Any, X: Any, *, reset: bool) -> bool:
    """Whether ``validate_data`` would give X back as it is, if its values are finite.

    For small arrays it takes as long as some epochs of a small network.
    """
    if type(X) is not numpy.ndarray or X.ndim != 2 or not X.size or "feature_names_in_" in vars(estimator):
        return False
    right = X.dtype in FLOATING if estimator.dtype is None or not reset else X.dtype == estimator.dtype
    return right and (reset or X.shape[1] == getattr(estimator, "n_features_in_", None))


def _are_plain_targets(y: Any, rows: int) -> bool:
    """The same of targets."""
    return type(y) is numpy.ndarray and y.shape == (rows,) and y.dtype.kind in "iubf"


def _check_finite(estimator: Any, X: numpy.ndarray) -> None:
    """Raise ValueError for NaN or infinity in X, as ``check_array`` does."""
    rows = max(1, AT_ONCE // max(1, X[:1].nbytes))
    for start in range(0, len(X), rows):
        assert_all_finite(X[start : start + rows], estimator_name=type(estimator).__name__, input_name="X")


def check_X(estimator: Any, X: Any, *, finite: bool = True) -> Any:
    """X for prediction or validation. Raises ValueError for another number of features, or values that are not finite.

    finite : whether to look at the values; on the host only
    """
    if isinstance(X, Source):
        return validate_data(estimator, X, skip_check_array=True, reset=False)
    if _is_plain(estimator, X, reset=False):
        if finite:
            _check_finite(estimator, X)
        return X
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
