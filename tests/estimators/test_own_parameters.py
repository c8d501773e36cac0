"""Parameters of the constructor that scikit-learn lacks: dtype, backend, dropout, one value for
each layer.
"""

import pickle
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
from helpers.estimators import SETTINGS, assert_close
from sklearn.base import clone

import xpnet


def test_dropout(data: Any, backend: str) -> None:
    """Another training for other rates, the same for the same seed; predictions leave nothing
    out.
    """
    model = xpnet.MLPClassifier(**{**SETTINGS, "backend": backend, "max_iter": 20})
    plain, half, again, one = (
        clone(model).set_params(dropout=rate).fit(data.X, data.labels)
        for rate in (0.0, 0.5, 0.5, [0.5, 0.0])
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
        model = xpnet.MLPRegressor(**{**SETTINGS, "dtype": dtype, "solver": solver}).fit(
            data.X, data.numbers
        )
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
    for settings in (
        {"activation": ["relu"]},
        {"dropout": [0.1, 0.1, 0.1]},
        {"activation": ["relu", "sine"]},
    ):
        with pytest.raises(ValueError, match="activation|dropout"):
            xpnet.MLPClassifier(**{**SETTINGS, **settings}).fit(data.X, data.labels)


@pytest.mark.parametrize(
    ("parameter", "value", "suggested"),
    [
        ("activation", "swish", "'silu'"),
        ("solver", "lbgfs", "'lbfgs'"),
        ("learning_rate", "adaptve", "'adaptive'"),
        ("class_weight", "balancd", "'balanced'"),
        ("dtype", "float23", "'float32'"),
        ("backend", "nump", "'numpy'"),
    ],
)
def test_a_mistyped_name_gets_a_short_message_with_a_suggestion(
    data: Any, parameter: str, value: str, suggested: str
) -> None:
    with pytest.raises(xpnet.XpnetError) as caught:
        xpnet.MLPClassifier(**{**SETTINGS, parameter: value}).fit(data.X, data.labels)
    message = str(caught.value)
    assert repr(value) in message
    assert message.endswith(f"Did you mean {suggested}?")
    assert len(message.split()) <= 25


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_members(data: Any, backend: str, solver: str, tmp_path: Any) -> None:
    """They train with every solver, are kept in files, copies and pickles, and show their
    parameters.
    """
    settings = {
        **SETTINGS,
        "backend": backend,
        "solver": solver,
        "hidden_layer_sizes": (9,),
        "max_iter": 30,
    }
    model = xpnet.MLPClassifier(**settings, members=4).fit(data.X, data.labels)
    plain = xpnet.MLPClassifier(**settings).fit(data.X, data.labels)
    assert [array.shape for array in model.coefs_] == [
        plain.coefs_[0].shape,
        (4, *plain.coefs_[1].shape),
    ]
    assert [len(array) for array in model.intercepts_] == [4, 4]
    model.save(tmp_path / "model")
    for other in (
        xpnet.load(tmp_path / "model"),
        pickle.loads(pickle.dumps(model)),
        deepcopy(model),
    ):
        # NumPy adds up in another order where a copy is aligned in another way.
        np.testing.assert_allclose(
            other.predict_proba(data.X), model.predict_proba(data.X), rtol=1e-12
        )
    before = model.loss_
    model.set_params(warm_start=True).fit(data.X, data.labels)
    assert model.loss_ < before


def test_members_do_not_begin_with_the_coefficients_of_one_network(data: Any) -> None:
    model = xpnet.MLPRegressor(**SETTINGS).fit(data.X, data.numbers)
    begun = xpnet.MLPRegressor(**SETTINGS, members=2, warm_start=True)
    begun.coefs_, begun.intercepts_, begun.out_activation_ = (
        model.coefs_,
        model.intercepts_,
        "identity",
    )
    with pytest.raises(xpnet.InputError, match="members. must be 1"):
        begun.fit(data.X, data.numbers)
