"""A scaler fitted on several ranks scales as one that was fitted to all rows."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers.ranks.threads_group import ThreadsGroup, on_ranks
from scipy import sparse
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler

import xpnet

ENDS = (0, 41, 41, 60)
"""Rank k has the rows from ENDS[k] to ENDS[k + 1]: one rank has none."""


def rows() -> Any:
    """X (60, 4), the last two columns constant on all ranks and on one."""
    rng = np.random.default_rng(8)
    X = rng.normal(3.0, 20.0, size=(60, 4))
    X[:, 2], X[:41, 3] = 7.3, 2.5
    return X


def part(X: Any, rank: int) -> Any:
    return X[ENDS[rank] : ENDS[rank + 1]]


@pytest.mark.parametrize(
    "scaler",
    [
        StandardScaler(),
        StandardScaler(with_mean=False),
        StandardScaler(with_std=False),
        MinMaxScaler(),
        MaxAbsScaler(),
    ],
    ids=str,
)
def test_all_ranks_scale_as_one_process(scaler: Any) -> None:
    X, expected = rows(), scaler.fit_transform(rows())
    found = on_ranks(
        3,
        lambda group: xpnet.fit_scaler(type(scaler)(**scaler.get_params()), part(X, group.rank)),
        data="own",
    )
    for fitted in found:
        np.testing.assert_allclose(fitted.transform(X), expected, rtol=1e-12, atol=1e-13)
        assert np.array_equal(fitted.transform(X), found[0].transform(X))
        assert fitted.n_features_in_ == 4


def test_sparse_rows_and_names_of_columns() -> None:
    X = np.where(rows() > 5, rows(), 0)
    expected = MaxAbsScaler().fit(X).scale_
    for fitted in on_ranks(
        3,
        lambda group: xpnet.fit_scaler(MaxAbsScaler(), part(sparse.csr_matrix(X), group.rank)),
        data="own",
    ):
        np.testing.assert_array_equal(fitted.scale_, expected)
    frame = pd.DataFrame(X, columns=list("abcd"))
    for fitted in on_ranks(
        3, lambda group: xpnet.fit_scaler(StandardScaler(), part(frame, group.rank)), data="own"
    ):
        assert fitted.feature_names_in_.tolist() == list("abcd")


def test_without_rows_of_their_own_it_is_the_scalers_fit() -> None:
    X = rows()
    expected = StandardScaler().fit(X)
    assert np.array_equal(xpnet.fit_scaler(StandardScaler(), X).mean_, expected.mean_)
    for fitted in on_ranks(2, lambda group: xpnet.fit_scaler(RobustScaler(), X)):
        assert np.array_equal(fitted.center_, RobustScaler().fit(X).center_)


def test_missing_values_are_left_out_on_every_rank() -> None:
    X = np.where(rows() > 30, np.nan, rows())
    expected = StandardScaler().fit(X)
    for fitted in on_ranks(
        3, lambda group: xpnet.fit_scaler(StandardScaler(), part(X, group.rank)), data="own"
    ):
        np.testing.assert_allclose(fitted.mean_, expected.mean_, rtol=1e-12)
        np.testing.assert_allclose(fitted.scale_, expected.scale_, rtol=1e-12)


@pytest.mark.parametrize(
    "scaler, change, said",
    [
        (
            RobustScaler(),
            lambda X, rank: part(X, rank),
            "StandardScaler, MinMaxScaler and MaxAbsScaler",
        ),
        (StandardScaler(), lambda X, rank: X[:0], "at least one row on one rank"),
    ],
)
def test_unsuitable_scalers_and_rows_are_refused_by_all_ranks(
    scaler: Any, change: Any, said: str
) -> None:
    def work(group: ThreadsGroup) -> None:
        with pytest.raises(ValueError, match=said):
            xpnet.fit_scaler(scaler, change(rows(), group.rank))

    on_ranks(2, work, data="own")
