"""How often Python is called: a small network trains in microseconds, of which each call takes a
tenth of one.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import xpnet_numba

import xpnet

ROOTS = tuple(
    str(folder) + os.sep
    for folder in (Path(xpnet.__file__).parent, Path(xpnet_numba.__file__).parents[1])
)


def calls(work: Callable[[], Any]) -> int:
    """How many functions of xpnet and of its backends are called."""
    count = 0

    def note(frame: FrameType, event: str, _: Any) -> None:
        nonlocal count
        count += event == "call" and frame.f_code.co_filename.startswith(ROOTS)

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


@pytest.fixture
def fit(data: Any) -> Callable[[int], Any]:
    """Fits a small classifier for so many epochs."""
    settings = {"hidden_layer_sizes": (9, 6), "random_state": 0, "backend": "numba"}
    return lambda epochs: xpnet.MLPClassifier(max_iter=epochs, **settings).fit(data.X, data.labels)


def test_one_row_is_predicted_in_few_calls(data: Any, fit: Callable[[int], Any]) -> None:
    model = fit(1)
    model.predict(data.X[:1])
    # Two of them pass the call on: from the step to what evaluates, and to its outputs. One puts
    # the name of the method into the error for rows of another library, one asks for the device of
    # the network, and one looks up the labels.
    assert calls(lambda: model.predict(data.X[:1])) <= 30


def test_epochs_are_made_in_few_calls(fit: Callable[[int], Any]) -> None:
    fit(2)
    first, third = calls(lambda: fit(1)), calls(lambda: fit(3))
    assert first <= 500  # of which 45 make the step before the estimator changes
    assert (third - first) / 2 <= 42  # one of them asks how many epochs may be made at once
