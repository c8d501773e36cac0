"""Losses, each with its gradient with respect to the outputs of the last affine layer.

All are means over the rows of a batch, ``sum_i w_i l_i / sum_i w_i``, where w is ``sample_weight``
or all ones.
"""

from collections.abc import Sequence
from typing import cast

from array_api_compat import device

from xpnet.ops.activations import logistic, softplus
from xpnet.ops.namespace import Array, Labels, namespace, number, zero
from xpnet.ops.rows import log_softmax, targets_of

EACH_ROW = cast(Array, object())
"""The sample weight with which a loss here returns the loss of each row, (batch,), and no mean."""


def softmax_cross_entropy(
    logits: Array, labels: Labels, sample_weight: Array | None = None
) -> tuple[Array, Array]:
    """Compute the cross-entropy of softmax(z), ``l_i = -sum_k y_ik log softmax(z_i)_k``.

    The mean over the rows is ``sum_i w_i l_i / sum_i w_i``, where w are the sample weights or all
    ones.

    Parameters
    ----------
    logits : array, shape (batch, classes)
        The logits z.
    labels : array, shape (batch,) or (batch, classes)
        Class indices, integer; or one-hot or soft labels.
    sample_weight : array, shape (batch,), optional
        Weights of the rows in the mean; None for equal weights.

    Returns
    -------
    loss : array, 0-d
        The mean loss.
    d_logits : array, shape (batch, classes)
        The gradient of the loss with respect to the logits, ``w_i (softmax(z_i) sum_k y_ik - y_i) /
        sum w``.

    Notes
    -----
    For labels whose rows sum to 1 and equal weights the gradient is ``(softmax(z) - y) / batch``.
    Where y is 0, a logit of -inf adds nothing to the loss.

    References
    ----------
    C. M. Bishop, Pattern Recognition and Machine Learning, 2006, eq. 4.109.

    Examples
    --------
    >>> import numpy
    >>> from xpnet import ops
    >>> loss, d_logits = ops.softmax_cross_entropy(numpy.zeros((1, 2)), numpy.array([0]))
    >>> float(loss.round(4)), d_logits
    (0.6931, array([[-0.5,  0.5]]))
    """
    xp = namespace(logits)
    labels = as_distribution(labels, logits)
    log_prob = log_softmax(logits)
    losses = -xp.sum(labels * xp.where(labels == 0, zero(logits), log_prob), axis=1, keepdims=True)
    return _mean(
        losses, xp.exp(log_prob) * xp.sum(labels, axis=1, keepdims=True) - labels, sample_weight
    )


def multi_softmax_cross_entropy(
    logits: Array,
    labels: Labels,
    sample_weight: Array | None = None,
    *,
    target: float | Sequence[float] = 0.0,
) -> tuple[Array, Array]:
    """Compute the cross-entropy of several targets, the sum of one softmax cross-entropy for each.

    The mean over the rows is ``sum_i w_i l_i / sum_i w_i``, where w are the sample weights or all
    ones.

    Parameters
    ----------
    logits : array, shape (batch, outputs)
        The logits of the classes of all targets, one target behind the other.
    labels : array, shape (batch, outputs)
        One-hot or soft labels of each target.
    sample_weight : array, shape (batch,), optional
        Weights of the rows in the mean; None for equal weights.
    target : float or sequence of float, default 0.0
        The number of the target that each output belongs to; outputs side by side with one number
        are one target's.

    Returns
    -------
    loss : array, 0-d
        The mean loss.
    d_logits : array, shape (batch, outputs)
        The gradient of the loss with respect to the logits.

    See Also
    --------
    softmax_cross_entropy : The formulas, and their source.

    Examples
    --------
    >>> import numpy
    >>> from xpnet import ops
    >>> labels = numpy.array([[1.0, 0.0, 0.0, 1.0]])
    >>> loss, d_logits = ops.multi_softmax_cross_entropy(
    ...     numpy.zeros((1, 4)), labels, target=[0, 0, 1, 1]
    ... )
    >>> float(loss.round(4)), d_logits
    (1.3863, array([[-0.5,  0.5,  0.5, -0.5]]))
    """
    of_each = [
        softmax_cross_entropy(logits[:, columns], labels[:, columns], sample_weight)
        for columns in targets_of(target, logits.shape[1])
    ]
    losses, d_logits = zip(*of_each, strict=True)
    return sum(losses[1:], start=losses[0]), namespace(logits).concat(d_logits, axis=1)


def logistic_cross_entropy(
    logits: Array, labels: Labels, sample_weight: Array | None = None
) -> tuple[Array, Array]:
    """Compute the binary cross-entropy, ``l_i = sum_k log(1 + exp(z_ik)) - z_ik y_ik``.

    The mean over the rows is ``sum_i w_i l_i / sum_i w_i``, where w are the sample weights or all
    ones.

    Parameters
    ----------
    logits : array, shape (batch, outputs)
        The logits z.
    labels : array, shape (batch, outputs)
        The labels y, each within [0, 1].
    sample_weight : array, shape (batch,), optional
        Weights of the rows in the mean; None for equal weights.

    Returns
    -------
    loss : array, 0-d
        The mean loss.
    d_logits : array, shape (batch, outputs)
        The gradient of the loss with respect to the logits, ``w_i (logistic(z_i) - y_i) / sum w``.

    Notes
    -----
    ``log(1 + exp(z))`` is computed as ``log(1 + exp(-|z|)) + max(z, 0)``, which cannot overflow.

    References
    ----------
    C. M. Bishop, Pattern Recognition and Machine Learning, 2006, eq. 4.90.

    Examples
    --------
    >>> import numpy
    >>> from xpnet import ops
    >>> loss, d_logits = ops.logistic_cross_entropy(numpy.zeros((1, 1)), numpy.ones((1, 1)))
    >>> float(loss.round(4)), d_logits
    (0.6931, array([[-0.5]]))
    """
    labels = namespace(logits).astype(labels, logits.dtype)
    return _mean(softplus(logits) - logits * labels, logistic(logits) - labels, sample_weight)


def squared_error(
    outputs: Array, targets: Labels, sample_weight: Array | None = None
) -> tuple[Array, Array]:
    """Compute half the squared error, ``l_i = 1/2 sum_k (o_ik - y_ik)**2``.

    The mean over the rows is ``sum_i w_i l_i / sum_i w_i``, where w are the sample weights or all
    ones.

    Parameters
    ----------
    outputs : array, shape (batch, outputs)
        The outputs o.
    targets : array, shape (batch, outputs)
        The targets y.
    sample_weight : array, shape (batch,), optional
        Weights of the rows in the mean; None for equal weights.

    Returns
    -------
    loss : array, 0-d
        The mean loss.
    d_outputs : array, shape (batch, outputs)
        The gradient of the loss with respect to the outputs, ``w_i (o_i - y_i) / sum w``.

    Examples
    --------
    >>> import numpy
    >>> from xpnet import ops
    >>> loss, d_outputs = ops.squared_error(numpy.array([[3.0]]), numpy.array([[1.0]]))
    >>> float(loss), d_outputs
    (2.0, array([[2.]]))
    """
    xp = namespace(outputs)
    error = outputs - xp.astype(targets, outputs.dtype)
    d_outputs = error * _row_scale(outputs, sample_weight)
    return 0.5 * _total(error * d_outputs, sample_weight), d_outputs


def poisson(
    outputs: Array, targets: Labels, sample_weight: Array | None = None
) -> tuple[Array, Array]:
    """Compute half the Poisson deviance of exp(o), ``sum_k exp(o) - y + y (log y - o)``.

    The mean over the rows is ``sum_i w_i l_i / sum_i w_i``, where w are the sample weights or all
    ones.

    Parameters
    ----------
    outputs : array, shape (batch, outputs)
        The outputs o, logarithms of the predicted means.
    targets : array, shape (batch, outputs)
        The targets y, not negative.
    sample_weight : array, shape (batch,), optional
        Weights of the rows in the mean; None for equal weights.

    Returns
    -------
    loss : array, 0-d
        The mean loss.
    d_outputs : array, shape (batch, outputs)
        The gradient of the loss with respect to the outputs, ``w_i (exp(o_i) - y_i) / sum w``.

    References
    ----------
    P. McCullagh, J. A. Nelder, Generalized Linear Models, 1989, section 2.3.

    Examples
    --------
    >>> import numpy
    >>> from xpnet import ops
    >>> loss, d_outputs = ops.poisson(numpy.array([[0.0]]), numpy.array([[3.0]]))
    >>> float(loss.round(4)), d_outputs
    (1.2958, array([[-2.]]))
    """
    xp = namespace(outputs)
    targets = xp.astype(targets, outputs.dtype)
    mean = xp.exp(outputs)
    losses = mean - targets + targets * (_log_positive(targets) - outputs)
    return _mean(losses, mean - targets, sample_weight)


def absolute_error(
    outputs: Array, targets: Labels, sample_weight: Array | None = None
) -> tuple[Array, Array]:
    """Compute the absolute error, ``l_i = sum_k |o_ik - y_ik|``, minimal at the median.

    The mean over the rows is ``sum_i w_i l_i / sum_i w_i``, where w are the sample weights or all
    ones.

    Parameters
    ----------
    outputs : array, shape (batch, outputs)
        The outputs o.
    targets : array, shape (batch, outputs)
        The targets y.
    sample_weight : array, shape (batch,), optional
        Weights of the rows in the mean; None for equal weights.

    Returns
    -------
    loss : array, 0-d
        The mean loss.
    d_outputs : array, shape (batch, outputs)
        The gradient of the loss with respect to the outputs, ``w_i sign(o_i - y_i) / sum w``, which
        is 0 where both are equal.

    References
    ----------
    R. Koenker, G. Bassett, Regression Quantiles, Econometrica 46, 1978.

    Examples
    --------
    >>> import numpy
    >>> from xpnet import ops
    >>> loss, d_outputs = ops.absolute_error(numpy.array([[3.0]]), numpy.array([[1.0]]))
    >>> float(loss), d_outputs
    (2.0, array([[1.]]))
    """
    xp = namespace(outputs)
    error = outputs - xp.astype(targets, outputs.dtype)
    return _mean(xp.abs(error), xp.sign(error), sample_weight)


def huber(
    outputs: Array,
    targets: Labels,
    sample_weight: Array | None = None,
    *,
    delta: float | Sequence[float] = 1.0,
) -> tuple[Array, Array]:
    """Compute Huber's loss: half the squared error up to ``delta``, then a straight line.

    With e = o - y and g = min(max(e, -delta), delta) it is ``l_i = sum_k g_ik (e_ik - g_ik / 2)``.
    The mean over the rows is ``sum_i w_i l_i / sum_i w_i``, where w are the sample weights or all
    ones.

    Parameters
    ----------
    outputs : array, shape (batch, outputs)
        The outputs o.
    targets : array, shape (batch, outputs)
        The targets y.
    sample_weight : array, shape (batch,), optional
        Weights of the rows in the mean; None for equal weights.
    delta : float or sequence of float, default 1.0
        The error at which the line begins, greater than 0, in the unit of the targets; one, or one
        for each output.

    Returns
    -------
    loss : array, 0-d
        The mean loss.
    d_outputs : array, shape (batch, outputs)
        The gradient of the loss with respect to the outputs, ``w_i g_i / sum w``.

    References
    ----------
    P. J. Huber, Robust Estimation of a Location Parameter, Annals of Mathematical Statistics 35,
    1964.

    Examples
    --------
    >>> import numpy
    >>> from xpnet import ops
    >>> loss, d_outputs = ops.huber(numpy.array([[3.0]]), numpy.array([[1.0]]), delta=1.0)
    >>> float(loss), d_outputs
    (1.5, array([[1.]]))
    """
    xp = namespace(outputs)
    error = outputs - xp.astype(targets, outputs.dtype)
    limit = number(delta, outputs)
    slope = xp.where(error > limit, limit, xp.where(error < -limit, -limit, error))
    d_outputs = slope * _row_scale(outputs, sample_weight)
    return _total((error - 0.5 * slope) * d_outputs, sample_weight), d_outputs


def quantile(
    outputs: Array,
    targets: Labels,
    sample_weight: Array | None = None,
    *,
    quantile: float | Sequence[float] = 0.5,
) -> tuple[Array, Array]:
    """Compute the pinball loss, ``l_i = sum_k max(q_k (y_ik - o_ik), (q_k - 1) (y_ik - o_ik))``.

    It is minimal if o_k is the quantile q_k of the targets. The mean over the rows is ``sum_i w_i
    l_i / sum_i w_i``, where w are the sample weights or all ones.

    Parameters
    ----------
    outputs : array, shape (batch, outputs)
        The outputs o.
    targets : array, shape (batch, outputs)
        The targets y; for several quantiles of one target, that target in each column.
    sample_weight : array, shape (batch,), optional
        Weights of the rows in the mean; None for equal weights.
    quantile : float or sequence of float, default 0.5
        The levels q, between 0 and 1; one, or one for each output.

    Returns
    -------
    loss : array, 0-d
        The mean loss.
    d_outputs : array, shape (batch, outputs)
        The gradient of the loss with respect to the outputs: ``w_i / sum w`` times -q where the
        target is above the output, 1 - q where it is below, and 0 where both are equal.

    References
    ----------
    R. Koenker, G. Bassett, Regression Quantiles, Econometrica 46, 1978.

    Examples
    --------
    >>> import numpy
    >>> from xpnet import ops
    >>> loss, d_outputs = ops.quantile(
    ...     numpy.array([[3.0, 3.0]]), numpy.array([[5.0, 5.0]]), quantile=[0.1, 0.9]
    ... )
    >>> float(loss), d_outputs
    (2.0, array([[-0.1, -0.9]]))
    """
    xp = namespace(outputs)
    error = xp.astype(targets, outputs.dtype) - outputs
    level = number(quantile, outputs)
    slope = xp.where(error > 0, -level, xp.where(error < 0, 1 - level, error))
    d_outputs = slope * _row_scale(outputs, sample_weight)
    return -_total(error * d_outputs, sample_weight), d_outputs


def gamma(
    outputs: Array, targets: Labels, sample_weight: Array | None = None
) -> tuple[Array, Array]:
    """Compute half the gamma deviance of exp(o), ``l_i = sum_k o - log y + y exp(-o) - 1``.

    The mean over the rows is ``sum_i w_i l_i / sum_i w_i``, where w are the sample weights or all
    ones.

    Parameters
    ----------
    outputs : array, shape (batch, outputs)
        The outputs o, logarithms of the predicted means.
    targets : array, shape (batch, outputs)
        The targets y, greater than 0.
    sample_weight : array, shape (batch,), optional
        Weights of the rows in the mean; None for equal weights.

    Returns
    -------
    loss : array, 0-d
        The mean loss.
    d_outputs : array, shape (batch, outputs)
        The gradient of the loss with respect to the outputs, ``w_i (1 - y_i exp(-o_i)) / sum w``.

    References
    ----------
    P. McCullagh, J. A. Nelder, Generalized Linear Models, 1989, section 8.3.

    Examples
    --------
    >>> import numpy
    >>> from xpnet import ops
    >>> loss, d_outputs = ops.gamma(numpy.array([[0.0]]), numpy.array([[3.0]]))
    >>> float(loss.round(4)), d_outputs
    (0.9014, array([[-2.]]))
    """
    xp = namespace(outputs)
    targets = xp.astype(targets, outputs.dtype)
    ratio = targets * xp.exp(-outputs)
    return _mean(outputs - _log_positive(targets) + ratio - 1, 1 - ratio, sample_weight)


def tweedie(
    outputs: Array,
    targets: Labels,
    sample_weight: Array | None = None,
    *,
    power: float | Sequence[float] = 1.5,
) -> tuple[Array, Array]:
    """Compute half the Tweedie deviance of exp(o) for a power p between 1 and 2.

    With mu = exp(o), ``l_i = sum_k y^(2-p) / ((1-p) (2-p)) - y mu^(1-p) / (1-p) + mu^(2-p) /
    (2-p)``. The mean over the rows is ``sum_i w_i l_i / sum_i w_i``, where w are the sample weights
    or all ones.

    Parameters
    ----------
    outputs : array, shape (batch, outputs)
        The outputs o, logarithms of the predicted means.
    targets : array, shape (batch, outputs)
        The targets y, not negative.
    sample_weight : array, shape (batch,), optional
        Weights of the rows in the mean; None for equal weights.
    power : float or sequence of float, default 1.5
        The power p, between 1 and 2: the variance is proportional to ``mu^p``; one, or one for each
        output.

    Returns
    -------
    loss : array, 0-d
        The mean loss.
    d_outputs : array, shape (batch, outputs)
        The gradient of the loss with respect to the outputs, ``w_i (mu_i^(2-p) - y_i mu_i^(1-p)) /
        sum w``.

    References
    ----------
    B. Jorgensen, Exponential Dispersion Models, Journal of the Royal Statistical Society B 49,
    1987.

    Examples
    --------
    >>> import numpy
    >>> from xpnet import ops
    >>> loss, d_outputs = ops.tweedie(numpy.array([[0.0]]), numpy.array([[4.0]]), power=1.5)
    >>> float(loss), d_outputs
    (2.0, array([[-3.]]))
    """
    xp = namespace(outputs)
    targets = xp.astype(targets, outputs.dtype)
    below, above = 1 - number(power, outputs), 2 - number(power, outputs)
    ratio = targets * xp.exp(below * outputs)
    mean = xp.exp(above * outputs)
    minimum = xp.where(targets > 0, xp.exp(above * _log_positive(targets)), zero(outputs)) / (
        below * above
    )
    return _mean(minimum - ratio / below + mean / above, mean - ratio, sample_weight)


def as_distribution(labels: Labels, like: Array) -> Array:
    """Return labels (batch, classes) in the dtype of ``like``; class indices become one-hot."""
    xp = namespace(like)
    if labels.ndim == 1:
        classes = xp.arange(like.shape[1], dtype=labels.dtype, device=device(like))
        labels = labels[:, None] == classes[None, :]
    return xp.astype(labels, like.dtype)


def smoothed(labels: Labels, like: Array, share: float, classes: float | Sequence[float]) -> Array:
    """Return labels (batch, outputs) of which a share is spread over all classes of a target.

    share : the part that is spread, from 0 to 1
    classes : number of classes of the target; one number, or one for each output

    The dtype is that of ``like``. Source: Szegedy, Vanhoucke, Ioffe, Shlens, Wojna, Rethinking the
    Inception Architecture, 2016, section 7.
    """
    return (1 - share) * as_distribution(labels, like) + share / number(classes, like)


def _log_positive(targets: Array) -> Array:
    """Return the logarithm of targets, 0 for those that are not positive."""
    xp = namespace(targets)
    return xp.log(xp.where(targets > 0, targets, xp.ones_like(targets)))


def _mean(losses: Array, slopes: Array, sample_weight: Array | None) -> tuple[Array, Array]:
    """Return the mean loss over the rows, and its gradient, from the slopes of the losses."""
    scale = _row_scale(losses, sample_weight)
    return _total(losses * scale, sample_weight), slopes * scale


def _total(losses: Array, sample_weight: Array | None) -> Array:
    """Return the sum of scaled losses, over each row alone where the weights are EACH_ROW."""
    return namespace(losses).sum(losses, axis=1 if sample_weight is EACH_ROW else None)


def _row_scale(outputs: Array, sample_weight: Array | None) -> Array | float:
    """Return the factor of each row's loss in the mean: 1 / batch, or w_i / sum w as a column."""
    if sample_weight is EACH_ROW:
        return 1.0
    if sample_weight is None:
        return 1.0 / outputs.shape[0] if outputs.shape[0] else float("nan")
    xp = namespace(outputs)
    weight = xp.astype(sample_weight, outputs.dtype)
    return (weight / xp.sum(weight))[:, None]
