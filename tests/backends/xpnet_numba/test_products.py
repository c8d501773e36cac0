"""The step's own matrix product against float64 and exact integers."""

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from helpers.c_call import call_c
from hypothesis import given, settings
from hypothesis import strategies as st
from xpnet_numba.llvm.emit import X86
from xpnet_numba.llvm.tiles import AVX2, AVX512, NEON, WIDE
from xpnet_numba.loops import packed
from xpnet_numba.loops.products import ACCUMULATE, SCRATCH, TERMS, TRANSPOSE_A, TRANSPOSE_B
from xpnet_numba.runtime import blas
from xpnet_numba.step import functions
from xpnet_numba.step.step import compile_step

import xpnet
from xpnet.backend import NetworkSpec
from xpnet.errors import BackendError

wide = pytest.mark.skipif(not WIDE, reason="there are no tiles for this processor")

ROUNDING = {"float32": 2.0**-24, "float64": 2.0**-53}


def multiply(
    a: np.ndarray, b: np.ndarray, c: np.ndarray, flags: int = 0, name: str = "multiply"
) -> None:
    items = packed.SCRATCH if name == "multiply_packed" else SCRATCH
    scratch = np.full(items, np.nan, a.dtype)
    call_c(functions.address(name, a.dtype.name), a, b, c, flags, scratch, 0)


def operand(rng: np.random.Generator, rows: int, columns: int, dtype: str) -> np.ndarray:
    """Small integers: their products and sums are exact in any order."""
    return rng.integers(-8, 9, (rows, columns)).astype(dtype)


@wide
@settings(max_examples=300, deadline=None)
@given(
    sizes=st.tuples(st.integers(1, 40), st.integers(1, 150), st.integers(1, 2 * TERMS + 3)),
    transposed=st.tuples(st.booleans(), st.booleans()),
    gap=st.integers(0, 5),
    more=st.booleans(),
    dtype=st.sampled_from(["float32", "float64"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_shape_is_exact_and_nothing_beyond_is_touched(
    sizes: tuple[int, int, int],
    transposed: tuple[bool, bool],
    gap: int,
    more: bool,
    dtype: str,
    seed: int,
) -> None:
    (m, n, k), (a_transposed, b_transposed), rng = sizes, transposed, np.random.default_rng(seed)
    a = operand(rng, k, m + gap, dtype) if a_transposed else operand(rng, m, k + gap, dtype)
    b = operand(rng, n, k, dtype) if b_transposed else operand(rng, k, n, dtype)
    room = np.full(m * n + 32, np.nan, dtype)
    c = room[16:-16].reshape(m, n)
    c[:] = before = operand(rng, m, n, dtype) if more else np.nan
    multiply(a, b, c, a_transposed * TRANSPOSE_A + b_transposed * TRANSPOSE_B + more * ACCUMULATE)
    product = (a[:, :m].T if a_transposed else a[:, :k]) @ (b.T if b_transposed else b)
    np.testing.assert_array_equal(c, before + product if more else product)
    assert np.isnan(room[:16]).all() and np.isnan(room[-16:]).all()


@wide
@settings(max_examples=25, deadline=None)
@given(
    sizes=st.tuples(st.integers(128, 300), st.integers(256, 420), st.integers(0, 1100)),
    taller=st.booleans(),
    flags=st.integers(0, 7),
    gap=st.integers(0, 5),
    dtype=st.sampled_from(["float32", "float64"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_packed_factors_are_exact_and_nothing_beyond_is_touched(
    sizes: tuple[int, int, int], taller: bool, flags: int, gap: int, dtype: str, seed: int
) -> None:
    (m, n, more_terms), rng = sizes, np.random.default_rng(seed)
    if taller:  # C is so large that factors are packed
        m, n = m + packed.LARGE_RESULT // (4 * 419), 419
    k = -(-packed.MIN_BYTES // (4 * m)) + more_terms
    if not taller:  # rows of A have a round number of bytes
        flags, gap, k = flags & ~TRANSPOSE_A, 0, -(-k // packed.ROUND) * packed.ROUND
    a = operand(rng, *((k, m + gap) if flags & TRANSPOSE_A else (m, k + gap)), dtype)
    b = operand(rng, *((n, k) if flags & TRANSPOSE_B else (k, n)), dtype)
    room = np.full(m * n + 32, np.nan, dtype)
    c = room[16:-16].reshape(m, n)
    c[:] = before = operand(rng, m, n, dtype) if flags & ACCUMULATE else np.nan
    multiply(a, b, c, flags, name="multiply_packed")
    left = a[:, :m].T if flags & TRANSPOSE_A else a[:, :k]
    product = left.astype("float64") @ (b.T if flags & TRANSPOSE_B else b).astype("float64")
    np.testing.assert_array_equal(c, before + product if flags & ACCUMULATE else product)
    assert np.isnan(room[:16]).all() and np.isnan(room[-16:]).all()


@wide
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("flags", range(8))
def test_packed_factors_give_the_bits_of_tiles(
    dtype: str, flags: int, rng: np.random.Generator
) -> None:
    m, n, k = 1301, 611, 531
    a = rng.standard_normal((k, m) if flags & TRANSPOSE_A else (m, k)).astype(dtype)
    b = rng.standard_normal((n, k) if flags & TRANSPOSE_B else (k, n)).astype(dtype)
    by_tiles = rng.standard_normal((m, n)).astype(dtype)
    by_packed = by_tiles.copy()
    multiply(a, b, by_tiles, flags)
    multiply(a, b, by_packed, flags, name="multiply_packed")
    np.testing.assert_array_equal(by_packed, by_tiles)


@wide
@pytest.mark.parametrize("name", ["multiply", "multiply_packed"])
def test_a_product_without_rows_writes_nothing(name: str) -> None:
    room = np.full(320, 7.0)
    multiply(np.empty((0, 2000)), np.ones((2000, 300)), room[:0].reshape(0, 300), name=name)
    assert (room == 7.0).all()


@wide
@pytest.mark.parametrize("threads", [1, 2])
def test_a_step_of_packed_factors_has_the_bits_of_tiles_on_any_number_of_threads(
    threads: int, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = NetworkSpec((1280, 300, 5), ("relu",), dtype="float32")
    X, Y = rng.standard_normal((1800, 1280)).astype("float32"), rng.integers(0, 5, 1800)
    weights = {}
    for products, count in (("tiles", 1), ("packed", threads)):
        monkeypatch.setenv(blas.VARIABLE, products)
        xpnet.set_threads(count)
        try:
            step = compile_step(spec)
            for number, parameter in enumerate(step.params.values()):
                draws = np.random.default_rng(number).standard_normal(parameter.shape)
                parameter[...] = draws / 30.0
            step.epoch(X, Y, learning_rate=1e-3, batch_size=900)
        finally:
            xpnet.set_threads(None)
        weights[products] = np.concatenate([p.ravel() for p in step.params.values()])
    np.testing.assert_array_equal(weights["packed"], weights["tiles"])


@wide
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("name", "sizes"),
    [("multiply", (100, 100, 784)), ("multiply_packed", (335, 263, 1024))],
)
def test_rounding_stays_within_the_bound_of_a_sum(
    name: str, sizes: tuple[int, int, int], dtype: str, rng: np.random.Generator
) -> None:
    m, n, k = sizes
    a = rng.standard_normal((m, k)).astype(dtype)
    b = rng.standard_normal((k, n)).astype(dtype)
    c = np.empty((m, n), dtype)
    multiply(a, b, c, name=name)
    want = a.astype(np.longdouble) @ b.astype(np.longdouble)
    # Higham, Accuracy and Stability of Numerical Algorithms, 2002, section 3.5: |error| <= k u |A|
    # |B|.
    bound = k * ROUNDING[dtype] * (abs(a).astype(np.longdouble) @ abs(b).astype(np.longdouble))
    assert (abs(c - want) <= bound).all()


@wide
@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_reaches_its_row_and_no_other(
    special: float, rng: np.random.Generator
) -> None:
    a, b, c = (
        operand(rng, 20, 30, "float64"),
        operand(rng, 30, 40, "float64") + 9,
        np.empty((20, 40)),
    )
    a[13, 7] = special
    multiply(a, b, c)
    np.testing.assert_array_equal(c, a @ b)
    assert np.isfinite(np.delete(c, 13, axis=0)).all() and not np.isfinite(c[13]).any()


@wide
def test_a_row_has_the_same_bits_whatever_rows_stand_beside_it(rng: np.random.Generator) -> None:
    a, b = rng.standard_normal((50, 200)), rng.standard_normal((200, 30))
    whole, alone = np.empty((50, 30)), np.empty((9, 30))
    multiply(a, b, whole)
    multiply(a[31:40], b, alone)
    np.testing.assert_array_equal(alone, whole[31:40])


@settings(max_examples=50, deadline=None)
@given(
    sizes=st.tuples(st.integers(1, 4), st.integers(1, 300), st.integers(1, 40)),
    gap=st.integers(0, 5),
    dtype=st.sampled_from(["float32", "float64"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_few_rows_are_exact_and_nothing_beyond_is_touched(
    sizes: tuple[int, int, int], gap: int, dtype: str, seed: int
) -> None:
    (m, n, k), rng = sizes, np.random.default_rng(seed)
    a, b = operand(rng, m, k + gap, dtype), operand(rng, k, n, dtype)
    room = np.full(m * n + 32, np.nan, dtype)
    c = room[16:-16].reshape(m, n)
    multiply(a, b, c, name="multiply_few")
    np.testing.assert_array_equal(c, a[:, :k] @ b)
    assert np.isnan(room[:16]).all() and np.isnan(room[-16:]).all()


@pytest.mark.parametrize(
    ("settings_of_numba", "vector_bytes"),
    [
        ({"NUMBA_CPU_NAME": "skylake-avx512", "NUMBA_CPU_FEATURES": ""}, 64),
        pytest.param(
            {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": ""}, 32, marks=pytest.mark.slow
        ),
        ({"NUMBA_CPU_NAME": "generic"}, 16),
    ],
)
@pytest.mark.skipif(not X86, reason="names of x86 processors")
def test_vectors_are_those_of_the_processor_that_numba_compiles_for(
    settings_of_numba: dict[str, str], vector_bytes: int
) -> None:
    code = "from xpnet_numba.llvm.emit import vector_bytes; print(vector_bytes())"
    environment = os.environ | settings_of_numba
    ended = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=600,
    )
    assert int(ended.stdout) == vector_bytes


@pytest.mark.parametrize(
    ("tiles", "is_zen4", "weight_bytes", "product", "word"),
    [
        (AVX512, False, 1 << 20, blas.OWN, "tiles"),
        (AVX512, False, 1 << 24, blas.PACKED, "packed"),
        (AVX512, True, 1 << 24, blas.OWN, "tiles"),
        (AVX2, False, 1 << 20, blas.OWN, "tiles"),
        (AVX2, False, 1 << 21, blas.BLAS, "BLAS"),
        (AVX2, True, 1 << 21, blas.BLAS, "BLAS"),
        (NEON, False, 1 << 24, blas.OWN, "tiles"),
    ],
)
def test_the_size_of_weights_and_the_processor_choose_the_product(
    tiles: Any,
    is_zen4: bool,
    weight_bytes: int,
    product: str,
    word: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(blas.VARIABLE, raising=False)
    monkeypatch.setattr(blas, "TILES", tiles)
    monkeypatch.setattr(blas, "ZEN4", is_zen4)
    function, reason = blas.choose_product(weight_bytes)
    assert function == product and word in reason


def test_the_product_can_be_named_and_a_step_says_which_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("tiles", "packed", "blas"):
        monkeypatch.setenv(blas.VARIABLE, name)
        assert (
            f"products by {name}, named by {blas.VARIABLE}"
            in compile_step(NetworkSpec((3, 2), ())).why
        )
        assert blas.products_that_may_run() == {blas.FUNCTIONS[name]}
    monkeypatch.setenv(blas.VARIABLE, "mkl")
    with pytest.raises(BackendError, match="tiles, packed, blas; .*'mkl'"):
        compile_step(NetworkSpec((3, 2), ()))


def test_without_tiles_blas_multiplies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(blas.VARIABLE, raising=False)
    monkeypatch.setattr(blas, "WIDE", False)
    assert blas.choose_product(0)[0] == blas.BLAS and blas.products_that_may_run() == {blas.BLAS}
