"""What the ranks of a group agree on where each has its own rows: columns, targets, owners, and scales."""

from typing import Any

import numpy
from scipy.sparse import csr_matrix, issparse
from sklearn.base import clone
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, StandardScaler

from xpnet.backend import dtype_name
from xpnet.distributed import Ranks, current_ranks
from xpnet.distributed.ranks import Owners
from xpnet.errors import InputError


def agreed_rows(X: Any, ranks: Ranks) -> Any:
    """X, if all ranks with rows have the same columns; a rank without rows has none of those.

    X : (rows, features), floating-point. Raises InputError for other columns, and where no rank has rows.
    """
    if not ranks.own_data:
        return X
    facts = ranks.allgather((X.shape[0], X.shape[1], dtype_name(X.dtype)))
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


def agreed_targets(y: Any, ranks: Ranks, *, numeric: bool) -> tuple[Any, Any]:
    """y, and rows of it that show every kind of target on all ranks: y itself where no rank has others.

    y : (rows,) or (rows, outputs), on the host; numeric : whether targets are numbers, not labels
    """
    if not ranks.own_data:
        return y, y
    if issparse(y):
        raise InputError("Ranks with rows of their own take dense labels; received a sparse y. Pass y.toarray().")
    shown = ranks.allgather(y[:1] if numeric or y.ndim == 2 else numpy.unique(y))
    known = numpy.concatenate([some for some in shown if len(some)])
    return y if len(y) else known[:0], known


def balanced_weights(indices: Any, classes: Any, ranks: Ranks) -> dict[Any, float]:
    """Rows / (classes * rows of the class), over all ranks, by class.

    indices : (rows,), of this rank's labels among the classes
    """
    counts = sum(ranks.allgather(numpy.bincount(indices, minlength=len(classes))))
    return dict(zip(classes, counts.sum() / (len(classes) * counts), strict=True))


def strata_of_all(strata: Any, ranks: Ranks) -> Any:
    """What a split keeps in proportion, of the rows of all ranks, in their order; None where it keeps nothing."""
    if strata is None:
        return None
    every = ranks.allgather(strata)
    joined = numpy.concatenate(every)
    if ranks.owners is None:
        return joined
    before = numpy.cumsum([0, *map(len, every)])
    return joined[before[ranks.owners.rank] + ranks.owners.index]


def owned(chosen: Any, count: int, ranks: Ranks) -> tuple[Any, Owners]:
    """Which of the chosen rows this rank has, in their order, and who has the others.

    chosen : (n,) int64, indices into the rows of all ranks; count : how many rows this rank has
    returns indices into the rows of this rank, and the owners of the chosen rows, numbered from 0 in their order
    """
    counts = ranks.allgather(count)
    owners = ranks.owners
    if owners is None:
        owners = Owners(numpy.repeat(numpy.arange(len(counts)), counts), numpy.concatenate([*map(numpy.arange, counts)]))
    rank, index = owners.rank[chosen], numpy.empty(len(chosen), "int64")
    for one, rows in enumerate(numpy.bincount(rank, minlength=len(counts))):
        index[rank == one] = numpy.arange(rows)
    return owners.index[chosen][rank == ranks.rank], Owners(rank, index)


def fit_scaler(scaler: Any, X: Any) -> Any:
    """Fit a scaler to the rows of all ranks of the group, so that all scale by the same numbers.

    Parameters
    ----------
    scaler : sklearn.preprocessing.StandardScaler, MinMaxScaler or MaxAbsScaler
        The scaler, which is fitted.
    X : array, data frame or sparse matrix, shape (rows, features)
        The rows of this rank, none included. Where all ranks have the same rows, and outside of a group, these are all.

    Returns
    -------
    scaler
        The scaler itself, with the same numbers on every rank.

    Raises
    ------
    InputError
        For other scalers, for NaN, for ranks with other columns, and where no rank has any rows.

    Notes
    -----
    Each rank fits its own rows. It hands on a few rows with the same mean and variance, or the same extremes, to
    which every rank then fits the scaler.

    Examples
    --------
    >>> import numpy
    >>> import xpnet
    >>> from sklearn.preprocessing import StandardScaler
    >>> X = numpy.array([[1.0], [3.0]])
    >>> with xpnet.use_group("mpi", data="own"):  # doctest: +SKIP
    ...     scaler = xpnet.fit_scaler(StandardScaler(), X)
    >>> xpnet.fit_scaler(StandardScaler(), X).mean_
    array([2.])
    """
    ranks = current_ranks()
    if not ranks.own_data:
        return scaler.fit(X)
    if not isinstance(scaler, StandardScaler | MinMaxScaler | MaxAbsScaler):
        raise InputError(
            "Over ranks with rows of their own StandardScaler, MinMaxScaler and MaxAbsScaler can be fitted; received "
            f"{type(scaler).__name__}. Fit it before, to rows that all ranks have."
        )
    every = [some for some in ranks.allgather(_like(clone(scaler).fit(X)) if X.shape[0] else None) if some is not None]
    if len({rows.shape[1] for rows, _, _ in every}) != 1:
        raise InputError("A scaler needs rows on some rank, and the same columns on all of them. See what each reads.")
    rows, weights = (numpy.concatenate(arrays) for arrays in zip(*((r, w) for r, w, _ in every), strict=True))
    scaler.fit(rows, **({"sample_weight": weights} if isinstance(scaler, StandardScaler) else {}))
    if every[0][2] is not None:
        scaler.feature_names_in_ = every[0][2]
    return scaler


def _like(scaler: Any) -> tuple[Any, Any, Any]:
    """Rows (n, features) to which a fitted scaler would be fitted alike, their weights (n,), and its columns' names."""
    names = getattr(scaler, "feature_names_in_", None)
    if numpy.ndim(scaler.n_samples_seen_):
        raise InputError("Training needs finite numbers; X has NaN. Impute it, or leave these rows out.")
    if isinstance(scaler, StandardScaler):
        mean, variance = (
            numpy.zeros(scaler.n_features_in_) if found is None else found for found in (scaler.mean_, scaler.var_)
        )
        spread = numpy.sqrt(variance)
        return numpy.stack([mean - spread, mean + spread]), numpy.full(2, scaler.n_samples_seen_ / 2), names
    extremes = [scaler.data_min_, scaler.data_max_] if isinstance(scaler, MinMaxScaler) else [scaler.max_abs_]
    return numpy.stack(extremes), numpy.ones(len(extremes)), names
