"""Scalers that are fitted to the rows of all ranks."""

from copy import deepcopy
from typing import Protocol, Self, TypeVar

from sklearn.base import clone

from xpnet.distributed.ranks import current_ranks
from xpnet.errors import InputError


class Shaped(Protocol):
    """An array, a data frame or a sparse matrix."""

    @property
    def shape(self) -> tuple[int, ...]: ...


class Scaler(Protocol):
    """A transformer of scikit-learn that is fitted without targets."""

    def fit(self, X: Shaped, /) -> Self: ...


AnyScaler = TypeVar("AnyScaler", bound=Scaler)
"""The class of a scaler."""


def fit_scaler(scaler: AnyScaler, X: Shaped) -> AnyScaler:
    """Fit a scaler to the rows of all ranks of the group, so that all scale by the same numbers.

    Parameters
    ----------
    scaler : sklearn.preprocessing.StandardScaler, MinMaxScaler or MaxAbsScaler
        The scaler, which is fitted; any other estimator with ``partial_fit`` that needs no targets,
        too.
    X : array, data frame or sparse matrix, shape (rows, features)
        The rows of this rank, none included. Where all ranks have the same rows, and outside of a
        group, these are all.

    Returns
    -------
    scaler
        The scaler itself, with the same numbers on every rank.

    Raises
    ------
    InputError
        For a scaler without ``partial_fit``, and where no rank has any rows.
    ValueError
        For rows that the scaler refuses, such as rows with other columns than those of the ranks
        before.

    Notes
    -----
    One rank after the other calls ``partial_fit`` with its rows, and hands the scaler on.

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
    if ranks.group is None or not ranks.sharded:
        return scaler.fit(X)
    if not hasattr(scaler, "partial_fit"):
        raise InputError(
            "`scaler` must have `partial_fit` where ranks have rows of their own, as "
            f"StandardScaler, MinMaxScaler and MaxAbsScaler have it; got {type(scaler).__name__}; "
            "fit it before, to rows that all ranks have."
        )
    fitted = clone(scaler)
    for rank in range(ranks.group.size):
        if rank == ranks.rank and X.shape[0]:
            # A copy: ranks that are threads of one process have been handed the same scaler.
            fitted = deepcopy(fitted).partial_fit(X)
        fitted = ranks.group.broadcast(fitted, rank=rank)
    if not hasattr(fitted, "n_features_in_"):
        raise InputError("`X` must have at least one row on one rank; got none on every rank.")
    for name, value in vars(fitted).items():
        setattr(scaler, name, value)
    return scaler
