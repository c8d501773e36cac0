"""Ordered classes: probabilities and loss of the cumulative logits.

The last layer has an output for each of K classes, lowest first. The first is a score; the gaps
between thresholds follow, and the last output has no part. ``c_0 = z_0`` and ``c_k = c_(k-1) -
softplus(z_k)`` fall with k, and ``logistic(c_k)`` is the probability of a class above k. In other
words, thresholds that rise cut the score into classes.

Source: P. McCullagh, Regression Models for Ordinal Data, Journal of the Royal Statistical Society B
42, 1980.
"""

from xpnet.ops.activations import logistic, softplus
from xpnet.ops.losses import _mean, as_distribution
from xpnet.ops.namespace import Array, Labels, namespace


def ordered(x: Array) -> Array:
    """Compute the probabilities of ordered classes from their cumulative logits.

    With ``c_0 = x_0`` and ``c_k = c_(k-1) - softplus(x_k)`` the probability of class k is
    ``logistic(c_(k-1)) - logistic(c_k)``.

    Parameters
    ----------
    x : array, shape (..., classes)
        The score, the gaps of the thresholds before softplus, and one output without a part.

    Returns
    -------
    array, shape of x
        Probabilities, lowest class first, which sum to 1 along the last axis.

    Notes
    -----
    The difference is computed as the product ``logistic(c_(k-1)) logistic(-c_k) logistic(x_k)``,
    which is exact for small probabilities, too.

    Examples
    --------
    >>> import numpy
    >>> from xpnet import ops
    >>> ops.ordered(numpy.array([[0.0, 1.0, 0.0]])).round(3)
    array([[0.5  , 0.288, 0.212]])
    """
    xp = namespace(x)
    logits = _cumulative_logits(x)
    below, above = logistic(-logits), logistic(logits)
    middle = above[..., :-1] * below[..., 1:] * logistic(x[..., 1:-1])
    return xp.concat([below[..., :1], middle, above[..., -1:]], axis=-1)


def ordered_cross_entropy(
    logits: Array, labels: Labels, sample_weight: Array | None = None
) -> tuple[Array, Array]:
    """Compute the cross-entropy of ordered classes, ``l_i = -sum_k y_ik log ordered(z_i)_k``.

    The mean over the rows is ``sum_i w_i l_i / sum_i w_i``, where w are the sample weights or all
    ones.

    Parameters
    ----------
    logits : array, shape (batch, classes)
        The outputs z, as `ordered` takes them; two classes or more.
    labels : array, shape (batch,) or (batch, classes)
        Class indices, integer, lowest class first; or one-hot or soft labels.
    sample_weight : array, shape (batch,), optional
        Weights of the rows in the mean; None for equal weights.

    Returns
    -------
    loss : array, 0-d
        The mean loss.
    d_logits : array, shape (batch, classes)
        The gradient of the loss with respect to the outputs; 0 for the last.

    Notes
    -----
    With the cumulative logits c the logarithm of a probability is ``-softplus(-c_(k-1)) -
    softplus(c_k) - softplus(-z_k)``, in which nothing overflows and nothing cancels.

    Examples
    --------
    >>> import numpy
    >>> from xpnet import ops
    >>> loss, d_logits = ops.ordered_cross_entropy(numpy.zeros((1, 3)), numpy.array([2]))
    >>> float(loss.round(4)), d_logits.round(4)
    (1.0986, array([[-0.6667,  0.3333,  0.    ]]))
    """
    xp = namespace(logits)
    labels = as_distribution(labels, logits)
    cumulative = _cumulative_logits(logits)
    gaps, at, above = logits[:, 1:-1], labels[:, :-1], labels[:, 1:]
    inner = labels[:, 1:-1]
    losses = at * softplus(cumulative) + above * softplus(-cumulative)
    of_gaps = inner * softplus(-gaps)
    slopes = at * logistic(cumulative) - above * logistic(-cumulative)
    # Each gap moves all thresholds from its own on.
    moved = xp.flip(xp.cumulative_sum(xp.flip(slopes, axis=1), axis=1), axis=1)
    d_gaps = -logistic(gaps) * moved[:, 1:] - inner * logistic(-gaps)
    d_logits = xp.concat([moved[:, :1], d_gaps, xp.zeros_like(logits[:, :1])], axis=1)
    of_rows = xp.sum(losses, axis=1, keepdims=True) + xp.sum(of_gaps, axis=1, keepdims=True)
    return _mean(of_rows, d_logits, sample_weight)


def _cumulative_logits(x: Array) -> Array:
    """Return the logit of the probability of a class above k, (..., classes - 1), which falls."""
    xp = namespace(x)
    steps = xp.concat([x[..., :1], -softplus(x[..., 1:-1])], axis=-1)
    return xp.cumulative_sum(steps, axis=-1)
