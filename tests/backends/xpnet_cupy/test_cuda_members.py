"""The compiled step of members on the host, against the reference step."""

from typing import Any

import numpy as np
import pytest
from helpers.cuda.host import HostCublasLt, HostLauncher, refused_epilogue
from helpers.cuda.rig import needs_compiler
from helpers.cuda.steps import (
    BATCH,
    LOSS_TOLERANCES,
    ROW_WEIGHTS,
    ROWS,
    RULES,
    Training,
    assert_parts_agree,
    assert_same_gradient,
    blocks_of,
    data,
    make,
    network,
    on_host,
)
from helpers.pairs import activation_and_loss_pairs
from xpnet_cupy.launcher import LOSSES

from xpnet.backend import NetworkSpec
from xpnet.steps import weighted_epoch

pytestmark = needs_compiler

MEMBERS = 3


SCALES = ("all", "first")
MASKED: dict[str, Any] = {
    "widths": (7, 6, 5, 4),
    "activations": ("tanh", "relu"),
    "dropout": (0.5, 0.2),
    "seed": 2**100 + 1,
    "l2": 0.1,
    "l2_over_batch": True,
}
"""Settings of a network whose members have masks of their own."""


def members(dtype: str, **settings: Any) -> NetworkSpec:
    return network(dtype, members=MEMBERS, **settings)


TRAININGS = {
    f"{activation} and {loss}": Training(
        {"widths": (7, 6, 5, 3), "activations": (activation, activation), "loss": loss}
    )
    for activation, loss in activation_and_loss_pairs()
    if loss in LOSSES
}
TRAININGS |= {
    f"widths {widths}, {scales} scales, batch {batch}": Training(
        {
            "widths": widths,
            "activations": ("relu", "silu", "tanh")[: len(widths) - 2],
            "member_scales": scales,
            "loss": "squared_error",
        },
        batch=batch,
    )
    for widths in ((7, 4), (1, 1, 1), (7, 33, 4), (5, 6, 40, 7, 2))
    for scales in SCALES
    for batch in (1, BATCH, ROWS)
}
# The penalty is over weights alone, not over the scales.
TRAININGS |= {
    f"{rule}, penalty over the {'batch' if over_batch else 'rows'}": Training(
        {"rule": RULES[rule], "l2": 0.1, "l2_over_batch": over_batch}
    )
    for rule in ("sgd", "adam")
    for over_batch in (False, True)
}
TRAININGS |= {
    f"dropout and weights, {scales} scales": Training(
        {**MASKED, "member_scales": scales}, weight=ROW_WEIGHTS
    )
    for scales in SCALES
}
TRAININGS |= {
    f"orders of each member{' and weights' * weighted}": Training(
        {
            "widths": (7, 6, 5, 4),
            "activations": ("relu", "gelu"),
            "dropout": (0.3, 0.0),
            "seed": 5,
            "l2": 0.1,
        },
        weight=ROW_WEIGHTS if weighted else None,
        own_orders=True,
    )
    for weighted in (False, True)
}


@pytest.mark.parametrize("training", TRAININGS)
def test_members_train_as_by_the_reference_step(fused: HostLauncher, training: str) -> None:
    TRAININGS[training].assert_agrees(fused, members=MEMBERS)


def test_threads_of_members_run_in_any_order(launcher: HostLauncher) -> None:
    settings = {"widths": (7, 6, 35, 3), "activations": ("tanh", "gelu")}
    Training(settings).assert_agrees(launcher, members=MEMBERS)


@pytest.mark.parametrize("scales", SCALES)
def test_members_draw_the_masks_of_rows_that_stand_apart_in_their_batch(
    fused: HostLauncher, scales: str, dtype: str
) -> None:
    spec = members(dtype, **MASKED, member_scales=scales)
    assert_parts_agree(spec, fused, weight=ROW_WEIGHTS.astype(dtype), placed=True)


@pytest.mark.parametrize(
    "loss", ["softmax_cross_entropy", "logistic_cross_entropy", "poisson", "squared_error"]
)
def test_a_prediction_is_the_mean_over_the_members(
    fused: HostLauncher, loss: str, dtype: str
) -> None:
    """Of probabilities, not of logits; in blocks of 3 rows of each member."""
    pair = on_host(members(dtype, loss=loss, dropout=(0.5,)), fused)
    tolerance = LOSS_TOLERANCES[dtype]
    some: dict[str, Any] = {
        "sample_weight": np.arange(ROWS, dtype=dtype),
        "rows": np.arange(ROWS)[::-2],
    }
    with blocks_of(10):
        for _ in range(3):  # launch by launch, then as CUDA graphs
            pair.assert_predicts(tolerance)
        for options in ({}, some):
            measured, wanted = pair.both(lambda step, X, Y, o=options: step.loss(X, Y, **o))
            np.testing.assert_allclose(measured, wanted, rtol=tolerance)


def test_gradients_of_members_are_those_of_the_reference_step(
    fused: HostLauncher, dtype: str
) -> None:
    spec = members(dtype, widths=(7, 6, 5, 4), activations=("elu", "softplus"), l2=0.1)
    assert_same_gradient(spec, fused)
    assert_same_gradient(spec, fused, rows=np.array([20, 21, 3]))
    without_penalty = members(dtype, activations=("elu",))
    assert_same_gradient(without_penalty, fused, sample_weight=np.zeros(ROWS, dtype))


def test_epochs_of_members_count_by_rows(fused: HostLauncher, dtype: str) -> None:
    pair = on_host(members(dtype, rule=RULES["adam"], l2=0.1), fused)
    options: dict[str, Any] = {
        "learning_rate": 0.05,
        "batch_size": BATCH,
        "sample_weight": ROW_WEIGHTS.astype(dtype),
        "order": np.arange(ROWS),
    }
    for norm in (None, 0.01):
        losses = pair.both(
            lambda step, X, Y, n=norm: weighted_epoch(step, X, Y, max_grad_norm=n, **options)
        )
        np.testing.assert_allclose(*losses, rtol=10 * LOSS_TOLERANCES[dtype])


def test_a_product_that_cublaslt_refuses_falls_back(make_launcher: Any, dtype: str) -> None:
    with refused_epilogue(4, at_call=True):
        Training().assert_agrees(make_launcher(dtype, HostCublasLt()), members=MEMBERS)


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
    spec = members(dtype, widths=(7, 6, 5, outputs), rule=RULES["adam"], dropout=dropout)
    step = make(spec, fused)
    step.epoch(*data(spec), learning_rate=0.1, batch_size=ROWS)
    (work,) = step._training_runs.works.values()
    assert len(work.launches) == launches
