"""The choice of a step's products: float32 or float64, or factors rounded to bfloat16 where the
processor multiplies them.
"""

import ctypes
import os
import sys
from functools import cache
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

    precision : ``fp32``; ``bf16``, where the processor has these products; or ``auto``, where they
        also take less time
    weight_bytes : size of the largest weight of the network

    Raises BackendError for ``bf16`` with float64.
    """
    if precision == "bf16" and dtype == "float64":
        raise BackendError(
            "With precision bf16 the dtype of a network must be float32; got float64. "
            "Use dtype='float32', or precision fp32."
        )
    function, reason = choose_product(weight_bytes)
    if precision == "fp32" or dtype == "float64":
        return Products(function, reason, packs=False)
    reasons = why_not() if precision == "bf16" else why_no_gain()
    for name, description in DESCRIPTIONS.items():
        if not reasons[name]:
            others = [f", since {why}" for why in reasons.values() if why]
            return Products(
                name, f"{description} of factors rounded to bfloat16{''.join(others)}", packs=True
            )
    return Products(function, f"{reason}, in float32 since {reasons[VECTORS]}", packs=False)


AMX, VECTORS = "multiply_by_amx", "multiply_by_vdpbf16ps"

DESCRIPTIONS = {AMX: "tdpbf16ps (AMX)", VECTORS: "vdpbf16ps (AVX512-BF16)"}
"""Products of bfloat16 by the names of their functions, the fastest first."""


def why_not() -> dict[str, str]:
    """Return for each product of bfloat16 why it cannot run; an empty text if it can."""
    _, processor, features = compiler_target()
    has = features.split(",").__contains__
    reasons = {AMX: "", VECTORS: ""}
    if TILES is not AVX512 or not has("+avx512bf16"):
        reasons = dict.fromkeys(reasons, f"{processor} has no AVX512-BF16")
    elif not has("+amx-bf16") or not has("+amx-tile"):
        reasons[AMX] = f"{processor} has no AMX-BF16 here"
    else:
        reasons[AMX] = why_no_permission()
    return reasons


FAST_VECTORS = "znver"
"""The beginning of the names of processors that multiply vectors of bfloat16 faster than those of
float32: AMD's since Zen 4. Intel's processors execute vdpbf16ps at half the rate of float32's
instructions; with AMX they have faster products of bfloat16."""


def why_no_gain() -> dict[str, str]:
    """Return for each product of bfloat16 why it takes no less time than one of float32; an empty
    text if it does.
    """
    _, processor, _ = compiler_target()
    reasons = why_not()
    has_amx = not reasons[AMX]
    if not (has_amx or reasons[VECTORS] or processor.startswith(FAST_VECTORS)):
        reasons[VECTORS] = f"{processor} multiplies vectors of bfloat16 more slowly than float32"
    return reasons


@cache
def why_no_permission() -> str:
    """Ask the kernel for the registers of AMX, for all threads of this process; return why it
    refuses, or an empty text.
    """
    if sys.platform != "linux":
        return "only Linux is asked for the registers of AMX"
    kernel = ctypes.CDLL(None, use_errno=True)
    if kernel.syscall(ARCH_PRCTL, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0:
        return ""
    return f"the kernel does not grant the registers of AMX: {os.strerror(ctypes.get_errno())}"


ARCH_PRCTL, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA = 158, 0x1023, 18
"""Numbers of a system call of x86-64, its request and its argument: Linux, Documentation/arch/x86,
xstate.
"""
