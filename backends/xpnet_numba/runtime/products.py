"""The choice of what multiplies matrices: tiles of our own, or SciPy's BLAS.

Tiles are faster for the sizes of small networks, and need no library to be held to one thread. With vectors of 32 bytes
BLAS is faster for large weights, since it has a copy of both operands (``xpnet bench --held-to avx2``).
"""

import os
from typing import NamedTuple

from xpnet.errors import BackendError
from xpnet_numba.llvm.tiles import AVX2, AVX512, NEON, SSE, TILES, WIDE

VARIABLE = "XPNET_PRODUCTS"
"""The environment variable that names ``tiles`` or ``blas`` for tests and measurements, read when a step is made."""

LARGE = 1 << 20
"""Bytes of a weight beyond which BLAS is chosen where vectors have 32 bytes."""

OWN, BLAS = "multiply", "multiply_by_blas"
FUNCTIONS = {"tiles": OWN, "blas": BLAS}
NAMES = {AVX512: "AVX-512", AVX2: "AVX2", NEON: "NEON", SSE: "SSE"}


class Product(NamedTuple):
    """What multiplies matrices in a step: its function, and one clause that says why."""

    function: str
    reason: str

    @property
    def by_blas(self) -> bool:
        """Whether BLAS multiplies, and is to be held to one thread."""
        return self.function == BLAS


def choose_product(weight_bytes: int) -> Product:
    """The product for a network whose largest weight has so many bytes.

    Raises BackendError where the environment variable names neither kind.
    """
    named = os.environ.get(VARIABLE, "")
    if named and named not in FUNCTIONS:
        raise BackendError(f"{VARIABLE} must be {' or '.join(FUNCTIONS)}; received {named!r}. Correct or unset it.")
    if named:
        return Product(FUNCTIONS[named], f"{named}, named by {VARIABLE}")
    if not WIDE:
        return Product(BLAS, "BLAS, since there are no tiles for this processor")
    vectors = f"{NAMES[TILES]} vectors"
    if TILES is AVX2 and weight_bytes > LARGE:
        return Product(BLAS, f"BLAS, faster than tiles of {vectors} for weights of more than {LARGE >> 20} MB")
    return Product(OWN, f"tiles of {vectors}")


def products_that_may_run() -> set[str]:
    """The functions that steps of this process choose among."""
    return {choose_product(size).function for size in (0, LARGE + 1)}
