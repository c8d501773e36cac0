"""Matrix products of float32 on one thread: SciPy's BLAS, tiles, packed factors, the peak.

    OPENBLAS_NUM_THREADS=1 python bench/products.py > products.md
    OPENBLAS_NUM_THREADS=1 NUMBA_CPU_NAME=haswell NUMBA_CPU_FEATURES= OPENBLAS_CORETYPE=Haswell \
        python bench/products.py > products_avx2.md

All contenders take turns in one process, each time in another order, and are timed by the CPU time
of the thread. So other processes change all of them alike, and the ratio of two times of a round
is less noisy than a time. Each of the contenders computes a product several times for one time.
"""

import argparse
import ctypes
import random
import statistics
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
from xpnet_bench.contenders.peak import RegisterLoop
from xpnet_numba.llvm.emit import gemm_address
from xpnet_numba.loops import packed, products
from xpnet_numba.loops.products import ACCUMULATE, TRANSPOSE_A, TRANSPOSE_B
from xpnet_numba.step import functions

MIN_FLOPS = 1e9
"""Minimum number of floating-point operations of a time: about 10 ms."""

FLAGS = {TRANSPOSE_A: "A transposed", TRANSPOSE_B: "B transposed", ACCUMULATE: "added"}
FUNCTIONS = {
    "OpenBLAS": "multiply_by_blas",
    "tiles": "multiply",
    "packed": "multiply_packed",
}


class Shape(NamedTuple):
    """A product C = op(A) op(B): rows and columns of C, number of terms, and flags."""

    rows: int
    columns: int
    terms: int
    flags: int = 0

    def __str__(self) -> str:
        sizes = f"{self.rows} x {self.columns}, {self.terms}"
        return ", ".join([sizes, *(name for flag, name in FLAGS.items() if self.flags & flag)])

    @property
    def flops(self) -> int:
        return 2 * self.rows * self.columns * self.terms


SHAPES = (
    Shape(1024, 1024, 784),
    Shape(784, 1024, 1024, TRANSPOSE_A),
    Shape(512, 1024, 784),
    Shape(392, 1024, 1024, TRANSPOSE_A),
    Shape(512, 1024, 1024),
    Shape(512, 1024, 1024, TRANSPOSE_B),
    Shape(512, 2048, 2048),
    Shape(512, 2048, 2048, TRANSPOSE_B),
    Shape(512, 2048, 784),
    Shape(256, 256, 256),
    Shape(128, 256, 784),
    Shape(512, 10, 1024),
    Shape(512, 1024, 10, TRANSPOSE_B),
    Shape(1024, 10, 1024, TRANSPOSE_A),
)
"""The products of 784-1024-10 and 784-1024-1024-10 of a batch of 1,024 on one and on two cores, and
smaller and larger ones.
"""


def main() -> None:
    """Measure the shapes and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=20, help="number of times of each contender")
    parser.add_argument("--only", default="", help="measure the shapes whose name contains this")
    options = parser.parse_args()
    print("| C, terms, flags | OpenBLAS | tiles | packed | OpenBLAS / tiles | OpenBLAS / packed |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for shape in SHAPES:
        if options.only in str(shape):
            print(line(shape, times_of(shape, options.rounds)), flush=True)


def times_of(shape: Shape, rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each contender by round."""
    calls = contenders(shape)
    for call in calls.values():
        call()
    times: dict[str, list[float]] = {name: [] for name in calls}
    draws = random.Random(0)
    for _ in range(rounds):
        for name in draws.sample(list(calls), len(calls)):
            begin = time.thread_time()
            calls[name]()
            times[name].append(time.thread_time() - begin)
    return times


def contenders(shape: Shape) -> dict[str, Callable[[], object]]:
    """Return what each contender computes, as often as makes at least ``MIN_FLOPS``."""
    (m, n, k, flags), rng = shape, np.random.default_rng(0)
    a = rng.standard_normal((k, m) if flags & TRANSPOSE_A else (m, k), dtype=np.float32)
    b = rng.standard_normal((n, k) if flags & TRANSPOSE_B else (k, n), dtype=np.float32)
    c = np.zeros((m, n), np.float32)
    scratch = np.zeros(max(packed.SCRATCH, products.SCRATCH), np.float32)
    count = max(1, round(MIN_FLOPS / shape.flops))

    def repeated(name: str) -> Callable[[], object]:
        call = c_call(name, a, b, c, flags, scratch, gemm_address("float32"))
        return lambda: deque((call() for _ in range(count)), maxlen=0)

    loop = RegisterLoop("float32")
    peak = partial(loop.run, count * shape.flops // loop.flops)
    return {name: repeated(function) for name, function in FUNCTIONS.items()} | {"peak": peak}


def c_call(name: str, *arguments: np.ndarray | int) -> Callable[[], None]:
    """Return a call of a C function of the step with arrays, which it keeps, and whole numbers."""
    fields = [field for argument in arguments for field in fields_of(argument)]
    kind = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * len(fields))
    function = kind(functions.address(name, "float32"))

    def call(_: tuple[np.ndarray | int, ...] = arguments) -> None:
        function(*fields)

    return call


def fields_of(argument: np.ndarray | int) -> list[int]:
    """Return the fields of Numba's record of an array, or a number."""
    if isinstance(argument, int):
        return [argument]
    at, shape, strides = argument.ctypes.data, argument.shape, argument.strides
    return [0, 0, argument.size, argument.itemsize, at, *shape, *strides]


def line(shape: Shape, times: dict[str, list[float]]) -> str:
    """Return a line of the table: GFLOP/s, then the median share of the peak; median ratios."""
    count = max(1, round(MIN_FLOPS / shape.flops))
    cells = [str(shape)]
    for name in FUNCTIONS:
        speed = count * shape.flops / statistics.median(times[name]) / 1e9
        cells.append(f"{speed:.0f} ({ratio(times, 'peak', name):.2f})")
    cells += [f"{ratio(times, 'OpenBLAS', name):.2f}" for name in ("tiles", "packed")]
    return f"| {' | '.join(cells)} |"


def ratio(times: dict[str, list[float]], first: str, second: str) -> float:
    """Return the median over rounds of one contender's time over another's."""
    return statistics.median(a / b for a, b in zip(times[first], times[second], strict=True))


if __name__ == "__main__":
    main()
