"""What scikit-learn keeps private, or has only in some versions, and the estimators need: imported here alone."""

from typing import Any

from sklearn.base import _fit_context as fit_context
from sklearn.utils._optional_dependencies import check_matplotlib_support
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.multiclass import _check_partial_fit_first_call as check_partial_fit_first_call
from sklearn.utils.optimize import _check_optimize_result as check_optimize_result
from sklearn.utils.validation import _check_sample_weight as check_sample_weight

try:
    from sklearn.callback import CallbackSupportMixin
except ImportError:  # before scikit-learn 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """An estimator without callbacks."""

        def _init_callback_context(self, **_: Any) -> "NoCallbacks":
            return NoCallbacks()


class NoCallbacks:
    """A task that nobody watches, for versions of scikit-learn that have no callbacks."""

    def call_on_fit_task_begin(self, **_: Any) -> None:
        """The task begins."""

    def call_on_fit_task_end(self, **_: Any) -> bool:
        """The task ends; never asks to stop."""
        return False


__all__ = [
    "CallbackSupportMixin",
    "Interval",
    "Options",
    "StrOptions",
    "check_matplotlib_support",
    "check_optimize_result",
    "check_partial_fit_first_call",
    "check_sample_weight",
    "fit_context",
]
