"""Optimizers as a user names them: the numbers of an update rule, with their defaults.

An optimizer holds only its numbers. Its formulas are the update in ``xpnet.ops.UPDATES`` that has
the name of the class in small letters. The learning rate belongs to the model, since it may change
from epoch to epoch.
"""

from dataclasses import dataclass

from xpnet.errors import InputError
from xpnet.optimizers.optimizer import Optimizer


@dataclass(frozen=True)
class SGD(Optimizer):
    """Gradient descent: plain, with momentum, or with Nesterov's momentum.

    Parameters
    ----------
    momentum : float, default 0.0
        Decay mu of the velocity, in [0, 1); 0 for plain gradient descent.
    nesterov : bool, default False
        Whether Nesterov's momentum is used, which needs a momentum greater than 0.

    Raises
    ------
    InputError
        For a momentum outside its range, or Nesterov's momentum without momentum.

    See Also
    --------
    xpnet.ops.sgd_update : The formulas and their sources.

    Examples
    --------
    >>> import xpnet
    >>> optimizer = xpnet.SGD(momentum=0.9)
    >>> net = xpnet.FeedforwardNeuralNet(4, 8, 3, learning_rate=0.1, optimizer=optimizer)
    """

    momentum: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.momentum < 1:
            raise InputError(
                f"`momentum` must lie in [0, 1); got {self.momentum}. Try 0.9, or leave it out."
            )
        if self.nesterov and not self.momentum:
            raise InputError(
                "`momentum` must be greater than 0 with nesterov=True; got 0. Try 0.9."
            )


@dataclass(frozen=True)
class Adam(Optimizer):
    """Adam: steps scaled by running means of the gradient and of its square.

    Parameters
    ----------
    beta1 : float, default 0.9
        Decay of the mean of the gradient, in [0, 1).
    beta2 : float, default 0.999
        Decay of the mean of the squared gradient, in [0, 1).
    epsilon : float, default 1e-8
        Added to the root of the mean square, greater than 0.

    Raises
    ------
    InputError
        For numbers outside their range.

    See Also
    --------
    xpnet.ops.adam_update : The formulas and their sources.

    Examples
    --------
    >>> import xpnet
    >>> optimizer = xpnet.Adam(beta2=0.99)
    >>> net = xpnet.FeedforwardNeuralNet(4, 8, 3, learning_rate=1e-3, optimizer=optimizer)
    """

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with decoupled weight decay.

    Parameters
    ----------
    beta1 : float, default 0.9
        Decay of the mean of the gradient, in [0, 1).
    beta2 : float, default 0.999
        Decay of the mean of the squared gradient, in [0, 1).
    epsilon : float, default 1e-8
        Added to the root of the mean square, greater than 0.
    weight_decay : float, default 1e-2
        Strength of the decay, not negative. It is applied to all parameters.

    Raises
    ------
    InputError
        For numbers outside their range.

    See Also
    --------
    xpnet.ops.adam_update : The formulas and their sources.

    Examples
    --------
    >>> import xpnet
    >>> optimizer = xpnet.AdamW(weight_decay=0.1)
    >>> net = xpnet.FeedforwardNeuralNet(4, 8, 3, learning_rate=1e-3, optimizer=optimizer)
    """

    weight_decay: float = 1e-2


@dataclass(frozen=True)
class RMSprop(Optimizer):
    """RMSprop: steps scaled by a running mean of the squared gradient.

    Parameters
    ----------
    beta2 : float, default 0.99
        Decay of the mean of the squared gradient, in [0, 1); ``alpha`` in PyTorch, ``rho`` in
        Keras.
    epsilon : float, default 1e-8
        Added to the root of the mean square, greater than 0.
    weight_decay : float, default 0.0
        Strength of decoupled weight decay, not negative. It is applied to all parameters.

    Raises
    ------
    InputError
        For numbers outside their range.

    See Also
    --------
    xpnet.ops.rmsprop_update : The formulas and their source.

    Examples
    --------
    >>> import xpnet
    >>> optimizer = xpnet.RMSprop(beta2=0.9)
    >>> net = xpnet.FeedforwardNeuralNet(4, 8, 3, learning_rate=1e-3, optimizer=optimizer)
    """

    beta2: float = 0.99
    epsilon: float = 1e-8
    weight_decay: float = 0.0


@dataclass(frozen=True)
class Nadam(Optimizer):
    """Nadam: Adam with Nesterov's momentum.

    Parameters
    ----------
    beta1 : float, default 0.9
        Decay of the mean of the gradient, in [0, 1).
    beta2 : float, default 0.999
        Decay of the mean of the squared gradient, in [0, 1).
    epsilon : float, default 1e-8
        Added to the root of the mean square, greater than 0.
    weight_decay : float, default 0.0
        Strength of decoupled weight decay, not negative. It is applied to all parameters.

    Raises
    ------
    InputError
        For numbers outside their range.

    See Also
    --------
    xpnet.ops.nadam_update : The formulas and their source.

    Examples
    --------
    >>> import xpnet
    >>> optimizer = xpnet.Nadam(beta2=0.99)
    >>> net = xpnet.FeedforwardNeuralNet(4, 8, 3, learning_rate=1e-3, optimizer=optimizer)
    """

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0


@dataclass(frozen=True)
class Lion(Optimizer):
    """Lion: every parameter moves by the learning rate, in the direction of a mean of the gradient.

    Parameters
    ----------
    beta1 : float, default 0.9
        Weight of the mean in the direction of the step, in [0, 1).
    beta2 : float, default 0.99
        Decay of the mean of the gradient, in [0, 1).
    weight_decay : float, default 0.0
        Strength of decoupled weight decay, not negative. It is applied to all parameters.

    Raises
    ------
    InputError
        For numbers outside their range.

    See Also
    --------
    xpnet.ops.lion_update : The formulas and their source.

    Notes
    -----
    A suitable learning rate is a third to a tenth of that for Adam.

    Examples
    --------
    >>> import xpnet
    >>> optimizer = xpnet.Lion(weight_decay=0.1)
    >>> net = xpnet.FeedforwardNeuralNet(4, 8, 3, learning_rate=1e-4, optimizer=optimizer)
    """

    beta1: float = 0.9
    beta2: float = 0.99
    weight_decay: float = 0.0


__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "RMSprop",
    "Nadam",
    "Lion",
]
