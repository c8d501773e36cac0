"""The rows of a fit: as the user has passed them, opened, and checked by scikit-learn's rules."""

from dataclasses import dataclass
from typing import Any

import numpy
from scipy.sparse import csr_matrix, issparse
from sklearn.utils import check_consistent_length, column_or_1d
from sklearn.utils.multiclass import type_of_target

from xpnet.backend import dtype_name
from xpnet.data.sources import ArraySource, Source, as_source
from xpnet.distributed.agreement import RowFacts, agree_on_rows, read_by_blocks
from xpnet.distributed.ranks import ALONE, Ranks
from xpnet.errors import InputError
from xpnet.estimators.checks import (
    FLOATING,
    CheckedMatrix,
    Columns,
    check_matrix,
    check_targets,
    check_values,
    is_plain,
    validated,
)
from xpnet.estimators.settings import STOCHASTIC, FitSettings
from xpnet.learning.class_offsets import targets_with_offsets
from xpnet.learning.parameters import check_together
from xpnet.learning.split import InputRows
from xpnet.learning.targets import HostTargets, Targets
from xpnet.learning.weights import check_weights
from xpnet.models.inputs import check_holds_rows, check_in_memory, to_host
from xpnet.training import LabeledRows
from xpnet.typing import ArrayLike


@dataclass(frozen=True, eq=False)
class CheckedRows:
    """Training rows that were checked.

    rows : floating-point X, and targets and weights on the host
    columns : the columns of X
    known_targets : rows of y with each target that a process of the fit has
    """

    rows: InputRows
    columns: Columns
    known_targets: HostTargets


def read_rows(
    rows: InputRows, settings: FitSettings, columns: Columns | None, ranks: Ranks
) -> CheckedRows:
    """Open and check rows for training. X of another library stays there.

    columns : those that X must have; None where the fit learns them

    Raises ValueError or TypeError, as ``validate_data`` does, InputError for processes whose rows
    are not alike.
    """
    if rows.y is None:
        check_holds_rows(rows.X)
        raise ValueError(
            f"This {settings.kind.__name__} estimator requires y to be passed, but the target y "
            "is None."
        )
    opened = open_rows(rows, settings, ranks)
    if ranks.sharded and not count_rows(opened.X):
        checked = _check_no_rows(opened, settings, columns)
    else:
        checked = check_rows(opened, settings, columns)
    return make_alike(checked, settings, ranks) if ranks.sharded else checked


def read_validation_rows(
    rows: InputRows, training: CheckedRows, targets: Targets, settings: FitSettings, ranks: Ranks
) -> LabeledRows | None:
    """Open, check and encode the user's own validation rows; return None where there are none.

    Raises InputError for rows without targets, targets without rows, and rows that nothing would
    read.
    """
    if rows.X is None and rows.y is None and rows.weight is None:
        return None
    check_together(rows.X, rows.y, rows.weight)
    if not settings.makes_epochs:
        raise InputError(
            "`X_val` and `y_val` must be left out with "
            f"solver={settings.solver!r}, which makes no epochs to measure them after; got both; "
            f"leave them out, or choose a solver of {', '.join(STOCHASTIC)}."
        )
    opened = open_rows(rows, settings, ALONE)
    if ranks.sharded and not count_rows(opened.X):  # other processes may have some
        X = no_rows(opened.X, training.columns.count, "float64")
        y = training.rows.y[:0]
    else:
        X, y, *_ = check_rows(opened, settings, training.columns, name="y_val").rows
        targets.check_known(y)
    Y = targets.encode(y)
    weight = opened.weight
    if weight is not None:
        weight = check_weights(weight, len(Y), "sample_weight_val")
    if rows.offset is not None:
        Y = targets_with_offsets(Y, rows.offset, targets.loss, targets.outputs, "offset_val")
    return LabeledRows(X, Y, weight)


def open_rows(rows: InputRows, settings: FitSettings, ranks: Ranks) -> InputRows:
    """Return rows with targets and weights on the host, and X in memory or as a source.

    Raises InputError for rows that are neither in this process's memory nor in a source.
    """
    check_in_memory((rows.X, rows.y))
    y = to_host(rows.y)
    weight = to_host(rows.weight)
    return rows._replace(X=open_matrix(rows.X, settings, ranks), y=y, weight=weight)


def open_matrix(X: Any, settings: FitSettings, ranks: Ranks) -> ArrayLike | Source:
    """Return X in memory, or as a source if its rows do not fit a buffer.

    If one process with rows of its own has a source, all have one, or all have their rows in
    memory.
    """
    makes_epochs = settings.makes_epochs
    if not makes_epochs and isinstance(X, numpy.ndarray):
        return X  # L-BFGS reads all rows of a memory map in place
    # Rows that are split off for validation are copied.
    source = as_source(X, dtype=settings.dtype, copied=settings.stops_early)
    if source is None and not (makes_epochs and ranks.sharded):
        return X
    if makes_epochs:
        rows = count_rows(X if source is None else source)
        buffer_rows = 0 if source is None else source.buffer_rows(settings.dtype)
        if read_by_blocks(rows, buffer_rows, ranks):
            return ArraySource(numpy.asarray(X)) if source is None else source
    return X if source is None else source.whole()


def count_rows(X: Any) -> int:
    """Return the number of rows of a source or of data in memory."""
    return X.shape[0] if hasattr(X, "shape") else len(X)


def check_rows(
    rows: InputRows, settings: FitSettings, columns: Columns | None, *, name: str = "y"
) -> CheckedRows:
    """Check X and y of opened rows, with one entry for each row.

    columns : those that X must have; None where X says which they are
    name : the argument that is y
    """
    X = rows.X
    dtypes = FLOATING if settings.dtype is None else (settings.dtype,)
    if is_plain(X, dtypes) and (columns is None or columns.are_of(X)):
        matrix = CheckedMatrix(X, columns or Columns(X.shape[1]))
    else:
        matrix = check_matrix(X, settings.kind, columns, dtype=settings.dtype or FLOATING)
    check_values(matrix.X, settings.kind)
    y = check_targets(rows.y, settings.kind, numeric=not settings.has_classes, name=name)
    check_consistent_length(matrix.X, y)
    if y.ndim == 2 and y.shape[1] == 1:
        y = column_or_1d(y, warn=True)
    return CheckedRows(rows._replace(X=matrix.X, y=y), matrix.columns, y)


def _check_no_rows(rows: InputRows, settings: FitSettings, columns: Columns | None) -> CheckedRows:
    """Check the columns of X of a process that has no rows."""
    matrix = validated(rows.X, settings.kind, columns, skip_check_array=True)
    X = matrix.X
    if not (issparse(X) or isinstance(X, Source)):
        X = numpy.asarray(X, settings.dtype)
    y = numpy.asarray(rows.y)
    return CheckedRows(rows._replace(X=X, y=y), matrix.columns, y)


def make_alike(checked: CheckedRows, settings: FitSettings, ranks: Ranks) -> CheckedRows:
    """Return the rows of a process that has rows of its own, with the targets that all processes
    know; those of a process that has none get the columns and the dtype of the others.

    Raises InputError for other columns, where no process has rows, and for targets that one
    process cannot tell.
    """
    X, y, *_ = checked.rows
    _check_dense_single_target(y, settings)
    own_targets = numpy.unique(y) if settings.has_classes and y.ndim == 1 else y[:1]
    agreed = agree_on_rows(RowFacts(X.shape[1], dtype_name(X.dtype), own_targets), ranks)
    if not X.shape[0]:
        X = no_rows(X, agreed.features, agreed.dtype)
        y = agreed.targets[:0]
    return CheckedRows(checked.rows._replace(X=X, y=y), checked.columns, agreed.targets)


def _check_dense_single_target(y: HostTargets, settings: FitSettings) -> None:
    """Raise InputError for targets that processes with rows of their own cannot agree on."""
    if issparse(y):
        raise InputError(
            "`y` must be dense where ranks have rows of their own; got a sparse matrix; pass "
            "y.toarray()."
        )
    if settings.has_classes and y.ndim == 2 and type_of_target(y) == "multiclass-multioutput":
        raise InputError(
            "`y` must hold one target of classes where ranks have rows of their own; got several; "
            "fit one by one."
        )


def no_rows(X: object, features: int, dtype: str) -> Any:
    """Return no rows of the kind of X: an array, a sparse matrix or a source."""
    if issparse(X):
        return csr_matrix((0, features), dtype=dtype)
    empty = numpy.zeros((0, features), dtype)
    return ArraySource(empty) if isinstance(X, Source) else empty
