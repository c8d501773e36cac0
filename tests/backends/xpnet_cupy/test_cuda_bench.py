"""The GPU benchmarks as far as a host goes: contenders do the same work, and floors are what they say."""

from collections.abc import Iterator

import cupy_on_host
import pytest
from cuda_host import needs_compiler

gpu = pytest.importorskip("xpnet_bench.jobs.gpu", reason="the benchmarks are not installed")
from xpnet_bench.contenders import Task

JOB = gpu.training(12, 8, 5, layers=1, batch=16, steps=3)
HALVED = gpu.training(12, 8, 5, layers=1, batch=16, steps=3, bits=7)
TOLERANCES = {JOB: 1e-5, HALVED: 5 * 2 * 2**-8}  # bfloat16: a rounding for each number on a path, five a layer


def losses(task: Task) -> list[float]:
    """Of three epochs."""
    return [task.answer(task.call())[0] for _ in range(3)]


@pytest.fixture(scope="module")
def ours() -> Iterator[dict[gpu.Job, list[float]]]:
    """The losses of the compiled step."""
    with cupy_on_host.installed():
        from xpnet_bench.contenders.gpu_xpnet import gpu_train

        yield {job: losses(gpu_train(job)) for job in TOLERANCES}


@needs_compiler
@pytest.mark.parametrize("job", TOLERANCES, ids=lambda job: job.name)
def test_jax_prints_the_same_losses(ours: dict[gpu.Job, list[float]], job: gpu.Job) -> None:
    pytest.importorskip("jax", reason="JAX is not installed")
    from xpnet_bench.contenders.gpu_jax import gpu_train

    assert losses(gpu_train(job)) == pytest.approx(ours[job], rel=TOLERANCES[job])


@needs_compiler
@pytest.mark.parametrize("job", TOLERANCES, ids=lambda job: job.name)
def test_pytorch_prints_the_same_losses(
    ours: dict[gpu.Job, list[float]], job: gpu.Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed")
    from xpnet_bench.contenders import gpu_pytorch, pytorch

    monkeypatch.setattr(pytorch, "_variant", "cuda")
    assert losses(gpu_pytorch.gpu_train(job)) == pytest.approx(ours[job], rel=TOLERANCES[job])


def test_floors() -> None:
    """A floor is the larger of what moving the bytes and what the products take."""
    rates = {"bytes": 1e12, "float32": 1e13}
    # Forward and weight gradients of both layers, the input gradient of the second: 2 (2 (96 + 40) + 40) a row.
    assert JOB.flops == 16 * 2 * (2 * (12 * 8 + 8 * 5) + 8 * 5)
    assert JOB.traffic == 4 * (7 * (13 * 8 + 9 * 5) + 16 * 12)
    assert gpu.floor_seconds(JOB, rates) == pytest.approx(max(JOB.traffic / 1e12, JOB.flops / 1e13))
    assert gpu.floor_seconds(gpu.cross_entropy(1000, 500), rates) == pytest.approx(4e-6)
