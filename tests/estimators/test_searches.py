"""Searches: the recommended values are allowed ones, threads change no result, Optuna's trials."""

from typing import Any

import joblib
import numpy as np
import pytest
from scipy.stats import loguniform, norm, randint, uniform
from sklearn.base import clone
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import HalvingRandomSearchCV, RandomizedSearchCV

import xpnet
from xpnet.backend import NetworkSpec

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

QUICK: dict[str, Any] = {"max_iter": 2, "random_state": 0}
ESTIMATORS = [
    (xpnet.MLPClassifier(**QUICK, backend="numpy"), xpnet.MLP_SEARCH_SPACE),
    (xpnet.MLPRegressor(**QUICK, backend="numpy"), xpnet.MLP_SEARCH_SPACE),
    (
        xpnet.TabularClassifier(**QUICK, networks=1, quality=1, backend="numpy"),
        xpnet.TABULAR_SEARCH_SPACE,
    ),
    (
        xpnet.TabularRegressor(**QUICK, networks=1, quality=1, backend="numpy"),
        xpnet.TABULAR_SEARCH_SPACE,
    ),
]


class Trial:
    """Stands for a trial of Optuna that takes the last value of each parameter; Optuna's own is
    tested where it is installed.
    """

    def suggest_categorical(self, name: str, choices: list[Any]) -> Any:
        """Return the last choice."""
        assert all(isinstance(choice, (bool, int, float, str)) for choice in choices)
        return choices[-1]

    def suggest_float(self, name: str, low: float, high: float, log: bool = False) -> float:
        """Return the middle, of the logarithms with ``log``."""
        return float(np.sqrt(low * high)) if log else (low + high) / 2

    def suggest_int(self, name: str, low: int, high: int) -> int:
        """Return the highest."""
        return high


INITIAL_LOSS = 1.2
"""A bound on the loss of two epochs, above that of the constant prediction, ln 2 or 1."""


def spec_of(estimator: Any) -> NetworkSpec:
    """The network of a fitted estimator."""
    networks = getattr(estimator, "networks_", None)
    spec: NetworkSpec = networks[0].spec if networks else estimator.get_fitted_state().spec
    return spec


def losses_of(estimator: Any) -> list[float]:
    """The training losses of a fitted estimator."""
    networks = getattr(estimator, "networks_", None)
    losses: list[float] = networks[0].history.loss if networks else estimator.loss_curve_
    return losses


@pytest.mark.parametrize(("estimator", "space"), ESTIMATORS)
def test_every_recommended_value_is_allowed(estimator: Any, space: dict[str, Any]) -> None:
    estimator = clone(estimator)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 3))
    y = (X[:, 0] > 0).astype(int)
    for name, values in space.items():
        for value in values.support() if hasattr(values, "rvs") else values:
            estimator.set_params(**{name: value}).fit(X, y)
            spec = spec_of(estimator)
            measured: dict[str, Any] = {
                "hidden_layer_sizes": spec.widths[1:-1],
                "activation": spec.activations[0],
                "alpha": spec.l2,
                "weight_decay": spec.rule.weight_decay,
                "dropout": spec.dropout[0] if spec.dropout else 0.0,
            }
            assert measured.get(name, value) == value
            assert losses_of(estimator)[-1] < INITIAL_LOSS


@pytest.mark.parametrize("search_class", [RandomizedSearchCV, HalvingRandomSearchCV])
def test_a_search_in_threads_is_a_search_without(data: Any, search_class: Any) -> None:
    settings: dict[str, Any] = {"cv": 2, "random_state": 0}
    if search_class is HalvingRandomSearchCV:
        settings |= {"resource": "max_iter", "max_resources": 9, "min_resources": 3}
    else:
        settings |= {"n_iter": 4}
    classifier = xpnet.MLPClassifier(max_iter=3, random_state=0, early_stopping=True)
    space = {**xpnet.MLP_SEARCH_SPACE, "activation": ["relu"], "batch_size": [32, "auto"]}
    alone, in_threads = (
        search_class(classifier, space, n_jobs=jobs, **settings) for jobs in (None, 3)
    )
    alone.fit(data.X, data.labels)
    with joblib.parallel_config("threading"):
        in_threads.fit(data.X, data.labels)
    results, expected = in_threads.cv_results_, alone.cv_results_
    assert results["params"] == expected["params"]
    for name in [name for name in expected if "score" in name and "time" not in name]:
        np.testing.assert_array_equal(results[name], expected[name], err_msg=name)
    assert in_threads.best_params_ == alone.best_params_
    np.testing.assert_array_equal(in_threads.predict_proba(data.X), alone.predict_proba(data.X))


def test_a_trial_suggests_what_the_space_holds() -> None:
    space = {
        "rate": loguniform(1e-4, 1e-2),
        "share": uniform(0.1, 0.4),
        "count": randint(1, 5),
        "kind": ["a", "b"],
        "sizes": [(8,), (8, 8)],
    }
    suggested = xpnet.suggest_parameters(Trial(), space)
    expected: dict[str, Any] = {
        "rate": 1e-3,
        "share": 0.3,
        "count": 4,
        "kind": "b",
        "sizes": (8, 8),
    }
    assert suggested.keys() == expected.keys()
    for name in ("rate", "share"):
        assert suggested.pop(name) == pytest.approx(expected.pop(name))
    assert suggested == expected
    assert type(suggested["count"]) is int
    with pytest.raises(xpnet.InputError, match=r"norm.*'alpha'"):
        xpnet.suggest_parameters(Trial(), {"alpha": norm(0, 1)})


def test_optuna_searches_in_threads(data: Any) -> None:
    optuna = pytest.importorskip("optuna", reason="searches for settings; in the group 'test'")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    X, y = data.X, data.labels

    def score(trial: Any) -> float:
        parameters = xpnet.suggest_parameters(trial, xpnet.MLP_SEARCH_SPACE)
        classifier = xpnet.MLPClassifier(max_iter=3, random_state=0, **parameters)
        return classifier.fit(X[::2], y[::2]).score(X[1::2], y[1::2])

    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=0))
    study.optimize(score, n_trials=4, n_jobs=2)
    assert len(study.trials) == 4
    assert score(optuna.trial.FixedTrial(study.best_params)) == study.best_value
