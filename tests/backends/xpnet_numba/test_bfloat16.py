"""Products of factors rounded to bfloat16: against NumPy's products of rounded factors, alone and in training."""

import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit
from sklearn.base import clone
from xpnet_numba import NumbaBackend
from xpnet_numba.llvm.memory import call
from xpnet_numba.loops.bfloat16 import HEADER, OWN_MEMORY, ROWS, TERMS
from xpnet_numba.loops.products import ACCUMULATE, SCRATCH, TRANSPOSE_A, TRANSPOSE_B
from xpnet_numba.runtime import bfloat16 as choice
from xpnet_numba.step import functions
from xpnet_numba.step.step import compile_step

import xpnet
from xpnet.backend import NetworkSpec
from xpnet.backend.precision import VARIABLE, set_precision
from xpnet.errors import BackendError, InputError

bfloat16 = pytest.mark.skipif(
    choice.why_no_bfloat16() != "", reason="this processor has no products of bfloat16"
)


def rounded(x: np.ndarray) -> np.ndarray:
    """The nearest numbers with 8 bits of precision, ties to even, of finite float32."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    upper = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
    return (upper << 16).astype(np.uint32).view(np.float32).reshape(x.shape)


@njit
def _call(address: Any, a: Any, b: Any, c: Any, flags: Any, scratch: Any, gemm_at: Any) -> None:
    call(address, (a, b, c, flags, scratch, gemm_at))


def multiply(a: np.ndarray, b: np.ndarray, c: np.ndarray, flags: int = 0) -> None:
    """Multiply as thread 1 of a step does, whose memory begins with garbage."""
    scratch = np.full((2, SCRATCH), np.nan, np.float32)
    memory = np.full(HEADER + 2 * OWN_MEMORY, np.nan, np.float32)
    memory[:2].view(np.int64)[0] = scratch.ctypes.data - memory.ctypes.data
    address = functions.address("multiply_bfloat16", "float32")
    _call(address, a, b, c, flags, scratch[1], memory.ctypes.data)
    assert np.isnan(memory[HEADER : HEADER + OWN_MEMORY]).all()


sizes = st.one_of(
    st.tuples(st.integers(1, 40), st.integers(1, 150), st.integers(1, 2 * TERMS + 3)),
    st.tuples(st.integers(ROWS - 2, ROWS + 40), st.integers(1, 20), st.integers(1, 40)),
)


@bfloat16
@settings(max_examples=200, deadline=None)
@given(
    sizes=sizes,
    transposed=st.tuples(st.booleans(), st.booleans()),
    gap=st.integers(0, 5),
    more=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_shape_is_the_product_of_rounded_factors(
    sizes: tuple[int, int, int], transposed: tuple[bool, bool], gap: int, more: bool, seed: int
) -> None:
    (m, n, k), (a_transposed, b_transposed), rng = sizes, transposed, np.random.default_rng(seed)
    a = rng.standard_normal((k, m + gap) if a_transposed else (m, k + gap), np.float32)
    b = rng.standard_normal((n, k) if b_transposed else (k, n), np.float32)
    room = np.full(m * n + 32, np.nan, np.float32)
    c = room[16:-16].reshape(m, n)
    c[:] = before = rng.standard_normal((m, n), np.float32) if more else np.nan
    multiply(a, b, c, a_transposed * TRANSPOSE_A + b_transposed * TRANSPOSE_B + more * ACCUMULATE)
    left = rounded(a[:, :m].T if a_transposed else a[:, :k]).astype(np.float64)
    right = rounded(b.T if b_transposed else b).astype(np.float64)
    want, size = left @ right, abs(left) @ abs(right)
    if more:
        want, size = want + before, size + abs(before)
    assert (abs(c - want) <= 1e-6 * size).all()
    assert np.isnan(room[:16]).all() and np.isnan(room[-16:]).all()


@bfloat16
def test_factors_are_rounded_to_nearest_even() -> None:
    x = np.array([1.0, 1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-8 + 2**-20, -1 - 2**-8], np.float32)
    want = np.array([1.0, 1.0, 1 + 2**-6, 1 + 2**-7, -1.0], np.float32)
    numbers = np.random.default_rng(0).integers(0, 0x7F7F8000, 3000).astype(np.uint32)
    numbers = np.append(numbers[numbers >= 0x00800000], numbers[:0]).view(np.float32)
    for values, expected in ((x, want), (numbers, rounded(numbers))):
        c = np.empty((1, values.size), np.float32)
        multiply(np.ones((1, 1), np.float32), values[None], c)
        np.testing.assert_array_equal(c[0], expected)
        c = c.reshape(-1, 1)
        multiply(np.ascontiguousarray(values[:, None]), np.ones((1, 1), np.float32), c)
        np.testing.assert_array_equal(c[:, 0], expected)


@bfloat16
@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_reaches_its_row_and_no_other(special: float) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.integers(-8, 9, (20, 30)).astype("f4"), rng.integers(1, 9, (30, 40)).astype("f4")
    a[13, 7] = special
    c = np.empty((20, 40), np.float32)
    multiply(a, b, c)
    np.testing.assert_array_equal(c, a.astype(np.float64) @ b)
    assert np.isfinite(np.delete(c, 13, axis=0)).all() and not np.isfinite(c[13]).any()


# In a step.


def data(rows: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """Rows of 20 numbers, and labels of 4 classes."""
    X = np.random.default_rng(0).standard_normal((rows, 20), np.float32)
    return X, (X @ np.random.default_rng(1).standard_normal((20, 4))).argmax(1)


def softmax(z: np.ndarray) -> np.ndarray:
    """By the definition, in float64."""
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def trained_with_rounding(
    model: xpnet.FeedforwardNeuralNet, X: np.ndarray, y: np.ndarray, epochs: int, batch: int
) -> dict[str, np.ndarray]:
    """Train a network with one layer of ReLU by plain SGD, in float64 with rounded factors."""
    p = {name: np.array(value, np.float64) for name, value in model.values().items()}
    for _ in range(epochs):
        for first in range(0, len(X), batch):
            x, labels = rounded(X[first : first + batch]), y[first : first + batch]
            z = x @ rounded(p["W1"]).astype(np.float64) + p["b1"]
            h = np.maximum(z, 0)
            out = rounded(h).astype(np.float64) @ rounded(p["W2"]) + p["b2"]
            d = (softmax(out) - np.eye(4)[labels]) / len(x)
            d_hidden = (rounded(d).astype(np.float64) @ rounded(p["W2"]).T) * (z > 0)
            gradients = {
                "W2": rounded(h).astype(np.float64).T @ rounded(d),
                "W1": x.astype(np.float64).T @ rounded(d_hidden),
                "b2": d.sum(0),
                "b1": d_hidden.sum(0),
            }
            for name, gradient in gradients.items():
                p[name] -= 0.1 * gradient
    return p


def network(precision: str = "bf16", **settings: Any) -> xpnet.FeedforwardNeuralNet:
    """A network 20-30-4 of float32."""
    backend = NumbaBackend(precision)  # type: ignore[arg-type]
    return xpnet.FeedforwardNeuralNet(
        20, 30, 4, dtype="float32", backend=backend, rng=0, **settings
    )


@bfloat16
def test_training_is_that_of_a_reference_that_rounds_factors() -> None:
    X, y = data()
    model = network(learning_rate=0.1)
    want = trained_with_rounding(model, X, y, 3, 50)
    model.fit(X, y, epochs=3, batch_size=50, shuffle=False)
    exact = network("fp32", learning_rate=0.1)
    exact.fit(X, y, epochs=3, batch_size=50, shuffle=False)
    for name, value in model.values().items():
        # Where a sum of float32 rounds the other way, a factor moves by 2**-9 of its size.
        distance = abs(value - want[name]).max()
        assert distance < abs(exact.values()[name] - want[name]).max() / 10


@bfloat16
@pytest.mark.parametrize("settings", [{}, {"members": 3}])
def test_bits_are_the_same_on_any_number_of_threads(settings: dict[str, Any]) -> None:
    X, y = data(3000)
    values = []
    try:
        for threads in (1, 2):
            xpnet.set_threads(threads)
            model = network(**settings)
            model.fit(X, y, epochs=2, batch_size=1000)
            values.append([*model.values().values(), model.predict(X)])
    finally:
        xpnet.set_threads(None)
    for one, two in zip(*values, strict=True):
        np.testing.assert_array_equal(one, two)


@bfloat16
@pytest.mark.parametrize("rows", [1, 300])
@pytest.mark.parametrize("settings", [{}, {"members": 3}])
def test_predictions_are_products_of_rounded_factors(rows: int, settings: dict[str, Any]) -> None:
    X, _ = data(rows)
    half, single = network(**settings).predict(X), network("fp32", **settings).predict(X)
    assert 0 < abs(half - single).max() < 0.02


@bfloat16
def test_networks_side_by_side_are_those_alone() -> None:
    X, y = data()
    alone, together = network(), [network(), network()]
    alone.fit(X, y, epochs=3, batch_size=50)
    xpnet.fit_many(together, X, y, epochs=3, batch_size=50)
    for name, value in alone.values().items():
        np.testing.assert_array_equal(together[0].values()[name], value)


@bfloat16
def test_the_products_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "bfloat16" in network().why_ and "bfloat16" not in network("fp32").why_
    assert "bfloat16" in NumbaBackend().describe()["products of bf16"]
    monkeypatch.setenv(VARIABLE, "bf16")
    assert (
        "bfloat16"
        in compile_step(NetworkSpec((3, 2), (), dtype="float32"), NumbaBackend().precision).why
    )


def test_without_the_instructions_float32_computes_and_says_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(choice, "why_no_bfloat16", lambda: "the processor has no such products")
    X, y = data()
    models = network(), network("fp32")
    for model in models:
        model.fit(X, y, epochs=1, batch_size=50)
    assert "the processor has no such products" in models[0].why_
    np.testing.assert_array_equal(models[0].predict(X), models[1].predict(X))


def test_float64_is_refused() -> None:
    X, y = data()
    classifier = xpnet.MLPClassifier(backend=NumbaBackend("bf16"), dtype="float64", max_iter=1)
    with pytest.raises(BackendError, match="bf16.*float32; got float64"):
        classifier.fit(X, y)


def test_an_unknown_precision_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="fp32, bf16; got 'fp8'"):
        NumbaBackend("fp8")  # type: ignore[arg-type]
    monkeypatch.setenv(VARIABLE, "fp8")
    with pytest.raises(InputError, match=f"got 'fp8'.*{VARIABLE}"):
        _ = NumbaBackend().precision


def test_what_sets_the_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert NumbaBackend().precision == "fp32"
    monkeypatch.setenv(VARIABLE, "bf16")
    assert NumbaBackend().precision == "bf16" and NumbaBackend("fp32").precision == "fp32"
    try:
        set_precision("fp32")
        assert NumbaBackend().precision == "fp32"
    finally:
        set_precision(None)


def test_a_backend_can_be_copied() -> None:
    backend = NumbaBackend("bf16")
    _ = backend.kernels
    assert pickle.loads(pickle.dumps(backend)).precision == "bf16"
    assert clone(xpnet.MLPClassifier(backend=backend)).backend.precision == "bf16"
