"""Optimizers as a user names them: whole trainings against PyTorch's, and what is refused."""

import pickle
from dataclasses import replace

import numpy as np
import pytest

import xpnet
from xpnet.backend import UpdateRule
from xpnet.ops import UPDATES
from xpnet.ops.updates import UPDATE_RANGES
from xpnet.optimizers import (
    OPTIMIZERS,
    SGD,
    Adam,
    AdamW,
    Lion,
    update_rule,
)
from xpnet.optimizers.rules import Optimizer

PAIRS = {
    "sgd": ("SGD", {}),
    "momentum": ("SGD", {"momentum": 0.9}),
    "nesterov": ("SGD", {"momentum": 0.9, "nesterov": True}),
    "adam": ("Adam", {}),
    "adamw": ("AdamW", {"weight_decay": 1e-2}),
    "rmsprop": ("RMSprop", {}),
    "nadam": ("NAdam", {}),
}
OURS = {"momentum": SGD(momentum=0.9), "nesterov": SGD(momentum=0.9, nesterov=True)}


def test_a_name_is_an_instance_with_the_defaults():
    assert update_rule(None) == update_rule("sgd") == SGD().rule == UpdateRule()
    assert update_rule("adam") == Adam().rule
    assert update_rule("adamw") == AdamW().rule == AdamW(weight_decay=1e-2).rule
    assert update_rule("lion") == Lion().rule == UpdateRule("lion", beta2=0.99)
    assert [update_rule(rule).buffers for rule in ("sgd", SGD(0.9), "adam")] == [
        (),
        ("velocity",),
        ("m", "v"),
    ]


@pytest.mark.parametrize(
    ("make", "facts"),
    [
        (lambda: update_rule("newton"), ["optimizer", "newton", *OPTIMIZERS]),
        (lambda: SGD(momentum=1.0), ["momentum", "1.0"]),
        (lambda: SGD(nesterov=True), ["momentum", "nesterov"]),
        (lambda: Adam(beta2=-0.1), ["beta2", "-0.1"]),
        (lambda: Adam(epsilon=0.0), ["epsilon", "0.0"]),
        (lambda: AdamW(weight_decay=-1.0), ["weight_decay", "-1.0"]),
        (lambda: AdamW(weight_decay=float("nan")), ["weight_decay", "nan"]),
        (lambda: UpdateRule("newton"), ["newton", *UPDATES]),
    ],
)
def test_numbers_out_of_range_are_refused(make, facts):
    with pytest.raises(xpnet.InputError) as caught:
        make()
    for fact in facts:
        assert fact in str(caught.value)


def test_a_rule_has_no_other_numbers():
    with pytest.raises(TypeError, match="gamma"):
        UpdateRule("adam", gamma=1.0)


def test_numbers_out_of_range_are_refused_by_every_optimizer():
    for optimizer in OPTIMIZERS.values():
        for name in set(optimizer.numbers()) & set(UPDATE_RANGES):
            for number in (-1.0, float("nan")):
                with pytest.raises(xpnet.InputError, match=name):
                    optimizer(**{name: number})


def test_the_defaults_of_an_optimizer_are_those_of_its_update():
    for name in UPDATES:
        defaults = vars(OPTIMIZERS[name]())
        assert defaults == {k: v for k, v in UPDATES[name].numbers.items() if k in defaults}


def test_every_optimizer_is_exported_and_has_an_update():
    assert {optimizer.update for optimizer in OPTIMIZERS.values()} == set(UPDATES)
    for optimizer in OPTIMIZERS.values():
        assert getattr(xpnet, optimizer.__name__) is optimizer
        assert set(optimizer.numbers()) <= set(UPDATES[optimizer.update].numbers)
        rule = optimizer().rule
        assert rule == UpdateRule(optimizer.update, **vars(optimizer()))


def test_rules_are_copied_and_pickled():
    rule = Lion(weight_decay=0.2).rule
    assert replace(rule, beta1=0.5) == Lion(beta1=0.5, weight_decay=0.2).rule
    assert pickle.loads(pickle.dumps(rule)) == rule


DEFAULTS = {
    "sgd": {"momentum": 0.0, "nesterov": False},
    "adam": {"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8},
    "adamw": {"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8, "weight_decay": 0.01},
    "rmsprop": {"beta2": 0.99, "epsilon": 1e-8, "weight_decay": 0.0},
    "nadam": {"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8, "weight_decay": 0.0},
    "lion": {"beta1": 0.9, "beta2": 0.99, "weight_decay": 0.0},
}


def test_the_defaults_are_those_of_the_documentation():
    for name, defaults in DEFAULTS.items():
        assert vars(OPTIMIZERS[name]()) == defaults
        assert OPTIMIZERS[name].numbers() == tuple(defaults)
    assert Optimizer.numbers() == ()


@pytest.mark.parametrize("momentum", [-1e-9, 1.0, 1.5])
def test_the_range_of_the_momentum(momentum):
    with pytest.raises(xpnet.InputError, match="momentum"):
        SGD(momentum=momentum)
    assert SGD(momentum=0.999).rule.momentum == 0.999
    assert SGD(momentum=1e-9, nesterov=True).rule.nesterov is True


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
