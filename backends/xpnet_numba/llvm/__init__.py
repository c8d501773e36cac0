"""Intrinsics in LLVM's instructions supply what Numba does not offer.

``emit``        names by which an intrinsic is written; the processor that Numba compiles for
``memory``      addresses, pointers and arrays; values that others read; numbers that several threads write
``arithmetic``  vectors, integers, denormals that count as 0
``calls``       names by which functions are compiled and called; the matrix product of SciPy
``tiles``       the innermost loop of a matrix product of our own
"""

from xpnet_numba.llvm.arithmetic import (
    LANES,
    bits,
    flush_denormals,
    high_product,
    larger,
    maximum,
    normalise,
    restore_denormals,
    select,
    smaller,
)
from xpnet_numba.llvm.calls import GIVES_ARRAY, INNER, call, gemm, gemm_address, njit, stay_apart, widest_vectors
from xpnet_numba.llvm.memory import (
    address,
    array,
    exchange_if,
    fetch_add,
    item,
    load,
    pause,
    pointer,
    pointer_to,
    prefetch,
    read_ahead,
    reload,
    sched_yield,
    section,
    shift,
    spill,
    stack,
    store,
    with_given,
)

__all__ = [
    "GIVES_ARRAY",
    "INNER",
    "LANES",
    "address",
    "array",
    "bits",
    "call",
    "exchange_if",
    "fetch_add",
    "flush_denormals",
    "gemm",
    "gemm_address",
    "high_product",
    "item",
    "larger",
    "load",
    "maximum",
    "njit",
    "normalise",
    "pause",
    "pointer",
    "pointer_to",
    "prefetch",
    "read_ahead",
    "reload",
    "restore_denormals",
    "sched_yield",
    "section",
    "select",
    "shift",
    "smaller",
    "spill",
    "stack",
    "stay_apart",
    "store",
    "widest_vectors",
    "with_given",
]
