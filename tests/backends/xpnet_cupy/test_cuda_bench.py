"""The GPU benchmarks as far as a host goes: contenders do the same work, and floors are what they say."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
from helpers.cuda import cupy_on_host
from helpers.cuda.host import needs_compiler

gpu = pytest.importorskip("xpnet_bench.jobs.gpu", reason="the benchmarks are not installed")
from xpnet_bench.contenders import Task  # noqa: E402

JOB = gpu.training(12, 8, 5, layers=1, batch=16, steps=3)
HALVED = gpu.training(12, 8, 5, layers=1, batch=16, steps=3, bits=7)
TOLERANCES = {
    JOB: 1e-5,
    HALVED: 5 * 2 * 2**-8,
}  # bfloat16: a rounding for each number on a path, five a layer


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


@pytest.fixture
def captures(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch's CUDA graphs on the host: a step that is captured is not made, and made again at each replay."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    from xpnet_bench.contenders.gpu_pytorch import Trainer

    update, under_way = Trainer.update, []

    class Graph:
        trainer: Any

        def replay(self) -> None:
            self.trainer.optimizer.zero_grad()
            update(self.trainer, self.trainer.loss())

    @contextmanager
    def capture(graph: Graph) -> Iterator[None]:
        under_way.append(graph)
        yield
        under_way.pop()

    def made_or_captured(trainer: Any, loss: Any) -> None:
        if under_way:
            under_way[0].trainer = trainer
        else:
            update(trainer, loss)

    stream = SimpleNamespace(wait_stream=lambda other: None)
    for name, value in {
        "Stream": lambda: stream,
        "current_stream": lambda: stream,
        "CUDAGraph": Graph,
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: nullcontext())
    monkeypatch.setattr(torch.cuda, "graph", capture)
    monkeypatch.setattr(Trainer, "update", made_or_captured)


@needs_compiler
@pytest.mark.parametrize("variant", ["cuda", "cuda-captured"])
@pytest.mark.parametrize("job", TOLERANCES, ids=lambda job: job.name)
def test_pytorch_prints_the_same_losses(
    ours: dict[gpu.Job, list[float]],
    job: gpu.Job,
    variant: str,
    captures: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from xpnet_bench.contenders import gpu_pytorch, pytorch

    monkeypatch.setattr(pytorch, "_variant", variant)
    assert losses(gpu_pytorch.gpu_train(job)) == pytest.approx(ours[job], rel=TOLERANCES[job])


def test_what_stays_where_it_is_is_told_to_pytorchs_compiler(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its graphs would copy it at every step; one kernel makes Adam's update from numbers on the device."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    from xpnet_bench.contenders import gpu_pytorch

    compiled: list[Any] = []
    monkeypatch.setattr(
        torch, "compile", lambda function, mode: compiled.append((function.__self__, mode))
    )
    gpu_pytorch.EPOCHS["cuda-compile"](JOB)
    ((trainer, mode),) = compiled
    static = (trainer.X, trainer.y, trainer.order, trainer.cursor, *trainer.params)
    assert {tensor._dynamo_static_input_type for tensor in static} == {
        "unguarded"
    } and mode == "reduce-overhead"
    assert trainer.optimizer.defaults["fused"] and trainer.optimizer.defaults["capturable"]


def test_floors() -> None:
    """A floor is the larger of what moving the bytes and what the products take."""
    rates = {"bytes": 1e12, "float32": 1e13}
    # Forward and weight gradients of both layers, the input gradient of the second: 2 (2 (96 + 40) + 40) a row.
    assert JOB.flops == 16 * 2 * (2 * (12 * 8 + 8 * 5) + 8 * 5)
    assert JOB.traffic == 4 * (7 * (13 * 8 + 9 * 5) + 16 * 12)
    assert gpu.floor_seconds(JOB, rates) == pytest.approx(max(JOB.traffic / 1e12, JOB.flops / 1e13))
    assert gpu.floor_seconds(gpu.cross_entropy(1000, 500), rates) == pytest.approx(4e-6)
