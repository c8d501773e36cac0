"""L-BFGS ends where scikit-learn's ends, whatever ends it, and says the same."""

import warnings
from typing import Any

import numpy
import pytest
import scipy.optimize
from sklearn.datasets import load_iris
from sklearn.neural_network import MLPClassifier as SklearnClassifier

from xpnet.estimators import MLPClassifier

SETTINGS: dict[str, Any] = {"hidden_layer_sizes": (5,), "solver": "lbfgs", "random_state": 0}


def fit_and_listen(kind: Any, **limits: Any) -> tuple[Any, list[str]]:
    """A classifier fitted to the irises, and the texts of its warnings."""
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        model = kind(**SETTINGS, **limits).fit(*load_iris(return_X_y=True))
    return model, [str(warning.message) for warning in heard]


@pytest.mark.parametrize(
    ("limits", "word"),
    [
        ({"tol": 0.05}, ""),
        ({"max_iter": 7}, "REACHED LIMIT"),
        ({"max_fun": 9}, "EVALUATIONS EXCEEDS LIMIT"),
    ],
    ids=["gradient", "iterations", "evaluations"],
)
@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_it_ends_where_scikit_learns_ends(backend: str, limits: dict[str, Any], word: str) -> None:
    ours, said = fit_and_listen(MLPClassifier, backend=backend, **limits)
    theirs, said_too = fit_and_listen(SklearnClassifier, **limits)
    assert len(said) == len(said_too) == bool(word)
    for ours_too, theirs_too in zip(said, said_too, strict=True):
        assert word in ours_too and ours_too.splitlines()[:2] == theirs_too.splitlines()[:2]
    assert ours.n_iter_ == theirs.n_iter_
    numpy.testing.assert_allclose(ours.loss_, theirs.loss_, rtol=1e-8)
    for found, expected in zip(ours.coefs_, theirs.coefs_, strict=True):
        numpy.testing.assert_allclose(
            found, expected, rtol=0, atol=1e-6 * numpy.abs(expected).max()
        )


def test_every_iteration_is_scipys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever SciPy's version, its public function is what minimises."""
    methods: list[str] = []
    minimize = scipy.optimize.minimize

    def noted(*args: Any, method: str, **options: Any) -> Any:
        methods.append(method)
        return minimize(*args, method=method, **options)

    monkeypatch.setattr(scipy.optimize, "minimize", noted)
    fit_and_listen(MLPClassifier, max_iter=3)
    assert methods == ["L-BFGS-B"]
