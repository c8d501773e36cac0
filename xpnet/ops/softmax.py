"""Softmax and its logarithm, stable for logits of any size."""

from xpnet.ops.namespace import Array, namespace


def softmax(x: Array, axis: int = -1) -> Array:
    """exp(x - m) / sum exp(x - m), m = max x along ``axis`` (the shift cancels and keeps exp from overflowing).

    x : any shape with at least one axis
    returns the shape of x; sums to 1 along ``axis``
    """
    xp = namespace(x)
    e = xp.exp(x - xp.max(x, axis=axis, keepdims=True))
    return e / xp.sum(e, axis=axis, keepdims=True)


def log_softmax(x: Array, axis: int = -1) -> Array:
    """(x - m) - log sum exp(x - m), m = max x along ``axis``: never the logarithm of a rounded-to-zero softmax.

    x : any shape with at least one axis
    returns the shape of x
    """
    xp = namespace(x)
    shifted = x - xp.max(x, axis=axis, keepdims=True)
    return shifted - xp.log(xp.sum(xp.exp(shifted), axis=axis, keepdims=True))
