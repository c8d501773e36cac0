"""What the tests of steps share: networks and their rows, a step beside the reference step, and the
comparison of both.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pytest
from xpnet_cupy.step import CudaStep
from xpnet_numpy import NumpyBackend

from helpers.cuda.host import HostLauncher
from helpers.updates import rule_with_decay
from xpnet import ops
from xpnet.backend import BatchPart, NetworkSpec, UpdateRule
from xpnet.steps import ReferenceStep, weighted_epoch

T = TypeVar("T")

RULES = {
    "sgd": UpdateRule(),
    "momentum": UpdateRule(momentum=0.9),
    "nesterov": UpdateRule(momentum=0.9, nesterov=True),
    "adam": UpdateRule("adam"),
    "adam, epsilon hat": UpdateRule("adam", beta1=0.8, epsilon=1e-3, epsilon_hat=True),
    "adamw": UpdateRule("adam", weight_decay=0.05),
}
RULES |= {name: rule_with_decay(name) for name in ops.UPDATES if name not in RULES}
ROWS, BATCH, EPOCHS = 23, 9, 3
"""Numbers of rows of the data and of a batch, and of epochs of a training."""

ROW_WEIGHTS = np.random.default_rng(3).random(ROWS)
"""Weights of the rows."""

LOSS_TOLERANCES = {"float32": 1e-5, "float64": 1e-12}
"""Relative difference of losses from those of the reference step."""


def gradient_tolerance(dtype: str) -> float:
    """Return 300 roundings: a few sums of 23 terms forward and back, and exponentials, which
    multiply a rounding by the size of their argument, here below 10.
    """
    return 300 * float(np.finfo(dtype).eps)


def training_tolerance(dtype: str) -> float:
    """Return 3,000 roundings: they grow by a small factor a step through Adam's division, for the
    9 steps of a training.
    """
    return 3e3 * float(np.finfo(dtype).eps)


# --- Networks and rows


def network(dtype: str = "float64", **settings: Any) -> NetworkSpec:
    """Return a network of hidden layers of ReLU, by default of one of six units.

    settings : fields of the specification
    """
    widths = settings.setdefault("widths", (7, 6, 4))
    settings.setdefault("activations", ("relu",) * (len(widths) - 2))
    return NetworkSpec(dtype=dtype, **settings)


def weights(spec: NetworkSpec) -> dict[str, Any]:
    """Return random parameters, each scaled by the number of its inputs."""
    rng = np.random.default_rng(7)
    return {
        s.name: (rng.standard_normal(s.shape) / s.shape[0] ** 0.5).astype(spec.dtype)
        for s in spec.slots()
    }


def data(spec: NetworkSpec, labels: str = "", rows: int = ROWS) -> tuple[Any, Any]:
    """Return inputs and labels.

    labels : ``indices``, ``one-hot``, ``soft`` or ``values``; by default the loss decides between
        the first and the last
    """
    rng = np.random.default_rng(8)
    X = rng.standard_normal((rows, spec.widths[0])).astype(spec.dtype)
    indices = rng.integers(0, spec.widths[-1], rows)
    soft = rng.random((rows, spec.widths[-1]))
    Y = {
        "indices": indices,
        "one-hot": np.eye(spec.widths[-1], dtype=spec.dtype)[indices],
        "soft": (soft / soft.sum(1, keepdims=True)).astype(spec.dtype),
        "values": soft.astype(spec.dtype),
    }[labels or ("indices" if spec.loss == "softmax_cross_entropy" else "values")]
    return X, Y


# --- Steps


class HostBackend(NumpyBackend):
    """NumPy arrays that lie between guards."""

    def __init__(self, xp: Any) -> None:
        self.xp = xp


def make(spec: NetworkSpec, launcher: HostLauncher) -> CudaStep:
    """Return the compiled step on the host, with the tests' parameters."""
    step = CudaStep(spec, HostBackend(launcher.xp), launcher, nullcontext)
    step.params.update(weights(spec))
    return step


class Pair(NamedTuple):
    """A compiled step and the reference step of its network, with the same parameters and the same
    rows.

    X, Y : as the step reads them; host_X, host_Y : as the reference step does
    """

    step: Any
    reference: ReferenceStep
    X: Any
    Y: Any
    host_X: Any
    host_Y: Any

    def both(self, use: Callable[[Any, Any, Any], T]) -> tuple[T, T]:
        """Return what a use of a step and its rows returns, for the step and for the reference."""
        return (
            use(self.step, self.X, self.Y),
            use(self.reference, self.host_X, self.host_Y),
        )

    def assert_predicts(self, rtol: float = 1e-12, atol: float = 0.0) -> None:
        """The step predicts as the reference step."""
        outputs, wanted = self.both(lambda step, X, _: step.forward(X))
        outputs = self.step.backend.to_numpy(outputs)
        np.testing.assert_allclose(outputs, wanted, rtol=rtol, atol=atol)


def pair_of(step: Any, bring: Callable[[Any], Any], X: Any, Y: Any) -> Pair:
    """Return a step beside the reference step.

    bring : returns an array of the host as the step reads it
    """
    return Pair(*with_reference(step), bring(X), bring(Y), X, Y)


def with_reference(step: Any) -> tuple[Any, ReferenceStep]:
    """Return a step and the reference step of its network, with the same parameters."""
    reference = ReferenceStep(step.spec, NumpyBackend(), "")
    for one in (step, reference):
        one.params.update(weights(step.spec))
    return step, reference


def on_host(spec: NetworkSpec, launcher: HostLauncher, labels: str = "", rows: int = ROWS) -> Pair:
    """Return the compiled step on the host beside the reference step."""
    return pair_of(make(spec, launcher), lambda array: array, *data(spec, labels, rows))


@contextmanager
def blocks_of(rows: int) -> Iterator[None]:
    """Have predictions and losses take blocks of so many rows, of all members together."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("xpnet_cupy.plan.BLOCK_ROWS", rows)
        patch.setattr("xpnet_cupy.plan.BLOCK_BYTES", 0)
        yield


def train(
    step: Any,
    X: Any,
    Y: Any,
    *,
    batch: int = BATCH,
    weight: Any = None,
    shuffled: bool = True,
    own_orders: bool = False,
    rows: int = 0,
) -> list[float]:
    """The losses of a few epochs.

    own_orders : whether each member has an order of its own; rows : of all ranks, where X has those
        of one
    """
    rng, losses = np.random.default_rng(9), []
    for epoch in range(EPOCHS):
        order = rng.permutation(rows or len(X)) if shuffled else None
        if own_orders:
            order = np.stack([rng.permutation(len(X)) for _ in range(step.spec.members)])
        options = {
            "learning_rate": 0.05 / (1 + epoch),
            "batch_size": batch,
            "order": order,
            "sample_weight": weight,
        }
        losses.append(step.epoch(X, Y, **options))
    return losses


# --- Comparisons


def assert_same_arrays(arrays: Any, wanted: Any, rtol: float) -> None:
    """Equal arrays under the same names, up to roundings."""
    for name, array in wanted.items():
        np.testing.assert_allclose(arrays[name], array, rtol=rtol, atol=rtol, err_msg=name)


def assert_same_gradients(step: Any, reference: ReferenceStep) -> None:
    """Equal gradients, up to roundings of the largest item of each array."""
    rtol = gradient_tolerance(step.spec.dtype)
    for name, wanted in reference.gradients.items():
        atol = rtol * np.abs(wanted).max()
        np.testing.assert_allclose(step.gradients[name], wanted, rtol=rtol, atol=atol, err_msg=name)


def assert_same_gradient(
    spec: NetworkSpec, launcher: HostLauncher, count: int = ROWS, **options: Any
) -> None:
    """Both steps, from the same weights: equal loss, penalty and gradients.

    count : number of rows of the data; options : of `gradient`
    """
    pair = on_host(spec, launcher, rows=count)
    loss, wanted = pair.both(lambda step, X, Y: step.gradient(X, Y, **options))
    np.testing.assert_allclose(
        (loss, pair.step.penalty),
        (wanted, pair.reference.penalty),
        rtol=gradient_tolerance(spec.dtype),
    )
    assert_same_gradients(pair.step, pair.reference)


def assert_parts_agree(
    spec: NetworkSpec,
    launcher: HostLauncher,
    *,
    labels: str = "",
    weight: Any = None,
    placed: bool = False,
) -> None:
    """Batches of which a rank has more of one and less of another: gradients, then updates. One of
    them has no rows.

    placed : whether the rows of a part stand anywhere in their batch, in place of one after the
        other
    """
    pair = on_host(spec, launcher, labels)
    rows = np.split(
        np.random.default_rng(5).permutation(ROWS), [0, 9, 14, 16, 17]
    )  # the first in memory that is NaN
    of_batches = ((12.0, 0), (3.0, 5), (9.5, 3), (2.0, 1), (7.0, 0), (6.0, 8))
    parts = [BatchPart(total, first_row) for total, first_row in of_batches]
    if placed:
        places = [
            np.random.default_rng(k).permutation(20)[: len(own)] for k, own in enumerate(rows)
        ]
        parts = [replace(part, places=at) for part, at in zip(parts, places, strict=True)]
    rtol = training_tolerance(spec.dtype)
    for epoch in range(2):
        for indices, part in list(zip(rows, parts, strict=True))[:: 1 - 2 * epoch]:
            settings = {"sample_weight": weight, "rows": indices, "part": part}
            loss, wanted = pair.both(lambda step, X, Y, s=settings: step.gradient(X, Y, **s))
            np.testing.assert_allclose(
                (loss, pair.step.penalty), (wanted, pair.reference.penalty), rtol=rtol, atol=rtol
            )
            pair.both(lambda step, X, Y: step.update(learning_rate=0.05))
    assert_same_arrays(pair.step.params, pair.reference.params, rtol)


def assert_agrees(
    spec: NetworkSpec,
    launcher: HostLauncher,
    *,
    labels: str = "",
    rows: int = ROWS,
    **options: Any,
) -> None:
    """Both steps, from the same weights over the same batches: equal losses, parameters, buffers,
    outputs.

    options : of `train`
    """
    pair = on_host(spec, launcher, labels, rows)
    step, reference = pair.step, pair.reference
    rtol = training_tolerance(spec.dtype)
    with step.running(), reference.running():
        losses = pair.both(lambda one, X, Y: train(one, X, Y, **options))
    np.testing.assert_allclose(*losses, rtol=LOSS_TOLERANCES[spec.dtype])
    np.testing.assert_allclose(step.penalty, reference.penalty, rtol=rtol)
    state, wanted = step.state(), reference.state()
    assert state.t == wanted.t and state.buffers.keys() == wanted.buffers.keys()
    assert_same_arrays(state.params, wanted.params, rtol)
    for name, buffers in wanted.buffers.items():
        assert_same_arrays(state.buffers[name], buffers, rtol)
    pair.assert_predicts(rtol, atol=rtol)


@dataclass(frozen=True)
class Training:
    """A network, and how it is trained.

    settings : of `network`; labels, rows : of `data`; batch, shuffled, own_orders : of `train`
    weight : of the rows, or None
    """

    settings: dict[str, Any] = field(default_factory=dict)
    labels: str = ""
    rows: int = ROWS
    batch: int = BATCH
    weight: Any = None
    shuffled: bool = True
    own_orders: bool = False

    def assert_agrees(self, launcher: HostLauncher, members: int = 1) -> None:
        """The compiled step trains as the reference step, in the launcher's dtype."""
        assert_agrees(
            network(launcher.dtype, members=members, **self.settings),
            launcher,
            labels=self.labels,
            rows=self.rows,
            batch=self.batch,
            weight=None if self.weight is None else self.weight.astype(launcher.dtype),
            shuffled=self.shuffled,
            own_orders=self.own_orders,
        )


def assert_weighted_epochs_agree(
    spec: NetworkSpec, launcher: HostLauncher, *, weighted: bool, norm: float | None
) -> tuple[CudaStep, ReferenceStep]:
    """Batches count by their rows, those without weight change nothing, and gradients are scaled to
    a norm.
    """
    weight = ROW_WEIGHTS.astype(spec.dtype) if weighted else None
    if weight is not None:
        weight[:BATCH] = 0
    pair = on_host(spec, launcher)
    step, reference = pair.step, pair.reference
    rtol = training_tolerance(spec.dtype)
    for epoch in range(3):
        settings: dict[str, Any] = {
            "learning_rate": 0.05,
            "batch_size": BATCH,
            # the first batch has no weight, then the last
            "order": np.roll(np.arange(ROWS), -5 * epoch),
            "sample_weight": weight,
            "max_grad_norm": norm,
        }
        loss, wanted = pair.both(lambda one, X, Y, s=settings: weighted_epoch(one, X, Y, **s))
        np.testing.assert_allclose((loss, step.penalty), (wanted, reference.penalty), rtol=rtol)
    assert step.state().t == reference.state().t == (7 if weighted else 9)
    assert_same_arrays(step.params, reference.params, rtol)
    return step, reference


def assert_infers_in_blocks(launcher: HostLauncher) -> None:
    """Predictions and losses over several blocks of rows, the last one smaller."""
    pair = on_host(network(launcher.dtype), launcher)
    rtol = gradient_tolerance(launcher.dtype)
    with blocks_of(10):
        pair.assert_predicts(rtol)
        for weight in (None, ROW_WEIGHTS.astype(launcher.dtype)):
            loss, wanted = pair.both(lambda step, X, Y, w=weight: step.loss(X, Y, sample_weight=w))
            np.testing.assert_allclose(loss, wanted, rtol=rtol)
