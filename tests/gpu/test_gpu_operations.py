"""Kernels on a GPU against the reference in float64, at awkward and at large sizes."""

from typing import Any

import numpy as np
import pytest
from helpers.cuda.checks import assert_close, draw
from xpnet_cupy import launches
from xpnet_cupy.launcher import LOSSES

from xpnet import ops

SHAPES = [(37, 1), (37, 10), (5, 33), (9, 100), (64, 1000), (16, 32000), (8192, 10), (3, 100_003)]


def run(backend: Any, name: str, *arrays: Any, **options: Any) -> tuple[Any, Any]:
    """A kernel's answer on the host, and the reference's in float64."""
    wide = [a.astype(np.float64) if a is not None and a.dtype.kind == "f" else a for a in arrays]
    moved = [None if a is None else backend.asarray(a) for a in arrays]
    found = backend.kernels[name].launch(*moved, **options)
    several = isinstance(found, tuple)
    found = tuple(
        None if f is None else backend.to_numpy(f) for f in (found if several else (found,))
    )
    return found if several else found[0], getattr(ops, name)(*wide, **options)


@pytest.mark.parametrize("shape", SHAPES)
def test_softmax(backend: Any, shape: tuple[int, int], dtype: str) -> None:
    assert_close(*run(backend, "softmax", draw(shape, dtype)), dtype)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("form", ["indices", "one-hot", "soft"])
@pytest.mark.parametrize("shape", SHAPES)
def test_softmax_cross_entropy(
    backend: Any, rng: Any, shape: tuple[int, int], form: str, weighted: bool, dtype: str
) -> None:
    labels = (
        rng.integers(0, shape[1], shape[0]) if form != "soft" else rng.random(shape).astype(dtype)
    )
    if form == "one-hot":
        labels = (labels[:, None] == np.arange(shape[1])).astype(np.int64)
    weight = rng.random(shape[0]).astype(dtype) if weighted else None
    found, wanted = run(backend, "softmax_cross_entropy", draw(shape, dtype), labels, weight)
    share = (
        np.full(shape[0], 1 / shape[0]) if weight is None else weight / weight.sum(dtype=np.float64)
    )
    mass = labels.sum(axis=1) if labels.ndim == 2 else 1
    assert_close(found[0], wanted[0], dtype)
    assert_close(found[1], wanted[1], dtype, scale=(share * mass)[:, None])


@pytest.mark.parametrize("name", [name for name in LOSSES if name != "softmax_cross_entropy"])
def test_other_losses(backend: Any, rng: Any, name: str, dtype: str) -> None:
    outputs, targets = (
        draw((1000, 33), dtype, scale=2),
        rng.poisson(1, (1000, 33)).clip(0, 1).astype(dtype),
    )
    found, wanted = run(backend, name, outputs, targets)
    assert_close(found[0], wanted[0], dtype)
    assert_close(found[1], wanted[1], dtype, scale=np.exp(np.abs(outputs).max()) / 1000)


@pytest.mark.parametrize("shape", [(), (1000,), (7, 33), (2049, 513)])
@pytest.mark.parametrize("name", [name for name in ops.ACTIVATIONS if name != "identity"])
def test_activations(backend: Any, name: str, shape: tuple[int, ...], dtype: str) -> None:
    x = draw(shape, dtype)
    if x.size > 3:
        x.flat[:3] = np.nan, np.inf, -np.inf
    assert_close(*run(backend, name, x), dtype)


@pytest.mark.parametrize("shape", [(1, 1), (37, 33), (8192, 1024), (100_000, 10)])
@pytest.mark.parametrize("name", [name for name in ops.ACTIVATIONS if name != "identity"])
def test_bias_activation_and_back(
    backend: Any, name: str, shape: tuple[int, int], dtype: str
) -> None:
    x, d_out = draw(shape, dtype), draw(shape, dtype, scale=1)
    bias, activation = draw(shape[1:], dtype), getattr(ops, name)
    wanted = getattr(ops, f"{name}_backward")(d_out.astype(np.float64), x.astype(np.float64))
    moved = [backend.asarray(array) for array in (x, bias, d_out)]
    out, d_x, d_bias = (backend.xp.empty_like(moved[k]) for k in (0, 0, 1))
    with backend._launching(moved[0]) as launcher:
        launches.bias_activation(launcher, name, *moved[:2], out)()
        for launch in launches.backward_bias(launcher, name, moved[2], moved[0], d_x, d_bias):
            launch()
    # `x + bias` is rounded to its type before the activation.
    assert_close(backend.to_numpy(out), activation((x + bias).astype(np.float64)), dtype)
    assert_close(backend.to_numpy(d_x), wanted, dtype)
    # A sum cancels, so its error is measured by the terms. A thread adds at most 128 rows one after
    # the other, and three shorter sums follow: of fewer than 200 roundings 15 are left by chance.
    # NumPy adds up pairs along the last axis alone; along another its own error is larger.
    atol = 30 * np.finfo(dtype).eps * np.abs(wanted).sum(0).max()
    sums = np.ascontiguousarray(wanted.T).sum(axis=1)
    np.testing.assert_allclose(backend.to_numpy(d_bias), sums, rtol=0, atol=atol)


@pytest.mark.parametrize("options", [{}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}])
def test_gradient_descent(backend: Any, options: dict[str, Any], dtype: str) -> None:
    arrays = [draw((100_003,), dtype) for _ in range(3 if options else 2)]
    found, wanted = run(backend, "sgd_update", *arrays, learning_rate=0.01, **options)
    for one, other in zip(found, wanted, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            assert_close(one, other, dtype)


@pytest.mark.parametrize("options", [{}, {"weight_decay": 0.1}, {"epsilon_hat": True}])
def test_adam(backend: Any, rng: Any, options: dict[str, Any], dtype: str) -> None:
    param, grad, m, v = (rng.random(1_000_003).astype(dtype) for _ in range(4))
    found, wanted = run(
        backend, "adam_update", param, grad, m, v, t=3, learning_rate=0.01, **options
    )
    for one, other in zip(found, wanted, strict=True):
        assert_close(one, other, dtype)


def test_views_are_read_as_they_are_seen(backend: Any, dtype: str) -> None:
    x = backend.asarray(draw((40, 60), dtype))
    found = backend.to_numpy(backend.kernels["softmax"].launch(x.T[::2]))
    assert_close(found, ops.softmax(draw((40, 60), dtype).astype(np.float64).T[::2]), dtype)
