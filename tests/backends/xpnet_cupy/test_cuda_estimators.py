"""Estimators and networks over the stand-in for CuPy use the compiled step, and copy little."""

from typing import Any

import numpy as np
import pytest
from helpers.cuda.cupy_on_host import cupy
from helpers.cuda.device_arrays import uploaded
from helpers.cuda.rig import needs_compiler
from helpers.cuda.streams import Stream, current

import xpnet
from xpnet.backend import NetworkSpec, UpdateRule
from xpnet.steps import make_step

pytestmark = [needs_compiler, pytest.mark.usefixtures("cuda")]
ROWS = 60
RNG = np.random.default_rng(0)
X, Y, WEIGHT = RNG.standard_normal((ROWS, 7)), RNG.integers(0, 3, ROWS), RNG.random(ROWS)


def test_a_stream_that_the_user_chose_stays_current() -> None:
    """``Stream.use()`` is not undone by training, prediction or making a step, which run on streams
    of their own.
    """
    chosen = Stream(non_blocking=True)
    before = current()
    chosen.use()
    try:
        network = xpnet.FeedforwardNeuralNet(7, 6, 3, backend="cupy", rng=0)
        for call in (
            lambda: network.fit(cupy.asarray(X), cupy.asarray(Y), epochs=2, batch_size=16),
            lambda: network.predict(cupy.asarray(X)),
            lambda: network.step(cupy.asarray(X), cupy.asarray(Y)),
        ):
            call()
            assert current() is chosen
    finally:
        before.use()


def test_members_train_by_the_compiled_step() -> None:
    spec = NetworkSpec((7, 6, 3), ("relu",), members=4, dropout=(0.5,))
    steps = [make_step(spec, xpnet.get_backend(name)) for name in ("numpy", "cupy")]
    values = {slot.name: RNG.standard_normal(slot.shape) for slot in spec.slots()}
    losses = []
    for step, bring in zip(steps, (np.asarray, cupy.asarray), strict=True):
        step.params.update({name: bring(value) for name, value in values.items()})
        losses.append(step.epoch(bring(X), bring(Y), learning_rate=0.1, batch_size=16))
    assert "compiled CuPy step" in steps[1].why
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-12)


def test_a_table_trains_by_the_compiled_step() -> None:
    """Members with dropout, early stopping by means of parameters, and a last training on all
    rows.
    """
    settings = {"networks": 2, "max_iter": 4, "dropout": 0.2, "dtype": "float64"}
    models = [
        xpnet.TabularClassifier(random_state=0, backend=backend, **settings)
        for backend in ("numpy", "cupy")
    ]
    probabilities = [model.fit(X, Y, sample_weight=WEIGHT).predict_proba(X) for model in models]
    assert "compiled CuPy step" in models[1].why_
    np.testing.assert_allclose(*probabilities, rtol=1e-7, atol=1e-9)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("goes_on", [False, True])
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_offsets_are_refused_and_change_nothing(solver: str, goes_on: bool) -> None:
    settings = {"solver": solver, "max_iter": 2, "backend": "cupy", "random_state": 0}
    model = xpnet.MLPClassifier((6,), **settings, warm_start=True)
    if goes_on:
        model.fit(X, Y > 0)
    before = [array.copy() for array in model.coefs_] if goes_on else None
    with pytest.raises(xpnet.InputError, match="must train without offsets"):
        model.fit(X, Y > 0, offset=np.linspace(-1.0, 1.0, ROWS))
    assert hasattr(model, "coefs_") == goes_on
    if goes_on:
        for array, expected in zip(model.coefs_, before, strict=True):
            np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize("by_user", [False, True], ids=["folds", "validation rows of the user"])
def test_all_networks_of_a_table_share_one_copy_of_its_rows(by_user: bool) -> None:
    """The training and validation rows of all networks are moved once, and the validation rows once
    more after the training. What else is sent is small: orders of rows, parameters.
    """
    inputs, labels = np.random.default_rng(1).standard_normal((200, 20)), np.arange(200) % 3
    validation = {"X_val": inputs, "y_val": labels} if by_user else {}
    model = xpnet.TabularClassifier(
        networks=4, members=1, hidden_layer_sizes=2, max_iter=1, random_state=0, backend="cupy"
    )
    uploaded.clear()
    model.fit(inputs, labels, **validation)
    encoded = model.encoder_.transform(inputs).astype("float32").nbytes
    moved = sum(size for size in uploaded if size > encoded / 20)
    assert moved <= (3.4 if by_user else 2.4) * encoded  # of each network: more than 5


@pytest.mark.parametrize("members", [1, 3])
def test_a_state_is_one_copy_for_each_flat_buffer(
    members: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of parameters and both buffers of Adam, whatever the number of layers."""
    spec = NetworkSpec((7, 6, 5, 3), ("relu", "tanh"), rule=UpdateRule("adam"), members=members)
    backend: Any = xpnet.get_backend("cupy")
    step, other = make_step(spec, backend), make_step(spec, backend)
    for one in (step, other):
        one.epoch(cupy.asarray(X), cupy.asarray(Y), learning_rate=0.1, batch_size=ROWS)
    copied: list[str] = []
    for name in ("to_numpy", "asarray"):
        method = getattr(backend, name)

        def noted(*arguments: Any, name: str = name, method: Any = method) -> Any:
            copied.append(name)
            return method(*arguments)

        monkeypatch.setattr(backend, name, noted)
    state = step.state()
    other.load_state(state)
    assert copied == ["to_numpy"] * 3 + ["asarray"] * 3
    for name, value in other.state().buffers["v"].items():
        np.testing.assert_array_equal(value, state.buffers["v"][name])


def test_a_prediction_of_a_network_moves_nothing_from_the_host() -> None:
    """Neither rows nor a number to learn by what library the backend computes."""
    network = xpnet.FeedforwardNeuralNet(7, 6, 3, rng=0)
    rows, labels = cupy.asarray(X), cupy.asarray(Y)
    network.fit(rows, labels, epochs=1)
    network.predict(rows)
    network.step(rows, labels)
    uploaded.clear()
    network.predict(rows)
    network.step(rows, labels)
    assert not uploaded
