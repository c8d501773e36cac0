"""Dropout masks, drawn on the host from a counter, so that checkpoints store no generator.

The random numbers are those of Philox 4x64-10 (Salmon, Moraes, Dror, Shaw, Parallel random numbers:
as easy as 1, 2, 3, 2011). Its key is the seed, and its counter begins with the layer and the
update. Number i, of 16 bits, decides about item i of a batch, counted row by row, so that the masks
of any part of a batch can be drawn alone. NumPy has this generator. The compiled steps have their
own copies, which tests compare with it. A rate is rounded to a multiple of 1 / 65536.
"""

from math import prod

import numpy

from xpnet.backend import BatchPart, NetworkSpec


def keep_mask(
    shape: tuple[int, ...],
    rate: float,
    *,
    seed: int,
    t: int,
    layer: int,
    first_row: int = 0,
    positions: numpy.ndarray | None = None,
) -> numpy.ndarray:
    """Draw the units that are kept, Bernoulli(1 - rate), as a NumPy array of bool (rows, units).

    The mask is the same for the same seed, update ``t`` and ``layer``.

    shape : (rows, units)
    first_row : number of rows of the batch that precede these
    positions : (rows,) int64, the position of each row in the batch, if not consecutive
    """
    if positions is not None:
        rows = int(positions.max(initial=-1)) + 1
        mask_of_batch = keep_mask((rows, *shape[1:]), rate, seed=seed, t=t, layer=layer)
        mask: numpy.ndarray = mask_of_batch[positions]
        return mask
    # numpy.random takes half the time of importing NumPy, and few networks have dropout.
    from numpy.random import Philox

    words = Philox(key=seed, counter=[0, 0, layer, t])
    first = first_row * prod(shape[1:])
    size = prod(shape)
    before = first % 16  # one count of Philox gives four words of 64 bits: sixteen numbers
    words.advance(first // 16)
    numbers = (
        words.random_raw((before + size + 3) // 4).astype("<u8").view("<u2")[before : before + size]
    )
    return (numbers >= min(int(rate * 65536 + 0.5), 65535)).reshape(shape)


def layer_masks(spec: NetworkSpec, layer: int, rows: int, t: int, part: BatchPart) -> numpy.ndarray:
    """Draw the masks of all members after a hidden layer, bool (members, rows, units).

    rows : of a member's batch
    t : the number of updates before this one
    part : the place of the rows in the whole batch
    """
    hidden = len(spec.activations)
    return numpy.stack(
        [
            keep_mask(
                (rows, spec.widths[layer + 1]),
                spec.dropout[layer],
                seed=spec.seed,
                t=t,
                layer=layer + member * hidden,
                first_row=part.first_row,
                positions=part.places,
            )
            for member in range(spec.members)
        ]
    )
