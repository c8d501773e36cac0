"""Models without hidden layers show the coefficients that scikit-learn's linear models find."""

from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.feature_selection import SelectFromModel
from sklearn.linear_model import LogisticRegression, PoissonRegressor, Ridge
from sklearn.preprocessing import scale

import xpnet

LINEAR: dict[str, Any] = {
    "hidden_layer_sizes": (),
    "solver": "lbfgs",
    "tol": 1e-12,
    "max_iter": 5000,
    "max_fun": 100_000,
}
TOLERANCE = 1e-3
"""SciPy's L-BFGS ends where the loss falls by less than 2e-9 of it, so that coefficients, on which
it depends by their squares, are this near to those of a longer search.
"""


@pytest.mark.parametrize("load", [load_breast_cancer, load_iris])
def test_coefficients_of_classes_are_those_of_logistic_regression(load: Any) -> None:
    X, y = load(return_X_y=True)
    X = scale(X)
    ours = xpnet.MLPClassifier(alpha=2.0, **LINEAR).fit(X, y)
    theirs = LogisticRegression(C=1 / 2.0, tol=1e-10, max_iter=10_000).fit(X, y)
    assert ours.coef_.shape == theirs.coef_.shape
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=TOLERANCE)
    # Softmax is the same with a number added to all intercepts, which no penalty decides.
    for model in (ours, theirs):
        assert model.intercept_.shape == ((1,) if len(model.classes_) == 2 else (3,))
    shift = (ours.intercept_ - theirs.intercept_).mean() if len(ours.classes_) > 2 else 0.0
    np.testing.assert_allclose(ours.intercept_ - shift, theirs.intercept_, atol=TOLERANCE)


def test_coefficients_of_counts_are_those_of_poisson_regression() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 3))
    y = rng.poisson(np.exp(X @ [0.5, -0.3, 0.0] + 0.4))
    # scikit-learn penalises by alpha / 2 each row, this package by alpha / 2 / rows.
    ours = xpnet.MLPRegressor(loss="poisson", alpha=3.0, **LINEAR).fit(X, y)
    theirs = PoissonRegressor(alpha=3.0 / 300, tol=1e-10, max_iter=10_000).fit(X, y)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=TOLERANCE)
    assert ours.coef_.shape == (3,)
    assert ours.intercept_ == pytest.approx(theirs.intercept_, abs=TOLERANCE)
    assert ours.score(X, y, scoring="d2") == pytest.approx(theirs.score(X, y), abs=1e-6)


@pytest.mark.parametrize("targets", [1, 2])
def test_coefficients_of_numbers_are_those_of_ridge_regression(targets: int) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 4))
    Y = X @ rng.normal(size=(4, targets)) + rng.normal(size=(200, targets)) + 3
    y = Y[:, 0] if targets == 1 else Y
    ours = xpnet.MLPRegressor(alpha=1.5, **LINEAR).fit(X, y)
    theirs = Ridge(alpha=1.5).fit(X, y)
    assert ours.coef_.shape == theirs.coef_.shape
    assert np.shape(ours.intercept_) == np.shape(theirs.intercept_)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=TOLERANCE)
    np.testing.assert_allclose(X @ ours.coef_.T + ours.intercept_, ours.predict(X), rtol=1e-10)


def test_columns_are_selected_by_coefficients() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 6))
    model = xpnet.MLPRegressor(**LINEAR).fit(X, 5 * X[:, 2] + X[:, 0])
    assert SelectFromModel(model, max_features=1, prefit=True).get_support().nonzero()[0] == [2]


def test_models_that_are_not_linear_have_no_coefficients() -> None:
    X, y = load_iris(return_X_y=True)
    assert not hasattr(xpnet.MLPClassifier(), "coef_")
    model = xpnet.MLPClassifier((7,), max_iter=1, solver="sgd").fit(X, y)
    for name in ("coef_", "intercept_"):
        with pytest.raises(AttributeError, match=r"hidden_layer_sizes=\(\).*\(7,\)"):
            getattr(model, name)
    members = xpnet.MLPClassifier((), members=3, max_iter=1, solver="sgd").fit(X, y)
    with pytest.raises(AttributeError, match="3 members"):
        _ = members.coef_
