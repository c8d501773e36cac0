"""L-BFGS: SciPy's own loop and the direct one find the same, whatever ends them."""

import warnings
from typing import Any

import numpy
import pytest
from scipy.optimize import minimize, rosen, rosen_der
from sklearn.datasets import load_iris

from xpnet.estimators import MLPClassifier, lbfgs
from xpnet.estimators.lbfgsb import minimise_directly
from xpnet.estimators.private import setulb

pytestmark = pytest.mark.skipif(setulb is None, reason="this SciPy's inner function is not known")

START = numpy.array([1.3, 0.7, 0.8, 1.9, 1.2])


def valley(x: Any) -> tuple[float, Any]:
    return float(rosen(x)), rosen_der(x)


def uphill(x: Any) -> tuple[float, Any]:
    """A gradient of the wrong sign, along which no line search succeeds."""
    return float(rosen(x)), -rosen_der(x)


def nowhere(x: Any) -> tuple[float, Any]:
    return float("nan"), rosen_der(x)


def bowl(x: Any) -> tuple[float, Any]:
    return float(x @ x), 2 * x


def quartic(x: Any) -> tuple[float, Any]:
    """Flat at its end: the loss no longer falls while the gradient is still above its tolerance."""
    return 1e6 + float((x**4).sum()), 4 * x**3


class Halt:
    """A callback that notes what it is given, and halts in one iteration."""

    def __init__(self, iteration: int) -> None:
        self.iteration, self.seen = iteration, []

    def __call__(self, x: Any) -> None:
        self.seen.append(x.copy())
        if len(self.seen) == self.iteration:
            raise StopIteration


@pytest.mark.parametrize(
    ("function", "limits", "halt_in", "word"),
    [
        (valley, {"max_iter": 200, "max_fun": 500, "tol": 1e-5}, 0, "CONVERGENCE"),
        (quartic, {"max_iter": 200, "max_fun": 500, "tol": 1e-12}, 0, "CONVERGENCE: RELATIVE REDUCTION"),
        (bowl, {"max_iter": 0, "max_fun": 500, "tol": 1e-5}, 0, ""),
        (valley, {"max_iter": 7, "max_fun": 500, "tol": 1e-5}, 0, "ITERATIONS REACHED LIMIT"),
        (valley, {"max_iter": 200, "max_fun": 9, "tol": 1e-5}, 0, "EVALUATIONS EXCEEDS LIMIT"),
        (valley, {"max_iter": 200, "max_fun": 500, "tol": 1e-5}, 4, "StopIteration"),
        (valley, {"max_iter": 4, "max_fun": 500, "tol": 1e-5}, 4, "StopIteration"),
        (uphill, {"max_iter": 200, "max_fun": 500, "tol": 1e-5}, 0, "ABNORMAL"),
        (nowhere, {"max_iter": 200, "max_fun": 500, "tol": 1e-5}, 0, ""),
    ],
)
def test_the_direct_loop_finds_what_scipys_finds(function: Any, limits: Any, halt_in: int, word: str) -> None:
    options = {"maxiter": limits["max_iter"], "maxfun": limits["max_fun"], "gtol": limits["tol"]}
    theirs, ours = Halt(halt_in), Halt(halt_in)
    expected = minimize(function, START, method="L-BFGS-B", jac=True, callback=theirs, options=options)
    found = minimise_directly(function, START, callback=ours, **limits)
    assert word in found.message
    for name in ("nit", "nfev", "status", "message"):
        assert found[name] == expected[name]
    numpy.testing.assert_array_equal(found.x, expected.x)
    numpy.testing.assert_array_equal(found.fun, expected.fun)
    numpy.testing.assert_array_equal(ours.seen, theirs.seen)


def test_the_start_is_left_as_it_was() -> None:
    start = START.copy()
    minimise_directly(valley, start, max_iter=5, max_fun=50, tol=1e-5, callback=None)
    numpy.testing.assert_array_equal(start, START)


def test_a_fit_is_the_same_with_a_scipy_that_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = load_iris(return_X_y=True)
    fits = []
    for known in (setulb, None):
        monkeypatch.setattr(lbfgs, "setulb", known)
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            fitted = MLPClassifier((5,), solver="lbfgs", max_iter=20, random_state=0).fit(X, y)
        fits.append((fitted, [str(warning.message) for warning in heard]))
    (direct, said), (by_scipy, said_too) = fits
    assert said == said_too and "REACHED LIMIT" in said[0]
    assert (direct.n_iter_, direct.loss_) == (by_scipy.n_iter_, by_scipy.loss_)
    for ours, theirs in zip(direct.coefs_, by_scipy.coefs_, strict=True):
        numpy.testing.assert_array_equal(ours, theirs)
