"""The arguments of ``fit``, validated as scikit-learn validates them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, NamedTuple

import numpy
from scipy.sparse import csr_matrix, issparse
from sklearn.utils import assert_all_finite, check_array, check_consistent_length, column_or_1d
from sklearn.utils.validation import validate_data

from xpnet.data.sources import ArraySource, Source, as_source
from xpnet.distributed.coordinator import (
    ONE_PROCESS,
    AgreedRows,
    Coordinator,
    current_coordinator,
)
from xpnet.errors import InputError
from xpnet.estimators.parameters import STOCHASTIC, check_together
from xpnet.models.inputs import (
    check_in_memory,
    check_label_types,
    check_savable_labels,
    on_host,
    to_host,
)
from xpnet.ops import Array, namespace
from xpnet.training import Callback, Training, TrainingState

FLOATING = ("float64", "float32")


@dataclass
class FitInputs:
    """The arguments of ``fit`` or ``partial_fit``; labels and weights are brought to the host.

    coordinator : what the fit settles with other processes
    """

    X: Any
    y: Any
    sample_weight: Any = None
    X_val: Any = None
    y_val: Any = None
    sample_weight_val: Any = None
    classes: Any = None
    callbacks: Sequence[Callback | Callable[[Training], None]] = ()
    resume_from: TrainingState | None = None
    coordinator: Coordinator = field(default_factory=current_coordinator)

    def __post_init__(self) -> None:
        check_in_memory((self.X, self.y))
        self.y = to_host(self.y)
        self.y_val = to_host(self.y_val)
        self.sample_weight = to_host(self.sample_weight)
        self.sample_weight_val = to_host(self.sample_weight_val)
        self.callbacks = list(self.callbacks)


@dataclass(frozen=True)
class Columns:
    """The columns of X that a fit learns.

    count : number of columns; names : (columns,) of str; None for X without names
    """

    count: int
    names: Any = None


@dataclass(frozen=True)
class CheckedRows:
    """Rows that were checked for training.

    X : (rows, in), floating-point; y : (rows,) or (rows, out), the targets of this process
    known_targets : rows of y with every kind of target that a process of the fit has
    columns : the columns of X
    """

    X: Any
    y: Any
    known_targets: Any
    columns: Columns


class CheckedValidation(NamedTuple):
    """Validation rows that were checked, with encoded targets and weights."""

    X: Any
    targets: Any
    weight: Any


def in_memory_or_source(estimator: Any, X: Any, coordinator: Coordinator) -> Any:
    """Return X as it is, or where its blocks must be read, the source; one that fits a buffer is
    loaded.

    If one process with rows of its own has a source, all have one, or all have their rows in
    memory.
    """
    if type(X) is numpy.ndarray and coordinator.has_all_rows:
        return X
    source = as_source(X, dtype=estimator.dtype, copied=bool(estimator.early_stopping))
    if estimator.solver == "lbfgs":  # takes all rows at once, a memory map as it lies
        return X if source is None or isinstance(X, numpy.ndarray) else source.whole()
    if source is not None:
        dtype = estimator.dtype or numpy.result_type(source.dtype, numpy.float32)
        by_blocks = coordinator.read_by_blocks(len(source), source.buffer_rows(dtype))
        return source if by_blocks else source.whole()
    if coordinator.has_all_rows:
        return X
    rows = X.shape[0] if hasattr(X, "shape") else len(X)
    return ArraySource(numpy.asarray(X)) if coordinator.read_by_blocks(rows, 0) else X


def check_rows(
    estimator: Any, inputs: FitInputs, *, numeric: bool, known_columns: bool
) -> CheckedRows:
    """Check X and y for training as scikit-learn's ``validate_data`` does. X of another library
    stays there.

    The estimator is not changed.

    numeric : whether targets are numbers; known_columns : whether X must have the columns that the estimator knows

    Raises ValueError or TypeError, as ``validate_data`` does, InputError for processes whose rows
    are not alike.
    """
    # An estimator of its own learns the columns: the one that is fitted changes when all is
    # checked.
    learner = estimator if known_columns else _unfitted(estimator)
    coordinator = inputs.coordinator
    X = in_memory_or_source(estimator, inputs.X, coordinator)
    y = inputs.y
    if y is None or not (coordinator.has_all_rows or X.shape[0]):
        # validate_data raises an error where there is no y
        validate_data(learner, X, y, skip_check_array=True, reset=not known_columns)
        keeps_kind = issparse(X) or isinstance(X, Source)
        X = X if keeps_kind else numpy.asarray(X, estimator.dtype)
        y = numpy.asarray(y)
    else:
        X = check_X(learner, X, reset=not known_columns)
        y = check_targets(y, numeric=numeric)
        check_consistent_length(X, y)
    y = column_or_1d(y, warn=True) if y.ndim == 2 and y.shape[1] == 1 else y
    rows: AgreedRows = coordinator.agree_on_rows(X, y, numeric=numeric)
    # A user may have set coefs_ without n_features_in_.
    count = getattr(learner, "n_features_in_", X.shape[1])
    columns = Columns(count, getattr(learner, "feature_names_in_", None))
    return CheckedRows(rows.X, rows.y, rows.known_targets, columns)


def check_validation_rows(
    estimator: Any, inputs: FitInputs, rows: CheckedRows, targets: Any
) -> CheckedValidation | None:
    """Check the user's own validation rows; return None where there are none.

    rows : the training rows; targets : what they mean, a `Targets`

    Raises InputError for rows without targets, targets without rows, and rows that nothing would
    read.
    """
    X, y, weight = inputs.X_val, inputs.y_val, inputs.sample_weight_val
    if X is None and y is None and weight is None:
        return None
    check_together(X, y, weight)
    if estimator.solver not in STOCHASTIC:
        raise InputError(
            f"`X_val` and `y_val` must be left out with solver={estimator.solver!r}, which makes no epochs to measure "
            f"them after; got both; leave them out, or choose a solver of {', '.join(STOCHASTIC)}."
        )
    if not (inputs.coordinator.has_all_rows or X.shape[0]):  # other processes may have some
        shape = (0, rows.columns.count)
        X = csr_matrix(shape) if issparse(X) else numpy.zeros(shape)
        y = rows.y[:0]
    else:
        X = check_X(
            _with_columns(estimator, rows.columns), in_memory_or_source(estimator, X, ONE_PROCESS)
        )
        y = check_targets(y, numeric=not targets.has_classes, name="y_val")
        targets.check_known(y)
    encoded = targets.encode(y)
    check_consistent_length(X, encoded)
    if weight is not None:
        weight = check_weights(weight, len(encoded), "sample_weight_val")
    return CheckedValidation(X, encoded, weight)


def _unfitted(estimator: Any) -> Any:
    """Return an estimator with the same parameters, which no fit has changed."""
    return type(estimator)(**estimator.get_params(deep=False))


def _with_columns(estimator: Any, columns: Columns) -> Any:
    """Return an estimator of the same class that knows these columns."""
    learner = _unfitted(estimator)
    learner.n_features_in_ = columns.count
    if columns.names is not None:
        learner.feature_names_in_ = columns.names
    return learner


def check_X(estimator: Any, X: Any, *, reset: bool | None = None, finite: bool = True) -> Any:
    """Check X, and make it a floating-point matrix for training, or a matrix of numbers for
    prediction.

    reset : whether the columns of X are those that the estimator knows from now on; None for
    prediction finite : whether to look at the values; on the host only

    Raises ValueError for another number of features, or values that are not finite.
    """
    if _is_plain(estimator, X, reset=reset):
        if reset:
            estimator.n_features_in_ = X.shape[1]
    elif isinstance(X, Source) or not on_host(X):
        X = X if isinstance(X, Source) else _check_matrix(X)
        return validate_data(estimator, X, skip_check_array=True, reset=bool(reset))
    else:
        dtype = "numeric" if reset is None else estimator.dtype or FLOATING
        X = validate_data(
            estimator,
            X,
            reset=bool(reset),
            accept_sparse=["csr", "csc"],
            dtype=dtype,
            ensure_all_finite=False,
        )
    if finite:
        assert_all_finite(X, estimator_name=type(estimator).__name__, input_name="X")
    return X


def _is_plain(estimator: Any, X: Any, *, reset: bool | None) -> bool:
    """Say whether ``validate_data`` would give X back as it is, if its values are finite.

    It takes longer than to predict a few rows.
    """
    if (
        type(X) is not numpy.ndarray
        or X.ndim != 2
        or not X.size
        or "feature_names_in_" in vars(estimator)
    ):
        return False
    right = (
        X.dtype in FLOATING if estimator.dtype is None or not reset else X.dtype == estimator.dtype
    )
    return right and (bool(reset) or X.shape[1] == getattr(estimator, "n_features_in_", None))


def _check_matrix(X: Array) -> Array:
    """Check what ``check_array`` asks of X, for an array that stays where it is."""
    xp = namespace(X)
    if X.ndim != 2 or 0 in X.shape:
        raise InputError(
            f"`X` must be a matrix (rows, features) that is not empty; got shape {tuple(X.shape)}; reshape it."
        )
    if xp.isdtype(X.dtype, "complex floating"):
        raise InputError(
            f"Complex data not supported: `X` must be real; got {X.dtype}; pass real and imaginary part as features."
        )
    if xp.isdtype(X.dtype, "real floating") and not bool(xp.all(xp.isfinite(X))):
        raise InputError(
            "Every value of `X` must be finite; got NaN or infinity; impute or drop such rows."
        )
    return X


def check_targets(y: Any, *, numeric: bool, name: str = "y") -> Any:
    """Check numbers or labels, and make them an array on the host, (rows,) or (rows, out), dense or
    sparse (CSR).

    Raises InputError for labels that NumPy cannot tell apart or put in order, ValueError for what
    is not finite.
    """
    if type(y) is numpy.ndarray and y.ndim == 1 and y.size and y.dtype.kind in "biu":
        return y  # whole numbers are finite: to ask scikit-learn takes as long as a short epoch
    if not numeric:
        check_label_types(y, name)
    y = check_array(y, accept_sparse="csr", ensure_2d=False, dtype=None, input_name=name)
    if not (numeric or issparse(y)):
        check_savable_labels(y.ravel(), name)
    return y.astype(numpy.float64) if numeric and y.dtype.kind == "O" else y


def check_weights(weights: Any, rows: int, name: str = "sample_weight") -> Any:
    """Check weights of rows as scikit-learn does, and make them (rows,) float64. Raises ValueError
    for others.
    """
    if isinstance(weights, Real) or not rows:
        return numpy.full(rows, float(weights) if rows else 0.0)
    weights = check_array(weights, ensure_2d=False, dtype=numpy.float64, order="C", input_name=name)
    if weights.shape != (rows,):
        raise ValueError(f"sample_weight.shape == {weights.shape}, expected {(rows,)}!")
    if not weights.any():
        raise InputError(
            f"`{name}` must hold a positive weight; got zeros alone; leave {name} out, or correct it."
        )
    return weights


def weights_in_dtype(weights: numpy.ndarray, dtype: str, name: str) -> numpy.ndarray:
    """Return weights of rows in a dtype.

    Raises InputError for weights that the dtype takes for 0 or for infinity.
    """
    with numpy.errstate(over="ignore", under="ignore"):
        converted = weights.astype(dtype)
    lost = weights[((converted == 0) & (weights != 0)) | ~numpy.isfinite(converted)]
    if len(lost):
        limits = numpy.finfo(dtype)
        raise InputError(
            f"`{name}` must hold 0 or numbers from {limits.tiny:.2g} to {limits.max:.2g}, the "
            f"range of {dtype}; got {lost[0]:g}. Multiply all weights by one factor."
        )
    return converted
