"""An epoch in one launch: the reference's answers for every rule, loss and activation, and where it is not taken."""

from typing import Any

import numpy as np
import pytest
from cuda_checks import BATCH, GRAPHS, RESIDENT, ROWS, RULES, assert_agrees, data, make, train, weights
from cuda_host import HostLauncher, needs_compiler
from xpnet_cupy.resident import ACTIVATIONS

from xpnet.backend import NetworkSpec, UpdateRule

pytestmark = needs_compiler


def assert_one_launch(spec: NetworkSpec, launcher: HostLauncher, X: Any, Y: Any, **options: Any) -> Any:
    step = assert_agrees(spec, launcher, X, Y, using=RESIDENT, **options)
    training = [name for name in launcher.launched if not name.startswith(("bias_", "softmax"))]
    assert training and set(training) == {"train_epoch"}
    return step


@pytest.mark.parametrize("form", ["indices", "soft"])
@pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())
def test_every_rule_and_label_form(launcher: HostLauncher, rule: UpdateRule, form: str, dtype: str) -> None:
    spec = NetworkSpec((7, 6, 5, 4), ("relu", "tanh"), rule=rule, dtype=dtype, l2=0.1)
    assert_one_launch(spec, launcher, *data(spec, form), batch=BATCH)


@pytest.mark.parametrize("loss", ["logistic_cross_entropy", "squared_error", "poisson"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_loss_and_activation(launcher: HostLauncher, loss: Any, activation: Any, dtype: str) -> None:
    spec = NetworkSpec((7, 6, 3), (activation,), loss=loss, dtype=dtype)
    assert_one_launch(spec, launcher, *data(spec, "values"), batch=BATCH)


@pytest.mark.parametrize("activation", ["gelu", "gelu_tanh", "silu"])
def test_what_keeps_its_input_takes_several_launches(launcher: HostLauncher, activation: Any, dtype: str) -> None:
    spec = NetworkSpec((7, 6, 3), (activation,), dtype=dtype)
    step = assert_agrees(spec, launcher, *data(spec, "indices"), using=RESIDENT, batch=BATCH)
    assert "train_epoch" not in launcher.launched
    assert step._resident.reason == f"the gradient of {activation} reads more than outputs"


@pytest.mark.parametrize("loss", ["absolute_error", "huber", "quantile", "gamma", "tweedie"])
def test_other_losses_take_several_launches(launcher: HostLauncher, loss: Any, dtype: str) -> None:
    step = make(NetworkSpec((7, 6, 3), ("tanh",), loss=loss, dtype=dtype), launcher, RESIDENT)
    assert step._resident.reason == f"the loss is {loss}"


@pytest.mark.parametrize("over_batch", [False, True])
def test_penalty_and_weights(launcher: HostLauncher, over_batch: bool, dtype: str) -> None:
    spec = NetworkSpec((7, 6, 4), ("relu",), rule=RULES["adam"], dtype=dtype, l2=0.1, l2_over_batch=over_batch)
    weight = np.random.default_rng(3).random(ROWS).astype(dtype)
    assert_one_launch(spec, launcher, *data(spec, "indices"), batch=BATCH, weight=weight)


@pytest.mark.parametrize("batch", [1, 23, 100])
@pytest.mark.parametrize("widths", [(7, 4), (1, 1), (64, 32, 10), (3, 70, 33, 2)])
def test_batches_and_widths(launcher: HostLauncher, widths: tuple[int, ...], batch: int, dtype: str) -> None:
    spec = NetworkSpec(widths, ("relu",) * (len(widths) - 2), dtype=dtype)
    assert_one_launch(spec, launcher, *data(spec, "indices"), batch=batch, shuffled=batch == 23)


@pytest.mark.parametrize("room", ["tiles of 8 rows", "buffers outside"])
def test_little_shared_memory(launcher: HostLauncher, room: str, dtype: str) -> None:
    spec = NetworkSpec((7, 6, 4), ("relu",), rule=RULES["adam"], dtype=dtype)
    item = np.dtype(dtype).itemsize
    size = make(spec, launcher)._network.params.flat.size
    row = 8 + item * (7 + 2 * (7 + 5))
    held = 4 if room == "tiles of 8 rows" else 2
    launcher.shared_bytes = 128 + held * size * item + (8 if held == 4 else 24) * row
    X, Y = data(spec, "indices")
    step = assert_one_launch(spec, launcher, X, Y, batch=8 if held == 4 else ROWS)
    layout = step._resident._layout(8 if held == 4 else ROWS)
    assert (layout.tile_rows, layout.kept) == ((8, True) if held == 4 else (24, False))


def test_a_batch_in_several_tiles(launcher: HostLauncher, dtype: str) -> None:
    spec = NetworkSpec((7, 6, 4), ("relu",), rule=RULES["adam"], dtype=dtype, l2=0.1)
    step = assert_one_launch(spec, launcher, *data(spec, "indices", rows=300), batch=290)
    assert step._resident._layout(290).tile_rows == 100


def test_it_goes_on_from_a_state_and_hides_no_nan(launcher: HostLauncher, dtype: str) -> None:
    spec = NetworkSpec((7, 6, 4), ("relu",), rule=RULES["adam"], dtype=dtype)
    X, Y = data(spec, "indices")
    step, resumed, graphs = (make(spec, launcher, options) for options in (RESIDENT, RESIDENT, GRAPHS))
    step.params.update(weights(spec))
    train(step, X, Y, batch=BATCH)
    for other in (resumed, graphs):
        other.load_state(step.state())
    losses = [train(one, X, Y, batch=BATCH) for one in (step, resumed, graphs)]
    assert losses[0] == losses[1] and losses[0] == pytest.approx(losses[2], rel=1e3 * float(np.finfo(dtype).eps))
    assert step.state().t == graphs.state().t == 18
    X[3, 2] = np.nan
    assert np.isnan(step.epoch(X, Y, learning_rate=0.1, batch_size=BATCH))


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        (NetworkSpec((129, 2), ()), "layers are wider than 128"),
        (NetworkSpec((7, 6, 4), ("relu",), dropout=(0.5,)), "there is dropout"),
        (
            NetworkSpec((128, 128, 128, 2), ("relu", "relu")),
            "the network does not fit into a multiprocessor's shared memory",
        ),
    ],
)
def test_where_it_is_not_taken_the_reason_is_told(libraries: Any, spec: NetworkSpec, reason: str) -> None:
    step = make(spec, HostLauncher(libraries["float64"], "float64"), RESIDENT)
    assert "8 batches a CUDA graph" in step.why and f"; no epoch in one launch, since {reason}" in step.why
    assert "as asked for" in make(spec, HostLauncher(libraries["float64"], "float64"), GRAPHS).why


def test_large_batches_stay_with_graphs(libraries: Any) -> None:
    spec = NetworkSpec((64, 32, 10), ("relu",))
    launcher = HostLauncher(libraries["float64"], "float64")
    step = make(spec, launcher, RESIDENT)
    assert 128 < step._resident.batch_rows < 1000
    X, Y = data(spec, "indices", rows=step._resident.batch_rows + 1)
    step.epoch(X, Y, learning_rate=0.1, batch_size=len(X))
    assert "train_epoch" not in launcher.launched
