"""Suggestions for names that are none of the choices."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import xpnet
from xpnet.errors import ALIASES, InputError, did_you_mean
from xpnet.layers import ElementwiseLoss
from xpnet.ops import ACTIVATIONS

X, Y = np.eye(4), np.array([0, 1, 0, 1])


def network(activation: str) -> Any:
    """A network with that activation."""
    return xpnet.FeedforwardNeuralNet(2, 3, 2, activation=activation, backend="numpy")


@pytest.mark.parametrize(
    ("make", "suggestion"),
    [
        (lambda: xpnet.MLPClassifier(activation="swish").fit(X, Y), "silu"),
        (lambda: xpnet.MLPClassifier(activation=["swish"]).fit(X, Y), "silu"),
        (lambda: xpnet.MLPRegressor(solver="lbgfs").fit(X, Y), "lbfgs"),
        (lambda: xpnet.MLPRegressor(loss="mse").fit(X, Y), "squared_error"),
        (lambda: xpnet.MLPRegressor(loss="poison").fit(X, Y), "poisson"),
        (lambda: xpnet.MLPClassifier(learning_rate="cosinus").fit(X, Y), "cosine"),
        (lambda: xpnet.TabularClassifier(activation="Relu").fit(X, Y), "relu"),
        (lambda: xpnet.layers.Activation("sigmoid"), "logistic"),
        (lambda: network("geli"), "gelu"),
        (lambda: ElementwiseLoss("squared_err"), "squared_error"),
        (lambda: xpnet.optimizers.update_rule("adam_w"), "adamw"),
    ],
)
def test_a_name_that_is_no_choice_gets_a_suggestion(
    make: Callable[[], Any], suggestion: str
) -> None:
    with pytest.raises(InputError) as caught:
        make()
    assert f"Did you mean {suggestion!r}?" in str(caught.value)


def test_what_is_like_no_choice_gets_none() -> None:
    assert did_you_mean("abacus", ACTIVATIONS) == ""
    assert did_you_mean(5, ACTIVATIONS) == ""
    assert did_you_mean("swish", ["relu", "tanh"]) == ""


def test_aliases_are_lower_case_names() -> None:
    assert all(name == name.lower() for name in ALIASES)
