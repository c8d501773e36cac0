"""The whole compiled step on the host, against the reference step and against a network written out
in NumPy.
"""

import inspect
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import pytest
from helpers.cuda.host import HostCublasLt, HostLauncher, refused_epilogue
from helpers.cuda.rig import needs_compiler
from helpers.cuda.steps import (
    BATCH,
    ROW_WEIGHTS,
    ROWS,
    RULES,
    Training,
    assert_parts_agree,
    assert_same_gradient,
    assert_same_gradients,
    assert_weighted_epochs_agree,
    blocks_of,
    data,
    gradient_tolerance,
    make,
    network,
    on_host,
    train,
    weights,
)
from helpers.pairs import activation_and_loss_pairs
from xpnet_cupy import launches
from xpnet_cupy.launcher import LOSSES
from xpnet_cupy.plan import block_rows

from xpnet.backend import BatchPart
from xpnet.errors import BackendError, MixedArraysError
from xpnet.ops import UPDATES

pytestmark = needs_compiler

DEEP = {"widths": (7, 6, 5, 4), "activations": ("relu", "tanh")}
"""Settings of a network of two hidden layers."""


# --- Trainings

TRAININGS = {name: Training({**DEEP, "rule": rule}) for name, rule in RULES.items()}
TRAININGS |= {
    f"adam, {labels} labels": Training({**DEEP, "rule": RULES["adam"]}, labels)
    for labels in ("one-hot", "soft")
}
TRAININGS |= {
    f"{activation} and {loss}": Training(
        {"widths": (7, 6, 3), "activations": (activation,), "loss": loss}
    )
    for activation, loss in activation_and_loss_pairs()
    if loss in LOSSES and "softmax" not in loss
}
TRAININGS |= {
    f"penalty {l2} over the {'batch' if over_batch else 'rows'}{', weights' * weighted}": Training(
        {"rule": RULES["adam"], "l2": l2, "l2_over_batch": over_batch},
        weight=ROW_WEIGHTS if weighted else None,
    )
    for l2, over_batch, weighted in product([0.0, 0.1], [False, True], [False, True])
}
TRAININGS |= {
    f"batches of {batch}{', shuffled' * shuffled}": Training(
        {"widths": (7, 4)}, batch=batch, shuffled=shuffled
    )
    for batch in (1, ROWS, 100)
    for shuffled in (False, True)
}
TRAININGS |= {
    f"rows without weight, penalty over the {'batch' if over_batch else 'rows'}": Training(
        {"l2": 0.1, "l2_over_batch": over_batch}, weight=np.arange(ROWS) // 15
    )
    for over_batch in (False, True)
}
TRAININGS["a batch without weight has no penalty over it"] = Training(
    {"l2": 0.1, "l2_over_batch": True}, weight=np.arange(ROWS) // BATCH, shuffled=False
)


@pytest.mark.parametrize("training", TRAININGS)
def test_a_network_trains_as_by_the_reference_step(launcher: HostLauncher, training: str) -> None:
    TRAININGS[training].assert_agrees(launcher)


FUSED_TRAININGS = {
    f"{rule}, {labels}": Training(
        {"widths": (7, 130, 5, 4), "rule": RULES[rule], "l2": 0.01}, labels
    )
    for rule in ("momentum", *UPDATES)
    for labels in ("indices", "soft")
}
# cuBLASLt has no epilogues in the backward pass where the sum has one term.
FUSED_TRAININGS_OF_ONE = {
    f"widths {widths}, batches of {batch}": Training(
        {"widths": widths, "loss": "squared_error", "rule": RULES["adam"]}, batch=batch
    )
    for widths in ((7, 6, 1), (1, 1), (1, 5, 3), (7, 6, 1, 1))
    for batch in (1, BATCH)
}


@pytest.mark.parametrize("training", FUSED_TRAININGS)
def test_a_step_of_fused_products_needs_no_kernel_for_biases(
    fused: HostLauncher, training: str
) -> None:
    FUSED_TRAININGS[training].assert_agrees(fused)
    # Predictions alone have ReLU in a launch of its own.
    assert not {
        n for n in fused.launched if n.endswith("_bias") or n in ("bias_identity", "column_sum")
    }


@pytest.mark.parametrize("training", FUSED_TRAININGS_OF_ONE)
def test_widths_and_batches_of_one_train_as_by_the_reference_step(
    fused: HostLauncher, training: str
) -> None:
    FUSED_TRAININGS_OF_ONE[training].assert_agrees(fused)


@pytest.mark.parametrize(
    ("widths", "batch"), [((7, 6, 1), BATCH), ((7, 6, 3), 1)], ids=["one output", "one row"]
)
def test_an_epilogue_over_one_term_is_noticed(
    fused: HostLauncher, widths: tuple[int, ...], batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xpnet_cupy.cublaslt.Product.has_epilogue", lambda product, k: True)
    training = Training({"widths": widths, "loss": "squared_error"}, batch=batch)
    with pytest.raises(BackendError, match="status 13"):
        training.assert_agrees(fused)


@pytest.mark.parametrize(
    "epilogue", [4, 134, 152, 256], ids=["bias", "relu_aux_bias", "drelu_bgrad", "bgrada"]
)
@pytest.mark.parametrize("at_call", [False, True], ids=["not offered", "refused at the call"])
def test_a_missing_epilogue_falls_back(
    make_launcher: Any, dtype: str, epilogue: int, at_call: bool
) -> None:
    with refused_epilogue(epilogue, at_call=at_call):
        Training({"widths": (7, 6, 5, 4)}).assert_agrees(make_launcher(dtype, HostCublasLt()))


@pytest.mark.parametrize("seed", [5, 2**64 - 3, 2**100 + 1])
@pytest.mark.parametrize("rates", [(0.5, 0.2), (0.0, 0.3)])
def test_dropout_draws_the_masks_of_the_reference_step(
    either: HostLauncher, rates: tuple[float, float], seed: int
) -> None:
    activations = ("relu", "relu") if either.lt else ("relu", "tanh")
    Training({**DEEP, "activations": activations, "dropout": rates, "seed": seed}).assert_agrees(
        either
    )


def test_many_classes_are_rows_of_blocks_and_many_rows_are_summed_in_chunks(
    make_launcher: Any,
) -> None:
    launcher = make_launcher("float64")
    settings = {"widths": (3, 2, 600), "activations": ("tanh",)}
    Training(settings, rows=530, batch=530).assert_agrees(launcher)
    assert {"cross_entropy_indices_block", "column_sum"} <= set(launcher.launched)


@pytest.mark.parametrize("rule", ["adam", "momentum"])
def test_a_step_is_that_of_a_network_written_out(
    launcher: HostLauncher, rule: str, dtype: str
) -> None:
    """One step, with float64 formulas that share nothing with the library."""
    spec = network(dtype, rule=RULES[rule])
    X, Y = data(spec)
    step = make(spec, launcher)
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
        moved = gradient if rule == "momentum" else gradient / (np.abs(gradient) + 1e-8)
        # That quotient amplifies a rounding of g by scale / |g|: gradients here are above 1e-3
        # of their terms.
        np.testing.assert_allclose(
            step.params[name], value - 0.1 * moved, atol=1e3 * np.finfo(dtype).eps
        )


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
    spec = network(dtype, rule=RULES["adam"], **CLIPPED[kind])
    step, reference = assert_weighted_epochs_agree(spec, launcher, weighted=weighted, norm=norm)
    assert launcher.graphs == 1 and launcher.replays == 2
    step.update(learning_rate=0.05)  # an update by itself counts, whatever the last batch was
    assert step.state().t == reference.state().t + 1


def test_state_goes_on_where_it_was(launcher: HostLauncher, dtype: str) -> None:
    spec = network(dtype, rule=RULES["adam"])
    X, Y = data(spec)
    step, resumed = make(spec, launcher), make(spec, launcher)
    train(step, X, Y)
    resumed.load_state(step.state())
    assert train(step, X, Y) == train(resumed, X, Y)
    for name in step.params:
        np.testing.assert_array_equal(step.params[name], resumed.params[name])
    resumed.load_state(type(step.state())(weights(spec)))
    assert resumed.state().t == 0 and not resumed.state().buffers["m"]["W1"].any()


def test_rows_of_any_strides_and_labels_of_any_dtype_train_alike(
    launcher: HostLauncher, dtype: str
) -> None:
    spec = network(dtype)
    X, Y = data(spec)
    wide = np.empty((ROWS, 14), dtype)
    wide[:, ::2] = X
    losses = train(make(spec, launcher), X, Y)
    assert losses == train(make(spec, launcher), wide[:, ::2], Y.astype(np.int8))


def test_an_epoch_of_no_rows_changes_nothing(launcher: HostLauncher, dtype: str) -> None:
    spec = network(dtype)
    X, Y = data(spec, rows=0)
    step = make(spec, launcher)
    assert step.epoch(X, Y, learning_rate=1.0, batch_size=5) == 0.0 and step.state().t == 0
    assert step.forward(X).shape == (0, 4)


# --- Losses and gradients


@pytest.mark.parametrize(("ordered", "weighted"), [(False, True), (True, False)])
@pytest.mark.parametrize("loss", LOSSES)
def test_a_loss_takes_no_memory_for_gradients_and_is_the_references(
    launcher: HostLauncher, loss: str, weighted: bool, ordered: bool, dtype: str
) -> None:
    """23 rows are three blocks."""
    spec = network(dtype, loss=loss, l2=0.1, l2_over_batch=weighted, dropout=(0.5,))
    pair = on_host(spec, launcher)
    options = {
        "sample_weight": ROW_WEIGHTS.astype(dtype) if weighted else None,
        "rows": np.random.default_rng(4).permutation(ROWS)[:21] if ordered else None,
    }
    with blocks_of(10):
        measured, wanted = pair.both(lambda step, X, Y: step.loss(X, Y, **options))
    np.testing.assert_allclose(
        (measured, pair.step.penalty),
        (wanted, pair.reference.penalty),
        rtol=gradient_tolerance(dtype),
    )
    assert pair.step.loss(pair.X[:0], pair.Y[:0]) == 0.0
    memory = pair.step._network
    assert not memory.trains and "gradients" not in vars(memory)


class Gradient(NamedTuple):
    """A gradient that is asked for.

    settings : of `network`; count : number of rows; weight : of the rows, or None
    options : of `gradient`
    """

    settings: dict[str, Any]
    count: int = ROWS
    weight: Any = None
    options: dict[str, Any] = {}


PARTS_WITHOUT_WEIGHT = {
    "a batch": None,
    "a part": BatchPart(0.0),
    "a part without the penalty": BatchPart(0.0, penalized=False),
    "a part of a batch that has weight": BatchPart(7.0),
}
GRADIENTS = {
    f"{part} of rows {rows}, penalty over the {'batch' if over_batch else 'rows'}": Gradient(
        {"l2": 0.1, "l2_over_batch": over_batch},
        ROWS if rows == "without weight" else 0,
        np.zeros(ROWS) if rows == "without weight" else None,
        {"part": PARTS_WITHOUT_WEIGHT[part]},
    )
    for part in PARTS_WITHOUT_WEIGHT
    for rows in ("without weight", "that are not there")
    for over_batch in (False, True)
}
GRADIENTS |= {
    f"{name} rows in an order, with weights": Gradient(
        {"l2": 0.1}, weight=ROW_WEIGHTS, options={"rows": np.asarray(order)}
    )
    for name, order in (
        ("some", [20, 21, 22, 3, 4]),
        ("all", np.random.default_rng(1).permutation(ROWS)),
    )
}


@pytest.mark.parametrize("case", GRADIENTS)
def test_a_gradient_is_that_of_the_reference_step(
    launcher: HostLauncher, case: str, dtype: str
) -> None:
    """Rows without weight change nothing but the penalty."""
    settings, count, weight, options = GRADIENTS[case]
    if weight is not None:
        options = {**options, "sample_weight": weight.astype(dtype)}
    assert_same_gradient(network(dtype, **settings), launcher, count, **options)


@pytest.mark.parametrize("over_batch", [False, True])
def test_rows_without_weight_have_no_loss(
    launcher: HostLauncher, over_batch: bool, dtype: str
) -> None:
    spec = network(dtype, l2=0.1, l2_over_batch=over_batch)
    step = make(spec, launcher)
    assert step.loss(*data(spec), sample_weight=np.zeros(ROWS, dtype)) == 0.0


@pytest.mark.parametrize("first_row", [0, 1, 6, 7])
def test_gradients_of_parts_add_up(either: HostLauncher, first_row: int, dtype: str) -> None:
    """Two parts of a batch, with dropout masks by the row of the whole batch, penalty in one of
    them.
    """
    pair = on_host(network(dtype, **DEEP, l2=0.1, dropout=(0.3, 0.5), seed=5), either)
    weight = ROW_WEIGHTS.astype(dtype)
    order, total = np.random.default_rng(4).permutation(ROWS), float(weight.sum())
    X, Y = pair.X, pair.Y
    wanted, flat, loss = pair.reference.gradient(X, Y, sample_weight=weight, rows=order), 0, 0.0
    for rows, first, penalized in (
        (order[:first_row], 0, True),
        (order[first_row:], first_row, False),
    ):
        part = BatchPart(total, first, penalized)
        loss += pair.step.gradient(X, Y, sample_weight=weight, rows=rows, part=part)
        flat = flat + pair.step.gradients.flat
    assert loss == pytest.approx(wanted, rel=gradient_tolerance(dtype))
    pair.step.gradients.flat[...] = flat
    assert_same_gradients(pair.step, pair.reference)


class Parts(NamedTuple):
    """A network that trains on parts of batches, and the arguments of `assert_parts_agree`."""

    settings: dict[str, Any]
    labels: str = ""
    weight: Any = None
    placed: bool = False


PARTS = {
    f"{kind}{', weights' * weighted}": Parts(
        {
            "widths": (7, 6, 5, 4),
            "rule": RULES["adam"],
            "loss": "softmax_cross_entropy" if kind in ("indices", "soft") else kind,
            "dropout": (0.3, 0.0),
            "seed": 5,
            "l2": 0.1,
            "l2_over_batch": weighted,
        },
        kind if kind in ("indices", "soft") else "values",
        ROW_WEIGHTS if weighted else None,
    )
    for kind in ("indices", "soft", "logistic_cross_entropy", "squared_error", "poisson")
    for weighted in (False, True)
}
# Widths that divide into four words, and some that do not.
MASKED = {
    "widths": (7, 6, 8, 1, 4),
    "activations": ("relu", "tanh", "relu"),
    "dropout": (0.3, 0.5, 0.2),
    "seed": 5,
}
PARTS["rows that stand apart in their batch"] = Parts(MASKED, placed=True)


@pytest.mark.parametrize("case", PARTS)
def test_parts_of_batches_train_as_by_the_reference_step(
    either: HostLauncher, case: str, dtype: str
) -> None:
    settings, labels, weight, placed = PARTS[case]
    weight = None if weight is None else weight.astype(dtype)
    spec = network(dtype, **settings)
    assert_parts_agree(spec, either, labels=labels, weight=weight, placed=placed)


def test_rows_that_stand_apart_in_their_batch_have_the_masks_of_their_places(
    either: HostLauncher, dtype: str
) -> None:
    places = np.random.default_rng(4).permutation(40)[:ROWS]
    part = BatchPart(40.0, first_row=5, places=places)
    assert_same_gradient(network(dtype, **MASKED), either, part=part)


def test_outputs_of_rows_that_are_not_there_may_be_anything(
    launcher: HostLauncher, dtype: str
) -> None:
    """The exponential of the last bias is infinite."""
    spec = network(dtype, widths=(2, 1), loss="poisson")
    step = make(spec, launcher)
    step.params["b1"], step.params["W1"] = np.full(1, 800.0, dtype), np.full((2, 1), -800.0, dtype)
    loss = step.gradient(*data(spec, rows=0), part=BatchPart(3.0))
    assert loss == 0 and not step.gradients.flat.any()


# --- Numbers that are not finite


def test_nan_that_an_infinite_weight_makes_is_not_hidden(either: HostLauncher, dtype: str) -> None:
    """ReLU in a product turns NaN into 0."""
    step = make(network(dtype, widths=(3, 4, 2)), either)
    X, Y = np.array([[0, 1, 1], [0, 2, 1]], dtype), np.array([0, 1])
    step.params["W1"][0, 0] = -np.inf
    with np.errstate(invalid="ignore"):
        assert np.isnan(step.gradient(X, Y))
        assert all(np.isnan(step.epoch(X, Y, learning_rate=0.1, batch_size=2)) for _ in range(2))


def test_infinite_gradients_of_both_signs_are_no_nan(launcher: HostLauncher, dtype: str) -> None:
    spec = network(dtype, widths=(2, 2), loss="squared_error")
    X, Y = np.full((1, 2), np.finfo(dtype).max, dtype), np.array([[-1e30, 1e30]], dtype)
    pair = on_host(spec, launcher)
    for one in (pair.step, pair.reference):
        one.params.update({name: np.zeros_like(array) for name, array in one.params.items()})
    with np.errstate(over="ignore"):
        loss, wanted = pair.both(lambda step, *_: step.gradient(X, Y))
    gradient = pair.step.gradients["W1"]
    assert np.isposinf(gradient).any() and np.isneginf(gradient).any()
    np.testing.assert_array_equal(loss, wanted)


@pytest.mark.parametrize("rule", ["sgd", "momentum", "adam", "lion"])
def test_nan_is_not_hidden(either: HostLauncher, rule: str, dtype: str) -> None:
    """ReLU in a product turns NaN into 0."""
    spec = network(dtype, rule=RULES[rule])
    X, Y = data(spec)
    step, clean = make(spec, either), X.copy()
    X[3, 2] = np.nan
    assert np.isnan(step.gradient(X, Y)) and np.isfinite(step.gradient(clean, Y))
    np.testing.assert_array_equal(np.isnan(step.forward(X)).any(axis=1), np.arange(ROWS) == 3)
    assert np.isfinite(step.epoch(clean, Y, learning_rate=0.1, batch_size=ROWS))
    for _ in range(2):  # and neither is it later, when parameters are lost
        assert np.isnan(step.epoch(X, Y, learning_rate=0.1, batch_size=BATCH))
    assert np.isnan(step.epoch(clean, Y, learning_rate=0.1, batch_size=BATCH))
    assert np.isnan(step.gradient(clean, Y))


# --- Launches and graphs


class Launched(NamedTuple):
    """The kernels of a batch, in order.

    weighted : whether rows have weights; options : of the epoch
    """

    kernels: str
    weighted: bool = False
    options: dict[str, Any] = {}


LAUNCHED = {
    # Gather with the clock, loss, update with the penalty.
    "few in an epoch": Launched("next_batch cross_entropy_indices_warp adam"),
    "in the order of the functions of `launches`": Launched(
        "next_batch batch_weight cross_entropy_indices_warp l2_penalty gradient_norm clip adam",
        weighted=True,
        options={"max_grad_norm": 1.0},
    ),
}


@pytest.mark.parametrize("case", LAUNCHED)
def test_the_launches_of_a_batch_are(fused: HostLauncher, case: str, dtype: str) -> None:
    kernels, weighted, options = LAUNCHED[case]
    spec = network(dtype, rule=RULES["adam"], l2=0.1)
    step, (X, Y) = make(spec, fused), data(spec)
    weight = np.ones(ROWS, dtype) if weighted else None
    settings: dict[str, Any] = {"learning_rate": 0.1, "batch_size": ROWS, "order": np.arange(ROWS)}
    run = step.weighted_epoch if options else step.epoch
    batch = ["begin", *kernels.split()]
    # All launches of a new plan are loaded before any of them changes a parameter.
    for launched in ([*batch, *batch, "finish"], [*batch, "finish"], [*batch, "finish"]):
        fused.launched.clear()
        fused.products.clear()
        run(X, Y, sample_weight=weight, **settings, **options)
        assert fused.launched == launched
        # Two products forward, dW2 with db2, dZ1 with db1, dW1.
        assert len(fused.products) == launched.count("begin") * 5


def test_the_functions_of_launches_stand_in_the_order_of_a_batch() -> None:
    functions = [name for name, value in vars(launches).items() if inspect.isfunction(value)]
    own = ["next_batch", "batch_weight", "loss", "l2_penalty", "gradient_norm", "clip", "update"]
    assert [name for name in functions if name in own] == own


def test_batches_are_replayed_several_at_once_whatever_the_data(
    launcher: HostLauncher, dtype: str
) -> None:
    spec = network(dtype)
    X, Y = data(spec, rows=11 * BATCH + 5)
    step = make(spec, launcher)
    for epoch in range(3):
        step.epoch(X.copy(), Y.copy(), learning_rate=0.1, batch_size=BATCH, order=np.arange(len(X)))
        # A graph of what goes before and eight batches; one of four, the last of them smaller, and
        # what comes after.
        assert (launcher.graphs, launcher.replays) == (2 * bool(epoch), 2 * epoch)
    step.gradient(X, Y)  # in larger buffers, for which all graphs are captured again
    train(step, X, Y)
    assert launcher.graphs == 2 + 2


@pytest.mark.parametrize(("batches", "replays"), [(24, 0), (32, 2), (40, 3)])
def test_of_many_batches_a_recording_of_eight_is_replayed_within_the_first_epoch(
    launcher: HostLauncher, batches: int, replays: int
) -> None:
    """And the first eight and the last eight are made launch by launch; so are eight between them,
    which come once.
    """
    spec = network(launcher.dtype)
    X, Y = data(spec, rows=batches)
    make(spec, launcher).epoch(X, Y, learning_rate=0.1, batch_size=1)
    assert (launcher.graphs, launcher.replays) == (bool(replays), replays)
    # Once to load its kernels, then for each of the batches.
    assert launcher.launched.count("gradient_descent") == 1 + batches


@pytest.mark.parametrize("elsewhere", ["X", "Y", "sample_weight"])
def test_arrays_of_another_device_are_refused(
    launcher: HostLauncher, elsewhere: str, dtype: str
) -> None:
    spec = network(dtype, widths=(7, 4))
    step, (X, Y) = make(spec, launcher), data(spec)
    arrays = {"X": X, "Y": Y, "sample_weight": np.ones(ROWS, dtype)}
    step.backend.device = lambda array: "cuda:1" if array is arrays[elsewhere] else "cuda:0"  # type: ignore[method-assign]
    with pytest.raises(MixedArraysError, match="parameters are on cuda:0, got an array on cuda:1"):
        step.epoch(**arrays, learning_rate=0.1, batch_size=4)


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
    spec = network("float32", widths=(width, width), members=members)
    assert block_rows(spec, rows) == block
