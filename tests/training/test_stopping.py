"""Which epoch ends a training, and which parameters stay: losses and seconds are given."""

from math import inf

import numpy as np
import pytest
from xpnet_numpy import NumpyBackend

from xpnet.backend import NetworkSpec
from xpnet.optimizers import Constant
from xpnet.steps import ReferenceStep
from xpnet.training import Batches, Callback, EarlyStopping, TimeLimit, train


class GivenLosses(Batches):
    """Epochs with given losses; each sets the first bias to the number of the epoch."""

    rows = 4

    def __init__(self, losses, validation=()):
        self.losses = list(losses)
        self.validation = list(validation)
        self.made = 0

    def epoch(self, step, learning_rate, *, last=False):
        self.made += 1
        step.params["b1"][0] = self.made
        return self.losses[self.made - 1]

    def validation_loss(self):
        return self.validation[self.made - 1] if self.validation else None


def trained(callbacks, losses, validation=(), **options):
    """The number of epochs that were made, and the first bias at the end."""
    step = ReferenceStep(NetworkSpec((2, 2), ()), NumpyBackend(), "")
    batches = GivenLosses(losses, validation)
    history = train(
        step,
        batches,
        epochs=len(batches.losses),
        schedule=Constant(0.1),
        callbacks=callbacks,
        **options,
    )
    return history.epochs, step.params["b1"][0]


FALLING_TWICE = [4.0, 3.0, 3.5, 3.25, 3.75, 2.0, 9.0, 9.0]


@pytest.mark.parametrize(
    "patience, epochs, best, best_epoch", [(1, 3, 3.0, 2), (3, 5, 3.0, 2), (4, 8, 2.0, 6)]
)
def test_the_training_ends_after_so_many_epochs_without_a_fall(patience, epochs, best, best_epoch):
    stopping = EarlyStopping(patience, tol=0.0)
    assert stopping.best == inf and stopping.best_state is None and stopping.waited == 0
    assert trained([stopping], FALLING_TWICE) == (epochs, best_epoch)
    assert stopping.best == best
    assert stopping.waited == epochs - best_epoch
    assert stopping.best_state.params["b1"][0] == best_epoch


def test_ten_epochs_without_a_fall_of_a_ten_thousandth_are_the_default():
    losses = [1.0] + [0.99991] * 30
    assert trained([EarlyStopping()], losses) == (11, 1)
    losses = [1.0, 0.99989] + [0.99989] * 30
    assert trained([EarlyStopping()], losses) == (12, 2)


def test_a_fall_by_exactly_tol_is_none():
    assert trained([EarlyStopping(2, tol=0.5)], [2.0, 1.5, 1.5, 1.0]) == (3, 1)
    assert trained([EarlyStopping(2, tol=0.5)], [2.0, 1.5, 1.25, 1.0, 0.75]) == (5, 3)


def test_the_validation_loss_decides_where_there_is_one():
    falling = [4.0, 3.0, 2.0, 1.0]
    assert trained([EarlyStopping(2)], falling, [1.0, 2.0, 0.5, 3.0]) == (4, 3)
    assert trained([EarlyStopping(2)], falling, [1.0, 2.0, 3.0, 0.5]) == (3, 1)


def test_without_restoring_the_last_parameters_stay():
    stopping = EarlyStopping(2, restore_best=False)
    assert trained([stopping], [1.0, 2.0, 2.0, 0.0]) == (3, 3)
    assert stopping.best_state is None
    assert stopping.state() == {"best": 1.0, "waited": 2, "best_state": None}


def test_a_second_training_starts_counting_anew_in_a_history_that_goes_on():
    stopping = EarlyStopping(3)
    trained([stopping], [1.0, 5.0, 5.0])
    history = stopping.history
    assert history.epochs == 3
    assert trained([stopping], [9.0, 8.0, 9.0, 9.0, 9.0, 1.0], history=history) == (8, 2)
    assert (stopping.kept.epoch, stopping.kept.loss, stopping.waited) == (5, 8.0, 3)


def test_a_nan_is_no_fall():
    assert trained([EarlyStopping(2)], [np.nan, np.nan, 1.0]) == (2, 2)


class StopAfterFirst(Callback):
    """Stops the training after its first epoch."""

    transactional = True

    def epoch_end(self, training):
        training.stop = True


def test_what_another_callback_stops_stays_stopped():
    limit = TimeLimit(0.0)
    callbacks = [StopAfterFirst(), EarlyStopping(9), limit]
    assert trained(callbacks, [1.0, 2.0, 3.0])[0] == 1
    assert not limit.reached


class KeepState(Callback):
    """Keeps the state of the training after an epoch."""

    def __init__(self, epoch):
        self.epoch = epoch

    def between_epochs(self, training):
        if training.done == self.epoch:
            self.kept = training.state()


def test_early_stopping_goes_on_with_what_it_counted():
    losses = [4.0, 3.0, 3.5, 3.5, 3.5, 3.5]
    keep = KeepState(3)
    trained([EarlyStopping(3), keep], losses)
    part = keep.kept.callbacks["EarlyStopping"]
    assert (part["best"], part["waited"]) == (3.0, 1)
    assert part["best_state"]["params"]["b1"][0] == 2
    stopping = EarlyStopping(4)
    epochs, bias = trained([stopping], [3.5] * 6, resume_from=keep.kept)
    assert (epochs, bias) == (6, 2)  # three more, whose last bias is 3
    assert (stopping.best, stopping.waited) == (3.0, 4)


class Clock:
    """A clock that stands still.

    now : its seconds
    """

    now = 100.0


class SetsClockForward(Callback):
    """Sets a clock forward by a second in each epoch, before other callbacks look at it."""

    transactional = True

    def __init__(self, clock):
        self.clock = clock

    def epoch_end(self, training):
        self.clock.now += 1.0


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr("xpnet.training.time_limit.monotonic", lambda: clock.now)
    return clock


@pytest.mark.parametrize("seconds, epochs", [(0.0, 1), (2.5, 3), (3.0, 4), (None, 9)])
def test_a_time_limit_ends_the_training_with_the_first_epoch_beyond_it(clock, seconds, epochs):
    limit = TimeLimit(seconds)
    clock.now += 50.0  # what passes before the training does not count
    assert trained([SetsClockForward(clock), limit], [1.0] * 9)[0] == epochs
    assert limit.reached == (seconds is not None)
    assert limit.state() == {"seconds": float(epochs), "reached": limit.reached}
    assert trained([SetsClockForward(clock), limit], [1.0])[0] == 1
    assert limit.reached == (seconds == 0.0)


def test_the_seconds_before_an_interruption_count(clock):
    keep = KeepState(3)
    trained([SetsClockForward(clock), TimeLimit(5.0), keep], [1.0] * 3)
    assert keep.kept.callbacks == {"TimeLimit": {"seconds": 3.0, "reached": False}}
    clock.now += 1000.0
    limit = TimeLimit(5.0)
    epochs, _ = trained([SetsClockForward(clock), limit], [1.0] * 9, resume_from=keep.kept)
    assert epochs == 6 and limit.reached


def test_a_loaded_limit_knows_that_it_was_reached():
    limit = TimeLimit(5.0)
    assert limit.reached is False
    limit.load_state({"seconds": 7.0, "reached": True})
    assert limit.reached is True
    assert 7.0 <= limit.state()["seconds"] < 60.0


def test_a_run_that_has_made_its_epochs_makes_no_more():
    keep = KeepState(3)
    trained([keep], [4.0, 3.0, 2.0, 1.0])
    assert trained([], [9.0, 9.0], resume_from=keep.kept) == (3, 3)
