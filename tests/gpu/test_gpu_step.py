"""The compiled step on a GPU: against float64, graph against launches, and what an epoch does to
the device.
"""

import ctypes
import sys
import warnings
from typing import Any

import numpy as np
import pytest
from helpers.cuda.steps import RULES, weights
from xpnet_cupy import CupyBackend
from xpnet_cupy.step import CudaStep
from xpnet_numpy import NumpyBackend

from xpnet.backend import NetworkSpec
from xpnet.errors import DeviceMemoryError
from xpnet.optimizers import Constant
from xpnet.steps import ReferenceStep, weighted_epoch
from xpnet.training import InMemory, LabeledRows
from xpnet.training import train as training_loop

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what CuPy says while it is imported is not ours
    pytest.importorskip("cupy", reason="CuPy is not installed")
    import cupy
    from xpnet_cupy.launcher import Launcher

# Over the stand-in for CuPy, whose threads are fibers of one processor, the wider network would
# take minutes a test.
MIDDLE = (40, 24, 20, 10) if "helpers.cuda.cupy_on_host" in sys.modules else (784, 256, 128, 10)
TWO_LAYERS = (*MIDDLE[:2], 10)
WIDTHS = [(64, 32, 10), MIDDLE, (20, 700)]


def make(spec: NetworkSpec, backend: Any, launcher: Any = None) -> CudaStep:
    """A step with the tests' weights."""
    step = CudaStep(
        spec, backend, launcher or Launcher(cupy, spec.dtype), lambda: cupy.cuda.Device(None)
    )
    step.params.update(weights(spec))
    return step


def network(widths: tuple[int, ...], rule: str, dtype: str, **options: Any) -> NetworkSpec:
    return NetworkSpec(
        widths, ("relu",) * (len(widths) - 2), rule=RULES[rule], dtype=dtype, **options
    )


def draw(
    spec: NetworkSpec, backend: Any, rows: int, form: str = "indices"
) -> tuple[Any, Any, Any, Any]:
    """X and Y on the device, and in float64 on the host."""
    rng = np.random.default_rng(3)
    X = rng.standard_normal((rows, spec.widths[0])).astype(spec.dtype)
    Y = rng.integers(0, spec.widths[-1], rows)
    Y = Y if form == "indices" else np.eye(spec.widths[-1], dtype=spec.dtype)[Y]
    return backend.asarray(X), backend.asarray(Y), X.astype(np.float64), Y


def train(step: Any, X: Any, Y: Any, epochs: int = 3, batch: int = 128) -> list[float]:
    rng = np.random.default_rng(4)
    return [
        step.epoch(X, Y, learning_rate=0.01, batch_size=batch, order=rng.permutation(len(X)))
        for _ in range(epochs)
    ]


class Unfused(Launcher):
    """Products without epilogues."""

    def fused_product(self, product: Any, *arrays: Any, **options: Any) -> Any:
        return (
            None
            if product.epilogue != "none"
            else super().fused_product(product, *arrays, **options)
        )


class Eager(Launcher):
    """Launch by launch, without a graph."""

    def capture(self, run: Any) -> Any:
        return run


@pytest.mark.parametrize("form", ["indices", "one-hot"])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("widths", WIDTHS)
def test_against_the_reference_in_float64(
    backend: Any, widths: tuple[int, ...], rule: str, form: str, dtype: str
) -> None:
    spec = network(widths, rule, dtype, l2=1e-3)
    X, Y, host_X, host_Y = draw(spec, backend, 300, form)
    step, reference = (
        make(spec, backend),
        ReferenceStep(network(widths, rule, "float64", l2=1e-3), NumpyBackend(), ""),
    )
    reference.params.update(weights(spec))
    # 9 steps of sums of up to 784 products: a few thousand roundings, as on the host.
    rtol = 1e4 * np.finfo(dtype).eps
    np.testing.assert_allclose(train(step, X, Y), train(reference, host_X, host_Y), rtol=rtol)
    wanted = reference.forward(host_X)
    np.testing.assert_allclose(
        backend.to_numpy(step.forward(X)), wanted, rtol=100 * rtol, atol=rtol
    )


KINDS: dict[str, dict[str, Any]] = {
    "dropout": {"dropout": (0.5, 0.3), "seed": 5},
    "tanh": {"activations": ("tanh", "logistic")},
    "softplus": {"activations": ("softplus", "relu")},
    "gelu": {"activations": ("gelu", "silu")},
    "elu": {"activations": ("elu", "leaky_relu")},
    "squared error": {"loss": "squared_error"},
    "one output": {"loss": "squared_error", "widths": (20, 16, 12, 1)},
    "several labels": {"loss": "logistic_cross_entropy"},
    "poisson": {"loss": "poisson", "widths": (20, 16, 12, 3)},
    "gamma": {"loss": "gamma", "widths": (20, 16, 12, 3)},
    "quantiles": {"loss": "quantile", "widths": (20, 16, 12, 3), "loss_numbers": (0.1, 0.5, 0.9)},
    "penalty over the batch": {"l2": 0.1, "l2_over_batch": True},
}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_other_kinds_of_networks(backend: Any, kind: str, weighted: bool, dtype: str) -> None:
    settings = {
        "widths": (20, 16, 12, 10),
        "activations": ("relu", "relu"),
        "rule": RULES["adam"],
        **KINDS[kind],
    }
    spec, wide = (NetworkSpec(dtype=name, **settings) for name in (dtype, "float64"))
    rng, rows = np.random.default_rng(3), 75
    X = (rng.standard_normal((rows, 20)) / 4).astype(dtype)
    soft = rng.random((rows, spec.widths[-1])).astype(dtype)
    Y = rng.integers(0, 10, rows) if spec.loss == "softmax_cross_entropy" else soft
    weight = rng.random(rows).astype(dtype) if weighted else None
    step, reference = make(spec, backend), ReferenceStep(wide, NumpyBackend(), "")
    reference.params.update(weights(spec))
    device = [None if array is None else backend.asarray(array) for array in (X, Y, weight)]
    host = [
        a.astype("float64") if a is not None and a.dtype.kind == "f" else a for a in (X, Y, weight)
    ]
    rtol = 1e4 * float(np.finfo(dtype).eps)
    for epoch in range(3):
        order = np.random.default_rng(epoch).permutation(rows)
        rates = {"learning_rate": 0.01, "batch_size": 8, "order": order}
        found = step.epoch(*device[:2], sample_weight=device[2], **rates)
        assert found == pytest.approx(
            reference.epoch(*host[:2], sample_weight=host[2], **rates), rel=rtol
        )
    found, wanted = (
        step.loss(*device[:2], sample_weight=device[2]),
        reference.loss(*host[:2], sample_weight=host[2]),
    )
    assert found == pytest.approx(wanted, rel=rtol)
    outputs = backend.to_numpy(step.forward(device[0]))
    np.testing.assert_allclose(outputs, reference.forward(host[0]), rtol=100 * rtol, atol=rtol)


def test_fused_products_equal_unfused_ones(backend: Any, dtype: str) -> None:
    spec = network(MIDDLE, "sgd", dtype)
    X, Y, _, _ = draw(spec, backend, 300)
    fused, unfused = make(spec, backend), make(spec, backend, Unfused(cupy, dtype))
    losses = train(fused, X, Y), train(unfused, X, Y)
    rtol = 3e3 * np.finfo(dtype).eps
    np.testing.assert_allclose(*losses, rtol=rtol)
    for name, array in fused.state().params.items():
        np.testing.assert_allclose(array, unfused.state().params[name], rtol=rtol, atol=rtol)


def test_a_recorded_prediction_equals_single_launches_bitwise(backend: Any, dtype: str) -> None:
    spec = network(MIDDLE, "sgd", dtype)
    X = draw(spec, backend, 300)[0]
    captured, plain = make(spec, backend), make(spec, backend, Eager(cupy, dtype))
    wanted = backend.to_numpy(plain.forward(X))
    for _ in range(4):
        np.testing.assert_array_equal(backend.to_numpy(captured.forward(X.copy())), wanted)


def test_a_recorded_loss_equals_single_launches_bitwise(backend: Any, dtype: str) -> None:
    spec = network(MIDDLE, "sgd", dtype, l2=0.1)
    X, Y, _, _ = draw(spec, backend, 300)
    captured, plain = make(spec, backend), make(spec, backend, Eager(cupy, dtype))
    assert {captured.loss(X.copy(), Y.copy()) for _ in range(4)} == {plain.loss(X, Y)}


@pytest.mark.parametrize("norm", [None, 0.5])
@pytest.mark.parametrize("weighted", [False, True])
def test_epochs_as_scikit_learn_counts_them(
    backend: Any, weighted: bool, norm: float | None, dtype: str
) -> None:
    """Batches count by their rows, those without weight change nothing, and gradients are scaled to
    a norm.
    """
    spec, wide = (network((64, 32, 10), "adam", name, l2=0.1) for name in (dtype, "float64"))
    X, Y, host_X, host_Y = draw(spec, backend, 1000)
    weight = (
        (np.random.default_rng(0).random(1000) * (np.arange(1000) > 128)).astype(dtype)
        if weighted
        else None
    )
    step, reference = make(spec, backend), ReferenceStep(wide, NumpyBackend(), "")
    reference.params.update(weights(spec))
    device, host = (
        (None, None) if weight is None else (backend.asarray(weight), weight.astype("float64"))
    )
    keywords: dict[str, Any] = {"learning_rate": 0.01, "batch_size": 128, "max_grad_norm": norm}
    for _ in range(3):
        found = weighted_epoch(step, X, Y, sample_weight=device, **keywords)
        wanted = weighted_epoch(reference, host_X, host_Y, sample_weight=host, **keywords)
        assert found == pytest.approx(wanted, rel=1e4 * float(np.finfo(dtype).eps))
    assert step.state().t == reference.state().t


def test_prefetched_orders_give_the_same_numbers(
    backend: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bit for bit, over many epochs that are shorter than what the host does beside them."""
    spec = network((64, 32, 10), "adam", "float32")
    X, Y, _, _ = draw(spec, backend, 1000)
    found = []
    for min_prefetched_rows in (0, len(X) + 1):
        monkeypatch.setattr("xpnet.training.orders.MIN_PREFETCHED_ROWS", min_prefetched_rows)
        step = make(spec, backend)
        batches = InMemory(LabeledRows(X, Y), batch_size=128, rng=np.random.default_rng(4))
        history = training_loop(step, batches, epochs=30, schedule=Constant(0.01))
        found.append((history.loss, backend.to_numpy(step.params.flat)))
    assert found[0][0] == found[1][0]
    np.testing.assert_array_equal(found[0][1], found[1][1])


@pytest.mark.parametrize("widths", WIDTHS)
def test_a_replayed_graph_equals_single_launches_bitwise(
    backend: Any, widths: tuple[int, ...], dtype: str
) -> None:
    spec = network(widths, "adam", dtype)
    X, Y, _, _ = draw(spec, backend, 1000)
    replayed, eager = make(spec, backend), make(spec, backend, Eager(cupy, dtype))
    assert train(replayed, X, Y) == train(eager, X, Y)
    for name, array in replayed.state().params.items():
        np.testing.assert_array_equal(array, eager.state().params[name])


def test_two_runs_are_equal_bitwise(backend: Any, dtype: str) -> None:
    spec = network(MIDDLE, "adam", dtype)
    X, Y, _, _ = draw(spec, backend, 1000)
    assert train(make(spec, backend), X, Y) == train(make(spec, backend), X, Y)


@pytest.mark.parametrize(("precision", "rounding"), [("tf32", 2**-11), ("bf16", 2**-8)])
def test_precision_is_what_it_says(backend: Any, precision: Any, rounding: float) -> None:
    """Near to fp32 by the rounding of factors, and not equal to it."""
    spec = network((784, 1024, 10), "sgd", "float32")
    X = draw(spec, backend, 512)[0]
    exact, rounded = make(spec, backend), make(spec, backend, Launcher(cupy, "float32", precision))
    a, b = (backend.to_numpy(step.forward(X)) for step in (exact, rounded))
    # Logits are of order 1, and the roundings of the factors of their many terms average out.
    assert 0 < np.abs(np.log(a / b)).max() < 20 * rounding


@pytest.mark.parametrize("rule", ["sgd", "adam"])
@pytest.mark.parametrize("widths", [(64, 32, 10), MIDDLE, (20, 16, 12, 1)])
def test_training_in_bf16_goes_where_float64s_goes(widths: tuple[int, ...], rule: str) -> None:
    """Up to a rounding to 8 bits for each number on a path: five a layer."""
    spec, wide = (
        network(widths, rule, dtype, loss="squared_error") for dtype in ("float32", "float64")
    )
    backend = CupyBackend("bf16")
    rng = np.random.default_rng(3)
    X, Y = (
        rng.standard_normal((300, widths[0])).astype("float32"),
        rng.random((300, widths[-1])).astype("float32"),
    )
    step, reference = backend.compile_step(spec), ReferenceStep(wide, NumpyBackend(), "")
    assert isinstance(step, CudaStep) and "products in bf16" in step.why
    for one in (step, reference):
        one.params.update(weights(spec))
    found = train(step, backend.asarray(X), backend.asarray(Y))
    wanted = train(reference, X.astype("float64"), Y.astype("float64"))
    np.testing.assert_allclose(found, wanted, rtol=5 * spec.layers * 2**-8)


def nodes(graph: Any) -> int:
    """How many nodes a captured graph has."""
    count, handle = ctypes.c_size_t(), ctypes.c_void_p(int(graph.graph))
    assert ctypes.CDLL("libcuda.so.1").cuGraphGetNodes(handle, None, ctypes.byref(count)) == 0
    return count.value


@pytest.mark.parametrize("widths", [(64, 32, 10), MIDDLE])
def test_nodes_of_a_step(backend: Any, widths: tuple[int, ...]) -> None:
    spec = network(widths, "adam", "float32")
    X, Y, _, _ = draw(spec, backend, 1000)
    step = make(spec, backend)
    train(step, X, Y)
    assert step._training_runs is not None
    graphs = {
        group: run.__self__ for group, run in step._training_runs.graphs.items() if run is not None
    }
    assert graphs
    for group, graph in graphs.items():
        launches = sum(times * len(work.launches) for work, times in group)
        batches = sum(times for work, times in group if len(work.launches) > 2)
        products = batches * (3 * (len(widths) - 1) - 1)
        # A product of cuBLASLt may clear its workspace and add up the parts of a split sum: two
        # nodes more, which `first_step.py seconds` names. Each launch of ours is one node.
        assert launches <= nodes(graph) <= launches + 2 * products, (
            f"{nodes(graph)} nodes in a graph of {launches} launches"
        )


def test_memory_is_constant_over_replays(backend: Any, cupy: Any) -> None:
    spec = network(TWO_LAYERS, "adam", "float32")
    X, Y, _, _ = draw(spec, backend, 128 * 101)
    step, pool = make(spec, backend), cupy.get_default_memory_pool()
    with step.running():
        train(step, X, Y, epochs=2)
        before = pool.used_bytes(), pool.total_bytes()
        train(step, X, Y, epochs=1)  # 101 replays
        assert (pool.used_bytes(), pool.total_bytes()) == before


def test_an_epoch_does_not_wait_for_the_device(backend: Any, cupy: Any) -> None:
    """A kernel that spins for about a second is in front of the epoch; all batches are asked for
    before it ends.
    """
    code = (
        'extern "C" __global__ void spin(long long n) '
        "{ long long t = clock64(); while (clock64() - t < n) {} }"
    )
    spin = cupy.RawKernel(code, "spin")
    spec = network((64, 32, 10), "adam", "float32")
    X, Y, _, _ = draw(spec, backend, 128 * 20 + 7)
    step = make(spec, backend)
    free_and_retry, read, busy = step._free_and_retry, step._network.read, []

    def spin_first(prepare: Any) -> Any:
        prepared = free_and_retry(prepare)
        spin((1,), (1,), (np.int64(2_000_000_000),))
        return prepared

    def look() -> Any:
        busy.append(not step.launcher.lane.stream.done)
        return read()

    with step.running():
        train(step, X, Y, epochs=2)
        step._free_and_retry, step._network.read = spin_first, look  # type: ignore[method-assign, assignment]
        train(step, X, Y, epochs=1)
    assert busy == [True]


def test_out_of_memory_under_a_limit(backend: Any, cupy: Any) -> None:
    spec = network((784, 1024, 1024, 10), "adam", "float32")
    X, Y, _, _ = draw(spec, backend, 20_000)
    step, pool = make(spec, backend), cupy.get_default_memory_pool()
    train(step, X, Y, epochs=1)
    before = step.state()
    pool.free_all_blocks()
    pool.set_limit(size=pool.total_bytes() + (64 << 20))
    with pytest.raises(
        DeviceMemoryError, match="batches of 20000 rows.* must fit .*smaller batch_size"
    ):
        train(step, X, Y, epochs=1, batch=20_000)
    pool.set_limit(size=0)
    for name, array in step.state().params.items():
        np.testing.assert_array_equal(array, before.params[name])
    assert np.isfinite(train(step, X, Y, epochs=1)[0])


@pytest.mark.parametrize("launcher", [Launcher, Unfused])
def test_nan_is_not_hidden(backend: Any, launcher: Any, dtype: str) -> None:
    spec = network((64, 32, 10), "sgd", dtype)
    X, Y, _, _ = draw(spec, backend, 300)
    X[7, 3] = np.nan
    assert np.isnan(
        make(spec, backend, launcher(cupy, dtype)).epoch(X, Y, learning_rate=0.1, batch_size=300)
    )


def test_work_of_the_callers_stream_is_seen(backend: Any, cupy: Any) -> None:
    """Data that another stream is still writing is trained on as written."""
    spec = network(TWO_LAYERS, "sgd", "float32")
    X, Y, _, _ = draw(spec, backend, 4096)
    wanted = train(make(spec, backend), X, Y, epochs=1)
    late = cupy.zeros_like(X)
    with cupy.cuda.Stream(non_blocking=True):
        for _ in range(50):
            late[...] = X * 2
        late[...] = X
        assert train(make(spec, backend), late, Y, epochs=1) == wanted


def test_the_stream_that_the_user_chose_waits_for_the_outputs(backend: Any, cupy: Any) -> None:
    """``Stream.use()`` stays in force, and what follows on that stream reads what a prediction has
    written.
    """
    spec = network(MIDDLE, "sgd", "float32")
    X, step, before = (
        draw(spec, backend, 4096)[0],
        make(spec, backend),
        cupy.cuda.get_current_stream(),
    )
    wanted = backend.to_numpy(step.forward(X))
    chosen = cupy.cuda.Stream(non_blocking=True)
    chosen.use()
    try:
        for _ in range(3):
            np.testing.assert_array_equal(backend.to_numpy(step.forward(X) + 0), wanted)
            assert cupy.cuda.get_current_stream() == chosen
    finally:
        before.use()


def test_another_backend_object_has_its_own_precision() -> None:
    assert (
        CupyBackend("tf32").compile_step(network((64, 32, 10), "sgd", "float32")).why
        != CupyBackend().compile_step(network((64, 32, 10), "sgd", "float32")).why
    )
