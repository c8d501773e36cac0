"""All contenders on a GPU begin with these NumPy arrays."""

import numpy

from xpnet_bench.jobs import Job, data
from xpnet_bench.jobs.gpu import widths_of

LEARNING_RATE = 1e-3


def rows(job: Job) -> tuple[numpy.ndarray, numpy.ndarray, numpy.ndarray]:
    """X (rows, features) float32, labels (rows,) int64, an order of the rows."""
    rng, count = numpy.random.default_rng(data.SEED), job.sizes["batch"] * job.sizes["steps"]
    X = rng.standard_normal((count, job.sizes["features"]), dtype=numpy.float32)
    return X, rng.integers(0, job.sizes["classes"], count), rng.permutation(count)


def parameters(job: Job) -> list[numpy.ndarray]:
    """Weight and bias, layer by layer, float32."""
    rng, widths, arrays = numpy.random.default_rng(data.SEED), widths_of(job), []
    for fan_in, fan_out in zip(widths, widths[1:], strict=False):
        weight = rng.standard_normal((fan_in, fan_out), dtype=numpy.float32) * numpy.float32(
            (2 / fan_in) ** 0.5
        )
        arrays += [weight, numpy.zeros(fan_out, numpy.float32)]
    return arrays


def logits_and_labels(job: Job) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Logits (rows, classes) float32, labels (rows,) int64."""
    return data.logits(job), data.labels(job)
