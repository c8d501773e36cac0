"""Schedules of every solver, stopping by the loss, and a limit of time."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import get_scorer, make_scorer, mean_squared_error

import xpnet
from xpnet.optimizers import Cosine, Exponential, OneCycle
from xpnet.training import Callback, Training

SETTINGS: dict[str, Any] = {
    "hidden_layer_sizes": (8,),
    "max_iter": 10,
    "random_state": 0,
    "tol": 0.0,
}


class Rates(Callback):
    """Notes the learning rate of each epoch."""

    def __init__(self) -> None:
        self.rates: list[float] = []

    def epoch_end(self, training: Training) -> None:
        self.rates.append(training.history.learning_rate[-1])


def rates(model: Any, data: Any) -> list[float]:
    """The learning rates of a fit."""
    callback = Rates()
    model.fit(data.X, data.labels, callbacks=[callback])
    return callback.rates


@pytest.mark.parametrize("solver", ["adam", "sgd", "adamw"])
@pytest.mark.parametrize(("name", "schedule"), [("cosine", Cosine), ("one_cycle", OneCycle)])
def test_a_schedule_by_its_name(data: Any, solver: str, name: str, schedule: Any) -> None:
    model = xpnet.MLPClassifier(
        **SETTINGS, solver=solver, learning_rate=name, learning_rate_init=0.02
    )
    wanted = [schedule(0.02, 10)(epoch, []) for epoch in range(10)]
    assert rates(model, data) == pytest.approx(wanted)


def test_a_schedule_of_xpnets_and_a_function(data: Any, tmp_path: Path) -> None:
    for schedule in (Exponential(0.01, 0.9), lambda epoch, losses: 0.01 * 0.9**epoch):
        model = clone(xpnet.MLPClassifier(**SETTINGS, learning_rate=schedule))
        assert rates(model, data) == pytest.approx([0.01 * 0.9**epoch for epoch in range(10)])
        model.save(tmp_path / "model")
        kept = xpnet.load(tmp_path / "model").learning_rate
        assert kept == (schedule if isinstance(schedule, Exponential) else "constant")


def test_a_second_fit_begins_the_schedule_anew(data: Any) -> None:
    model = xpnet.MLPClassifier(**SETTINGS, learning_rate="cosine", warm_start=True)
    first, second = rates(model, data), rates(model, data)
    assert len(first) == 10 and second == first


def test_training_ends_by_the_loss_and_keeps_the_best_epoch(data: Any) -> None:
    model = xpnet.MLPClassifier(
        **{**SETTINGS, "max_iter": 500}, early_stopping="loss", learning_rate_init=0.02
    )
    model.fit(data.X[40:], data.labels[40:], X_val=data.X[:40], y_val=data.labels[:40])
    losses = model.validation_loss_curve_
    assert len(losses) < 500
    assert model.validation_scores_ == [-loss for loss in losses]
    assert model.best_validation_score_ == -min(losses)
    proba = model.predict_proba(data.X[:40])[
        np.arange(40), np.searchsorted(model.classes_, data.labels[:40])
    ]
    assert -np.log(proba).mean() == pytest.approx(min(losses), rel=1e-6)


def test_a_limit_of_time_ends_a_training_behind_an_epoch(data: Any) -> None:
    model = xpnet.MLPClassifier(
        **{**SETTINGS, "max_iter": 10**6}, time_limit=1e-9, n_iter_no_change=np.inf
    )
    assert model.fit(data.X, data.labels).n_iter_ == 1


@pytest.mark.parametrize(
    "wrong", [{"learning_rate": "one"}, {"early_stopping": "score"}, {"time_limit": 0}]
)
def test_other_values_are_refused(data: Any, wrong: dict[str, Any]) -> None:
    (name,) = wrong
    with pytest.raises(xpnet.InputError, match=name):
        xpnet.MLPClassifier(**SETTINGS, **wrong).fit(data.X, data.labels)


@pytest.mark.parametrize(
    ("kind", "target", "scoring"),
    [
        (xpnet.MLPClassifier, "labels", "neg_log_loss"),
        (xpnet.MLPClassifier, "binary", "roc_auc"),
        (xpnet.MLPClassifier, "indicators", "f1_macro"),
        (xpnet.MLPRegressor, "numbers", "neg_mean_absolute_error"),
        (xpnet.MLPRegressor, "outputs", make_scorer(mean_squared_error, greater_is_better=False)),
    ],
)
def test_training_ends_by_any_scorer(data: Any, kind: Any, target: str, scoring: Any) -> None:
    y = getattr(data, target)
    model = kind(**SETTINGS, early_stopping=True, scoring=scoring)
    with pytest.warns(UserWarning, match="Maximum iterations"):
        model.fit(data.X[40:], y[40:], X_val=data.X[:40], y_val=y[:40])
    assert len(model.validation_scores_) == 10
    wanted = get_scorer(scoring)(model, data.X[:40], y[:40])  # of the best epoch, which is kept
    assert (
        model.best_validation_score_
        == max(model.validation_scores_)
        == pytest.approx(wanted, rel=1e-9)
    )


def test_a_scorer_that_is_none_is_refused(data: Any) -> None:
    with pytest.raises(ValueError, match="not a valid scoring value"):
        xpnet.MLPClassifier(early_stopping=True, scoring="nothing").fit(data.X, data.labels)


@pytest.mark.filterwarnings(
    "ignore:overflow", "ignore:invalid value", "ignore:Stochastic Optimizer"
)
@pytest.mark.parametrize("scoring", [None, "r2"])
def test_an_epoch_of_infinite_predictions_is_not_the_best(data: Any, scoring: Any) -> None:
    options: dict[str, Any] = {
        "early_stopping": True,
        "learning_rate_init": 1e30,
        "solver": "sgd",
        "backend": "numpy",
    }
    model = xpnet.MLPRegressor(**SETTINGS, **options, scoring=scoring).fit(data.X, data.numbers)
    assert np.isnan(model.validation_scores_[-1])
    assert np.isfinite(model.predict(data.X)).all()


def test_a_scorer_is_read_where_early_stopping_is_numpys_true(data: Any) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "scoring has an effect")
        warnings.filterwarnings("ignore", category=ConvergenceWarning)
        xpnet.MLPClassifier(**SETTINGS, early_stopping=np.bool_(True), scoring="accuracy").fit(
            data.X, data.labels
        )
    for without in (False, "loss"):
        with pytest.warns(UserWarning, match="scoring has an effect"):
            xpnet.MLPClassifier(**SETTINGS, early_stopping=without, scoring="accuracy").fit(
                data.X, data.labels
            )
