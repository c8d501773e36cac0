"""The card needs at least the larger of the times to move the bytes and to do the products, at its measured rates."""

from collections.abc import Callable
from typing import Any

import cupy
import numpy
from xpnet_cupy.cublaslt import FORWARD
from xpnet_cupy.launcher import Launcher

from xpnet_bench.contenders import gpu_xpnet
from xpnet_bench.contenders.task import Task
from xpnet_bench.jobs import Job
from xpnet_bench.jobs.gpu import PRECISIONS, floor_seconds

REPEATS = 20
_rates: dict[str, float] = {}


def facts(variant: str) -> dict[str, str]:
    """Return the rates: a copy of 1 GiB, square products of 8192 through cuBLASLt."""
    source, n = cupy.zeros(1 << 28, dtype=cupy.float32), 8192
    target = cupy.empty_like(source)
    _rates["bytes"] = 2 * source.nbytes / _least_seconds(lambda: cupy.copyto(target, source))
    matrix = cupy.asarray(
        numpy.random.default_rng(0).random((n, n), dtype=numpy.float32)
    )  # zeros would be faster
    for bits, name in PRECISIONS.items():
        launcher: Any = Launcher(cupy, "float32", gpu_xpnet.PRECISIONS[bits]).of_batches
        factor = (
            matrix
            if not launcher.halved
            else (matrix.view(cupy.uint32) >> 16).astype(launcher.stored)
        )
        product = launcher.product(FORWARD, factor, factor, cupy.empty_like(factor))
        _rates[name] = 2 * n**3 / _least_seconds(product)
    return {name: f"{rate / 1e12:.3g}e12 a second" for name, rate in _rates.items()}


def _least_seconds(call: Callable[[], Any]) -> float:
    """Return the least time of a few calls, by the device's own clock."""
    times = []
    for _ in range(REPEATS):
        start, end = cupy.cuda.Event(), cupy.cuda.Event()
        start.record()
        call()
        end.record()
        end.synchronize()
        times.append(cupy.cuda.get_elapsed_time(start, end) / 1e3)
    return min(times)


def stopwatch(variant: str) -> Callable[[Callable[[], Any], int], float]:
    """Calls return seconds, which are computed."""
    return lambda call, calls: call() * calls


def floor(job: Job) -> Task:
    """Return the least time of all units of a job."""
    seconds = job.units * floor_seconds(job, _rates)
    return Task(lambda: seconds, lambda result: [])


OPERATIONS = {"gpu_train": floor, "gpu_cross_entropy": floor}
