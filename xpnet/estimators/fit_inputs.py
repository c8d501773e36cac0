"""The data that ``fit`` and ``partial_fit`` are called with, and how their rows are opened."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy

from xpnet.data.sources import ArraySource, Source, as_source
from xpnet.distributed.coordinator import Coordinator
from xpnet.models.inputs import check_in_memory, to_host
from xpnet.typing import ArrayLike

if TYPE_CHECKING:
    from xpnet.estimators.mlp import MLP


class RawRows(NamedTuple):
    """Rows as the user has passed them; None for what was left out.

    X : (rows, in), whatever ``fit`` takes
    y : (rows,) or (rows, out), of any library
    weight : (rows,), of any library
    """

    X: ArrayLike | Source | None
    y: ArrayLike | None
    weight: ArrayLike | None = None


class FitInputs(NamedTuple):
    """The data that ``fit`` or ``partial_fit`` is called with, as the user has passed them.

    training : the rows to train on
    validation : the rows to measure on
    classes : the labels that later calls of ``partial_fit`` may bring; None for those of y
    """

    training: RawRows
    validation: RawRows
    classes: ArrayLike | None = None


@dataclass(frozen=True)
class OpenedRows:
    """Rows of the user where checks can read them.

    X : (rows, in), in memory (an array of any library, a sparse matrix, a frame or lists), or a
        source if its rows do not fit a buffer
    y : (rows,) or (rows, out), on the host; None for none
    weight : (rows,), on the host; None for none
    """

    X: Any
    y: ArrayLike | None
    weight: ArrayLike | None

    @property
    def count(self) -> int:
        """Return the number of rows."""
        return count_rows(self.X)


def open_rows(estimator: "MLP", rows: RawRows, coordinator: Coordinator) -> OpenedRows:
    """Return rows with targets and weights on the host, and X in memory or as a source.

    Raises InputError for rows that are neither in this process's memory nor in a source.
    """
    check_in_memory((rows.X, rows.y))
    y = to_host(rows.y)
    weight = to_host(rows.weight)
    return OpenedRows(open_matrix(estimator, rows.X, coordinator), y, weight)


def open_matrix(estimator: "MLP", X: Any, coordinator: Coordinator) -> ArrayLike | Source:
    """Return X in memory, or as a source if its rows do not fit a buffer.

    If one process with rows of its own has a source, all have one, or all have their rows in
    memory.
    """
    takes_all_rows = estimator.solver == "lbfgs"
    if takes_all_rows and isinstance(X, numpy.ndarray):
        return X  # L-BFGS reads all rows of a memory map in place
    # Rows that are split off for validation are copied.
    source = as_source(X, dtype=estimator.dtype, copied=bool(estimator.early_stopping))
    if source is None and (takes_all_rows or coordinator.has_all_rows):
        return X
    if not takes_all_rows:
        rows = count_rows(X if source is None else source)
        buffer_rows = 0 if source is None else source.buffer_rows(estimator.dtype)
        if coordinator.read_by_blocks(rows, buffer_rows):
            return ArraySource(numpy.asarray(X)) if source is None else source
    return X if source is None else source.whole()


def count_rows(X: Any) -> int:
    """Return the number of rows of a source or of data in memory."""
    return X.shape[0] if hasattr(X, "shape") else len(X)
