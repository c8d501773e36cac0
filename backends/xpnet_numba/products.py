"""Matrix products, called from compiled code: by our own leaf where the processor has vectors for it, else by SciPy's BLAS.

Each function takes the job, which knows the addresses of both: ``multiply_at`` is 0 where the leaf is not to be used.
"""

from typing import Any

from numba import njit

from xpnet_numba.machine import call, gemm

SMALL = 1_000_000
"""Products of up to m n k = 1e6 take OpenBLAS's path that copies no operand, up to 3.5 times as fast where thin."""

THIN = 48
"""Below this width a product is worth cutting into pieces that are small."""

PLAIN, TRANSPOSED = ord("N"), ord("T")


@njit
def times(job: Any, a: Any, b: Any, c: Any, far: Any) -> None:
    """C = A B. a : (m, at least k); b : (k, n); c : (m, n); far : whether A is still in main memory."""
    if job.multiply_at:
        call(job.multiply_at, (a, 0, 0, b, 0, c, far))
        return
    one, zero = c.dtype.type(1), c.dtype.type(0)
    (m, n), k = c.shape, b.shape[0]
    step = _rows_at_once(m, n, k)
    for i in range(0, m, step):
        rows, part, out = min(step, m - i), a[i].ctypes.data, c[i].ctypes.data
        gemm(job.gemm_at, PLAIN, PLAIN, rows, n, k, one, part, a.shape[1], b.ctypes.data, n, zero, out, n)


@njit
def times_transposed(job: Any, a: Any, b: Any, c: Any) -> None:
    """C = A B^T. a : (m, k); b : (n, k); c : (m, n)."""
    if job.multiply_at:
        call(job.multiply_at, (a, 0, 0, b, 1, c, 0))
        return
    one, zero = c.dtype.type(1), c.dtype.type(0)
    (m, k), n = a.shape, b.shape[0]
    step = _rows_at_once(m, n, k)
    for i in range(0, m, step):
        rows, part, out = min(step, m - i), a[i].ctypes.data, c[i].ctypes.data
        gemm(job.gemm_at, PLAIN, TRANSPOSED, rows, n, k, one, part, k, b.ctypes.data, k, zero, out, n)


@njit
def transposed_times(job: Any, a: Any, first: Any, b: Any, c: Any) -> None:
    """C = A[:, first : first + m]^T B. a : (k, at least first + m); b : (k, n); c : (m, n)."""
    if job.multiply_at:
        call(job.multiply_at, (a, 1, first, b, 0, c, 0))
        return
    one, zero = c.dtype.type(1), c.dtype.type(0)
    (m, n), k = c.shape, b.shape[0]
    step = _rows_at_once(m, n, k)
    for i in range(0, m, step):
        rows, part, out = min(step, m - i), a[0, first + i :].ctypes.data, c[i].ctypes.data
        gemm(job.gemm_at, TRANSPOSED, PLAIN, rows, n, k, one, part, a.shape[1], b.ctypes.data, n, zero, out, n)


@njit
def _rows_at_once(m: Any, n: Any, k: Any) -> Any:
    """Into how many rows to cut a product (m, k) (k, n), so that a thin one stays small."""
    if m * n * k <= SMALL or min(n, k) > THIN:
        return max(m, 1)
    return max(16, SMALL // (n * k) // 16 * 16)
