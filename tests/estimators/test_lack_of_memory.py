"""A fit of an estimator for which there is too little memory changes nothing."""

from typing import Any

import numpy
import pytest

from xpnet import MLPClassifier, MLPRegressor
from xpnet.models import Network

X = numpy.random.default_rng(0).normal(size=(60, 4))
TARGETS = {MLPClassifier: (X[:, 0] > 0).astype(int), MLPRegressor: X[:, 0]}


@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("backend", ["numba", "numpy"])
def test_a_refit_without_memory_for_its_step_keeps_the_first_fit(
    kind: Any, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    y = TARGETS[kind]
    model = kind(backend=backend, max_iter=3, n_iter_no_change=3, tol=0.0, random_state=0)
    with pytest.warns(match="Maximum iterations"):
        model.fit(X, y)
    predictions = model.predict(X)
    loss_curve = list(model.loss_curve_)

    def without_memory(self: Network, **_: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(Network, "trainable", without_memory)
    with pytest.raises(MemoryError):
        model.set_params(hidden_layer_sizes=(7,)).fit(X[:, ::-1], 1 - y)
    numpy.testing.assert_array_equal(model.predict(X), predictions)
    assert list(model.loss_curve_) == loss_curve
    assert model.coefs_[0].shape == (4, 100)


@pytest.mark.parametrize("kind", TARGETS)
def test_a_first_fit_without_memory_leaves_the_estimator_unfitted(
    kind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = kind(max_iter=3, random_state=0)

    def without_memory(self: Network, **_: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(Network, "trainable", without_memory)
    with pytest.raises(MemoryError):
        model.fit(X, TARGETS[kind])
    assert not [name for name in vars(model) if name.endswith("_") and not name.startswith("_")]
