"""The training loop over batches of any kind, and what it asks of callbacks."""

import numpy as np
import pytest
from xpnet_numpy import NumpyBackend

import xpnet
from xpnet.backend import NetworkSpec
from xpnet.optimizers import Constant
from xpnet.steps import ReferenceStep
from xpnet.training import Batches, Callback, InMemory, LabeledRows, TimeLimit, train

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


def test_a_schedule_is_called_with_the_epoch_and_the_losses_so_far():
    calls = []

    def schedule(epoch, losses):
        calls.append((epoch, list(losses)))
        return RATE / (epoch + 1)

    history = train(
        new_step(), InMemory(LabeledRows(X, Y), batch_size=30), epochs=3, schedule=schedule
    )
    assert calls == [(epoch, history.loss[:epoch]) for epoch in range(3)]
    assert history.learning_rate == [RATE, RATE / 2, RATE / 3]


def test_an_estimator_calls_a_learning_rate_with_the_epochs_of_its_own_fit():
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


def test_a_limit_of_time_that_is_over_ends_the_training_after_an_epoch(monkeypatch):
    now = iter(range(100))
    monkeypatch.setattr("xpnet.training.time_limit.monotonic", lambda: next(now))
    limit = TimeLimit(10)
    net = xpnet.LogisticRegression(2, 2, backend="numpy")
    history = net.fit(X, Y, epochs=50, callbacks=[limit])
    assert limit.reached and 1 < history.epochs < 12
