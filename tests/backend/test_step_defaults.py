"""A step that writes only what it must: what it has from the base class, and what generic functions
compute with it.
"""

from functools import partial
from typing import Any

import numpy as np
import pytest

import xpnet
from xpnet.backend import NetworkSpec, Step, UpdateRule
from xpnet.backend.spec import Loss
from xpnet.optimizers import Constant
from xpnet.steps import ReferenceStep, forward_finite, make_step, weighted_epoch
from xpnet.training import InMemory, LabeledRows, TimeLimit, train

RNG = np.random.default_rng(0)
X, LABELS, WEIGHTS = RNG.normal(size=(30, 5)), RNG.integers(0, 3, 30), RNG.random(30)


def network(loss: Loss = "softmax_cross_entropy") -> NetworkSpec:
    return NetworkSpec((5, 4, 3), ("tanh",), loss=loss, l2=0.1, rule=UpdateRule("adam"))


def values() -> dict[str, Any]:
    stream = np.random.default_rng(1)
    return {slot.name: stream.normal(size=slot.shape) for slot in network().slots()}


def made(kind: str, spec: NetworkSpec | None = None) -> Step:
    spec, backend = spec or network(), xpnet.get_backend("numba" if kind == "compiled" else "numpy")
    steps = {
        "plain": Plain,
        "reference": lambda s: ReferenceStep(s, backend, ""),
    }
    step: Step = make_step(spec, backend) if kind == "compiled" else steps[kind](spec)
    step.params.update(values())
    return step


class Plain(Step):
    """A step that writes only what is abstract."""

    def __init__(self, spec: NetworkSpec) -> None:
        self._step = ReferenceStep(spec, xpnet.get_backend("numpy"), "")
        self.spec, self.params = spec, self._step.params

    @property
    def gradients(self) -> Any:
        return self._step.gradients

    @property
    def why(self) -> str:
        return "a step of the tests"

    def epoch(self, *data: Any, **settings: Any) -> float:
        return self._step.epoch(*data, **settings)

    def forward(self, X: Any) -> Any:
        return self._step.forward(X)

    def loss(self, *data: Any, **settings: Any) -> float:
        loss, self.penalty = self._step.loss(*data, **settings), self._step.penalty
        return loss

    def gradient(self, *data: Any, **settings: Any) -> float:
        loss, self.penalty = self._step.gradient(*data, **settings), self._step.penalty
        return loss

    def update(self, *, learning_rate: float) -> None:
        self._step.update(learning_rate=learning_rate)

    def state(self) -> Any:
        return self._step.state()

    def load_state(self, state: Any) -> None:
        self._step.load_state(state)


def test_a_step_must_write_the_abstract_methods() -> None:
    with pytest.raises(TypeError, match="abstract"):
        Step()  # type: ignore[abstract]


@pytest.mark.parametrize("trained", [0, 2], ids=["before the first update", "after updates"])
@pytest.mark.parametrize("kind", ["plain", "reference", "compiled"])
def test_a_snapshot_puts_everything_back(kind: str, trained: int) -> None:
    step, twin = made(kind), made(kind)
    settings: dict[str, Any] = {"learning_rate": 0.1, "batch_size": 8}
    for _ in range(trained):
        step.epoch(X, LABELS, **settings), twin.epoch(X, LABELS, **settings)
    for _ in range(2):  # the second one uses the memory of the first
        restore = step.snapshot()
        step.epoch(X, LABELS, **settings)
        restore()
    assert step.epoch(X, LABELS, **settings) == twin.epoch(X, LABELS, **settings)
    found, wanted = step.state(), twin.state()
    assert found.t == wanted.t
    np.testing.assert_equal(found.params, wanted.params)
    np.testing.assert_equal(found.buffers, wanted.buffers)


@pytest.mark.parametrize("max_grad_norm", [None, 0.01], ids=["unclipped", "clipped"])
@pytest.mark.parametrize(
    "weights",
    [WEIGHTS, np.repeat([0.0, 1.0], [8, 22]), None],
    ids=["weights", "a batch of zeros", "none"],
)
@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "squared_error"])
def test_weighted_epochs_are_those_of_the_compiled_step(
    loss: Loss, weights: Any, max_grad_norm: float | None
) -> None:
    targets = LABELS if loss == "softmax_cross_entropy" else RNG.normal(size=(30, 3))
    steps = [made(kind, network(loss)) for kind in ("plain", "reference", "compiled")]
    settings: dict[str, Any] = {
        "learning_rate": 0.1,
        "batch_size": 8,
        "sample_weight": weights,
        "max_grad_norm": max_grad_norm,
    }
    found = [
        (weighted_epoch(step, X, targets, order=np.arange(30), **settings), step.penalty)
        for step in steps
    ]
    np.testing.assert_allclose(found, [found[0]] * 3, rtol=1e-12)
    for step in steps:
        np.testing.assert_allclose(step.params["W1"], steps[0].params["W1"], rtol=1e-10)


@pytest.mark.parametrize("kind", ["plain", "reference", "compiled"])
def test_predictions_that_look_for_nan(kind: str) -> None:
    step, rows = made(kind), np.tile(X, (400, 1))
    np.testing.assert_allclose(forward_finite(step, rows), step.forward(rows), rtol=1e-14)
    rows[-1, -1] = np.nan
    assert forward_finite(step, rows) is None


def test_a_network_trains_with_a_step_that_has_no_ability() -> None:
    """Weights, clipping and a callback need no ability of the step."""
    losses = []
    for step in (made("plain"), made("reference")):
        batches = InMemory(
            LabeledRows(X, LABELS, WEIGHTS),
            batch_size=8,
            rng=np.random.default_rng(3),
            run_epoch=partial(weighted_epoch, max_grad_norm=0.05),
        )
        history = train(step, batches, epochs=3, schedule=Constant(0.1), callbacks=[TimeLimit(60)])
        losses.append(history.loss)
    assert losses[0] == losses[1]
