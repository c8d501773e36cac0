"""The GPU benchmarks as far as a host goes: contenders do the same work, and floors are what they
say.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import numpy
import pytest
from helpers.cuda import cupy_on_host
from helpers.cuda.rig import needs_compiler

gpu = pytest.importorskip("xpnet_bench.jobs.gpu", reason="the benchmarks are not installed")
from xpnet_bench.contenders.contender import Network, training_loss  # noqa: E402
from xpnet_bench.jobs import Job, data  # noqa: E402
from xpnet_bench.jobs.job import BFLOAT16_BITS, FLOAT32_BITS  # noqa: E402

SIZES = {"features": 12, "hidden": 8, "layers": 2, "batch": 48, "rows": 48}
JOB = gpu.training_job(SIZES, FLOAT32_BITS)
HALVED = gpu.training_job(SIZES, BFLOAT16_BITS)
TOLERANCES = {JOB: 1e-5, HALVED: 7 * 2 * 2**-8}
"""Of bfloat16: one rounding for each number on a path, seven paths."""

EPOCHS = 3


def losses(network: Network, arrays: tuple[Any, ...], predict: Any) -> list[float]:
    """The losses after each of some updates with all rows."""
    job, values = network.job, []
    for _ in range(EPOCHS):
        network.epochs(*arrays)
        values += training_loss(job, predict(data.rows(job).X))
    return values


@pytest.fixture(scope="module")
def ours() -> Iterator[dict[Job, list[float]]]:
    """The losses of the compiled step."""
    with cupy_on_host.installed():
        from xpnet_bench.contenders.xpnet_models import Xpnet

        contender = Xpnet("cupy")
        try:
            yield {job: losses(*_prepared(contender, job)) for job in TOLERANCES}
        finally:
            contender.close()


def _prepared(contender: Any, job: Job) -> tuple[Network, Any, Any]:
    """A network, its rows where the contender wants them, and its probabilities as a NumPy
    array.
    """
    network = contender.network(job, data.SEED)
    predict = lambda X: contender.leave(network.predict(contender.enter(X)))  # noqa: E731
    return network, contender.place(data.rows(job), job), predict


CONTENDERS = {"jax": ("jax_jit", "Jax", "scan"), "torch": ("pytorch", "Torch", "eager")}
"""The module, class and way of computing of the contender that needs a package."""


@needs_compiler
@pytest.mark.parametrize("package", CONTENDERS)
@pytest.mark.parametrize("job", TOLERANCES, ids=lambda job: job.name)
def test_other_libraries_have_the_same_losses(
    ours: dict[Job, list[float]], job: Job, package: str
) -> None:
    pytest.importorskip(package, reason=f"{package} is not installed")
    module, name, computes = CONTENDERS[package]
    contender = getattr(import_module(f"xpnet_bench.contenders.{module}"), name)(computes)
    assert losses(*_prepared(contender, job)) == pytest.approx(ours[job], rel=TOLERANCES[job])


def test_a_captured_step_is_the_eager_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """With PyTorch's CUDA graphs replaced: a captured step is not made, and is made at each
    replay.
    """
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    from xpnet_bench.contenders.pytorch import CapturedNetwork, TorchNetwork

    made, captures = CapturedNetwork.step_on_rows, []

    class Graph:
        replay: Any

    @contextmanager
    def capture(graph: Graph) -> Iterator[None]:
        captures.append(graph)
        yield
        captures.pop()

    def made_or_captured(network: Any, arrays: Any) -> None:
        if captures:
            captures[0].replay = lambda: made(network, arrays)
        else:
            made(network, arrays)

    stream = SimpleNamespace(wait_stream=lambda other: None)
    for name in ("Stream", "current_stream"):
        monkeypatch.setattr(torch.cuda, name, lambda: stream)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: nullcontext())
    monkeypatch.setattr(torch.cuda, "graph", capture)
    monkeypatch.setattr(CapturedNetwork, "step_on_rows", made_or_captured)
    job = replace(JOB, sizes={**JOB.sizes, "batch": 16})
    arrays = tuple(map(torch.from_numpy, data.rows(job)))
    networks = [
        kind(job, data.SEED, torch.device("cpu")) for kind in (CapturedNetwork, TorchNetwork)
    ]
    probabilities = []
    for network in networks:
        network.restart(data.SEED)
        for _ in range(EPOCHS):
            network.epochs(*arrays)
        probabilities.append(network.predict(arrays[0]).numpy())
    numpy.testing.assert_allclose(*probabilities, rtol=1e-5)
    assert networks[0].optimizer.defaults["fused"] and networks[0].optimizer.defaults["capturable"]


@needs_compiler
def test_rates_of_a_card(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a card copies and multiplies within a second, by its own clock: over the stand-in a
    millisecond and one for each call; a product is a call.
    """
    with cupy_on_host.installed():
        floor = import_module("xpnet_bench.contenders.gpu_floor")
        monkeypatch.delitem(sys.modules, floor.__name__)  # which holds the stand-in
        monkeypatch.setattr(floor, "COPIED", 1000)
        monkeypatch.setattr(floor, "SIDE", 8)
        card = floor.CudaFloor("")
    assert card.rates.pop("bytes") == pytest.approx(2 * 4000 / 1e-3)
    products = dict.fromkeys(("float32", "TF32", "bfloat16"), 2 * 8**3 / 2e-3)
    assert card.rates == pytest.approx(products)
    assert card.facts()["TF32"] == "5.12e-07e12 a second"


@needs_compiler
@pytest.mark.parametrize("shape", [(8, 10), (3, 300)])
def test_the_loss_of_a_card_has_the_answer_of_numpy(shape: tuple[int, int]) -> None:
    job, answers = gpu.cross_entropy_job(*shape), []
    with cupy_on_host.installed():
        from xpnet_bench.contenders.plain_numpy import PlainNumpy
        from xpnet_bench.contenders.xpnet_models import Xpnet

        contenders = Xpnet("cupy"), PlainNumpy("")
        try:
            for contender in contenders:
                task = contender.make_cross_entropy(job)
                answers.append([*task.answer(task.call())])
        finally:
            contenders[0].close()
    assert len(answers[0]) > 1 and answers[0] == pytest.approx(answers[1], rel=1e-5)


def test_floors() -> None:
    """A floor is the larger of what moving the bytes and what the products take."""
    rates = {"bytes": 1e12, "float32": 1e13}
    job = gpu.training_job({**SIZES, "layers": 1, "hidden": 8, "batch": 16}, FLOAT32_BITS)
    # Forward and weight gradients of both layers, the input gradient of the second: 2 (2 (96 + 80)
    # + 80) a row.
    assert job.flops == 16 * 2 * (2 * (12 * 8 + 8 * 10) + 8 * 10)
    assert job.traffic == 4 * (7 * (13 * 8 + 9 * 10) + 16 * 12)
    assert gpu.floor_seconds(job, rates) == pytest.approx(max(job.traffic / 1e12, job.flops / 1e13))
    assert gpu.floor_seconds(gpu.cross_entropy_job(1000, 500), rates) == pytest.approx(4e-6)
