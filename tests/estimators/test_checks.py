"""scikit-learn's checks of any estimator, none of them expected to fail."""

from collections.abc import Callable
from typing import Any

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

import xpnet

pytestmark = pytest.mark.filterwarnings(
    "default",
    "ignore::sklearn.exceptions.ConvergenceWarning",
    "ignore::sklearn.exceptions.SkipTestWarning",
)


@parametrize_with_checks([xpnet.MLPClassifier(max_iter=100), xpnet.MLPRegressor(max_iter=100)])
def test_check(estimator: Any, check: Callable[[Any], None]) -> None:
    """One check; it raises where the contract is broken."""
    check(estimator)
