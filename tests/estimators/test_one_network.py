"""An estimator computes with one network, whose parameters lie once."""

import pickle
from typing import Any

import numpy as np
import pytest
from helpers.estimators import fitted_attributes

import xpnet
from xpnet.models import placement as models
from xpnet.training import Callback


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The steps that are made."""
    made: list[Any] = []
    make = models.make_step

    def noted(*args: Any, **options: Any) -> Any:
        made.append(make(*args, **options))
        return made[-1]

    monkeypatch.setattr(models, "make_step", noted)
    return made


def test_an_unpickled_estimator_makes_one_step(data: Any, backend: str, steps: Any) -> None:
    model = xpnet.MLPClassifier(9, max_iter=2, random_state=0, backend=backend).fit(
        data.X, data.labels
    )
    twin = pickle.loads(pickle.dumps(model))
    steps.clear()
    for rows in (1, 50, 130, 5):
        np.testing.assert_array_equal(
            twin.predict_proba(data.X[:rows]), model.predict_proba(data.X[:rows])
        )
    assert len(steps) == 1
    if backend == "numpy":  # the memory of a compiled step is asked for in its own tests
        assert not {"gradients", "buffers"} & set(vars(steps[0]))


def test_fit_makes_one_step_whatever_is_measured(data: Any, backend: str, steps: Any) -> None:
    model = xpnet.MLPClassifier(9, max_iter=3, random_state=0, backend=backend, early_stopping=True)
    model.fit(data.X, data.labels, X_val=data.X[:9], y_val=data.labels[:9]).predict(data.X)
    assert len(steps) == 1


def test_arrays_read_before_a_training_show_it(data: Any, backend: str) -> None:
    model = xpnet.MLPRegressor(hidden_layer_sizes=9, max_iter=2, backend=backend).fit(
        data.X, data.numbers
    )
    read_before = [*model.coefs_, *model.intercepts_]
    model.partial_fit(data.X, data.numbers)
    for before, after in zip(read_before, [*model.coefs_, *model.intercepts_], strict=True):
        assert np.shares_memory(before, after)


def test_sparse_rows_and_dense_ones_are_predicted_alike(
    data: Any, backend: str, steps: Any
) -> None:
    scipy_sparse = pytest.importorskip("scipy.sparse")
    model = xpnet.MLPClassifier(9, max_iter=2, random_state=0, backend=backend).fit(
        data.X, data.labels
    )
    sparse = scipy_sparse.csr_array(data.X)
    for estimator in (model, pickle.loads(pickle.dumps(model))):
        np.testing.assert_allclose(
            estimator.predict_proba(sparse), model.predict_proba(data.X), rtol=1e-12
        )
    model.partial_fit(sparse, data.labels).partial_fit(data.X, data.labels)
    np.testing.assert_allclose(model.predict_proba(sparse), model.predict_proba(data.X), rtol=1e-12)


def test_a_fit_that_is_refused_changes_nothing(data: Any, backend: str) -> None:
    model = xpnet.MLPClassifier(9, max_iter=2, random_state=0, backend=backend).fit(
        data.X, data.labels
    )
    before, kept = model.predict_proba(data.X), fitted_attributes(model)
    for X, y in (
        (data.X[:, :5], data.labels[:-1]),
        (data.X[:, :5], data.numbers),
        (data.X[:, :5], [None] * 130),
    ):
        with pytest.raises((ValueError, TypeError)):
            model.fit(X, y)
    with pytest.raises(ValueError, match="activation"):
        xpnet.MLPClassifier(activation=["relu", "sine"], hidden_layer_sizes=(3, 3)).fit(
            data.X, data.labels
        )
    np.testing.assert_equal(fitted_attributes(model), kept)
    np.testing.assert_array_equal(model.predict_proba(data.X), before)


class Writes(Callback):
    """Writes into the targets and weights that fit was given."""

    def __init__(self, *arrays: Any) -> None:
        self.arrays = arrays

    def epoch_end(self, training: Any) -> None:
        for array in self.arrays:
            array[:] = 10**9


@pytest.mark.parametrize("kind", ["MLPClassifier", "MLPRegressor"])
def test_a_fit_has_targets_and_weights_of_its_own(data: Any, backend: str, kind: str) -> None:
    losses = []
    for written in (True, False):
        y, weight = data.counts.astype(float), data.weight.copy()
        model = getattr(xpnet, kind)(
            hidden_layer_sizes=9, max_iter=4, random_state=0, backend=backend
        )
        losses.append(
            model.fit(
                data.X, y, weight, callbacks=[Writes(*([y, weight] if written else []))]
            ).loss_curve_
        )
    assert losses[0] == losses[1]
