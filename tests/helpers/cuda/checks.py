"""What the tests of kernels and steps share: drawing, running on the host, comparing with the
reference.
"""

from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from xpnet_cupy import launches
from xpnet_cupy.operations import table
from xpnet_cupy.step import CudaStep
from xpnet_numpy import NumpyBackend

from helpers.cuda.host import HostLauncher, launching
from helpers.updates import rule_with_decay
from xpnet import ops
from xpnet.backend import BatchPart, NetworkSpec, UpdateRule
from xpnet.steps import ReferenceStep, weighted_epoch

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
LOSS_TOLERANCES = {"float32": 1e-5, "float64": 1e-12}
"""Relative difference of losses from those of the reference step."""


def assert_close(found: Any, wanted: Any, dtype: str, scale: Any = None) -> None:
    """Equal to the float64 answer up to 64 roundings of ``scale``, by default the largest value of
    a row.

    exp(x - max) turns one rounding of x - max, at most 40 here, into 40 of the result; sums are
    short trees. Where a difference cancels, such as softmax - label, the scale is that of its
    terms.
    """
    eps, rounds = np.finfo(dtype).eps, 64
    wanted = np.asarray(wanted, np.float64)
    finite = np.where(np.isfinite(wanted), np.abs(wanted), 0)
    if scale is None:
        scale = finite.max(axis=-1, keepdims=True, initial=0) if wanted.ndim else finite
    assert np.asarray(found).dtype == dtype and np.shape(found) == wanted.shape
    np.testing.assert_array_equal(np.isfinite(found), np.isfinite(wanted))
    np.testing.assert_array_equal(
        np.where(np.isfinite(wanted), 0, found), np.where(np.isfinite(wanted), 0, wanted)
    )
    error = np.abs(
        np.where(np.isfinite(wanted), found, 0) - np.where(np.isfinite(wanted), wanted, 0)
    )
    assert (error <= rounds * eps * scale + np.finfo(dtype).tiny).all(), (
        f"off by {error.max()} of {np.max(scale)}"
    )


def run(launcher: HostLauncher, name: str, *arrays: Any, **options: Any) -> tuple[Any, Any]:
    """A kernel's answer on guarded copies, and the reference's on the same numbers in float64."""
    wide = [a.astype(np.float64) if a is not None and a.dtype.kind == "f" else a for a in arrays]
    wanted = getattr(ops, name)(*wide, **options)
    copies = [None if a is None else launcher.xp.guarded(a) for a in arrays]
    found = table(launching(launcher))[name].launch(*copies, **options)
    if not name.endswith("update"):
        for copy, array in zip(copies, arrays, strict=True):
            np.testing.assert_array_equal(copy, array)  # inputs are left alone
    return found, wanted


def backward_bias(
    launcher: HostLauncher, d_out: Any, kept: Any, activation: str = "relu"
) -> tuple[Any, Any]:
    """The gradient through an activation and its sums of columns on guarded copies, and in
    float64.
    """
    found = launcher.xp.empty(kept.shape, kept.dtype), launcher.xp.empty(kept.shape[1:], kept.dtype)
    for launch in launches.backward_bias(
        launcher, activation, launcher.xp.guarded(d_out), launcher.xp.guarded(kept), *found
    ):
        launch()
    backward = getattr(ops, f"{activation}_backward")
    wanted = backward(d_out.astype(np.float64), kept.astype(np.float64))
    return found, (wanted, wanted.sum(axis=0))


def assert_row_losses(launcher: HostLauncher, logits: Any, labels: Any, dtype: str) -> None:
    """Cross-entropy adds each row's loss to what was there, and gives the reference's gradient."""
    xp = launcher.xp
    d_logits, row_loss = (
        xp.empty(logits.shape, dtype),
        xp.guarded(np.arange(len(logits), dtype=np.float64)),
    )
    batch = launches.LossBatch(labels.ndim == 1, xp.guarded(labels))
    launches.loss(
        launcher, "softmax_cross_entropy", xp.guarded(logits), batch, d_logits, row_loss
    )()
    wide = logits.astype(np.float64)
    for row in range(len(logits)):
        wanted, _ = ops.softmax_cross_entropy(wide[row : row + 1], labels[row : row + 1])
        np.testing.assert_allclose(row_loss[row] - row, wanted, rtol=64 * np.finfo(dtype).eps)
    assert_close(d_logits, ops.softmax_cross_entropy(wide, labels)[1], dtype, scale=1 / len(logits))


def draw(shape: tuple[int, ...], dtype: str, scale: float = 5) -> Any:
    return (np.random.default_rng(shape).standard_normal(shape) * scale).astype(dtype)


def shifted(launcher: HostLauncher, array: Any) -> Any:
    """A C-contiguous copy whose address no pack divides, as a slice of a user's array may have."""
    one_more = launcher.xp.guarded(np.concatenate([np.zeros(1, array.dtype), array.ravel()]))
    return one_more[1:].reshape(array.shape)


def assert_takes_any_address(launcher: HostLauncher) -> None:
    """Activations, updates and gathers of arrays that packs would divide, had they the address."""
    x, bias = draw((5, 8), launcher.dtype), draw((8,), launcher.dtype)
    kernels = table(launching(launcher))
    for relu, added in (("relu", ()), ("bias_relu", (bias,))):
        given = [shifted(launcher, array) for array in (x, *added)]
        wanted = getattr(ops, relu)(*(array.astype(np.float64) for array in (x, *added)))
        assert_close(kernels[relu].launch(*given), wanted, launcher.dtype)
    arrays = [draw((3, 8 + k), launcher.dtype)[:, :8] ** 2 for k in range(4)]
    wanted = ops.adam_update(*(a.astype(np.float64) for a in arrays), learning_rate=0.1, t=2)
    for which in range(4):
        given = [
            shifted(launcher, a) if k == which else launcher.xp.guarded(a)
            for k, a in enumerate(arrays)
        ]
        found = kernels["adam_update"].launch(*given, learning_rate=0.1, t=2)
        for one, other in zip(found, wanted, strict=True):
            assert_close(one, other, launcher.dtype)
    spec = NetworkSpec((8, 4), (), dtype=launcher.dtype)
    X, Y = data(spec, "indices")
    step, reference = both_steps(spec, launcher)
    losses = step.loss(shifted(launcher, X), Y), reference.loss(X, Y)
    np.testing.assert_allclose(*losses, rtol=LOSS_TOLERANCES[launcher.dtype])


class HostBackend(NumpyBackend):
    """NumPy arrays that lie between guards."""

    def __init__(self, xp: Any) -> None:
        self.xp = xp


def make(spec: NetworkSpec, launcher: HostLauncher) -> CudaStep:
    return CudaStep(spec, HostBackend(launcher.xp), launcher, nullcontext)


def both_steps(spec: NetworkSpec, launcher: HostLauncher) -> tuple[CudaStep, ReferenceStep]:
    """The compiled step on the host and the reference step, with the same parameters."""
    return with_reference(make(spec, launcher))


def with_reference(step: Any) -> tuple[Any, ReferenceStep]:
    """A step and the reference step of its network, with the same parameters."""
    reference = ReferenceStep(step.spec, NumpyBackend(), "")
    for one in (step, reference):
        one.params.update(weights(step.spec))
    return step, reference


def assert_same_arrays(arrays: Any, wanted: Any, rtol: float) -> None:
    """Equal arrays under the same names, up to roundings."""
    for name, array in wanted.items():
        np.testing.assert_allclose(arrays[name], array, rtol=rtol, atol=rtol, err_msg=name)


def weights(spec: NetworkSpec) -> dict[str, Any]:
    rng = np.random.default_rng(7)
    return {
        s.name: (rng.standard_normal(s.shape) / s.shape[0] ** 0.5).astype(spec.dtype)
        for s in spec.slots()
    }


def data(spec: NetworkSpec, form: str, rows: int = ROWS) -> tuple[Any, Any]:
    rng = np.random.default_rng(8)
    X = rng.standard_normal((rows, spec.widths[0])).astype(spec.dtype)
    indices = rng.integers(0, spec.widths[-1], rows)
    soft = rng.random((rows, spec.widths[-1]))
    Y = {
        "indices": indices,
        "one-hot": np.eye(spec.widths[-1], dtype=spec.dtype)[indices],
        "soft": (soft / soft.sum(1, keepdims=True)).astype(spec.dtype),
        "values": soft.astype(spec.dtype),
    }[form]
    return X, Y


def train(
    step: Any,
    X: Any,
    Y: Any,
    *,
    batch: int,
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


def assert_same_gradient(
    spec: NetworkSpec, launcher: HostLauncher, X: Any, Y: Any, **options: Any
) -> CudaStep:
    """Both steps, from the same weights: equal loss, penalty and gradients, and the same loss
    without gradients.
    """
    step, reference = both_steps(spec, launcher)
    rtol = 300 * float(np.finfo(spec.dtype).eps)
    found, wanted = (one.gradient(X, Y, **options) for one in (step, reference))
    np.testing.assert_allclose((found, step.penalty), (wanted, reference.penalty), rtol=rtol)
    for name in step.gradients:
        scale = np.abs(reference.gradients[name]).max()
        np.testing.assert_allclose(
            step.gradients[name], reference.gradients[name], rtol=rtol, atol=rtol * scale
        )
    return step


def assert_parts_agree(
    spec: NetworkSpec,
    launcher: HostLauncher,
    X: Any,
    Y: Any,
    weight: Any = None,
    *,
    placed: bool = False,
) -> None:
    """Batches of which a rank has more of one and less of another: gradients, then updates.

    placed : whether the rows of a part stand anywhere in their batch, in place of one after the
        other
    """
    step, reference = both_steps(spec, launcher)
    rows = np.split(
        np.random.default_rng(5).permutation(len(X)), [0, 9, 14, 16, 17]
    )  # the first in memory that is NaN
    of_batches = ((12.0, 0), (3.0, 5), (9.5, 3), (2.0, 1), (7.0, 0), (6.0, 8))
    parts = [BatchPart(total, first_row) for total, first_row in of_batches]
    if placed:
        places = [
            np.random.default_rng(k).permutation(20)[: len(own)] for k, own in enumerate(rows)
        ]
        parts = [replace(part, places=at) for part, at in zip(parts, places, strict=True)]
    rtol = 3e3 * float(np.finfo(spec.dtype).eps)
    for epoch in range(2):
        for indices, part in list(zip(rows, parts, strict=True))[:: 1 - 2 * epoch]:
            settings = {"sample_weight": weight, "rows": indices, "part": part}
            found, wanted = (one.gradient(X, Y, **settings) for one in (step, reference))
            np.testing.assert_allclose(
                (found, step.penalty), (wanted, reference.penalty), rtol=rtol, atol=rtol
            )
            for one in (step, reference):
                one.update(learning_rate=0.05)
    assert_same_arrays(step.params, reference.params, rtol)


def assert_agrees(
    spec: NetworkSpec, launcher: HostLauncher, X: Any, Y: Any, **options: Any
) -> None:
    """Both steps, from the same weights over the same batches: equal losses, parameters, buffers,
    outputs.
    """
    step, reference = both_steps(spec, launcher)
    # Rounding grows by a small factor a step through Adam's division; 9 steps stay within a few
    # thousand roundings.
    rtol = 3e3 * np.finfo(spec.dtype).eps
    with step.running(), reference.running():
        losses = [train(one, X, Y, **options) for one in (step, reference)]
    np.testing.assert_allclose(*losses, rtol=LOSS_TOLERANCES[spec.dtype])
    np.testing.assert_allclose(step.penalty, reference.penalty, rtol=rtol)
    found, wanted = step.state(), reference.state()
    assert found.t == wanted.t and found.buffers.keys() == wanted.buffers.keys()
    assert_same_arrays(found.params, wanted.params, rtol)
    for name, buffers in wanted.buffers.items():
        assert_same_arrays(found.buffers[name], buffers, rtol)
    np.testing.assert_allclose(step.forward(X), reference.forward(X), rtol=rtol, atol=rtol)


def assert_weighted_epochs_agree(
    spec: NetworkSpec, launcher: HostLauncher, *, weighted: bool, norm: float | None
) -> tuple[CudaStep, ReferenceStep]:
    """Batches count by their rows, those without weight change nothing, and gradients are scaled to
    a norm.
    """
    weight = np.random.default_rng(3).random(ROWS).astype(spec.dtype) if weighted else None
    if weight is not None:
        weight[:BATCH] = 0
    X, Y = data(spec, "indices")
    step, reference = both_steps(spec, launcher)
    rtol = 3e3 * float(np.finfo(spec.dtype).eps)
    for epoch in range(3):
        order = np.roll(np.arange(ROWS), -5 * epoch)  # the first batch has no weight, then the last
        settings: dict[str, Any] = {
            "learning_rate": 0.05,
            "batch_size": BATCH,
            "order": order,
            "sample_weight": weight,
        }
        found, wanted = (
            weighted_epoch(one, X, Y, max_grad_norm=norm, **settings) for one in (step, reference)
        )
        np.testing.assert_allclose((found, step.penalty), (wanted, reference.penalty), rtol=rtol)
    assert step.state().t == reference.state().t == (7 if weighted else 9)
    assert_same_arrays(step.params, reference.params, rtol)
    return step, reference


def assert_infers_in_blocks(launcher: HostLauncher) -> None:
    """Predictions and losses over several blocks of rows, the last one smaller."""
    spec = NetworkSpec((7, 6, 4), ("relu",), dtype=launcher.dtype)
    X, Y = data(spec, "indices")
    weight = np.random.default_rng(3).random(ROWS).astype(spec.dtype)
    step, reference = both_steps(spec, launcher)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("xpnet_cupy.plan.BLOCK_ROWS", 10)
        patch.setattr("xpnet_cupy.plan.BLOCK_BYTES", 0)
        rtol = 300 * float(np.finfo(spec.dtype).eps)
        np.testing.assert_allclose(step.forward(X), reference.forward(X), rtol=rtol)
        for given in (None, weight):
            found, wanted = (one.loss(X, Y, sample_weight=given) for one in (step, reference))
            np.testing.assert_allclose(found, wanted, rtol=rtol)
