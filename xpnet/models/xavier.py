"""Initial weights, drawn on the host so that every backend starts from the same numbers."""

from collections.abc import Sequence
from typing import Any

import numpy

from xpnet.errors import InputError


def xavier_init(shape: Sequence[int], rng: Any = None) -> numpy.ndarray:
    """U(-a, a) with a = sqrt(6 / (fan_in + fan_out)) (Glorot, Bengio, 2010, eq. 16).

    shape : (fan_in, fan_out)
    rng : a seed, a numpy.random.Generator or RandomState; None draws from NumPy's global stream, as the notebook does
    returns weights (fan_in, fan_out), float64
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
