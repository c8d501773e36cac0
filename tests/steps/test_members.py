"""Members: the layer by finite differences, the reference step beside PyTorch, compiled steps
beside the reference.
"""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from helpers.gradients import assert_passes_and_sees_one_percent
from xpnet_numba import backend as numba_backend
from xpnet_numpy import NumpyBackend

import xpnet
from xpnet import gradcheck
from xpnet.backend import BatchPart, NetworkSpec, StepState, UpdateRule
from xpnet.layers import MemberAffine
from xpnet.steps import ReferenceStep, make_step

K, ROWS = 5, 300
RNG = np.random.default_rng(0)
SHAPES = {
    "one batch, all factors": [(4, 6), (6, 2), (K, 2), (K, 6), (K, 2)],
    "own batches, all factors": [(K, 4, 6), (6, 2), (K, 2), (K, 6), (K, 2)],
    "shared bias": [(4, 6), (6, 2), (2,), (K, 6)],
    "nothing of their own": [(4, 6), (6, 2), (2,)],
    "own weights": [(K, 4, 6), (K, 6, 2), (K, 2)],
    "own weights over one batch": [(4, 6), (K, 6, 2), (K, 2)],
}


@pytest.mark.parametrize("shapes", SHAPES.values(), ids=SHAPES)
def test_the_layers_gradients_are_those_of_finite_differences(
    shapes: list[tuple[int, ...]],
) -> None:
    inputs = [RNG.standard_normal(shape) for shape in shapes]
    assert_passes_and_sees_one_percent(gradcheck.check_layer, MemberAffine(), *inputs)


def test_shapes_that_do_not_fit_are_named() -> None:
    with pytest.raises(xpnet.InputError, match=r"got \(4, 6\), \(5, 2\) and \(2,\)"):
        MemberAffine().forward(np.ones((4, 6)), np.ones((5, 2)), np.ones(2))


def spec_of(
    scales: Any,
    loss: Any = "softmax_cross_entropy",
    hidden: tuple[int, ...] = (6, 5),
    **settings: Any,
) -> NetworkSpec:
    activations: Any = settings.pop("activations", ("relu", "tanh"))[: len(hidden)]
    return NetworkSpec(
        (7, *hidden, 3), activations, loss=loss, members=K, member_scales=scales, **settings
    )


def arrays_for(spec: NetworkSpec) -> tuple[dict[str, Any], Any, Any, Any]:
    """Parameters, X, Y and sample weights."""
    rng = np.random.default_rng(1)
    params = {
        slot.name: rng.standard_normal(slot.shape).astype(spec.dtype) for slot in spec.slots()
    }
    X, weight = (
        rng.standard_normal((ROWS, 7)).astype(spec.dtype),
        rng.random(ROWS).astype(spec.dtype),
    )
    Y = (
        rng.integers(0, 3, ROWS)
        if spec.loss == "softmax_cross_entropy"
        else rng.random((ROWS, 3)).astype(spec.dtype)
    )
    return params, X, Y, weight


@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "logistic_cross_entropy"])
@pytest.mark.parametrize("scales", ["all", "first"])
def test_gradients_are_those_of_pytorchs_autograd(scales: str, loss: str) -> None:
    """PyTorch computes the mean of the members' losses in float64, so that they differ by a few
    roundings alone.
    """
    torch: Any = pytest.importorskip("torch")
    spec = spec_of(scales, loss, l2=0.1)
    params, X, Y, weight = arrays_for(spec)
    step = ReferenceStep(spec, NumpyBackend(), "")
    step.params.update(params)
    found = step.gradient(X, Y, sample_weight=weight)
    tensors = {name: torch.tensor(array, requires_grad=True) for name, array in params.items()}
    out = torch.tensor(X).expand(K, *X.shape)
    for layer, activation in ((1, torch.relu), (2, torch.tanh)):
        scale_in, scale_out = (tensors.get(f"scale_{end}{layer}") for end in ("in", "out"))
        out = (out if scale_in is None else out * scale_in[:, None]) @ tensors[f"W{layer}"]
        bias = tensors[f"b{layer}"]
        out = out if scale_out is None else out * scale_out[:, None]
        out = activation(out + (bias if bias.ndim == 1 else bias[:, None]))
    logits, labels = out @ tensors["W3"] + tensors["b3"][:, None], torch.tensor(Y)
    if loss == "softmax_cross_entropy":
        losses = torch.nn.functional.cross_entropy(
            logits.movedim(2, 1), labels.expand(K, -1), reduction="none"
        )
    else:
        each = torch.nn.functional.binary_cross_entropy_with_logits(
            logits, labels.expand(K, -1, -1), reduction="none"
        )
        losses = each.sum(2)
    rows = torch.tensor(weight)
    penalty = 0.05 * sum((tensors[name] ** 2).sum() for name in spec.weight_names)
    wanted = (losses * rows).sum() / (K * rows.sum()) + penalty
    wanted.backward()
    np.testing.assert_allclose(found, wanted.item(), rtol=1e-12)
    for name, tensor in tensors.items():
        np.testing.assert_allclose(
            step.gradients[name], tensor.grad, rtol=1e-10, atol=1e-12, err_msg=name
        )


def test_members_that_are_equal_give_what_one_gives() -> None:
    one = NetworkSpec((7, 6, 3), ("relu",))
    plain, several = (
        ReferenceStep(one, NumpyBackend(), ""),
        ReferenceStep(spec_of("all", hidden=(6,)), NumpyBackend(), ""),
    )
    params, X, Y, _ = arrays_for(one)
    plain.params.update(params)
    for name, array in several.params.items():
        value = params.get(name, np.ones(()))
        several.params[name] = np.broadcast_to(value, array.shape).copy()
    np.testing.assert_allclose(several.forward(X), plain.forward(X), rtol=1e-14)
    np.testing.assert_allclose(several.gradient(X, Y), plain.gradient(X, Y), rtol=1e-14)
    np.testing.assert_allclose(
        several.gradients["W1"], plain.gradients["W1"], rtol=1e-10, atol=1e-15
    )


COMPILED: dict[str, dict[str, Any]] = {
    "plain": {},
    "penalty": {"l2": 0.1, "l2_over_batch": True},
    "dropout": {"dropout": (0.2, 0.5), "seed": 3},
    "kept inputs": {"activations": ("gelu", "silu")},
    "one hidden layer": {"hidden": (9,)},
    "no hidden layer": {"hidden": ()},
    "squared error": {"loss": "squared_error"},
}


def both_steps(spec: NetworkSpec, run: Callable[[Any], Any]) -> tuple[Any, Any]:
    """What ``run`` gives with the reference step and with the compiled one, from the same
    parameters.
    """
    params, *_ = arrays_for(spec)
    found = []
    for step in (ReferenceStep(spec, NumpyBackend(), ""), numba_backend.compile_step(spec)):
        assert not isinstance(step, str)
        step.params.update(params)
        with step.running():
            found.append(run(step))
    return found[0], found[1]


@pytest.mark.parametrize("way", COMPILED)
def test_the_compiled_step_gives_the_references_answers(
    way: str, subtests: pytest.Subtests
) -> None:
    for scales, dtype in itertools.product(["all", "first"], ["float64", "float32"]):
        with subtests.test(scales=scales, dtype=dtype):
            check_compiled_step(way, scales, dtype)


def check_compiled_step(way: str, scales: str, dtype: str) -> None:
    """Rounding grows through Adam's division: a few thousand roundings in four updates."""
    spec = spec_of(scales, rule=UpdateRule("adam", weight_decay=0.01), dtype=dtype, **COMPILED[way])
    _, X, Y, weight = arrays_for(spec)
    order, rtol = np.random.default_rng(2).permutation(ROWS), 5e3 * np.finfo(dtype).eps

    def run(step: Any) -> list[Any]:
        settings: dict[str, Any] = {"learning_rate": 0.01, "batch_size": 140}
        losses = [
            step.epoch(X, Y, order=order, sample_weight=weight, **settings),
            step.epoch(X, Y, **settings),
        ]
        part = step.gradient(X, Y, rows=order[:50], part=BatchPart(80.0, first_row=20))
        gradients = {name: np.array(array) for name, array in step.gradients.items()}
        return [
            losses,
            part,
            step.forward(X),
            step.loss(X, Y, sample_weight=weight),
            gradients,
            step.state().params,
        ]

    (*numbers, gradients, params), (*found, found_gradients, found_params) = both_steps(spec, run)
    for one, other in zip(found, numbers, strict=True):
        np.testing.assert_allclose(one, other, rtol=rtol, atol=rtol)
    for name in params:
        np.testing.assert_allclose(
            found_params[name], params[name], rtol=rtol, atol=rtol, err_msg=name
        )
        np.testing.assert_allclose(
            found_gradients[name], gradients[name], rtol=rtol, atol=10 * rtol, err_msg=name
        )


@pytest.mark.parametrize("backend", [numba_backend, NumpyBackend()], ids=["numba", "numpy"])
@pytest.mark.parametrize("scales", ["all", "first"])
def test_sparse_rows_give_what_dense_ones_give(scales: str, backend: Any) -> None:
    spec = spec_of(scales)
    params, X, Y, _ = arrays_for(spec)
    X[np.random.default_rng(3).random(X.shape) < 0.7] = 0
    results = []
    for rows in (X, scipy.sparse.csr_array(X)):
        step: Any = make_step(spec, backend)
        step.params.update(params)
        loss = step.epoch(rows, Y, learning_rate=0.1, batch_size=64)
        results.append([loss, step.forward(rows), step.loss(rows, Y), *step.params.values()])
    for dense, sparse in zip(*results, strict=True):
        np.testing.assert_array_equal(dense, sparse)


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("scales", ["all", "first"])
def test_members_with_batches_of_their_own(scales: str, weighted: bool, sparse: bool) -> None:
    """Orders that are equal give what one order gives; with others, both steps give the same."""
    spec = spec_of(scales, rule=UpdateRule("adam"), l2=0.1, dropout=(0.2, 0.0))
    _, X, Y, weight = arrays_for(spec)
    given: Any = {
        "sample_weight": weight if weighted else None,
        "learning_rate": 0.01,
        "batch_size": 140,
    }
    rows = scipy.sparse.csr_matrix(X) if sparse else X
    orders = np.stack([np.random.default_rng(k).permutation(ROWS) for k in range(K)])

    def run(order: Any) -> Callable[[Any], list[Any]]:
        return lambda step: [
            step.epoch(rows, Y, order=order, **given),
            *map(np.array, step.params.values()),
        ]

    backends = ReferenceStep(spec, NumpyBackend(), ""), numba_backend.compile_step(spec)
    found = []
    for step in backends:
        step.load_state(StepState(arrays_for(spec)[0]))
        for order in (orders[0], np.stack([orders[0]] * K), orders):
            step.load_state(StepState(arrays_for(spec)[0]))
            found.append(run(order)(step))
    one, equal, own, *compiled = found
    for wanted, got, rtol in [
        (one, equal, 1e-9),
        *zip((one, equal, own), compiled, [1e-8] * 3, strict=True),
    ]:
        for a, b in zip(wanted, got, strict=True):
            np.testing.assert_allclose(b, a, rtol=rtol, atol=1e-9)
    assert abs(own[1] - one[1]).max() > 1e-4


def test_bits_do_not_depend_on_threads() -> None:
    spec = NetworkSpec(
        (40, 64, 64, 3), ("relu", "relu"), dtype="float32", members=8, dropout=(0.1, 0.1)
    )
    params, Y = arrays_for(spec)[0], RNG.integers(0, 3, 2000)
    X, results, before = RNG.standard_normal((2000, 40)).astype("float32"), [], xpnet.get_threads()
    try:
        for threads in (1, 2, 3):
            xpnet.set_threads(threads)
            step: Any = numba_backend.compile_step(spec)
            step.params.update({name: 0.1 * array for name, array in params.items()})
            step.epoch(X, Y, learning_rate=0.1, batch_size=256)
            results.append(np.array(step.params.flat))
    finally:
        xpnet.set_threads(before)
    for other in results[1:]:
        np.testing.assert_array_equal(results[0], other)
