"""The compiled step of members on the host, against the reference step."""

from typing import Any, NamedTuple

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
from helpers.cuda.host import HostCublasLt, HostLauncher, refused_epilogue
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


class Training(NamedTuple):
    """A network of members, and how it is trained.

    settings : of the network; batch : rows of a batch; weighted : whether rows have weights
    own_orders : whether each member has an order of its own
    """

    widths: tuple[int, ...]
    activations: tuple[Any, ...]
    settings: dict[str, Any]
    batch: int = BATCH
    weighted: bool = False
    own_orders: bool = False


SCALES = ("all", "first")
MASKED: dict[str, Any] = {
    "dropout": (0.5, 0.2),
    "seed": 2**100 + 1,
    "l2": 0.1,
    "l2_over_batch": True,
}
"""Settings of a network whose members have masks of their own."""

TRAININGS = {
    f"{activation} and {loss}": Training((7, 6, 5, 3), (activation, activation), {"loss": loss})
    for activation, loss in activation_and_loss_pairs()
    if loss in LOSSES
}
TRAININGS |= {
    f"widths {widths}, {scales} scales, batch {batch}": Training(
        widths,
        ("relu", "silu", "tanh")[: len(widths) - 2],
        {"member_scales": scales, "loss": "squared_error"},
        batch,
    )
    for widths in ((7, 4), (1, 1, 1), (7, 33, 4), (5, 6, 40, 7, 2))
    for scales in SCALES
    for batch in (1, BATCH, ROWS)
}
# The penalty is over weights alone, not over the scales.
TRAININGS |= {
    f"{rule}, penalty over the {'batch' if over_batch else 'rows'}": Training(
        (7, 6, 4), ("relu",), {"rule": RULES[rule], "l2": 0.1, "l2_over_batch": over_batch}
    )
    for rule in ("sgd", "adam")
    for over_batch in (False, True)
}
TRAININGS |= {
    f"dropout and weights, {scales} scales": Training(
        (7, 6, 5, 4), ("tanh", "relu"), {"member_scales": scales, **MASKED}, weighted=True
    )
    for scales in SCALES
}
TRAININGS |= {
    f"orders of each member{' and weights' * weighted}": Training(
        (7, 6, 5, 4),
        ("relu", "gelu"),
        {"dropout": (0.3, 0.0), "seed": 5, "l2": 0.1},
        weighted=weighted,
        own_orders=True,
    )
    for weighted in (False, True)
}


def row_weights(dtype: str) -> Any:
    return np.random.default_rng(3).random(ROWS).astype(dtype)


@pytest.mark.parametrize("training", TRAININGS)
def test_members_train_as_by_the_reference_step(
    fused: HostLauncher, training: str, dtype: str
) -> None:
    widths, activations, settings, batch, weighted, own_orders = TRAININGS[training]
    spec = members(widths, *activations, dtype=dtype, **settings)
    weight = row_weights(dtype) if weighted else None
    assert_agrees(spec, fused, *labeled(spec), batch=batch, weight=weight, own_orders=own_orders)


def test_threads_of_members_run_in_any_order(launcher: HostLauncher, dtype: str) -> None:
    spec = members((7, 6, 35, 3), "tanh", "gelu", dtype=dtype)
    assert_agrees(spec, launcher, *labeled(spec), batch=BATCH)


@pytest.mark.parametrize("scales", SCALES)
def test_members_draw_the_masks_of_rows_that_stand_apart_in_their_batch(
    fused: HostLauncher, scales: Any, dtype: str
) -> None:
    spec = members((7, 6, 5, 4), "tanh", "relu", dtype=dtype, member_scales=scales, **MASKED)
    assert_parts_agree(spec, fused, *labeled(spec), row_weights(dtype), placed=True)


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


def test_gradients_of_members_are_those_of_the_reference_step(
    fused: HostLauncher, dtype: str
) -> None:
    spec = members((7, 6, 5, 4), "elu", "softplus", dtype=dtype, l2=0.1)
    X, Y = labeled(spec)
    assert_same_gradient(spec, fused, X, Y)
    assert_same_gradient(spec, fused, X, Y, rows=np.array([20, 21, 3]))
    without_penalty = members((7, 6, 4), "elu", dtype=dtype)
    assert_same_gradient(without_penalty, fused, X, Y, sample_weight=np.zeros(ROWS, dtype))


def test_epochs_of_members_count_by_rows(fused: HostLauncher, dtype: str) -> None:
    spec = members((7, 6, 4), "relu", rule=RULES["adam"], dtype=dtype, l2=0.1)
    X, Y = labeled(spec)
    weight = row_weights(dtype)
    step, reference = both_steps(spec, fused)
    options = {"learning_rate": 0.05, "batch_size": BATCH, "sample_weight": weight}
    for norm in (None, 0.01):
        losses = [
            weighted_epoch(one, X, Y, max_grad_norm=norm, order=np.arange(ROWS), **options)
            for one in (step, reference)
        ]
        np.testing.assert_allclose(*losses, rtol=10 * LOSS_TOLERANCES[dtype])


def test_a_product_that_cublaslt_refuses_falls_back(make_launcher: Any, dtype: str) -> None:
    fresh = make_launcher(dtype, HostCublasLt())
    spec = members((7, 6, 4), "relu", dtype=dtype)
    with refused_epilogue(4, at_call=True):
        assert_agrees(spec, fresh, *labeled(spec), batch=BATCH)


@pytest.mark.parametrize(
    ("outputs", "dropout", "launches"), [(4, (), 18), (4, (0.1, 0.1), 22), (3, (), 19)]
)
def test_a_step_of_members_has_few_launches(
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
