"""A training as a value: all that it needs to go on as if it had never stopped."""

from dataclasses import dataclass
from typing import Any

from xpnet.backend import NetworkSpec, StepState
from xpnet.errors import InputError


@dataclass
class TrainingState:
    """What a checkpoint holds: a training after a whole epoch.

    spec : of the network; step : its parameters, the optimizer's buffers, the number of updates
    history : the numbers of all epochs so far, by name
    rows : how many rows it trains on; done : epochs made in this run; stop : whether a callback has ended it
    rng : state of the stream that orders are drawn from, as NumPy gives it; None for no stream
    callbacks : what each callback, by its place in the list, needs to go on
    """

    spec: NetworkSpec
    step: StepState
    history: dict[str, list[float]]
    rows: int
    done: int
    stop: bool
    rng: dict[str, Any] | None
    callbacks: dict[str, dict[str, Any]]


def stream_state(rng: Any) -> dict[str, Any] | None:
    """The state of a Generator, a RandomState, NumPy's global stream, or of None."""
    if rng is None:
        return None
    return rng.get_state(legacy=False) if _is_legacy(rng) else rng.bit_generator.state


def set_stream_state(rng: Any, state: dict[str, Any] | None) -> None:
    """Put a stream where another of its kind was.

    Raises InputError for a stream of another kind.
    """
    present = stream_state(rng)
    if _kind(present) != _kind(state):
        raise InputError(
            f"A training goes on with the kind of random stream it began with, {_kind(state)}; "
            f"received {_kind(present)}. Pass the same kind of rng."
        )
    if rng is None or state is None:
        return
    if not 0 <= _position(state) <= 624:
        raise InputError(f"A random stream has 624 numbers at hand; received the position {_position(state)}.")
    if _is_legacy(rng):
        rng.set_state(state)
    else:
        rng.bit_generator.state = state


def _position(state: dict[str, Any]) -> int:
    """Where a stream stands among the numbers it has at hand, which NumPy reads from without a look."""
    inner = state["state"]
    return int(inner.get("pos", 0)) if isinstance(inner, dict) else 0


def _is_legacy(rng: Any) -> bool:
    """Whether it is a RandomState or NumPy's global stream."""
    return hasattr(rng, "get_state")


def _kind(state: dict[str, Any] | None) -> str:
    """What makes a state fit a stream: its bit generator, and whether it is a legacy stream's (which keep a spare
    normal number)."""
    if state is None:
        return "none"
    return f"{'RandomState' if 'has_gauss' in state else 'Generator'} over {state.get('bit_generator')}"
