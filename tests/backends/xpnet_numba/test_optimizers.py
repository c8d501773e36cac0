"""Every optimizer in the compiled step, against the reference step."""

from itertools import product
from typing import Any

import numpy as np
import pytest
from xpnet_numba.step.step import compile_step
from xpnet_numpy import backend as numpy_backend

import xpnet
from xpnet.backend import NetworkSpec, UpdateRule
from xpnet.optimizers import OPTIMIZERS
from xpnet.steps import ReferenceStep

TOLERANCE = {"float64": 1e-12, "float32": 1e-5}

RULES = {
    **{name: optimizer().rule for name, optimizer in OPTIMIZERS.items()},
    "momentum": UpdateRule("sgd", momentum=0.9),
    "nesterov": UpdateRule("sgd", momentum=0.9, nesterov=True),
    "rmsprop, decay": UpdateRule("rmsprop", beta2=0.8, epsilon=1e-3, weight_decay=0.1),
    "nadam, decay": UpdateRule("nadam", beta1=0.5, beta2=0.9, weight_decay=0.1),
    "lion, decay": UpdateRule("lion", beta1=0.95, beta2=0.98, weight_decay=0.1),
}
NETWORKS: dict[str, dict[str, Any]] = {
    "one network": {"l2": 0.01},
    "members": {"members": 3, "dropout": (0.2,), "seed": 4},
}


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_trainings_are_the_reference_steps(
    rule: UpdateRule, rng: np.random.Generator, subtests: pytest.Subtests
) -> None:
    for network, dtype in product(NETWORKS, ["float32", "float64"]):
        with subtests.test(network=network, dtype=dtype):
            check_training(rule, NETWORKS[network], dtype, rng)


def check_training(
    rule: UpdateRule, settings: dict[str, Any], dtype: str, rng: np.random.Generator
) -> None:
    """Require the reference step's losses, parameters and buffers after four epochs."""
    spec = NetworkSpec((7, 9, 4), ("tanh",), rule=rule, dtype=dtype, **settings)
    compiled, reference = compile_step(spec), ReferenceStep(spec, numpy_backend, "")
    for name, array in compiled.params.items():
        values = rng.standard_normal(array.shape) / 2
        compiled.params[name] = reference.params[name] = values
    X, Y = rng.standard_normal((60, 7)).astype(dtype), rng.integers(0, 4, 60)
    for _ in range(4):
        losses = [
            step.epoch(X, Y, learning_rate=0.01, batch_size=25) for step in (compiled, reference)
        ]
        assert losses[0] == pytest.approx(losses[1], rel=TOLERANCE[dtype])
    one, other = compiled.state(), reference.state()
    assert one.t == other.t == 12 and list(one.buffers) == list(rule.buffers)
    arrays = {"params": (one.params, other.params)}
    arrays |= {name: (one.buffers[name], other.buffers[name]) for name in rule.buffers}
    for found, wanted in arrays.values():
        for name, array in wanted.items():
            np.testing.assert_allclose(found[name], array, rtol=0, atol=TOLERANCE[dtype])


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("solver", OPTIMIZERS)
def test_estimators_clip_gradients_and_agree(solver: str, rng: np.random.Generator) -> None:
    X, y = rng.standard_normal((120, 6)), rng.integers(0, 3, 120)
    common: dict[str, Any] = {"max_iter": 5, "random_state": 0, "max_grad_norm": 0.05}
    one, other = (
        xpnet.MLPClassifier(solver=solver, backend=backend, **common).fit(X, y)
        for backend in ("numba", "numpy")
    )
    for found, wanted in zip(one.coefs_, other.coefs_, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-12)
    if solver == "lion":  # reads signs, which clipping leaves
        return
    common.pop("max_grad_norm")
    whole = xpnet.MLPClassifier(solver=solver, backend="numba", **common).fit(X, y)
    assert np.abs(whole.coefs_[0] - one.coefs_[0]).max() > 1e-6
