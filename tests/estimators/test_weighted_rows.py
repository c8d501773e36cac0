"""Weights by class and by row."""

from typing import Any

import numpy as np
import pytest
from helpers.estimators import SETTINGS, assert_close
from sklearn.base import clone
from sklearn.utils.class_weight import compute_sample_weight

import xpnet


@pytest.mark.parametrize("class_weight", ["balanced", {"zero": 3.0, "two": 0.5}])
def test_class_weight_is_sample_weight(data: Any, backend: str, class_weight: Any) -> None:
    """Weights by label are weights of the rows, and multiply those that are given."""
    weight = compute_sample_weight(class_weight, data.labels)
    plain = xpnet.MLPClassifier(**{**SETTINGS, "backend": backend})
    weighted = clone(plain).set_params(class_weight=class_weight)
    for given in (None, data.weight):
        rows = weight if given is None else weight * given
        assert_close(
            weighted.fit(data.X, data.labels, given),
            plain.fit(data.X, data.labels, sample_weight=rows).coefs_,
        )


def test_class_weight_moves_the_boundary() -> None:
    """A rare class that overlaps a frequent one is found once it weighs as much."""
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(size=(190, 2)), rng.normal(size=(10, 2)) + 1])
    y = np.repeat([0, 1], [190, 10])
    model = xpnet.MLPClassifier(hidden_layer_sizes=5, solver="lbfgs", alpha=10, random_state=0)
    found = [
        (clone(model).set_params(class_weight=w).fit(X, y).predict(X[190:]) == 1).sum()
        for w in (None, "balanced")
    ]
    assert found[0] <= 2 < 6 <= found[1]


def test_balanced_needs_all_rows(data: Any) -> None:
    """partial_fit never sees them."""
    with pytest.raises(ValueError, match="balanced"):
        xpnet.MLPClassifier(class_weight="balanced").partial_fit(
            data.X, data.labels, classes=np.unique(data.labels)
        )


def test_rows_without_weight_teach_nothing(data: Any, backend: str) -> None:
    """A batch whose weights are all zero is passed over, where scikit-learn's divides by zero."""
    model = xpnet.MLPRegressor(
        **{**SETTINGS, "backend": backend, "shuffle": False, "batch_size": 65}
    )
    weight = np.repeat([1.0, 0.0], 65)
    half = clone(model).fit(data.X[:65], data.numbers[:65])
    assert_close(model.fit(data.X, data.numbers, weight), half.coefs_)


@pytest.mark.parametrize("tiny", [1e-300, 1e300])
@pytest.mark.parametrize("kind", [xpnet.MLPClassifier, xpnet.MLPRegressor])
def test_weights_beyond_the_dtype_are_refused(data: Any, kind: Any, tiny: float) -> None:
    weight = np.ones(len(data.X))
    weight[3] = tiny
    y = data.labels if kind is xpnet.MLPClassifier else data.numbers
    with pytest.raises(
        xpnet.InputError, match=rf"sample_weight.*float32.*{tiny:g}".replace("+", r"\+")
    ):
        kind(dtype="float32").fit(data.X, y, sample_weight=weight)
    kind(**SETTINGS, dtype="float64").fit(data.X, y, sample_weight=np.minimum(weight, 1.0))
