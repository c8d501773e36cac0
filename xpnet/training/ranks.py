"""What all ranks of a group must have in common while they train: rank 0's is everyone's."""

from typing import Any

from xpnet.backend import Step
from xpnet.dispatch import Ranks, current_ranks
from xpnet.training.state import set_stream_state, stream_state


def share_stream(rng: Any) -> Any:
    """The random stream, where rank 0's is on every rank of the group; returns it.

    rng : a Generator, a RandomState, NumPy's global stream, or None
    """
    ranks = current_ranks()
    if ranks.several:
        set_stream_state(rng, ranks.share(stream_state(rng)))
    return rng


def share_state(step: Step, ranks: Ranks) -> None:
    """Begin with rank 0's parameters and optimizer."""
    state = ranks.share(step.state() if ranks.rank == 0 else None)
    if ranks.rank and state is not None:
        step.load_state(state)


def share_parameters(step: Step, ranks: Ranks) -> None:
    """Go on with rank 0's parameters: on unlike processors, those of others differ in their last bits by now."""
    values = ranks.share(dict(step.state().params) if ranks.rank == 0 else None)
    if ranks.rank and values is not None:
        step.params.update(values)
