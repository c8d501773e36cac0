"""Random streams: where one is, and orders of the rows that are drawn while a device is at work on the epoch before.

The random stream does not show that an order was prefetched: it is put back, and goes on when the next epoch begins. If
it has been drawn from in the meantime, or put into another state, the order is drawn anew.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy

from xpnet.distributed import Ranks
from xpnet.errors import InputError

if TYPE_CHECKING:
    from xpnet.training.loop import Training

FEWEST_ROWS = 1_000
"""Fewer rows are drawn in the time that the state of a Generator is read and set in."""

FEWEST_OF_LEGACY = 20_000
"""The same of a stream whose state is a table of 624 words."""


def stream_state(rng: Any) -> dict[str, Any] | None:
    """Return the state of a random stream.

    Parameters
    ----------
    rng : numpy.random.Generator, RandomState, numpy.random or None
        The stream; ``numpy.random`` is NumPy's global stream.

    Returns
    -------
    dict or None
        The state, as NumPy gives it; None for None.

    See Also
    --------
    set_stream_state : Put a stream into a state.

    Examples
    --------
    >>> import numpy
    >>> from xpnet.training import stream_state
    >>> stream_state(numpy.random.default_rng(0))["bit_generator"]
    'PCG64'
    """
    if rng is None:
        return None
    return rng.get_state(legacy=False) if _is_legacy(rng) else rng.bit_generator.state


def set_stream_state(rng: Any, state: dict[str, Any] | None) -> None:
    """Put a random stream into the state of another of its kind.

    Parameters
    ----------
    rng : numpy.random.Generator, RandomState, numpy.random or None
        The stream that is changed.
    state : dict or None
        What `stream_state` returned.

    Raises
    ------
    InputError
        For the state of a stream of another kind, and for what is no state, such as one outside the stream's buffer.

    See Also
    --------
    stream_state : Return the state of a stream.

    Examples
    --------
    >>> import numpy
    >>> from xpnet.training import set_stream_state, stream_state
    >>> one, other = numpy.random.default_rng(0), numpy.random.default_rng(1)
    >>> set_stream_state(other, stream_state(one))
    >>> one.random() == other.random()
    True
    """
    present = stream_state(rng)
    if _kind(present) != _kind(state):
        raise InputError(
            f"A training goes on with the kind of random stream it began with, {_kind(state)}; "
            f"received {_kind(present)}. Pass the same kind of rng."
        )
    if rng is None or state is None:
        return
    try:
        inner = state["state"]
        place = int(inner.get("pos", 0)) if isinstance(inner, dict) else 0
        for position, last in (
            (place, 624),
            (int(state.get("buffer_pos", 0)), 4),
        ):  # NumPy checks neither
            if not 0 <= position <= last:
                raise ValueError(f"its position lies between 0 and {last}, and is {position}")
        if hasattr(rng, "check_state"):
            rng.check_state(state)
        _put(rng, state)
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError) as error:
        raise InputError(
            f"A random stream goes on from a state of NumPy's; this is none: {error}"
        ) from error


def _put(rng: Any, state: Any) -> None:
    """Put a stream into a state of its own."""
    if _is_legacy(rng):
        rng.set_state(state)
    else:
        rng.bit_generator.state = state


def broadcast_stream(rng: Any, ranks: Ranks) -> Any:
    """Put a random stream into the state that it has on rank 0, and return it."""
    if ranks.several:
        set_stream_state(rng, ranks.broadcast(stream_state(rng)))
    return rng


def _is_legacy(rng: Any) -> bool:
    """Tell whether it is a RandomState or NumPy's global stream."""
    return hasattr(rng, "get_state")


def _kind(state: dict[str, Any] | None) -> str:
    """Name the bit generator of a state, and whether its stream is a legacy one, which keeps a spare normal number."""
    if state is None:
        return "none"
    return f"{'RandomState' if 'has_gauss' in state else 'Generator'} over {state.get('bit_generator')}"


def host_stream(rng: Any = None) -> Any:
    """Return a stream of random numbers: ``rng`` itself, for a seed a new Generator, for None NumPy's global stream.

    Raises InputError for what is neither.
    """
    if rng is None:
        return numpy.random
    if isinstance(rng, int | numpy.integer):
        return numpy.random.default_rng(rng)
    if not (hasattr(rng, "bit_generator") or _is_legacy(rng)):
        raise InputError(
            f"rng is a seed (a whole number), a numpy.random.Generator or RandomState, or None; received {rng!r}."
        )
    return rng


def prefetched(training: "Training") -> Callable[[], Any]:
    """Make a function that draws the orders of a training, the next one beforehand, when the step says so."""
    rng, rows = training.rng, training.rows
    fewest = FEWEST_ROWS if isinstance(rng, numpy.random.Generator) else FEWEST_OF_LEGACY
    if rows < fewest:
        return lambda: rng.permutation(rows)
    kept: list[Any] = []  # an order, and the states of the stream before and after it

    def draw_ahead() -> Any:
        before, order, after = stream_state(rng), rng.permutation(rows), stream_state(rng)
        _put(rng, before)
        kept[:] = order, before, after
        return order

    def draw() -> Any:
        if kept and _same(kept[1], stream_state(rng)):
            order = kept[0]
            _put(rng, kept[2])
        else:
            order = rng.permutation(rows)
        kept.clear()
        if training.done + 1 < training.epochs:
            training.step.prefetch_order = draw_ahead
        return order

    return draw


def _same(one: Any, other: Any) -> bool:
    """Tell whether two states are equal; arrays that are one object are not looked through."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, numpy.ndarray):
        return one is other or numpy.array_equal(one, other)
    return bool(one == other)
