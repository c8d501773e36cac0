"""The card needs at least the larger of the times to move the bytes and to do the products, at its
measured rates.
"""

from collections.abc import Callable
from typing import Any

import cupy
import numpy
from xpnet_cupy.cublaslt import FORWARD
from xpnet_cupy.launcher import Launcher

from xpnet_bench.contenders.contender import Contender, Task
from xpnet_bench.contenders.xpnet_models import OPTIONS, device_seconds
from xpnet_bench.jobs import PRECISIONS, Job
from xpnet_bench.jobs.gpu import floor_seconds

REPEATS = 20
"""Number of times that each rate is measured; the best one counts."""

COPIED, SIDE = 1 << 28, 8192
"""Numbers of a copy, 1 GiB of float32, and rows and columns of the factors of a product."""


class CudaFloor(Contender):
    """Seconds that are computed from rates: of a copy, and of square products through cuBLASLt."""

    def __init__(self, variant: str) -> None:
        super().__init__(variant)
        source = cupy.zeros(COPIED, dtype=cupy.float32)
        target = cupy.empty_like(source)
        seconds = _minimum_seconds(lambda: cupy.copyto(target, source))
        self.rates = {"bytes": 2 * source.nbytes / seconds}
        values = numpy.random.default_rng(0).random((SIDE, SIDE), dtype=numpy.float32)
        matrix = cupy.asarray(values)  # products of zeros would be faster
        for bits, name in PRECISIONS.items():
            launcher = Launcher(cupy, "float32", OPTIONS[bits])
            product = launcher.product(FORWARD, matrix, matrix, cupy.empty_like(matrix))
            self.rates[name] = 2 * SIDE**3 / _minimum_seconds(product)

    def facts(self) -> dict[str, str]:
        return {name: f"{rate / 1e12:.3g}e12 a second" for name, rate in self.rates.items()}

    def stopwatch(self, call: Callable[[], Any], calls: int) -> float:
        """Calls return the seconds."""
        return call() * calls

    def make_train(self, job: Job) -> Task:
        """The minimum time of all units of a job."""
        seconds = job.units * floor_seconds(job, self.rates)
        return Task(lambda: seconds)

    make_cross_entropy = make_train


def _minimum_seconds(call: Callable[[], Any]) -> float:
    """The minimum time of some calls."""
    return min(device_seconds(call, 1) for _ in range(REPEATS))
