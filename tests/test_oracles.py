"""The oracles of the tests: what is written out in NumPy is what PyTorch's functions and
derivatives give.
"""

import numpy as np
import pytest
from helpers import oracles

from xpnet.backend import UpdateRule
from xpnet.backend.spec import OUTPUT_ACTIVATIONS
from xpnet.ops import ACTIVATIONS

NUMBERS = {
    "huber": (0.5, 1.0, 2.0, 0.1),
    "quantile": (0.1, 0.5, 0.9, 0.3),
    "tweedie": (1.1, 1.5, 1.7, 1.9),
    "multi_softmax_cross_entropy": (0, 1, 1, 2),
}


def test_there_is_an_oracle_for_each_activation_and_loss() -> None:
    assert set(oracles.ACTIVATIONS) == set(ACTIVATIONS)
    assert set(oracles.LOSSES) == set(OUTPUT_ACTIVATIONS)


def test_activations_are_pytorchs(rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    theirs = oracles.pytorch_activations()
    assert set(theirs) == set(oracles.ACTIVATIONS)
    for name, plain in oracles.ACTIVATIONS.items():
        z = torch.tensor(4 * rng.normal(size=(30, 3)), requires_grad=True)
        expected = theirs[name](z)
        expected.sum().backward()
        value, slope = plain(z.detach().numpy())
        np.testing.assert_allclose(value, expected.detach().numpy(), 1e-12, 1e-14, err_msg=name)
        np.testing.assert_allclose(slope, z.grad.numpy(), 1e-11, 1e-14, err_msg=name)


@pytest.mark.parametrize("numbers", [{}, NUMBERS], ids=["default numbers", "a number each"])
def test_losses_are_pytorchs(numbers: dict, rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    assert set(oracles.pytorch_losses()) == set(oracles.LOSSES)
    for name in oracles.LOSSES:
        y, number = rng.dirichlet(np.ones(4), 30), numbers.get(name, ())
        z = torch.tensor(rng.normal(size=(30, 4)), requires_grad=True)
        expected = oracles.pytorch_row_losses(name, z, torch.tensor(y), number)
        expected.sum().backward()
        losses, gradient = oracles.row_losses(name, z.detach().numpy(), y, number)
        np.testing.assert_allclose(losses, expected.detach().numpy(), 1e-11, err_msg=name)
        np.testing.assert_allclose(gradient, z.grad.numpy(), 1e-10, 1e-14, err_msg=name)


@pytest.mark.parametrize(
    ("rule", "name", "settings"),
    [
        (UpdateRule(), "SGD", {}),
        (UpdateRule(momentum=0.9), "SGD", {"momentum": 0.9}),
        (UpdateRule(momentum=0.9, nesterov=True), "SGD", {"momentum": 0.9, "nesterov": True}),
        (UpdateRule("adam"), "Adam", {}),
        (UpdateRule("adam", weight_decay=0.1), "AdamW", {"weight_decay": 0.1}),
        (UpdateRule("rmsprop"), "RMSprop", {}),
        (UpdateRule("nadam"), "NAdam", {}),
    ],
    ids=str,
)
def test_updates_are_pytorchs(
    rule: UpdateRule, name: str, settings: dict, rng: np.random.Generator
) -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed")
    p, state = rng.normal(size=11), [np.zeros(11), np.zeros(11)]
    with oracles.pytorch_in_float64() as torch:
        theirs = torch.nn.Parameter(torch.tensor(p))
        optimizer = getattr(torch.optim, name)([theirs], lr=0.05, **settings)
        for t in range(1, 21):
            gradient = rng.normal(size=11)
            theirs.grad = torch.tensor(gradient)
            optimizer.step()
            oracles.UPDATES[rule.name].formula(rule, t, 0.05, p, gradient, state)
    np.testing.assert_allclose(p, theirs.detach().numpy(), 1e-11, 1e-13)
