"""The data that ``fit`` and ``partial_fit`` are called with, and how their rows are opened."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy

from xpnet.data.sources import ArraySource, Source, as_source
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

    X : (rows, in), a source, or data in memory: an array of any library, a sparse matrix, a frame
        or lists
    y : (rows,) or (rows, out), on the host; None for none
    weight : (rows,), on the host; None for none
    """

    X: Any
    y: ArrayLike | None
    weight: ArrayLike | None

    @property
    def count(self) -> int:
        """Return the number of rows."""
        return self.X.shape[0] if hasattr(self.X, "shape") else len(self.X)

    def buffer_rows(self, dtype: str | None) -> int:
        """Return how many rows of a source fit a buffer; 0 for rows in memory.

        dtype : in which the rows are computed; None for that of X, or float32 if it is narrower
        """
        if not isinstance(self.X, Source):
            return 0
        return self.X.buffer_rows(dtype or numpy.result_type(self.X.dtype, numpy.float32))

    def matrix(self, *, by_blocks: bool) -> ArrayLike | Source:
        """Return X as a source where it is read block by block, and otherwise in memory."""
        if isinstance(self.X, Source):
            return self.X if by_blocks else self.X.whole()
        return ArraySource(numpy.asarray(self.X)) if by_blocks else self.X


def open_rows(estimator: "MLP", rows: RawRows) -> OpenedRows:
    """Return rows with targets and weights on the host, and X as a source where it is one or is too
    large to be copied.

    Raises InputError for what lies neither in this process's memory nor in a source.
    """
    check_in_memory((rows.X, rows.y))
    y = to_host(rows.y)
    weight = to_host(rows.weight)
    if estimator.solver == "lbfgs" and isinstance(rows.X, numpy.ndarray):
        return OpenedRows(rows.X, y, weight)  # L-BFGS takes all rows of a memory map as they lie
    # Rows that are split off for validation are copied.
    source = as_source(rows.X, dtype=estimator.dtype, copied=bool(estimator.early_stopping))
    return OpenedRows(rows.X if source is None else source, y, weight)
