"""The reference of each operation in float64, against SciPy, scikit-learn and loops over rows."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.special
import scipy.stats
from helpers.cases import each_case
from sklearn import metrics

from xpnet import ops

X = np.concatenate([np.linspace(-37, 37, 149), [-1e-9, 0.0, 1e-9, -800.5, 801.0, 1e4, -1e4]])
SCALE = math.sqrt(8 / math.pi)
"""Twice the root of 2 / pi, of GELU's tanh form."""


def gelu_tanh_argument(x: np.ndarray) -> np.ndarray:
    """The argument of the logistic function in GELU's tanh form."""
    return SCALE * (x + 0.044715 * x**3)


def sigmoid_slope(x: np.ndarray, argument: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """The derivative of x times the logistic function of an argument with a slope."""
    share = scipy.special.expit(argument)
    return share * (1 + x * scipy.special.expit(-argument) * slope)


def normal_density(x: np.ndarray) -> np.ndarray:
    """The density of the standard normal distribution."""
    return scipy.stats.norm.pdf(x)


FORMULAS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "identity": (lambda x: x, np.ones_like),
    "relu": (lambda x: np.maximum(x, 0), lambda x: x > 0),
    "tanh": (np.tanh, lambda x: 4 / (np.exp(x) + np.exp(-x)) ** 2),
    "logistic": (scipy.special.expit, lambda x: scipy.special.expit(x) * scipy.special.expit(-x)),
    "softplus": (lambda x: np.logaddexp(0, x), scipy.special.expit),
    "leaky_relu": (lambda x: np.maximum(x, 0.01 * x), lambda x: np.where(x > 0, 1, 0.01)),
    "elu": (lambda x: np.where(x > 0, x, np.expm1(x)), lambda x: np.where(x > 0, 1, np.exp(x))),
    "silu": (
        lambda x: x * scipy.special.expit(x),
        lambda x: sigmoid_slope(x, x, np.ones_like(x)),
    ),
    "gelu": (
        lambda x: x * scipy.special.ndtr(x),
        lambda x: scipy.special.ndtr(x) + x * normal_density(x),
    ),
    "gelu_tanh": (
        lambda x: x * scipy.special.expit(gelu_tanh_argument(x)),
        lambda x: sigmoid_slope(x, gelu_tanh_argument(x), SCALE * (1 + 3 * 0.044715 * x * x)),
    ),
}


@each_case("name", FORMULAS)
def test_activations(name: Any) -> None:
    formula, derivative = FORMULAS[name]
    activation = ops.ACTIVATIONS[name]
    with np.errstate(over="ignore"):
        values, slopes = formula(X), np.asarray(derivative(X), float)
    out, kept = activation.forward(X)
    assert kept is (X if activation.keeps == "x" else out)
    # Relative to the value itself: the tails below 0 keep their digits.
    tiny = np.finfo(float).tiny
    np.testing.assert_allclose(out, values, rtol=3e-13, atol=tiny)
    np.testing.assert_allclose(activation.backward(3 * X, kept), 3 * X * slopes, 1e-12, 1e-12)


def test_the_tail_of_gelu_has_all_its_digits() -> None:
    x = np.linspace(-37, -0.01, 2001)
    ratio = ops.gelu(x) / (x * scipy.special.ndtr(x))
    # SciPy rounds the square in the exponent, which grows to a relative error.
    assert (np.abs(ratio - 1) <= 4 * np.finfo(float).eps * (1 + x * x)).all()


@each_case("name", FORMULAS)
def test_infinity_and_nan(name: Any) -> None:
    activation = ops.ACTIVATIONS[name]
    x = np.array([-np.inf, np.inf, np.nan])
    with np.errstate(invalid="ignore", over="ignore"):
        out, kept = activation.forward(x)
        slopes = activation.backward(np.ones(3), kept)
        far = FORMULAS[name][0](np.array([-1e6, 1e6]))
    limits = [value if abs(value) < 1e3 else np.sign(value) * np.inf for value in far]
    np.testing.assert_array_equal(out[:2], limits)
    assert np.isnan(out[2])
    ends = {"identity": (1, 1), "leaky_relu": (0.01, 1), "tanh": (0, 0), "logistic": (0, 0)}
    assert tuple(slopes[:2]) == ends.get(name, (0, 1))
    assert np.isnan(slopes[2]) or name in ("identity", "relu", "leaky_relu")


def row_loss(name: str, o: float, y: float, number: float) -> float:
    """The loss of one output, as the documentation defines it."""
    mean = math.exp(o)
    match name:
        case "squared_error":
            return (o - y) ** 2 / 2
        case "absolute_error":
            return abs(o - y)
        case "huber":
            e = abs(o - y)
            return e * e / 2 if e <= number else number * (e - number / 2)
        case "quantile":
            return max(number * (y - o), (number - 1) * (y - o))
        case "poisson":
            return mean - y + (y * math.log(y / mean) if y else 0.0)
        case "gamma":
            return y / mean - 1 - math.log(y / mean)
        case "tweedie":
            below, above = 1 - number, 2 - number
            return y**above / (below * above) - y * mean**below / below + mean**above / above
        case _:
            return -y * math.log(mean / (1 + mean)) - (1 - y) * math.log(1 / (1 + mean))


CASES: list[tuple[str, str | None, tuple[float, ...]]] = [
    ("squared_error", None, ()),
    ("absolute_error", None, ()),
    ("huber", "delta", (0.5, 1.0, 2.0)),
    ("quantile", "quantile", (0.1, 0.5, 0.8)),
    ("poisson", None, ()),
    ("gamma", None, ()),
    ("tweedie", "power", (1.2, 1.5, 1.9)),
    ("logistic_cross_entropy", None, ()),
]
"""A loss, its number's name in xpnet.ops, and its numbers."""

DEFAULTS = {"delta": 1.0, "quantile": 0.5, "power": 1.5}


@each_case("is_weighted", [False, True])
@each_case(("name", "argument", "numbers"), CASES)
def test_losses_are_weighted_means_of_rows(
    name: str,
    argument: str | None,
    numbers: tuple[float, ...],
    is_weighted: bool,
    rng: np.random.Generator,
) -> None:
    outputs = rng.normal(size=(6, 3))
    targets = rng.uniform(0.05, 3, size=(6, 3))
    if name == "logistic_cross_entropy":
        targets = rng.uniform(size=(6, 3))
    if name in ("poisson", "tweedie"):
        targets[0] = 0.0
    weights = rng.uniform(0.5, 2, 6) if is_weighted else np.ones(6)
    choices: list[tuple[float, ...] | None] = [None, *((number,) * 3 for number in numbers)]
    choices += [numbers] if numbers else []
    for chosen in choices:
        options = {} if chosen is None or argument is None else {argument: list(chosen)}
        of_outputs = chosen or (DEFAULTS.get(argument or "", 0.0),) * 3

        def mean_loss(o: np.ndarray, of_outputs: tuple[float, ...] = of_outputs) -> float:
            losses = [
                sum(row_loss(name, *pair) for pair in zip(row, target, of_outputs, strict=True))
                for row, target in zip(o.tolist(), targets.tolist(), strict=True)
            ]
            return float(np.average(losses, weights=weights))

        sample_weight = weights if is_weighted else None
        loss, gradient = getattr(ops, name)(outputs, targets, sample_weight, **options)
        assert float(loss) == pytest.approx(mean_loss(outputs), rel=1e-12)
        for place in np.ndindex(*outputs.shape):
            step = np.zeros_like(outputs)
            step[place] = 1e-6
            slope = (mean_loss(outputs + step) - mean_loss(outputs - step)) / 2e-6
            assert gradient[place] == pytest.approx(slope, rel=1e-6, abs=1e-8)


def test_slopes_where_losses_have_no_derivative() -> None:
    outputs, targets = np.array([[2.0, 2.0, 2.0]]), np.array([[2.0, 1.5, 2.5]])
    assert ops.absolute_error(outputs, targets)[1].tolist() == [[0.0, 1.0, -1.0]]
    assert ops.quantile(outputs, targets, quantile=0.25)[1].tolist() == [[0.0, 0.75, -0.25]]
    assert ops.huber(outputs, targets, delta=0.5)[1].tolist() == [[0.0, 0.5, -0.5]]


def test_softmax_losses(rng: np.random.Generator) -> None:
    logits, labels = rng.normal(size=(4, 5)), rng.dirichlet(np.ones(5), 4)
    weights = np.array([1.0, 2.0, 0.0, 3.0])
    log_shares = scipy.special.log_softmax(logits, axis=1)
    losses = -(labels * log_shares).sum(axis=1)
    loss, gradient = ops.softmax_cross_entropy(logits, labels, weights)
    assert float(loss) == pytest.approx(np.average(losses, weights=weights), rel=1e-13)
    expected = (np.exp(log_shares) - labels) * (weights / 6)[:, None]
    np.testing.assert_allclose(gradient, expected, rtol=1e-12, atol=1e-15)
    indices = np.array([4, 0, 2, 2])
    loss, gradient = ops.softmax_cross_entropy(logits, indices)
    assert float(loss) == pytest.approx(
        metrics.log_loss(indices, np.exp(log_shares), labels=range(5))
    )
    np.testing.assert_allclose(gradient * 4, np.exp(log_shares) - np.eye(5)[indices], rtol=1e-12)
    certain = np.array([[0.0, -np.inf]])
    assert float(ops.softmax_cross_entropy(certain, np.array([[1.0, 0.0]]))[0]) == 0.0


@each_case("target", [[0, 0, 1, 1, 1], [7, 7, 3, 3, 3]])
def test_several_targets_are_a_softmax_each(target: list[int], rng: np.random.Generator) -> None:
    logits, labels = rng.normal(size=(4, 5)), rng.uniform(size=(4, 5))
    parts = [
        ops.softmax_cross_entropy(logits[:, part], labels[:, part])
        for part in (slice(0, 2), slice(2, 5))
    ]
    loss, gradient = ops.multi_softmax_cross_entropy(logits, labels, target=target)
    assert float(loss) == pytest.approx(float(parts[0][0] + parts[1][0]), rel=1e-14)
    np.testing.assert_array_equal(gradient, np.hstack([part[1] for part in parts]))
    shares = ops.multi_softmax(logits, target=target)
    softmaxes = [scipy.special.softmax(logits[:, part], axis=1) for part in (slice(2), slice(2, 5))]
    np.testing.assert_allclose(shares, np.hstack(softmaxes), rtol=1e-13)
    one = ops.multi_softmax_cross_entropy(logits, labels)
    assert float(one[0]) == float(ops.softmax_cross_entropy(logits, labels)[0])
    np.testing.assert_allclose(ops.multi_softmax(logits), scipy.special.softmax(logits, axis=-1))


def test_softmax_takes_the_last_axis_by_default(rng: np.random.Generator) -> None:
    x = rng.normal(size=(2, 3, 4))
    for axis in (None, 0, 1, 2, -1, -2):
        options = {} if axis is None else {"axis": axis}
        scipys = -1 if axis is None else axis
        np.testing.assert_allclose(
            ops.softmax(x, **options), scipy.special.softmax(x, axis=scipys), rtol=1e-13
        )
        np.testing.assert_allclose(
            ops.log_softmax(x, **options), scipy.special.log_softmax(x, axis=scipys), rtol=1e-13
        )


def test_smoothed_labels() -> None:
    labels, like = np.array([2, 0]), np.zeros((2, 3))
    smoothed = ops.losses.smoothed(labels, like, 0.3, 3.0)
    np.testing.assert_allclose(smoothed, [[0.1, 0.1, 0.8], [0.8, 0.1, 0.1]], rtol=1e-15)
    several = ops.losses.smoothed(np.eye(3)[labels], like, 0.3, [2.0, 2.0, 3.0])
    np.testing.assert_allclose(several, [[0.15, 0.15, 0.8], [0.85, 0.15, 0.1]], rtol=1e-15)


def test_a_batch_without_rows_has_no_mean() -> None:
    loss, gradient = ops.absolute_error(np.empty((0, 2)), np.empty((0, 2)))
    assert float(loss) == 0.0 and gradient.shape == (0, 2)


def test_members(rng: np.random.Generator) -> None:
    """Products and scales of members, one member at a time."""
    own, shared = rng.normal(size=(3, 4, 2)), rng.normal(size=(4, 2))
    scale = rng.normal(size=(3, 2))
    weights, weight = rng.normal(size=(3, 2, 5)), rng.normal(size=(2, 5))
    d_scaled, d_out = rng.normal(size=(3, 4, 2)), rng.normal(size=(3, 4, 5))
    for x in (own, shared):
        rows = [x[k] if x.ndim == 3 else x for k in range(3)]
        scaled = np.stack([rows[k] * scale[k] for k in range(3)])
        np.testing.assert_array_equal(ops.member_scale(x, scale), scaled)
        d_x, d_scale = ops.member_scale_backward(d_scaled, x, scale)
        of_members = np.stack([d_scaled[k] * scale[k] for k in range(3)])
        expected = of_members if x.ndim == 3 else of_members.sum(axis=0)
        np.testing.assert_allclose(d_x, expected, rtol=1e-13)
        sums = np.stack([(d_scaled[k] * rows[k]).sum(axis=0) for k in range(3)])
        np.testing.assert_allclose(d_scale, sums, rtol=1e-12, atol=1e-14)
    for x, w in ((own, weights), (own, weight), (shared, weights)):
        rows = [x[k] if x.ndim == 3 else x for k in range(3)]
        of_each = [w[k] if w.ndim == 3 else w for k in range(3)]
        products = np.stack([rows[k] @ of_each[k] for k in range(3)])
        np.testing.assert_allclose(ops.member_product(x, w), products, rtol=1e-12, atol=1e-14)
        d_x, d_w = ops.member_product_backward(d_out, x, w)
        d_rows = np.stack([d_out[k] @ of_each[k].T for k in range(3)])
        d_each = np.stack([rows[k].T @ d_out[k] for k in range(3)])
        expected = d_rows if x.ndim == 3 else d_rows.sum(axis=0)
        np.testing.assert_allclose(d_x, expected, rtol=1e-12, atol=1e-14)
        expected = d_each if w.ndim == 3 else d_each.sum(axis=0)
        np.testing.assert_allclose(d_w, expected, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(ops.member_product(shared, weight), shared @ weight)
    d_x, d_w = ops.member_product_backward(d_out[0], shared, weight)
    np.testing.assert_allclose(d_x, d_out[0] @ weight.T)
    np.testing.assert_allclose(d_w, shared.T @ d_out[0])


def test_affine_maps_and_rows(rng: np.random.Generator) -> None:
    x, weight, bias, d_out = (rng.normal(size=size) for size in [(4, 3), (3, 2), 2, (4, 2)])
    np.testing.assert_allclose(
        ops.affine(x, weight, bias), np.einsum("ri,io->ro", x, weight) + bias
    )
    d_x, d_weight, d_bias = ops.affine_backward(d_out, x, weight)
    np.testing.assert_allclose(d_x, np.einsum("ro,io->ri", d_out, weight))
    np.testing.assert_allclose(d_weight, np.einsum("ri,ro->io", x, d_out))
    np.testing.assert_allclose(d_bias, d_out.sum(axis=0))
    np.testing.assert_array_equal(ops.gather(x, np.array([3, 0, 3])), x[[3, 0, 3]])
    np.testing.assert_array_equal(ops.bias_relu(d_out, bias), np.maximum(d_out + bias, 0))
