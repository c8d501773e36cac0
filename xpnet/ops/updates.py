"""Parameter updates. A kernel may write into the arrays that are passed, so callers use only what is returned."""

from xpnet.ops.namespace import Array, namespace


def sgd_update(
    param: Array,
    grad: Array,
    velocity: Array | None = None,
    *,
    learning_rate: float,
    momentum: float = 0.0,
    nesterov: bool = False,
) -> tuple[Array, Array | None]:
    """Make one step of gradient descent, with momentum if there is a velocity.

    Parameters
    ----------
    param : array, any shape
        The parameters p.
    grad : array, shape of param
        The gradient g of the loss by the parameters.
    velocity : array, shape of param, optional
        The velocity v, zeros before the first step; None for plain gradient descent.
    learning_rate : float
        The learning rate lr.
    momentum : float, default 0.0
        The decay mu of the velocity, in [0, 1].
    nesterov : bool, default False
        Whether Nesterov's momentum is used.

    Returns
    -------
    param : array, shape of param
        The new parameters.
    velocity : array, shape of param, or None
        The new velocity.

    Notes
    -----
    ::

        plain      p <- p - lr g
        momentum   v <- mu v - lr g;  p <- p + v
        Nesterov   v <- mu v - lr g;  p <- p + mu v - lr g

    The arrays that are passed must not be used afterwards: a kernel may write into them.

    References
    ----------
    .. [1] B. T. Polyak, Some methods of speeding up the convergence of iteration methods, 1964.
    .. [2] I. Sutskever, J. Martens, G. Dahl, G. Hinton, On the importance of initialization and momentum in deep
       learning, 2013, eq. 3 and 4, evaluated at p.

    Examples
    --------
    >>> import numpy
    >>> from xpnet import ops
    >>> ops.sgd_update(numpy.array([1.0]), numpy.array([2.0]), learning_rate=0.1)
    (array([0.8]), None)
    """
    if velocity is None:
        return param - learning_rate * grad, None
    velocity = momentum * velocity - learning_rate * grad
    return param + (momentum * velocity - learning_rate * grad if nesterov else velocity), velocity


def adam_update(
    param: Array,
    grad: Array,
    m: Array,
    v: Array,
    *,
    t: int,
    learning_rate: float,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
    weight_decay: float = 0.0,
    epsilon_hat: bool = False,
) -> tuple[Array, Array, Array]:
    """Make one step of Adam, or of AdamW if ``weight_decay`` is greater than 0.

    Parameters
    ----------
    param : array, any shape
        The parameters p.
    grad : array, shape of param
        The gradient g of the loss by the parameters.
    m : array, shape of param
        The mean of the gradient, zeros before the first step.
    v : array, shape of param
        The mean of the squared gradient, zeros before the first step.
    t : int
        The number of the step, from 1.
    learning_rate : float
        The learning rate lr.
    beta1, beta2 : float, default 0.9 and 0.999
        Decays of the two means, in [0, 1).
    epsilon : float, default 1e-8
        Added to the root, greater than 0.
    weight_decay : float, default 0.0
        Decoupled weight decay, not negative.
    epsilon_hat : bool, default False
        Whether epsilon is added to ``sqrt(v)`` before the bias correction: the efficient form at the end of section 2
        of Kingma and Ba, which scikit-learn uses.

    Returns
    -------
    param : array, shape of param
        The new parameters.
    m : array, shape of param
        The new mean of the gradient.
    v : array, shape of param
        The new mean of the squared gradient.

    Notes
    -----
    ::

        m <- beta1 m + (1 - beta1) g,        m_hat = m / (1 - beta1^t)
        v <- beta2 v + (1 - beta2) g^2,      v_hat = v / (1 - beta2^t)
        p <- (1 - lr weight_decay) p - lr m_hat / (sqrt(v_hat) + epsilon)

    The arrays that are passed must not be used afterwards: a kernel may write into them.

    References
    ----------
    .. [1] D. P. Kingma, J. Ba, Adam: A Method for Stochastic Optimization, 2015, algorithm 1.
    .. [2] I. Loshchilov, F. Hutter, Decoupled Weight Decay Regularization, 2019, algorithm 2.

    Examples
    --------
    >>> import numpy
    >>> from xpnet import ops
    >>> zero = numpy.zeros(1)
    >>> param, m, v = ops.adam_update(numpy.array([1.0]), numpy.array([2.0]), zero, zero, t=1, learning_rate=0.1)
    >>> param.round(4), m.round(4), v.round(4)
    (array([0.9]), array([0.2]), array([0.004]))
    """
    scale, root = adam_scales(t, learning_rate, beta1, beta2, epsilon_hat)
    m = beta1 * m + (1 - beta1) * grad
    v = beta2 * v + (1 - beta2) * grad * grad
    step = scale * m / (namespace(v).sqrt(v) * root + epsilon)
    return (1 - learning_rate * weight_decay) * param - step, m, v


def adam_scales(
    t: int, learning_rate: float, beta1: float, beta2: float, epsilon_hat: bool
) -> tuple[float, float]:
    """Return ``scale`` and ``root`` of a step of Adam, in either form: p <- p - scale m / (root sqrt(v) + epsilon)."""
    power = float(t)  # of two floats: compiled code, too, raises them as Python does
    correction1, correction2 = 1 - beta1**power, (1 - beta2**power) ** 0.5
    if epsilon_hat:
        return learning_rate * correction2 / correction1, 1.0
    return learning_rate / correction1, 1 / correction2
