"""The operations as functions that dispatch: NumPy in, NumPy out; CuPy in, CuPy out; and so on."""

from typing import Any

from xpnet.dispatch import choose
from xpnet.layers.cross_entropy import check_labels
from xpnet.ops import Array, Labels


def relu(x: Array) -> Array:
    """max(0, x), element by element; NaN stays NaN.

    x : any shape
    returns the same shape, library, device and dtype
    """
    ops, x = _enter(x)
    return ops.relu(x)


def softmax(x: Array, axis: int = -1) -> Array:
    """exp(x - max x) / sum exp(x - max x) along ``axis``.

    x : any shape with at least one axis
    returns the same shape, library, device and dtype
    """
    ops, x = _enter(x)
    return ops.softmax(x, axis)


def log_softmax(x: Array, axis: int = -1) -> Array:
    """(x - max x) - log sum exp(x - max x) along ``axis``.

    x : any shape with at least one axis
    returns the same shape, library, device and dtype
    """
    ops, x = _enter(x)
    return ops.log_softmax(x, axis)


def softmax_cross_entropy(logits: Array, labels: Labels) -> tuple[Any, Array]:
    """The mean cross-entropy of softmax(logits) and its gradient by the logits, in one pass.

    logits : (batch, classes); labels : one-hot or soft (batch, classes), or class indices (batch,)
    returns loss, a number, and d_logits (batch, classes) = (softmax(logits) - labels) / batch

    Raises InputError for labels that do not fit, MixedArraysError for arrays of two libraries.
    """
    choice = choose(logits, labels)
    logits, labels = choice.backend.asarray(logits), choice.backend.asarray(labels)
    check_labels(logits, labels)
    return choice.ops.softmax_cross_entropy(logits, labels)


def _enter(x: Any) -> tuple[Any, Array]:
    choice = choose(x)
    return choice.ops, choice.backend.asarray(x)
