"""Logistic regression with several classes: input -> affine -> softmax."""

from typing import Any

import numpy

from xpnet.backend import Backend, NetworkSpec
from xpnet.models.network import Network
from xpnet.optimizers import Optimizer, Schedule, update_rule


class LogisticRegression(Network):
    """Logistic regression with several classes, p(class | x) = softmax(x W + b), trained on cross-entropy from zeros.

    Parameters
    ----------
    num_features : int
        Columns of X.
    num_classes : int
        Number of classes.
    learning_rate : float or Schedule, default 1e-2
        A number, or a schedule of `xpnet.optimizers`.
    backend : str or Backend, optional
        What computes; None adopts the library and device of the first arrays.
    dtype : {"float32", "float64"}, optional
        None adopts that of the first arrays (for whole numbers, their library's default).
    optimizer : {"sgd", "adam", "adamw"} or Optimizer, optional
        None for plain gradient descent.
    l2 : float, default 0.0
        Strength of the penalty l2 / 2 ||W||^2.
    compiled : bool, default True
        False trains with the reference step even where a compiled one exists.

    Attributes
    ----------
    params : Parameters
        ``W`` (num_features, num_classes), ``b`` (num_classes,).

    Raises
    ------
    InputError
        For sizes that are not positive integers and numbers outside their range.

    Examples
    --------
    >>> import numpy
    >>> import xpnet
    >>> net = xpnet.LogisticRegression(2, 2, learning_rate=1.0)
    >>> net.fit(numpy.eye(2), [0, 1], epochs=10)
    History(epochs=10, loss=...)
    >>> net.predict(numpy.eye(2)).argmax(axis=1)
    array([0, 1])
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
