"""Files with damage done to them: bytes flipped, cut out, put in, copied elsewhere."""

from collections.abc import Iterator

import numpy as np


def mutants(whole: bytes, count: int, seed: int = 0) -> Iterator[bytes]:
    """So many damaged copies of a file, each with one to four wounds."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        damaged = bytearray(whole)
        for _ in range(rng.integers(1, 5)):
            _wound(damaged, rng)
        yield bytes(damaged)


def _wound(content: bytearray, rng: np.random.Generator) -> None:
    if not content:
        return
    at, length = int(rng.integers(len(content))), int(rng.integers(1, 40))
    match int(rng.integers(6)):
        case 0:
            content[at] ^= 1 << int(rng.integers(8))
        case 1:
            del content[at : at + length]
        case 2:
            content[at:at] = rng.bytes(length)
        case 3:
            content[at : at + length] = b"\xff" * length
        case 4:
            source = int(rng.integers(len(content)))
            content[at:at] = content[source : source + length]
        case _:
            del content[at:]
