"""Optimizers as a user names them: whole trainings against PyTorch's, and what is refused."""

import numpy as np
import pytest

import xpnet
from xpnet.backend import UpdateRule
from xpnet.optimizers import SGD, Adam, AdamW, update_rule

PAIRS = {
    "sgd": ("SGD", {}),
    "momentum": ("SGD", {"momentum": 0.9}),
    "nesterov": ("SGD", {"momentum": 0.9, "nesterov": True}),
    "adam": ("Adam", {}),
    "adamw": ("AdamW", {"weight_decay": 1e-2}),
}
OURS = {"momentum": SGD(momentum=0.9), "nesterov": SGD(momentum=0.9, nesterov=True)}


@pytest.mark.parametrize("name", PAIRS)
def test_trainings_are_pytorchs(name, blobs, backend_name):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    X, y = blobs
    model = xpnet.LogisticRegression(
        7, 4, 0.05, optimizer=OURS.get(name, name), backend=backend_name
    )
    names = list(model.params)
    layer = torch.nn.Linear(7, 4, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(np.asarray(model.params[names[0]]).T))
        layer.bias.copy_(torch.tensor(np.asarray(model.params[names[1]])))
    kind, settings = PAIRS[name]
    optimizer = getattr(torch.optim, kind)(layer.parameters(), lr=0.05, **settings)
    for _ in range(20):
        model.step(X, y)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(layer(torch.tensor(X)), torch.tensor(y)).backward()
        optimizer.step()
    np.testing.assert_allclose(
        model.params[names[0]], layer.weight.detach().numpy().T, rtol=1e-6, atol=1e-9
    )


@pytest.fixture(params=["numpy", "numba"])
def backend_name(request):
    """The backends of NumPy's arrays."""
    return request.param


def test_a_name_is_an_instance_with_the_defaults():
    assert update_rule(None) == update_rule("sgd") == SGD().rule == UpdateRule()
    assert update_rule("adam") == Adam().rule
    assert update_rule("adamw") == AdamW().rule == AdamW(weight_decay=1e-2).rule
    assert [update_rule(rule).buffers for rule in ("sgd", SGD(0.9), "adam")] == [
        (),
        ("velocity",),
        ("m", "v"),
    ]


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: update_rule("adagrad"), "one of sgd, adam, adamw"),
        (lambda: SGD(momentum=1.0), r"momentum lies in \[0, 1\)"),
        (lambda: SGD(nesterov=True), "needs a momentum greater than 0"),
        (lambda: Adam(beta2=-0.1), "beta2 lies in"),
        (lambda: Adam(epsilon=0.0), "epsilon"),
        (lambda: AdamW(weight_decay=-1.0), "weight_decay is not negative"),
        (lambda: AdamW(weight_decay=float("nan")), "weight_decay is not negative"),
    ],
)
def test_numbers_out_of_range_are_refused(make, sentence):
    with pytest.raises(xpnet.InputError, match=sentence):
        make()
