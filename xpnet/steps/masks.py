"""Dropout masks, drawn on the host from a counter, so that no generator has to be stored in a checkpoint.

Item i of a batch, counted row by row, is decided by number i, of 16 bits, in a stream of Philox 4x64-10 (Salmon,
Moraes, Dror, Shaw, Parallel random numbers: as easy as 1, 2, 3, 2011), whose key is the seed and whose counter begins
with the layer and the update. Any part of a batch can so be drawn by itself. NumPy has this generator; the compiled
steps have their own copies, which tests hold equal to it. A rate counts in steps of 1 / 65536.
"""

from math import prod
from typing import Any


def keep_mask(
    shape: tuple[int, ...],
    rate: float,
    *,
    seed: int,
    t: int,
    layer: int,
    first_row: int = 0,
    places: Any = None,
) -> Any:
    """Draw which units stay: Bernoulli(1 - rate), the same numbers for the same seed, update ``t`` and ``layer``.

    shape : (rows, units); first_row : how many rows of the batch stand before these
    places : (rows,) int64, where each row stands in the batch, if not one after the other
    returns bool (rows, units), a NumPy array
    """
    if places is not None:
        rows = int(places.max(initial=-1)) + 1
        return keep_mask((rows, *shape[1:]), rate, seed=seed, t=t, layer=layer)[places]
    # numpy.random is half of what importing NumPy costs, and few networks have dropout.
    from numpy.random import Philox

    words = Philox(key=seed, counter=[0, 0, layer, t])
    first, size = first_row * prod(shape[1:]), prod(shape)
    before = first % 16  # a count gives four words of 64 bits, and so sixteen numbers
    words.advance(first // 16)
    numbers = (
        words.random_raw((before + size + 3) // 4).astype("<u8").view("<u2")[before : before + size]
    )
    return (numbers >= min(int(rate * 65536 + 0.5), 65535)).reshape(shape)
