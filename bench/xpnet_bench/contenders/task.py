"""A task is a contender's form of a job."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any


def nothing() -> None:
    """Most calls need no preparation."""


@dataclass
class Task:
    """A prepared job: the arrays lie where the library wants them.

    call : what is timed
    answer : some numbers that follow from what ``call`` returned, the same for every contender within rounding
    reset : run before each timed call, outside the clock
    """

    call: Callable[[], Any]
    answer: Callable[[Any], Sequence[float]]
    reset: Callable[[], None] = nothing
