"""Fits of scikit-learn's estimators that help inside of a fit, and are not models of the user."""

import inspect
from typing import Any


def fit_unlogged(estimator: Any, *arguments: object, **options: object) -> Any:
    """Fit an estimator by the function that its class defines; return the estimator.

    Trackers of experiments, such as MLflow's autologging, replace the method ``fit`` of
    scikit-learn's classes by a wrapper that logs each fit. A fit within a fit would be logged as if
    the user had asked for it.
    """
    return inspect.unwrap(type(estimator).fit)(estimator, *arguments, **options)
