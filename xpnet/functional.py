"""The operations as functions that choose the backend of their first argument.

The operation of the same name in ``xpnet.ops`` documents each function. A function returns arrays
of the library that its arguments belong to.
"""

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, TypeVar, cast

from xpnet import ops
from xpnet.dispatch import coerce, coerce_pair
from xpnet.layers.losses import check_labels
from xpnet.ops import Array, Labels

if TYPE_CHECKING:  # a type checker reads the functions of `ops` instead of those made below
    from xpnet.ops.activations import *  # noqa: F403  the names are those of the table

__all__ = ["log_softmax", "softmax", "softmax_cross_entropy"]

Function = TypeVar("Function", bound=Callable[..., object])


def _dispatched(operation: Function) -> Function:
    """Make a function that runs an operation on the backend of its first argument."""
    name = operation.__name__

    @wraps(operation)
    def run(x: Array, *args: object, **kwargs: object) -> object:
        """Call the operation of the backend that computes with ``x``."""
        operations, x = coerce(x)
        chosen = getattr(operations, name)
        if not args and not kwargs:  # a plain call is faster, as few numbers show
            return chosen(x)
        return chosen(x, *args, **kwargs)

    run.__module__ = __name__
    return cast(Function, run)


ACTIVATION_FUNCTIONS = [name for name in ops.ACTIVATIONS if name != "identity"]
"""Names of the activations that are functions of this module."""

__all__ += ACTIVATION_FUNCTIONS
globals().update({name: _dispatched(getattr(ops, name)) for name in ACTIVATION_FUNCTIONS})

softmax: Callable[..., Array] = _dispatched(ops.softmax)
log_softmax: Callable[..., Array] = _dispatched(ops.log_softmax)


def softmax_cross_entropy(logits: Array, labels: Labels) -> tuple[Array, Array]:
    """Compute the mean cross-entropy of softmax(logits), and its gradient, in one pass.

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
        The gradient with respect to the logits: ``(softmax(logits) - labels) / batch`` for labels
        whose rows sum to 1.

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
    operations, logits, labels = coerce_pair(logits, labels)
    check_labels(logits, labels)
    return operations.softmax_cross_entropy(logits, labels)
