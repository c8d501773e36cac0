"""What is written for a GPU, run over a stand-in for CuPy: backend, launcher, capture and
replay.
"""

import gc
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import pytest
from helpers.cuda import cupy_on_host
from helpers.cuda.cupy_on_host import cupy
from helpers.cuda.device_arrays import Array
from helpers.cuda.host import cublaslt_answering
from helpers.cuda.rig import needs_compiler
from helpers.cuda.steps import (
    BATCH,
    RULES,
    blocks_of,
    data,
    network,
    train,
    weights,
    with_reference,
)
from helpers.cuda.streams import CudaError, Event, Graph, Stream, failing
from xpnet_cupy import CupyBackend, runs
from xpnet_cupy.cublaslt import CublasLt
from xpnet_cupy.launcher import Launcher

from xpnet.backend import NetworkSpec
from xpnet.errors import BackendError, DeviceMemoryError

pytestmark = needs_compiler


def spec_and_data(dtype: str) -> tuple[NetworkSpec, Any, Any]:
    spec = network(dtype, rule=RULES["adam"], l2=0.01)
    return (spec, *data(spec))


def test_operations_run_on_its_arrays(backend: CupyBackend) -> None:
    x = backend.asarray(np.array([[1.0, -2.0, 3.0]]))
    relu = backend.kernels["relu"].launch(x)
    assert isinstance(relu, Array) and relu.tolist() == [[1, 0, 3]]


@pytest.mark.parametrize(
    ("precision", "dtype", "compute", "products"),
    [
        ("bf16", "float32", 75, "bf16"),
        ("tf32", "float32", 77, "tf32"),
        ("bf16", "float64", 70, "fp64"),
    ],
)
def test_products_have_the_precision_that_is_asked_for(
    cuda: Any,
    monkeypatch: pytest.MonkeyPatch,
    precision: Any,
    dtype: str,
    compute: int,
    products: str,
) -> None:
    """cublasComputeType_t of float32 that may round to bfloat16 or TF32, and that of float64."""
    described, computes = CublasLt.described, set()

    def noted(self: CublasLt, kind: str, *arguments: Any, attributes: Any = None) -> Any:
        computes.update(arguments[0].value for _ in range(kind == "MatmulDesc"))
        return described(self, kind, *arguments, attributes=attributes)

    monkeypatch.setattr(CublasLt, "described", noted)
    spec, X, Y = spec_and_data(dtype)
    backend = CupyBackend(precision)
    step: Any = backend.compile_step(spec)
    step.epoch(backend.asarray(X), backend.asarray(Y), learning_rate=0.1, batch_size=BATCH)
    assert computes == {compute} and f"products in {products}" in step.why


def test_warmup_compiles_the_kernels_of_all_types(
    unused_card: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[tuple[str, ...]] = []

    class RawModule:
        def __init__(self, *, code: str, options: tuple[str, ...]) -> None:
            compiled.append(options)

        def get_function(self, name: str) -> str:
            return name

    monkeypatch.setattr(cupy_on_host.Cupy, "RawModule", RawModule)
    CupyBackend().warmup()
    assert sorted(options[0] for options in compiled) == ["-DREAL=double", "-DREAL=float"]


def test_a_step_that_is_dropped_waits_for_what_it_requested(
    backend: CupyBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its arguments lie in pinned memory, which the next owner writes at once."""
    spec, X, _ = spec_and_data("float32")
    step = backend.compile_step(spec)
    step.params.update(weights(spec))
    step.forward(backend.asarray(X))
    waited: list[Any] = []
    monkeypatch.setattr(Event, "synchronize", lambda event: waited.append(event))
    requested = [step._inference_runs.epoch._requested]
    del step
    gc.collect()
    assert len(requested) == 1 and requested[0] in waited


def test_a_captured_step_gives_the_references_answers(backend: CupyBackend, dtype: str) -> None:
    widths, activations = (7, 6, 5, 4), ("relu", "relu")
    spec = NetworkSpec(widths, activations, rule=RULES["adam"], dtype=dtype, l2=0.01)
    step, reference = with_reference(backend.compile_step(spec))
    X, Y = data(spec, "indices")
    device_data = backend.asarray(X), backend.asarray(Y)
    rtol = 3e3 * np.finfo(dtype).eps
    found = train(step, *device_data, batch=BATCH)
    np.testing.assert_allclose(found, train(reference, X, Y, batch=BATCH), rtol=rtol)
    # What goes before, three batches, what comes after. A batch is a gather, three products, the
    # loss, three products and two back, the update.
    assert [len(graph.calls) for graph in graphs_of(step)] == [1 + 3 * 11 + 1]
    assert "through cuBLASLt" in step.why
    probabilities = step.forward(device_data[0])
    assert isinstance(probabilities, Array)
    wanted = reference.forward(X)
    np.testing.assert_allclose(probabilities.get(), wanted, rtol=rtol, atol=rtol)


def test_smaller_batches_leave_the_graphs_of_larger_ones(backend: CupyBackend) -> None:
    """They take the first rows of the memory that is there."""
    spec, X, Y = spec_and_data("float32")
    step: Any = backend.compile_step(spec)
    arrays = backend.asarray(X), backend.asarray(Y)
    for batch in (9, 4):
        train(step, *arrays, batch=batch)
    made = Graph.made
    train(step, *arrays, batch=9)
    assert Graph.made == made


def graphs_of(step: Any) -> list[Graph]:
    """The graphs that the step trains by."""
    graphs = [getattr(run, "__self__", None) for run in step._training_runs.graphs.values()]
    return [graph for graph in graphs if isinstance(graph, Graph)]


def test_graphs_are_dropped_when_the_process_ends(backend: CupyBackend) -> None:
    """CuPy's Graph calls CUDA when it is destroyed: a module may hold a step until CUDA has
    ended.
    """
    spec, X, Y = spec_and_data("float32")
    step, reference = with_reference(backend.compile_step(spec))
    rows = backend.asarray(X), backend.asarray(Y)
    train(step, *rows, batch=BATCH)
    assert graphs_of(step)
    runs.forget_all()
    assert not graphs_of(step)
    train(reference, X, Y, batch=BATCH)
    losses = train(step, *rows, batch=BATCH)
    np.testing.assert_allclose(losses, train(reference, X, Y, batch=BATCH), rtol=1e-4)
    code = """
from xpnet_cupy import runs
class Runs:
    def forget(self):
        print("dropped")
living = Runs()
runs._living_runs.add(living)
"""
    ended = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=600
    )
    assert ended.stdout == "dropped\n"


class TestPredictions:
    """Rows of a number that has come before are one replay."""

    def test_a_prediction_is_a_replay_whatever_the_rows(self, backend: CupyBackend) -> None:
        spec, X, Y = spec_and_data("float32")
        step, reference = with_reference(backend.compile_step(spec))
        assert "; predictions and losses in CUDA graphs" in step.why
        rng = np.random.default_rng(0)
        counts = []
        for k in range(5):
            host_rows = rng.standard_normal(X.shape)
            rows = backend.asarray(host_rows)  # of another dtype, at another place
            asked, made, replayed = len(cupy_on_host.launched), Graph.made, Graph.launched
            found = step.forward(rows)
            np.testing.assert_allclose(
                found.get(), reference.forward(host_rows.astype("float32")), rtol=1e-5, atol=1e-6
            )
            counts.append(
                (len(cupy_on_host.launched) - asked, Graph.made - made, Graph.launched - replayed)
            )
            if k == 3:
                settings = {"learning_rate": 0.1, "batch_size": len(X)}
                step.epoch(backend.asarray(X), backend.asarray(Y), **settings)  # parameters change
                reference.epoch(X, Y, **settings)
        # Launch by launch, then as a CUDA graph; from then on nothing is asked for but a replay.
        # What goes before, gather, ReLU, softmax, and outputs go where they belong.
        assert counts == [(5, 0, 0), (5, 1, 1), (0, 0, 1), (0, 0, 1), (0, 0, 1)]

    def test_outputs_are_the_callers_own(self, backend: CupyBackend) -> None:
        spec, X, _ = spec_and_data("float32")
        step = backend.compile_step(spec)
        step.params.update(weights(spec))
        first = [step.forward(backend.asarray(X * k)) for k in (1, 2, 3)]
        again = [step.forward(backend.asarray(X * k)) for k in (1, 2, 3)]
        for one, other in zip(first, again, strict=True):
            np.testing.assert_array_equal(one.get(), other.get())

    def test_blocks_of_a_large_prediction_share_a_recording(self, backend: CupyBackend) -> None:
        spec, X, _ = spec_and_data("float32")
        step, reference = with_reference(backend.compile_step(spec))
        X = np.concatenate([X, X])
        for count in range(2):
            made, replayed = Graph.made, Graph.launched
            with blocks_of(5):
                found = step.forward(backend.asarray(X))
            # 46 rows are nine blocks and one row: eight are a graph, and the rest with what comes
            # after is another.
            assert (Graph.made - made, Graph.launched - replayed) == ((0, 0), (2, 2))[count]
            np.testing.assert_allclose(found.get(), reference.forward(X), rtol=1e-5, atol=1e-6)

    def test_what_is_kept_is_bounded(
        self, backend: CupyBackend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("xpnet_cupy.runs.MAX_GRAPHS", 3)
        spec, X, _ = spec_and_data("float32")
        step, X = backend.compile_step(spec), backend.asarray(X)
        for rows in (20, 3, 20, 4, 20, 5, 20):
            step.forward(X[:rows])
        runs = step._inference_runs
        assert [shape.rows for shape in runs.works] == [20] and runs.memory.rows == 20
        assert {work for group in runs.graphs for work, _ in group} == {
            runs.begin,
            *runs.works.values(),
        }


class TestLosses:
    """Rows of a number that has come before are one replay, between what tells where they lie and
    what adds up.
    """

    @pytest.mark.parametrize("ordered", [False, True])
    @pytest.mark.parametrize("blocks", [1, 3])
    def test_a_loss_is_a_replay_whatever_the_data(
        self, backend: CupyBackend, blocks: int, ordered: bool
    ) -> None:
        spec, X, Y = spec_and_data("float32")
        step, reference = with_reference(backend.compile_step(spec))
        rng = np.random.default_rng(0)
        for k in range(4):
            X, order = (
                rng.standard_normal(X.shape).astype("float32"),
                rng.permutation(23) if ordered else None,
            )
            weight = rng.random(23).astype("float32") if k % 2 else None
            device = [None if a is None else backend.asarray(a) for a in (X, Y, weight)]
            made, replayed = Graph.made, Graph.launched
            with blocks_of(23 if blocks == 1 else 10):
                found = step.loss(*device[:2], sample_weight=device[2], rows=order)
            # Without weights and with them: launch by launch when it first comes, then as a CUDA
            # graph, blocks and all.
            assert (Graph.made - made, Graph.launched - replayed) == (k // 2, k // 2)
            assert found == pytest.approx(
                reference.loss(X, Y, sample_weight=weight, rows=order), rel=1e-5
            )
            step.epoch(
                *device[:2], learning_rate=0.1, batch_size=23
            )  # whose clock and sums are others
            reference.epoch(X, Y, learning_rate=0.1, batch_size=23)

    def test_labels_of_two_kinds(self, backend: CupyBackend) -> None:
        spec, X, Y = spec_and_data("float32")
        step = backend.compile_step(spec)
        step.params.update(weights(spec))
        shares = np.eye(4, dtype="float32")[Y]
        found = [
            step.loss(backend.asarray(X), backend.asarray(labels))
            for _ in range(3)
            for labels in (Y, shares)
        ]
        np.testing.assert_allclose(found, found[0], rtol=1e-6)


@pytest.mark.parametrize("kind", ["forward", "loss"])
def test_what_follows_a_prediction_that_had_no_memory_is_right(
    backend: CupyBackend, kind: str
) -> None:
    """Its buffers were not taken, so that those of fewer rows are not parts of them."""
    spec = NetworkSpec(
        (7, 60, 4), ("relu",), dtype="float32"
    )  # the inputs fit, the hidden outputs do not
    X, Y = data(spec, "indices")
    step, reference = with_reference(backend.compile_step(spec))
    many = [backend.asarray(np.tile(array, (50, 1) if array.ndim == 2 else 50)) for array in (X, Y)]
    with cupy.pool.limited(200_000), pytest.raises(DeviceMemoryError, match="of 1150 rows"):
        getattr(step, kind)(*many[: 1 if kind == "forward" else 2])
    found = backend.to_numpy(step.forward(backend.asarray(X)))
    np.testing.assert_allclose(found, reference.forward(X), rtol=1e-5)
    assert step.loss(backend.asarray(X), backend.asarray(Y)) == pytest.approx(
        reference.loss(X, Y), rel=1e-5
    )


def test_an_epoch_of_all_rows_is_one_graph_launch(cuda: Any) -> None:
    """What it is told and what it leaves go through memory that the device reads and writes by
    itself.
    """
    spec = NetworkSpec((64, 32, 10), ("relu",), rule=RULES["adam"], l2=0.01)
    step, (X, Y) = CupyBackend().compile_step(spec), data(spec, "indices", rows=60)
    step.params.update(weights(spec))
    X, Y = cupy.asarray(X), cupy.asarray(Y)
    for ways in ({}, {"sample_weight": cupy.asarray(np.ones(60))}, {"max_grad_norm": 1.0}):
        run = partial(
            step.weighted_epoch if ways else step.epoch,
            X,
            Y,
            learning_rate=0.1,
            batch_size=60,
            **ways,
        )
        for _ in range(2):
            run()
        cupy_on_host.launched[:], made, replayed, calls = [], Graph.made, Graph.launched, []

        def note(frame: Any, event: str, argument: Any, calls: list[str] = calls) -> None:
            file = frame.f_code.co_filename
            if event == "call" and "xpnet_cupy/" in file and "tests" not in file:
                calls.append(frame.f_code.co_name)

        sys.setprofile(note)
        try:
            run()
        finally:
            sys.setprofile(None)
        assert not cupy_on_host.launched and (Graph.made - made, Graph.launched - replayed) == (
            0,
            1,
        )
        assert len(calls) <= (43 if ways else 40), calls


class TestResources:
    """What is kept, and for how long."""

    def test_threads_share_what_a_device_has(self, backend: CupyBackend, cuda: Any) -> None:
        """Networks of several threads train and predict as they do one after the other, with one
        stream, one workspace and each graph once.
        """
        spec, X, Y = spec_and_data("float32")
        X, Y = backend.asarray(X), backend.asarray(Y)
        cuda.library.workspaces.clear()

        def work(_: int) -> list[Any]:
            step = backend.compile_step(spec)
            step.params.update(weights(spec))
            losses = [step.epoch(X, Y, learning_rate=0.1, batch_size=5) for _ in range(3)]
            return [*losses, cupy.asnumpy(step.forward(X)).tolist(), step.loss(X, Y)]

        alone = work(0)
        made = Stream.made
        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(work, range(8))) == [alone] * 8
        assert Stream.made == made
        assert [len(streams) for streams in cuda.library.workspaces.values()] == [1]

    def test_a_thread_asks_for_work_while_another_waits(self, backend: CupyBackend) -> None:
        spec, X, Y = spec_and_data("float32")
        step, other = backend.compile_step(spec), backend.compile_step(spec)
        X, Y = backend.asarray(X), backend.asarray(Y)
        predicted = threading.Event()

        def draw_order() -> Any:
            predict = threading.Thread(target=lambda: (other.forward(X), predicted.set()))
            predict.start()
            predict.join(60)
            return np.arange(len(X))

        step.prefetch_order = draw_order
        step.epoch(X, Y, learning_rate=0.1, batch_size=5)
        assert predicted.is_set()

    def test_new_arrays_need_no_new_plans_and_are_not_kept(self, backend: CupyBackend) -> None:
        spec, X, Y = spec_and_data("float32")
        step = backend.compile_step(spec)
        for count in range(6):
            fresh = backend.asarray(X), backend.asarray(Y)
            step.epoch(*fresh, learning_rate=0.1, batch_size=len(X))
            del fresh
            gc.collect()
            if count == 1:
                used, captured = cupy.pool.used_bytes(), Graph.made
        assert (cupy.pool.used_bytes(), Graph.made, len(step._training_runs.works)) == (
            used,
            captured,
            1,
        )


OUT_OF_MEMORY: dict[str, Callable[[], Any]] = {
    "pool": lambda: cupy.pool.limited(4_000),
    "load": lambda: failing(load=2),
    "heuristic": lambda: cublaslt_answering(heuristic=3),
    "matmul": lambda: cublaslt_answering(matmul=3),
}
"""Where memory runs out, and what makes it do so."""


class TestOutOfMemory:
    """Wherever memory runs out it is one error, and the parameters are as before."""

    @pytest.fixture
    def step(self, unused_card: Any, backend: CupyBackend) -> Any:
        return backend.compile_step(spec_and_data("float32")[0])

    def epoch(self, step: Any, backend: CupyBackend) -> float:
        _, X, Y = spec_and_data("float32")
        return step.epoch(backend.asarray(X), backend.asarray(Y), learning_rate=0.1, batch_size=5)

    @pytest.mark.parametrize("place", OUT_OF_MEMORY)
    def test_it_is_told_and_leaves_the_step_usable(
        self, step: Any, backend: CupyBackend, place: str
    ) -> None:
        step, reference = with_reference(step)
        before = step.state()
        with OUT_OF_MEMORY[place]():
            emptied = cupy.pool.emptied
            message = "Training on batches of 5 rows must fit .*[Mm]emory.* smaller batch_size"
            with pytest.raises(DeviceMemoryError, match=message):
                self.epoch(step, backend)
            assert cupy.pool.emptied == emptied + 1  # it was tried once more
        after = step.state()
        assert after.t == before.t
        for name, array in before.params.items():
            np.testing.assert_array_equal(after.params[name], array)
        _, X, Y = spec_and_data("float32")
        wanted = reference.epoch(X, Y, learning_rate=0.1, batch_size=5)
        assert self.epoch(step, backend) == pytest.approx(wanted, rel=1e-5)

    @pytest.mark.parametrize("place", ["instantiate", "upload"])
    def test_without_memory_for_a_recording_it_goes_on_launch_by_launch(
        self,
        step: Any,
        backend: CupyBackend,
        place: str,
    ) -> None:
        """A recording takes its memory on the card before anything of its epoch has changed a
        parameter.
        """
        step, reference = with_reference(step)
        _, X, Y = spec_and_data("float32")
        with failing(**{place: 2}):
            for _ in range(3):
                wanted = reference.epoch(X, Y, learning_rate=0.1, batch_size=5)
                assert self.epoch(step, backend) == pytest.approx(wanted, rel=1e-5)
        assert not graphs_of(step)

    @pytest.mark.parametrize(("status", "attempts"), [(901, 2), (999, 1)])
    def test_what_a_capture_ends_with_does_not_hide_its_cause(
        self, monkeypatch: pytest.MonkeyPatch, status: int, attempts: int
    ) -> None:
        """CUDA ends a capture that went wrong with an error of its own; one that has become invalid
        is tried again.
        """
        runs = []

        def end(stream: Stream) -> Graph:
            stream.capture = None
            raise CudaError(status)

        def run() -> None:
            runs.append(1)
            raise BackendError("the cause")

        monkeypatch.setattr(Stream, "end_capture", end)
        launcher = Launcher(cupy, "float32")
        with launcher.stream(), pytest.raises(BackendError, match="the cause"):
            launcher.capture(run)
        assert len(runs) == attempts

    def test_other_failures_are_not_taken_for_it(self, step: Any, backend: CupyBackend) -> None:
        with failing(load=999), pytest.raises(RuntimeError, match="status 999"):
            self.epoch(step, backend)

    def test_a_product_that_is_not_supported_names_the_remedy(
        self, step: Any, backend: CupyBackend
    ) -> None:
        message = "must have a product in fp32 .*Use precision='fp32'"
        with cublaslt_answering(heuristic=15), pytest.raises(BackendError, match=message):
            self.epoch(step, backend)

    def test_what_was_kept_for_later_is_let_go(self, step: Any, backend: CupyBackend) -> None:
        """Buffers of a large batch make room for a prediction."""
        _, X, Y = spec_and_data("float32")
        X, Y = backend.asarray(np.tile(X, (100, 1))), backend.asarray(np.tile(Y, 100))
        step.epoch(X, Y, learning_rate=0.1, batch_size=2300)
        step.forward(X[:1])  # the caller's stream has its workspace
        with cupy.pool.limited(30_000):
            assert step.forward(X).shape == (2300, 4)

    def test_what_predictions_keep_is_let_go(self, step: Any, backend: CupyBackend) -> None:
        """Their rows and outputs make room for those of a training."""
        _, X, Y = spec_and_data("float32")
        host = np.tile(X, (100, 1)), np.tile(Y, 100)
        X, Y = map(backend.asarray, host)
        step, reference = with_reference(step)
        step.epoch(X[:5], Y[:5], learning_rate=0.1, batch_size=5)
        reference.epoch(host[0][:5], host[1][:5], learning_rate=0.1, batch_size=5)
        step.forward(X)
        wanted = reference.epoch(*host, learning_rate=0.1, batch_size=2300)
        with cupy.pool.limited(200_000):
            loss = step.epoch(X, Y, learning_rate=0.1, batch_size=2300)
        assert loss == pytest.approx(wanted, rel=1e-5)

    @pytest.mark.parametrize("kind", ["array", "network", "state"])
    def test_free_memory_of_the_pool_makes_room(self, backend: CupyBackend, kind: str) -> None:
        """CuPy gives free memory of other sizes back by itself, at a limit of its pool, too."""
        spec, X, Y = spec_and_data("float32")
        step, other = backend.compile_step(spec), backend.compile_step(spec)
        step.epoch(backend.asarray(X), backend.asarray(Y), learning_rate=0.1, batch_size=5)
        actions = {
            "array": lambda: backend.asarray(np.ones(1000)),
            "network": lambda: backend.compile_step(spec),
            "state": lambda: other.load_state(step.state()),
        }
        with cupy.pool.limited(1 << 20):
            large = cupy.empty(1 << 17)
            del large  # all that the limit leaves, and free again
            actions[kind]()
            assert cupy.pool.free_bytes() < 1 << 20
