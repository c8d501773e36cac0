"""The host's work beside the device's: the next order is drawn and sent while an epoch runs, losses
are read late.
"""

import gc
import weakref
from collections.abc import Callable
from contextlib import ExitStack
from itertools import groupby
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
from helpers.cuda.cupy_on_host import cupy
from helpers.cuda.device_arrays import PINNED
from helpers.cuda.rig import needs_compiler
from helpers.cuda.steps import RULES, Pair, network
from helpers.cuda.streams import Event, Graph, Stream
from helpers.cuda.watched import watch_calls, watch_results
from xpnet_cupy.launcher import Launcher
from xpnet_cupy.memory import NetworkMemory

from xpnet.errors import DeviceMemoryError
from xpnet.optimizers import Constant
from xpnet.training import InMemory, LabeledRows, train

pytestmark = needs_compiler

SPEC = network("float32", rule=RULES["adam"], l2=0.01)
ROWS, EPOCHS = 53, 5
BATCHES: dict[str, Any] = {"learning_rate": 0.1, "batch_size": 8}


class Fitted(NamedTuple):
    """A step after a training in random orders, and its losses."""

    step: Any
    losses: list[float]


Fit = Callable[..., Fitted]


@pytest.fixture
def card(on_card: Callable[..., Pair]) -> Callable[[], Pair]:
    """Makes the step and its rows on the card."""
    return lambda: on_card(SPEC, rows=ROWS)


@pytest.fixture
def fit(card: Callable[[], Pair]) -> Fit:
    """Trains a step, whose orders are prefetched, however few rows they have, or drawn in turn."""

    def fitted(*, prefetches: bool = True) -> Fitted:
        with pytest.MonkeyPatch.context() as patch:
            min_rows = 0 if prefetches else ROWS + 1
            patch.setattr("xpnet.training.orders.MIN_PREFETCHED_ROWS", min_rows)
            step, _, X, Y, *_ = card()
            batches = InMemory(LabeledRows(X, Y), batch_size=8, rng=np.random.default_rng(0))
            history = train(step, batches, epochs=EPOCHS, schedule=Constant(0.1))
            return Fitted(step, history.loss)

    return fitted


# --- The numbers


def test_prefetched_orders_give_the_same_numbers(fit: Fit) -> None:
    prefetched, plain = fit(), fit(prefetches=False)
    assert prefetched.losses == plain.losses
    np.testing.assert_array_equal(*(one.step.params.flat.get() for one in (prefetched, plain)))


def test_an_epoch_that_does_not_wait_for_its_order_is_noticed(
    fit: Fit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It gets other numbers."""
    wanted = fit(prefetches=False).losses
    upload = Launcher.upload
    too_early = SimpleNamespace(synchronize=lambda: None)
    monkeypatch.setattr(
        Launcher, "upload", lambda launcher, order: (upload(launcher, order)[0], too_early)
    )
    assert fit().losses != wanted


# --- What comes when


def test_the_next_order_is_drawn_while_the_device_works(
    fit: Fit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And before the losses are waited for."""
    seen: list[str] = []
    for owner, method, what in (
        (Event, "synchronize", "wait"),
        (Graph, "launch", "launch"),
        (Launcher, "upload", "send"),
    ):
        watch_calls(monkeypatch, owner, method, lambda *_, what=what: seen.append(what))
    step, _ = fit()
    # The order was sent beside the work of the epoch before: it has arrived when it is waited for.
    wanted = [*["wait", "launch", "send"] * 2, "wait", "launch", "wait"]
    assert [what for what, _ in groupby(seen)][-9:] == wanted
    assert step.prefetch_order is None


def test_losses_are_waited_for_and_predictions_are_not(
    card: Callable[[], Pair], monkeypatch: pytest.MonkeyPatch
) -> None:
    """But a prediction waits for the one before, which may not have read yet where its rows lie."""
    step, _, X, Y, *_ = card()
    step.forward(X)
    marks: list[Event] = []
    waited: list[Event] = []
    watch_results(monkeypatch, Stream, "record", marks.append)
    watch_calls(monkeypatch, Event, "synchronize", waited.append)
    for use, waits in (
        (lambda: step.forward(X), 1),
        (lambda: step.forward(X), 2),
        (lambda: step.loss(X, Y), 4),
    ):
        use()
        assert len(waited) == waits
    assert set(waited[1:]) <= set(marks)


# --- Orders in memory


@pytest.mark.parametrize("order", ["prefetched", "another", "an equal copy"])
def test_an_order_is_the_one_that_is_asked_for(card: Callable[[], Pair], order: str) -> None:
    """The copy on the card is used for the order that was drawn; any other one is uploaded."""
    step, _, X, Y, *_ = card()
    first, drawn, other = (np.random.default_rng(k).permutation(ROWS) for k in range(3))
    step.prefetch_order = lambda: drawn
    step.epoch(X, Y, order=first, **BATCHES)
    asked = {"prefetched": drawn, "another": other, "an equal copy": drawn.copy()}[order]
    copy = step._order(asked)
    assert (copy is step._prefetched.copy) == (order == "prefetched")
    np.testing.assert_array_equal(copy.get(), asked)


def test_no_order_is_drawn_for_after_an_epoch_that_failed(card: Callable[[], Pair]) -> None:
    drawn: list[str] = []
    step, _, X, Y, *_ = card()
    step.prefetch_order = lambda: drawn.append("an order")
    with cupy.pool.limited(1_000), pytest.raises(DeviceMemoryError):
        step.epoch(X, Y, learning_rate=0.1, batch_size=ROWS)
    step.gradient(X, Y)
    assert not drawn


def test_an_order_without_memory_is_uploaded_by_its_own_epoch(card: Callable[[], Pair]) -> None:
    """The epoch before has been launched: it must not fail for lack of memory for the next one."""
    pair = card()
    step, order = pair.step, np.random.default_rng(0).permutation(ROWS)
    plain = card().step
    losses = [plain.epoch(pair.X, pair.Y, order=one, **BATCHES) for one in (None, order)]
    with ExitStack() as stack:
        step.prefetch_order = lambda: (stack.enter_context(cupy.pool.limited(0)), order)[1]
        assert step.epoch(pair.X, pair.Y, **BATCHES) == losses[0]
    assert step.epoch(pair.X, pair.Y, order=order, **BATCHES) == losses[1]


def test_an_order_is_kept_as_long_as_the_device_may_read_it(
    fit: Fit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one, which is sent meanwhile, would else be given its memory."""
    orders: list[weakref.ref[Any]] = []
    lived: list[list[bool]] = []
    watch_results(monkeypatch, Launcher, "upload", lambda sent: orders.append(weakref.ref(sent[0])))
    watch_calls(
        monkeypatch,
        NetworkMemory,
        "read",
        lambda memory: lived.append([order() is not None for order in orders][-2:]),
    )
    fit()
    # In the first epoch that of the second has come, too; in the last no other comes.
    assert lived == [[True], *[[True, True]] * (EPOCHS - 2), [False, True]]


def test_orders_take_one_more_stream_and_what_is_told_and_left_pinned_memory(fit: Fit) -> None:
    fit()
    gc.collect()
    streams, used, pinned = Stream.made, cupy.pool.used_bytes(), PINNED.used()
    step, _ = fit()
    # Of trainings, and of predictions and losses.
    assert Stream.made == streams and PINNED.used() - pinned == 2 * 8 * (12 + 4)
    del step
    gc.collect()
    assert cupy.pool.used_bytes() - used < 1 << 16 and PINNED.used() == pinned
