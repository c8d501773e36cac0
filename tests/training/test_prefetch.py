"""Prefetched orders give the same numbers as others, whatever callbacks do and however a training
ends.
"""

from copy import deepcopy

import numpy as np
import pytest
from xpnet_numpy import NumpyBackend

import xpnet
from xpnet.backend import NetworkSpec, PrefetchedOrders
from xpnet.optimizers import Constant
from xpnet.steps import ReferenceStep
from xpnet.training import Callback, InMemory, LabeledRows, rng_state, train
from xpnet.training.orders import ChainedOrders

SPEC = NetworkSpec((5, 4, 3), ("relu",), seed=3)
ROWS = 37
X, Y = np.random.default_rng(0).normal(size=(ROWS, 5)), np.arange(ROWS) % 3
STREAMS = {
    "generator": lambda: np.random.default_rng(1),
    "legacy": lambda: np.random.RandomState(1),
    "as scikit-learn": lambda: ChainedOrders(np.random.RandomState(1), ROWS),
}


@pytest.fixture(autouse=True)
def however_few_rows(monkeypatch):
    for name in ("MIN_PREFETCHED_ROWS", "MIN_PREFETCHED_ROWS_LEGACY"):
        monkeypatch.setattr(f"xpnet.training.orders.{name}", 0)


class StepInTurn(ReferenceStep):
    """A step that has no order drawn within an epoch.

    drawn : the orders that it had drawn; reused : how many of them an epoch received
    """

    def __init__(self) -> None:
        super().__init__(SPEC, NumpyBackend(), "")
        self.drawn = []
        self.reused = 0


class PrefetchingStep(StepInTurn, PrefetchedOrders):
    """A step that has the next order drawn within an epoch, as one does whose device works."""

    def epoch(self, X, Y, *, order=None, **settings):
        self.reused += any(order is one for one in self.drawn)
        draw, self.prefetch_order = self.prefetch_order, None
        loss = super().epoch(X, Y, order=order, **settings)
        if draw is not None:
            self.drawn.append(draw())
        return loss


class Seen(Callback):
    """Keeps the training that it sees."""

    transactional = True

    def train_begin(self, training):
        self.training = training


def trained(rng, *, ahead=True, step=None, callbacks=(), epochs=6, **options):
    """The step of a training, the training and what it ended with, if it did not end by itself."""
    if step is None:
        step = PrefetchingStep() if ahead else StepInTurn()
    batches = InMemory(LabeledRows(X, Y), batch_size=8, rng=rng)
    seen = Seen()
    try:
        train(
            step,
            batches,
            epochs=epochs,
            schedule=Constant(0.3),
            callbacks=[seen, *callbacks],
            **options,
        )
    except KeyboardInterrupt as error:
        return step, seen.training, error
    return step, seen.training, None


def assert_equal(found, wanted):
    """Losses, parameters and stream of two trainings."""
    assert found.history.loss == wanted.history.loss
    for name, array in wanted.step.state().params.items():
        np.testing.assert_array_equal(found.step.state().params[name], array)
    assert repr(rng_state(found.rng)) == repr(rng_state(wanted.rng))


@pytest.mark.parametrize("stream", STREAMS)
def test_prefetched_orders_are_used_and_give_the_same_numbers(stream):
    (step, found, _), (_, wanted, _) = (
        trained(STREAMS[stream](), ahead=ahead) for ahead in (True, False)
    )
    assert_equal(found, wanted)
    assert len(step.drawn) == step.reused == 5  # all but the first, and none after the last


def test_numpys_global_stream():
    states = []
    for ahead in (True, False):
        np.random.seed(4)
        step, _, _ = trained(np.random, ahead=ahead)
        states.append(np.random.get_state(legacy=False)["state"]["key"])
        assert step.reused == (5 if ahead else 0)
    np.testing.assert_array_equal(*states)


@pytest.mark.parametrize("stream", STREAMS)
def test_callbacks_may_draw_from_the_generator(stream):
    class Drawing(Callback):
        def __init__(self):
            self.seen = []

        def epoch_end(self, training):
            self.seen.append(repr(rng_state(training.rng)))
            if training.done % 2:
                getattr(training.rng, "random_state", training.rng).normal()

    seen = []
    for ahead in (True, False):
        callback = Drawing()
        step, training, _ = trained(STREAMS[stream](), ahead=ahead, callbacks=[callback])
        seen.append((callback.seen, training))
    assert seen[0][0] == seen[1][0] and step.reused == 0
    assert_equal(seen[0][1], seen[1][1])


@pytest.mark.parametrize("stream", STREAMS)
def test_early_stopping_leaves_the_generator_as_without_prefetching(stream):
    def stop(training):
        training.stop = training.done == 3

    trainings = [
        trained(STREAMS[stream](), ahead=ahead, callbacks=[stop])[1] for ahead in (True, False)
    ]
    assert trainings[0].done == trainings[1].done == 3
    assert_equal(*trainings)


@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("place", ["between epochs", "while the next order is drawn"])
def test_ctrl_c(stream, place, monkeypatch):
    rng, wanted = STREAMS[stream](), trained(STREAMS[stream](), ahead=False, epochs=3)[1]
    if place == "between epochs":

        def interrupt(training):
            if training.done == 3:
                raise KeyboardInterrupt

        _, found, error = trained(rng, ahead=True, callbacks=[interrupt])
    else:
        step, epochs = PrefetchingStep(), []
        draw_from = step.epoch

        def epoch(*data, **options):
            epochs.append(1)
            if len(epochs) == 4:
                step.prefetch_order = lambda: (_ for _ in ()).throw(KeyboardInterrupt)
            return draw_from(*data, **options)

        step.epoch = epoch
        _, found, error = trained(rng, step=step)
    assert error is not None and found.done == 3
    assert_equal(found, wanted)


def test_a_checkpoint_goes_on_with_the_same_numbers():
    states = []

    class Keep(Callback):
        def between_epochs(self, training):
            states.append(deepcopy(training.state()))

    _, wanted, _ = trained(STREAMS["generator"](), ahead=True, callbacks=[Keep()])
    _, resumed, _ = trained(
        np.random.default_rng(99), ahead=True, callbacks=[Callback()], resume_from=states[2]
    )
    assert_equal(resumed, wanted)


def test_a_stream_that_cannot_be_copied_is_refused():
    class Bare:
        def permutation(self, rows):
            return np.arange(rows)[::-1]

    with pytest.raises(xpnet.InputError, match=r"numpy\.random\.Generator or RandomState"):
        xpnet.FeedforwardNeuralNet(5, 4, 3, backend="numpy", rng=Bare())


@pytest.mark.parametrize("stream", STREAMS)
def test_orders_of_few_rows_are_not_prefetched(stream, monkeypatch):
    monkeypatch.setattr(
        f"xpnet.training.orders.MIN_PREFETCHED_ROWS{'' if stream == 'generator' else '_LEGACY'}",
        ROWS + 1,
    )
    step, _, _ = trained(STREAMS[stream](), ahead=True)
    assert not step.drawn


def test_a_step_on_the_host_prefetches_nothing():
    net = xpnet.FeedforwardNeuralNet(5, 4, 3, backend="numpy", rng=0)
    net.fit(X, Y, epochs=2, batch_size=8)
    assert not isinstance(net.trainable(), PrefetchedOrders)
