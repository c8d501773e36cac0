"""What a fitted estimator holds: copies, assigned parameters, training that goes on."""

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from helpers.estimators import SETTINGS, assert_close

import xpnet


@pytest.mark.parametrize("how", [pickle.loads, copy.deepcopy, copy.copy])
def test_copies_train_on_alone(data: Any, backend: str, how: Any) -> None:
    """A copy predicts and continues as the original, and shares nothing with it."""
    model = xpnet.MLPRegressor(**{**SETTINGS, "backend": backend}).fit(data.X, data.numbers)
    twin = how(pickle.dumps(model)) if how is pickle.loads else how(model)
    before = model.predict(data.X)
    np.testing.assert_array_equal(before, twin.predict(data.X))
    twin.partial_fit(data.X, data.numbers)
    np.testing.assert_array_equal(before, model.predict(data.X))
    model.partial_fit(data.X, data.numbers)
    assert_close(model, twin.coefs_)


def test_assigned_parameters_change_predictions_and_training(data: Any, backend: str) -> None:
    """Predictions and further training follow what a user writes into coefs_ or puts in its
    place.
    """
    model = xpnet.MLPRegressor(**{**SETTINGS, "backend": backend}).fit(data.X, data.numbers)
    model.coefs_[-1][:] = 0
    model.intercepts_[-1] = np.array([3.5])
    np.testing.assert_array_equal(model.predict(data.X), np.full(130, 3.5))
    model.set_params(learning_rate_init=1e-9).partial_fit(data.X, data.numbers)
    assert model.intercepts_[-1] == pytest.approx(3.5, abs=0.01)


def test_epochs_after_lbfgs(data: Any) -> None:
    """A network that L-BFGS found can be trained on by epochs."""
    model = xpnet.MLPRegressor(**{**SETTINGS, "solver": "lbfgs"}).fit(data.X, data.numbers)
    model.set_params(solver="adam").partial_fit(data.X, data.numbers)
    assert len(model.loss_curve_) == 1
