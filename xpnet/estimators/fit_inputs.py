"""The arguments of ``fit`` and ``partial_fit``, and the checks of their rows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy
from scipy.sparse import csr_matrix, issparse
from sklearn.utils import check_consistent_length, column_or_1d
from sklearn.utils.validation import validate_data

from xpnet.data.sources import ArraySource, Source, as_source
from xpnet.distributed.coordinator import ONE_PROCESS, Coordinator
from xpnet.errors import InputError
from xpnet.estimators.checks import (
    check_targets,
    check_values,
    check_weights,
    check_X,
    dtypes_of_training,
    is_plain,
)
from xpnet.estimators.parameters import STOCHASTIC, check_together
from xpnet.estimators.targets import Targets
from xpnet.models.inputs import check_in_memory, to_host
from xpnet.training import Callback, LabeledRows, Training, TrainingState


class FitInputs(NamedTuple):
    """The arguments of ``fit`` or ``partial_fit``, as the user has passed them."""

    X: Any
    y: Any
    sample_weight: Any = None
    X_val: Any = None
    y_val: Any = None
    sample_weight_val: Any = None
    classes: Any = None
    callbacks: Sequence[Callback | Callable[[Training], None]] = ()
    resume_from: TrainingState | None = None


@dataclass
class Columns:
    """The columns of X that a fit learns.

    count : number of columns
    names : (columns,) of str; None for X without names
    """

    count: int
    names: Any = None

    @classmethod
    def learned(cls, learner: Any, X: Any) -> "Columns":
        """Return the columns that an estimator has learned from X."""
        # A user may have set coefs_ without n_features_in_.
        count = getattr(learner, "n_features_in_", X.shape[1])
        return cls(count, getattr(learner, "feature_names_in_", None))


class CheckedRows(NamedTuple):
    """Rows that were checked for training.

    X : (rows, in), floating-point
    y : (rows,) or (rows, out), the targets of this process
    known_targets : rows of y with every kind of target that a process of the fit has
    columns : the columns of X
    """

    X: Any
    y: Any
    known_targets: Any
    columns: Columns


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


def check_training_rows(
    estimator: Any,
    X: Any,
    y: Any,
    coordinator: Coordinator,
    *,
    numeric: bool,
    known_columns: bool,
) -> CheckedRows:
    """Check X and y for training as scikit-learn's ``validate_data`` does. X of another library
    stays there.

    The estimator is not changed.

    numeric : whether targets are numbers
    known_columns : whether X must have the columns that the estimator knows

    Raises ValueError or TypeError, as ``validate_data`` does, InputError for processes whose rows
    are not alike.
    """
    check_in_memory((X, y))
    y = to_host(y)
    X = in_memory_or_source(estimator, X, coordinator)
    if y is None or not (coordinator.has_all_rows or X.shape[0]):
        # validate_data raises an error where there is no y
        learner = estimator if known_columns else _unfitted(estimator)
        validate_data(learner, X, y, skip_check_array=True, reset=not known_columns)
        keeps_kind = issparse(X) or isinstance(X, Source)
        X = X if keeps_kind else numpy.asarray(X, estimator.dtype)
        y = numpy.asarray(y)
        columns = Columns.learned(learner, X)
    else:
        X, columns = _check_columns(estimator, X, known_columns=known_columns)
        y = check_targets(y, numeric=numeric)
        check_consistent_length(X, y)
    y = column_or_1d(y, warn=True) if y.ndim == 2 and y.shape[1] == 1 else y
    rows = coordinator.agree_on_rows(X, y, numeric=numeric)
    return CheckedRows(rows.X, rows.y, rows.known_targets, columns)


def _check_columns(estimator: Any, X: Any, *, known_columns: bool) -> tuple[Any, Columns]:
    """Check X for training; return it with its columns.

    known_columns : whether X must have the columns that the estimator knows
    """
    if known_columns:
        X = check_X(estimator, X, reset=False)
        return X, Columns.learned(estimator, X)
    if is_plain(X, dtypes_of_training(estimator)):
        return check_values(estimator, X), Columns(X.shape[1])
    # An estimator of its own learns the columns: the one that is fitted changes when all is
    # checked.
    learner = _unfitted(estimator)
    X = check_X(learner, X, reset=True)
    return X, Columns.learned(learner, X)


def check_validation_rows(
    estimator: Any,
    inputs: FitInputs,
    training: CheckedRows,
    targets: Targets,
    coordinator: Coordinator,
) -> LabeledRows | None:
    """Check the user's own validation rows; return None where there are none.

    Raises InputError for rows without targets, targets without rows, and rows that nothing would
    read.
    """
    X = inputs.X_val
    y = to_host(inputs.y_val)
    weight = to_host(inputs.sample_weight_val)
    if X is None and y is None and weight is None:
        return None
    check_together(X, y, weight)
    if estimator.solver not in STOCHASTIC:
        raise InputError(
            "`X_val` and `y_val` must be left out with "
            f"solver={estimator.solver!r}, which makes no epochs to measure them after; got both; "
            f"leave them out, or choose a solver of {', '.join(STOCHASTIC)}."
        )
    if not (coordinator.has_all_rows or X.shape[0]):  # other processes may have some
        shape = (0, training.columns.count)
        X = csr_matrix(shape) if issparse(X) else numpy.zeros(shape)
        y = training.y[:0]
    else:
        learner = _with_columns(estimator, training.columns)
        X = check_X(learner, in_memory_or_source(estimator, X, ONE_PROCESS))
        y = check_targets(y, numeric=not targets.has_classes, name="y_val")
        targets.check_known(y)
    Y = targets.encode(y)
    check_consistent_length(X, Y)
    if weight is not None:
        weight = check_weights(weight, len(Y), "sample_weight_val")
    return LabeledRows(X, Y, weight)


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
