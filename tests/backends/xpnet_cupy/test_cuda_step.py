"""The whole compiled step on the host, against the reference step and against a network written out
in NumPy.
"""

import inspect
from itertools import product
from typing import Any

import numpy as np
import pytest
from helpers.cuda.checks import (
    BATCH,
    ROWS,
    RULES,
    assert_agrees,
    assert_parts_agree,
    assert_same_gradient,
    assert_weighted_epochs_agree,
    both_steps,
    data,
    make,
    train,
    weights,
)
from helpers.cuda.host import HostCublasLt, HostLauncher, refused_epilogue
from helpers.cuda.rig import needs_compiler
from helpers.pairs import activation_and_loss_pairs
from xpnet_cupy import launches
from xpnet_cupy.launcher import LOSSES
from xpnet_cupy.plan import block_rows
from xpnet_numpy import NumpyBackend

from xpnet.backend import BatchPart, NetworkSpec
from xpnet.errors import BackendError, MixedArraysError
from xpnet.ops import UPDATES
from xpnet.steps import ReferenceStep

pytestmark = needs_compiler


@pytest.mark.parametrize(
    ("rule", "form"),
    [*((rule, "indices") for rule in RULES), ("adam", "one-hot"), ("adam", "soft")],
)
def test_every_rule_and_label_form_trains_as_by_the_reference_step(
    launcher: HostLauncher, rule: str, form: str, dtype: str
) -> None:
    spec = NetworkSpec((7, 6, 5, 4), ("relu", "tanh"), rule=RULES[rule], dtype=dtype)
    assert_agrees(spec, launcher, *data(spec, form), batch=BATCH)


@pytest.mark.parametrize("form", ["indices", "soft"])
@pytest.mark.parametrize("rule", ["momentum", *UPDATES])
def test_a_step_of_fused_products_needs_no_kernel_for_biases(
    fused: HostLauncher, rule: str, form: str, dtype: str
) -> None:
    spec = NetworkSpec((7, 130, 5, 4), ("relu", "relu"), rule=RULES[rule], dtype=dtype, l2=0.01)
    assert_agrees(spec, fused, *data(spec, form), batch=BATCH)
    # Predictions alone have ReLU in a launch of its own.
    assert not {
        n for n in fused.launched if n.endswith("_bias") or n in ("bias_identity", "column_sum")
    }


@pytest.mark.parametrize(
    "epilogue", [4, 134, 152, 256], ids=["bias", "relu_aux_bias", "drelu_bgrad", "bgrada"]
)
@pytest.mark.parametrize("at_call", [False, True], ids=["not offered", "refused at the call"])
def test_a_missing_epilogue_falls_back(
    make_launcher: Any, dtype: str, epilogue: int, at_call: bool
) -> None:
    launcher = make_launcher(dtype, HostCublasLt())
    spec = NetworkSpec((7, 6, 5, 4), ("relu", "relu"), dtype=dtype)
    with refused_epilogue(epilogue, at_call=at_call):
        assert_agrees(spec, launcher, *data(spec, "indices"), batch=BATCH)


PAIRS = [
    pair for pair in activation_and_loss_pairs() if pair[1] in LOSSES and "softmax" not in pair[1]
]


@pytest.mark.parametrize(("activation", "loss"), PAIRS, ids=str)
def test_every_loss_and_activation_trains_as_by_the_reference_step(
    launcher: HostLauncher, loss: Any, activation: Any, dtype: str
) -> None:
    spec = NetworkSpec((7, 6, 3), (activation,), loss=loss, dtype=dtype)
    assert_agrees(spec, launcher, *data(spec, "values"), batch=BATCH)


@pytest.mark.parametrize(
    ("l2", "over_batch", "weighted"), [*product([0.0, 0.1], [False, True], [False, True])]
)
def test_penalties_and_weights_count_as_in_the_reference_step(
    launcher: HostLauncher, l2: float, over_batch: bool, weighted: bool, dtype: str
) -> None:
    spec = NetworkSpec(
        (7, 6, 4), ("relu",), rule=RULES["adam"], dtype=dtype, l2=l2, l2_over_batch=over_batch
    )
    weight = np.random.default_rng(3).random(ROWS).astype(dtype) if weighted else None
    assert_agrees(spec, launcher, *data(spec, "indices"), batch=BATCH, weight=weight)


@pytest.mark.parametrize("rates", [(0.5, 0.2), (0.0, 0.3)])
def test_dropout_draws_the_masks_of_the_reference_step(
    either: HostLauncher, rates: tuple[float, float], dtype: str
) -> None:
    activations: Any = ("relu", "relu") if either.lt else ("relu", "tanh")
    for seed in (5, 2**64 - 3, 2**100 + 1):
        spec = NetworkSpec((7, 6, 5, 4), activations, dtype=dtype, dropout=rates, seed=seed)
        assert_agrees(spec, either, *data(spec, "indices"), batch=BATCH)


@pytest.mark.parametrize("batch", [1, 23, 100])
@pytest.mark.parametrize("shuffled", [False, True])
def test_batches_of_one_some_and_all_rows_train_as_by_the_reference_step(
    launcher: HostLauncher, batch: int, shuffled: bool, dtype: str
) -> None:
    spec = NetworkSpec((7, 4), (), dtype=dtype)
    assert_agrees(spec, launcher, *data(spec, "indices"), batch=batch, shuffled=shuffled)


def test_many_classes_are_rows_of_blocks_and_many_rows_are_summed_in_chunks(
    make_launcher: Any,
) -> None:
    launcher = make_launcher("float64")
    spec = NetworkSpec((3, 2, 600), ("tanh",))
    assert_agrees(spec, launcher, *data(spec, "indices", rows=530), batch=530)
    assert {"cross_entropy_indices_block", "column_sum"} <= set(launcher.launched)


def test_a_step_is_that_of_a_network_written_out(launcher: HostLauncher, dtype: str) -> None:
    """One step of Adam and one of momentum with float64 formulas that share nothing with the
    library.
    """
    for rule in (RULES["adam"], RULES["momentum"]):
        spec = NetworkSpec((7, 6, 4), ("relu",), rule=rule, dtype=dtype)
        X, Y = data(spec, "indices")
        step = make(spec, launcher)
        step.params.update(weights(spec))
        W1, b1, W2, b2 = (value.astype(np.float64) for value in weights(spec).values())
        loss = step.epoch(X, Y, learning_rate=0.1, batch_size=ROWS)
        Z = X @ W1 + b1
        H = np.where(Z > 0, Z, 0)
        E = np.exp(H @ W2 + b2)
        P = E / E.sum(axis=1, keepdims=True)
        assert loss == pytest.approx(
            -np.log(P[np.arange(ROWS), Y]).mean(), rel=100 * float(np.finfo(dtype).eps)
        )
        D = (P - np.eye(4)[Y]) / ROWS
        DZ = (D @ W2.T) * (Z > 0)
        gradients = X.T @ DZ, DZ.sum(axis=0), H.T @ D, D.sum(axis=0)
        for name, value, gradient in zip(step.params, (W1, b1, W2, b2), gradients, strict=True):
            # Adam's first step is lr g / (|g| + eps), whatever the betas.
            moved = gradient if rule.momentum else gradient / (np.abs(gradient) + 1e-8)
            # That quotient amplifies a rounding of g by scale / |g|: gradients here are above 1e-3
            # of their terms.
            np.testing.assert_allclose(
                step.params[name], value - 0.1 * moved, atol=1e3 * np.finfo(dtype).eps
            )


@pytest.mark.parametrize(("ordered", "weighted"), [(False, True), (True, False)])
@pytest.mark.parametrize("loss", LOSSES)
def test_a_loss_takes_no_memory_for_gradients_and_is_the_references(
    launcher: HostLauncher,
    loss: Any,
    weighted: bool,
    ordered: bool,
    dtype: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("xpnet_cupy.plan.BLOCK_ROWS", 10)  # 23 rows are three blocks
    monkeypatch.setattr("xpnet_cupy.plan.BLOCK_BYTES", 0)
    spec = NetworkSpec(
        (7, 6, 4), ("relu",), loss=loss, dtype=dtype, l2=0.1, l2_over_batch=weighted, dropout=(0.5,)
    )
    X, Y = data(spec, "indices" if loss == "softmax_cross_entropy" else "values")
    weight = np.random.default_rng(3).random(ROWS).astype(dtype) if weighted else None
    rows = np.random.default_rng(4).permutation(ROWS)[:21] if ordered else None
    step, reference = both_steps(spec, launcher)
    found, wanted = (one.loss(X, Y, sample_weight=weight, rows=rows) for one in (step, reference))
    rtol = 300 * np.finfo(dtype).eps
    np.testing.assert_allclose((found, step.penalty), (wanted, reference.penalty), rtol=rtol)
    assert step.loss(X[:0], Y[:0]) == 0.0
    assert not step._network.trains and "gradients" not in vars(step._network)


@pytest.mark.parametrize("first_row", [0, 1, 6, 7])
def test_gradients_of_parts_add_up(either: HostLauncher, first_row: int, dtype: str) -> None:
    """Two parts of a batch, with dropout masks by the row of the whole batch, penalty in one of
    them.
    """
    spec = NetworkSpec(
        (7, 6, 5, 4), ("relu", "tanh"), dtype=dtype, l2=0.1, dropout=(0.3, 0.5), seed=5
    )
    X, Y = data(spec, "indices")
    weight = np.random.default_rng(3).random(ROWS).astype(dtype)
    order, total = np.random.default_rng(4).permutation(ROWS), float(weight.sum())
    step, reference = both_steps(spec, either)
    wanted, flat, loss = reference.gradient(X, Y, sample_weight=weight, rows=order), 0, 0.0
    for rows, first, penalized in (
        (order[:first_row], 0, True),
        (order[first_row:], first_row, False),
    ):
        part = BatchPart(total, first, penalized)
        loss += step.gradient(X, Y, sample_weight=weight, rows=rows, part=part)
        flat = flat + step.gradients.flat
    assert loss == pytest.approx(wanted, rel=300 * float(np.finfo(dtype).eps))
    step.gradients.flat[...] = flat
    for name in step.gradients:
        atol = 1e3 * np.finfo(dtype).eps * np.abs(reference.gradients[name]).max()
        np.testing.assert_allclose(step.gradients[name], reference.gradients[name], atol=atol)


def test_rows_that_stand_apart_in_their_batch_have_the_masks_of_their_places(
    either: HostLauncher, dtype: str
) -> None:
    """Each row has the mask of its place, for widths that divide into four words and for those that
    do not.
    """
    spec = NetworkSpec(
        (7, 6, 8, 1, 4), ("relu", "tanh", "relu"), dtype=dtype, dropout=(0.3, 0.5, 0.2), seed=5
    )
    X, Y = data(spec, "indices")
    order = np.random.default_rng(4).permutation(40)
    assert_same_gradient(spec, either, X, Y, part=BatchPart(40.0, first_row=5, places=order[:ROWS]))
    assert_parts_agree(spec, either, X, Y, placed=True)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    "loss", ["indices", "soft", "logistic_cross_entropy", "squared_error", "poisson"]
)
def test_parts_of_batches_train_as_by_the_reference_step(
    either: HostLauncher, loss: Any, weighted: bool, dtype: str
) -> None:
    """One of them has no rows."""
    settings: dict[str, Any] = {
        "dropout": (0.3, 0.0),
        "seed": 5,
        "l2": 0.1,
        "l2_over_batch": weighted,
    }
    form = loss if loss in ("indices", "soft") else "values"
    if form == "values":
        settings["loss"] = loss
    spec = NetworkSpec((7, 6, 5, 4), ("relu", "relu"), rule=RULES["adam"], dtype=dtype, **settings)
    weight = np.random.default_rng(3).random(ROWS).astype(dtype) if weighted else None
    assert_parts_agree(spec, either, *data(spec, form), weight)


def test_outputs_of_rows_that_are_not_there_may_be_anything(
    launcher: HostLauncher, dtype: str
) -> None:
    """The exponential of the last bias is infinite."""
    spec = NetworkSpec((2, 1), (), loss="poisson", dtype=dtype)
    step = make(spec, launcher)
    step.params["b1"], step.params["W1"] = np.full(1, 800.0, dtype), np.full((2, 1), -800.0, dtype)
    X, Y = np.ones((3, 2), dtype) / 2, np.ones((3, 1), dtype)
    loss = step.gradient(X[:0], Y[:0], part=BatchPart(3.0))
    assert loss == 0 and not step.gradients.flat.any()


@pytest.mark.parametrize("over_batch", [False, True])
def test_rows_without_weight_change_nothing_but_the_penalty(
    launcher: HostLauncher, over_batch: bool, dtype: str
) -> None:
    spec = NetworkSpec((7, 6, 4), ("relu",), dtype=dtype, l2=0.1, l2_over_batch=over_batch)
    X, Y = data(spec, "indices")
    nothing = np.zeros(ROWS, dtype)
    for part in (None, BatchPart(0.0), BatchPart(0.0, penalized=False), BatchPart(7.0)):
        step = assert_same_gradient(spec, launcher, X, Y, sample_weight=nothing, part=part)
        assert_same_gradient(spec, launcher, X[:0], Y[:0], part=part)
    assert step.loss(X, Y, sample_weight=nothing) == 0.0
    assert_agrees(spec, launcher, X, Y, batch=BATCH, weight=np.arange(ROWS, dtype=dtype) // 15)


def test_a_batch_without_weight_has_no_penalty_over_it(launcher: HostLauncher, dtype: str) -> None:
    spec = NetworkSpec((7, 6, 4), ("relu",), dtype=dtype, l2=0.1, l2_over_batch=True)
    weight = np.arange(ROWS, dtype=dtype) // BATCH
    assert_agrees(
        spec, launcher, *data(spec, "indices"), batch=BATCH, weight=weight, shuffled=False
    )


@pytest.mark.parametrize("widths", [(7, 6, 1), (1, 1), (1, 5, 3), (7, 6, 1, 1)])
@pytest.mark.parametrize("batch", [1, BATCH])
def test_widths_and_batches_of_one_train_as_by_the_reference_step(
    fused: HostLauncher, widths: tuple[int, ...], batch: int, dtype: str
) -> None:
    """cuBLASLt has no epilogues in the backward pass where the sum has one term."""
    spec = NetworkSpec(
        widths, ("relu",) * (len(widths) - 2), loss="squared_error", rule=RULES["adam"], dtype=dtype
    )
    assert_agrees(spec, fused, *data(spec, "values"), batch=batch)


@pytest.mark.parametrize(
    ("widths", "batch"), [((7, 6, 1), BATCH), ((7, 6, 3), 1)], ids=["one output", "one row"]
)
def test_an_epilogue_over_one_term_is_noticed(
    fused: HostLauncher,
    widths: tuple[int, ...],
    batch: int,
    dtype: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("xpnet_cupy.cublaslt.Product.has_epilogue", lambda product, k: True)
    spec = NetworkSpec(widths, ("relu",), loss="squared_error", dtype=dtype)
    with pytest.raises(BackendError, match="status 13"):
        assert_agrees(spec, fused, *data(spec, "values"), batch=batch)


def test_state_goes_on_where_it_was(launcher: HostLauncher, dtype: str) -> None:
    spec = NetworkSpec((7, 6, 4), ("relu",), rule=RULES["adam"], dtype=dtype)
    X, Y = data(spec, "indices")
    step, resumed = make(spec, launcher), make(spec, launcher)
    step.params.update(weights(spec))
    train(step, X, Y, batch=BATCH)
    resumed.load_state(step.state())
    assert train(step, X, Y, batch=BATCH) == train(resumed, X, Y, batch=BATCH)
    for name in step.params:
        np.testing.assert_array_equal(step.params[name], resumed.params[name])
    resumed.load_state(type(step.state())(weights(spec)))
    assert resumed.state().t == 0 and not resumed.state().buffers["m"]["W1"].any()


def test_batches_are_replayed_several_at_once_whatever_the_data(
    launcher: HostLauncher, dtype: str
) -> None:
    spec = NetworkSpec((7, 6, 4), ("relu",), dtype=dtype)
    X, Y = data(spec, "indices", rows=11 * BATCH + 5)
    step = make(spec, launcher)
    for epoch in range(3):
        step.epoch(X.copy(), Y.copy(), learning_rate=0.1, batch_size=BATCH, order=np.arange(len(X)))
        # A graph of what goes before and eight batches; one of four, the last of them smaller, and
        # what comes after.
        assert (launcher.graphs, launcher.replays) == (2 * bool(epoch), 2 * epoch)
    step.gradient(X, Y)  # in larger buffers, for which all graphs are captured again
    train(step, X, Y, batch=BATCH)
    assert launcher.graphs == 2 + 2


@pytest.mark.parametrize(("batches", "replays"), [(24, 0), (32, 2), (40, 3)])
def test_of_many_batches_a_recording_of_eight_is_replayed_within_the_first_epoch(
    launcher: HostLauncher, batches: int, replays: int
) -> None:
    """And the first eight and the last eight are made launch by launch; so are eight between them,
    which come once.
    """
    spec = NetworkSpec((7, 6, 4), ("relu",), dtype=launcher.dtype)
    X, Y = data(spec, "indices", rows=batches)
    make(spec, launcher).epoch(X, Y, learning_rate=0.1, batch_size=1)
    assert (launcher.graphs, launcher.replays) == (bool(replays), replays)
    # Once to load its kernels, then for each of the batches.
    assert launcher.launched.count("gradient_descent") == 1 + batches


CLIPPED: dict[str, dict[str, Any]] = {
    "penalty": {"l2": 0.1},
    "penalty over the batch": {"l2": 0.1, "l2_over_batch": True},
    "dropout": {"dropout": (0.5,), "seed": 3},
}


@pytest.mark.parametrize("norm", [None, 0.01, 0.2])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", CLIPPED)
def test_epochs_as_scikit_learn_counts_them(
    launcher: HostLauncher, kind: str, weighted: bool, norm: float | None, dtype: str
) -> None:
    spec = NetworkSpec((7, 6, 4), ("relu",), rule=RULES["adam"], dtype=dtype, **CLIPPED[kind])
    step, reference = assert_weighted_epochs_agree(spec, launcher, weighted=weighted, norm=norm)
    assert launcher.graphs == 1 and launcher.replays == 2
    step.update(learning_rate=0.05)  # an update by itself counts, whatever the last batch was
    assert step.state().t == reference.state().t + 1


def test_a_step_has_few_launches(fused: HostLauncher, dtype: str) -> None:
    spec = NetworkSpec((7, 6, 4), ("relu",), rule=RULES["adam"], dtype=dtype, l2=0.1)
    X, Y = data(spec, "indices")
    make(spec, fused).epoch(X, Y, learning_rate=0.1, batch_size=ROWS, order=np.arange(ROWS))
    # Gather with the clock, loss, update with the penalty; two products forward, dW2 with db2, dZ1
    # with db1, dW1.
    batch = ["begin", "next_batch", "cross_entropy_indices_warp", "adam"]
    # All launches of a new plan are loaded before any of them changes a parameter.
    assert fused.launched == [*batch, *batch, "finish"]
    assert len(fused.products) == 2 * 5


def test_launches_come_in_the_order_of_their_functions(fused: HostLauncher, dtype: str) -> None:
    """Where rows have weights and gradients are clipped; `launches` lists them in that order."""
    spec = NetworkSpec((7, 6, 4), ("relu",), rule=RULES["adam"], dtype=dtype, l2=0.1)
    X, Y = data(spec, "indices")
    step = make(spec, fused)
    how: dict[str, Any] = {"learning_rate": 0.1, "batch_size": ROWS, "max_grad_norm": 1.0}
    weight = np.ones(ROWS, dtype)
    step.weighted_epoch(X, Y, sample_weight=weight, **how)
    fused.launched.clear()
    step.weighted_epoch(X, Y, sample_weight=weight, **how)
    step.weighted_epoch(X, Y, sample_weight=weight, **how)
    wanted = (
        "begin next_batch batch_weight cross_entropy_indices_warp l2_penalty gradient_norm clip"
    )
    assert fused.launched == 2 * [*wanted.split(), "adam", "finish"]
    functions = [name for name, value in vars(launches).items() if inspect.isfunction(value)]
    own = ["next_batch", "batch_weight", "loss", "l2_penalty", "gradient_norm", "clip", "update"]
    assert [name for name in functions if name in own] == own


def test_rows_of_any_strides_and_labels_of_any_dtype_train_alike(
    launcher: HostLauncher, dtype: str
) -> None:
    spec = NetworkSpec((7, 6, 4), ("relu",), dtype=dtype)
    X, Y = data(spec, "indices")
    step, other = make(spec, launcher), make(spec, launcher)
    for one in (step, other):
        one.params.update(weights(spec))
    wide = np.empty((ROWS, 14), dtype)
    wide[:, ::2] = X
    assert train(step, X, Y, batch=BATCH) == train(
        other, wide[:, ::2], Y.astype(np.int8), batch=BATCH
    )


def test_an_epoch_of_no_rows_changes_nothing(launcher: HostLauncher, dtype: str) -> None:
    spec = NetworkSpec((7, 6, 4), ("relu",), dtype=dtype)
    X, Y = data(spec, "indices")
    step = make(spec, launcher)
    assert step.epoch(X[:0], Y[:0], learning_rate=1.0, batch_size=5) == 0.0 and step.state().t == 0
    assert step.forward(X[:0]).shape == (0, 4)


@pytest.mark.parametrize(
    "rows", [[20, 21, 22, 3, 4], np.random.default_rng(1).permutation(ROWS)], ids=["some", "all"]
)
def test_a_loss_of_some_rows_counts_their_weights(
    launcher: HostLauncher, rows: Any, dtype: str
) -> None:
    spec = NetworkSpec((7, 6, 4), ("relu",), dtype=dtype, l2=0.1)
    weight = np.random.default_rng(3).random(ROWS).astype(dtype)
    assert_same_gradient(
        spec, launcher, *data(spec, "indices"), sample_weight=weight, rows=np.asarray(rows)
    )


def test_nan_that_an_infinite_weight_makes_is_not_hidden(either: HostLauncher, dtype: str) -> None:
    """ReLU in a product turns NaN into 0."""
    spec = NetworkSpec((3, 4, 2), ("relu",), dtype=dtype)
    X, Y = np.array([[0, 1, 1], [0, 2, 1]], dtype), np.array([0, 1])
    step = make(spec, either)
    lost = weights(spec)
    lost["W1"][0, 0] = -np.inf
    step.params.update(lost)
    with np.errstate(invalid="ignore"):
        assert np.isnan(step.gradient(X, Y))
        assert all(np.isnan(step.epoch(X, Y, learning_rate=0.1, batch_size=2)) for _ in range(2))


def test_infinite_gradients_of_both_signs_are_no_nan(launcher: HostLauncher, dtype: str) -> None:
    spec = NetworkSpec((2, 2), (), loss="squared_error", dtype=dtype)
    X, Y = np.full((1, 2), np.finfo(dtype).max, dtype), np.array([[-1e30, 1e30]], dtype)
    step, reference = make(spec, launcher), ReferenceStep(spec, NumpyBackend(), "")
    with np.errstate(over="ignore"):
        found, wanted = step.gradient(X, Y), reference.gradient(X, Y)
    assert np.isposinf(step.gradients["W1"]).any() and np.isneginf(step.gradients["W1"]).any()
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("rule", ["sgd", "momentum", "adam", "lion"])
def test_nan_is_not_hidden(either: HostLauncher, rule: str, dtype: str) -> None:
    """ReLU in a product turns NaN into 0."""
    spec = NetworkSpec((7, 6, 4), ("relu",), rule=RULES[rule], dtype=dtype)
    X, Y = data(spec, "indices")
    step, clean = make(spec, either), X.copy()
    step.params.update(weights(spec))
    X[3, 2] = np.nan
    assert np.isnan(step.gradient(X, Y)) and np.isfinite(step.gradient(clean, Y))
    np.testing.assert_array_equal(np.isnan(step.forward(X)).any(axis=1), np.arange(ROWS) == 3)
    assert np.isfinite(step.epoch(clean, Y, learning_rate=0.1, batch_size=ROWS))
    for _ in range(2):  # and neither is it later, when parameters are lost
        assert np.isnan(step.epoch(X, Y, learning_rate=0.1, batch_size=BATCH))
    assert np.isnan(step.epoch(clean, Y, learning_rate=0.1, batch_size=BATCH))
    assert np.isnan(step.gradient(clean, Y))


@pytest.mark.parametrize("elsewhere", ["X", "Y", "sample_weight"])
def test_arrays_of_another_device_are_refused(
    launcher: HostLauncher, elsewhere: str, dtype: str
) -> None:
    spec = NetworkSpec((7, 4), (), dtype=dtype)
    step, (X, Y) = make(spec, launcher), data(spec, "indices")
    given = {"X": X, "Y": Y, "sample_weight": np.ones(ROWS, dtype)}
    step.backend.device = lambda array: "cuda:1" if array is given[elsewhere] else "cuda:0"  # type: ignore[method-assign]
    with pytest.raises(MixedArraysError, match="parameters are on cuda:0, got an array on cuda:1"):
        step.epoch(
            given["X"],
            given["Y"],
            sample_weight=given["sample_weight"],
            learning_rate=0.1,
            batch_size=4,
        )


@pytest.mark.parametrize(
    ("width", "members", "rows", "block"),
    [
        *((784, 1, 20_000, 10_699), (784, 4, 20_000, 2_674), (784, 4, 100, 100)),
        *((4_000, 1, 20_000, 8_192), (4_000, 10_000, 9, 1)),
    ],
)
def test_a_block_of_a_prediction_has_at_most_64_mib(
    width: int, members: int, rows: int, block: int
) -> None:
    """64 MiB of rows and outputs of all members, or 8,192 rows; at least one of each member."""
    spec = NetworkSpec((width, width), (), members=members, dtype="float32")
    assert block_rows(spec, rows) == block
