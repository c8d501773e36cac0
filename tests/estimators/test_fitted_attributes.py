"""Fitted attributes show one record of the last fit, and may be assigned."""

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from helpers.estimators import SETTINGS, fitted_attributes

import xpnet

KINDS = [xpnet.MLPClassifier, xpnet.MLPRegressor]


def fitted(kind: Any, data: Any, **settings: Any) -> Any:
    y = data.labels if kind is xpnet.MLPClassifier else data.numbers
    return kind(**{**SETTINGS, **settings}).fit(data.X, y)


@pytest.mark.parametrize("kind", KINDS)
def test_an_estimator_has_no_fitted_attribute_before_fit(kind: Any) -> None:
    model = kind()
    assert fitted_attributes(model) == {}
    for name in ("coefs_", "loss_curve_", "n_iter_", "n_features_in_", "why_", "_optimizer"):
        assert not hasattr(model, name)


@pytest.mark.parametrize("kind", KINDS)
def test_fit_adds_one_attribute_to_the_instance(kind: Any, data: Any) -> None:
    model = fitted(kind, data)
    assert set(vars(model)) - set(model.get_params()) == {"_fitted"}


def test_other_arrays_in_the_place_of_coefs_change_predictions(data: Any, backend: str) -> None:
    model = fitted(xpnet.MLPRegressor, data, backend=backend)
    other = fitted(xpnet.MLPRegressor, data, backend=backend, random_state=6)
    model.coefs_ = other.coefs_
    model.intercepts_ = [array.tolist() for array in other.intercepts_]
    np.testing.assert_array_equal(model.predict(data.X), other.predict(data.X))
    model.coefs_[1:] = [np.zeros_like(array) for array in model.coefs_[1:]]
    np.testing.assert_array_equal(model.predict(data.X), np.full(130, model.intercepts_[-1]))


def test_arrays_of_other_shapes_are_refused_and_change_nothing(data: Any, backend: str) -> None:
    model = fitted(xpnet.MLPRegressor, data, backend=backend)
    before = model.predict(data.X)
    with pytest.raises(ValueError, match="shape"):
        model.coefs_[0] = np.zeros((3, 3))
    with pytest.raises(ValueError, match="shorter"):
        model.coefs_ = model.coefs_[:1]
    np.testing.assert_array_equal(model.predict(data.X), before)


def test_other_classes_are_predicted_and_saved(data: Any) -> None:
    model = fitted(xpnet.MLPClassifier, data)
    before = np.searchsorted(model.classes_, model.predict(data.X))
    model.classes_ = np.arange(5) * 10
    np.testing.assert_array_equal(model.predict(data.X), before * 10)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).classes_, np.arange(5) * 10)


def test_assigned_counters_and_names_are_shown_and_copied(data: Any) -> None:
    model = fitted(xpnet.MLPRegressor, data)
    values = {"n_iter_": 7, "t_": 8, "loss_": 0.5, "best_loss_": 0.25, "loss_curve_": [1.0, 0.5]}
    for name, value in values.items():
        setattr(model, name, value)
    model.feature_names_in_ = np.array([f"x{k}" for k in range(64)], dtype=object)
    for twin in (model, copy.copy(model), copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert {name: getattr(twin, name) for name in values} == values
        assert twin.feature_names_in_[-1] == "x63"


def test_a_fact_of_the_network_is_not_assigned_after_a_fit(data: Any) -> None:
    model = fitted(xpnet.MLPRegressor, data)
    with pytest.raises(AttributeError, match="`n_outputs_` of a fitted MLPRegressor follows"):
        model.n_outputs_ = 3


def test_a_copied_list_of_weights_belongs_to_no_network(data: Any) -> None:
    model = fitted(xpnet.MLPRegressor, data)
    for weights in (copy.deepcopy(model.coefs_), pickle.loads(pickle.dumps(model.coefs_))):
        assert type(weights) is list
        np.testing.assert_array_equal(weights[0], model.coefs_[0])


def test_attributes_before_a_fit_are_where_it_begins(data: Any) -> None:
    model = xpnet.MLPRegressor(**{**SETTINGS, "hidden_layer_sizes": (2,), "solver": "sgd"})
    model.set_params(learning_rate_init=1e-12, momentum=0.0)
    model.coefs_ = [np.zeros((64, 2)), np.zeros((2, 1))]
    model.coefs_[0] = np.ones((64, 2))
    model.intercepts_ = [np.zeros(2), np.array([3.0])]
    model.n_features_in_ = 64
    with pytest.raises(ValueError, match="X has 5 features, but MLPRegressor is expecting 64"):
        model.partial_fit(data.X[:, :5], data.numbers)
    model.partial_fit(data.X, data.numbers)
    # Rows move the network by the learning rate times their gradients, 1e-12 times some 1e4.
    np.testing.assert_allclose(model.predict(data.X), 3.0, rtol=1e-6)


def test_parameters_set_after_a_fit_keep_the_network_of_the_file(data: Any, tmp_path: Any) -> None:
    model = fitted(xpnet.MLPRegressor, data)
    before = model.predict(data.X)
    model.set_params(hidden_layer_sizes=(4, 3), alpha=0.5).save(tmp_path / "model")
    loaded = xpnet.load(tmp_path / "model", backend="numpy")
    np.testing.assert_array_equal(loaded.predict(data.X), before)
