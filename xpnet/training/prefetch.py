"""Prefetched orders: that of the next epoch is drawn while a device is at work on this one.

The random stream does not show it. The next order is drawn from a copy of the stream, which itself goes on when the
next epoch begins. If it has been drawn from in the meantime, or put into another state, the order is drawn anew.
"""

from copy import deepcopy
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy

from xpnet.training.state import set_stream_state, stream_state

if TYPE_CHECKING:
    from xpnet.training.loop import Training


class _Drawn(NamedTuple):
    """An order, the state of the stream that it holds for, and the copy that it was drawn from."""

    order: Any
    before: Any
    copy: Any


FEWEST_ROWS = 1_000  # fewer are drawn in the time that the state of a Generator is read and set in
FEWEST_OF_LEGACY = 20_000  # of a stream whose state is a table of 624 words


def prefetched(training: "Training") -> Any:
    """Find the source of the orders of a training whose step prefetches them."""
    rng = training.rng
    fewest = FEWEST_ROWS if isinstance(rng, numpy.random.Generator) else FEWEST_OF_LEGACY
    worthwhile = training.rows >= fewest and _can_be_copied(rng)
    return Prefetched(training) if worthwhile else rng


class Prefetched:
    """The stream of a training, with the next order drawn when the step says so."""

    def __init__(self, training: "Training") -> None:
        self.training, self.step = training, training.step
        self._drawn: _Drawn | None = None

    def permutation(self, rows: int) -> Any:
        """The order of an epoch that begins: (rows,) int64."""
        rng, drawn, self._drawn = self.training.rng, self._drawn, None
        if drawn is not None and _same(drawn.before, stream_state(rng)):
            _catch_up(rng, drawn.copy)
            order = drawn.order
        else:
            order = rng.permutation(rows)
        if self.training.done + 1 < self.training.epochs:
            self.step.prefetch_order = lambda: self._draw(rows)
        return order

    def _draw(self, rows: int) -> Any:
        before, copy = stream_state(self.training.rng), _copied(self.training.rng)
        self._drawn = _Drawn(copy.permutation(rows), before, copy)
        return self._drawn.order


def _can_be_copied(rng: Any) -> bool:
    """Tell whether it is NumPy's, or has a method ``catch_up`` that takes over the state of a copy."""
    known = numpy.random.Generator | numpy.random.RandomState
    return rng is numpy.random or isinstance(rng, known) or hasattr(rng, "catch_up")


def _copied(rng: Any) -> Any:
    if rng is not numpy.random:
        return deepcopy(rng)
    copy = numpy.random.RandomState()
    set_stream_state(copy, stream_state(rng))
    return copy


def _catch_up(rng: Any, copy: Any) -> None:
    """Put a stream into the state of its copy."""
    if hasattr(rng, "catch_up"):
        rng.catch_up(copy)
    else:
        set_stream_state(rng, stream_state(copy))


def _same(one: Any, other: Any) -> bool:
    """Tell whether two states are equal; arrays that are one object are not looked through."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, numpy.ndarray):
        return one is other or numpy.array_equal(one, other)
    return bool(one == other)
