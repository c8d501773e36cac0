"""Initial weights, drawn on the host so that every backend starts from the same numbers."""

from collections.abc import Sequence
from typing import Any

import numpy

from xpnet.backend import NetworkSpec
from xpnet.backend.spec import Slot
from xpnet.errors import InputError


def xavier_init(shape: Sequence[int], rng: Any = None) -> numpy.ndarray:
    """Draw initial weights from U(-a, a), a = sqrt(6 / (fan_in + fan_out)).

    Parameters
    ----------
    shape : sequence of int
        (fan_in, fan_out).
    rng : int, numpy.random.Generator or numpy.random.RandomState, optional
        Where they are drawn from; None for NumPy's global stream, as in the notebook.

    Returns
    -------
    numpy.ndarray, shape (fan_in, fan_out), float64
        The weights, on the host, so that every backend starts from the same numbers.

    References
    ----------
    X. Glorot, Y. Bengio, Understanding the difficulty of training deep feedforward neural networks, 2010, eq. 16.

    Examples
    --------
    >>> import xpnet
    >>> weights = xpnet.xavier_init((2, 4), rng=0)
    >>> weights.shape, bool((abs(weights) <= 1).all())
    ((2, 4), True)
    """
    a = (6.0 / float(sum(shape))) ** 0.5
    return host_stream(rng).uniform(low=-a, high=a, size=tuple(shape))


def host_stream(rng: Any = None) -> Any:
    """A stream of random numbers: ``rng`` itself, for a seed a new Generator, for None NumPy's global stream.

    Raises InputError for what is neither.
    """
    if rng is None:
        return numpy.random
    if isinstance(rng, int | numpy.integer):
        return numpy.random.default_rng(rng)
    if not hasattr(rng, "permutation"):
        raise InputError(
            f"rng is a seed (a whole number), a numpy.random.Generator or RandomState, or None; received {rng!r}."
        )
    return rng


def initial_values(spec: NetworkSpec, rng: Any = None) -> dict[str, Any]:
    """The parameters that a network begins with, as float64 arrays on the host.

    Weights are drawn by :func:`xavier_init`, those of members' last layers one after the other. Biases are 0, and factors
    of members 1, but for those of the first layer's inputs, which are 1 or -1: these make the members differ (Gorishniy,
    Kotelnikov, Babenko, TabM, ICLR 2025, section 3).
    """
    stream, values = host_stream(rng), {}
    for slot in spec.slots():
        values[slot.name] = _initial(spec, slot, stream)
    return values


def _initial(spec: NetworkSpec, slot: Slot, stream: Any) -> Any:
    if slot.name in spec.weight_names:
        if len(slot.shape) == 2:
            return xavier_init(slot.shape, stream)
        return numpy.stack([xavier_init(slot.shape[1:], stream) for _ in range(spec.members)])
    if slot.name == spec.layer_names[0].get("scale_in"):
        return numpy.where(stream.uniform(size=slot.shape) < 0.5, -1.0, 1.0)
    biases = [names["bias"] for names in spec.layer_names]
    return numpy.zeros(slot.shape) if slot.name in biases else numpy.ones(slot.shape)
