"""The update of a network with its numbers, as the description of the network holds it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from inspect import signature
from typing import Any

from xpnet.errors import InputError
from xpnet.ops.updates import UPDATE_DEFAULTS, UPDATE_RANGES, UPDATES, Update, UpdateName

OWN_DEFAULT: Any = None
"""Stands for the default that an update has in ``xpnet.ops.UPDATES``."""


@dataclass(frozen=True)
class UpdateRule:
    """An update of ``xpnet.ops.UPDATES`` with its numbers.

    The learning rate is not part of the rule, since it may change from step to step.

    Parameters
    ----------
    name : str, default "sgd"
        The name of the update in ``xpnet.ops.UPDATES``.
    momentum : float, optional
        Decay of the velocity, in [0, 1]; 0 for plain gradient descent.
    nesterov : bool, optional
        Whether Nesterov's momentum is used.
    beta1, beta2 : float, optional
        Decays of the means of the gradient and of its square, in [0, 1).
    epsilon : float, optional
        Added to the root of the mean square, greater than 0.
    weight_decay : float, optional
        Decoupled weight decay, not negative.
    epsilon_hat : bool, optional
        Whether epsilon is added before the bias correction, as scikit-learn does.

    Raises
    ------
    InputError
        For an unknown name and for numbers outside their ranges.

    See Also
    --------
    xpnet.optimizers : The optimizers that a user names; each has a rule.

    Notes
    -----
    The functions in ``xpnet.ops`` document the numbers that an update reads, and their defaults.
    The other numbers have no effect.

    Examples
    --------
    >>> from xpnet.backend import UpdateRule
    >>> UpdateRule("sgd", momentum=0.9).buffers
    ('velocity',)
    """

    name: UpdateName = "sgd"
    momentum: float = OWN_DEFAULT
    nesterov: bool = OWN_DEFAULT
    beta1: float = OWN_DEFAULT
    beta2: float = OWN_DEFAULT
    epsilon: float = OWN_DEFAULT
    weight_decay: float = OWN_DEFAULT
    epsilon_hat: bool = OWN_DEFAULT

    def __post_init__(self) -> None:
        if self.name not in UPDATES:
            raise InputError(f"`name` must be one of {', '.join(UPDATES)}; got {self.name!r}.")
        for name, default in (UPDATE_DEFAULTS | self.update.numbers).items():
            if getattr(self, name) is OWN_DEFAULT:
                object.__setattr__(self, name, default)
            _check_range(name, getattr(self, name))

    @property
    def update(self) -> Update:
        """Return the update's entry in the table."""
        return UPDATES[self.name]

    @property
    def buffers(self) -> tuple[str, ...]:
        """Return the names of the arrays that the update keeps for each parameter."""
        needed = self.update.buffers_need
        return () if needed and not getattr(self, needed) else self.update.buffers

    def arguments(self, t: int) -> dict[str, float]:
        """Return the keyword arguments of the update's function, except the learning rate.

        Parameters
        ----------
        t : int
            The number of the step, from 1.

        Returns
        -------
        dict of str to float
            The numbers that the update reads, and ``t`` if it counts the steps.
        """
        numbers = {name: getattr(self, name) for name in self.update.numbers}
        return numbers | {"t": t} if self.update.counts_steps else numbers

    def scales(self, t: int, learning_rate: float) -> tuple[float, ...]:
        """Compute the factors that are common to all items of a step.

        Parameters
        ----------
        t : int
            The number of the step, from 1.
        learning_rate : float
            The learning rate of the step.

        Returns
        -------
        tuple of float
            ``scale``, ``root`` and perhaps ``grad_scale``; empty for an update without such
            factors.
        """
        function = self.update.scales
        if function is None:
            return ()
        values = {**vars(self), "t": t, "learning_rate": learning_rate}
        return function(**{name: values[name] for name in _argument_names(function)})


@cache
def _argument_names(function: Callable[..., object]) -> tuple[str, ...]:
    """Return the names of a function's arguments."""
    return tuple(signature(function).parameters)


def _check_range(name: str, value: float) -> None:
    """Raise InputError for a number of an update outside its range."""
    allowed = UPDATE_RANGES.get(name)
    if allowed is not None and not allowed.contains(value):
        raise InputError(
            f"`{name}` of an optimizer must {allowed.text}; got {value}. "
            "Keep its default if in doubt."
        )
