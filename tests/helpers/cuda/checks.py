"""What the tests of kernels share: drawing, running on the host, comparing with the reference in
float64.
"""

from typing import Any

import numpy as np
from xpnet_cupy import launches
from xpnet_cupy.operations import table

from helpers.cuda.host import HostLauncher, launching
from helpers.cuda.steps import LOSS_TOLERANCES, network, on_host
from xpnet import ops


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
    pair = on_host(network(launcher.dtype, widths=(8, 4)), launcher)
    losses = pair.step.loss(shifted(launcher, pair.X), pair.Y), pair.reference.loss(pair.X, pair.Y)
    np.testing.assert_allclose(*losses, rtol=LOSS_TOLERANCES[launcher.dtype])
