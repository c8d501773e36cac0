"""Arrays of every library: computed there, the same kind out, the same numbers."""

import pickle
from typing import Any

import numpy as np
import pytest
from helpers import libraries

import xpnet
from xpnet.dispatch.choose import by_arrays

# Two batches of one shape: JAX compiles every operation anew for each shape it meets.
SETTINGS: dict[str, Any] = {
    "hidden_layer_sizes": 9,
    "max_iter": 3,
    "random_state": 5,
    "batch_size": 65,
}


@pytest.fixture(params=[p for p in libraries.params() if p.values[0].backend is None])
def foreign(request: pytest.FixtureRequest) -> libraries.Library:
    """The libraries whose arrays are not NumPy's: those are what all the other tests are about."""
    return request.param


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"solver": "lbfgs"},
        {"early_stopping": True, "validation_fraction": 0.5},
        {"dropout": 0.2, "max_grad_norm": 0.5},
    ],
    ids=["adam", "lbfgs", "early stopping", "dropout and clipping"],
)
def test_classifier(data: Any, foreign: Any, settings: Any) -> None:
    """fit, predict and score where the arrays are."""
    X, y = foreign.make(data.X), foreign.make(data.counts)
    model = xpnet.MLPClassifier(**SETTINGS, **settings).fit(X, y, foreign.make(data.weight))
    expected = xpnet.MLPClassifier(backend="numpy", **SETTINGS, **settings).fit(
        data.X, data.counts, data.weight
    )
    for name in ("predict", "predict_proba", "predict_log_proba"):
        answer = getattr(model, name)(X)
        assert type(answer) is type(X)
        np.testing.assert_allclose(
            foreign.numpy(answer), getattr(expected, name)(data.X), rtol=1e-8, atol=1e-10
        )
    assert model.score(X, y) == expected.score(data.X, data.counts)
    assert model.backend_ == foreign.name.partition("-")[0]
    assert model.device_ == by_arrays(X).backend.device(X)


@pytest.mark.parametrize(
    ("dtype", "target", "rtol"), [("float64", "outputs", 1e-8), ("float32", "numbers", 1e-3)]
)
def test_regressor(data: Any, foreign: Any, dtype: str, target: str, rtol: float) -> None:
    """One output and two, in the width of the data."""
    X, y = data.X.astype(dtype), getattr(data, target).astype(dtype)
    model = xpnet.MLPRegressor(**SETTINGS).fit(foreign.make(X), foreign.make(y))
    answer = model.predict(foreign.make(X))
    assert tuple(answer.shape) == y.shape
    assert answer.dtype == foreign.make(X).dtype
    expected = xpnet.MLPRegressor(backend="numpy", **SETTINGS).fit(X, y)
    np.testing.assert_allclose(foreign.numpy(answer), expected.predict(X), rtol=rtol, atol=rtol)


def test_attributes_are_numpy(data: Any, foreign: Any) -> None:
    """coefs_ can be read anywhere; writing into what is only a copy is refused, assigning works."""
    X = foreign.make(data.X)
    model = xpnet.MLPRegressor(**SETTINGS).fit(X, foreign.make(data.numbers))
    assert {type(array) for array in model.coefs_ + model.intercepts_} == {np.ndarray}
    with pytest.raises(ValueError, match="read-only"):
        model.coefs_[0][:] = 0
    model.coefs_[-1], model.intercepts_[-1] = np.zeros((9, 1)), np.array([2.0])
    np.testing.assert_array_equal(foreign.numpy(model.predict(X)), np.full(130, 2.0))


def test_moving(data: Any, foreign: Any) -> None:
    """Another library's rows are refused until the estimator has moved; it then continues with its
    optimizer.
    """
    X, y = foreign.make(data.X), foreign.make(data.numbers)
    model, expected = (
        xpnet.MLPRegressor(**SETTINGS),
        xpnet.MLPRegressor(backend="numpy", **SETTINGS),
    )
    model.fit(X, y)
    with pytest.raises(xpnet.MixedArraysError, match=r"\.to\(X\)"):
        model.predict(data.X)
    with pytest.raises(xpnet.MixedArraysError):
        model.partial_fit(data.X, data.numbers)
    assert model.to("numpy") is model
    assert (model.backend_, model.device_) == ("numpy", "cpu")
    model.partial_fit(data.X, data.numbers)
    expected.fit(data.X, data.numbers).partial_fit(data.X, data.numbers)
    np.testing.assert_allclose(
        model.predict(data.X), expected.predict(data.X), rtol=1e-8, atol=1e-10
    )
    answer = model.to(X).predict(X)
    assert type(answer) is type(X)
    np.testing.assert_allclose(
        foreign.numpy(answer), expected.predict(data.X), rtol=1e-8, atol=1e-10
    )


def test_labels_that_are_words(data: Any, foreign: Any) -> None:
    """No array library has strings, so they come from the host and go back there."""
    X = foreign.make(data.X)
    model = xpnet.MLPClassifier(**SETTINGS).fit(X, data.labels)
    assert isinstance(model.predict(X), np.ndarray)
    assert set(model.predict(X)) <= set(data.labels)
    assert model.score(X, data.labels) > 0


def test_several_labels(data: Any, foreign: Any) -> None:
    """An indicator matrix in, one of the same kind out."""
    X = foreign.make(data.X)
    model = xpnet.MLPClassifier(**SETTINGS).fit(X, foreign.make(data.indicators))
    expected = xpnet.MLPClassifier(backend="numpy", **SETTINGS).fit(data.X, data.indicators)
    assert type(model.predict(X)) is type(X)
    np.testing.assert_array_equal(foreign.numpy(model.predict(X)), expected.predict(data.X))


def test_pickles_go_anywhere(data: Any, foreign: Any) -> None:
    """A pickled estimator has no home until rows arrive."""
    model = xpnet.MLPRegressor(**SETTINGS).fit(foreign.make(data.X), foreign.make(data.numbers))
    twin = pickle.loads(pickle.dumps(model))
    np.testing.assert_allclose(
        twin.predict(data.X), foreign.numpy(model.predict(foreign.make(data.X))), rtol=1e-8
    )


def test_a_named_backend_converts(data: Any, foreign: Any) -> None:
    """With backend= arrays of any library are brought there."""
    model = xpnet.MLPRegressor(backend="numpy", **SETTINGS).fit(
        foreign.make(data.X), foreign.make(data.numbers)
    )
    expected = xpnet.MLPRegressor(backend="numpy", **SETTINGS).fit(data.X, data.numbers)
    np.testing.assert_array_equal(model.predict(data.X), expected.predict(data.X))


@pytest.mark.parametrize(
    ("spoil", "word"),
    [
        (lambda X: X[0], "matrix"),
        (lambda X: X * np.nan, "finite"),
        (lambda X: X[:, :5], "features"),
        (lambda X: X[:0], "empty"),
    ],
)
def test_bad_rows_of_other_libraries_are_refused(
    data: Any, foreign: Any, spoil: Any, word: str
) -> None:
    """The same rules as for NumPy arrays."""
    model = xpnet.MLPRegressor(**SETTINGS).fit(foreign.make(data.X), foreign.make(data.numbers))
    with pytest.raises(ValueError, match=word):
        model.predict(foreign.make(spoil(data.X)))
