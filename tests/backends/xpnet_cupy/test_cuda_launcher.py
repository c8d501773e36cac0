"""What is written for a GPU, run over a stand-in for CuPy: backend, launcher, capture and replay."""

from collections.abc import Iterator
from typing import Any

import cupy_on_host
import numpy as np
import pytest
from cuda_checks import BATCH, RULES, data, train, weights
from cuda_host import needs_compiler
from cupy_on_host import Array, cupy
from xpnet_cupy import CupyBackend
from xpnet_numpy import NumpyBackend

from xpnet.backend import NetworkSpec
from xpnet.errors import DeviceMemoryError
from xpnet.steps import ReferenceStep

pytestmark = needs_compiler


@pytest.fixture(scope="module")
def cuda() -> Iterator[Any]:
    """``xpnet_cupy.cuda`` over the stand-in."""
    with cupy_on_host.installed() as module:
        yield module


@pytest.fixture
def backend(cuda: Any) -> CupyBackend:
    return CupyBackend()


def spec_and_data(dtype: str) -> tuple[NetworkSpec, Any, Any]:
    spec = NetworkSpec((7, 6, 4), ("relu",), rule=RULES["adam"], dtype=dtype, l2=0.01)
    return (spec, *data(spec, "indices"))


def test_operations_run_on_its_arrays(backend: CupyBackend) -> None:
    x = backend.asarray(np.array([[1.0, -2.0, 3.0]]))
    relu = backend.kernels["relu"].launch(x)
    assert isinstance(relu, Array) and relu.tolist() == [[1, 0, 3]]


@pytest.mark.parametrize("fused", [True, False])
def test_a_captured_step_gives_the_references_answers(
    backend: CupyBackend, cuda: Any, dtype: str, fused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not fused:
        monkeypatch.setattr(cuda, "find_cublaslt", lambda: None)
    spec, X, Y = spec_and_data(dtype)
    step, reference = backend.compile_step(spec), ReferenceStep(spec, NumpyBackend(), "")
    assert not isinstance(step, str)
    for one in (step, reference):
        one.params.update(weights(spec))
    device_data = backend.asarray(X), backend.asarray(Y)
    rtol = 3e3 * np.finfo(dtype).eps
    with step.running():
        found = train(step, *device_data, batch=BATCH)
        recorded = [plan.recorded for plan in step._plans.values() if plan.recorded is not None]
    np.testing.assert_allclose(found, train(reference, X, Y, batch=BATCH), rtol=rtol)
    graph = getattr(recorded[0], "__self__", None)
    # Gather, two products, loss, two products and one back, penalty, tick, update; what cannot be captured is not.
    assert len(recorded) == 1 and (len(graph.calls) == 10 if fused else not isinstance(graph, cupy_on_host.Graph))
    assert ("through cuBLASLt" in step.why) == fused
    probabilities = step.forward(device_data[0])
    assert isinstance(probabilities, Array)
    np.testing.assert_allclose(probabilities, reference.forward(X), rtol=rtol, atol=rtol)


def test_precision_reaches_the_products(backend: CupyBackend, cuda: Any) -> None:
    spec, X, Y = spec_and_data("float32")
    step = CupyBackend("tf32").compile_step(spec)
    assert not isinstance(step, str) and "tf32" in step.why
    assert np.isfinite(step.epoch(backend.asarray(X), backend.asarray(Y), learning_rate=0.1, batch_size=5))


def test_out_of_memory(backend: CupyBackend, cuda: Any) -> None:
    spec, X, Y = spec_and_data("float64")
    step = backend.compile_step(spec)
    assert not isinstance(step, str)
    X, Y = backend.asarray(np.tile(X, (50, 1))), backend.asarray(np.tile(Y, 50))
    cupy.pool.set_limit(40_000)
    try:
        with pytest.raises(DeviceMemoryError, match="Training on batches of 1150 rows .*limit set to: 40,000"):
            step.epoch(X, Y, learning_rate=0.1, batch_size=1150)
    finally:
        cupy.pool.set_limit(0)
    assert np.isfinite(step.epoch(X, Y, learning_rate=0.1, batch_size=1150))


def test_it_describes_what_it_found(backend: CupyBackend) -> None:
    described = backend.describe()
    assert described["cuBLASLt"] == "found" and described["card"] == "a host, cuda:0 of 1"
