"""Data as a training step takes it, validated as scikit-learn validates it."""

from collections.abc import Generator
from dataclasses import dataclass, field
from numbers import Real
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
from xpnet.data.sources import LARGE, Source, as_source
from xpnet.distributed import Ranks, current_ranks
from xpnet.errors import InputError
from xpnet.estimators.parameters import STOCHASTIC
from xpnet.models.inputs import check_in_memory, on_host, to_host
from xpnet.ops import Array, namespace

FLOATING = ("float64", "float32")
AT_ONCE = 2**24
"""Bytes of X that are looked at in one call, which no Ctrl-C interrupts: X may be mapped from a slow disk."""


@dataclass
class FitInputs:
    """What the user passed to ``fit`` or ``partial_fit``; labels and weights are on the host."""

    X: Any
    y: Any
    sample_weight: Any = None
    X_val: Any = None
    y_val: Any = None
    sample_weight_val: Any = None
    classes: Any = None
    ranks: Ranks = field(default_factory=current_ranks)

    def __post_init__(self) -> None:
        check_in_memory((self.X, self.y))
        self.y, self.y_val = _host_or_none(self.y), _host_or_none(self.y_val)
        self.sample_weight, self.sample_weight_val = map(_host_or_none, (self.sample_weight, self.sample_weight_val))

    def check_validation(self, solver: str) -> None:
        """Raise InputError for validation rows without targets, targets without rows, and rows nothing would read."""
        if self.X_val is None and self.y_val is None and self.sample_weight_val is None:
            return
        if self.X_val is None or self.y_val is None:
            missing = "X_val" if self.X_val is None else "y_val"
            raise InputError(f"Validation takes X_val and y_val together; {missing} is missing. Pass both, or neither.")
        if solver not in STOCHASTIC:
            raise InputError(
                f"Validation rows are measured after each epoch, and solver={solver!r} makes none. Leave X_val and "
                f"y_val out, or choose a solver of {', '.join(STOCHASTIC)}."
            )


def _host_or_none(array: Any) -> Any:
    return None if array is None else to_host(array)


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
        """How many rows there are."""
        return self.X.shape[0]

    def take(self, indices: Any, backend: Backend) -> "Rows":
        """Some of the rows. indices : (some,) int64, NumPy's"""
        gather, there = Operations(backend).gather, backend.asarray(indices)
        X = self.X[indices] if issparse(self.X) else gather(self.X, there)
        return Rows(X, gather(self.Y, there), None if self.weight is None else gather(self.weight, there))

    def parts(self, backend: Backend, dtype: str) -> Generator["Rows", None, None]:
        """The rows on a backend in a dtype, some at a time where they are read block by block."""
        yield self


def in_memory_or_source(estimator: Any, X: Any, ranks: Ranks) -> Any:
    """X as it is, or where its blocks must be read, the source; one that fits a buffer is loaded.

    Raises InputError for what a source cannot be trained with.
    """
    several, checkpoint = ranks.several, estimator.checkpoint is not None
    if (several or checkpoint) and isinstance(X, numpy.memmap) and X.nbytes <= LARGE:
        return X
    copied = estimator.early_stopping or estimator.solver == "lbfgs"
    source = as_source(X, dtype=estimator.dtype, copied=copied)
    if source is None:
        return X
    if not len(source):
        raise InputError("A source has one row at least; received none.")
    if len(source) <= source.buffer_rows(estimator.dtype or numpy.result_type(source.dtype, numpy.float32)):
        return source.whole()
    if checkpoint:
        raise InputError("A checkpoint is named after rows in memory; received a source. Leave checkpoint out.")
    if several:
        raise InputError("Several ranks share rows that lie in memory; received a source. Give each rank its part.")
    return source


def check_X_y(estimator: Any, X: Any, y: Any, ranks: Ranks, *, reset: bool, numeric: bool) -> tuple[Any, Any]:
    """X and y for training, checked as scikit-learn's ``validate_data`` does. X of another library stays there.

    X : (rows, in), any library; y : (rows,) or (rows, out), on the host; numeric : whether targets are numbers
    returns X floating-point, y on the host

    Raises ValueError or TypeError, as ``validate_data`` does.
    """
    if y is None or (ranks.own_data and not X.shape[0]):
        validate_data(estimator, X, y, skip_check_array=True, reset=reset)  # raises where there is no y
        X, y = X if issparse(X) else numpy.asarray(X, estimator.dtype), numpy.asarray(y)
    else:
        X = check_X(estimator, X, reset=reset)
        y = check_targets(y, numeric=numeric)
        check_consistent_length(X, y)
    return X, column_or_1d(y, warn=True) if y.ndim == 2 and y.shape[1] == 1 else y


def check_X(estimator: Any, X: Any, *, reset: bool | None = None, finite: bool = True) -> Any:
    """X as a floating-point matrix for training, or as a matrix of numbers for prediction.

    reset : whether the columns of X are those that the estimator knows from now on; None for prediction
    finite : whether to look at the values; on the host only

    Raises ValueError for another number of features, or values that are not finite.
    """
    if _is_plain(estimator, X, reset=reset):
        if reset:
            estimator.n_features_in_ = X.shape[1]
    elif isinstance(X, Source) or not on_host(X):
        X = X if isinstance(X, Source) else _check_matrix(X)
        return validate_data(estimator, X, skip_check_array=True, reset=bool(reset))
    else:
        _check_unstructured(X, "X")
        dtype = "numeric" if reset is None else estimator.dtype or FLOATING
        how = {"accept_sparse": ["csr", "csc"], "dtype": dtype, "ensure_all_finite": False}
        X = validate_data(estimator, X, reset=bool(reset), **how)
    if finite:
        _check_finite(estimator, X)
    return X


def _is_plain(estimator: Any, X: Any, *, reset: bool | None) -> bool:
    """Whether ``validate_data`` would give X back as it is, if its values are finite.

    It takes longer than to predict a few rows.
    """
    if type(X) is not numpy.ndarray or X.ndim != 2 or not X.size or "feature_names_in_" in vars(estimator):
        return False
    right = X.dtype in FLOATING if estimator.dtype is None or not reset else X.dtype == estimator.dtype
    return right and (bool(reset) or X.shape[1] == getattr(estimator, "n_features_in_", None))


def _check_finite(estimator: Any, X: Any) -> None:
    """Raise ValueError for NaN or infinity in X, as ``check_array`` does."""
    rows = X.shape[0] if issparse(X) else max(1, AT_ONCE // max(1, X[:1].nbytes))
    for start in range(0, X.shape[0], rows):
        part = X if issparse(X) else X[start : start + rows]
        assert_all_finite(part, estimator_name=type(estimator).__name__, input_name="X")


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


def _check_unstructured(array: Any, name: str) -> None:
    """Raise InputError for an array whose elements have fields."""
    fields = getattr(getattr(array, "dtype", None), "names", None)
    if fields:
        raise InputError(
            f"{name} is an array of plain values; received a structured array with the fields {', '.join(fields)}. "
            "Convert it with numpy.lib.recfunctions.structured_to_unstructured."
        )


def check_targets(y: Any, *, numeric: bool, name: str = "y") -> Any:
    """Numbers or labels as an array on the host, (rows,) or (rows, out), dense or sparse (CSR).

    Raises InputError for labels that NumPy cannot tell apart or put in order, ValueError for what is not finite.
    """
    _check_unstructured(y, name)
    if not numeric:
        check_labels(y, name)
    y = check_array(y, accept_sparse="csr", ensure_2d=False, dtype=None, input_name=name)
    return y.astype(numpy.float64) if numeric and y.dtype.kind == "O" else y


def check_labels(y: Any, name: str = "y") -> None:
    """Raise InputError for strings among labels of another type, and for strings that end in NUL.

    NumPy cannot sort the former, and drops the NUL from its arrays of text, so that "a" and "a\\0" become one label.
    """
    if issparse(y) or (type(y) is numpy.ndarray and y.dtype.kind != "O") or numpy.asarray(y).dtype.kind not in "OU":
        return
    labels = numpy.asarray(y, dtype=object).ravel()
    kinds = {type(label) for label in labels}
    if len({issubclass(kind, str) for kind in kinds}) > 1:
        received = " and ".join(sorted(kind.__name__ for kind in kinds))
        raise InputError(
            f"Labels are all strings or all numbers; {name} holds {received}. Convert them, or drop rows without a label."
        )
    if any(isinstance(label, str) and label.endswith("\0") for label in labels):
        raise InputError(f"A label does not end in a NUL character, which NumPy drops; {name} has such a label.")


def check_weights(weights: Any, rows: int, name: str = "sample_weight") -> Any:
    """Weights of rows, (rows,) float64, checked as scikit-learn does. Raises ValueError for others."""
    if isinstance(weights, Real):
        return numpy.full(rows, float(weights))
    weights = check_array(weights, ensure_2d=False, dtype=numpy.float64, order="C", input_name=name)
    if weights.shape != (rows,):
        raise ValueError(f"sample_weight.shape == {weights.shape}, expected {(rows,)}!")
    if not weights.any():
        raise InputError(f"Some weight in {name} is positive; all are zero. Leave {name} out, or mend it.")
    return weights
