"""The batches of rows in memory: sizes of batches of epochs, checks of the first epoch, rows."""

from math import inf
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse
from xpnet_numpy import NumpyBackend

from xpnet.backend import NetworkSpec, SeveralEpochs
from xpnet.optimizers import Constant
from xpnet.steps import ReferenceStep
from xpnet.training import Batches, InMemory, LabeledRows, Training
from xpnet.training.batches import is_finite
from xpnet.training.epoch_batches import EpochBatches

X = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]])
Y = np.array([0, 1, 1, 0])
WEIGHT = np.array([1.0, 2.0, 3.0, 4.0])


def new_step():
    return ReferenceStep(NetworkSpec((2, 2), ()), NumpyBackend(), "")


@pytest.mark.parametrize("form", [np.asarray, scipy.sparse.csr_matrix])
@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_rows_are_taken_with_targets_and_weights(form, weight):
    rows = LabeledRows(form(X), Y, weight)
    assert rows.count == 4
    taken = rows.take(np.array([2, 0]), NumpyBackend())
    dense = taken.X if form is np.asarray else taken.X.toarray()
    np.testing.assert_array_equal(dense, [[5.0, 6.0], [1.0, 2.0]])
    np.testing.assert_array_equal(taken.Y, [1, 0])
    assert taken.count == 2
    if weight is None:
        assert taken.weight is None
    else:
        np.testing.assert_array_equal(taken.weight, [3.0, 1.0])


@pytest.mark.parametrize(
    "array, finite",
    [
        (np.array([1.0, 2.0]), True),
        (np.array([1.0, np.nan]), False),
        (np.array([[1.0], [-np.inf]]), False),
        (np.array([np.inf, -np.inf]), False),
        (np.array([1e308, 1e308]), True),  # only the sum overflows
        (np.array([3e38, 3e38], np.float32), True),
        (np.array([2**62, 2**62]), True),
        (np.array([True]), True),
        (np.zeros((0, 3)), True),
        (scipy.sparse.csr_matrix([[0.0, 1.0]]), True),
        (scipy.sparse.csr_matrix([[0.0, np.nan]]), False),
    ],
)
def test_numbers_that_are_not_finite_are_seen(array, finite):
    assert is_finite(array) is finite


def test_arrays_of_other_libraries_are_read_through_their_namespace():
    xp = pytest.importorskip("array_api_strict")
    assert is_finite(xp.asarray([1.0, 2.0]))
    assert not is_finite(xp.asarray([1.0, xp.nan]))
    assert is_finite(xp.asarray([1, 2]))


class Checks:
    """Counts the calls of a check."""

    calls = 0

    def __call__(self):
        self.calls += 1


@pytest.mark.parametrize(
    "loss, bias, calls", [(0.5, 0.0, 0), (np.nan, 0.0, 1), (np.inf, 0.0, 1), (0.5, np.nan, 1)]
)
def test_the_first_epoch_is_checked_where_a_number_is_not_finite(loss, bias, calls):
    check, step = Checks(), new_step()

    def run_epoch(step, X, Y, **settings):
        step.params["b1"][1] = bias
        return loss

    batches = InMemory(LabeledRows(X, Y), batch_size=4, run_epoch=run_epoch, check=check)
    assert batches.epoch(step, 0.1) is loss
    assert check.calls == calls
    batches.epoch(step, 0.1)
    batches.check_now()
    assert check.calls == calls


def test_a_check_before_the_first_epoch_is_the_only_one():
    check = Checks()
    batches = InMemory(LabeledRows(X, Y), batch_size=4, check=check)
    batches.check_now()
    batches.check_now()
    assert check.calls == 1


@pytest.mark.parametrize(
    "batch_size, shuffle, has_order", [(3, True, True), (4, True, False), (3, False, False)]
)
def test_rows_are_shuffled_where_a_batch_has_not_all_of_them(batch_size, shuffle, has_order):
    orders = []

    def run_epoch(step, X, Y, *, order, **settings):
        assert settings == {"learning_rate": 0.25, "batch_size": batch_size, "sample_weight": None}
        orders.append(order)
        return 0.0

    batches = InMemory(
        LabeledRows(X, Y),
        batch_size=batch_size,
        shuffle=shuffle,
        rng=np.random.default_rng(0),
        run_epoch=run_epoch,
    )
    batches.epoch(new_step(), 0.25)
    if has_order:
        np.testing.assert_array_equal(orders[0], np.random.default_rng(0).permutation(4))
    else:
        assert orders == [None]
    batches.count_rows(batch_size + 1)
    assert batches.rows == batch_size + 1
    assert (batches._orders is not None) == shuffle


class FastStep(ReferenceStep, SeveralEpochs):
    """A step that makes up to seven epochs at once."""

    def __init__(self):
        super().__init__(NetworkSpec((2, 2), ()), NumpyBackend(), "")

    def epochs_at_once(self, rows, batch_size):
        return 7 if (rows, batch_size) == (4, 2) else 0


def ignored(*args, **settings):
    return [0.0]


@pytest.mark.parametrize(
    "settings, at_once",
    [
        ({}, 7),
        ({"measure": lambda: 0.5}, 1),
        ({"run_epoch": ignored}, 1),
        ({"run_epoch": ignored, "run_epochs": ignored}, 7),
        ({"run_epochs": ignored}, 7),
        ({"run_epochs": ignored, "measure": lambda: 0.5}, 1),
    ],
)
def test_epochs_are_made_at_once_where_nothing_must_see_each(settings, at_once):
    batches = InMemory(LabeledRows(X, Y), batch_size=2, rng=np.random.default_rng(0), **settings)
    assert batches.epochs_at_once(FastStep()) == at_once
    assert batches.epochs_at_once(new_step()) == 1


def test_a_function_makes_several_epochs_in_place_of_the_step():
    received = {}

    def run_epochs(step, X, Y, **settings):
        received.update(settings)
        return [3.0, 2.0]

    batches = InMemory(
        LabeledRows(X, Y, WEIGHT), batch_size=2, rng=np.random.default_rng(0), run_epochs=run_epochs
    )
    assert batches.epochs(FastStep(), [0.5, 0.25]) == [3.0, 2.0]
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(received.pop("orders"), [rng.permutation(4) for _ in range(2)])
    assert received.pop("sample_weight") is WEIGHT
    assert received == {"learning_rates": [0.5, 0.25], "batch_size": 2}


def test_what_batches_of_ones_own_inherit():
    class Own(Batches):
        rows = 4

        def epoch(self, step, learning_rate, *, last=False):
            assert not last
            return learning_rate

    batches, step = Own(), new_step()
    assert batches.epochs(step, [0.5, 0.25]) == [0.5, 0.25]
    assert batches.epochs_at_once(step) == 1
    assert batches.validation_loss() is None and batches.rng is None
    assert batches.is_main_process is batches.leads is True
    assert batches.agree(3) == 3
    assert [batches.any_stops(stop) for stop in (False, True)] == [False, True]


class Limits:
    """A transactional callback that allows some epochs at once."""

    def __init__(self, epochs):
        self.epochs = epochs

    def max_epochs_at_once(self):
        return self.epochs


@pytest.mark.parametrize(
    "seconds, done, limits, size",
    [
        (inf, 0, [], 1),
        (0.02, 0, [], 5),
        (0.0201, 0, [], 4),
        (0.2, 0, [], 1),
        (0.0, 0, [], 7),
        (0.0, 95, [], 5),
        (0.0, 99, [], 1),
        (0.0, 0, [inf, 3.0, 6.0], 3),
        (0.0, 0, [0.5], 1),
    ],
)
def test_the_smallest_limit_is_the_size_of_a_batch_of_epochs(seconds, done, limits, size):
    batches = InMemory(LabeledRows(X, Y), batch_size=2, rng=np.random.default_rng(0))
    training = Training(FastStep(), batches, 100)
    training.done = done
    epoch_batches = EpochBatches(training, Constant(0.1))
    assert (epoch_batches.seconds, epoch_batches.max_epochs) == (inf, 7)
    epoch_batches.seconds = seconds
    training.order.for_each_epoch.extend(map(Limits, limits))
    assert epoch_batches.next_size() == size


def test_a_schedule_that_may_look_at_losses_needs_each_epoch():
    batches = InMemory(LabeledRows(X, Y), batch_size=2, rng=np.random.default_rng(0))
    training = Training(FastStep(), batches, 100)
    for schedule, epochs in [
        (Constant(0.1), 7),
        (lambda epoch, losses: 0.1, 1),
        (SimpleNamespace(sees_losses=True), 1),
        (SimpleNamespace(sees_losses=False), 7),
    ]:
        epoch_batches = EpochBatches(training, schedule)
        epoch_batches.seconds = 0.0
        assert epoch_batches.next_size() == epochs
