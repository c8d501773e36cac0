"""Initial weights, drawn on the host so that every backend starts from the same numbers."""

from collections.abc import Sequence
from typing import Any

import numpy


def xavier_init(shape: Sequence[int], rng: Any = None) -> numpy.ndarray:
    """U(-a, a) with a = sqrt(6 / (fan_in + fan_out)) (Glorot, Bengio, 2010, eq. 16).

    shape : (fan_in, fan_out)
    rng : a numpy.random.Generator or RandomState; None draws from NumPy's global stream, as the notebook does
    returns weights (fan_in, fan_out), float64
    """
    a = (6.0 / float(sum(shape))) ** 0.5
    return host_stream(rng).uniform(low=-a, high=a, size=tuple(shape))


def host_stream(rng: Any = None) -> Any:
    """``rng`` itself, or for None NumPy's global stream, which ``numpy.random.seed`` starts."""
    return numpy.random if rng is None else rng
