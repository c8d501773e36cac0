"""The numbers of a training, and the names of methods that the loop would never call."""

import pytest

from xpnet.errors import InputError
from xpnet.training import Callback, History
from xpnet.training.hooks import check_methods


def test_a_history_has_one_number_for_each_epoch():
    history = History()
    assert (history.epochs, repr(history)) == (0, "History(epochs=0)")
    history.add(2.0, 0.5, 0.25)
    history.add(1.5, 0.125, 0.75)
    assert history.epochs == 2
    assert repr(history) == "History(epochs=2, loss=1.5)"
    history.add(1.23456, 0.1, 0.5, 0.0)
    assert repr(history) == "History(epochs=3, loss=1.235, validation_loss=0)"
    assert history.to_dict() == {
        "loss": [2.0, 1.5, 1.23456],
        "learning_rate": [0.5, 0.125, 0.1],
        "seconds": [0.25, 0.75, 0.5],
        "validation_loss": [0.0],
    }


def test_a_dict_of_a_history_is_a_copy():
    history = History([2.0], [0.5], [0.25])
    history.to_dict()["loss"].append(1.0)
    assert history.loss == [2.0]


@pytest.mark.parametrize(
    "name", ["_on_epoch_end", "epoch_ended", "trained_on", "beginning", "own_epoch", "only_end_of"]
)
def test_other_names_of_methods_are_allowed(name):
    check_methods(type("Own", (Callback,), {name: lambda self: None}))


def test_values_may_have_such_names():
    check_methods(type("Own", (Callback,), {"on_epoch_end": 3, "epoch_start": "now"}))


@pytest.mark.parametrize("name", ["before_epoch", "after_epoch", "epoch_start", "batch_end"])
def test_names_of_other_libraries_are_refused(name):
    with pytest.raises(InputError, match=f"got '{name}' of Foreign.*did you mean 'epoch_end'"):
        check_methods(type("Foreign", (Callback,), {name: lambda self: None}))
