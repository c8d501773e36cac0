"""What is written for a GPU, run over a stand-in for CuPy: backend, launcher, capture and replay."""

import gc
import threading
from collections.abc import Iterator
from typing import Any

import cupy_on_host
import numpy as np
import pytest
from cuda_checks import BATCH, GRAPHS, RULES, data, train, weights
from cuda_host import needs_compiler
from cupy_on_host import Array, Failing, Graph, Stream, cupy
from xpnet_cupy import CupyBackend
from xpnet_numpy import NumpyBackend

from xpnet.backend import NetworkSpec
from xpnet.errors import BackendError, DeviceMemoryError
from xpnet.steps import ReferenceStep

pytestmark = needs_compiler


@pytest.fixture(scope="module")
def cuda() -> Iterator[Any]:
    """``xpnet_cupy.cuda`` over the stand-in."""
    with cupy_on_host.installed() as module:
        yield module


@pytest.fixture
def backend(cuda: Any) -> CupyBackend:
    return CupyBackend(options=GRAPHS)


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
        monkeypatch.setattr(cuda._lane(), "lt", None)
    spec, X, Y = spec_and_data(dtype)
    step, reference = backend.compile_step(spec), ReferenceStep(spec, NumpyBackend(), "")
    assert not isinstance(step, str)
    for one in (step, reference):
        one.params.update(weights(spec))
    device_data = backend.asarray(X), backend.asarray(Y)
    rtol = 3e3 * np.finfo(dtype).eps
    found = train(step, *device_data, batch=BATCH)
    np.testing.assert_allclose(found, train(reference, X, Y, batch=BATCH), rtol=rtol)
    graphs = [getattr(run, "__self__", None) for run in recorded(step)]
    # Gather, two products, loss, two products and one back, update; the batch of the rest likewise.
    sizes = [len(graph.calls) for graph in graphs if isinstance(graph, Graph)]
    assert sizes == ([8, 8] if fused else [])  # what cannot be captured is not
    assert ("through cuBLASLt" in step.why) == fused
    probabilities = step.forward(device_data[0])
    assert isinstance(probabilities, Array)
    np.testing.assert_allclose(probabilities, reference.forward(X), rtol=rtol, atol=rtol)


def recorded(step: Any) -> list[Any]:
    """What the step has recorded, plan by plan, small recordings first."""
    return [plan.training.recorded[n] for plan in step._plans.values() for n in sorted(plan.training.recorded)]


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


def test_what_a_step_costs_in_launches(backend: CupyBackend) -> None:
    spec = NetworkSpec((784, 1024, 1024, 10), ("relu", "relu"), rule=RULES["adam"], dtype="float32", l2=0.01)
    step = backend.compile_step(spec)
    X, Y = backend.asarray(np.ones((20, 784), "float32")), backend.asarray(np.arange(20) % 10)
    step.epoch(X, Y, learning_rate=0.1, batch_size=2, order=np.arange(20))
    (plan,) = step._plans.values()
    # Gather, three products, loss, three products and two back, update; eight steps a graph.
    assert {n: len(run.__self__.calls) for n, run in plan.training.recorded.items()} == {1: 11, 8: 88}


def test_an_epoch_of_a_small_network_is_one_launch(cuda: Any) -> None:
    spec = NetworkSpec((64, 32, 10), ("relu",), rule=RULES["adam"], dtype="float32", l2=0.01)
    backend = CupyBackend()
    step, reference = backend.compile_step(spec), ReferenceStep(spec, NumpyBackend(), "")
    for one in (step, reference):
        one.params.update(weights(spec))
    X, Y = data(spec, "indices", rows=300)
    order, rates = np.random.default_rng(0).permutation(300), {"learning_rate": 0.1, "batch_size": 128}
    step.epoch(backend.asarray(X), backend.asarray(Y), order=order, **rates)
    reference.epoch(X, Y, order=order, **rates)
    captured, cupy_on_host.launched[:] = Graph.made, []
    loss = step.epoch(backend.asarray(X), backend.asarray(Y), order=order, **rates)
    assert cupy_on_host.launched == ["train_epoch"] and Graph.made == captured
    assert loss == pytest.approx(reference.epoch(X, Y, order=order, **rates), rel=1e-5)
    assert "an epoch in one launch for batches of up to" in step.why


class TestResources:
    """What is kept, and for how long."""

    def test_many_steps_share_a_stream_and_a_workspace(self, backend: CupyBackend, cuda: Any) -> None:
        spec, X, Y = spec_and_data("float32")
        X, Y = backend.asarray(X), backend.asarray(Y)
        backend.compile_step(spec).epoch(X, Y, learning_rate=0.1, batch_size=5)
        streams, used = Stream.made, cupy.pool.used
        for _ in range(5):
            backend.compile_step(spec).epoch(X, Y, learning_rate=0.1, batch_size=5)
        gc.collect()
        assert Stream.made == streams and cupy.pool.used - used < 1 << 20

    def test_streams_and_threads_have_workspaces_of_their_own(self, backend: CupyBackend, cuda: Any) -> None:
        spec, X, Y = spec_and_data("float32")
        step, X, Y = backend.compile_step(spec), backend.asarray(X), backend.asarray(Y)
        cuda.library.workspaces.clear()

        def work() -> None:
            step.epoch(X, Y, learning_rate=0.1, batch_size=5)
            for stream in streams:
                with stream:
                    step.forward(X)

        streams = [Stream(), Stream(non_blocking=True)]
        work()
        other = threading.Thread(target=work)
        other.start()
        other.join()
        assert {len(streams) for streams in cuda.library.workspaces.values()} == {1}
        assert len(cuda.library.workspaces) == 6  # two threads: the lane's stream and both of the caller's

    def test_new_arrays_need_no_new_plans_and_are_not_kept(self, backend: CupyBackend) -> None:
        spec, X, Y = spec_and_data("float32")
        step = backend.compile_step(spec)
        for count in range(6):
            fresh = backend.asarray(X), backend.asarray(Y)
            step.epoch(*fresh, learning_rate=0.1, batch_size=len(X))
            del fresh
            gc.collect()
            if count == 1:
                used, captured = cupy.pool.used, Graph.made
        assert (cupy.pool.used, Graph.made, len(step._plans)) == (used, captured, 1)

    def test_the_plan_used_longest_ago_goes_first(
        self, backend: CupyBackend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("xpnet_cupy.step.KEPT_PLANS", 3)
        spec, X, Y = spec_and_data("float32")
        step, X, Y = backend.compile_step(spec), backend.asarray(X), backend.asarray(Y)
        for rows in (20, 3, 20, 4, 20, 5, 20):
            step.gradient(X[:rows], Y[:rows])
        assert [shape.rows for shape in step._plans] == [4, 5, 20]

    def test_a_smaller_last_batch_is_captured_too(self, backend: CupyBackend) -> None:
        spec, X, Y = spec_and_data("float32")
        step, X, Y = backend.compile_step(spec), backend.asarray(X), backend.asarray(Y)
        for _ in range(2):
            step.epoch(X, Y, learning_rate=0.1, batch_size=20)
        captured, launched = Graph.made, Graph.launched
        step.epoch(X, Y, learning_rate=0.1, batch_size=20)
        assert (Graph.made - captured, Graph.launched - launched) == (0, 2)


class TestOutOfMemory:
    """Wherever memory runs out it is one error, and the parameters are as before."""

    @pytest.fixture
    def step(self, backend: CupyBackend) -> Any:
        return backend.compile_step(spec_and_data("float32")[0])

    @pytest.fixture
    def told(self, cuda: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
        """Lets something fail until the test ends, on a lane that has described no products yet."""
        monkeypatch.setattr(cuda, "_threads", threading.local())
        cuda._kernel.cache_clear()
        yield lambda **failing: [setattr(Failing, name, status) for name, status in failing.items()]
        Failing.load = Failing.instantiate = 0
        cuda.library.fake_answer(0, 0)

    def epoch(self, step: Any, backend: CupyBackend) -> float:
        _, X, Y = spec_and_data("float32")
        return step.epoch(backend.asarray(X), backend.asarray(Y), learning_rate=0.1, batch_size=5)

    @pytest.mark.parametrize("place", ["load", "instantiate", "heuristic", "matmul"])
    def test_it_is_told_and_leaves_the_step_usable(
        self, step: Any, backend: CupyBackend, cuda: Any, told: Any, place: str
    ) -> None:
        step.params.update(weights(step.spec))
        before = step.state()
        if place in ("load", "instantiate"):
            told(**{place: 2})
        else:
            cuda.library.fake_answer(*((3, 0) if place == "heuristic" else (0, 3)))
        emptied = cupy.pool.emptied
        with pytest.raises(DeviceMemoryError, match="Training on batches of 5 rows needs"):
            self.epoch(step, backend)
        assert cupy.pool.emptied == emptied + 1  # it was tried once more
        Failing.load = Failing.instantiate = 0
        cuda.library.fake_answer(0, 0)
        after = step.state()
        assert after.t == 0
        for name, array in before.params.items():
            np.testing.assert_array_equal(after.params[name], array)
        assert np.isfinite(self.epoch(step, backend))

    def test_other_failures_are_not_taken_for_it(self, step: Any, backend: CupyBackend, told: Any) -> None:
        told(load=999)
        with pytest.raises(RuntimeError, match="status 999"):
            self.epoch(step, backend)

    def test_a_product_that_is_not_supported_names_the_remedy(
        self, step: Any, backend: CupyBackend, cuda: Any, told: Any
    ) -> None:
        cuda.library.fake_answer(15, 0)
        with pytest.raises(BackendError, match="must have a product in fp32 .*Use precision='fp32'"):
            self.epoch(step, backend)

    def test_what_was_kept_for_later_is_let_go(
        self, step: Any, backend: CupyBackend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Buffers of a large batch make room for a prediction."""
        _, X, Y = spec_and_data("float32")
        X, Y = backend.asarray(np.tile(X, (100, 1))), backend.asarray(np.tile(Y, 100))
        step.epoch(X, Y, learning_rate=0.1, batch_size=2300)
        step.forward(X[:1])  # the caller's stream has its workspace
        cupy.pool.set_limit(cupy.pool.used + 30_000)
        monkeypatch.setattr(cupy.pool, "total", True)
        try:
            assert step.forward(X).shape == (2300, 4)
        finally:
            cupy.pool.set_limit(0)

