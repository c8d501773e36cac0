"""Warnings name the line that called xpnet, and belong to scikit-learn for those who filter
them.
"""

import inspect
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import cross_val_score
from sklearn.neural_network import MLPClassifier as SklearnClassifier

import xpnet

X, Y = np.random.default_rng(0).normal(size=(30, 3)), np.arange(30) % 2


def heard(call: Callable[[], Any], *filters: Any) -> list[warnings.WarningMessage]:
    """The warnings of a call under these filters, and under ``always``."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        for silence in filters:
            silence()
        call()
    return found


def fits(kind: Any) -> list[Callable[[], Any]]:
    """Calls that end before they have converged, and one with a batch that is too large."""
    small = {"hidden_layer_sizes": (3,), "max_iter": 2, "random_state": 0}
    return [
        lambda: kind(**small).fit(X, Y),
        lambda: kind(**small, solver="lbfgs").fit(X, Y),
        lambda: kind(**small, batch_size=100).fit(X, Y),
        lambda: cross_val_score(kind(**small), X, Y, cv=2),
    ]


@pytest.mark.parametrize("call", fits(xpnet.MLPClassifier))
def test_the_line_is_the_callers(call: Callable[[], Any]) -> None:
    found, line = heard(call), inspect.getsourcelines(call)[1]
    assert found
    assert {(warning.filename, warning.lineno) for warning in found} == {(__file__, line)}


@pytest.mark.parametrize("kind", [SklearnClassifier, xpnet.MLPClassifier])
def test_filters_for_scikit_learn_silence_xpnet(kind: Any) -> None:
    def silence() -> None:
        warnings.filterwarnings("ignore", category=ConvergenceWarning, module="sklearn")

    for call in fits(kind):
        told = heard(call, silence)
        assert not [warning for warning in told if issubclass(warning.category, ConvergenceWarning)]


@pytest.mark.parametrize("call", fits(xpnet.MLPClassifier)[:2])
def test_a_warning_can_be_an_error(call: Callable[[], Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        with pytest.raises(ConvergenceWarning):
            call()


def test_warnings_of_settings_name_the_calling_line() -> None:
    found = heard(lambda: xpnet.MLPRegressor(max_iter=2, weight_decay=0.5).fit(X, X[:, 0]))
    told = [warning for warning in found if "weight_decay" in str(warning.message)]
    assert [warning.filename for warning in told] == [__file__]
