"""Arguments for the updates of ``xpnet.ops``, made from their signatures."""

from typing import Any

from xpnet.backend import UpdateRule
from xpnet.ops import UPDATES

OTHER_NUMBERS = {
    "momentum": 0.9,
    "beta1": 0.8,
    "beta2": 0.9,
    "epsilon": 1e-3,
    "weight_decay": 0.1,
}
"""For each number of an update a value that is no update's default."""


def numbers_of(name: str) -> list[dict[str, Any]]:
    """Numbers of an update: the defaults, other values, and these with each flag."""
    defaults = UPDATES[name].numbers
    flags = [number for number, default in defaults.items() if isinstance(default, bool)]
    others = {number: OTHER_NUMBERS[number] for number in defaults if number not in flags}
    return [{}, others, *({**others, flag: True} for flag in flags)]


def buffers_of(name: str, numbers: dict[str, Any], grad: Any, positive: Any) -> list[Any]:
    """The buffers of an update: ``v`` holds squares, others have the sign of the gradient.

    A sum of numbers of unlike signs may cancel, and its sign would be one of rounding.
    """
    mean = (0.5 * grad).astype(grad.dtype)
    return [positive if buffer == "v" else mean for buffer in UpdateRule(name, **numbers).buffers]


def rule_with_decay(name: str) -> UpdateRule:
    """The rule of an update with its defaults, and weight decay where it has one."""
    decays = "weight_decay" in UPDATES[name].numbers
    return UpdateRule(name, weight_decay=0.05) if decays else UpdateRule(name)
