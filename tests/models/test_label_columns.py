"""Labels with a column for each class are probabilities, or they are refused."""

from functools import partial
from typing import Any

import numpy as np
import pytest

import xpnet


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", "float32"])
def test_one_hot_labels_of_any_dtype(dtype: str) -> None:
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(30, 4)), np.eye(3)[rng.integers(0, 3, 30)]
    networks = [xpnet.FeedforwardNeuralNet(4, 5, 3, rng=0) for _ in range(2)]
    losses = [
        network.step(X, labels)
        for network, labels in zip(networks, (Y, Y.astype(dtype)), strict=True)
    ]
    assert losses[0] == losses[1]


@pytest.mark.parametrize(
    ("row", "received"),
    [([0.5, 0.6], "a sum of 1.1"), ([1.5, -0.5], "-0.5")],
)
@pytest.mark.parametrize("method", ["fit", "step", "gradient"])
def test_labels_in_columns_are_probabilities(row: Any, received: str, method: str) -> None:
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(30, 4)), np.eye(2)[rng.integers(0, 2, 30)]
    network = xpnet.FeedforwardNeuralNet(4, 5, 2, rng=0)
    call = partial(network.fit, epochs=1) if method == "fit" else getattr(network, method)
    before = {name: values.copy() for name, values in network.params.items()}
    with pytest.raises(
        xpnet.InputError,
        match=f"`Y` must hold probabilities from 0 that sum to 1 in each row; got {received} in",
    ):
        call(X, np.vstack([Y[1:], row]))
    for name, values in before.items():
        np.testing.assert_array_equal(network.params[name], values)
    call(X, 0.75 * Y + 0.125)  # rows that sum to 1 are labels
