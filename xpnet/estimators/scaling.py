"""scikit-learn's scalers, fitted to the rows of all ranks of a group."""

from typing import Any

import numpy
from sklearn.base import clone
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, StandardScaler

from xpnet.dispatch import current_ranks
from xpnet.errors import InputError


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
    every = [some for some in ranks.each(_like(clone(scaler).fit(X)) if X.shape[0] else None) if some is not None]
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
