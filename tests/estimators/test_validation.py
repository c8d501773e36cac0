"""The user's own validation rows, and early stopping over calls of ``partial_fit``."""

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import log_loss, mean_squared_error, r2_score
from trainings import SETTINGS, assert_close

import xpnet


@pytest.mark.parametrize("early_stopping", [False, True])
def test_validation_rows(data: Any, backend: str, early_stopping: bool) -> None:
    """The user's own rows: the curve has the loss of the network that is kept, without the penalty."""
    model = xpnet.MLPClassifier(**{**SETTINGS, "backend": backend, "early_stopping": early_stopping, "alpha": 1.0})
    X_val, y_val, weight = data.X[:50], data.labels[:50], data.weight[:50]
    model.fit(data.X[50:], data.labels[50:], X_val=X_val, y_val=y_val, sample_weight_val=weight)
    assert len(model.validation_loss_curve_) == model.n_iter_ == 5
    assert model.t_ == 5 * 80
    kept = 4
    if early_stopping:
        kept = int(np.argmax(model.validation_scores_))
        assert model.score(X_val, y_val, weight) == pytest.approx(model.best_validation_score_)
    loss = log_loss(y_val, model.predict_proba(X_val), sample_weight=weight, labels=model.classes_)
    assert model.validation_loss_curve_[kept] == pytest.approx(loss, rel=1e-9)


def test_validation_rows_of_a_regressor(data: Any, backend: str) -> None:
    """Half the mean squared error, and R^2."""
    model = xpnet.MLPRegressor(**{**SETTINGS, "backend": backend, "early_stopping": True})
    model.fit(data.X[50:], data.outputs[50:], X_val=data.X[:50], y_val=data.outputs[:50])
    predicted = model.predict(data.X[:50])
    assert model.validation_loss_curve_[-1] == pytest.approx(mean_squared_error(data.outputs[:50], predicted) / 2)
    assert model.validation_scores_[-1] == pytest.approx(r2_score(data.outputs[:50], predicted))


def test_validation_labels_are_known(data: Any) -> None:
    """A label that training never saw is an error."""
    with pytest.raises(ValueError, match="classes not in"):
        xpnet.MLPClassifier(**SETTINGS).fit(data.X, data.counts, X_val=data.X[:2], y_val=[0, 9])


def test_partial_fit_with_early_stopping(data: Any) -> None:
    """Each call notes a score; when none improves for long enough, the best parameters are put back."""
    model = xpnet.MLPClassifier(**{**SETTINGS, "early_stopping": True, "n_iter_no_change": 2})
    given = {"classes": np.unique(data.labels), "X_val": data.X[:50], "y_val": data.labels[:50]}
    model.partial_fit(data.X[50:], data.labels[50:], **given)
    best = [array.copy() for array in model.coefs_]
    shuffled = np.roll(data.labels[50:], 1)
    model.best_validation_score_ = 1.0
    apart = [np.abs(best[0] - model.partial_fit(data.X[50:], shuffled, **given).coefs_[0]).max() for _ in range(3)]
    assert [distance > 0 for distance in apart] == [True, True, False]
    assert len(model.validation_scores_) == 4
    assert_close(model, best)


def test_partial_fit_after_fit_with_early_stopping(data: Any) -> None:
    """A part of the rows is held out at each call."""
    model = xpnet.MLPRegressor(**{**SETTINGS, "early_stopping": True}).fit(data.X, data.numbers)
    model.partial_fit(data.X, data.numbers)
    assert len(model.validation_scores_) == len(model.loss_curve_) == 6
