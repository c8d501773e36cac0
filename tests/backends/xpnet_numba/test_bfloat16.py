"""Products of factors rounded to bfloat16: against NumPy's products of rounded factors, alone and
in training.
"""

import ctypes
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.c_call import call_c
from helpers.ranks.threads_group import on_ranks
from hypothesis import given, settings
from hypothesis import strategies as st
from llvmlite import binding
from sklearn.base import clone
from xpnet_numba import NumbaBackend
from xpnet_numba.llvm import amx
from xpnet_numba.llvm.emit import BYTES, INT64, X86
from xpnet_numba.loops.bfloat16 import PRODUCTS, ROWS, Packing, thread_items
from xpnet_numba.loops.products import ACCUMULATE, SCRATCH, TRANSPOSE_A, TRANSPOSE_B
from xpnet_numba.runtime import bfloat16 as choice
from xpnet_numba.runtime import compiling
from xpnet_numba.step import functions, plan, workspace
from xpnet_numba.step.step import compile_step

import xpnet
from xpnet.backend import NetworkSpec
from xpnet.backend.precision import VARIABLE, use_precision
from xpnet.errors import BackendError, InputError

present = [name for name, reason in choice.why_not().items() if not reason]
"""The products that this processor has."""

each_product = pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.skipif(reason != "", reason=reason))
        for name, reason in choice.why_not().items()
    ],
)

bfloat16 = pytest.mark.skipif(not present, reason="this processor has no products of bfloat16")


def rounded(x: np.ndarray) -> np.ndarray:
    """The nearest numbers with 8 bits of precision, ties to even, of finite float32."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    upper = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
    return (upper << 16).astype(np.uint32).view(np.float32).reshape(x.shape)


def by_address(name: str) -> Any:
    """A product as compiled code calls it."""
    address = functions.address(name, "float32")
    return lambda *arguments: call_c(address, *arguments)


def multiply(product: Any, a: np.ndarray, b: np.ndarray, c: np.ndarray, flags: int = 0) -> None:
    """Multiply as thread 1 of a step does, whose memory begins with garbage."""
    scratch = np.full((2, SCRATCH), np.nan, np.float32)
    memory = np.full((3, thread_items(0)), np.nan, np.float32)
    packing = Packing(memory_at=memory.ctypes.data, scratch_at=scratch.ctypes.data)
    packing.thread_items = memory.shape[1]
    product(a, b, c, flags, scratch[1], ctypes.addressof(packing))
    assert np.isnan(memory[[0, 2]]).all()


Sizes = tuple[int, int, int]


def check(product: Any, sizes: Sizes, flags: int, gap: int, seed: int) -> None:
    """Compare a product with that of NumPy in float64, and see that nothing beyond is written."""
    (m, n, k), rng = sizes, np.random.default_rng(seed)
    a = rng.standard_normal((k, m + gap) if flags & TRANSPOSE_A else (m, k + gap), np.float32)
    b = rng.standard_normal((n, k) if flags & TRANSPOSE_B else (k, n), np.float32)
    room = np.full(m * n + 32, np.nan, np.float32)
    c = room[16:-16].reshape(m, n)
    c[:] = before = rng.standard_normal((m, n), np.float32) if flags & ACCUMULATE else np.nan
    multiply(product, a, b, c, flags)
    left = rounded(a[:, :m].T if flags & TRANSPOSE_A else a[:, :k]).astype(np.float64)
    right = rounded(b.T if flags & TRANSPOSE_B else b).astype(np.float64)
    want, size = left @ right, abs(left) @ abs(right)
    if flags & ACCUMULATE:
        want, size = want + before, size + abs(before)
    assert (abs(c - want) <= 1e-6 * size).all()
    assert np.isnan(room[:16]).all() and np.isnan(room[-16:]).all()


@pytest.mark.slow
@each_product
@settings(max_examples=200, deadline=None)
@given(
    sizes=st.one_of(
        st.tuples(st.integers(1, 40), st.integers(1, 150), st.integers(1, 1100)),
        st.tuples(st.integers(ROWS - 2, ROWS + 40), st.integers(1, 20), st.integers(1, 40)),
    ),
    flags=st.integers(0, 7),
    gap=st.integers(0, 5),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_shape_is_the_product_of_rounded_factors(
    name: str, sizes: Sizes, flags: int, gap: int, seed: int
) -> None:
    check(by_address(name), sizes, flags, gap, seed)


class Tiles:
    """The registers and instructions of AMX, as Intel's manual describes them, for any
    processor.
    """

    def __init__(self) -> None:
        self.registers = np.full((8, 16, 64), 0xFF, np.uint8)  # NaN
        self.configured = False

    def ldtilecfg(self, at: int) -> None:
        table = np.frombuffer(ctypes.string_at(at, 64), np.uint8)
        assert table[0] == 1 and not table[1:16].any()
        assert (table[16:32].view(np.uint16) == 64).all() and (table[48:56] == 16).all()
        self.configured = True

    def tilerelease(self) -> None:
        self.configured = False

    def tilezero(self, register: int) -> None:
        assert self.configured
        self.registers[register] = 0

    def tileloadd64(self, register: int, at: int, step: int) -> None:
        assert self.configured
        for i in range(16):
            self.registers[register, i] = np.frombuffer(ctypes.string_at(at + i * step, 64), "u1")

    def tilestored64(self, register: int, at: int, step: int) -> None:
        assert self.configured
        for i in range(16):
            ctypes.memmove(at + i * step, self.registers[register, i].tobytes(), 64)

    def tdpbf16ps(self, sums: int, left: int, right: int) -> None:
        assert self.configured
        halves = self.registers[[left, right]].view(np.uint16).astype(np.uint32) << 16
        a, b = halves.view(np.float32).astype(np.float64)
        pairs = b.reshape(16, 16, 2).transpose(0, 2, 1).reshape(32, 16)
        self.registers[sums].view(np.float32)[:] += a @ pairs


EMULATED = "multiply_by_emulated_amx"


@pytest.fixture(scope="module")
def emulated() -> Iterator[Any]:
    """The product by AMX, compiled with calls of :class:`Tiles` in place of its instructions."""
    tiles, callbacks = Tiles(), []
    codes = {amx.INT8: ctypes.c_int8, BYTES: ctypes.c_void_p, INT64: ctypes.c_int64}
    for name, kinds in amx.KINDS.items():
        types = [codes[kind] for kind in kinds]
        callbacks.append(ctypes.CFUNCTYPE(None, *types)(getattr(tiles, name)))
        address = ctypes.cast(callbacks[-1], ctypes.c_void_p).value
        binding.add_symbol(f"emulated_{name}", address)
    functions.FUNCTIONS[EMULATED] = PRODUCTS["multiply_by_amx"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(amx, "PREFIX", "emulated_")
        patch.setattr(compiling, "_from_cache", lambda *_: None)
        patch.setattr(compiling, "_keep", lambda *_: None)
        product = by_address(EMULATED)
    yield product
    del functions.FUNCTIONS[EMULATED]
    assert not tiles.configured


@pytest.mark.skipif("multiply_by_amx" in present, reason="the instructions themselves are tested")
@bfloat16
@pytest.mark.parametrize(
    "sizes", [(1, 1, 1), (33, 31, 65), (32, 64, 64), (49, 40, 33), (16, 17, 1030), (515, 2, 3)]
)
def test_squares_of_tiles_are_the_product_of_rounded_factors(
    emulated: Any, sizes: Sizes, subtests: pytest.Subtests
) -> None:
    for flags in range(8):
        with subtests.test(flags=flags):
            check(emulated, sizes, flags, 3, flags)


@bfloat16
@pytest.mark.skipif("multiply_by_amx" in present, reason="the instructions themselves are tested")
def test_a_row_has_the_same_bits_in_a_square_and_alone(emulated: Any) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((50, 600), np.float32), rng.standard_normal((600, 40), np.float32)
    whole, alone = np.empty((50, 40), np.float32), np.empty((9, 40), np.float32)
    multiply(emulated, a, b, whole)
    multiply(emulated, a[31:40], b, alone)
    np.testing.assert_array_equal(alone, whole[31:40])


INSTRUCTIONS = {
    "multiply_by_vdpbf16ps": ["vdpbf16ps", "vcvtne2ps2bf16"],
    "multiply_by_amx": [
        *["ldtilecfg", "tilezero", "tileloadd", "tdpbf16ps", "tilestored", "tilerelease"],
        "vcvtne2ps2bf16",
    ],
}

ASSEMBLY = """
import sys
from xpnet_numba.runtime import compiling
from xpnet_numba.step import functions
functions.address(sys.argv[1], "float32")
print(*compiling._dispatchers[-1].inspect_asm().values())
"""


@pytest.mark.slow
@pytest.mark.skipif(not X86, reason="instructions of x86 processors")
@pytest.mark.parametrize("name", INSTRUCTIONS)
def test_the_instructions_are_in_the_object_code_for_their_processors(
    name: str, tmp_path: Path
) -> None:
    target = {
        "NUMBA_CPU_NAME": "sapphirerapids",
        "NUMBA_CPU_FEATURES": "+avx512bf16,+amx-tile,+amx-bf16",
        "NUMBA_CACHE_DIR": str(tmp_path),
    }
    ended = subprocess.run(
        [sys.executable, "-c", ASSEMBLY, name],
        env=os.environ | target,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    used = [word for word in INSTRUCTIONS[name] if f"\t{word}" in ended.stdout]
    assert used == INSTRUCTIONS[name]


@each_product
def test_factors_are_rounded_to_nearest_even(name: str) -> None:
    x = np.array([1.0, 1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-8 + 2**-20, -1 - 2**-8], np.float32)
    want = np.array([1.0, 1.0, 1 + 2**-6, 1 + 2**-7, -1.0], np.float32)
    numbers = np.random.default_rng(0).integers(0, 0x7F7F8000, 3000).astype(np.uint32)
    numbers = np.append(numbers[numbers >= 0x00800000], numbers[:0]).view(np.float32)
    for values, expected in ((x, want), (numbers, rounded(numbers))):
        c = np.empty((1, values.size), np.float32)
        multiply(by_address(name), np.ones((1, 1), np.float32), values[None], c)
        np.testing.assert_array_equal(c[0], expected)
        c = c.reshape(-1, 1)
        multiply(
            by_address(name), np.ascontiguousarray(values[:, None]), np.ones((1, 1), np.float32), c
        )
        np.testing.assert_array_equal(c[:, 0], expected)


@each_product
@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_reaches_its_row_and_no_other(name: str, special: float) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.integers(-8, 9, (20, 30)).astype("f4"), rng.integers(1, 9, (30, 40)).astype("f4")
    a[13, 7] = special
    c = np.empty((20, 40), np.float32)
    multiply(by_address(name), a, b, c)
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


def check_training() -> None:
    """Compare a training with that of a reference that rounds factors, and one that does not."""
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
def test_training_is_that_of_a_reference_that_rounds_factors() -> None:
    check_training()


@pytest.mark.slow
@bfloat16
@pytest.mark.skipif("multiply_by_amx" in present, reason="the instructions themselves are tested")
def test_a_step_trains_by_squares_of_tiles(emulated: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "DESCRIPTIONS", {EMULATED: "emulated AMX"})
    monkeypatch.setattr(choice, "why_not", lambda: {EMULATED: ""})
    assert "emulated AMX" in network().why_
    xpnet.set_threads(1)  # the emulation has the registers of one core
    try:
        check_training()
        X = np.random.default_rng(0).standard_normal((120, 40), np.float32)
        results = []
        for kept in (workspace.KEPT_PARAMETERS, 0):
            monkeypatch.setattr(workspace, "KEPT_PARAMETERS", kept)
            model = wide(members=2)
            model.fit(X, X[:, :4].argmax(1), epochs=2, batch_size=60)
            results.append([*model.values().values(), model.predict(X)])
    finally:
        xpnet.set_threads(None)
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)


@bfloat16
@pytest.mark.parametrize("settings", [{}, pytest.param({"members": 3}, marks=pytest.mark.slow)])
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


def wide(**settings: Any) -> xpnet.FeedforwardNeuralNet:
    """A network whose packed weights may be kept until the next update."""
    backend = NumbaBackend("bf16")
    return xpnet.FeedforwardNeuralNet(
        40, (70, 50), 4, 0.1, dtype="float32", backend=backend, rng=0, **settings
    )


@bfloat16
@pytest.mark.parametrize(
    ("settings", "batch"), [({"members": 5}, 300), ({}, 6000), ({"dropout": 0.5}, 2500)]
)
def test_weights_that_are_kept_are_those_of_the_last_update(
    settings: dict[str, Any], batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    X = np.random.default_rng(0).standard_normal((6000, 40), np.float32)
    y, rows = X[:, :4].argmax(1), slice(0, 700)
    results = []
    for kept in (workspace.KEPT_PARAMETERS, 0):
        monkeypatch.setattr(workspace, "KEPT_PARAMETERS", kept)
        model = wide(**settings)
        before = model.predict(X[rows])
        model.fit(X, y, epochs=2, batch_size=batch)
        after = model.predict(X[rows])
        model.load_values({name: value / 2 for name, value in model.values().items()})
        results.append([before, after, model.predict(X[rows]), *model.values().values()])
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)


@bfloat16
def test_networks_side_by_side_keep_weights_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    X = np.random.default_rng(0).standard_normal((300, 40), np.float32)
    y, results = X[:, :4].argmax(1), []
    for kept in (workspace.KEPT_PARAMETERS, 0):
        monkeypatch.setattr(workspace, "KEPT_PARAMETERS", kept)
        models = [wide(members=2, l2=l2) for l2 in (0.0, 0.1, 1.0)]
        xpnet.fit_many(models, X, y, epochs=2, batch_size=300)
        results.append([value for model in models for value in model.values().values()])
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)


@bfloat16
@pytest.mark.parametrize("members", [1, 2])
def test_ranks_that_share_memory_keep_weights_of_their_own(
    members: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    X = np.random.default_rng(0).standard_normal((3000, 40), np.float32)
    y, results = X[:, :4].argmax(1), []

    def work(group: Any) -> list[np.ndarray]:
        model = wide(members=members)
        model.fit(X, y, epochs=2, batch_size=1500)
        assert group._memory is not None
        return list(model.values().values())

    monkeypatch.setattr(plan, "MAX_ROWS", 100)
    for kept in (workspace.KEPT_PARAMETERS, 0):
        monkeypatch.setattr(workspace, "KEPT_PARAMETERS", kept)
        results += on_ranks(2, work)
    for other in results[1:]:
        for one, same in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(one, same)


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
    reasons = dict.fromkeys(choice.why_not(), "the processor has no such products")
    monkeypatch.setattr(choice, "why_not", lambda: reasons)
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
    with pytest.raises(InputError, match="fp32, bf16, auto; got 'fp8'"):
        NumbaBackend("fp8")  # type: ignore[arg-type]
    monkeypatch.setenv(VARIABLE, "fp8")
    with pytest.raises(InputError, match=f"got 'fp8'.*{VARIABLE}"):
        _ = NumbaBackend().precision


def test_what_sets_the_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert NumbaBackend().precision == "fp32"
    monkeypatch.setenv(VARIABLE, "bf16")
    assert NumbaBackend().precision == "bf16" and NumbaBackend("fp32").precision == "fp32"
    with use_precision("fp32"):
        assert NumbaBackend().precision == "fp32"
    assert NumbaBackend().precision == "bf16"


def test_a_backend_can_be_copied() -> None:
    backend = NumbaBackend("bf16")
    _ = backend.kernels
    assert pickle.loads(pickle.dumps(backend)).precision == "bf16"
    assert clone(xpnet.MLPClassifier(backend=backend)).backend.precision == "bf16"
