"""Dropout masks, drawn on the host from a counter, so that no generator has to be stored in a checkpoint."""

from typing import Any


def keep_mask(shape: tuple[int, ...], rate: float, *, seed: int, t: int, layer: int) -> Any:
    """Which units stay: Bernoulli(1 - rate), the same numbers for the same seed, update ``t`` and ``layer``.

    shape : (batch, units)
    returns bool (batch, units), a NumPy array
    """
    # numpy.random is half of what importing NumPy costs, and few networks have dropout.
    from numpy.random import Generator, Philox

    bits = Philox(key=seed, counter=[0, 0, layer, t])
    return Generator(bits).random(shape) >= rate
