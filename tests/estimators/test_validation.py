"""The user's own validation rows, and what early stopping does with them."""

import copy
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import sklearn.neural_network
from helpers.estimators import SETTINGS
from sklearn.exceptions import DataConversionWarning
from sklearn.metrics import log_loss, mean_squared_error, r2_score

import xpnet
from xpnet.errors import InputError


@pytest.mark.parametrize("early_stopping", [False, True])
def test_validation_rows(data: Any, backend: str, early_stopping: bool) -> None:
    """The user's own rows: the curve has the loss of the network that is kept, without the
    penalty.
    """
    model = xpnet.MLPClassifier(
        **{**SETTINGS, "backend": backend, "early_stopping": early_stopping, "alpha": 1.0}
    )
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
    assert model.validation_loss_curve_[-1] == pytest.approx(
        mean_squared_error(data.outputs[:50], predicted) / 2
    )
    assert model.validation_scores_[-1] == pytest.approx(r2_score(data.outputs[:50], predicted))


def test_validation_labels_are_known(data: Any) -> None:
    """A label that training never saw is an error."""
    with pytest.raises(ValueError, match="classes not in"):
        xpnet.MLPClassifier(**SETTINGS).fit(data.X, data.counts, X_val=data.X[:2], y_val=[0, 9])


def test_validation_rows_are_checked_as_rows_of_training_are(data: Any) -> None:
    """Masked values are no numbers, and those beyond float32 would make every loss NaN."""
    masked = np.ma.masked_array(data.X[:9], data.X[:9] > 0.5)
    large = data.X[:9] * 1e300
    for X_val, fact in ((masked, "masked"), (large, "float32")):
        model = xpnet.MLPClassifier(**SETTINGS, dtype="float32")
        with pytest.raises(InputError, match=fact):
            model.fit(data.X, data.labels, X_val=X_val, y_val=data.labels[:9])


def test_validation_targets_may_be_a_column(data: Any) -> None:
    """scikit-learn's warning is all that tells a column from a row of targets."""
    curves = []
    for y_val in (data.counts[:50], data.counts[:50, None]):
        model = xpnet.MLPClassifier(**SETTINGS)
        with nullcontext() if y_val.ndim == 1 else pytest.warns(DataConversionWarning):
            model.fit(data.X, data.counts, X_val=data.X[:50], y_val=y_val)
        curves.append(model.validation_loss_curve_)
    assert curves[0] == curves[1]


@pytest.mark.parametrize("kind", ["MLPClassifier", "MLPRegressor"])
@pytest.mark.parametrize("fitted", [True, False])
def test_partial_fit_refuses_early_stopping_as_scikit_learn_does(
    data: Any, kind: str, fitted: bool
) -> None:
    """A refused call leaves the estimator as it was."""
    given = {"classes": [0, 1]} if kind == "MLPClassifier" and not fitted else {}
    said = []
    for module in (xpnet, sklearn.neural_network):
        model = getattr(module, kind)(
            hidden_layer_sizes=(4,), max_iter=2, random_state=0, early_stopping=True
        )
        if fitted:
            model.fit(data.X, data.binary)
        before = copy.deepcopy(getattr(model, "loss_curve_", None))
        with pytest.raises(ValueError) as caught:
            model.partial_fit(data.X, data.binary, **given)
        said.append(str(caught.value))
        if module is xpnet:
            assert getattr(model, "loss_curve_", None) == before
            assert hasattr(model, "n_layers_") == fitted
    assert said[0] == said[1]
