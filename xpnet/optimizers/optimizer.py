"""The base of the optimizers."""

from dataclasses import dataclass, fields
from functools import cache
from typing import ClassVar

from xpnet.backend import UpdateRule
from xpnet.ops import UPDATES, UpdateName


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

    def __init_subclass__(cls) -> None:
        name = cls.__name__.lower()
        if name in UPDATES:
            cls.update = name

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
