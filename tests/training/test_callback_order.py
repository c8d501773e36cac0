"""In which order the loop calls callbacks, and under which names their states are kept."""

import numpy as np
import pytest
from xpnet_numpy import NumpyBackend

from xpnet.backend import NetworkSpec
from xpnet.errors import InputError
from xpnet.optimizers import Constant
from xpnet.steps import ReferenceStep
from xpnet.training import Callback, EarlyStopping, InMemory, LabeledRows, Training, train
from xpnet.training.callbacks import as_callbacks, call_order, callbacks_with_state

X, Y = np.eye(2), np.array([0, 1])


class Listener(Callback):
    """Notes the calls of every method."""

    def __init__(self, name, calls, *, transactional=False):
        self.name = name
        self.calls = calls
        self.transactional = transactional

    def note(self, method):
        self.calls.append(f"{self.name} {method}")

    def train_begin(self, training):
        self.note("begins")

    def epoch_end(self, training):
        self.note(f"epoch {training.done}")

    def between_epochs(self, training):
        self.note("between")

    def train_end(self, training):
        self.note("ends")

    def close(self, training):
        self.note("closes")


def new_training(callbacks=(), *, rows=2, **spec):
    step = ReferenceStep(NetworkSpec((2, 2), (), **spec), NumpyBackend(), "")
    return Training(
        step, InMemory(LabeledRows(X[:rows], Y[:rows]), batch_size=2), 2, callbacks=callbacks
    )


def test_transactional_callbacks_come_first_and_others_stay_in_order():
    calls = []
    callbacks = [
        Listener("a", calls),
        Listener("b", calls, transactional=True),
        lambda training: calls.append(f"function {training.done}"),
        Listener("c", calls, transactional=True),
    ]
    training = new_training(callbacks)
    train(training.step, training.batches, epochs=1, schedule=Constant(0.1), callbacks=callbacks)
    assert calls == [
        *["b begins", "c begins", "a begins"],
        *["b epoch 1", "c epoch 1", "a epoch 1", "function 1"],
        *["b between", "c between", "a between"],
        *["b ends", "c ends", "a ends"],
        *["b closes", "c closes", "a closes"],
    ]


class WithState(Callback):
    """A callback with a state."""

    def state(self):
        return {"number": 1}


class Named(WithState):
    """One whose state has a name of its own."""

    state_key = "counter"


def test_states_of_one_name_are_numbered():
    plain, second, third = WithState(), WithState(), WithState()
    named, other = Named(), Named()
    by_key = callbacks_with_state([plain, Callback(), named, second, other, third])
    assert by_key == {
        "WithState": plain,
        "WithState 2": second,
        "WithState 3": third,
        "counter": named,
        "counter 2": other,
    }


class Brief(WithState):
    """A transactional callback that sees only the last of several epochs."""

    transactional = True
    sees_each_epoch = False

    def epoch_end(self, training):
        pass


class Limited(Brief):
    """One that sees each epoch, afterwards."""

    sees_each_epoch = True

    def max_epochs_at_once(self):
        return 4


class Seeing(Callback):
    """One that sees each epoch before the next."""

    def within_epoch(self, training):
        pass


def test_which_callbacks_need_each_epoch():
    brief, limited, seeing, plain = Brief(), Limited(), Seeing(), Callback()
    order = call_order([brief, limited, plain])
    assert order.transactional == order.at_end == order.with_state == [brief, limited]
    assert order.for_each_epoch == [limited]
    assert not order.need_each_epoch
    assert order.listeners["epoch_end"] == [brief, limited]
    assert order.listeners["within_epoch"] == order.listeners["close"] == []
    assert call_order([brief, seeing]).need_each_epoch
    assert call_order([as_callbacks([print])[0]]).need_each_epoch
    assert call_order([EarlyStopping()]).need_each_epoch
    assert not call_order([]).need_each_epoch


def test_what_the_base_of_callbacks_does():
    callback, training = Callback(), new_training()
    assert (callback.transactional, callback.sees_each_epoch, callback.state_key) == (
        False,
        True,
        "",
    )
    assert callback.state() == {} and callback.max_epochs_at_once() == 1
    callback.load_state({})
    assert as_callbacks([print])[0].state_key == "function"
    assert training.callbacks == []


@pytest.mark.parametrize(
    "settings, expected",
    [
        ({"rows": 1}, "began with, rows=2; got rows=1"),
        ({"l2": 0.5}, "began with, l2=0.0; got l2=0.5"),
        ({"rows": 1, "l2": 0.5}, "began with, rows=2, l2=0.0; got rows=1, l2=0.5"),
    ],
)
def test_a_state_of_other_data_or_another_network_is_refused(settings, expected):
    state = new_training().state()
    with pytest.raises(InputError, match=expected):
        new_training(**settings).load_state(state)


def test_a_loaded_state_is_what_was_kept():
    training, other = new_training(), new_training()
    training.history.add(0.5, 0.1, 1.0, 0.25)
    training.done, training.stop = 1, True
    training.step.params["b1"][0] = 7.0
    other.history.add(9.0, 9.0, 9.0)
    other.load_state(training.state())
    assert (other.done, other.stop) == (1, True)
    assert other.history.to_dict() == training.history.to_dict()
    assert other.step.params["b1"][0] == 7.0


class Stubborn(WithState):
    """A callback that cannot load its state."""

    def load_state(self, state):
        raise KeyError("lost")


def test_a_part_that_a_callback_cannot_load_is_named():
    state = new_training([WithState()]).state()
    assert state.callbacks == {"WithState": {"number": 1}}
    stubborn = type("WithState", (Stubborn,), {})
    with pytest.raises(InputError, match="got WithState, which cannot load .*KeyError.'lost'"):
        new_training([stubborn()]).load_callbacks(state)
