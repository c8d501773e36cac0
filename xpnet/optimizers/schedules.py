"""Learning rates that change from epoch to epoch.

A schedule is a function of the epoch (from 0) and of the losses of the epochs before it. It keeps nothing, so training
that is taken up again from a file goes on with the same learning rates. Each raises InputError for numbers that are not
positive and finite.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import cos, pi

from xpnet.errors import InputError

Schedule = Callable[[int, Sequence[float]], float]
"""(epoch, losses of the epochs before) -> learning rate of this epoch."""


@dataclass(frozen=True)
class Constant:
    """The same learning rate throughout."""

    learning_rate: float

    def __post_init__(self) -> None:
        _check_positive(learning_rate=self.learning_rate)

    def __call__(self, epoch: int, losses: Sequence[float]) -> float:
        return self.learning_rate


@dataclass(frozen=True)
class StepDecay:
    """learning_rate * factor^floor(epoch / every)."""

    learning_rate: float
    every: int
    factor: float = 0.1

    def __post_init__(self) -> None:
        _check_positive(learning_rate=self.learning_rate, every=self.every, factor=self.factor)

    def __call__(self, epoch: int, losses: Sequence[float]) -> float:
        return self.learning_rate * self.factor ** (epoch // self.every)


@dataclass(frozen=True)
class Exponential:
    """learning_rate * factor^epoch."""

    learning_rate: float
    factor: float = 0.95

    def __post_init__(self) -> None:
        _check_positive(learning_rate=self.learning_rate, factor=self.factor)

    def __call__(self, epoch: int, losses: Sequence[float]) -> float:
        return self.learning_rate * self.factor**epoch


@dataclass(frozen=True)
class Cosine:
    """From learning_rate down to ``end`` over ``epochs`` along half a cosine (Loshchilov, Hutter, 2017, eq. 5)."""

    learning_rate: float
    epochs: int
    end: float = 0.0

    def __post_init__(self) -> None:
        _check_positive(learning_rate=self.learning_rate, epochs=self.epochs)

    def __call__(self, epoch: int, losses: Sequence[float]) -> float:
        progress = min(epoch / self.epochs, 1.0)
        return self.end + (self.learning_rate - self.end) * (1 + cos(pi * progress)) / 2


@dataclass(frozen=True)
class Plateau:
    """Multiplied by ``factor`` whenever the loss has not fallen by ``tol`` for ``patience`` epochs on end."""

    learning_rate: float
    patience: int = 10
    factor: float = 0.1
    tol: float = 1e-4

    def __post_init__(self) -> None:
        _check_positive(learning_rate=self.learning_rate, patience=self.patience, factor=self.factor)

    def __call__(self, epoch: int, losses: Sequence[float]) -> float:
        rate, best, waited = self.learning_rate, float("inf"), 0
        for loss in losses:
            if loss < best - self.tol:
                best, waited = loss, 0
            else:
                waited += 1
            if waited == self.patience:
                rate, waited = rate * self.factor, 0
        return rate


def as_schedule(learning_rate: float | Schedule) -> Schedule:
    """A schedule from what a user passes as ``learning_rate``.

    Raises InputError for a number that is not positive and finite.
    """
    if callable(learning_rate):
        return learning_rate
    return Constant(learning_rate)


def _check_positive(**numbers: float) -> None:
    for name, number in numbers.items():
        if not 0 < number < float("inf"):
            raise InputError(f"{name} is positive and finite; received {number}. A usual learning rate is 1e-2, Adam's 1e-3.")
