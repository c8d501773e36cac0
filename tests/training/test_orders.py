"""Orders of rows and states of generators, in numbers."""

import numpy as np
import pytest
from xpnet_numpy import NumpyBackend

from xpnet.backend import NetworkSpec, PrefetchedOrders
from xpnet.errors import InputError
from xpnet.steps import ReferenceStep
from xpnet.training import orders, rng_state, set_rng_state
from xpnet.training.orders import ChainedOrders, OrderDrawer
from xpnet.training.rng import host_generator


class PrefetchingStep(ReferenceStep, PrefetchedOrders):
    """A step that may have the next order drawn."""


def new_step(kind=ReferenceStep):
    return kind(NetworkSpec((2, 2), ()), NumpyBackend(), "")


@pytest.mark.parametrize(
    "rng, rows, prefetched",
    [
        (np.random.default_rng(0), 999, False),
        (np.random.default_rng(0), 1000, True),
        (np.random.RandomState(0), 19_999, False),
        (np.random.RandomState(0), 20_000, True),
    ],
)
def test_orders_of_many_rows_are_prefetched(rng, rows, prefetched):
    step = new_step(PrefetchingStep)
    OrderDrawer(rng, rows).draw(step, last=False)
    assert (step.prefetch_order is not None) == prefetched


def test_nothing_is_prefetched_after_the_last_epoch_or_for_members():
    step = new_step(PrefetchingStep)
    for drawer, last in [
        (OrderDrawer(np.random.default_rng(0), 1000), True),
        (OrderDrawer(np.random.default_rng(0), 1000, 2), False),
        (OrderDrawer(np.random.default_rng(0), 1000, prefetches=False), False),
    ]:
        drawer.draw(step, last=last)
        assert step.prefetch_order is None


def test_each_member_has_an_order():
    drawn = OrderDrawer(np.random.default_rng(3), 6, 2).draw(new_step(), last=False)
    rng = np.random.default_rng(3)
    np.testing.assert_array_equal(drawn, [rng.permutation(6), rng.permutation(6)])


@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize("before", [0, 1, 3])
def test_an_undone_epoch_draws_the_same_order_again(members, before):
    drawer, step = OrderDrawer(np.random.default_rng(3), 6, members), new_step()
    undo = None
    for _ in range(before + 1):
        undo = drawer.snapshot(shared=False)
        expected = drawer.draw(step, last=False)
    undo()
    np.testing.assert_array_equal(drawer.draw(step, last=False), expected)
    undo = drawer.snapshot(shared=False)
    expected = drawer.draw(step, last=False)
    undo()
    np.testing.assert_array_equal(drawer.draw(step, last=False), expected)


@pytest.mark.parametrize("rows, read", [(2048, 2), (4096, 3), (8193, 9), (8, 1)])
def test_the_state_is_read_again_after_some_thousand_rows(monkeypatch, rows, read):
    """Of nine epochs: after each that follows more than 8192 rows in orders."""
    states = []

    def counted(rng):
        states.append(rng)
        return rng_state(rng)

    monkeypatch.setattr(orders, "rng_state", counted)
    drawer, step = OrderDrawer(np.random.default_rng(3), rows), new_step()
    for _ in range(9):
        drawer.snapshot(shared=False)
        drawer.draw(step, last=False)
    assert len(states) == read
    drawer.snapshot(shared=True)
    assert len(states) == read + 1


def test_each_order_shuffles_the_one_before_it():
    chained, plain = ChainedOrders(np.random.RandomState(5), 6), np.random.RandomState(5)
    order = np.arange(6)
    drawn = [chained.permutation(6) for _ in range(3)]
    for one in drawn:
        plain.shuffle(order)
        np.testing.assert_array_equal(one, order)
    again = ChainedOrders(np.random.RandomState(0), 6)
    set_rng_state(again, rng_state(chained))
    np.testing.assert_array_equal(again.permutation(6), chained.permutation(6))


@pytest.mark.parametrize("last", [np.array([0, 1, 1]), np.array([1, 2, 3]), np.arange(4)])
def test_an_order_that_does_not_hold_each_row_once_is_refused(last):
    chained = ChainedOrders(np.random.RandomState(5), 3)
    state = chained.get_state()
    assert state["last"] is None
    with pytest.raises(InputError, match="each of 3 rows once"):
        set_rng_state(chained, {**state, "last": last})
    set_rng_state(chained, {**state, "last": np.array([2, 0, 1])})
    np.testing.assert_array_equal(chained.last, [2, 0, 1])


@pytest.mark.parametrize("position", [0, 624])
def test_the_ends_of_the_table_are_positions(position):
    rng = np.random.RandomState(0)
    state = rng_state(rng)
    set_rng_state(rng, {**state, "state": {**state["state"], "pos": position}})
    assert rng_state(rng)["state"]["pos"] == position


@pytest.mark.parametrize("position, valid", [(-1, False), (0, True), (4, True), (5, False)])
def test_the_buffer_of_a_counter_based_generator_has_four_words(position, valid):
    rng = np.random.Generator(np.random.Philox(0))
    state = {**rng_state(rng), "buffer_pos": position}
    if valid:
        set_rng_state(rng, state)
        assert rng_state(rng)["buffer_pos"] == position
        return
    with pytest.raises(InputError, match=f"between 0 and 4, and is {position}"):
        set_rng_state(rng, state)


def test_a_generator_and_a_random_state_over_the_same_bits_are_of_two_kinds():
    legacy = np.random.RandomState(0)
    generator = np.random.Generator(np.random.MT19937(0))
    with pytest.raises(InputError, match="RandomState over MT19937; got Generator over MT19937"):
        set_rng_state(generator, rng_state(legacy))
    other = np.random.RandomState(1)
    legacy.normal()  # keeps a second normal number
    set_rng_state(other, rng_state(legacy))
    assert other.normal() == legacy.normal()


def test_a_seed_makes_a_generator_and_none_is_numpys_own():
    for seed in (7, np.int64(7)):
        assert host_generator(seed).random() == np.random.default_rng(7).random()
    assert host_generator(None) is np.random
    for rng in (np.random.default_rng(0), np.random.RandomState(0), np.random):
        assert host_generator(rng) is rng


class OnlyState:
    """A state without a method that draws."""

    def get_state(self):
        return {}


class OnlyDraws:
    """A method that draws without a state."""

    def permutation(self, rows):
        return np.arange(rows)


@pytest.mark.parametrize("wrong", [1.5, "0", OnlyState(), OnlyDraws()])
def test_other_objects_are_no_generators(wrong):
    with pytest.raises(InputError, match="`rng` must be a seed"):
        host_generator(wrong)
