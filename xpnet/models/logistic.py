"""Logistic regression with several classes: input -> affine -> softmax."""

from typing import Any

import numpy

from xpnet.backend import Backend, NetworkSpec
from xpnet.models.network import Network
from xpnet.optimizers import Optimizer, Schedule, update_rule


class LogisticRegression(Network):
    """p(class | x) = softmax(x W + b), trained on cross-entropy; starts from zeros.

    num_features, num_classes : columns of X and number of classes
    learning_rate : a number or a schedule
    backend : a name or a backend; None adopts the library and device of the first arrays
    dtype : ``float32`` or ``float64``; None adopts that of the first arrays (for integers, their library's default)
    optimizer : None for plain gradient descent, ``"sgd"``, ``"adam"``, ``"adamw"`` or an instance
    l2 : strength of the penalty l2 / 2 ||W||^2
    compiled : False to train with the reference step even where a compiled one exists

    params : ``W`` (num_features, num_classes), ``b`` (num_classes,)

    Raises InputError for sizes that are not positive integers and numbers outside their range.
    """

    def __init__(
        self,
        num_features: int,
        num_classes: int,
        learning_rate: float | Schedule = 1e-2,
        *,
        backend: str | Backend | None = None,
        dtype: str | None = None,
        optimizer: str | Optimizer | None = None,
        l2: float = 0.0,
        compiled: bool = True,
    ) -> None:
        spec = NetworkSpec(
            widths=(num_features, num_classes),
            activations=(),
            rule=update_rule(optimizer),
            l2=l2,
            names=("W", "b"),
        )
        initial: dict[str, Any] = {"W": numpy.zeros((num_features, num_classes)), "b": numpy.zeros(num_classes)}
        super().__init__(spec, initial, learning_rate, backend=backend, dtype=dtype, compiled=compiled)
