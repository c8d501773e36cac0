"""The host's work beside the device's: the next order is drawn and sent while an epoch runs, losses
are read late.
"""

import gc
import weakref
from contextlib import ExitStack
from itertools import groupby
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from helpers.cuda.checks import RULES, data, weights
from helpers.cuda.cupy_on_host import cupy
from helpers.cuda.device_arrays import PINNED
from helpers.cuda.rig import needs_compiler
from helpers.cuda.streams import Event, Graph, Stream
from xpnet_cupy import CupyBackend
from xpnet_cupy.launcher import Launcher
from xpnet_cupy.memory import NetworkMemory

from xpnet.backend import NetworkSpec
from xpnet.errors import DeviceMemoryError
from xpnet.optimizers import Constant
from xpnet.training import InMemory, LabeledRows, train

pytestmark = [needs_compiler, pytest.mark.usefixtures("cuda")]
SPEC = NetworkSpec((7, 6, 4), ("relu",), rule=RULES["adam"], dtype="float32", l2=0.01)
ROWS, EPOCHS = 53, 5


@pytest.fixture(autouse=True)
def however_few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xpnet.training.orders.MIN_PREFETCHED_ROWS", 0)


def fit() -> tuple[Any, list[float]]:
    """A step after a training in random orders, and the losses."""
    backend = CupyBackend()
    step: Any = backend.compile_step(SPEC)
    step.params.update(weights(SPEC))
    X, Y = (backend.asarray(array) for array in data(SPEC, "indices", rows=ROWS))
    batches = InMemory(LabeledRows(X, Y), batch_size=8, rng=np.random.default_rng(0))
    return step, train(step, batches, epochs=EPOCHS, schedule=Constant(0.1)).loss


def fit_without_prefetching() -> tuple[Any, list[float]]:
    """A step after the same training, whose orders are drawn in turn, and the losses."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("xpnet.training.orders.MIN_PREFETCHED_ROWS", ROWS + 1)
        return fit()


def test_prefetched_orders_give_the_same_numbers() -> None:
    (step, found), (plain, wanted) = fit(), fit_without_prefetching()
    assert found == wanted
    np.testing.assert_array_equal(step.params.flat.get(), plain.params.flat.get())


def test_the_next_order_is_drawn_while_the_device_works(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And before the losses are waited for."""
    seen: list[str] = []
    synchronize, launch, upload = Event.synchronize, Graph.launch, Launcher.upload
    monkeypatch.setattr(
        Event, "synchronize", lambda event: (seen.append("wait"), synchronize(event))
    )
    monkeypatch.setattr(
        Graph, "launch", lambda graph, stream=None: (seen.append("launch"), launch(graph))
    )
    monkeypatch.setattr(
        Launcher,
        "upload",
        lambda launcher, order: (seen.append("send"), upload(launcher, order))[1],
    )
    step, _ = fit()
    # The order was sent beside the work of the epoch before: it has arrived when it is waited for.
    wanted = [*["wait", "launch", "send"] * 2, "wait", "launch", "wait"]
    assert [what for what, _ in groupby(seen)][-9:] == wanted
    assert step.prefetch_order is None


def test_an_order_that_was_not_prefetched_is_uploaded() -> None:
    backend = CupyBackend()
    step: Any = backend.compile_step(SPEC)
    X, Y = (backend.asarray(array) for array in data(SPEC, "indices", rows=ROWS))
    orders = [np.random.default_rng(k).permutation(ROWS) for k in range(3)]
    settings: dict[str, Any] = {"learning_rate": 0.1, "batch_size": 8}
    step.prefetch_order = lambda: orders[1]
    step.epoch(X, Y, order=orders[0], **settings)
    used = step._prefetched[1]
    assert step._order(orders[1]) is used
    np.testing.assert_array_equal(step._order(orders[2]).get(), orders[2])
    np.testing.assert_array_equal(step._order(orders[1].copy()).get(), orders[1])


def test_no_order_is_drawn_for_after_an_epoch_that_failed() -> None:
    backend = CupyBackend()
    drawn: list[str] = []
    step: Any = backend.compile_step(SPEC)
    X, Y = (backend.asarray(array) for array in data(SPEC, "indices", rows=ROWS))
    step.prefetch_order = lambda: drawn.append("an order")
    with cupy.pool.limited(1_000), pytest.raises(DeviceMemoryError):
        step.epoch(X, Y, learning_rate=0.1, batch_size=ROWS)
    step.gradient(X, Y)
    assert not drawn


def test_an_order_without_memory_is_uploaded_by_its_own_epoch() -> None:
    """The epoch before has been launched: it must not fail for lack of memory for the next one."""
    backend = CupyBackend()
    step, plain = backend.compile_step(SPEC), backend.compile_step(SPEC)
    X, Y = (backend.asarray(array) for array in data(SPEC, "indices", rows=ROWS))
    order = np.random.default_rng(0).permutation(ROWS)
    settings: dict[str, Any] = {"learning_rate": 0.1, "batch_size": 8}
    losses = [plain.epoch(X, Y, **settings), plain.epoch(X, Y, order=order, **settings)]
    with ExitStack() as stack:
        step.prefetch_order = lambda: (stack.enter_context(cupy.pool.limited(0)), order)[1]
        assert step.epoch(X, Y, **settings) == losses[0]
    assert step.epoch(X, Y, order=order, **settings) == losses[1]


def test_an_order_is_kept_as_long_as_the_device_may_read_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The next one, which is sent meanwhile, would else be given its memory."""
    read, upload, orders, lived = NetworkMemory.read, Launcher.upload, [], []

    def sent(launcher: Launcher, order: Any) -> Any:
        found = upload(launcher, order)
        orders.append(weakref.ref(found[0]))
        return found

    def look(memory: NetworkMemory) -> Any:
        lived.append([order() is not None for order in orders][-2:])
        return read(memory)

    monkeypatch.setattr(Launcher, "upload", sent)
    monkeypatch.setattr(NetworkMemory, "read", look)
    fit()
    # In the first epoch that of the second has come, too; in the last no other comes.
    assert lived == [[True], *[[True, True]] * (EPOCHS - 2), [False, True]]


def test_orders_take_one_more_stream_and_what_is_told_and_left_pinned_memory() -> None:
    fit()
    gc.collect()
    streams, used, pinned = Stream.made, cupy.pool.used_bytes(), PINNED.used()
    step, _ = fit()
    # Of trainings, and of predictions and losses.
    assert Stream.made == streams and PINNED.used() - pinned == 2 * 8 * (12 + 4)
    del step
    gc.collect()
    assert cupy.pool.used_bytes() - used < 1 << 16 and PINNED.used() == pinned


class TestMistakes:
    """What waits for what: each mistake gives other numbers, or a refusal."""

    @pytest.fixture
    def wanted(self) -> list[float]:
        return fit_without_prefetching()[1]

    def test_an_epoch_that_does_not_wait_for_its_order_is_noticed(
        self, wanted: list[float], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert fit()[1] == wanted
        upload = Launcher.upload
        too_early = SimpleNamespace(synchronize=lambda: None)
        monkeypatch.setattr(
            Launcher, "upload", lambda launcher, order: (upload(launcher, order)[0], too_early)
        )
        assert fit()[1] != wanted

    def test_what_an_epoch_was_told_stays_until_it_is_read(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """And losses are waited for, though a prediction is not."""
        step, _ = fit()
        asked, waited = [], []
        record, synchronize = Stream.record, Event.synchronize
        monkeypatch.setattr(
            Stream, "record", lambda stream: (event := record(stream), asked.append(event))[0]
        )
        monkeypatch.setattr(
            Event, "synchronize", lambda event: (waited.append(event), synchronize(event))
        )
        X, Y = (cupy.asarray(array) for array in data(SPEC, "indices", rows=ROWS))
        for count in range(2):
            step.forward(X)
            assert (
                len(waited) == count
            )  # for the prediction before, which may not have read yet where its rows lie
        assert waited[0] in asked
        step.loss(X, Y)
        assert len(waited) == 3
