"""Schedules of the learning rate.

A schedule is a function of the epoch (from 0) and of the losses of the previous epochs. It has no
state, so a training that continues from a file continues with the same learning rates.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import cos, inf, pi
from typing import ClassVar

from xpnet.errors import InputError

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


def as_schedule(learning_rate: object) -> Schedule:
    """Return the schedule of a learning rate that a user has passed, a number or a function.

    Raises InputError for anything else, such as a scheduler of PyTorch.
    """
    is_class = isinstance(learning_rate, type)
    if callable(learning_rate) and not is_class:
        return learning_rate
    if is_class or not hasattr(learning_rate, "__float__"):
        raise InputError(
            "`learning_rate` must be a number, a schedule of xpnet.optimizers, or a function of "
            f"the epoch and the losses; got {' '.join(repr(learning_rate).split())[:60]}. Pass, "
            "for example, 0.01."
        )
    return Constant(learning_rate)  # type: ignore[arg-type]  # it has __float__


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
    >>> schedule = StepDecay(1.0, every=10, factor=0.5)
    >>> schedule(9, []), schedule(10, []), schedule(20, [])
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
    >>> schedule = Exponential(1.0, factor=0.5)
    >>> schedule(0, []), schedule(3, [])
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
    >>> schedule = Cosine(1.0, epochs=10)
    >>> schedule(0, []), schedule(5, []), schedule(10, [])
    (1.0, 0.5, 0.0)
    """

    epochs: int
    end: float = 0.0

    def __call__(self, epoch: int, losses: Sequence[float]) -> float:
        """Compute the learning rate of an epoch."""
        return _on_cosine(self.learning_rate, self.end, min(epoch / self.epochs, 1.0))


def _on_cosine(begin: float, end: float, progress: float) -> float:
    """Compute a point of half a cosine from begin to end; progress is from 0 to 1."""
    return end + (begin - end) * (1 + cos(pi * progress)) / 2


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
    >>> schedule = OneCycle(1.0, epochs=11)
    >>> [round(schedule(epoch, []), 7) for epoch in (0, 3, 10)]
    [0.04, 1.0, 4e-06]
    """

    epochs: int

    def __call__(self, epoch: int, losses: Sequence[float]) -> float:
        """Compute the learning rate of an epoch."""
        last_epoch = max(self.epochs - 1, 1)
        maximum = self.learning_rate
        top = 0.3 * last_epoch
        if epoch < top:
            return _on_cosine(maximum / 25, maximum, epoch / top)
        progress = min((epoch - top) / (last_epoch - top), 1.0)
        return _on_cosine(maximum, maximum / 250_000, progress)


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
    >>> schedule = Plateau(1.0, patience=2, factor=0.5)
    >>> schedule(3, [0.9, 0.8, 0.7]), schedule(5, [0.9, 0.8, 0.7, 0.7, 0.7])
    (1.0, 0.5)
    """

    sees_losses: ClassVar[bool] = True
    patience: int = 10
    factor: float = 0.1
    tol: float = 1e-4

    def __call__(self, epoch: int, losses: Sequence[float]) -> float:
        """Compute the learning rate of an epoch."""
        learning_rate = self.learning_rate
        lowest_loss = inf
        epochs_without_fall = 0
        for loss in losses:
            if loss < lowest_loss - self.tol:
                lowest_loss = loss
                epochs_without_fall = 0
            else:
                epochs_without_fall += 1
            if epochs_without_fall == self.patience:
                learning_rate *= self.factor
                epochs_without_fall = 0
        return learning_rate
