"""Warnings in the name of scikit-learn, at the line that called xpnet."""

import inspect
import warnings
from types import FrameType

CALLING_PACKAGES = ("xpnet", "sklearn", "joblib")
"""Packages whose modules call estimators for their caller."""


def warn_caller(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn with the line that called xpnet, in the name of scikit-learn's module.

    Filters that silence scikit-learn's own networks (``module="sklearn"``) silence this, too.
    """
    frame: FrameType = inspect.currentframe()  # type: ignore[assignment]  # CPython has frames
    while (
        frame.f_back is not None
        and str(frame.f_globals.get("__name__")).partition(".")[0] in CALLING_PACKAGES
    ):
        frame = frame.f_back
    registry = frame.f_globals.setdefault("__warningregistry__", {})
    warnings.warn_explicit(
        message,
        category,
        frame.f_code.co_filename,
        frame.f_lineno,
        "sklearn.neural_network",
        registry,
    )
