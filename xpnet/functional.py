"""The operations as functions that dispatch: NumPy in, NumPy out; CuPy in, CuPy out; and so on.

What a function computes is documented at the operation of ``xpnet.ops`` whose name it has.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from xpnet import ops
from xpnet.dispatch import coerce, coerce_both
from xpnet.layers.losses import check_labels
from xpnet.ops import Array, Labels

Function = TypeVar("Function", bound=Callable[..., Any])


def _documented_as(operation: Callable[..., Any]) -> Callable[[Function], Function]:
    """Give a function the docstring of its operation."""

    def documented(function: Function) -> Function:
        function.__doc__ = operation.__doc__
        return function

    return documented


@_documented_as(ops.relu)
def relu(x: Array) -> Array:
    """Run `xpnet.ops.relu` on the backend that x calls for."""
    operations, x = coerce(x)
    return operations.relu(x)


@_documented_as(ops.leaky_relu)
def leaky_relu(x: Array) -> Array:
    """Run `xpnet.ops.leaky_relu` on the backend that x calls for."""
    operations, x = coerce(x)
    return operations.leaky_relu(x)


@_documented_as(ops.elu)
def elu(x: Array) -> Array:
    """Run `xpnet.ops.elu` on the backend that x calls for."""
    operations, x = coerce(x)
    return operations.elu(x)


@_documented_as(ops.silu)
def silu(x: Array) -> Array:
    """Run `xpnet.ops.silu` on the backend that x calls for."""
    operations, x = coerce(x)
    return operations.silu(x)


@_documented_as(ops.gelu)
def gelu(x: Array) -> Array:
    """Run `xpnet.ops.gelu` on the backend that x calls for."""
    operations, x = coerce(x)
    return operations.gelu(x)


@_documented_as(ops.gelu_tanh)
def gelu_tanh(x: Array) -> Array:
    """Run `xpnet.ops.gelu_tanh` on the backend that x calls for."""
    operations, x = coerce(x)
    return operations.gelu_tanh(x)


@_documented_as(ops.tanh)
def tanh(x: Array) -> Array:
    """Run `xpnet.ops.tanh` on the backend that x calls for."""
    operations, x = coerce(x)
    return operations.tanh(x)


@_documented_as(ops.logistic)
def logistic(x: Array) -> Array:
    """Run `xpnet.ops.logistic` on the backend that x calls for."""
    operations, x = coerce(x)
    return operations.logistic(x)


@_documented_as(ops.softplus)
def softplus(x: Array) -> Array:
    """Run `xpnet.ops.softplus` on the backend that x calls for."""
    operations, x = coerce(x)
    return operations.softplus(x)


@_documented_as(ops.softmax)
def softmax(x: Array, axis: int = -1) -> Array:
    """Run `xpnet.ops.softmax` on the backend that x calls for."""
    operations, x = coerce(x)
    return operations.softmax(x, axis)


@_documented_as(ops.log_softmax)
def log_softmax(x: Array, axis: int = -1) -> Array:
    """Run `xpnet.ops.log_softmax` on the backend that x calls for."""
    operations, x = coerce(x)
    return operations.log_softmax(x, axis)


def softmax_cross_entropy(logits: Array, labels: Labels) -> tuple[Any, Array]:
    """Compute the mean cross-entropy of softmax(logits) and its gradient by the logits, in one pass.

    Parameters
    ----------
    logits : array, shape (batch, classes)
        The logits.
    labels : array, shape (batch,) or (batch, classes)
        Class indices, integers from 0 to ``classes - 1``; or one-hot or soft labels.

    Returns
    -------
    loss : float or array, 0-d
        The mean loss.
    d_logits : array, shape (batch, classes)
        The gradient by the logits, ``(softmax(logits) - labels) / batch`` for labels whose rows sum to 1.

    Raises
    ------
    InputError
        For labels that do not fit the logits.
    MixedArraysError
        For arrays of two libraries.

    See Also
    --------
    xpnet.ops.softmax_cross_entropy : The formula and its source.

    Examples
    --------
    >>> import numpy
    >>> import xpnet
    >>> loss, d_logits = xpnet.softmax_cross_entropy(numpy.zeros((1, 2)), numpy.array([0]))
    >>> round(float(loss), 4), d_logits
    (0.6931, array([[-0.5,  0.5]]))
    """
    operations, logits, labels = coerce_both(logits, labels)
    check_labels(logits, labels)
    return operations.softmax_cross_entropy(logits, labels)
