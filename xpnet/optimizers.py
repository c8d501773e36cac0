"""Optimizers as a user names them, and schedules of the learning rate.

An optimizer holds only its numbers. Its formulas are an update of ``xpnet.ops.UPDATES``. The
learning rate belongs to the model, since it may change from epoch to epoch.

A schedule is a function of the epoch (from 0) and of the losses of the previous epochs. It has no
state, so a training that continues from a file continues with the same learning rates.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import cache
from math import cos, inf, pi
from typing import ClassVar

from xpnet.backend import UpdateRule
from xpnet.errors import InputError, did_you_mean
from xpnet.ops import UpdateName

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "Constant",
    "Cosine",
    "OneCycle",
    "Exponential",
    "Lion",
    "Nadam",
    "OPTIMIZERS",
    "Optimizer",
    "Plateau",
    "RMSprop",
    "Schedule",
    "StepDecay",
    "update_rule",
]


@dataclass(frozen=True)
class Optimizer:
    """The base of the optimizers: an update of ``xpnet.ops.UPDATES`` and its numbers.

    Examples
    --------
    >>> from xpnet.optimizers import Adam
    >>> Adam(beta2=0.99).rule.beta2
    0.99
    """

    update: ClassVar[UpdateName]
    """The name of the update in ``xpnet.ops.UPDATES``."""

    def __post_init__(self) -> None:
        _ = self.rule  # checks the numbers

    @classmethod
    @cache
    def numbers(cls) -> tuple[str, ...]:
        """Return the names of the numbers that a user may set."""
        return tuple(field.name for field in fields(cls))

    @property
    def rule(self) -> UpdateRule:
        """Return the rule that a training step is made from."""
        return UpdateRule(self.update, **vars(self))


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

    update: ClassVar[UpdateName] = "sgd"
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

    update: ClassVar[UpdateName] = "adam"
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

    update: ClassVar[UpdateName] = "rmsprop"
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

    update: ClassVar[UpdateName] = "nadam"
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

    update: ClassVar[UpdateName] = "lion"
    beta1: float = 0.9
    beta2: float = 0.99
    weight_decay: float = 0.0


OPTIMIZERS: dict[str, type[Optimizer]] = {
    "sgd": SGD,
    "adam": Adam,
    "adamw": AdamW,
    "rmsprop": RMSprop,
    "nadam": Nadam,
    "lion": Lion,
}
"""Every optimizer by the name that a user may pass instead."""


def update_rule(optimizer: str | Optimizer | None) -> UpdateRule:
    """Return the update rule of an optimizer or of its name.

    Parameters
    ----------
    optimizer : str, Optimizer or None
        The optimizer, or its name in `OPTIMIZERS`; None for plain gradient descent.

    Returns
    -------
    UpdateRule
        The rule that a training step is made from.

    Raises
    ------
    InputError
        For an unknown name.

    Examples
    --------
    >>> from xpnet.optimizers import update_rule
    >>> update_rule("adam").buffers
    ('m', 'v')
    """
    if optimizer is None:
        return UpdateRule()
    if isinstance(optimizer, str):
        if optimizer not in OPTIMIZERS:
            names = ", ".join(OPTIMIZERS)
            raise InputError(
                f"`optimizer` must be one of {names}, or an instance of their classes; got "
                f"{optimizer!r}. {did_you_mean(optimizer, OPTIMIZERS)}".rstrip()
            )
        return OPTIMIZERS[optimizer]().rule
    return optimizer.rule


Schedule = Callable[[int, Sequence[float]], float]
"""A function (epoch, losses of the previous epochs) -> learning rate of this epoch."""


@dataclass(frozen=True)
class _Schedule:
    """A schedule whose numbers, except ``end`` and ``tol``, are positive and finite.

    sees_losses : whether it depends on the losses of the previous epochs
    """

    sees_losses: ClassVar[bool] = False
    learning_rate: float

    def __post_init__(self) -> None:
        for name, number in vars(self).items():
            if name not in ("end", "tol") and not 0 < number < inf:
                raise InputError(
                    f"`{name}` must be positive and finite; got {number}. A usual learning rate is "
                    "1e-2, or 1e-3 with Adam."
                )


@dataclass(frozen=True)
class Constant(_Schedule):
    """A constant learning rate.

    Parameters
    ----------
    learning_rate : float
        The learning rate, positive and finite.

    Raises
    ------
    InputError
        For numbers that are not positive and finite.

    Examples
    --------
    >>> from xpnet.optimizers import Constant
    >>> Constant(0.1)(epoch=5, losses=[])
    0.1
    """

    def __call__(self, epoch: int, losses: Sequence[float]) -> float:
        """Compute the learning rate of an epoch."""
        return self.learning_rate


@dataclass(frozen=True)
class StepDecay(_Schedule):
    """A learning rate that is multiplied by a factor every few epochs.

    The learning rate is ``learning_rate * factor ** (epoch // every)``.

    Parameters
    ----------
    learning_rate : float
        The learning rate of the first epoch, positive and finite.
    every : int
        Number of epochs between two changes, positive.
    factor : float, default 0.1
        The factor, positive and finite.

    Raises
    ------
    InputError
        For numbers that are not positive and finite.

    Examples
    --------
    >>> from xpnet.optimizers import StepDecay
    >>> rate = StepDecay(1.0, every=10, factor=0.5)
    >>> rate(9, []), rate(10, []), rate(20, [])
    (1.0, 0.5, 0.25)
    """

    every: int
    factor: float = 0.1

    def __call__(self, epoch: int, losses: Sequence[float]) -> float:
        """Compute the learning rate of an epoch."""
        return self.learning_rate * self.factor ** (epoch // self.every)


@dataclass(frozen=True)
class Exponential(_Schedule):
    """A learning rate that is multiplied by a factor after each epoch.

    The learning rate is ``learning_rate * factor ** epoch``.

    Parameters
    ----------
    learning_rate : float
        The learning rate of the first epoch, positive and finite.
    factor : float, default 0.95
        The factor, positive and finite.

    Raises
    ------
    InputError
        For numbers that are not positive and finite.

    Examples
    --------
    >>> from xpnet.optimizers import Exponential
    >>> rate = Exponential(1.0, factor=0.5)
    >>> rate(0, []), rate(3, [])
    (1.0, 0.125)
    """

    factor: float = 0.95

    def __call__(self, epoch: int, losses: Sequence[float]) -> float:
        """Compute the learning rate of an epoch."""
        return self.learning_rate * self.factor**epoch


@dataclass(frozen=True)
class Cosine(_Schedule):
    """A learning rate that falls along half a period of a cosine.

    Parameters
    ----------
    learning_rate : float
        The learning rate of the first epoch, positive and finite.
    epochs : int
        Number of epochs after which the end is reached, positive. Later epochs have the learning
        rate ``end``.
    end : float, default 0.0
        The last learning rate.

    Raises
    ------
    InputError
        For a learning rate or a number of epochs that is not positive and finite.

    References
    ----------
    I. Loshchilov, F. Hutter, SGDR: Stochastic Gradient Descent with Warm Restarts, 2017, eq. 5.

    Examples
    --------
    >>> from xpnet.optimizers import Cosine
    >>> rate = Cosine(1.0, epochs=10)
    >>> rate(0, []), rate(5, []), rate(10, [])
    (1.0, 0.5, 0.0)
    """

    epochs: int
    end: float = 0.0

    def __call__(self, epoch: int, losses: Sequence[float]) -> float:
        """Compute the learning rate of an epoch."""
        progress = min(epoch / self.epochs, 1.0)
        return self.end + (self.learning_rate - self.end) * (1 + cos(pi * progress)) / 2


@dataclass(frozen=True)
class OneCycle(_Schedule):
    """A learning rate that rises for 30 % of the epochs and then falls, along cosines.

    Parameters
    ----------
    learning_rate : float
        The largest learning rate, positive and finite. The first is 1/25 of it, the last 1/250,000.
    epochs : int
        Number of epochs, positive. Later ones have the last learning rate.

    Raises
    ------
    InputError
        For a learning rate or a number of epochs that is not positive and finite.

    References
    ----------
    L. N. Smith, N. Topin, Super-Convergence: Very Fast Training of Neural Networks Using Large
    Learning Rates, 2018.

    Examples
    --------
    >>> from xpnet.optimizers import OneCycle
    >>> rate = OneCycle(1.0, epochs=11)
    >>> [round(rate(epoch, []), 7) for epoch in (0, 3, 10)]
    [0.04, 1.0, 4e-06]
    """

    epochs: int

    def __call__(self, epoch: int, losses: Sequence[float]) -> float:
        """Compute the learning rate of an epoch."""
        last_epoch = max(self.epochs - 1, 1)
        maximum = self.learning_rate
        top = 0.3 * last_epoch
        if epoch < top:
            return Cosine(maximum / 25, 1, maximum)(epoch / top, losses)  # type: ignore[arg-type]
        progress = (epoch - top) / (last_epoch - top)
        return Cosine(maximum, 1, maximum / 250_000)(progress, losses)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Plateau(_Schedule):
    """A learning rate that falls when the loss no longer falls.

    It is multiplied by ``factor`` each time the loss has not fallen by ``tol`` for ``patience``
    epochs in a row.

    Parameters
    ----------
    learning_rate : float
        The learning rate of the first epoch, positive and finite.
    patience : int, default 10
        Number of epochs in a row without a fall of the loss, positive.
    factor : float, default 0.1
        The factor, positive and finite.
    tol : float, default 1e-4
        The minimum improvement: a loss counts as a fall if it is lower than the lowest previous
        loss by more than ``tol``.

    Raises
    ------
    InputError
        For numbers that are not positive and finite.

    Examples
    --------
    >>> from xpnet.optimizers import Plateau
    >>> rate = Plateau(1.0, patience=2, factor=0.5)
    >>> rate(3, [0.9, 0.8, 0.7]), rate(5, [0.9, 0.8, 0.7, 0.7, 0.7])
    (1.0, 0.5)
    """

    sees_losses: ClassVar[bool] = True
    patience: int = 10
    factor: float = 0.1
    tol: float = 1e-4

    def __call__(self, epoch: int, losses: Sequence[float]) -> float:
        """Compute the learning rate of an epoch."""
        rate, best, waited = self.learning_rate, float("inf"), 0
        for loss in losses:
            if loss < best - self.tol:
                best, waited = loss, 0
            else:
                waited += 1
            if waited == self.patience:
                rate, waited = rate * self.factor, 0
        return rate
