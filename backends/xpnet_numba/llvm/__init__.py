"""What Numba does not offer, written in LLVM's instructions.

``atomics``     numbers that several threads write
``memory``      addresses and pointers
``float_mode``  denormals that count as 0
``vectors``     arithmetic that fills vectors
``functions``   how functions are compiled and called
``integers``    the smaller of two, and wide products
``blas``        SciPy's matrix product
``tiles``       the innermost loop of a matrix product of our own
``target``      the processor that Numba compiles for
``values``      values that others read, or that may be missing
``emit``        how an intrinsic is written
"""

from xpnet_numba.llvm.atomics import exchange_if, fetch_add, item, load, pause, sched_yield, store
from xpnet_numba.llvm.blas import gemm, gemm_address
from xpnet_numba.llvm.float_mode import flush_denormals, restore_denormals
from xpnet_numba.llvm.functions import GIVES_ARRAY, INNER, call, njit, stay_apart, widest_vectors
from xpnet_numba.llvm.integers import high_product, larger, smaller
from xpnet_numba.llvm.memory import address, array, pointer, pointer_to, prefetch, read_ahead, section, shift, stack
from xpnet_numba.llvm.values import kept, taken, with_given
from xpnet_numba.llvm.vectors import LANES, bits, chosen, maximum, normalise

__all__ = [
    "GIVES_ARRAY",
    "INNER",
    "LANES",
    "address",
    "array",
    "bits",
    "call",
    "chosen",
    "exchange_if",
    "fetch_add",
    "flush_denormals",
    "gemm",
    "gemm_address",
    "high_product",
    "item",
    "kept",
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
    "restore_denormals",
    "sched_yield",
    "section",
    "shift",
    "smaller",
    "stack",
    "stay_apart",
    "store",
    "taken",
    "widest_vectors",
    "with_given",
]
