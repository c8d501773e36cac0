"""Estimators that train on the workers of a Dask cluster."""

import os
import threading
import time
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

import xpnet
from xpnet.errors import BackendError, InputError

pytest.importorskip("distributed", reason="dask and distributed are not installed")
import dask.array  # noqa: E402
import dask.dataframe  # noqa: E402
import joblib  # noqa: E402
import pandas as pd  # noqa: E402
import psutil  # noqa: E402
from distributed import Client, LocalCluster  # noqa: E402

import xpnet.dask  # noqa: E402

SETTINGS: dict[str, Any] = {"hidden_layer_sizes": 9, "max_iter": 4, "batch_size": 16, "random_state": 0, "timeout": 60}

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """A cluster of two processes."""
    with (
        warnings.catch_warnings(),
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        yield client


def rows() -> tuple[Any, Any]:
    """X (150, 5), labels (150,)."""
    rng = np.random.default_rng(4)
    y = rng.integers(0, 3, 150)
    return rng.normal(size=(150, 5)) + y[:, None], y


def in_blocks(*arrays: Any) -> list[Any]:
    """Dask arrays; one of the blocks is empty."""
    sizes = (40, 60, 0, 50)
    return [dask.array.from_array(a, chunks=(sizes, *a.shape[1:])) for a in arrays]


def plain(kind: type, **settings: Any) -> Any:
    """The estimator without Dask, with the same settings."""
    return kind(**{name: value for name, value in (SETTINGS | settings).items() if name not in ("client", "timeout")})


@pytest.mark.parametrize("settings", [{}, {"early_stopping": True}, {"solver": "lbfgs"}, {"class_weight": "balanced"}])
def test_a_classifier_finds_what_it_finds_without_dask(client: Any, settings: dict[str, Any]) -> None:
    X, y = rows()
    X_blocks, y_blocks, weight = in_blocks(X, y, np.linspace(1, 2, 150))
    found = xpnet.dask.MLPClassifier(client=client, **SETTINGS, **settings).fit(X_blocks, y_blocks, weight)
    expected = plain(xpnet.MLPClassifier, **settings).fit(X, y, np.linspace(1, 2, 150))
    for a, b in zip((*found.coefs_, *found.intercepts_), (*expected.coefs_, *expected.intercepts_), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)
    probabilities = found.predict_proba(X_blocks)
    assert isinstance(probabilities, dask.array.Array) and probabilities.shape == (150, 3)
    np.testing.assert_allclose(probabilities.compute(), expected.predict_proba(X), rtol=1e-9)
    assert np.array_equal(found.predict(X_blocks).compute(), expected.predict(X))
    assert found.score(X_blocks, y_blocks) == expected.score(X, y) == found.score(X, y)


def test_a_regressor_of_frames(client: Any) -> None:
    X, y = rows()
    frame = pd.DataFrame(X, columns=list("abcde")).assign(y=y * 2.0)
    blocks = dask.dataframe.from_pandas(frame, npartitions=3)
    model = xpnet.dask.MLPRegressor(client=client, **SETTINGS).fit(blocks[list("abcde")], blocks["y"])
    expected = plain(xpnet.MLPRegressor).fit(frame[list("abcde")], frame["y"])
    predictions = model.predict(blocks[list("abcde")])
    assert predictions.npartitions == 3
    np.testing.assert_allclose(predictions.compute(), expected.predict(frame[list("abcde")]), rtol=1e-9)
    assert list(model.feature_names_in_) == list("abcde")


def test_what_is_no_collection_or_cut_differently(client: Any) -> None:
    X, y = rows()
    model = xpnet.dask.MLPClassifier(client=client, **SETTINGS)
    with pytest.raises(InputError, match="received ndarray"):
        model.fit(X, y)
    frame = dask.dataframe.from_pandas(pd.DataFrame(X), npartitions=3)
    with pytest.raises(InputError, match="Repartition"):
        model.fit(frame, dask.dataframe.from_pandas(pd.Series(y), npartitions=2))


@pytest.mark.parametrize("kind", ["array", "frame"])
def test_estimators_without_dask_say_where_to_go(kind: str) -> None:
    X, y = rows()
    X_blocks, y_blocks = in_blocks(X, y)
    if kind == "frame":
        X_blocks = dask.dataframe.from_pandas(pd.DataFrame(X), npartitions=2)
    for call in (
        lambda: xpnet.MLPClassifier().fit(X_blocks, y_blocks),
        lambda: plain(xpnet.MLPClassifier).fit(X, y).predict(X_blocks),
        lambda: xpnet.FeedforwardNeuralNet(5, 4, 3).fit(X_blocks, y, epochs=1),
    ):
        with pytest.raises(InputError, match="Train with xpnet.dask"):
            call()


def test_a_rank_that_fails_is_named(client: Any) -> None:
    X, y = rows()
    X[-1, 0] = np.nan
    X_blocks, y_blocks = in_blocks(X, y)
    with pytest.raises(ValueError, match="NaN"):
        xpnet.dask.MLPClassifier(client=client, **SETTINGS).fit(X_blocks, y_blocks)


def test_copies_keep_the_client(client: Any) -> None:
    model = xpnet.dask.MLPClassifier((7,), client=client, timeout=5)
    twin = clone(model)
    assert twin.client is client and twin.timeout == 5 and twin.hidden_layer_sizes == (7,)


def test_a_search_over_parameters_on_joblibs_backend(client: Any) -> None:
    X, y = rows()
    search = GridSearchCV(xpnet.MLPClassifier(max_iter=3, random_state=0), {"alpha": [0.0, 1.0]}, cv=2)
    with joblib.parallel_backend("dask", client=client):
        search.fit(X, y)
    assert search.cv_results_["mean_test_score"].shape == (2,)


def test_a_worker_that_is_lost_ends_the_fit() -> None:
    X, y = rows()
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        X_blocks, y_blocks = in_blocks(X, y)
        endless = {**SETTINGS, "max_iter": 100_000, "n_iter_no_change": 100_000}
        model = xpnet.dask.MLPClassifier(client=client, **endless)
        raised: list[BaseException] = []

        def fit() -> None:
            try:
                model.fit(X_blocks, y_blocks)
            except BaseException as error:  # noqa: BLE001  looked at below
                raised.append(error)

        thread = threading.Thread(target=fit)
        thread.start()
        while len([key for keys in client.processing().values() for key in keys if "_rank" in key]) < 2:
            time.sleep(0.1)
        time.sleep(1)
        psutil.Process(client.run(os.getpid)[sorted(client.nthreads())[1]]).kill()
        thread.join(60)
        assert not thread.is_alive()
    assert isinstance(raised[0], BackendError), raised
    assert "rank 1 of 2, was lost" in str(raised[0])
