"""The updates of the optimizers, and the table that lists them.

A kernel may write into the arrays that are passed, so callers use only the returned arrays.
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

from xpnet.errors import InputError
from xpnet.ops.namespace import Array, namespace

UpdateName = Annotated[str, "a name in UPDATES"]
"""The name of an update in `UPDATES`."""


@dataclass(frozen=True)
class Range:
    """The range of a number of an update.

    text : the range, as the end of a sentence for the user
    contains : whether a number is in the range; false for NaN
    """

    text: str
    contains: Callable[[float], bool]


FRACTION = Range("lie in [0, 1)", lambda number: 0 <= number < 1)

UPDATE_RANGES: dict[str, Range] = {
    "momentum": Range("lie in [0, 1]", lambda number: 0 <= number <= 1),
    "beta1": FRACTION,
    "beta2": FRACTION,
    "epsilon": Range("be greater than 0", lambda number: number > 0),
    "weight_decay": Range("be at least 0", lambda number: number >= 0),
}
"""The ranges of the numbers of updates, by name; flags are not listed."""


@dataclass(frozen=True)
class Update:
    """An entry of `UPDATES`; its properties follow from the signature of the function.

    Parameters
    ----------
    function : callable
        The update. Its arrays are the parameters, their gradient, and the buffers that it keeps for
        them. Its keyword arguments are ``learning_rate``, ``t`` if it counts the steps, and its
        numbers, which have defaults.
    scales : callable, optional
        Computes the factors of all items of a step from ``t``, ``learning_rate`` and numbers of the
        update: ``scale``, ``root`` and, if the update adds the gradient to the mean,
        ``grad_scale``. Compiled backends call it once per step.
    scaled : callable, optional
        The update with these factors as a positional argument in place of ``t``, for backends
        that compile the update for all steps at once.
    buffers_need : str, optional
        The number without which the update has no buffers.

    Examples
    --------
    >>> from xpnet.ops.updates import UPDATES
    >>> UPDATES["lion"].buffers, UPDATES["lion"].numbers
    (('m',), {'beta1': 0.9, 'beta2': 0.99, 'weight_decay': 0.0})
    """

    function: Callable[..., tuple[Array | None, ...]]
    scales: Callable[..., tuple[float, ...]] | None = None
    scaled: Callable[..., tuple[Array, ...]] | None = None
    buffers_need: str = ""

    @cached_property
    def _parameters(self) -> list[inspect.Parameter]:
        """The parameters of the reference function, in their order."""
        return list(inspect.signature(self.function).parameters.values())

    @cached_property
    def buffers(self) -> tuple[str, ...]:
        """Return the names of the arrays that are kept for each parameter, in order."""
        arrays = [p.name for p in self._parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
        return tuple(arrays[2:])

    @cached_property
    def numbers(self) -> dict[str, float]:
        """Return the numbers of the update and their defaults, in the order of the arguments."""
        options = [p for p in self._parameters if p.kind is p.KEYWORD_ONLY]
        return {p.name: p.default for p in options if p.default is not p.empty}

    @cached_property
    def counts_steps(self) -> bool:
        """Return whether the update takes the number of the step, ``t``."""
        return any(p.name == "t" for p in self._parameters)


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
        The gradient g of the loss with respect to the parameters.
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
    .. [2] I. Sutskever, J. Martens, G. Dahl, G. Hinton, On the importance of initialization and
       momentum in deep learning, 2013, eq. 3 and 4, evaluated at p.

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
        The gradient g of the loss with respect to the parameters.
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
        Whether epsilon is added to ``sqrt(v)`` before the bias correction: the efficient form at
        the end of section 2 of Kingma and Ba, which scikit-learn uses.

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
    >>> param, m, v = ops.adam_update(
    ...     numpy.array([1.0]), numpy.array([2.0]), zero, zero, t=1, learning_rate=0.1
    ... )
    >>> param.round(4), m.round(4), v.round(4)
    (array([0.9]), array([0.2]), array([0.004]))
    """
    check_step_number(t)
    return scaled_adam_update(
        param,
        grad,
        m,
        v,
        adam_scales(t, learning_rate, beta1, beta2, epsilon_hat),
        learning_rate=learning_rate,
        beta1=beta1,
        beta2=beta2,
        epsilon=epsilon,
        weight_decay=weight_decay,
    )


def scaled_adam_update(
    param: Array,
    grad: Array,
    m: Array,
    v: Array,
    scales: Sequence[Array | float],
    *,
    learning_rate: Array | float,
    beta1: float,
    beta2: float,
    epsilon: float,
    weight_decay: float,
) -> tuple[Array, Array, Array]:
    """Make one step of Adam whose factors `adam_scales` has computed."""
    scale, root = scales
    m = beta1 * m + (1 - beta1) * grad
    v = beta2 * v + (1 - beta2) * grad * grad
    step = scale * m / (namespace(v).sqrt(v) * root + epsilon)
    return (1 - learning_rate * weight_decay) * param - step, m, v


def check_step_number(t: int) -> None:
    """Raise InputError for a number of a step below 1, for which means of gradients have no
    correction.
    """
    if t < 1:
        raise InputError(f"`t` must count steps from 1; got {t}. Pass t=1 with the first gradient.")


def adam_scales(
    t: int, learning_rate: float, beta1: float, beta2: float, epsilon_hat: bool
) -> tuple[float, float]:
    """Return ``scale`` and ``root`` of a step of Adam, in either form.

    The step is p <- p - scale m / (root sqrt(v) + epsilon).
    """
    power = float(t)  # the power of two floats is the same in compiled code and in Python
    correction1, correction2 = 1 - beta1**power, (1 - beta2**power) ** 0.5
    if epsilon_hat:
        return learning_rate * correction2 / correction1, 1.0
    return learning_rate / correction1, 1 / correction2


def rmsprop_update(
    param: Array,
    grad: Array,
    v: Array,
    *,
    learning_rate: float,
    beta2: float = 0.99,
    epsilon: float = 1e-8,
    weight_decay: float = 0.0,
) -> tuple[Array, Array]:
    """Make one step of RMSprop.

    Parameters
    ----------
    param : array, any shape
        The parameters p.
    grad : array, shape of param
        The gradient g of the loss with respect to the parameters.
    v : array, shape of param
        The mean of the squared gradient, zeros before the first step.
    learning_rate : float
        The learning rate lr.
    beta2 : float, default 0.99
        Decay of the mean, in [0, 1); ``alpha`` in PyTorch, ``rho`` in Keras.
    epsilon : float, default 1e-8
        Added to the root, greater than 0.
    weight_decay : float, default 0.0
        Decoupled weight decay, not negative.

    Returns
    -------
    param : array, shape of param
        The new parameters.
    v : array, shape of param
        The new mean of the squared gradient.

    Notes
    -----
    ::

        v <- beta2 v + (1 - beta2) g^2
        p <- (1 - lr weight_decay) p - lr g / (sqrt(v) + epsilon)

    The arrays that are passed must not be used afterwards: a kernel may write into them.

    References
    ----------
    .. [1] T. Tieleman, G. Hinton, Lecture 6.5 - rmsprop: Divide the gradient by a running average
       of its recent magnitude, Coursera: Neural Networks for Machine Learning, 2012.

    Examples
    --------
    >>> import numpy
    >>> from xpnet import ops
    >>> param, v = ops.rmsprop_update(
    ...     numpy.array([1.0]), numpy.array([2.0]), numpy.zeros(1), learning_rate=0.1
    ... )
    >>> param.round(4), v.round(4)
    (array([0.]), array([0.04]))
    """
    v = beta2 * v + (1 - beta2) * grad * grad
    step = learning_rate * grad / (namespace(v).sqrt(v) + epsilon)
    return (1 - learning_rate * weight_decay) * param - step, v


NADAM_DECAY = 0.96 ** (1 / 250)
"""Factor per step of the part by which Nadam reduces beta1; Dozat's is 0.96 ** (t / 250) at step t.
"""

NEGLIGIBLE_PRODUCT = 2.0**-54
"""A limit for a product of decays; below it, 1 minus the product is exactly 1 in float64."""


def nadam_update(
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
) -> tuple[Array, Array, Array]:
    """Make one step of Nadam, which is Adam with Nesterov's momentum.

    Parameters
    ----------
    param : array, any shape
        The parameters p.
    grad : array, shape of param
        The gradient g of the loss with respect to the parameters.
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

        mu_i = beta1 (1 - 0.96^(i / 250) / 2),  P_i = mu_1 mu_2 ... mu_i
        m <- beta1 m + (1 - beta1) g
        v <- beta2 v + (1 - beta2) g^2,         v_hat = v / (1 - beta2^t)
        step = mu_(t+1) m / (1 - P_(t+1)) + (1 - mu_t) g / (1 - P_t)
        p <- (1 - lr weight_decay) p - lr step / (sqrt(v_hat) + epsilon)

    These are also PyTorch's formulas (``torch.optim.NAdam`` with its default ``momentum_decay``).
    The arrays that are passed must not be used afterwards: a kernel may write into them.

    References
    ----------
    .. [1] T. Dozat, Incorporating Nesterov Momentum into Adam, ICLR Workshop, 2016.

    Examples
    --------
    >>> import numpy
    >>> from xpnet import ops
    >>> zero = numpy.zeros(1)
    >>> param, m, v = ops.nadam_update(
    ...     numpy.array([1.0]), numpy.array([2.0]), zero, zero, t=1, learning_rate=0.1
    ... )
    >>> param.round(4), m.round(4), v.round(4)
    (array([0.8944]), array([0.2]), array([0.004]))
    """
    check_step_number(t)
    return scaled_nadam_update(
        param,
        grad,
        m,
        v,
        nadam_scales(t, learning_rate, beta1, beta2),
        learning_rate=learning_rate,
        beta1=beta1,
        beta2=beta2,
        epsilon=epsilon,
        weight_decay=weight_decay,
    )


def scaled_nadam_update(
    param: Array,
    grad: Array,
    m: Array,
    v: Array,
    scales: Sequence[Array | float],
    *,
    learning_rate: Array | float,
    beta1: float,
    beta2: float,
    epsilon: float,
    weight_decay: float,
) -> tuple[Array, Array, Array]:
    """Make one step of Nadam whose factors `nadam_scales` has computed."""
    scale, root, grad_scale = scales
    m = beta1 * m + (1 - beta1) * grad
    v = beta2 * v + (1 - beta2) * grad * grad
    step = (scale * m + grad_scale * grad) / (namespace(v).sqrt(v) * root + epsilon)
    return (1 - learning_rate * weight_decay) * param - step, m, v


def nadam_scales(
    t: int, learning_rate: float, beta1: float, beta2: float
) -> tuple[float, float, float]:
    """Return ``scale``, ``root`` and ``grad_scale`` of a step of Nadam.

    The step is p <- p - (scale m + grad_scale g) / (root sqrt(v) + epsilon).
    """
    power = float(t)
    product = 1.0
    held_back = 0.5
    i = 0
    while i < t and product > NEGLIGIBLE_PRODUCT:
        held_back *= NADAM_DECAY
        product *= beta1 * (1 - held_back)
        i += 1
    decay = beta1 * (1 - 0.5 * NADAM_DECAY**power)
    next_decay = beta1 * (1 - 0.5 * NADAM_DECAY ** (power + 1))
    scale = learning_rate * next_decay / (1 - product * next_decay)
    grad_scale = learning_rate * (1 - decay) / (1 - product)
    return scale, 1 / (1 - beta2**power) ** 0.5, grad_scale


def lion_update(
    param: Array,
    grad: Array,
    m: Array,
    *,
    learning_rate: float,
    beta1: float = 0.9,
    beta2: float = 0.99,
    weight_decay: float = 0.0,
) -> tuple[Array, Array]:
    """Make one step of Lion: all parameters move by the learning rate, up or down.

    Parameters
    ----------
    param : array, any shape
        The parameters p.
    grad : array, shape of param
        The gradient g of the loss with respect to the parameters.
    m : array, shape of param
        The mean of the gradient, zeros before the first step.
    learning_rate : float
        The learning rate lr; a third to a tenth of that for Adam is suitable.
    beta1 : float, default 0.9
        Weight of the mean in the direction of the step, in [0, 1).
    beta2 : float, default 0.99
        Decay of the mean, in [0, 1).
    weight_decay : float, default 0.0
        Decoupled weight decay, not negative.

    Returns
    -------
    param : array, shape of param
        The new parameters.
    m : array, shape of param
        The new mean of the gradient.

    Notes
    -----
    ::

        p <- (1 - lr weight_decay) p - lr sign(beta1 m + (1 - beta1) g)
        m <- beta2 m + (1 - beta2) g

    The sign of 0 is 0. The arrays that are passed must not be used afterwards: a kernel may write
    into them.

    References
    ----------
    .. [1] X. Chen et al., Symbolic Discovery of Optimization Algorithms, 2023, algorithm 2.

    Examples
    --------
    >>> import numpy
    >>> from xpnet import ops
    >>> param, m = ops.lion_update(
    ...     numpy.array([1.0]), numpy.array([2.0]), numpy.zeros(1), learning_rate=0.1
    ... )
    >>> param.round(4), m.round(4)
    (array([0.9]), array([0.02]))
    """
    direction = namespace(m).sign(beta1 * m + (1 - beta1) * grad)
    m = beta2 * m + (1 - beta2) * grad
    return (1 - learning_rate * weight_decay) * param - learning_rate * direction, m


UPDATES: dict[UpdateName, Update] = {
    "sgd": Update(sgd_update, buffers_need="momentum"),
    "adam": Update(adam_update, adam_scales, scaled_adam_update),
    "rmsprop": Update(rmsprop_update),
    "nadam": Update(nadam_update, nadam_scales, scaled_nadam_update),
    "lion": Update(lion_update),
}
"""Every update by its name. Specification, steps, kernels and estimators read it."""

UPDATE_DEFAULTS: dict[str, float] = {
    name: default
    for update in reversed(UPDATES.values())
    for name, default in update.numbers.items()
}
"""A default for each number of any update: that of the first update that has it."""
