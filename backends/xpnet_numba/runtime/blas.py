"""SciPy's BLAS: its threads, and when a step multiplies matrices with it.

A step multiplies matrices by tiles of its own or by SciPy's BLAS. Tiles are faster for the sizes of
small networks, and need no library that must be limited to one thread. For large weights both
factors are packed for the tiles. With vectors of 64 bytes a large product then takes 0.96 to 1.1
times as long as by BLAS, and a whole update less, since its other products are faster by tiles.
Zen 4 multiplies large matrices faster by tiles than by BLAS or of packed factors.
With vectors of 32 bytes BLAS is chosen for large weights. The threads of the team each call BLAS on
their part of the work. The threads of BLAS would compete with them, so BLAS is limited to one
thread in the whole process while a step computes with it.
"""

import os

from xpnet.backend.blas import libraries
from xpnet.backend.blas import one_thread as one_thread
from xpnet.errors import BackendError
from xpnet_numba.llvm.tiles import AVX2, AVX512, TILES, WIDE, ZEN4


def hold_this_thread() -> None:
    """Limit BLAS to one thread in a worker if it keeps the limit for each caller (OpenMP)."""
    for library in libraries():
        if getattr(library, "threading_layer", "") == "openmp":
            library.set_num_threads(1)


# The choice of a product.


VARIABLE = "XPNET_PRODUCTS"
"""Environment variable for tests and measurements: ``tiles``, ``packed`` or ``blas``. It is read
when a step is created.
"""

LARGE_WEIGHT = 1 << 20
"""Size of a weight in bytes above which factors are packed for tiles with vectors of 64 bytes,
except on Zen 4, and BLAS is chosen with vectors of 32 bytes.
"""

OWN, PACKED, BLAS = "multiply", "multiply_packed", "multiply_by_blas"
FUNCTIONS = {"tiles": OWN, "packed": PACKED, "blas": BLAS}


def choose_product(weight_bytes: int) -> tuple[str, str]:
    """Return the name of the function that multiplies matrices, and the reason.

    weight_bytes : size of the largest weight of the network

    Raises BackendError if the environment variable names none of these.
    """
    named = os.environ.get(VARIABLE, "")
    if named and named not in FUNCTIONS:
        raise BackendError(
            f"{VARIABLE} must be {', '.join(FUNCTIONS)}; got {named!r}. Correct or unset it."
        )
    if named:
        return FUNCTIONS[named], f"{named}, named by {VARIABLE}"
    if not WIDE:
        return BLAS, "BLAS, since there are no tiles for this processor"
    vectors = f"{TILES.name} vectors"
    if TILES is AVX2 and weight_bytes > LARGE_WEIGHT:
        return (
            BLAS,
            f"BLAS, faster than tiles of {vectors} for weights of more than {LARGE_WEIGHT >> 20} "
            "MB",
        )
    if TILES is AVX512 and weight_bytes > LARGE_WEIGHT and not ZEN4:
        return PACKED, f"tiles of {vectors}, for which large factors are packed"
    return OWN, f"tiles of {vectors}"


def products_that_may_run() -> set[str]:
    """Return the names of the functions that steps of this process choose among."""
    return {choose_product(size)[0] for size in (0, LARGE_WEIGHT + 1)}
