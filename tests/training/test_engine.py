"""The training loop over batches of any kind, and what it asks of callbacks."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from xpnet_numpy import NumpyBackend

import xpnet
from xpnet.backend import NetworkSpec, SeveralEpochs
from xpnet.errors import InputError
from xpnet.optimizers import Constant, Exponential, Plateau
from xpnet.steps import ReferenceStep
from xpnet.training import (
    Batches,
    Callback,
    EarlyStopping,
    InMemory,
    LabeledRows,
    TimeLimit,
    rng_state,
    set_rng_state,
    train,
)

X = np.random.default_rng(0).normal(size=(30, 2))
Y = (X[:, 0] > 0).astype(int)
RATE = 0.3


def new_step():
    return ReferenceStep(NetworkSpec((2, 2), ()), NumpyBackend(), "")


def descended(epochs, batch_size):
    """Losses and weights of softmax regression, written out: rows in their order."""
    W, b = np.zeros((2, 2)), np.zeros(2)
    losses = []
    for _ in range(epochs):
        total = 0.0
        for start in range(0, len(X), batch_size):
            x, one_hot = X[start : start + batch_size], np.eye(2)[Y[start : start + batch_size]]
            logits = x @ W + b
            probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
            total -= np.log((probabilities * one_hot).sum(axis=1)).sum()
            error = (probabilities - one_hot) / len(x)
            W, b = W - RATE * x.T @ error, b - RATE * error.sum(axis=0)
        losses.append(total / len(X))
    return losses, W


@pytest.mark.parametrize("batch_size", [7, 30])
def test_the_loop_makes_the_epochs_of_gradient_descent(batch_size):
    step = new_step()
    batches = InMemory(LabeledRows(X, Y), batch_size=batch_size, shuffle=False)
    history = train(step, batches, epochs=5, schedule=Constant(RATE))
    losses, W = descended(5, batch_size)
    np.testing.assert_allclose(history.loss, losses, rtol=1e-12)
    np.testing.assert_allclose(step.params["W1"], W, rtol=1e-12, atol=1e-14)
    assert history.learning_rate == [RATE] * 5


def test_a_schedule_receives_the_epoch_and_the_losses():
    calls = []

    def schedule(epoch, losses):
        calls.append((epoch, list(losses)))
        return RATE / (epoch + 1)

    history = train(
        new_step(), InMemory(LabeledRows(X, Y), batch_size=30), epochs=3, schedule=schedule
    )
    assert calls == [(epoch, history.loss[:epoch]) for epoch in range(3)]
    assert history.learning_rate == [RATE, RATE / 2, RATE / 3]


def test_an_estimator_counts_the_epochs_of_its_own_fit_for_a_schedule():
    calls = []

    def learning_rate(epoch, losses):
        calls.append((epoch, len(losses)))
        return 0.01 * 0.9**epoch

    model = xpnet.MLPClassifier(
        3, max_iter=2, learning_rate=learning_rate, warm_start=True, random_state=0
    )
    with pytest.warns(match="Maximum iterations"):
        model.fit(X, Y).fit(X, Y)
    assert calls == [(0, 0), (1, 1), (0, 0), (1, 1)]


def test_batches_of_ones_own_are_undone_with_an_epoch():
    class Failing(Batches):
        rows = len(X)

        def epoch(self, step, learning_rate, *, last=False):
            loss = step.epoch(X, Y, learning_rate=learning_rate, batch_size=7)
            self.lasts.append(last)
            if len(self.lasts) == 3:
                raise MemoryError
            return loss

    step, batches = new_step(), Failing()
    batches.lasts = []
    history = xpnet.training.History()
    with pytest.raises(MemoryError):
        train(step, batches, epochs=3, schedule=Constant(RATE), history=history)
    losses, W = descended(2, 7)
    np.testing.assert_allclose(history.loss, losses, rtol=1e-12)
    np.testing.assert_allclose(step.params["W1"], W, rtol=1e-12, atol=1e-14)
    assert batches.lasts == [False, False, True]


@pytest.mark.parametrize(
    "name, suggestion",
    [
        ("on_epoch_end", "epoch_end"),
        ("on_train_begin", "train_begin"),
        ("epoch_begin", "epoch_end"),
        ("train_start", "train_begin"),
        ("on_batch_end", "epoch_end"),
    ],
)
def test_a_method_that_would_never_be_called_is_refused(name, suggestion):
    Wrong = type("Wrong", (Callback,), {name: lambda self, training: None})
    net = xpnet.LogisticRegression(2, 2, backend="numpy")
    with pytest.raises(xpnet.InputError, match=f"'{name}' of Wrong.*did you mean '{suggestion}'"):
        net.fit(X, Y, epochs=1, callbacks=[Wrong()])
    assert net.history.epochs == 0


def test_methods_of_a_callbacks_own_are_allowed():
    class Mean(Callback):
        def mean_loss(self, history):
            return sum(history.loss) / history.epochs

        def epoch_end(self, training):
            self.mean = self.mean_loss(training.history)

    mean = Mean()
    net = xpnet.LogisticRegression(2, 2, backend="numpy")
    history = net.fit(X, Y, epochs=4, callbacks=[mean])
    assert mean.mean == sum(history.loss) / 4


@pytest.mark.parametrize("wrong", [3, "epoch_end", Callback])
def test_other_objects_are_no_callbacks(wrong):
    net = xpnet.LogisticRegression(2, 2, backend="numpy")
    with pytest.raises(xpnet.InputError, match="`callbacks` must hold instances"):
        net.fit(X, Y, epochs=1, callbacks=[wrong])


def test_a_time_limit_ends_the_training_after_a_whole_epoch(monkeypatch):
    now = iter(range(100))
    monkeypatch.setattr("xpnet.training.time_limit.monotonic", lambda: next(now))
    limit = TimeLimit(10)
    net = xpnet.LogisticRegression(2, 2, backend="numpy")
    history = net.fit(X, Y, epochs=50, callbacks=[limit])
    assert limit.reached and 1 < history.epochs < 12


class StepOfSeveralEpochs(ReferenceStep, SeveralEpochs):
    """A step that makes up to four epochs at once."""

    def __init__(self, fails_in_call: int = 0):
        super().__init__(NetworkSpec((2, 2), ()), NumpyBackend(), "")
        self.calls = []
        self.fails_in_call = fails_in_call

    def epochs_at_once(self, rows, batch_size):
        return 4

    def epochs(self, X, Y, *, learning_rates, **settings):
        self.calls.append(len(learning_rates))
        losses = super().epochs(X, Y, learning_rates=learning_rates, **settings)
        if len(self.calls) == self.fails_in_call:
            raise KeyboardInterrupt
        return losses


def trained_at_once(step, *, schedule=None, epochs=12, measure=None, rng=None, callbacks=()):
    """The history of a training whose epochs take no time, and the state of its generator."""
    rng = np.random.default_rng(7) if rng is None else rng
    history = xpnet.training.History()
    batches = InMemory(LabeledRows(X, Y), batch_size=7, rng=rng, measure=measure)
    schedule = Exponential(RATE) if schedule is None else schedule
    try:
        train(
            step,
            batches,
            epochs=epochs,
            schedule=schedule,
            callbacks=callbacks,
            history=history,
        )
    except KeyboardInterrupt:
        pass
    return history, rng.bit_generator.state


@pytest.fixture
def epochs_take_no_time(monkeypatch):
    monkeypatch.setattr("xpnet.training.epoch_batches.MAX_BATCH_SECONDS", 1e9)


@pytest.mark.parametrize("callbacks", [[], [TimeLimit(1e9)]])
def test_a_batch_of_epochs_equals_single_epochs(epochs_take_no_time, callbacks):
    step, one_by_one = StepOfSeveralEpochs(), new_step()
    history, state = trained_at_once(step, callbacks=callbacks)
    expected, expected_state = trained_at_once(one_by_one)
    assert step.calls == [4, 4, 3]  # after the first, which shows how long an epoch takes
    assert history.loss == expected.loss
    assert history.learning_rate == expected.learning_rate
    assert len(history.seconds) == 12
    assert state == expected_state
    np.testing.assert_array_equal(step.params["W1"], one_by_one.params["W1"])


@pytest.mark.parametrize(
    "settings",
    [
        {"callbacks": [lambda training: None]},
        {"schedule": Plateau(RATE)},
        {"schedule": lambda epoch, losses: RATE},
        {"measure": lambda: 0.5},
    ],
)
def test_epochs_run_singly_where_each_must_be_seen(epochs_take_no_time, settings):
    step = StepOfSeveralEpochs()
    history, _ = trained_at_once(step, **settings)
    assert step.calls == []
    assert history.epochs == 12


class StopAfter(Callback):
    """Stops a training after some epochs, which may be made at once; notes what it finds."""

    transactional = True

    def __init__(self, epochs):
        self.epochs = epochs
        self.seen = []

    def epoch_end(self, training):
        self.seen.append((training.done, list(training.history.loss)))
        training.stop = training.done >= self.epochs

    def max_epochs_at_once(self):
        return self.epochs - len(self.seen)


def test_a_transactional_callback_limits_a_batch_of_epochs(epochs_take_no_time):
    step, one_by_one = StepOfSeveralEpochs(), new_step()
    stopping = StopAfter(8)
    history, state = trained_at_once(step, callbacks=[stopping])
    expected, expected_state = trained_at_once(one_by_one, epochs=8)
    assert step.calls == [4, 3]
    assert history.loss == expected.loss
    assert state == expected_state
    assert stopping.seen == [(k, expected.loss[:k]) for k in range(1, 9)]


def test_other_callbacks_are_called_before_the_next_epoch(epochs_take_no_time):
    step, stopping = StepOfSeveralEpochs(), StopAfter(8)
    stopping.transactional = False
    trained_at_once(step, callbacks=[stopping])
    assert step.calls == []
    assert len(stopping.seen) == 8


@pytest.mark.parametrize("attribute", ["transactional", "brief"])
def test_a_callback_is_rolled_back_under_both_names_of_the_attribute(attribute):
    class FailsInSecondEpoch(StopAfter):
        transactional = False

        def epoch_end(self, training):
            super().epoch_end(training)
            if training.done == 2:
                raise KeyboardInterrupt

        def state(self):
            return {"seen": list(self.seen)}

        def load_state(self, state):
            self.seen = state["seen"]

    callback = FailsInSecondEpoch(8)
    setattr(callback, attribute, True)
    history, _ = trained_at_once(new_step(), callbacks=[callback])
    assert history.epochs == len(callback.seen) == 1


def test_the_time_of_a_batch_of_epochs_is_limited(monkeypatch):
    monkeypatch.setattr("xpnet.training.epoch_batches.MAX_BATCH_SECONDS", 0.0)
    step = StepOfSeveralEpochs()
    assert trained_at_once(step)[0].epochs == 12
    assert step.calls == []


def test_a_batch_of_epochs_is_rolled_back_as_one(epochs_take_no_time):
    step, one_by_one = StepOfSeveralEpochs(fails_in_call=2), new_step()
    rng = np.random.default_rng(7)
    history, state = trained_at_once(step, rng=rng)
    expected, expected_state = trained_at_once(one_by_one, epochs=5)
    assert history.loss == expected.loss
    assert state == expected_state
    np.testing.assert_array_equal(step.params["W1"], one_by_one.params["W1"])
    resumed, _ = trained_at_once(step, rng=rng, schedule=Constant(RATE), epochs=7)
    continued = trained_at_once(
        one_by_one, rng=_generator_in(expected_state), schedule=Constant(RATE), epochs=7
    )
    assert resumed.loss == continued[0].loss


def _generator_in(state):
    rng = np.random.default_rng()
    rng.bit_generator.state = state
    return rng


class KeepState(Callback):
    """Keeps the state of the training after an epoch."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self.kept = None

    def between_epochs(self, training):
        if training.done == self.epoch:
            self.kept = training.state()


def fit_with(*callbacks, resume_from=None):
    net = xpnet.LogisticRegression(2, 2, backend="numpy")
    net.fit(np.eye(2), np.array([0, 1]), epochs=4, callbacks=callbacks, resume_from=resume_from)


def test_states_of_callbacks_are_found_by_name_in_any_order():
    keep, first, second = KeepState(2), EarlyStopping(patience=9), EarlyStopping(9, tol=1.0)
    fit_with(keep, first, TimeLimit(60), second)
    assert keep.kept.callbacks.keys() == {"TimeLimit", "EarlyStopping", "EarlyStopping 2"}
    resumed, counted = EarlyStopping(patience=9), EarlyStopping(9, tol=1.0)
    fit_with(resumed, counted, TimeLimit(60), KeepState(9), resume_from=keep.kept)
    # The losses fall by less than 1 after the first epoch.
    assert (first.waited, second.waited) == (resumed.waited, counted.waited) == (0, 3)


def test_a_callback_without_its_state_is_refused_by_name():
    keep = KeepState(2)
    fit_with(keep, TimeLimit(60))
    with pytest.raises(xpnet.InputError, match="began with, TimeLimit; got EarlyStopping"):
        fit_with(KeepState(9), EarlyStopping(), resume_from=keep.kept)


class WithoutState(Callback):
    """Changes nothing of a training, as one that shows progress."""

    def epoch_end(self, training):
        self.done = training.done


def test_callbacks_without_state_may_be_others_when_a_training_goes_on():
    keep, early = KeepState(2), EarlyStopping(9, tol=1.0)
    fit_with(keep, early, WithoutState())
    assert keep.kept.callbacks.keys() == {"EarlyStopping"}
    for others in ([], [WithoutState(), KeepState(9), lambda training: None]):
        resumed = EarlyStopping(9, tol=1.0)
        fit_with(*others, resumed, resume_from=keep.kept)
        assert resumed.waited == early.waited == 3
        with pytest.raises(xpnet.InputError, match="began with, EarlyStopping; got none"):
            fit_with(*others, resume_from=keep.kept)
    fit_with(keep)
    fit_with(WithoutState(), resume_from=keep.kept)
    with pytest.raises(xpnet.InputError, match="began with, none; got EarlyStopping"):
        fit_with(keep, EarlyStopping(), resume_from=keep.kept)


def test_empty_states_in_earlier_checkpoints_are_passed_over():
    keep = KeepState(2)
    fit_with(keep, EarlyStopping(9, tol=1.0))
    earlier = replace(keep.kept, callbacks={**keep.kept.callbacks, "KeepState": {}, "Progress": {}})
    resumed = EarlyStopping(9, tol=1.0)
    fit_with(resumed, resume_from=earlier)
    assert resumed.waited == 3


def test_a_numbered_state_of_an_earlier_checkpoint_is_read():
    state = xpnet.Checkpoint.latest(Path(__file__).parent / "earlier")
    assert state.callbacks.keys() == {"0", "1", "2"}
    assert (state.done, state.callbacks["0"]["waited"]) == (3, 2)
    rows = np.random.RandomState(0).uniform(-1, 1, size=(60, 4))
    net = xpnet.FeedforwardNeuralNet(4, 3, 2, rng=1, backend="numpy")
    history = net.fit(
        rows,
        (rows[:, 0] > 0).astype(int),
        epochs=9,
        batch_size=20,
        rng=np.random.RandomState(2),
        callbacks=[EarlyStopping(patience=3, tol=0.5), Callback(), Callback()],
        resume_from=state,
    )
    assert history.epochs == 4  # the third epoch in a row without a fall by 0.5


def test_the_state_of_another_or_a_damaged_generator_is_refused() -> None:
    assert rng_state(None) is None
    set_rng_state(None, None)
    legacy = np.random.RandomState(0)
    state = rng_state(legacy)
    with pytest.raises(InputError, match="MT19937; got none"):
        set_rng_state(None, state)
    with pytest.raises(InputError, match="none; got Generator over PCG64"):
        set_rng_state(np.random.default_rng(0), None)
    before = legacy.random_sample()
    set_rng_state(legacy, state)
    for position in (-1, 625):
        damaged = {**state, "state": {**state["state"], "pos": position}}
        with pytest.raises(InputError, match=f"0 and 624, and is {position}"):
            set_rng_state(legacy, damaged)
    assert legacy.random_sample() == before
