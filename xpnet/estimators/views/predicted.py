"""A fitted estimator whose outputs have been computed, as scikit-learn's scorers take one."""

from inspect import isfunction
from typing import TYPE_CHECKING, Any

import numpy
from sklearn.base import BaseEstimator

from xpnet.backend import Backend
from xpnet.dispatch import get_backend
from xpnet.ops import Array

if TYPE_CHECKING:
    from sklearn.utils import Tags


class PredictedEstimator:
    """An estimator whose rows are the outputs that its network has computed.

    The methods of the estimator's class run on this object; all other attributes are the
    estimator's.

    estimator : the fitted estimator
    """

    def __init__(self, estimator: BaseEstimator) -> None:
        self._estimator = estimator

    def __getattr__(self, name: str) -> Any:
        method = getattr(type(self._estimator), name, None)
        if isfunction(method):
            return method.__get__(self)
        return getattr(self._estimator, name)

    def __sklearn_tags__(self) -> "Tags":
        return self._estimator.__sklearn_tags__()

    def _outputs(self, outputs: numpy.ndarray, method: str) -> tuple[Array, Backend]:
        """Return the outputs themselves, and the backend that they belong to."""
        return outputs, get_backend("numpy")
