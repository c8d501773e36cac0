"""Ctrl-C at any moment of a training leaves a training of whole epochs, which can go on."""

import _thread
import ctypes
import signal
import threading
import time
import warnings

import numpy as np
import pytest

import xpnet
from xpnet.training import Callback, Interrupts

X = np.random.default_rng(0).normal(size=(200, 5))
Y = (X[:, 0] > 0).astype(int)


def network(backend):
    return xpnet.FeedforwardNeuralNet(
        5, 6, 2, optimizer="adam", dropout=0.2, backend=backend, rng=0
    )


def assert_whole(model, backend, epochs):
    """The state of an uninterrupted run of so many epochs, and the same numbers after more of
    them.
    """
    alone = network(backend)
    if epochs:
        alone.fit(X, Y, epochs=epochs, batch_size=8)
    for one in (model, alone):
        one.fit(X, Y, epochs=2, batch_size=8)
    assert model.history.loss == alone.history.loss
    assert model.trainable().state().t == alone.trainable().state().t == (epochs + 2) * 25
    for name, array in alone.params.items():
        np.testing.assert_array_equal(model.params[name], array, strict=True)


# Python drops an exception in a destructor; the training raises it again.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("delay", np.random.default_rng(1).uniform(0, 0.15, 6).round(4))
def test_ctrl_c_at_any_moment(backend, delay):
    model = network(backend)
    timer = threading.Timer(delay, signal.raise_signal, [signal.SIGINT])
    with pytest.raises(
        KeyboardInterrupt
    ):  # on a busy machine it may come before the training begins
        timer.start()
        model.fit(X, Y, epochs=10**6, batch_size=8)
    timer.join()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert_whole(model, backend, model.history.epochs)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_ctrl_c_in_a_destructor_is_not_lost(monkeypatch):
    class Dying:
        def __del__(self):
            signal.raise_signal(signal.SIGINT)

    model = network("numpy")
    model.fit(X, Y, epochs=1, batch_size=8)
    step, dying = model.trainable(), [Dying()]
    update = step.update

    def interrupted(**settings):
        dying.clear()
        return update(**settings)

    monkeypatch.setattr(step, "update", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, Y, epochs=3, batch_size=8)
    assert model.history.epochs == 2


@pytest.mark.parametrize("where", ["in the step", "in the order", "in validation"])
def test_a_long_epoch_is_cut_and_taken_back(monkeypatch, where):
    model = network("numpy")
    model.fit(X, Y, epochs=2, batch_size=8)
    step, calls = model.trainable(), []
    whole = {"in the step": step.update, "in validation": step.loss}.get(where)

    def interrupted(*args, **settings):
        calls.append(1)
        if len(calls) == 30:
            raise KeyboardInterrupt
        return whole(*args, **settings)

    if where == "in the order":
        stream = np.random.default_rng(5)
        model.rng = stream
        before = stream.bit_generator.state

        class Draws(np.random.Generator):
            def permutation(self, rows):
                stream.permutation(rows)
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            model.fit(X, Y, epochs=1, batch_size=8, rng=Draws(stream.bit_generator))
        assert stream.bit_generator.state == before and model.history.epochs == 2
        return
    monkeypatch.setattr(step, "update" if where == "in the step" else "loss", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, Y, epochs=40, batch_size=8, validation=(X, Y))
    monkeypatch.undo()
    assert model.history.epochs == {"in the step": 3, "in validation": 31}[where]
    assert len(model.history.validation_loss) == model.history.epochs - 2
    assert_whole(model, "numpy", model.history.epochs)


def test_an_error_in_a_long_epoch_leaves_a_model_that_trains(monkeypatch):
    model = network("numpy")
    step = model.trainable()
    monkeypatch.setattr(step, "update", lambda **_: (_ for _ in ()).throw(MemoryError))
    with pytest.raises(MemoryError):
        model.fit(X, Y, epochs=3, batch_size=8)
    monkeypatch.undo()
    assert_whole(model, "numpy", 0)


class Cut(Exception):
    """What a handler or another thread raises in the middle of a training."""


@pytest.fixture
def alarm():
    """Has a signal handler raise Cut after some seconds, as the time-outs of test runners and task
    queues do.
    """

    def cut(*_):
        raise Cut

    before = signal.signal(signal.SIGALRM, cut)
    yield lambda seconds: signal.setitimer(signal.ITIMER_REAL, seconds)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


DELAYS = np.random.default_rng(2).uniform(0.002, 0.06, 8).round(4)


@pytest.mark.skipif(
    not hasattr(signal, "setitimer"), reason="this system has no timers that signal"
)
@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_a_signal_handler_that_raises_leaves_whole_epochs(backend, alarm):
    network(backend).fit(X, Y, epochs=2, batch_size=8)  # compiled, and known to be short
    for delay in DELAYS:
        model = network(backend)
        with pytest.raises(Cut):
            alarm(delay)  # on a busy machine it may ring before this returns
            model.fit(X, Y, epochs=10**6, batch_size=8)
        assert_whole(model, backend, model.history.epochs)


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_an_exception_set_in_a_training_thread_leaves_whole_epochs(backend):
    network(backend).fit(X, Y, epochs=2, batch_size=8)

    def fit(model):
        try:
            model.fit(X, Y, epochs=10**6, batch_size=8)
        except Cut:
            pass

    for delay in DELAYS:
        model = network(backend)
        thread = threading.Thread(target=fit, args=[model])
        thread.start()
        time.sleep(delay)
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(thread.ident), ctypes.py_object(Cut)
        )
        thread.join()
        assert_whole(model, backend, model.history.epochs)


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_a_validation_loss_that_finds_no_memory_leaves_whole_epochs(backend, monkeypatch):
    model = network(backend)
    model.fit(X, Y, epochs=2, batch_size=8)
    model.predict(X)
    step, calls = model.trainable(), []
    loss = step.loss

    def scarce(*data, **settings):
        calls.append(1)
        if len(calls) == 3:
            raise MemoryError
        return loss(*data, **settings)

    monkeypatch.setattr(step, "loss", scarce)
    with pytest.raises(MemoryError):
        model.fit(X, Y, epochs=10, batch_size=8, validation=(X, Y))
    monkeypatch.undo()
    assert model.history.epochs == 4 and len(model.history.validation_loss) == 2
    assert_whole(model, backend, 4)


@pytest.mark.skipif(
    not hasattr(signal, "setitimer"), reason="this system has no timers that signal"
)
@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_an_interrupted_estimator_has_the_weights_of_its_iterations(backend, early_stopping, alarm):
    def classifier(epochs):
        return xpnet.MLPClassifier(
            6,
            max_iter=epochs,
            n_iter_no_change=10**6,
            random_state=0,
            early_stopping=early_stopping,
            backend=backend,
        )

    cut = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        classifier(2).fit(X, Y)
        shortest = 0.02
        for delay in DELAYS:
            model = classifier(10**6)
            with pytest.raises(Cut):
                alarm(shortest + delay)
                model.fit(X, Y)
            if not getattr(model, "n_iter_", 0):
                shortest *= 2  # a busy machine makes no epoch in that time
                continue
            cut += 1
            alone = classifier(model.n_iter_).fit(X, Y)
            assert model.loss_curve_ == alone.loss_curve_ and model.t_ == alone.t_
            assert model.validation_scores_ == alone.validation_scores_
            if not early_stopping:  # at its end, a fit with it goes back to the best weights
                for name in ("coefs_", "intercepts_"):
                    for cut_short, whole in zip(
                        getattr(model, name), getattr(alone, name), strict=True
                    ):
                        np.testing.assert_array_equal(cut_short, whole, strict=True)
    assert cut


def test_a_transactional_callback_is_whole():
    ended = []

    class Brief(Callback):
        transactional = True

        def epoch_end(self, training):
            _thread.interrupt_main()
            ended.append(training.done)

    with pytest.raises(KeyboardInterrupt):
        network("numpy").fit(X, Y, epochs=3, callbacks=[Brief()])
    assert ended == [1]


def test_a_handler_of_the_users_own_stays():
    heard = []
    before = signal.signal(signal.SIGINT, lambda *_: heard.append(1))
    try:
        with Interrupts() as interrupts:
            interrupts.held = True
            signal.raise_signal(signal.SIGINT)
            time.sleep(0)
            assert not interrupts.pending
    finally:
        signal.signal(signal.SIGINT, before)
    assert heard == [1]
