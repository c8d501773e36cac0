"""What the ranks of a group agree on before they train, where each has its own rows: columns, targets, owners."""

from typing import Any

import numpy
from scipy.sparse import csr_matrix, issparse

from xpnet.backend import dtype_name
from xpnet.dispatch import current_ranks
from xpnet.dispatch.groups import Owners
from xpnet.errors import InputError


def agreed_rows(X: Any) -> Any:
    """X, if all ranks with rows have the same columns; a rank without rows has none of those.

    X : (rows, features), floating-point. Raises InputError for other columns, and where no rank has rows.
    """
    ranks = current_ranks()
    if not ranks.own_data:
        return X
    facts = ranks.each((X.shape[0], X.shape[1], dtype_name(X.dtype)))
    kinds = {(features, dtype) for rows, features, dtype in facts if rows}
    if not kinds:
        raise InputError("Training needs at least one row; no rank has any.")
    if len(kinds) > 1:
        received = " and ".join(f"{features} features of {dtype}" for features, dtype in sorted(kinds))
        raise InputError(f"All ranks have the same columns, in one dtype; received {received}. See what each reads.")
    features, dtype = kinds.pop()
    if X.shape[0]:
        return X
    return csr_matrix((0, features), dtype=dtype) if issparse(X) else numpy.zeros((0, features), dtype)


def agreed_targets(y: Any, *, numeric: bool) -> tuple[Any, Any]:
    """y, and rows of it that show every kind of target on all ranks: y itself where no rank has others.

    y : (rows,) or (rows, outputs), on the host; numeric : whether targets are numbers, not labels
    """
    ranks = current_ranks()
    if not ranks.own_data:
        return y, y
    if issparse(y):
        raise InputError("Ranks with rows of their own take dense labels; received a sparse y. Pass y.toarray().")
    shown = ranks.each(y[:1] if numeric or y.ndim == 2 else numpy.unique(y))
    known = numpy.concatenate([some for some in shown if len(some)])
    return y if len(y) else known[:0], known


def balanced_weights(indices: Any, classes: Any) -> dict[Any, float]:
    """Rows / (classes * rows of the class), over all ranks, by class.

    indices : (rows,), of this rank's labels among the classes
    """
    counts = sum(current_ranks().each(numpy.bincount(indices, minlength=len(classes))))
    return dict(zip(classes, counts.sum() / (len(classes) * counts), strict=True))


def strata_of_all(strata: Any) -> Any:
    """What a split keeps in proportion, of the rows of all ranks; None where it keeps nothing."""
    return None if strata is None else numpy.concatenate(current_ranks().each(strata))


def owned(chosen: Any, count: int) -> tuple[Any, Owners]:
    """Which of the chosen rows this rank has, in their order, and who has the others.

    chosen : (n,) int64, indices into the rows of all ranks; count : how many rows this rank has
    returns indices into the rows of this rank, and the owners of the chosen rows, numbered from 0 in their order
    """
    ranks = current_ranks()
    counts = ranks.each(count)
    rank = numpy.repeat(numpy.arange(len(counts)), counts)[chosen]
    index = numpy.empty(len(chosen), "int64")
    for one, rows in enumerate(numpy.bincount(rank, minlength=len(counts))):
        index[rank == one] = numpy.arange(rows)
    return chosen[rank == ranks.rank] - sum(counts[: ranks.rank]), Owners(rank, index)
