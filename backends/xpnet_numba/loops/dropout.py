"""Dropout: the masks follow from a counter, as in ``xpnet.steps.masks``, so that any thread can
compute them.
"""

from typing import TypeAlias

import numpy

from xpnet_numba.kinds import Indices, Vector
from xpnet_numba.llvm.arithmetic import DRAWN, drop_by_bits, high_product, larger, smaller
from xpnet_numba.llvm.memory import copy, pointer_to, shift, stack
from xpnet_numba.loops import inlined, inner

u8 = numpy.uint64
FourWords: TypeAlias = tuple[u8, u8, u8, u8]

ROUNDS = 10
MULTIPLIERS = u8(0xD2E7470EE14C6C93), u8(0xCA5A826395121157)
WEYL = u8(0x9E3779B97F4A7C15), u8(0xBB67AE8584CAA73B)
"""The constants of Philox 4x64 (Salmon, Moraes, Dror, Shaw, Parallel random numbers: as easy as 1,
2, 3, 2011).
"""


@inlined
def philox(counter: FourWords, key: tuple[u8, u8]) -> FourWords:
    """Four random words, uint64, for a counter of four words and a key of two."""
    (a, b, c, d), (k0, k1) = counter, key
    for _ in range(ROUNDS):
        high_a, high_c = high_product(MULTIPLIERS[0], a), high_product(MULTIPLIERS[1], c)
        a, b, c, d = high_c ^ b ^ k0, MULTIPLIERS[1] * c, high_a ^ d ^ k1, MULTIPLIERS[0] * a
        k0, k1 = k0 + WEYL[0], k1 + WEYL[1]
    return a, b, c, d


@inner
def drop(
    x: Vector, out: Vector, first: int, rate: float, seed: Indices, layer: int, t: int
) -> None:
    """out = x keep / (1 - rate) for a run of items that begins with item ``first`` of the whole
    batch.

    x, out : (n,), which may be the same; seed : (2,) int64, its lower and upper 64 bits
    layer, t : index of the hidden layer, from 0, and number of updates made
    """
    scale, limit = x.dtype.type(1 / (1 - rate)), smaller(int(rate * 65536.0 + 0.5), 65535)
    key = u8(seed[0]), u8(seed[1])
    from_x, to_out, part = pointer_to(x), pointer_to(out), stack(pointer_to(x), DRAWN)
    for count in range(first // DRAWN, (first + x.size + DRAWN - 1) // DRAWN):
        # NumPy counts before it draws.
        words = philox((u8(count + 1), u8(0), u8(layer), u8(t)), key)
        at = count * DRAWN - first
        if at >= 0 and at + DRAWN <= x.size:
            drop_by_bits(shift(from_x, at), shift(to_out, at), words, limit, scale)
        else:
            begin, end = larger(at, 0), smaller(at + DRAWN, x.size)
            copy(shift(from_x, begin), shift(part, begin - at), end - begin)
            drop_by_bits(part, part, words, limit, scale)
            copy(shift(part, begin - at), shift(to_out, begin), end - begin)
