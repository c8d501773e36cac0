"""Predictions from several threads, of many rows, and of rows that are refused."""

import pickle
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pandas
import pytest
from helpers.estimators import SETTINGS

import xpnet
from xpnet.estimators import checks


def test_threads_share_an_estimator(data: Any, backend: str) -> None:
    """Predictions from many threads at once are those of one."""
    model = xpnet.MLPClassifier(**{**SETTINGS, "backend": backend, "activation": "tanh"}).fit(
        data.X, data.labels
    )
    alone = [model.predict_proba(data.X[k:]) for k in range(16)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda k: model.predict_proba(data.X[k:]), range(16)))
    for a, b in zip(alone, together, strict=True):
        np.testing.assert_array_equal(a, b)


def test_many_rows_are_predicted_as_few_are(data: Any, backend: str) -> None:
    """Many rows go through a training step: by the estimator that trained, its copy, and with
    assigned parameters.
    """
    model = xpnet.MLPClassifier(**{**SETTINGS, "backend": backend}).fit(data.X, data.labels)
    rows = np.tile(data.X, (20, 1))
    assert len(rows) > 2048

    def assert_agrees(estimator: Any) -> None:
        few, many = estimator.predict_proba(data.X), estimator.predict_proba(rows)
        np.testing.assert_allclose(many, np.tile(few, (20, 1)), rtol=1e-10)

    assert_agrees(model)
    np.testing.assert_array_equal(
        pickle.loads(pickle.dumps(model)).predict_proba(rows), model.predict_proba(rows)
    )
    before = model.predict_proba(rows)
    model.coefs_[0] = model.coefs_[0] * 0.5
    assert_agrees(model)
    assert not np.allclose(model.predict_proba(rows), before)


@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf])
def test_one_bad_value_among_many_rows_is_refused(special: float, data: Any) -> None:
    model = xpnet.MLPClassifier(**{**SETTINGS, "backend": "numba"}).fit(data.X, data.counts)
    rows = np.tile(data.X, (3000 // len(data.X) + 1, 1))
    expected = model.predict_proba(rows)
    rows[len(rows) // 2, -1] = special
    with pytest.raises(ValueError, match=r"Input X contains (NaN|infinity)"):
        model.predict_proba(rows)
    rows[len(rows) // 2, -1] = data.X[len(rows) // 2 % len(data.X), -1]
    np.testing.assert_array_equal(model.predict_proba(rows), expected)
    with pytest.raises(ValueError, match="features"):
        model.predict_proba(rows[:, 1:])


def test_the_reference_step_looks_at_some_rows_at_a_time(rng: np.random.Generator) -> None:
    """Rows that lie in a file are neither converted nor examined as a whole; the outputs are those
    of their parts.
    """
    X = rng.integers(0, 9, (60_000, 40)).astype(np.uint8)
    model = xpnet.MLPClassifier(**{**SETTINGS, "backend": "numpy", "dtype": "float32"})
    model.fit(X[:100].astype(np.float32), X[:100, 0] > 4)
    tracemalloc.start()
    found = model.predict_proba(X)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < X.size * 2  # as float32 it has four bytes a number
    np.testing.assert_array_equal(found, model.predict_proba(X.astype(np.float32)))
    last = X.astype(np.float32)
    last[-1, -1] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        model.predict_proba(last)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
def test_a_frame_is_predicted_as_its_matrix(data: Any, dtype: str) -> None:
    """A frame of the fit's columns, all of one dtype, is taken as a matrix without a check."""
    frame = pandas.DataFrame(data.X * 10, columns=[f"c{k}" for k in range(data.X.shape[1])])
    frame = frame.astype(dtype)
    model = xpnet.MLPClassifier(**SETTINGS).fit(frame, data.labels)
    of_arrays = xpnet.MLPClassifier(**SETTINGS).fit(frame.to_numpy(), data.labels)
    expected = of_arrays.predict_proba(frame.to_numpy())
    np.testing.assert_array_equal(model.predict_proba(frame), expected)
    mixed = frame.astype({"c0": "float64"})
    of_mixed = of_arrays.predict_proba(mixed.to_numpy())
    np.testing.assert_array_equal(model.predict_proba(mixed), of_mixed)
    for other in (frame[frame.columns[::-1]], frame.rename(columns={"c0": "d"})):
        with pytest.raises(ValueError, match="feature names"):
            model.predict_proba(other)
    with pytest.raises(ValueError, match="NaN"):
        model.predict(frame.astype("float64").assign(c1=np.nan))
    with pytest.warns(UserWarning, match="feature names"):
        model.predict(frame.to_numpy())


def test_a_frame_of_the_fit_is_not_checked_by_scikit_learn(
    data: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check takes several times longer than the prediction of a row."""
    frame = pandas.DataFrame(data.X, columns=[f"c{k}" for k in range(data.X.shape[1])])
    model = xpnet.MLPClassifier(**SETTINGS).fit(frame, data.labels)
    expected = model.predict(frame)
    monkeypatch.setattr(checks, "validate_data", None)
    np.testing.assert_array_equal(model.predict(frame), expected)
