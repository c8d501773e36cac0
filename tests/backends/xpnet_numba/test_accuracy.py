"""Accuracy against the same formula in extended precision."""

from typing import Any

import numba
import numpy as np
import pytest
import scipy.special
from xpnet_numba import backend
from xpnet_numba.scalars import EXACT, exp, expm1_negative, log_normal

from xpnet import ops

ROUNDING = {"float32": 2.0**-24, "float64": 2.0**-53}
WIDTHS = [1, 2, 5, 10, 16, 17, 100, 1000, 32000]


def relative(got: Any, want: Any) -> float:
    return float(np.max(np.abs(got / want - 1)))


@pytest.mark.parametrize(("dtype", "bound"), [("float32", 2e-6), ("float64", 1e-14)])
def test_softmax_of_logits_up_to_64(dtype: str, bound: float, rng: np.random.Generator) -> None:
    for columns in WIDTHS:
        x = rng.uniform(-64, 64, (3, columns)).astype(dtype)
        want = ops.softmax(x.astype(np.longdouble))
        normal = want > np.finfo(dtype).tiny  # smaller numbers have fewer digits
        assert relative(backend.kernels["softmax"].launch(x)[normal], want[normal]) < bound, columns


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_softmax_beyond_is_no_worse_than_scipys(dtype: str, rng: np.random.Generator) -> None:
    for columns in WIDTHS:
        x = rng.uniform(-400, 400, (3, columns)).astype(dtype)
        want = ops.softmax(x.astype(np.longdouble))
        normal = want > np.finfo(dtype).tiny
        error = relative(backend.kernels["softmax"].launch(x)[normal], want[normal])
        scipys = relative(scipy.special.softmax(x, axis=-1)[normal], want[normal])
        # Both round z - max alike; two roundings more allow for the order of the sum and the
        # product.
        assert error <= scipys + 4 * ROUNDING[dtype], columns


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_log_softmax_and_loss_of_wide_rows(dtype: str, rng: np.random.Generator) -> None:
    x, index = rng.uniform(-20, 20, (4, 32000)).astype(dtype), rng.integers(0, 32000, 4)
    wide = x.astype(np.longdouble)
    bound = 200 * ROUNDING[dtype]  # numbers of up to 50 are subtracted
    np.testing.assert_allclose(
        backend.kernels["log_softmax"].launch(x), ops.log_softmax(wide), rtol=0, atol=bound
    )
    loss, gradient = backend.kernels["softmax_cross_entropy"].launch(x, index)
    want_loss, want_gradient = ops.softmax_cross_entropy(wide, index)
    np.testing.assert_allclose(loss, np.float64(want_loss), rtol=20 * ROUNDING[dtype])
    np.testing.assert_allclose(
        gradient, np.float64(want_gradient), rtol=50 * ROUNDING[dtype], atol=1e-30
    )


@numba.njit(**EXACT)
def _fill(x: Any, exponentials: Any, less_one: Any) -> None:
    for i in range(x.size):
        exponentials[i] = exp(x[i])
        less_one[i] = expm1_negative(-abs(x[i]))


@numba.njit(**EXACT)
def _fill_logs(x: Any, logs: Any) -> None:
    for i in range(x.size):
        logs[i] = log_normal(x[i])


@pytest.mark.parametrize(
    ("dtype", "lowest", "highest"), [("float32", -87.33, 88.72), ("float64", -708.39, 709.78)]
)
def test_exponential_on_its_whole_range(
    dtype: str, lowest: float, highest: float, rng: np.random.Generator
) -> None:
    x = np.concatenate(
        [rng.uniform(lowest, highest, 100_000), rng.uniform(0.01, 1, 100_000) ** 9]
    ).astype(dtype)
    e, less_one = np.empty_like(x), np.empty_like(x)
    _fill(x, e, less_one)
    assert relative(e, np.exp(x.astype(np.longdouble))) < 2 * ROUNDING[dtype]
    assert relative(less_one, np.expm1(-np.abs(x.astype(np.longdouble)))) < 4 * ROUNDING[dtype]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_exponential_beyond_its_range(dtype: str) -> None:
    quiet = (
        np.array([0x7FC00001], np.int32).view("f4") if dtype == "float32" else np.array([np.nan])
    )
    x = np.concatenate(
        [[0.0, -0.0, np.inf, -np.inf, 1e30, -1e30, 89.5 * 8, -88.0 * 9], quiet]
    ).astype(dtype)
    e, less_one = np.empty_like(x), np.empty_like(x)
    _fill(x, e, less_one)
    np.testing.assert_array_equal(e, [1, 1, np.inf, 0, np.inf, 0, np.inf, 0, np.nan])
    np.testing.assert_array_equal(less_one, [0, 0, -1, -1, -1, -1, -1, -1, np.nan])


def test_logarithm(rng: np.random.Generator) -> None:
    x = np.concatenate([10 ** rng.uniform(-300, 300, 100_000), 1 + rng.uniform(-0.3, 0.4, 100_000)])
    logs = np.empty_like(x)
    _fill_logs(x, logs)
    want = np.log(x.astype(np.longdouble))
    assert (
        float(np.max(np.abs(logs - want) / np.maximum(np.abs(want), 1e-3)))
        < 4 * ROUNDING["float64"]
    )
    special = np.array([1.0, np.inf, np.nan])
    _fill_logs(special, special)
    np.testing.assert_array_equal(special, [0, np.inf, np.nan])
