"""After its best epoch, each network makes a few more epochs on all rows."""

import copy
from typing import Any

import numpy
import pytest
from sklearn.preprocessing import StandardScaler

from xpnet import TabularClassifier, TabularRegressor
from xpnet.models import Network
from xpnet.tabular.ensemble import network_training
from xpnet.training import Callback

RNG = numpy.random.default_rng(0)
X = RNG.normal(size=(200, 3))
Y = X[:, 0] * X[:, 1] + 0.3 * RNG.normal(size=200)
LABELS = numpy.where(Y > 0, "high", "low")
SMALL: dict[str, Any] = {
    "hidden_layer_sizes": (6,),
    "networks": 2,
    "max_iter": 20,
    "random_state": 0,
}


class States(Callback):
    """Keeps the state after each epoch."""

    def __init__(self) -> None:
        self.states: list[Any] = []

    def epoch_end(self, training: Any) -> None:
        self.states.append(training.step.state())


def test_a_refitted_network_is_its_best_epoch_trained_on_with_all_rows() -> None:
    """One batch holds all rows, so that no order matters; the reference computes the same
    epochs.
    """
    settings = SMALL | {
        "networks": 1,
        "members": 1,
        "dtype": "float64",
        "batch_size": 1000,
        "learning_rate_init": 0.004,
    }
    seen = States()
    model = TabularRegressor(**settings, encoder=StandardScaler())
    model.watch(lambda number: ([seen], None)).fit(X, Y)
    plain = TabularRegressor(**settings, encoder=StandardScaler(), refit=False).fit(X, Y)
    (best,) = model.best_epochs_
    assert plain.best_epochs_ == [best]
    reference = Network(
        model.networks_[0].spec,
        plain.networks_[0].values(),
        0.004,
        backend="numpy",
        dtype="float64",
    )
    scaled = ((Y - Y.mean()) / Y.std())[:, None]
    inputs = plain.encoder_.transform(X)
    step = reference.trainable()
    state = seen.states[best - 1]
    step.load_state(type(state)(plain.networks_[0].values(), state.buffers, state.t))
    epochs = []
    for _ in range(max(3, round(0.4 * best))):
        reference.fit(inputs, scaled, epochs=1)
        epochs.append(reference.values())
    weights = 0.7 ** numpy.arange(len(epochs))[::-1]
    # The parameters of the best epoch are the mean of all epochs up to it.
    epochs.insert(0, plain.networks_[0].values())
    weights = numpy.insert(
        weights, 0, (0.7 ** numpy.arange(len(weights), len(weights) + best)).sum()
    )
    for name, value in model.networks_[0].values().items():
        wanted = numpy.average([epoch[name] for epoch in epochs], axis=0, weights=weights)
        numpy.testing.assert_allclose(value, wanted, rtol=1e-7, atol=1e-10, err_msg=name)


@pytest.mark.parametrize("jobs", [1, 2])
def test_what_validation_rows_tell_is_measured_before(jobs: int) -> None:
    refitted = TabularRegressor(**SMALL, n_jobs=jobs).fit(X, Y)
    plain = TabularRegressor(**SMALL, n_jobs=jobs, refit=False).fit(X, Y)
    numpy.testing.assert_array_equal(refitted.residuals_, plain.residuals_)
    assert refitted.best_epochs_ == plain.best_epochs_
    assert refitted.n_iter_ == plain.n_iter_
    assert numpy.abs(refitted.predict(X) - plain.predict(X)).max() > 1e-3
    classifiers = [
        TabularClassifier(**SMALL, calibration="temperature", refit=refit).fit(X, LABELS)
        for refit in (True, False)
    ]
    assert classifiers[0].temperature_ == classifiers[1].temperature_


@pytest.mark.parametrize(
    "arguments",
    [{"X_val": X[150:], "y_val": Y[150:]}, {}],
    ids=["validation rows of the user", "no time"],
)
def test_nothing_is_refitted(arguments: dict[str, Any]) -> None:
    settings = SMALL if arguments else SMALL | {"time_limit": 1e-9}
    refitted = TabularRegressor(**settings).fit(X, Y, **arguments)
    plain = TabularRegressor(**settings, refit=False).fit(X, Y, **arguments)
    numpy.testing.assert_array_equal(refitted.predict(X), plain.predict(X))


def test_ctrl_c_while_a_network_is_refitted_keeps_its_best_epoch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Interrupted(Callback):
        def epoch_end(self, training: Any) -> None:
            raise KeyboardInterrupt

    original = network_training.refit

    def interrupted(network: Network, *rows: Any, callbacks: Any, **settings: Any) -> None:
        original(network, *rows, callbacks=[*callbacks, Interrupted()], **settings)

    settings = SMALL | {"networks": 1}
    plain = TabularRegressor(**settings, refit=False).fit(X, Y)
    model = TabularRegressor(**settings)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(network_training, "refit", interrupted)
        model.fit(X, Y)
    numpy.testing.assert_array_equal(model.predict(X), plain.predict(X))


class WholeStates(Callback):
    """Keeps the state of the training after each epoch."""

    def __init__(self) -> None:
        self.states: list[Any] = []

    def epoch_end(self, training: Any) -> None:
        self.states.append(copy.deepcopy(training.state()))


def test_epochs_after_the_end_of_a_training_change_no_model() -> None:
    """They are made for validation rows without which it would not have ended."""
    settings = {"quality": 1, "random_state": 1}
    seen = WholeStates()
    model = TabularClassifier(**settings)
    model.watch(lambda number: ([seen], None)).fit(X, LABELS)
    network = model.networks_[0]
    assert len(seen.states) > model.n_iter_
    assert len(network.history.validation_loss) == len(network.history.loss) == model.n_iter_
    has_ended = [
        any("ended" in values for values in state.callbacks.values()) for state in seen.states
    ]
    assert has_ended == [k >= model.n_iter_ for k in range(1, len(has_ended) + 1)]
    for state in seen.states[:-1]:
        resumed = TabularClassifier(**settings)
        resumed.watch(lambda number, state=state: ((WholeStates(),), state)).fit(X, LABELS)
        assert resumed.validation_loss_ == model.validation_loss_
        assert resumed.n_iter_ == model.n_iter_
        for name, values in network.values().items():
            numpy.testing.assert_array_equal(resumed.networks_[0].values()[name], values)
