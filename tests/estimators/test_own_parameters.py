"""Parameters of the constructor that scikit-learn lacks: dtype, backend, dropout, one value for each layer."""

from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from trainings import SETTINGS, assert_close

import xpnet


def test_dropout(data: Any, backend: str) -> None:
    """Another training for other rates, the same for the same seed; predictions leave nothing out."""
    model = xpnet.MLPClassifier(**{**SETTINGS, "backend": backend, "max_iter": 20})
    plain, half, again, one = (
        clone(model).set_params(dropout=rate).fit(data.X, data.labels) for rate in (0.0, 0.5, 0.5, [0.5, 0.0])
    )
    assert_close(half, again.coefs_)
    assert all(np.abs(half.coefs_[0] - other.coefs_[0]).max() > 1e-3 for other in (plain, one))
    np.testing.assert_array_equal(half.predict_proba(data.X), half.predict_proba(data.X))
    # Units that are left out at random cannot fit the rows as well.
    assert half.loss_ > plain.loss_


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype(data: Any, dtype: str) -> None:
    """The width that was asked for, whatever the data."""
    for solver in ("adam", "lbfgs"):
        model = xpnet.MLPRegressor(**{**SETTINGS, "dtype": dtype, "solver": solver}).fit(data.X, data.numbers)
        assert model.dtype_ == dtype == model.coefs_[0].dtype


def test_backend_is_named(data: Any) -> None:
    """An argument decides, and the estimator says so."""
    model = xpnet.MLPClassifier(**SETTINGS).fit(data.X, data.labels)
    assert model.backend_ == "numpy"
    assert "named by the backend argument" in model.why_
    with pytest.raises(xpnet.BackendError, match="nowhere"):
        xpnet.MLPClassifier(backend="nowhere").fit(data.X, data.labels)


def test_backend_of_the_context(data: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """use_backend and XPNET_BACKEND decide where fit computes; predictions outside go on there."""
    settings = {name: value for name, value in SETTINGS.items() if name != "backend"}
    model = xpnet.MLPRegressor(**settings)
    with xpnet.use_backend("numpy"):
        model.fit(data.X, data.numbers)
    assert model.backend_ == "numpy"
    expected = model.predict(data.X)
    monkeypatch.setenv("XPNET_BACKEND", "numpy")
    np.testing.assert_array_equal(clone(model).fit(data.X, data.numbers).predict(data.X), expected)


def test_sequences_fit_the_layers(data: Any) -> None:
    """One activation and one rate for each hidden layer."""
    for settings in ({"activation": ["relu"]}, {"dropout": [0.1, 0.1, 0.1]}, {"activation": ["relu", "sine"]}):
        with pytest.raises(ValueError, match="activation|dropout"):
            xpnet.MLPClassifier(**{**SETTINGS, **settings}).fit(data.X, data.labels)
