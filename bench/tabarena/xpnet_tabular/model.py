"""xpnet's tabular estimators under AutoGluon's contract of a model."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
from autogluon.core.models import AbstractModel
from autogluon.core.utils.exceptions import TimeLimitExceeded

import xpnet

BYTES_OF_PACKAGES = 300 * 2**20
"""Memory of a process that has imported xpnet and scikit-learn, in bytes."""

MAX_ENCODED_NUMBERS = 1 << 26
"""Maximum number of numbers in the encoded table of a fit, which `xpnet.TableEncoder` keeps to."""

INPUTS_OF_A_NUMBER = 50
"""Inputs of one column of numbers: at most 48 bins, the number and a mark for gaps."""

COPIES = 4
"""Copies of the encoded table in a fit: of all rows, the training rows, scaled ones, and trees."""

WARM_UP_ROWS = 64


class XpnetTabularModel(AbstractModel):  # type: ignore[misc]
    """Dense networks on encoded tables, with compiled training steps on the CPU.

    Hyperparameters are the parameters of `xpnet.TabularClassifier` and `xpnet.TabularRegressor`.
    """

    ag_key = "XPNET"
    ag_name = "xpnet"
    ag_priority = 60
    seed_name = "random_state"
    _supported_problem_types = ["binary", "multiclass", "regression", "quantile"]
    _default_auxiliary_params_extra = {"valid_raw_types": ["bool", "int", "float", "category"]}

    def _fit(
        self,
        X: pd.DataFrame,
        y: pd.Series,
        X_val: pd.DataFrame | None = None,
        y_val: pd.Series | None = None,
        time_limit: float | None = None,
        num_cpus: int = 1,
        sample_weight: Any = None,
        sample_weight_val: Any = None,
        **kwargs: Any,
    ) -> None:
        """Fit an estimator.

        kwargs : further arguments of AutoGluon's, which have no effect
        """
        started = time.monotonic()
        X = self.preprocess(X, y=y, is_train=True)
        validation: dict[str, Any] = {}
        if X_val is not None:
            validation = {"X_val": self.preprocess(X_val), "y_val": np.asarray(y_val)}
            validation["sample_weight_val"] = sample_weight_val
        predicts_classes = self.problem_type in ("binary", "multiclass")
        kind = xpnet.TabularClassifier if predicts_classes else xpnet.TabularRegressor
        parameters = self._get_model_params()
        if self.problem_type == "quantile":
            parameters |= {"loss": "quantile", "quantile": list(self.quantile_levels)}
        if time_limit is not None:
            time_limit -= time.monotonic() - started
            if time_limit <= 0:
                raise TimeLimitExceeded
        model = kind(**parameters, time_limit=time_limit)
        with _threads(num_cpus):
            self.model = model.fit(X, np.asarray(y), sample_weight, **validation)

    @classmethod
    def warm_up(cls) -> None:
        """Compile what fits of classes and of numbers need, so that no measured fit compiles."""
        rng = np.random.default_rng(0)
        X = pd.DataFrame({"number": rng.normal(size=WARM_UP_ROWS)})
        for kind, targets in (
            (xpnet.TabularClassifier, np.arange(WARM_UP_ROWS) % 2),
            (xpnet.TabularClassifier, np.arange(WARM_UP_ROWS) % 3),
            (xpnet.TabularRegressor, X["number"].to_numpy()),
        ):
            kind(networks=1, max_iter=1, random_state=0).fit(X, targets).predict(X)

    def _set_default_params(self) -> None:
        self._set_default_param_value("random_state", 0)

    def _estimate_memory_usage(self, X: pd.DataFrame, **kwargs: Any) -> int:
        return self._estimate_memory_usage_static(X=X)

    @classmethod
    def _estimate_memory_usage_static(cls, *, X: pd.DataFrame, **kwargs: Any) -> int:
        """Return about how many bytes a fit takes: copies of the encoded rows, in float32."""
        numbers = X.select_dtypes(include=["number"]).columns
        categories = X.columns.difference(numbers)
        inputs = INPUTS_OF_A_NUMBER * len(numbers)
        inputs += sum(X[name].nunique(dropna=False) for name in categories)
        encoded = min(len(X) * inputs, MAX_ENCODED_NUMBERS)
        return int(BYTES_OF_PACKAGES + COPIES * encoded * np.dtype(np.float32).itemsize)

    @classmethod
    def _class_tags(cls) -> dict[str, bool]:
        return {"can_estimate_memory_usage_static": True}

    def _more_tags(self) -> dict[str, bool]:
        return {"can_refit_full": True}


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Use at most that number of threads until the context is left."""
    before = xpnet.get_threads()
    xpnet.set_threads(count)
    try:
        yield
    finally:
        xpnet.set_threads(before)
