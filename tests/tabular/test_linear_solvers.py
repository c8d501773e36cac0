"""The solvers of linear baselines have scikit-learn's results, end in time, and say nothing."""

import functools
import warnings
from typing import Any

import numpy
import pytest
from scipy.sparse import csr_array
from scipy.special import softmax
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.tree import DecisionTreeClassifier

import xpnet
from xpnet.ops import ordered
from xpnet.tabular.ensemble.linear import solvers
from xpnet.tabular.ensemble.linear.baseline import numbers_of_columns, sums_of_inputs
from xpnet.tabular.ensemble.linear.solvers import (
    fit_logistics,
    fit_ordered_logistics,
    fit_ridges,
)

RNG = numpy.random.default_rng(0)
X = RNG.normal(size=(300, 4))
WEIGHTS = [None, RNG.uniform(0.1, 3.0, 300)]


@pytest.mark.parametrize("weight", WEIGHTS, ids=["equal", "weighted"])
def test_ridges_are_those_of_scikit_learn(weight: Any) -> None:
    Y = X @ RNG.normal(size=(4, 2)) + RNG.normal(size=(300, 2)) + 5
    for penalty, model in zip(
        [0.1, 30.0], fit_ridges(X, Y, weight, numpy.array([0.1, 30.0])), strict=True
    ):
        expected = Ridge(penalty).fit(X, Y, weight)
        numpy.testing.assert_allclose(model.outputs(X), expected.predict(X), rtol=1e-8)


@pytest.mark.parametrize("weight", WEIGHTS, ids=["equal", "weighted"])
@pytest.mark.parametrize("classes", [2, 4])
def test_a_logistic_regression_is_that_of_scikit_learn(classes: int, weight: Any) -> None:
    labels = (X @ RNG.normal(size=(4, classes)) + RNG.gumbel(size=(300, classes))).argmax(axis=1)
    expected = LogisticRegression(tol=1e-8, max_iter=1000).fit(X, labels, weight)
    (model,) = fit_logistics(X, labels, weight, [1.0], classes=classes, deadline=numpy.inf)
    numpy.testing.assert_allclose(
        softmax(model.outputs(X), axis=1), expected.predict_proba(X), atol=2e-3
    )


def test_an_ordered_logistic_regression_is_the_ordered_model_of_statsmodels() -> None:
    ordinal = pytest.importorskip("statsmodels.miscmodels.ordinal_model")
    rng = numpy.random.default_rng(1)
    ranks = numpy.digitize(X @ [1.0, -2.0, 0.5, 0.0] + rng.logistic(size=300), [-1.5, 0, 2])
    (model,) = fit_ordered_logistics(X, ranks, None, [1e-9], classes=4, deadline=numpy.inf)
    theirs = ordinal.OrderedModel(ranks, X, distr="logit")
    fitted = theirs.fit(method="bfgs", disp=0, gtol=1e-9)
    # The gradient of the mean loss ends below 1e-4, theirs below 1e-9.
    numpy.testing.assert_allclose(
        ordered(model.outputs(X)), theirs.predict(fitted.params, exog=X), atol=2e-3
    )


@pytest.mark.parametrize("weight", WEIGHTS, ids=["equal", "weighted"])
@pytest.mark.parametrize("penalty", [0.1, 100.0])
def test_of_two_ordered_classes_it_is_the_logistic_regression_of_scikit_learn(
    weight: Any, penalty: float
) -> None:
    labels = (X @ [1.0, -2.0, 0.5, 0.0] + RNG.logistic(size=300) > 0.5).astype(int)
    expected = LogisticRegression(C=1 / penalty, tol=1e-8, max_iter=1000).fit(X, labels, weight)
    (model,) = fit_ordered_logistics(X, labels, weight, [penalty], classes=2, deadline=numpy.inf)
    numpy.testing.assert_allclose(ordered(model.outputs(X)), expected.predict_proba(X), atol=2e-3)


def test_weights_of_an_ordered_logistic_regression_are_repeated_rows() -> None:
    rng = numpy.random.default_rng(2)
    ranks, times = rng.integers(0, 3, 300), rng.integers(1, 4, 300)
    shares = numpy.eye(3)[ranks]
    weighted, repeated, of_shares = (
        fit_ordered_logistics(*rows, [10.0], classes=3, deadline=numpy.inf)[0].outputs(X)
        for rows in (
            (X, ranks, times.astype(float)),
            (X.repeat(times, axis=0), ranks.repeat(times), None),
            (X, shares, times.astype(float)),
        )
    )
    numpy.testing.assert_allclose(weighted, repeated, atol=1e-6)
    numpy.testing.assert_allclose(weighted, of_shares, atol=1e-6)


class FlaggedProducts(numpy.ndarray):
    """Rows whose products raise the flag of an invalid operation, as OpenBLAS's do at times."""

    def __matmul__(self, other: Any) -> numpy.ndarray:
        numpy.subtract(numpy.inf, numpy.inf)
        return numpy.asarray(self) @ other


def test_a_flag_of_a_product_of_finite_numbers_is_no_warning() -> None:
    labels = (X[:, 0] > 0).astype(int)
    flagged, expected = (
        fit_logistics(rows, labels, None, [1.0], classes=2, deadline=numpy.inf)[0]
        for rows in (X.view(FlaggedProducts), X)
    )
    numpy.testing.assert_array_equal(flagged.weights, expected.weights)


def test_a_logistic_regression_ends_with_the_iteration_under_way_at_its_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    labels = (X[:, 0] + X[:, 1] ** 2 > 1).astype(int)
    (late,) = fit_logistics(X, labels, None, [1.0, 10.0], classes=2, deadline=0.0)
    monkeypatch.setattr(solvers, "MAX_ITERATIONS", 1)
    (once,) = fit_logistics(X, labels, None, [10.0], classes=2, deadline=numpy.inf)
    numpy.testing.assert_array_equal(late.weights, once.weights)


@pytest.mark.parametrize("weight", [None, RNG.uniform(0.1, 3.0, 40)], ids=["equal", "weighted"])
@pytest.mark.parametrize("classes", [2, 3])
def test_more_numbers_than_rows_have_scikit_learns_models_of_each_penalty(
    classes: int, weight: Any
) -> None:
    wide = RNG.normal(size=(40, 300))
    labels = numpy.arange(40) % classes
    penalties = [1.0, 100.0, 10_000.0]
    models = fit_logistics(wide, labels, weight, penalties, classes=classes, deadline=numpy.inf)
    ridges = fit_ridges(wide, wide[:, :2], weight, penalties)
    for penalty, model, ridge in zip(penalties, models, ridges, strict=True):
        assert model.penalty == ridge.penalty == penalty
        logistic = LogisticRegression(C=1 / penalty, tol=1e-8, max_iter=1000)
        expected = logistic.fit(wide, labels, weight).predict_proba(wide)
        received = softmax(model.outputs(wide), axis=1)
        # The gradient of the mean loss ends below 1e-4, scikit-learn's below 1e-8.
        numpy.testing.assert_allclose(received, expected, atol=5e-3)
        expected = Ridge(penalty).fit(wide, wide[:, :2], weight).predict(wide)
        numpy.testing.assert_allclose(ridge.outputs(wide), expected, atol=1e-8)


@pytest.mark.parametrize("codes", [False, True])
def test_sums_of_inputs_are_the_product_with_the_sparse_matrix(codes: bool) -> None:
    size = numpy.where(RNG.random(300) < 0.1, numpy.nan, RNG.uniform(1.0, 9.0, 300))
    table = {"size": size, "letter": RNG.choice(list("abcd"), 300), "x": X[:, 0]}
    encoder = xpnet.TableEncoder(bins=5).fit(table)
    sums, _ = numbers_of_columns(encoder.encodings_, codes=codes)
    encoded = encoder.transform(table)
    expected = encoded.astype(numpy.float64) @ sums.toarray()
    numpy.testing.assert_allclose(sums_of_inputs(encoded, sums), expected, rtol=1e-5, atol=1e-6)
    nothing = csr_array((encoded.shape[1], 2))
    numpy.testing.assert_array_equal(sums_of_inputs(encoded, nothing), numpy.zeros((300, 2)))


def test_helpers_within_a_fit_are_neither_logged_nor_warn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Autologging replaces the methods of scikit-learn's classes by wrappers."""
    logged = []

    def logging(fit: Any) -> Any:
        @functools.wraps(fit)
        def log_and_fit(self: Any, *arguments: Any, **settings: Any) -> Any:
            logged.append(type(self).__name__)
            return fit(self, *arguments, **settings)

        return log_and_fit

    for kind in (DecisionTreeClassifier, ExtraTreesClassifier):
        monkeypatch.setattr(kind, "fit", logging(kind.fit))
    rows = numpy.column_stack([X, X[:, 0], numpy.full(300, 1e8) + X[:, 1]])
    classifier = xpnet.TabularClassifier(quality=1, max_iter=2, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        classifier.fit(rows, X[:, 0] > 0)
    assert logged == []
    DecisionTreeClassifier().fit(X, X[:, 0] > 0)
    assert logged == ["DecisionTreeClassifier"]
