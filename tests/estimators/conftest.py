"""Data that the estimators' tests share, and the backends on which numbers are compared."""

import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning


class Data(NamedTuple):
    """Rows with targets of every kind."""

    X: Any
    labels: Any
    binary: Any
    indicators: Any
    numbers: Any
    outputs: Any
    counts: Any
    weight: Any


@pytest.fixture(scope="session")
def data() -> Data:
    """130 digits, an uneven number of batches; targets of every kind, and weights with zeros among
    them.
    """
    X, y = load_digits(n_class=5, return_X_y=True)
    X, y = X[:130] / 16, y[:130]
    rng = np.random.default_rng(7)
    numbers = X @ rng.normal(size=64) + rng.normal(size=130)
    outputs = np.stack([numbers, X.sum(axis=1)], axis=1) / 10
    weight = rng.uniform(size=130) * (rng.uniform(size=130) > 0.2)
    indicators = np.stack([y > 2, y % 2 == 0, y == 1], axis=1).astype(int)
    labels = np.array(["zero", "one", "two", "three", "four"])[y]
    return Data(X, labels, y % 2, indicators, numbers / 10, outputs, y, weight)


@pytest.fixture(params=["numpy", "numba"])
def backend(request: pytest.FixtureRequest) -> str:
    """The backends that compute on NumPy arrays."""
    return request.param


@pytest.fixture(autouse=True)
def few_epochs_are_enough() -> Iterator[None]:
    """Tests end training before it converges, and mean to."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield
