"""Ctrl-C within the context that lets it wait: which flags it leaves, and which handlers."""

import signal
import threading

import numpy as np
import pytest

import xpnet
from xpnet.training import Callback, Interrupts


def press():
    signal.raise_signal(signal.SIGINT)


def test_ctrl_c_is_raised_at_once_unless_it_is_held():
    with Interrupts() as interrupts:
        assert (interrupts.held, interrupts.pending) == (False, False)
        with pytest.raises(KeyboardInterrupt):
            press()
        assert interrupts.pending
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_waits_while_it_is_held():
    with Interrupts() as interrupts:
        interrupts.held = True
        press()
        assert interrupts.pending
        interrupts.held = interrupts.pending = False
        with pytest.raises(KeyboardInterrupt):
            press()


def test_the_inner_of_two_contexts_hears_ctrl_c_and_gives_the_handler_back():
    with Interrupts() as outer:
        outer.held = True
        before = signal.getsignal(signal.SIGINT)
        with Interrupts() as inner:
            inner.held = True
            press()
        assert (outer.pending, inner.pending) == (False, True)
        assert signal.getsignal(signal.SIGINT) == before
        press()
        assert outer.pending
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_another_thread_changes_no_handler():
    handlers = []

    def work():
        with Interrupts():
            handlers.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert handlers == [signal.default_int_handler]


@pytest.mark.parametrize("handler", [signal.SIG_IGN, signal.SIG_DFL])
def test_a_choice_of_the_user_stays(handler):
    before = signal.signal(signal.SIGINT, handler)
    try:
        with Interrupts():
            assert signal.getsignal(signal.SIGINT) == handler
        assert signal.getsignal(signal.SIGINT) == handler
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("transactional", [True, False])
def test_ctrl_c_waits_for_the_end_of_transactional_callbacks_alone(transactional):
    calls = []

    class Pressing(Callback):
        def epoch_end(self, training):
            calls.append("begins")
            press()
            calls.append("goes on")

    callback = Pressing()
    callback.transactional = transactional
    net = xpnet.LogisticRegression(2, 2, backend="numpy")
    with pytest.raises(KeyboardInterrupt):
        net.fit(np.eye(2), np.array([0, 1]), epochs=5, callbacks=[callback])
    assert calls == (["begins", "goes on"] if transactional else ["begins"])
    assert net.history.epochs == 1
