"""The compiled step of members on the host, against the reference step."""

from typing import Any

import numpy as np
import pytest
from helpers.cuda.checks import (
    BATCH,
    LOSS_TOLERANCES,
    ROWS,
    RULES,
    assert_agrees,
    assert_parts_agree,
    assert_same_gradient,
    both_steps,
    data,
    make,
)
from helpers.cuda.host import HostCublasLt, HostLauncher
from helpers.cuda.rig import needs_compiler
from helpers.pairs import activation_and_loss_pairs
from xpnet_cupy.launcher import LOSSES

from xpnet.backend import NetworkSpec
from xpnet.steps import weighted_epoch

pytestmark = needs_compiler

MEMBERS = 3


def members(widths: tuple[int, ...], *activations: Any, **settings: Any) -> NetworkSpec:
    return NetworkSpec(widths, activations, members=MEMBERS, **settings)


def labeled(spec: NetworkSpec) -> tuple[Any, Any]:
    return data(spec, "indices" if spec.loss == "softmax_cross_entropy" else "values")


PAIRS = [pair for pair in activation_and_loss_pairs() if pair[1] in LOSSES]


@pytest.mark.parametrize(("activation", "loss"), PAIRS, ids=str)
def test_every_loss_and_activation(
    fused: HostLauncher, activation: Any, loss: Any, dtype: str
) -> None:
    spec = members((7, 6, 5, 3), activation, activation, loss=loss, dtype=dtype)
    assert_agrees(spec, fused, *labeled(spec), batch=BATCH)


def test_threads_run_in_any_order(launcher: HostLauncher, dtype: str) -> None:
    spec = members((7, 6, 35, 3), "tanh", "gelu", dtype=dtype)
    assert_agrees(spec, launcher, *labeled(spec), batch=BATCH)


@pytest.mark.parametrize("scales", ["all", "first"])
@pytest.mark.parametrize("widths", [(7, 4), (1, 1, 1), (7, 33, 4), (5, 6, 40, 7, 2)], ids=str)
def test_sizes(fused: HostLauncher, widths: tuple[int, ...], scales: Any, dtype: str) -> None:
    activations = ("relu", "silu", "tanh")[: len(widths) - 2]
    spec = members(widths, *activations, dtype=dtype, member_scales=scales, loss="squared_error")
    for batch in (1, BATCH, ROWS):
        assert_agrees(spec, fused, *labeled(spec), batch=batch)


@pytest.mark.parametrize("rule", ["sgd", "adam"])
def test_updates_and_penalty(fused: HostLauncher, rule: str, dtype: str) -> None:
    """The penalty is over weights alone, not over the scales."""
    for over_batch in (False, True):
        spec = members(
            (7, 6, 4), "relu", rule=RULES[rule], dtype=dtype, l2=0.1, l2_over_batch=over_batch
        )
        assert_agrees(spec, fused, *labeled(spec), batch=BATCH)


@pytest.mark.parametrize("scales", ["all", "first"])
def test_dropout_and_weights(fused: HostLauncher, scales: Any, dtype: str) -> None:
    """Each member has masks of its own."""
    weight = np.random.default_rng(3).random(ROWS).astype(dtype)
    spec = members(
        (7, 6, 5, 4),
        "tanh",
        "relu",
        dtype=dtype,
        dropout=(0.5, 0.2),
        seed=2**100 + 1,
        member_scales=scales,
        l2=0.1,
        l2_over_batch=True,
    )
    assert_agrees(spec, fused, *labeled(spec), batch=BATCH, weight=weight)
    assert_parts_agree(spec, fused, *labeled(spec), weight, placed=True)


@pytest.mark.parametrize("weighted", [False, True])
def test_an_order_for_each_member(fused: HostLauncher, weighted: bool, dtype: str) -> None:
    spec = members((7, 6, 5, 4), "relu", "gelu", dtype=dtype, dropout=(0.3, 0.0), seed=5, l2=0.1)
    weight = np.random.default_rng(3).random(ROWS).astype(dtype) if weighted else None
    assert_agrees(spec, fused, *labeled(spec), batch=BATCH, weight=weight, own_orders=True)


@pytest.mark.parametrize(
    "loss", ["softmax_cross_entropy", "logistic_cross_entropy", "poisson", "squared_error"]
)
def test_a_prediction_is_the_mean_over_the_members(
    fused: HostLauncher, loss: Any, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of probabilities, not of logits; in blocks of 3 rows of each member."""
    monkeypatch.setattr("xpnet_cupy.plan.BLOCK_ROWS", 10)
    monkeypatch.setattr("xpnet_cupy.plan.BLOCK_BYTES", 0)
    spec = members((7, 6, 4), "relu", loss=loss, dtype=dtype, dropout=(0.5,))
    X, Y = labeled(spec)
    step, reference = both_steps(spec, fused)
    tolerance = LOSS_TOLERANCES[dtype]
    for _ in range(3):  # launch by launch, then as CUDA graphs
        np.testing.assert_allclose(step.forward(X), reference.forward(X), rtol=tolerance)
    np.testing.assert_allclose(step.loss(X, Y), reference.loss(X, Y), rtol=tolerance)
    weight = np.arange(ROWS, dtype=dtype)
    rows = np.arange(ROWS)[::-2]
    measured = [one.loss(X, Y, sample_weight=weight, rows=rows) for one in (step, reference)]
    np.testing.assert_allclose(*measured, rtol=tolerance)


def test_gradients(fused: HostLauncher, dtype: str) -> None:
    spec = members((7, 6, 5, 4), "elu", "softplus", dtype=dtype, l2=0.1)
    X, Y = labeled(spec)
    assert_same_gradient(spec, fused, X, Y)
    assert_same_gradient(spec, fused, X, Y, rows=np.array([20, 21, 3]))
    without_penalty = members((7, 6, 4), "elu", dtype=dtype)
    assert_same_gradient(without_penalty, fused, X, Y, sample_weight=np.zeros(ROWS, dtype))


def test_epochs_that_count_by_rows(fused: HostLauncher, dtype: str) -> None:
    spec = members((7, 6, 4), "relu", rule=RULES["adam"], dtype=dtype, l2=0.1)
    X, Y = labeled(spec)
    weight = np.random.default_rng(3).random(ROWS).astype(dtype)
    step, reference = both_steps(spec, fused)
    options = {"learning_rate": 0.05, "batch_size": BATCH, "sample_weight": weight}
    for norm in (None, 0.01):
        losses = [
            weighted_epoch(one, X, Y, max_grad_norm=norm, order=np.arange(ROWS), **options)
            for one in (step, reference)
        ]
        np.testing.assert_allclose(*losses, rtol=10 * LOSS_TOLERANCES[dtype])


def test_a_product_that_cublaslt_refuses_falls_back(
    make_launcher: Any, lt: Any, dtype: str
) -> None:
    fresh = make_launcher(dtype, HostCublasLt())
    spec = members((7, 6, 4), "relu", dtype=dtype)
    lt.library.fake_refuse(4, True)
    try:
        assert_agrees(spec, fresh, *labeled(spec), batch=BATCH)
    finally:
        lt.library.fake_refuse(0, True)


@pytest.mark.parametrize(
    ("outputs", "dropout", "launches"), [(4, (), 18), (4, (0.1, 0.1), 22), (3, (), 19)]
)
def test_launches_of_a_step(
    fused: HostLauncher, outputs: int, dropout: tuple[float, ...], launches: int, dtype: str
) -> None:
    """Gather, three products forward, two kernels between them, loss; two products back for each
    layer, the sums of the last bias, a kernel back for each hidden layer, the scales of the inputs;
    update. Each dropout is a launch more, forward and backward, and so are last biases that the
    product cannot read, since those of each member do not begin at a multiple of 16 bytes.
    """
    spec = members(
        (7, 6, 5, outputs), "relu", "relu", rule=RULES["adam"], dtype=dtype, dropout=dropout
    )
    X, Y = labeled(spec)
    step = make(spec, fused)
    step.epoch(X, Y, learning_rate=0.1, batch_size=ROWS)
    (work,) = step._training_runs.works.values()
    assert len(work.launches) == launches
