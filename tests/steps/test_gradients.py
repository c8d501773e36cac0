"""The reference step's gradients against PyTorch's autograd, for every activation, loss, penalty and weight."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from helpers.oracles import pytorchs_activations

from xpnet.backend import NetworkSpec
from xpnet.dispatch import get_backend
from xpnet.steps import make_step

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
ACTIVATIONS = pytorchs_activations()
functional = torch.nn.functional
LOSSES = {
    "softmax_cross_entropy": lambda z, y: functional.cross_entropy(z, y, reduction="none"),
    "multi_softmax_cross_entropy": lambda z, y: (
        functional.cross_entropy(z[:, :2], y[:, :2], reduction="none")
        + functional.cross_entropy(z[:, 2:], y[:, 2:], reduction="none")
    ),
    "logistic_cross_entropy": lambda z, y: functional.binary_cross_entropy_with_logits(
        z, y, reduction="none"
    ).sum(1),
    "squared_error": lambda z, y: 0.5 * ((z - y) ** 2).sum(1),
    "poisson": lambda z, y: (torch.exp(z) - y + torch.xlogy(y, y) - y * z).sum(1),
    "absolute_error": lambda z, y: functional.l1_loss(z, y, reduction="none").sum(1),
    "huber": lambda z, y: functional.huber_loss(z, y, reduction="none", delta=0.5).sum(1),
    "quantile": lambda z, y: torch.maximum(LEVELS * (y - z), (LEVELS - 1) * (y - z)).sum(1),
    "gamma": lambda z, y: (z - torch.log(y) + y * torch.exp(-z) - 1).sum(1),
    "tweedie": lambda z, y: (
        y**0.6 / (-0.4 * 0.6) + y * torch.exp(-0.4 * z) / 0.4 + torch.exp(0.6 * z) / 0.6
    ).sum(1),
}
NUMBERS = {
    "huber": (0.5,),
    "quantile": (0.1, 0.5, 0.9),
    "tweedie": (1.4,),
    "multi_softmax_cross_entropy": (0, 0, 1),
}
LEVELS = torch.tensor(NUMBERS["quantile"], dtype=torch.float64)


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    ("activation", "loss"), list(itertools.product(ACTIVATIONS, LOSSES)), ids=str
)
def test_gradient(activation, loss, weighted, backend, rng):
    numbers = NUMBERS.get(loss, ())
    spec = NetworkSpec(
        (5, 4, 6, 3),
        (activation, "tanh"),
        loss=loss,
        l2=0.1,
        l2_over_batch=True,
        loss_numbers=numbers,
    )
    step = make_step(spec, get_backend(backend))
    values = {slot.name: rng.normal(size=slot.shape) for slot in spec.slots()}
    step.params.update(values)
    X, Y, weight = rng.normal(size=(9, 5)), rng.dirichlet(np.ones(3), 9), rng.uniform(size=9)
    found = step.gradient(X, Y, sample_weight=weight if weighted else None)
    leaves = {name: torch.tensor(value, requires_grad=True) for name, value in values.items()}
    hidden = ACTIVATIONS[activation](torch.tensor(X) @ leaves["W1"] + leaves["b1"])
    outputs = torch.tanh(hidden @ leaves["W2"] + leaves["b2"]) @ leaves["W3"] + leaves["b3"]
    w = torch.tensor(weight if weighted else np.ones(9))
    penalty = sum((leaves[n] ** 2).sum() for n in ("W1", "W2", "W3")) * 0.05 / w.sum()
    expected = (LOSSES[loss](outputs, torch.tensor(Y)) * w).sum() / w.sum() + penalty
    expected.backward()
    assert found == pytest.approx(expected.item(), rel=1e-12)
    assert step.penalty == pytest.approx(penalty.item(), rel=1e-12)
    for name, leaf in leaves.items():
        np.testing.assert_allclose(step.gradients[name], leaf.grad.numpy(), rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_probabilities_of_several_targets_are_a_softmax_for_each(members, dtype, rng):
    spec = NetworkSpec(
        (5, 4, 6), ("tanh",), loss="multi_softmax_cross_entropy", loss_numbers=(0, 0, 1, 2, 2, 2)
    )
    spec = replace(spec, members=members, dtype=dtype)
    steps = [make_step(spec, get_backend(backend)) for backend in ("numpy", "numba")]
    values = {
        slot.name: 20 * rng.normal(size=slot.shape) for slot in spec.slots()
    }  # whose logits need a shift
    X = rng.normal(size=(9, 5)).astype(dtype)
    for step in steps:
        step.params.update(values)
        found = step.forward(X)
        for target in (slice(0, 2), slice(2, 3), slice(3, 6)):
            np.testing.assert_allclose(found[:, target].sum(axis=1), 1, rtol=1e-6)
    close = {
        "rtol": 1e-4 if dtype == "float32" else 1e-10,
        "atol": 1e-30,
    }  # denormal numbers count as 0
    np.testing.assert_allclose(steps[0].forward(X), steps[1].forward(X), **close)
