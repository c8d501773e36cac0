"""Each loop of a step, as the step calls it, against ``xpnet.ops`` in a wider dtype, over all
magnitudes.
"""

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from helpers.c_call import call_c
from xpnet_numba.loops import updates
from xpnet_numba.loops.activations import SHORT, WORTH_JOINING
from xpnet_numba.step import functions

from xpnet import ops
from xpnet.backend.spec import LOSS_NUMBERS
from xpnet.steps.masks import keep_mask

WIDER = {"float32": np.float64, "float64": np.longdouble}
LARGEST = {"float32": 38, "float64": 307}
SHAPE = 40, 25


def run(name: str, *arguments: Any) -> None:
    """Call a C function of the step; the first array's dtype decides which."""
    call_c(functions.address(name, arguments[0].dtype.name), *arguments)


def magnitudes(
    rng: np.random.Generator, dtype: str, shape: Any = SHAPE, largest: float | None = None
) -> Any:
    """Numbers of all magnitudes, from denormal ones on, and of both signs."""
    exponents = rng.uniform(
        -1.17 * LARGEST[dtype], LARGEST[dtype] if largest is None else largest, shape
    )
    return (rng.choice([-1.0, 1.0], shape) * 10.0**exponents).astype(dtype)


def assert_close(found: Any, wanted: Any, roundings: float, scale: Any = None) -> None:
    """An error of so many roundings, of the number itself or of ``scale``; where that is no normal
    number, of the smallest.
    """
    finite = np.finfo(found.dtype)
    size = np.abs(wanted if scale is None else scale)
    size = np.where(size >= finite.tiny, size, finite.tiny / finite.eps)
    inside = np.abs(wanted) <= finite.max
    np.testing.assert_array_equal(np.isinf(found), ~inside)
    assert (
        float(np.max(np.abs(found - wanted)[inside] / size[inside], initial=0))
        <= roundings * finite.eps
    )


@pytest.fixture(params=["float32", "float64"])
def dtype(request: pytest.FixtureRequest) -> Iterator[str]:
    yield request.param


@pytest.mark.parametrize("name", ops.ACTIVATIONS)
def test_activations(name: Any, dtype: str, rng: np.random.Generator) -> None:
    wide, activation = WIDER[dtype], ops.ACTIVATIONS[name]
    z = np.concatenate([magnitudes(rng, dtype), rng.uniform(-40, 40, SHAPE).astype(dtype)])
    no_bias = np.zeros(25, dtype)
    out = z.copy()
    run(f"{name}_forward", out, no_bias)
    with np.errstate(over="ignore", under="ignore"):
        wanted, _ = activation.forward(z.astype(wide))
    # The relative error of a tail grows with its exponent: where x times a tail is small, it is
    # compared with x.
    scale = None if activation.keeps == "out" else np.abs(wanted) + np.abs(z) / 1e3
    assert_close(out, wanted, 8 if name.startswith("gelu") else 4, scale=scale)
    d, d_bias = rng.uniform(0.5, 2, out.shape).astype(dtype), np.zeros(25, dtype)
    d_z = d.copy()
    kept = out if activation.keeps == "out" else z
    run(f"{name}_backward", d_z, kept, d_bias)
    wanted = activation.backward(d.astype(wide), kept.astype(wide))
    assert_close(d_z, wanted, 4, scale=d)  # 1 - f^2 has no more digits where f is near 1
    assert_close(d_bias, wanted.sum(axis=0), 40, scale=np.abs(wanted).sum(axis=0))


@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf])
def test_special_values_of_activations(special: float, dtype: str) -> None:
    rows = np.full((6, 25), 1.5, dtype)
    rows[2, 12], rows[4] = special, special
    for name, activation in ops.ACTIVATIONS.items():
        out, d_z = rows.copy(), np.ones((6, 25), dtype)
        run(f"{name}_forward", out, np.zeros(25, dtype))
        with np.errstate(all="ignore"):
            wanted, kept = activation.forward(rows)
            d_wanted = activation.backward(np.ones_like(rows), kept)
        run(f"{name}_backward", d_z, np.ascontiguousarray(kept), np.zeros(25, dtype))
        np.testing.assert_allclose(out, wanted, rtol=3e-6, err_msg=name)
        np.testing.assert_allclose(d_z, d_wanted, rtol=3e-6, atol=2e-6, err_msg=name)


def test_a_bias_is_added_before_the_activation(dtype: str, rng: np.random.Generator) -> None:
    for name, activation in ops.ACTIVATIONS.items():
        z, bias = (rng.uniform(0.1, 2, size).astype(dtype) for size in ((7, 5), 5))
        expected, _ = activation.forward(z + bias)
        out = z.copy()
        run(f"{name}_forward", out, bias)
        np.testing.assert_allclose(out, expected, rtol=20 * np.finfo(dtype).eps, err_msg=name)


LOSSES = {
    "softmax_cross_entropy_indices": ops.softmax_cross_entropy,
    "softmax_cross_entropy_rows": ops.softmax_cross_entropy,
    "multi_softmax_cross_entropy": ops.multi_softmax_cross_entropy,
    "ordered_cross_entropy": ops.ordered_cross_entropy,
    "logistic_cross_entropy": ops.logistic_cross_entropy,
    "squared_error": ops.squared_error,
    "poisson": ops.poisson,
    "absolute_error": ops.absolute_error,
    "huber": ops.huber,
    "quantile": ops.quantile,
    "gamma": ops.gamma,
    "tweedie": ops.tweedie,
}


def labels_for(name: str, z: Any, rng: np.random.Generator) -> Any:
    if name.endswith("indices"):
        return rng.integers(0, z.shape[1], z.shape[0])
    if "softmax" in name or name.startswith("ordered"):
        return rng.dirichlet(np.ones(z.shape[1]), z.shape[0]).astype(z.dtype)
    return rng.integers(0, 2, z.shape).astype(z.dtype)


@pytest.mark.parametrize("columns", [1, 3, 10, SHORT - 1, SHORT])
def test_short_rows_are_exact_however_many_are_taken_at_once(
    columns: int, dtype: str, rng: np.random.Generator, subtests: pytest.Subtests
) -> None:
    for rows in (WORTH_JOINING - 1, WORTH_JOINING, WORTH_JOINING + 5, 300):
        with subtests.test(rows=rows):
            check_short_rows(rows, columns, dtype, rng)


def check_short_rows(rows: int, columns: int, dtype: str, rng: np.random.Generator) -> None:
    """Require exact results of the loops of ReLU on whole numbers."""
    z, d = (rng.integers(-9, 9, (rows, columns)).astype(dtype) for _ in range(2))
    bias, sums = (rng.integers(-9, 9, columns).astype(dtype) for _ in range(2))
    out, d_z, d_bias = z.copy(), d.copy(), sums.copy()
    run("relu_forward", out, bias)
    run("relu_backward", d_z, out, d_bias)
    np.testing.assert_array_equal(out, np.maximum(z + bias, 0))
    np.testing.assert_array_equal(d_z, d * (out > 0))
    np.testing.assert_array_equal(d_bias, sums + (d * (out > 0)).sum(0))


@pytest.mark.parametrize(
    # Kernels have the same formulas in float64, where test_kernels checks them.
    "dtype",
    ["float32", pytest.param("float64", marks=pytest.mark.slow)],
)
@pytest.mark.parametrize("name", LOSSES)
def test_losses(name: str, dtype: str, rng: np.random.Generator, subtests: pytest.Subtests) -> None:
    widths = [1, 2, 10, 17, 300, 3000]
    if name == "ordered_cross_entropy":  # of two classes or more, whose thresholds add up
        widths = widths[1:-1]
    for largest, columns in itertools.product([0, 1, 4], widths):
        with subtests.test(largest=largest, columns=columns):
            check_loss(name, largest, columns, dtype, rng)


def check_loss(name: str, largest: int, columns: int, dtype: str, rng: np.random.Generator) -> None:
    """Beside a large logit what is added to it has lost digits: errors are measured by the largest
    number of a row.
    """
    wide = WIDER[dtype]
    with_exp = name in ("poisson", "gamma", "tweedie")
    z = magnitudes(rng, dtype, (9, columns), min(largest, 1.5) if with_exp else largest)
    labels, weight = labels_for(name, z, rng), rng.uniform(0.5, 2, 9).astype(dtype)
    scale = weight / weight.sum()
    wide_labels = labels if labels.dtype.kind == "i" else labels.astype(wide)
    given = rng.uniform(1.1, 1.9, columns).astype(dtype) - (name == "quantile")
    if name == "multi_softmax_cross_entropy":
        given = np.sort(rng.integers(0, 3, columns)).astype(dtype)
    numbers = {LOSS_NUMBERS[name].argument: given.tolist()} if name in LOSS_NUMBERS else {}  # type: ignore[index]
    loss, d_z = LOSSES[name](z.astype(wide), wide_labels, scale.astype(wide), **numbers)
    found, d_bias, total = z.copy(), np.zeros(columns, dtype), np.zeros(1)
    run(name, found, labels, scale, given, d_bias, total)
    each = 30 * np.finfo(dtype).eps * (1 + np.abs(z).max(axis=1, keepdims=True))
    bound = each * np.maximum(1, np.abs(d_z / scale[:, None]))
    assert (np.abs(found - d_z) <= scale[:, None] * bound).all()
    assert (np.abs(d_bias - d_z.sum(axis=0)) <= (scale[:, None] * bound).sum(axis=0) * 2).all()
    squares = np.square(z.astype(wide)).max() * columns if name == "squared_error" else 0
    power = np.exp(np.abs(z.astype(wide))).max() * columns if with_exp else 0
    assert abs(total[0] - loss) <= 60 * np.finfo(dtype).eps * float(
        columns + np.abs(z).max() * columns + squares + power
    )


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("name", ["sgd", "momentum", "adam"])
def test_updates(name: str, nesterov: bool, dtype: str, rng: np.random.Generator) -> None:
    wide = WIDER[dtype]
    largest = LARGEST[dtype] // 2 - 2  # a gradient is squared
    param, grad, first, second = (magnitudes(rng, dtype, 200, largest) for _ in range(4))
    second = np.abs(second)
    rule = np.array([0.1, 0.9, nesterov, 0.9, 0.999, 1e-8, 0.01, 0.0])
    before = [a.astype(wide) for a in (param, grad, first, second)]
    run(name, param, grad, first, second, rule, 3)
    if name == "adam":
        wanted = ops.adam_update(*before, t=3, learning_rate=0.1, weight_decay=0.01)
        step = (np.abs(before[1]) + np.abs(before[2])) / (np.sqrt(wanted[2]) + 1e-8)
    else:
        velocity = None if name == "sgd" else before[2]
        wanted = ops.sgd_update(
            *before[:2], velocity, learning_rate=0.1, momentum=0.9, nesterov=nesterov
        )
        step = np.abs(before[1]) + np.abs(before[2])
    assert_close(param, wanted[0], 8, scale=np.abs(before[0]) + step)
    assert len(updates.RULE_NUMBERS) == rule.size


@pytest.mark.parametrize("name", ["rmsprop", "nadam", "lion"])
def test_updates_with_decay(name: str, dtype: str, rng: np.random.Generator) -> None:
    wide, largest = WIDER[dtype], LARGEST[dtype] // 2 - 2  # a gradient is squared
    param, grad, first, second = (magnitudes(rng, dtype, 200, largest) for _ in range(4))
    update, second = ops.UPDATES[name], np.abs(second)  # type: ignore[index]
    if name == "rmsprop":
        first = np.abs(first)
    if name == "lion":  # a sum that cancels has a sign by rounding
        first = np.copysign(first, grad)
    numbers = update.numbers | {"weight_decay": 0.01}
    untouched = second.copy()
    before = [a.astype(wide) for a in (param, grad, first, second)][: 2 + len(update.buffers)]
    rule = updates.number_array({**numbers, "learning_rate": 0.1})
    run(name, param, grad, first, second, rule, 3)
    steps = {"t": 3} if update.counts_steps else {}
    wanted = update.function(*before, learning_rate=0.1, **steps, **numbers)
    # A gradient that is a denormal number has few digits, and is divided by epsilon.
    scale = np.abs(before[0]) + np.abs(wanted[0] - before[0]) + np.finfo(dtype).tiny / 1e-8
    if name == "nadam":  # its step adds two parts, which may cancel
        scale += (np.abs(before[1]) + np.abs(before[2])) / (np.sqrt(wanted[2]) + 1e-8)
    assert_close(param, wanted[0], 8, scale=scale)
    for buffer, result, slot in zip((first, second), wanted[1:], update.buffers, strict=False):
        # A mean of squares adds up without cancelling; a mean of gradients may cancel.
        scale = None if slot == "v" else np.abs(before[2]) + np.abs(before[1])
        assert_close(buffer, result, 8, scale=scale)
    if len(update.buffers) == 1:
        np.testing.assert_array_equal(second, untouched)


@pytest.mark.parametrize("power", [0.45, 0.5, 0.505, 0.51, 0.6, 0.99])
def test_adam_of_gradients_whose_squares_overflow(power: float, dtype: str) -> None:
    grad = np.full(17, float(np.finfo(dtype).max) ** power, dtype)
    found = [np.full(17, 0.5, dtype), grad, *(np.zeros(17, dtype) for _ in range(2))]
    with np.errstate(over="ignore"):
        wanted = ops.adam_update(*(array.copy() for array in found), t=1, learning_rate=0.1)
    run("adam", *found, np.array([0.1, 0.0, 0, 0.9, 0.999, 1e-8, 0.0, 0.0]), 1)
    assert np.isfinite(found[0]).all()
    for array, reference in zip((found[0], *found[2:]), wanted, strict=True):
        np.testing.assert_allclose(array, reference, rtol=8 * np.finfo(dtype).eps)


def test_outputs(dtype: str, rng: np.random.Generator) -> None:
    z = rng.uniform(-60, 60, (300, 7)).astype(dtype)
    wide, targets = z.astype(WIDER[dtype]), np.array([0, 0, 1, 2, 2, 2, 2], dtype)
    for name, wanted in [
        ("softmax_output", ops.softmax(wide)),
        ("multi_softmax_output", ops.multi_softmax(wide, target=targets.tolist())),
        ("logistic_output", ops.logistic(wide)),
        ("identity_output", wide),
        ("exp_output", np.exp(wide)),
    ]:
        out = z.copy()
        run(name, out, targets)
        assert_close(out, wanted, 8)


def test_probabilities_of_ordered_classes(dtype: str, rng: np.random.Generator) -> None:
    z = rng.uniform(-9, 9, (300, 7)).astype(dtype)
    out = z.copy()
    run("ordered_output", out, z[0])
    # An exponential has the rounding error of its exponent, up to 7 * 9 roundings.
    assert_close(out, ops.ordered(z.astype(WIDER[dtype])), 80)
    np.testing.assert_allclose(out.sum(axis=1), 1, rtol=8 * np.finfo(dtype).eps)


def test_rows(dtype: str, rng: np.random.Generator) -> None:
    x, order = rng.normal(size=(30, 9)).astype(dtype), np.array([3, 29, 0, -1, 30, 3])
    out = np.full((6, 7), 5, dtype)
    call_c(functions.address("gather", dtype), order, out, x)
    np.testing.assert_array_equal(out[[0, 1, 2, 5]], x[[3, 29, 0, 3], :7])
    assert (out[3:5] == 5).all()
    sums = np.zeros(4, dtype)
    run("add_rows", x, 5, sums)
    np.testing.assert_allclose(sums, x[:, 5:].sum(axis=0), rtol=1e-5)
    penalty, grad = np.zeros(1), np.ones(9, dtype)
    run("penalize", x[0], grad, 0.3, penalty)
    np.testing.assert_allclose(grad, 1 + 0.3 * x[0], rtol=1e-6)
    assert penalty[0] == pytest.approx(0.15 * float((x[0].astype("f8") ** 2).sum()), rel=1e-6)


@pytest.mark.parametrize("columns", [1, 7, 16, 25, 32, 40])
def test_dropout_of_any_run(columns: int, dtype: str, rng: np.random.Generator) -> None:
    """Rows anywhere in a batch, shorter or longer than what four random words decide on, and
    nothing beside them.
    """
    places, seed = rng.permutation(60)[:33], np.array([5, 0])
    for first, at, rows in ((0, places, places), (4, np.arange(0), np.arange(4, 37))):
        x, around = magnitudes(rng, dtype, (33, columns)), np.full((35, columns), 7, dtype)
        run("drop", x, around[1:-1], first, at, 0.3, seed, 2, 3)
        keep = keep_mask(x.shape, 0.3, seed=5, t=3, layer=2, positions=rows)
        np.testing.assert_array_equal(around[1:-1], x * (keep / np.array(0.7)).astype(dtype))
        assert (around[[0, -1]] == 7).all()
