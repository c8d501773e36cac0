"""The GPU benchmarks as far as a host goes: contenders do the same work, and floors are what they say."""

from collections.abc import Iterator

import cupy_on_host
import pytest
from cuda_host import needs_compiler

gpu = pytest.importorskip("xpnet_bench.jobs.gpu", reason="the benchmarks are not installed")
from xpnet_bench.contenders import Task

JOB = gpu.training(12, 8, 5, layers=1, batch=16, steps=3, tf32=False)


def losses(task: Task) -> list[float]:
    """Of three epochs."""
    return [task.answer(task.call())[0] for _ in range(3)]


@pytest.fixture(scope="module")
def ours() -> Iterator[list[float]]:
    """The losses of the compiled step."""
    with cupy_on_host.installed():
        from xpnet_bench.contenders.gpu_xpnet import gpu_train

        yield losses(gpu_train(JOB))


@needs_compiler
def test_jax_prints_the_same_losses(ours: list[float]) -> None:
    pytest.importorskip("jax", reason="JAX is not installed")
    from xpnet_bench.contenders.gpu_jax import gpu_train

    assert losses(gpu_train(JOB)) == pytest.approx(ours, rel=1e-5)


@needs_compiler
def test_pytorch_prints_the_same_losses(ours: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed")
    from xpnet_bench.contenders import gpu_pytorch, pytorch

    monkeypatch.setattr(pytorch, "_variant", "cuda")
    assert losses(gpu_pytorch.gpu_train(JOB)) == pytest.approx(ours, rel=1e-5)


def test_floors() -> None:
    """A floor is the larger of what moving the bytes and what the products take."""
    rates = {"bytes": 1e12, "fp32": 1e13}
    # Forward and weight gradients of both layers, the input gradient of the second: 2 (2 (96 + 40) + 40) a row.
    assert JOB.flops == 16 * 2 * (2 * (12 * 8 + 8 * 5) + 8 * 5)
    assert JOB.traffic == 4 * (7 * (13 * 8 + 9 * 5) + 16 * 12)
    assert gpu.floor_seconds(JOB, rates) == pytest.approx(max(JOB.traffic / 1e12, JOB.flops / 1e13))
    assert gpu.floor_seconds(gpu.cross_entropy(1000, 500), rates) == pytest.approx(4e-6)
