"""The operations as functions that dispatch: NumPy in, NumPy out; CuPy in, CuPy out; and so on."""

from typing import Any

from xpnet.dispatch import enter, enter_both
from xpnet.layers.cross_entropy import check_labels
from xpnet.ops import Array, Labels


def relu(x: Array) -> Array:
    """Take the larger of 0 and each item, ``max(0, x)``; NaN stays NaN.

    Parameters
    ----------
    x : array, any shape
        The inputs.

    Returns
    -------
    array, shape of x
        The outputs, of the library, device and dtype of x.

    Examples
    --------
    >>> import numpy
    >>> import xpnet
    >>> xpnet.relu(numpy.array([-1.0, 0.0, 2.0]))
    array([0., 0., 2.])
    """
    ops, x = enter(x)
    return ops.relu(x)


def softmax(x: Array, axis: int = -1) -> Array:
    """Compute the softmax along an axis, ``exp(x - max x) / sum exp(x - max x)``.

    Parameters
    ----------
    x : array, any shape with at least one axis
        The logits.
    axis : int, default -1
        The axis along which the sum is taken.

    Returns
    -------
    array, shape of x
        Probabilities, of the library, device and dtype of x, which sum to 1 along the axis.

    Examples
    --------
    >>> import numpy
    >>> import xpnet
    >>> xpnet.softmax(numpy.array([[0.0, 0.0, 1000.0]]))
    array([[0., 0., 1.]])
    """
    ops, x = enter(x)
    return ops.softmax(x, axis)


def log_softmax(x: Array, axis: int = -1) -> Array:
    """Compute the logarithm of the softmax along an axis, ``(x - max x) - log sum exp(x - max x)``.

    Parameters
    ----------
    x : array, any shape with at least one axis
        The logits.
    axis : int, default -1
        The axis along which the sum is taken.

    Returns
    -------
    array, shape of x
        Logarithms of the probabilities, of the library, device and dtype of x.

    Examples
    --------
    >>> import numpy
    >>> import xpnet
    >>> xpnet.log_softmax(numpy.array([[0.0, 1000.0]]))
    array([[-1000.,     0.]])
    """
    ops, x = enter(x)
    return ops.log_softmax(x, axis)


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
    ops, logits, labels = enter_both(logits, labels)
    check_labels(logits, labels)
    return ops.softmax_cross_entropy(logits, labels)
