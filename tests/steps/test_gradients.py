"""The reference step's gradients against PyTorch's autograd, for each activation, loss, penalty and
weight.
"""

from dataclasses import replace

import numpy as np
import pytest
from helpers.oracles import pytorch_activations, pytorch_row_losses
from helpers.pairs import KINDS, activation_and_loss_pairs

from xpnet.backend import NetworkSpec
from xpnet.dispatch import get_backend
from xpnet.ops import ACTIVATIONS
from xpnet.steps import make_step

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
THEIRS = pytorch_activations()
NUMBERS = {
    "huber": (0.5,),
    "quantile": (0.1, 0.5, 0.9),
    "tweedie": (1.4,),
    "multi_softmax_cross_entropy": (0, 0, 1),
}


def test_the_kinds_differ_in_what_a_gradient_reads():
    assert [ACTIVATIONS[name].keeps for name in KINDS] == ["out", "x"]


@pytest.mark.parametrize(("activation", "loss"), activation_and_loss_pairs(), ids=str)
def test_gradient(activation, loss, rng):
    for backend, weighted in (("numpy", False), ("numpy", True), ("numba", True)):
        check_gradient(activation, loss, weighted, backend, rng)


def check_gradient(activation, loss, weighted, backend, rng):
    """Require PyTorch's loss, penalty and gradients of a network with two hidden layers."""
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
    hidden = THEIRS[activation](torch.tensor(X) @ leaves["W1"] + leaves["b1"])
    outputs = torch.tanh(hidden @ leaves["W2"] + leaves["b2"]) @ leaves["W3"] + leaves["b3"]
    w = torch.tensor(weight if weighted else np.ones(9))
    penalty = sum((leaves[n] ** 2).sum() for n in ("W1", "W2", "W3")) * 0.05 / w.sum()
    expected = (
        pytorch_row_losses(loss, outputs, torch.tensor(Y), numbers) * w
    ).sum() / w.sum() + penalty
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
