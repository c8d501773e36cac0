"""Values that all ranks of a group must share while they train: those of rank 0."""

from typing import Any

import numpy

from xpnet.backend import Step, StepState
from xpnet.dispatch import Ranks, current_ranks
from xpnet.training.state import set_stream_state, stream_state


def share_stream(rng: Any) -> Any:
    """Put a random stream into the state that it has on rank 0 of the group.

    Parameters
    ----------
    rng : numpy.random.Generator, RandomState, numpy.random or None
        The stream of this rank, which is changed.

    Returns
    -------
    numpy.random.Generator, RandomState, numpy.random or None
        The stream itself.

    Examples
    --------
    A process that trains alone keeps its stream:

    >>> import numpy
    >>> from xpnet.training import share_stream
    >>> rng = numpy.random.default_rng(0)
    >>> share_stream(rng) is rng
    True
    """
    ranks = current_ranks()
    if ranks.several:
        set_stream_state(rng, ranks.share(stream_state(rng)))
    return rng


def share_state(step: Step, ranks: Ranks) -> None:
    """Begin with rank 0's parameters and optimizer."""
    state = step.state()
    t, params, buffers = ranks.share(state.t), ranks.share_arrays(state.params), {}
    if t:  # else rank 0 has no buffers yet; where it has some, another rank may have none
        zeros = {name: numpy.zeros_like(array) for name, array in params.items()}
        buffers = {name: ranks.share_arrays(state.buffers.get(name, zeros)) for name in step.spec.rule.buffers}
    if ranks.rank:
        step.load_state(StepState(params, buffers, t))


def share_parameters(step: Step, ranks: Ranks) -> None:
    """Go on with rank 0's parameters: on unlike processors, those of others differ in their last bits by now."""
    if not getattr(step, "in_common", False):
        step.params.update(ranks.share_arrays(step.state().params))
