"""Updates against PyTorch's optimizers."""

import numpy as np
import pytest

from xpnet import ops

LEARNING_RATE = 0.05


def run_ours(update, gradients, start, buffers):
    param = start
    for t, grad in enumerate(gradients, start=1):
        param, *buffers = update(param, grad, *buffers, t)
    return param


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("SGD", {}),
        ("SGD", {"momentum": 0.9}),
        ("SGD", {"momentum": 0.9, "nesterov": True}),
        ("Adam", {}),
        ("AdamW", {"weight_decay": 0.1}),
    ],
    ids=str,
)
def test_updates_are_pytorchs(name, settings, rng):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    start, gradients = rng.normal(size=11), rng.normal(size=(20, 11))
    theirs = torch.nn.Parameter(torch.tensor(start))
    optimizer = getattr(torch.optim, name)([theirs], lr=LEARNING_RATE, **settings)
    for grad in gradients:
        theirs.grad = torch.tensor(grad)
        optimizer.step()
    if name == "SGD":
        velocity = np.zeros(11) if settings else None

        def update(param, grad, velocity, t):
            return ops.sgd_update(param, grad, velocity, learning_rate=LEARNING_RATE, **settings)

        ours = run_ours(update, gradients, start, [velocity])
    else:

        def update(param, grad, m, v, t):
            return ops.adam_update(param, grad, m, v, t=t, learning_rate=LEARNING_RATE, **settings)

        ours = run_ours(update, gradients, start, [np.zeros(11), np.zeros(11)])
    np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=1e-12, atol=1e-14)


def test_the_two_forms_of_epsilon_meet_where_gradients_are_large():
    arrays = np.ones(3), np.full(3, 1e6), np.zeros(3), np.zeros(3)
    plain, hat = (
        ops.adam_update(*arrays, t=1, learning_rate=0.1, epsilon_hat=form)[0]
        for form in (False, True)
    )
    np.testing.assert_allclose(plain, hat, rtol=1e-12)
