"""Kernel jobs: one operation on one array, as a user calls it, the output newly allocated."""

import math

from xpnet_bench.jobs.job import Job

ITEM_BYTES = {"float32": 4, "float64": 8}
ROWS_AND_CLASSES = [(200, 10), (8192, 2), (8192, 10), (4096, 100), (4096, 1000), (1024, 32000)]
RELU_SIZES = [20_000, 1_000_000, 4_000_000]
ADAM_SIZES = [7_850, 203_530, 4_000_000]
ADAM_ARRAYS = 7
"""Adam reads parameter, gradient and two moments, and writes all but the gradient."""


def kernel_jobs(quick: bool) -> list[Job]:
    """Softmax, cross-entropy with its gradient, ReLU and Adam, over sizes and dtypes.

    quick : every second size, in float32
    """
    part = slice(None, None, 2) if quick else slice(None)
    dtypes = ("float32",) if quick else ("float32", "float64")
    shapes = ROWS_AND_CLASSES[part]
    return [
        *(over_rows("softmax", *shape, dtype) for dtype in dtypes for shape in shapes),
        *(over_rows("cross_entropy", *shape, dtype) for dtype in dtypes for shape in shapes),
        *(flat("relu", size, dtype, 2) for dtype in dtypes for size in RELU_SIZES[part]),
        *(flat("adam", size, dtype, ADAM_ARRAYS) for dtype in dtypes for size in ADAM_SIZES[part]),
    ]


def over_rows(operation: str, rows: int, classes: int, dtype: str) -> Job:
    """Return an operation on logits (rows, classes)."""
    return Job(
        name=f"{operation.replace('_', '-')} {rows}x{classes} {dtype}",
        suite="kernels",
        operation=operation,
        group=operation,
        sizes={"rows": rows, "classes": classes},
        dtype=dtype,
        traffic=2 * rows * classes * ITEM_BYTES[dtype],
    )


def flat(operation: str, size: int, dtype: str, arrays: int) -> Job:
    """An operation on ``size`` numbers that reads and writes this number of arrays of them."""
    return Job(
        name=f"{operation} {_short(size)} {dtype}",
        suite="kernels",
        operation=operation,
        group=operation,
        sizes={"size": size},
        dtype=dtype,
        traffic=arrays * size * ITEM_BYTES[dtype],
    )


def _short(size: int) -> str:
    power = min(int(math.log10(size)) // 3, 2)
    return f"{size / 1000**power:g}{'kM'[power - 1] if power else ''}"
