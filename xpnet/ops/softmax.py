"""Softmax and its logarithm, stable for logits of any size."""

from xpnet.ops.namespace import Array, namespace


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
        Probabilities, which sum to 1 along the axis.

    Notes
    -----
    The shift by the maximum cancels, and keeps exp from overflowing.

    Examples
    --------
    >>> import numpy
    >>> from xpnet import ops
    >>> ops.softmax(numpy.array([0.0, 0.0, 1000.0]))
    array([0., 0., 1.])
    """
    xp = namespace(x)
    e = xp.exp(x - xp.max(x, axis=axis, keepdims=True))
    return e / xp.sum(e, axis=axis, keepdims=True)


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
        Logarithms of the probabilities.

    Notes
    -----
    No probability is rounded to 0 before its logarithm is taken.

    Examples
    --------
    >>> import numpy
    >>> from xpnet import ops
    >>> ops.log_softmax(numpy.array([0.0, 0.0, 1000.0]))
    array([-1000., -1000.,     0.])
    """
    xp = namespace(x)
    shifted = x - xp.max(x, axis=axis, keepdims=True)
    return shifted - xp.log(xp.sum(xp.exp(shifted), axis=axis, keepdims=True))
