"""Losses and their gradients against PyTorch's autograd, and against SciPy where there is no
PyTorch.
"""

from functools import partial

import numpy as np
import pytest
import scipy.special
from helpers.cases import each_case
from helpers.libraries import ALL
from helpers.oracles import pytorch_row_losses
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from xpnet import ops
from xpnet.backend.spec import OUTPUT_ACTIVATIONS as LOSSES
from xpnet.dispatch import choose
from xpnet.ops.losses import EACH_ROW

shapes = st.tuples(st.integers(1, 9), st.sampled_from([1, 2, 3, 10, 33, 1000]))


def soft_labels(rng, shape):
    labels = rng.uniform(size=shape)
    return labels / labels.sum(axis=1, keepdims=True)


@given(shape=shapes, seed=st.integers(0, 2**32 - 1), spread=st.sampled_from([1.0, 30.0, 1e4]))
def test_softmax_cross_entropy_is_what_scipy_says(shape, seed, spread):
    rng = np.random.default_rng(seed)
    logits, labels = spread * rng.uniform(-1, 1, shape), soft_labels(rng, shape)
    loss, d_logits = ops.softmax_cross_entropy(logits, labels)
    log_p = scipy.special.log_softmax(logits, axis=1)
    expected = -(labels * log_p).sum(axis=1).mean()
    # Both sum up to 1000 terms of the logits' size in float64.
    assert abs(float(loss) - expected) <= 1e-12 * max(1.0, spread)
    np.testing.assert_allclose(d_logits, (np.exp(log_p) - labels) / shape[0], atol=1e-14)


def test_label_forms_agree(library, rng, dtype):
    logits, indices = rng.normal(size=(6, 5)).astype(dtype), rng.integers(0, 5, 6)
    one_hot = np.eye(5, dtype=dtype)[indices]
    run = choose(library.make(logits), backend=library.backend).ops.softmax_cross_entropy
    by_index, by_row = (
        run(library.make(logits), library.make(indices)),
        run(library.make(logits), library.make(one_hot)),
    )
    assert float(by_index[0]) == pytest.approx(float(by_row[0]), rel=1e-6)
    np.testing.assert_allclose(
        library.numpy(by_index[1]), library.numpy(by_row[1]), rtol=1e-5, atol=1e-7
    )
    assert by_index[1].dtype == library.make(logits).dtype


NUMBERS = {
    "huber": {"delta": 0.7},
    "quantile": {"quantile": [0.1, 0.5, 0.9, 0.3]},
    "tweedie": {"power": 1.3},
    "multi_softmax_cross_entropy": {"target": [0, 1, 1, 1]},
}


@each_case("name", LOSSES)
@each_case("weighted", [False, True])
def test_gradients_are_pytorchs(name, weighted, rng):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    outputs, targets = rng.normal(size=(7, 4)), soft_labels(rng, (7, 4))
    weight, numbers = rng.uniform(size=7) if weighted else np.ones(7), NUMBERS.get(name, {})
    z = torch.tensor(outputs, requires_grad=True)
    losses = pytorch_row_losses(name, z, torch.tensor(targets), np.ravel([*numbers.values()]))
    expected = (losses * torch.tensor(weight)).sum() / weight.sum()
    expected.backward()
    loss, gradient = getattr(ops, name)(outputs, targets, weight if weighted else None, **numbers)
    assert float(loss) == pytest.approx(expected.item(), rel=1e-12)
    np.testing.assert_allclose(gradient, z.grad.numpy(), rtol=1e-10, atol=1e-14)


@each_case("name", LOSSES)
def test_losses_of_rows_are_pytorchs(name, rng):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    outputs, targets = rng.normal(size=(7, 4)), soft_labels(rng, (7, 4))
    numbers = NUMBERS.get(name, {})
    parts = torch.tensor(outputs), torch.tensor(targets)
    expected = pytorch_row_losses(name, *parts, np.ravel([*numbers.values()]))
    losses, _ = getattr(ops, name)(outputs, targets, EACH_ROW, **numbers)
    np.testing.assert_allclose(losses, expected.numpy(), rtol=1e-12)


@each_case(
    ("name", "theirs"),
    [
        ("absolute_error", metrics.mean_absolute_error),
        ("quantile", partial(metrics.mean_pinball_loss, alpha=0.9)),
        (
            "poisson",
            lambda y, mean, **options: metrics.mean_poisson_deviance(y, mean, **options) / 2,
        ),
        ("gamma", lambda y, mean, **options: metrics.mean_gamma_deviance(y, mean, **options) / 2),
        (
            "tweedie",
            lambda y, mean, **options: (
                metrics.mean_tweedie_deviance(y, mean, power=1.3, **options) / 2
            ),
        ),
    ],
)
def test_losses_are_scikit_learns(name, theirs, rng):
    """Deviances are halved, and taken of logarithms of means."""
    outputs, targets, weight = (
        rng.normal(size=(50, 1)),
        rng.gamma(2, size=(50, 1)),
        rng.uniform(size=50),
    )
    numbers = {"quantile": {"quantile": 0.9}}.get(name, NUMBERS.get(name, {}))
    loss, _ = getattr(ops, name)(outputs, targets, weight, **numbers)
    predicted = np.exp(outputs) if name in ("poisson", "gamma", "tweedie") else outputs
    assert float(loss) == pytest.approx(theirs(targets, predicted, sample_weight=weight), rel=1e-12)


@each_case("name", [name for name in LOSSES if name != "softmax_cross_entropy"])
def test_a_loss_shows_nan_in_its_row_alone(name):
    outputs = np.array([[1.0, 1.0], [np.nan, 1.0]])
    loss, d_outputs = getattr(ops, name)(outputs, np.ones((2, 2)))
    assert np.isnan(loss) and np.isnan(d_outputs[1, 0]) and np.isfinite(d_outputs[0, 0])


def test_tweedie_takes_targets_of_zero():
    loss, d_outputs = ops.tweedie(np.array([[0.5]]), np.zeros((1, 1)), power=1.3)
    assert float(loss) == pytest.approx(
        metrics.mean_tweedie_deviance([0.0], [np.exp(0.5)], power=1.3) / 2
    )
    assert d_outputs[0, 0] == pytest.approx(np.exp(0.35))


def test_logits_of_minus_infinity_count_nothing_where_the_label_is_zero():
    logits = np.array([[0.0, -np.inf, 1.0]])
    loss, d_logits = ops.softmax_cross_entropy(logits, np.array([2]))
    assert float(loss) == pytest.approx(np.log(1 + np.exp(-1)))
    assert d_logits[0, 1] == 0


@pytest.mark.parametrize(
    "library", [library for library in ALL if library.backend], ids=lambda library: library.name
)
def test_nan_is_never_hidden(library):
    run = choose(backend=library.backend).ops
    logits = np.array([[0.0, 1.0], [np.nan, 0.0]])
    loss, d_logits = run.softmax_cross_entropy(logits, np.array([0, 1]))
    assert np.isnan(loss) and np.isnan(d_logits[1]).all() and np.isfinite(d_logits[0]).all()
    assert np.isnan(run.relu(np.array([np.nan]))).all()
    assert np.isnan(run.relu_backward(np.array([np.nan]), np.array([1.0]))).all()
