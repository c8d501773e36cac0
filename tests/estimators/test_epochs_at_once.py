"""Fits whose short epochs are made several at once: the numbers are those of epochs one by one."""

from typing import Any

import numpy as np
import pytest
from xpnet_numba.step.step import NumbaStep

import xpnet

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

STALLING: dict[str, Any] = {"tol": 1.0, "n_iter_no_change": 3, "max_iter": 40}
SETTINGS: dict[str, dict[str, Any]] = {
    "constant": {"max_iter": 15},
    "stalls": STALLING,
    "never stalls": {**STALLING, "n_iter_no_change": np.inf, "max_iter": 15},
    "is lowered": {**STALLING, "solver": "sgd", "learning_rate": "adaptive"},
    "cosine": {"learning_rate": "cosine", "max_iter": 15},
    "dropout": {"dropout": 0.2, "max_iter": 15},
    "in order": {"shuffle": False, "max_iter": 15},
}
ONE_BY_ONE: dict[str, dict[str, Any]] = {
    "by rows seen": {"solver": "sgd", "learning_rate": "invscaling"},
    "scores": {"early_stopping": True},
    "validation loss": {"early_stopping": "loss"},
    "clipped": {"max_grad_norm": 0.1},
}


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many epochs each call made that makes several."""
    counts: list[int] = []
    epochs = NumbaStep.epochs

    def counted(step: NumbaStep, *arguments: Any, **settings: Any) -> list[float]:
        counts.append(len(settings["learning_rates"]))
        return epochs(step, *arguments, **settings)

    monkeypatch.setattr(NumbaStep, "epochs", counted)
    return counts


def fitted(
    monkeypatch: pytest.MonkeyPatch, estimator: Any, seconds: float, *data: Any, **options: Any
) -> Any:
    """The estimator, fitted twice if it goes on, with this limit of the time of epochs at once."""
    monkeypatch.setattr("xpnet.training.epoch_batches.MAX_BATCH_SECONDS", seconds)
    estimator.fit(*data, **options)
    return estimator.fit(*data, **options) if estimator.warm_start else estimator


def assert_equal_fits(one: Any, other: Any) -> None:
    """Parameters, losses and counters, to the bit."""
    for name in ("loss_curve_", "n_iter_", "t_", "loss_", "best_loss_"):
        assert getattr(one, name) == getattr(other, name), name
    assert one._optimizer.learning_rate == other._optimizer.learning_rate
    for a, b in zip(one.coefs_ + one.intercepts_, other.coefs_ + other.intercepts_, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=list(SETTINGS))
@pytest.mark.parametrize("kind", [xpnet.MLPClassifier, xpnet.MLPRegressor])
def test_fits_are_those_of_epochs_one_by_one(
    data: Any, monkeypatch: pytest.MonkeyPatch, counts: list[int], kind: Any, settings: Any
) -> None:
    y = data.labels if kind is xpnet.MLPClassifier else data.numbers
    for warm_start in (False, True):
        settings = {"random_state": 3, "alpha": 0.1, **settings, "warm_start": warm_start}
        one_by_one = fitted(
            monkeypatch, kind(hidden_layer_sizes=(5,), batch_size=40, **settings), 0.0, data.X, y
        )
        assert not counts
        at_once = fitted(
            monkeypatch, kind(hidden_layer_sizes=(5,), batch_size=40, **settings), 1e9, data.X, y
        )
        assert max(counts) > 2
        assert_equal_fits(at_once, one_by_one)
        counts.clear()


@pytest.mark.parametrize("settings", ONE_BY_ONE.values(), ids=list(ONE_BY_ONE))
def test_epochs_run_singly_where_each_must_be_seen(
    data: Any, monkeypatch: pytest.MonkeyPatch, counts: list[int], settings: Any
) -> None:
    classifier = xpnet.MLPClassifier((5,), max_iter=5, random_state=3, **settings)
    fitted(monkeypatch, classifier, 1e9, data.X, data.labels)
    classifier.set_params(early_stopping=False, max_grad_norm=None)
    callbacks = [lambda training: None]
    fitted(monkeypatch, classifier, 1e9, data.X, data.labels, callbacks=callbacks)
    assert counts == []
