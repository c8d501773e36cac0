"""Every kernel on the host, through the table the backend offers, against the reference in
float64.
"""

import inspect
import warnings
from itertools import product
from typing import Any

import numpy as np
import pytest
from helpers.cuda.checks import (
    assert_close,
    assert_row_losses,
    assert_takes_any_address,
    backward_bias,
    draw,
    run,
)
from helpers.cuda.host import HostLauncher, launching
from helpers.cuda.rig import needs_compiler
from helpers.updates import buffers_of, numbers_of
from xpnet_cupy import launches
from xpnet_cupy.backend import CupyBackend
from xpnet_cupy.launcher import ACTIVATIONS, LOSSES
from xpnet_cupy.memory import EpochMemory
from xpnet_cupy.operations import table

from xpnet import ops
from xpnet.backend import NetworkSpec, UpdateRule
from xpnet.backend.spec import LOSS_NUMBERS

pytestmark = needs_compiler

SHAPES = [(37, 1), (37, 10), (5, 33), (9, 100), (3, 1000), (2, 32000)]
FEW = [(37, 10), (5, 33), (1, 1), (3, 1000)]


def test_a_loss_without_a_kernel_is_the_references() -> None:
    names = set(table(lambda array: None))
    assert names >= set(LOSSES) and "multi_softmax_cross_entropy" not in names
    spec = NetworkSpec((3, 4), (), loss="multi_softmax_cross_entropy")
    backend = object.__new__(CupyBackend)
    assert "several targets" in str(CupyBackend.compile_step(backend, spec))
    spec = NetworkSpec((3, 4), (), loss="ordered_cross_entropy")
    assert "ordered classes" in str(CupyBackend.compile_step(backend, spec))
    spec = NetworkSpec((3, 4), (), loss="squared_error", monotonic=(1, 0, 0))
    assert "monotonic" in str(CupyBackend.compile_step(backend, spec))


def test_signatures_are_the_references() -> None:
    for name, kernel in table(lambda array: None).items():
        assert inspect.signature(kernel.launch) == inspect.signature(getattr(ops, name)), name


def test_softmax_is_the_references(
    launcher: HostLauncher, dtype: str, subtests: pytest.Subtests
) -> None:
    for shape in SHAPES:
        with subtests.test(shape=shape):
            assert_close(*run(launcher, "softmax", draw(shape, dtype)), dtype)


def test_softmax_along_another_axis_of_a_view(launcher: HostLauncher, dtype: str) -> None:
    x = draw((4, 12, 3), dtype)[:, ::2].transpose(2, 0, 1)
    found = table(launching(launcher))["softmax"].launch(x, axis=1)
    assert_close(found, ops.softmax(x.astype(np.float64), axis=1), dtype)


@pytest.mark.parametrize("cols", [10, 1000])
def test_each_row_keeps_its_own_loss(launcher: HostLauncher, cols: int, dtype: str) -> None:
    labels = np.array([3, 9, 0, 1, 3])
    for form in (labels, np.eye(cols, dtype=dtype)[labels]):
        assert_row_losses(launcher, draw((5, cols), dtype), form, dtype)


@pytest.mark.parametrize("form", ["indices", "int32", "one-hot", "soft"])
def test_softmax_cross_entropy_is_the_references(
    launcher: HostLauncher, form: str, dtype: str, subtests: pytest.Subtests
) -> None:
    for shape, weighted in product(SHAPES, [False, True]):
        with subtests.test(shape=shape, weighted=weighted):
            check_cross_entropy(launcher, shape, form, weighted, dtype)


def check_cross_entropy(
    launcher: HostLauncher, shape: tuple[int, int], form: str, weighted: bool, dtype: str
) -> None:
    """Require the reference's loss, and its gradient up to roundings of a row's share."""
    rng = np.random.default_rng(1)
    indices = rng.integers(0, shape[1], shape[0])
    labels = {
        "indices": indices,
        "int32": indices.astype(np.int32),
        "one-hot": (indices[:, None] == np.arange(shape[1])).astype(np.int64),
        "soft": rng.random(shape).astype(dtype),
    }[form]
    weight = rng.random(shape[0]).astype(dtype) if weighted else None
    found, wanted = run(launcher, "softmax_cross_entropy", draw(shape, dtype), labels, weight)
    share = (
        np.full(shape[0], 1 / shape[0]) if weight is None else weight / weight.sum(dtype=np.float64)
    )
    mass = labels.sum(axis=1) if labels.ndim == 2 else 1
    assert_close(found[0], wanted[0], dtype)
    assert_close(found[1], wanted[1], dtype, scale=(share * mass)[:, None])


@pytest.mark.parametrize("name", [name for name in LOSSES if name != "softmax_cross_entropy"])
def test_losses_beside_softmax_are_the_references(
    launcher: HostLauncher, name: str, dtype: str, subtests: pytest.Subtests
) -> None:
    for shape, weighted in product(FEW, [False, True]):
        with subtests.test(shape=shape, weighted=weighted):
            check_loss(launcher, name, shape, weighted, dtype)


def check_loss(
    launcher: HostLauncher, name: str, shape: tuple[int, int], weighted: bool, dtype: str
) -> None:
    """Require the reference's loss and gradient for targets that the loss takes."""
    rng = np.random.default_rng(2)
    targets = (
        rng.poisson(1, shape).astype(dtype)
        if name == "poisson"
        else rng.random(shape).astype(dtype)
    )
    weight = rng.random(shape[0]).astype(dtype) if weighted else None
    outputs = draw(shape, dtype, scale=2)
    argument, _, (low, high) = LOSS_NUMBERS.get(name, ("", 0.0, (0.0, 0.0)))  # type: ignore[call-overload]
    numbers = (
        {argument: rng.uniform(low + 0.1, min(high, 2) - 0.1, shape[1:]).tolist()}
        if argument
        else {}
    )
    found, wanted = run(launcher, name, outputs, targets, weight, **numbers)
    assert_close(found[0], wanted[0], dtype)
    assert_close(found[1], wanted[1], dtype, scale=np.exp(np.abs(outputs).max()) / shape[0])


@pytest.mark.parametrize("labels", ["indices", "soft"])
@pytest.mark.parametrize("cols", [10, 1000])
def test_rows_with_nan_and_infinities(
    launcher: HostLauncher, cols: int, labels: str, dtype: str
) -> None:
    x = draw((7, cols), dtype)
    x[0, 3], x[1, 3], x[2, 3], x[3], x[4, :5] = np.nan, np.inf, -np.inf, -np.inf, -np.inf
    x[5] = 1e4 * np.sign(x[5])
    y = (
        np.array([0, 3, 0, 1, 5, 2, 4])
        if labels == "indices"
        else np.eye(7, cols, dtype=dtype)[[0, 3, 0, 1, 5, 2, 4]]
    )
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        assert_close(*run(launcher, "softmax", x), dtype)
        found, wanted = run(launcher, "softmax_cross_entropy", x, y)
        for row in range(7):  # each alone: one NaN would hide the losses of all
            one = run(launcher, "softmax_cross_entropy", x[row : row + 1], y[row : row + 1])
            assert_close(one[0][0], one[1][0], dtype)
    assert_close(found[1], wanted[1], dtype, scale=1)


@pytest.mark.parametrize(("cols", "reads"), [(200, 1), (5000, 1), (9000, 2)])
@pytest.mark.parametrize("name", ["softmax", "softmax_cross_entropy"])
def test_rows_are_read_from_memory_once(
    make_launcher: Any, name: str, cols: int, reads: int
) -> None:
    """Rows too long for the registers of a block are read for their sum, and again for the
    result.
    """
    launcher = make_launcher("float32")
    launcher.kernels.take_counts()
    labels = [np.array([1, 0, 2])] if name == "softmax_cross_entropy" else []
    run(launcher, name, draw((3, cols), "float32"), *labels)
    assert launcher.kernels.take_counts() == (reads * 3 * cols * 4, reads * 3 * cols)


def test_updates_and_gathers_move_sixteen_bytes_at_a_time(
    launcher: HostLauncher, dtype: str
) -> None:
    item, arrays = np.dtype(dtype).itemsize, [draw((1000,), dtype) ** 2 for _ in range(4)]
    launcher.kernels.take_counts()
    run(launcher, "adam_update", *arrays, t=1, learning_rate=0.1)
    assert launcher.kernels.take_counts() == (7 * 1000 * item, 7 * 1000 * item // 16)
    epoch, x, order = EpochMemory(launcher), draw((10, 64), dtype), np.arange(10, dtype=np.int32)
    epoch.data[[0, 3]] = x.ctypes.data, order.ctypes.data
    launches.next_batch(launcher, UpdateRule("sgd"), epoch, launcher.xp.empty(x.shape, dtype))()
    assert launcher.kernels.take_counts() == (10 * 64 * item, 10 * 64 * item // 16)


def test_a_label_outside_of_the_classes_is_a_row_of_zeros(
    launcher: HostLauncher, dtype: str
) -> None:
    found, wanted = run(
        launcher, "softmax_cross_entropy", draw((3, 10), dtype), np.array([-1, 10, 4])
    )
    assert_close(found[0], wanted[0], dtype)
    assert_close(found[1], wanted[1], dtype, scale=1)


def test_relu_goes_back_with_the_gradient_of_the_bias(
    launcher: HostLauncher, dtype: str, subtests: pytest.Subtests
) -> None:
    for rows, cols in product([1, 37, 700], [1, 10, 33, 100]):
        with subtests.test(rows=rows, cols=cols):
            check_relu_backward(launcher, rows, cols, dtype)


def check_relu_backward(launcher: HostLauncher, rows: int, cols: int, dtype: str) -> None:
    """Require the gradient and its sums of columns, also where the output is NaN."""
    d_out, x = draw((rows, cols), dtype), draw((rows + 1, cols), dtype)[1:]
    x[0, 0] = np.nan
    found, wanted = backward_bias(launcher, d_out, x)
    assert_close(found[0], wanted[0], dtype)
    # A sum cancels, so its error is measured by the terms: each passes through at most log2(rows) +
    # 8 roundings.
    np.testing.assert_allclose(
        found[1], wanted[1], rtol=0, atol=20 * np.finfo(dtype).eps * np.abs(d_out).sum(0).max()
    )


@pytest.mark.parametrize("name", sorted(ACTIVATIONS - {"identity"}))
def test_activations_are_the_references(
    launcher: HostLauncher, name: str, dtype: str, subtests: pytest.Subtests
) -> None:
    for shape in [(), (1,), (1000,), (7, 33), (2, 3, 5)]:
        with subtests.test(shape=shape):
            check_activation(launcher, name, shape, dtype)


def check_activation(launcher: HostLauncher, name: str, shape: tuple[int, ...], dtype: str) -> None:
    """Require the reference's values and gradients, NaN and infinities included."""
    x = draw(shape, dtype)
    if x.size > 3:
        x.flat[:3] = np.nan, np.inf, -np.inf
    found, wanted = run(launcher, name, x)
    assert_close(found, wanted, dtype)
    if len(shape) == 2:
        kept = np.asarray(wanted, dtype) if ops.ACTIVATIONS[name].keeps == "out" else x
        found, wanted = backward_bias(launcher, draw(shape, dtype), kept, name)
        assert_close(found[0], wanted[0], dtype)


def test_relu_adds_a_bias(launcher: HostLauncher, dtype: str) -> None:
    assert_close(*run(launcher, "bias_relu", draw((37, 70), dtype), draw((70,), dtype)), dtype)


@pytest.mark.parametrize("t", [1, 3, 500])
@pytest.mark.parametrize(
    ("name", "options"),
    [(name, options) for name in ops.UPDATES for options in numbers_of(name)],
)
def test_updates_are_the_references(
    launcher: HostLauncher, name: Any, options: dict[str, Any], t: int, dtype: str
) -> None:
    update = ops.UPDATES[name]
    param, grad, positive = (draw((rows, 33), dtype)[:30] for rows in (30, 31, 32))
    arrays = [param, grad, *buffers_of(name, options, grad, np.abs(positive))]
    steps = {"t": t} if update.counts_steps else {}
    found, wanted = run(launcher, f"{name}_update", *arrays, learning_rate=0.01, **steps, **options)
    for one, other in zip(found, wanted, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            assert_close(one, other, dtype)


def test_adams_first_moments_are_right_to_a_few_roundings(
    launcher: HostLauncher, dtype: str
) -> None:
    """1 - beta2 is 0.001 to the last digit: taken in float32, it would be off by a hundred
    roundings.
    """
    param, grad = (draw((n, 33), dtype) for n in (30, 31))
    zero = np.zeros((30, 33), dtype)
    (_, m, v), (_, exact_m, exact_v) = run(
        launcher, "adam_update", param, grad[1:], zero, zero, t=1, learning_rate=0.01
    )
    for moment, exact in (
        (m, exact_m),
        (v, exact_v),
    ):  # two products, and the constant's own rounding
        np.testing.assert_allclose(moment, exact, rtol=4 * np.finfo(dtype).eps)


def test_slices_lie_where_no_pack_does(launcher: HostLauncher) -> None:
    """A card ends a kernel that reads 16 bytes at an address that 16 does not divide."""
    assert_takes_any_address(launcher)


def test_no_rows_have_no_outputs(launcher: HostLauncher, dtype: str) -> None:
    empty = np.empty((0, 5), dtype)
    kernels = table(launching(launcher))
    assert kernels["softmax"].launch(empty).shape == (0, 5)
    loss, d_logits = kernels["softmax_cross_entropy"].launch(empty, np.empty(0, np.int64))
    assert loss == 0 and d_logits.shape == (0, 5)
    assert not launcher.launched
