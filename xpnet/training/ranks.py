"""What all ranks of a group must have in common while they train: settings that are compared, values that are rank 0's."""

from dataclasses import fields
from typing import Any
from zlib import crc32

import numpy

from xpnet.backend import NetworkSpec, Step, StepState
from xpnet.backend.group import gather
from xpnet.dispatch import Ranks, current_ranks
from xpnet.errors import InputError
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


def check_alike(ranks: Ranks, spec: NetworkSpec, **settings: Any) -> None:
    """Compare what every rank is about to train, in one sum of a number a rank. Collective.

    Parameters
    ----------
    ranks : Ranks
        The ranks that train together.
    spec : NetworkSpec
        The network of this rank.
    **settings : object
        What else must be equal, by the name that the user knows it by: rows, batch_size.

    Raises
    ------
    InputError
        On every rank, where one rank differs from rank 0. Arrays of unlike sizes would otherwise meet in one sum, which
        MPI does not survive, or one rank would wait for batches that another does not make.

    Examples
    --------
    A process that trains alone has nobody to differ from:

    >>> from xpnet.backend import NetworkSpec
    >>> from xpnet.dispatch import Ranks
    >>> from xpnet.training.ranks import check_alike
    >>> check_alike(Ranks(), NetworkSpec(widths=(4, 3), activations=()), rows=100, batch_size=10)
    """
    if ranks.group is None or not ranks.several:
        return
    network = {field.name: getattr(spec, field.name) for field in fields(spec)}
    facts = {name: repr(value) for name, value in (network | settings).items()}
    sums = numpy.zeros(ranks.group.size, "int64")
    sums[ranks.rank] = crc32(repr(facts).encode())
    sums = ranks.group.sum(sums)
    if (sums == sums[0]).all():
        return
    first, *others = gather(ranks.group, facts)
    differences = [
        f"rank {rank} has {name} = {other.get(name)}, rank 0 has {value}"
        for rank, other in enumerate(others, 1)
        for name, value in first.items()
        if other.get(name) != value
    ]
    raise InputError(
        f"All ranks train one network, on the same number of rows in batches of one size: {'; '.join(differences)}. "
        "Pass the same on every rank."
    )


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
