"""The choice of a step's products: float32 or float64, or factors rounded to bfloat16 where the
processor multiplies them.
"""

from typing import NamedTuple

from xpnet.errors import BackendError
from xpnet_numba.internals import compiler_target
from xpnet_numba.llvm.tiles import AVX512, TILES
from xpnet_numba.runtime.blas import choose_product


class Products(NamedTuple):
    """The products of a step.

    function : name of the function that multiplies matrices
    reason : what it is, and why, as a clause for a person to read
    packs : whether it packs factors rounded to bfloat16, for which it needs memory
    """

    function: str
    reason: str
    packs: bool


def choose_products(precision: str, dtype: str, weight_bytes: int) -> Products:
    """Return the products of a step.

    weight_bytes : size of the largest weight of the network

    Raises BackendError for ``bf16`` with float64.
    """
    if precision == "bf16" and dtype == "float64":
        raise BackendError(
            "With precision bf16 the dtype of a network must be float32; got float64. "
            "Use dtype='float32', or precision fp32."
        )
    function, reason = choose_product(weight_bytes)
    if precision == "fp32":
        return Products(function, reason, packs=False)
    missing = why_no_bfloat16()
    if missing:
        return Products(function, f"{reason}, in float32 since {missing}", packs=False)
    return Products(
        "multiply_bfloat16", "vdpbf16ps (AVX512-BF16) of factors rounded to bfloat16", packs=True
    )


def why_no_bfloat16() -> str:
    """Return why the compiler's processor has no products of bfloat16; an empty text if it has."""
    _, name, features = compiler_target()
    if TILES is AVX512 and "+avx512bf16" in features.split(","):
        return ""
    return f"the processor ({name}) has no AVX512-BF16"
