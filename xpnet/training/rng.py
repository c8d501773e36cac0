"""NumPy's random generators, new and legacy, under one interface: their states are read and set
here.
"""

from operator import attrgetter
from typing import Literal, Protocol, TypeGuard, cast

import numpy

from xpnet.errors import InputError
from xpnet.typing import RandomNumbers, SavedState

STATE_WORDS = 624
"""Words in the state of the Mersenne Twister."""

COUNTER_BUFFER_WORDS = 4
"""Words in the buffer of NumPy's counter-based bit generators."""


def rng_state(rng: object) -> SavedState | None:
    """Return the state of a random generator.

    Parameters
    ----------
    rng : numpy.random.Generator, RandomState, numpy.random or None
        The generator; ``numpy.random`` is NumPy's global one.

    Returns
    -------
    dict or None
        The state, as NumPy gives it; None for None.

    See Also
    --------
    set_rng_state : Put a generator into a state.

    Examples
    --------
    >>> import numpy
    >>> from xpnet.training import rng_state
    >>> rng_state(numpy.random.default_rng(0))["bit_generator"]
    'PCG64'
    """
    if rng is None:
        return None
    if _is_legacy(rng):
        return rng.get_state(legacy=False)
    return _bit_generator(rng).state


def set_rng_state(rng: object, state: SavedState | None) -> None:
    """Put a random generator into the state of another one of its kind.

    Parameters
    ----------
    rng : numpy.random.Generator, RandomState, numpy.random or None
        The generator that is changed.
    state : dict or None
        What `rng_state` returned.

    Raises
    ------
    InputError
        For the state of a generator of another kind, and for a value that is no valid state.

    See Also
    --------
    rng_state : Return the state of a generator.

    Examples
    --------
    >>> import numpy
    >>> from xpnet.training import set_rng_state, rng_state
    >>> one, other = numpy.random.default_rng(0), numpy.random.default_rng(1)
    >>> set_rng_state(other, rng_state(one))
    >>> one.random() == other.random()
    True
    """
    present = rng_state(rng)
    if _kind(present) != _kind(state):
        raise InputError(
            f"`rng` must be of the kind that the training began with, {_kind(state)}; "
            f"got {_kind(present)}; pass the same kind of random generator."
        )
    if rng is None or state is None:
        return
    try:
        _check_positions(state)
        if hasattr(rng, "check_state"):
            rng.check_state(state)
        put_state(rng, state)
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError) as error:
        raise InputError(
            "The state of a random generator must be one of NumPy's; got one that is not: "
            f"{error}; use an undamaged checkpoint."
        ) from error


def _check_positions(state: SavedState) -> None:
    """Raise ValueError for a position outside the generator's table or buffer, which NumPy does not
    check.
    """
    inner = state["state"]
    table_position = int(inner.get("pos", 0)) if isinstance(inner, dict) else 0
    buffer_position = int(state.get("buffer_pos", 0))
    for position, last in (
        (table_position, STATE_WORDS),
        (buffer_position, COUNTER_BUFFER_WORDS),
    ):
        if not 0 <= position <= last:
            raise ValueError(f"its position must lie between 0 and {last}, and is {position}")


def put_state(rng: object, state: SavedState | None) -> None:
    """Put a generator into a state of its own, without any check."""
    if _is_legacy(rng):
        rng.set_state(state)
    else:
        _bit_generator(rng).state = state


class _LegacyGenerator(Protocol):
    """A RandomState, or NumPy's global generator."""

    def get_state(self, *, legacy: Literal[False]) -> SavedState: ...
    def set_state(self, state: SavedState | None) -> None: ...


class _BitGenerator(Protocol):
    """The source of the bits of a Generator."""

    state: SavedState | None


def _is_legacy(rng: object) -> TypeGuard[_LegacyGenerator]:
    """Return whether it is a RandomState or NumPy's global generator."""
    return hasattr(rng, "get_state")


def _bit_generator(rng: object) -> _BitGenerator:
    """Return the source of the bits of a Generator of NumPy's."""
    bits: _BitGenerator = attrgetter("bit_generator")(rng)
    return bits


def _kind(state: SavedState | None) -> str:
    """Name the bit generator of a state, and whether a RandomState owns it, which keeps a spare
    normal number.
    """
    if state is None:
        return "none"
    owner = "RandomState" if "has_gauss" in state else "Generator"
    return f"{owner} over {state.get('bit_generator')}"


def host_generator(rng: object = None) -> RandomNumbers:
    """Return a random generator: ``rng`` itself, a new Generator for a seed, NumPy's global one for
    None.

    Raises InputError for other values.
    """
    if rng is None:
        return numpy.random
    if isinstance(rng, int | numpy.integer):
        return numpy.random.default_rng(int(rng))
    is_numpy = hasattr(rng, "bit_generator") or hasattr(rng, "get_state")
    draws = hasattr(rng, "uniform") or hasattr(rng, "permutation")
    if not (is_numpy and draws):  # a torch.Generator has a state, too
        raise InputError(
            "`rng` must be a seed (an integer), a numpy.random.Generator or RandomState, or None; "
            f"got {rng!r}. Pass a seed, such as 0."
        )
    return cast(RandomNumbers, rng)
