"""The rows of a fit, checked by scikit-learn's rules."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy
from scipy.sparse import csr_matrix, issparse
from sklearn.utils import check_consistent_length, column_or_1d
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import validate_data

from xpnet.backend import dtype_name
from xpnet.data.sources import ArraySource, Source
from xpnet.distributed.coordinator import ONE_PROCESS, Coordinator, RowFacts
from xpnet.errors import InputError
from xpnet.estimators.checks import (
    FLOATING,
    check_matrix,
    check_targets,
    check_values,
    dtypes_of_training,
    is_plain,
)
from xpnet.estimators.fit_inputs import OpenedRows, RawRows, open_rows
from xpnet.estimators.parameters import STOCHASTIC
from xpnet.learning.parameters import check_together
from xpnet.learning.targets import Targets
from xpnet.learning.weights import check_weights
from xpnet.training import LabeledRows
from xpnet.typing import ArrayLike, Rows

if TYPE_CHECKING:
    from xpnet.estimators.mlp import MLP


@dataclass(frozen=True)
class Columns:
    """The columns of X that a fit learns.

    count : number of columns
    names : (columns,) of str; None for X without names
    """

    count: int
    names: numpy.ndarray | None = None

    @classmethod
    def learned_by(cls, estimator: "MLP") -> "Columns":
        """Return the columns that an estimator has learned."""
        return cls(estimator.n_features_in_, getattr(estimator, "feature_names_in_", None))

    def are_of(self, X: numpy.ndarray) -> bool:
        """Tell whether a matrix without names has these columns."""
        return self.names is None and X.shape[1] == self.count


class CheckedRows(NamedTuple):
    """Rows that were checked.

    X : (rows, in), floating-point
    y : (rows,) or (rows, out), the targets, on the host
    columns : the columns of X
    known_targets : rows of y with each target that a process of the fit has
    """

    X: Rows | Source
    y: numpy.ndarray
    columns: Columns
    known_targets: numpy.ndarray


def check_has_targets(estimator: "MLP", y: ArrayLike | None) -> None:
    """Raise ValueError, with scikit-learn's message, where no targets were passed."""
    if y is None:
        raise ValueError(
            f"This {type(estimator).__name__} estimator requires y to be passed, but the target y "
            "is None."
        )


def check_training_rows(
    estimator: "MLP", rows: OpenedRows, expected_columns: Columns | None, coordinator: Coordinator
) -> CheckedRows:
    """Check rows for training. X of another library stays there, and the estimator as it is.

    expected_columns : those that X must have; None where the fit learns them

    Raises ValueError or TypeError, as ``validate_data`` does, InputError for processes whose rows
    are not alike.
    """
    if coordinator.has_all_rows or rows.count:
        checked = check_rows(estimator, rows.X, rows.y, expected_columns)
    else:
        checked = _check_no_rows(estimator, rows.X, rows.y, expected_columns)
    if coordinator.has_all_rows:
        return checked
    return make_alike(checked, coordinator, numeric=estimator._numeric_targets)


def check_validation_rows(
    estimator: "MLP",
    rows: RawRows,
    training: CheckedRows,
    targets: Targets,
    coordinator: Coordinator,
) -> LabeledRows | None:
    """Check the user's own validation rows; return None where there are none.

    Raises InputError for rows without targets, targets without rows, and rows that nothing would
    read.
    """
    if all(array is None for array in rows):
        return None
    check_together(*rows)
    if estimator.solver not in STOCHASTIC:
        raise InputError(
            "`X_val` and `y_val` must be left out with "
            f"solver={estimator.solver!r}, which makes no epochs to measure them after; got both; "
            f"leave them out, or choose a solver of {', '.join(STOCHASTIC)}."
        )
    opened = open_rows(estimator, rows, ONE_PROCESS)
    if coordinator.has_all_rows or opened.count:
        checked = check_rows(estimator, opened.X, opened.y, training.columns, name="y_val")
        targets.check_known(checked.y)
    else:  # other processes may have some
        X = no_rows(opened.X, training.columns.count, "float64")
        checked = training._replace(X=X, y=training.y[:0])
    Y = targets.encode(checked.y)
    weight = opened.weight
    if weight is not None:
        weight = check_weights(weight, len(Y), "sample_weight_val")
    return LabeledRows(checked.X, Y, weight)


def check_rows(
    estimator: "MLP", X: Any, y: Any, expected_columns: Columns | None, *, name: str = "y"
) -> CheckedRows:
    """Check X and y, with one entry for each row.

    expected_columns : those that X must have; None where X says which they are
    name : the argument that is y
    """
    if is_plain(X, dtypes_of_training(estimator)) and (
        expected_columns is None or expected_columns.are_of(X)
    ):
        columns = Columns(X.shape[1])
    else:
        # Another estimator learns the columns, since this one changes only after all checks.
        learner = _learner(estimator, expected_columns)
        dtype = estimator.dtype or FLOATING
        X = check_matrix(learner, X, dtype=dtype, reset=expected_columns is None)
        columns = Columns.learned_by(learner)
    check_values(estimator, X)
    y = check_targets(estimator, y, numeric=estimator._numeric_targets, name=name)
    check_consistent_length(X, y)
    if y.ndim == 2 and y.shape[1] == 1:
        y = column_or_1d(y, warn=True)
    return CheckedRows(X, y, columns, y)


def _check_no_rows(
    estimator: "MLP", X: Any, y: Any, expected_columns: Columns | None
) -> CheckedRows:
    """Check the columns of X of a process that has no rows."""
    learner = _learner(estimator, expected_columns)
    validate_data(learner, X, skip_check_array=True, reset=expected_columns is None)
    if not (issparse(X) or isinstance(X, Source)):
        X = numpy.asarray(X, estimator.dtype)
    y = numpy.asarray(y)
    return CheckedRows(X, y, Columns.learned_by(learner), y)


def make_alike(rows: CheckedRows, coordinator: Coordinator, *, numeric: bool) -> CheckedRows:
    """Return the rows of a process that has rows of its own, with the targets that all processes
    know; those of a process that has none get the columns and the dtype of the others.

    Raises InputError for other columns, where no process has rows, and for targets that one
    process cannot tell.
    """
    X = rows.X
    y = rows.y
    _check_dense_single_target(y, numeric=numeric)
    own_targets = y[:1] if numeric or y.ndim == 2 else numpy.unique(y)
    facts = RowFacts(X.shape[1], dtype_name(X.dtype), own_targets)
    agreed = coordinator.agree_on_rows(facts)
    if not X.shape[0]:
        X = no_rows(X, agreed.features, agreed.dtype)
        y = agreed.targets[:0]
    return CheckedRows(X, y, rows.columns, agreed.targets)


def _check_dense_single_target(y: numpy.ndarray, *, numeric: bool) -> None:
    """Raise InputError for targets that processes with rows of their own cannot agree on."""
    if issparse(y):
        raise InputError(
            "`y` must be dense where ranks have rows of their own; got a sparse matrix; pass "
            "y.toarray()."
        )
    if not numeric and y.ndim == 2 and type_of_target(y) == "multiclass-multioutput":
        raise InputError(
            "`y` must hold one target of classes where ranks have rows of their own; got several; "
            "fit one by one."
        )


def no_rows(X: object, features: int, dtype: str) -> Rows | Source:
    """Return no rows of the kind of X: an array, a sparse matrix or a source."""
    if issparse(X):
        return csr_matrix((0, features), dtype=dtype)
    empty = numpy.zeros((0, features), dtype)
    return ArraySource(empty) if isinstance(X, Source) else empty


def _learner(estimator: "MLP", expected_columns: Columns | None) -> "MLP":
    """Return an estimator with the same parameters that no fit has changed, and that knows these
    columns, if any.
    """
    learner = type(estimator)(**estimator.get_params(deep=False))
    if expected_columns is not None:
        learner.n_features_in_ = expected_columns.count
        if expected_columns.names is not None:
            learner.feature_names_in_ = expected_columns.names
    return learner
