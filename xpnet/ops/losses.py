"""Losses, each with its gradient by the outputs of the last affine layer.

All are means over the rows of a batch: L = sum_i w_i l_i / sum_i w_i, where w is ``sample_weight`` or all ones.
"""

from array_api_compat import device

from xpnet.ops.activations import logistic
from xpnet.ops.namespace import Array, Labels, namespace, zero
from xpnet.ops.softmax import log_softmax


def softmax_cross_entropy(
    logits: Array, labels: Labels, sample_weight: Array | None = None
) -> tuple[Array, Array]:
    """Cross-entropy between labels y and softmax(z): l_i = -sum_k y_ik log softmax(z_i)_k.

    logits : (batch, classes); labels : class indices (batch,), integer, or one-hot or soft (batch, classes)
    sample_weight : (batch,), optional
    returns loss, a number (0-d array), and d_logits (batch, classes) = w_i (softmax(z_i) sum_k y_ik - y_i) / sum w

    For labels whose rows sum to 1 this is the familiar (softmax(z) - y) / batch
    (Bishop, Pattern Recognition and Machine Learning, 2006, eq. 4.109). Where y is 0 a logit of -inf adds nothing.
    """
    xp = namespace(logits)
    labels = as_distribution(labels, logits)
    log_prob = log_softmax(logits)
    scale = _row_scale(logits, sample_weight)
    losses = -xp.sum(labels * xp.where(labels == 0, zero(logits), log_prob), axis=1, keepdims=True)
    d_logits = (xp.exp(log_prob) * xp.sum(labels, axis=1, keepdims=True) - labels) * scale
    return xp.sum(losses * scale), d_logits


def logistic_cross_entropy(
    logits: Array, labels: Labels, sample_weight: Array | None = None
) -> tuple[Array, Array]:
    """Binary cross-entropy of independent outputs: l_i = sum_k log(1 + exp(-|z|)) + max(z, 0) - z y.

    logits, labels : (batch, outputs), labels within [0, 1]; sample_weight : (batch,), optional
    returns loss, a number (0-d array), and d_logits (batch, outputs) = w_i (logistic(z) - y) / sum w
    (Bishop, 2006, eq. 4.90).
    """
    xp = namespace(logits)
    labels = xp.astype(labels, logits.dtype)
    scale = _row_scale(logits, sample_weight)
    losses = xp.log1p(xp.exp(-xp.abs(logits))) + xp.maximum(logits, zero(logits)) - logits * labels
    return xp.sum(losses * scale), (logistic(logits) - labels) * scale


def squared_error(outputs: Array, targets: Labels, sample_weight: Array | None = None) -> tuple[Array, Array]:
    """Half the squared error: l_i = 1/2 sum_k (o_ik - y_ik)^2.

    outputs, targets : (batch, outputs); sample_weight : (batch,), optional
    returns loss, a number (0-d array), and d_outputs (batch, outputs) = w_i (o - y) / sum w
    """
    xp = namespace(outputs)
    error = outputs - xp.astype(targets, outputs.dtype)
    d_outputs = error * _row_scale(outputs, sample_weight)
    return 0.5 * xp.sum(error * d_outputs), d_outputs


def poisson(outputs: Array, targets: Labels, sample_weight: Array | None = None) -> tuple[Array, Array]:
    """Half the Poisson deviance of the prediction exp(o): l_i = sum_k exp(o) - y + y (log y - o).

    outputs, targets : (batch, outputs), targets not negative; sample_weight : (batch,), optional
    returns loss, a number (0-d array), and d_outputs (batch, outputs) = w_i (exp(o) - y) / sum w
    (McCullagh, Nelder, Generalized Linear Models, 1989, section 2.3).
    """
    xp = namespace(outputs)
    targets = xp.astype(targets, outputs.dtype)
    scale = _row_scale(outputs, sample_weight)
    mean = xp.exp(outputs)
    log_targets = xp.log(xp.where(targets > 0, targets, xp.ones_like(targets)))
    losses = mean - targets + targets * (log_targets - outputs)
    return xp.sum(losses * scale), (mean - targets) * scale


def as_distribution(labels: Labels, like: Array) -> Array:
    """Labels as one row of weights a sample: class indices become one-hot rows, the others change dtype only.

    labels : (batch,) integer or (batch, classes); like : (batch, classes), gives dtype and number of classes
    returns (batch, classes)
    """
    xp = namespace(like)
    if labels.ndim == 1:
        classes = xp.arange(like.shape[1], dtype=labels.dtype, device=device(like))
        labels = labels[:, None] == classes[None, :]
    return xp.astype(labels, like.dtype)


def _row_scale(outputs: Array, sample_weight: Array | None) -> Array | float:
    """What each row's loss is multiplied by: 1 / batch, or w_i / sum w as a column."""
    if sample_weight is None:
        return 1.0 / outputs.shape[0] if outputs.shape[0] else float("nan")
    xp = namespace(outputs)
    weight = xp.astype(sample_weight, outputs.dtype)
    return (weight / xp.sum(weight))[:, None]
