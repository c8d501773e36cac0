"""Threads, signal handlers and forked processes at one model: calls take turns, and none waits for
ever.
"""

import copy
import os
import pickle
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import xpnet
from xpnet.training import Callback

BACKENDS = ["numpy", "numba"]
X = np.random.default_rng(0).normal(size=(400, 5))
Y = (X[:, 0] > 0).astype(int)


def network(backend):
    return xpnet.FeedforwardNeuralNet(5, 16, 2, optimizer="adam", backend=backend, rng=0)


def expected(backend, epochs):
    model = network(backend)
    model.fit(X, Y, epochs=epochs, batch_size=8)
    return model


class Meanwhile(Callback):
    """Lets other threads run between epochs, and stops when they are done."""

    def __init__(self, works):
        self.works = works

    def epoch_end(self, training):
        time.sleep(0.001)
        training.stop = all(work.done() for work in self.works)


@pytest.mark.parametrize("backend", BACKENDS)
def test_calls_during_a_fit_see_the_parameters_of_a_whole_epoch(backend, tmp_path):
    model, alone = network(backend), network(backend)
    model.predict(X[:1]), alone.predict(X[:1])
    path = tmp_path / "model"
    asked = {
        "predict": lambda k: model.predict(X[k : k + 3]),
        "loss": lambda k: model.loss(X, Y),
        "save": lambda k: (model.save(path), xpnet.load(path).params["W1"])[1],
        "copy": lambda k: copy.copy(model).params["W1"],
        "pickle": lambda k: pickle.loads(pickle.dumps(model)).params["W1"],
        "values": lambda k: model.values()["W1"],
    }
    with ThreadPoolExecutor(2) as pool:
        works = [pool.submit(ask, k) for k in range(8) for ask in asked.values()]
        model.fit(X, Y, epochs=10**6, batch_size=8, callbacks=[Meanwhile(works)])
    whole = [alone.values()["W1"].tobytes()]
    alone.fit(
        X,
        Y,
        epochs=model.history.epochs,
        batch_size=8,
        callbacks=[lambda training: whole.append(alone.values()["W1"].tobytes())],
    )
    assert alone.history.loss == model.history.loss
    answers = [work.result() for work in works]
    assert {
        answer.tobytes() for answer in answers if getattr(answer, "shape", None) == (5, 16)
    } <= set(whole)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_first_use_from_two_threads_makes_one_step(backend):
    for _ in range(10):
        model, start = network(backend), threading.Barrier(2)
        other = threading.Thread(
            target=lambda model=model, start=start: (start.wait(), model.predict(X))
        )
        other.start()
        start.wait()
        model.fit(X, Y, epochs=3, batch_size=8)
        other.join()
        np.testing.assert_array_equal(model.predict(X), expected(backend, 3).predict(X))


@pytest.fixture
def impatient():
    """Threads take over from each other as often as they can, so that a gap between two locks is
    hit.
    """
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.parametrize("change", ["fit", "step"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_first_change_beside_first_predictions_is_not_lost(backend, change, impatient):
    rows, labels = X[:60].astype("float32"), Y[:60]  # a dtype that a network has to adopt

    def changed(model):
        if change == "fit":
            model.fit(rows, labels, epochs=2, batch_size=16, shuffle=False)
        else:
            model.step(rows, labels)
        return model

    alone = changed(network(backend)).values()
    with ThreadPoolExecutor(3) as pool:
        for _ in range(40):
            model, start = network(backend), threading.Barrier(4)
            asked = [
                pool.submit(lambda m, s: (s.wait(), m.predict(rows[:1])), model, start)
                for _ in range(3)
            ]
            start.wait()
            changed(model)
            for answer in asked:
                answer.result()
            for name, array in model.values().items():
                np.testing.assert_array_equal(array, alone[name], strict=True)


def test_a_thread_that_waits_has_its_turn_between_two_epochs(monkeypatch):
    model, begun, answered = network("numpy"), threading.Semaphore(0), []
    model.predict(X[:1])
    step = model.trainable()
    epoch = step.epoch

    def awaited(*data, **settings):
        begun.release()
        limit = time.monotonic() + 60
        while not model.lock.waiters and len(answered) < model.history.epochs:
            assert time.monotonic() < limit, "the other thread neither waits nor has its answer"
            time.sleep(0.0001)
        return epoch(*data, **settings)

    def ask():
        for _ in range(40):
            begun.acquire()
            model.predict(X[:1])
            answered.append(model.history.epochs)

    monkeypatch.setattr(step, "epoch", awaited)
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    model.fit(X[:20], Y[:20], epochs=40)
    thread.join()
    assert len(set(answered)) > 10  # answered after so many different epochs, not at the end alone


def test_a_thread_that_wakes_late_gets_the_lock_after_the_next_epoch():
    model = network("numpy")
    model.predict(X[:1])
    other = threading.Thread(target=model.predict, args=[X[:1]], daemon=True)
    with model.lock.calls:
        other.start()
        limit = time.monotonic() + 60
        while not model.lock.waiters and time.monotonic() < limit:
            time.sleep(0.001)
        model.lock.yield_lock()  # under the lock, which the other thread therefore does not get
        assert model.lock.waiters
    other.join(60)
    assert not model.lock.waiters


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_second_fit_and_a_move_wait_for_the_first_fit(backend):
    model, begun = network(backend), threading.Event()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(
            model.fit,
            X,
            Y,
            epochs=4,
            batch_size=8,
            callbacks=[lambda _: (begun.set(), time.sleep(0.01))],
        )
        begun.wait()
        second = pool.submit(model.fit, X, Y, epochs=4, batch_size=8)
        model.to("numpy")
        assert first.result() is second.result()
    np.testing.assert_allclose(model.predict(X), expected(backend, 8).predict(X), rtol=1e-9)


@pytest.mark.parametrize(
    "call",
    [lambda m: m.fit(X, Y, epochs=1), lambda m: m.step(X, Y), lambda m: m.to("numpy")],
    ids=["fit", "step", "to"],
)
def test_a_callback_cannot_change_the_model_that_trains(call):
    model = network("numpy")
    with pytest.raises(xpnet.ModelInUseError, match="one caller at a time"):
        model.fit(X, Y, epochs=2, callbacks=[lambda _: call(model)])
    assert model.history.epochs == 1
    assert len(model.fit(X, Y, epochs=2).loss) == 3


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_callback_may_ask_the_model_that_trains(backend):
    model, seen = network(backend), []
    model.fit(
        X,
        Y,
        epochs=2,
        callbacks=[lambda _: seen.append(model.predict(X[:1])), lambda _: copy.copy(model)],
    )
    assert len(seen) == 2


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_callback_that_writes_into_labels_and_weights_changes_nothing(backend):
    labels, weights = Y.copy(), np.ones(len(Y))

    def spoil(training):
        labels[:], weights[:] = 10**9, np.nan

    model, undisturbed = network(backend), network(backend)
    model.fit(X, labels, epochs=3, batch_size=8, sample_weight=weights, callbacks=[spoil])
    undisturbed.fit(X, Y, epochs=3, batch_size=8, sample_weight=np.ones(len(Y)))
    assert model.history.loss == undisturbed.history.loss


@pytest.mark.skipif(
    not hasattr(signal, "setitimer"), reason="this system has no timers that signal"
)
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_signal_handler_predicts_or_gets_an_error(backend):
    model, heard = network(backend), []
    model.predict(X[:1])

    def handler(*_):
        try:
            heard.append(model.predict(X[:1]).shape)
        except xpnet.ModelInUseError as error:
            heard.append(str(error))

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.002, 0.002)
    try:
        model.fit(
            X,
            Y,
            epochs=10**6,
            batch_size=8,
            callbacks=[lambda training: setattr(training, "stop", len(heard) >= 20)],
        )
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert set(heard) <= {(1, 2), *(text for text in heard if "one caller at a time" in str(text))}
    np.testing.assert_array_equal(
        model.predict(X), expected(backend, model.history.epochs).predict(X)
    )


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork on Windows")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork.*:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*os.fork.*:RuntimeWarning")
@pytest.mark.parametrize("within", [True, False], ids=["within a call", "between calls"])
def test_a_forked_process_uses_the_model_of_another_thread(within, monkeypatch):
    model, inside, leave = network("numpy"), threading.Event(), threading.Event()
    model.predict(X[:1])
    step = model.trainable()
    update = step.update

    def waits(**settings):
        if within:
            inside.set()
            leave.wait()
        update(**settings)

    monkeypatch.setattr(step, "update", waits)

    def callback(training):
        inside.set()
        leave.wait()

    with ThreadPoolExecutor(1) as pool:
        fitted = pool.submit(model.fit, X, Y, epochs=1, callbacks=[callback])
        inside.wait()
        child = os.fork()
        if not child:  # leaves by _exit alone, so that pytest does not go on twice
            try:
                code = 0 if model.predict(X[:1]).shape == (1, 2) else 1
            except xpnet.ModelInUseError as error:
                code = 2 if "forked" in str(error) else 3
            except BaseException:
                code = 4
            os._exit(code)
        leave.set()
        fitted.result()
    deadline = time.monotonic() + 60
    while (status := os.waitpid(child, os.WNOHANG))[0] == 0 and time.monotonic() < deadline:
        time.sleep(0.01)
    if not status[0]:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert status[0] == child and os.waitstatus_to_exitcode(status[1]) == (2 if within else 0)
