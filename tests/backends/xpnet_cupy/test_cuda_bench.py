"""The GPU benchmarks as far as a host goes: contenders do the same work, and floors are what they say."""

import cupy_on_host
import pytest
from cuda_host import needs_compiler

gpu_jobs = pytest.importorskip("xpnet_bench.gpu_jobs", reason="the benchmarks are not installed")
from xpnet_bench.gpu import floor_us

JOB = gpu_jobs.Job("training", (12, 8, 5), 16, 3)


@needs_compiler
def test_contenders_print_the_same_losses() -> None:
    pytest.importorskip("jax", reason="JAX is not installed")
    with cupy_on_host.installed():
        epoch = gpu_jobs.xpnet_training(JOB, "xpnet fp32")
        ours = [epoch() for _ in range(3)]
    peer = gpu_jobs.jax_training(JOB, "jax fp32")
    assert ours == pytest.approx([peer() for _ in range(3)], rel=1e-5)


def test_floors() -> None:
    """A floor is the larger of what moving the bytes and what the products take."""
    floors = {"copy_gb_per_s": 1000.0, "fp32_tflop_per_s": 10.0}
    # Forward and weight gradients of both layers, the input gradient of the second: 2 (2 (96 + 40) + 40) a row.
    assert JOB.flop == 16 * 2 * (2 * (12 * 8 + 8 * 5) + 8 * 5)
    assert JOB.bytes == 4 * (7 * (13 * 8 + 9 * 5) + 16 * 12)
    assert floor_us(JOB, "fp32", floors) == pytest.approx(max(JOB.bytes / 1e6, JOB.flop / 1e7))
    assert floor_us(gpu_jobs.Job("cross-entropy", (1000, 500)), "fp32", floors) == pytest.approx(4.0)
