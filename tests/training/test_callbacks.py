"""Progress is shown on a terminal or in a notebook, and nowhere else."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

import xpnet
from xpnet.cli.output import show_facts
from xpnet.training import Callback, Progress, callbacks


def fit(callback, epochs=4):
    model = xpnet.LogisticRegression(2, 2, backend="numpy")
    return model.fit(np.ones((3, 2)), np.array([0, 1, 1]), epochs=epochs, callbacks=[callback]).loss


def test_nothing_is_printed_where_there_is_no_terminal(capsys):
    fit(Progress())
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


def test_without_streams_nothing_is_printed(monkeypatch):
    """pythonw has neither stdout nor stderr."""
    monkeypatch.setattr("sys.stderr", None)
    monkeypatch.setattr("sys.stdout", None)
    assert fit(Progress()) == fit(Callback())
    show_facts([("loss", 1.0)])


def test_a_terminal_gets_a_bar(capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    loss = fit(Progress())
    captured = capsys.readouterr()
    assert captured.out == "" and f"loss {loss[-1]:.4f}" in captured.err


def test_an_interruption_gives_the_terminal_its_cursor_back(capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")

    class Interrupt(Progress):
        def epoch_end(self, training):
            super().epoch_end(training)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(Interrupt())
    hidden, shown = "\x1b[?25l", "\x1b[?25h"
    written = capsys.readouterr().err
    assert hidden in written
    assert written.rindex(shown) > written.rindex(hidden)


class Heard(Callback):
    """Notes what it is told within epochs."""

    def __init__(self):
        self.rows = []

    def within_epoch(self, training):
        self.rows.append((training.done, training.rows_done))


@pytest.fixture
def a_word_each_time(monkeypatch):
    """No time between two words, and one call of compiled code a batch."""
    monkeypatch.setattr(callbacks, "MIN_REPORT_SECONDS", 0.0)
    training = pytest.importorskip(
        "xpnet_numba.step.training", reason="the Numba backend needs numba"
    )
    monkeypatch.setattr(training, "SECONDS_PER_CALL", 1e-12)


@pytest.mark.usefixtures("a_word_each_time")
@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_whoever_watches_is_told_within_an_epoch_and_changes_nothing(backend):
    X, y = np.random.default_rng(0).normal(size=(100, 3)), np.arange(100) % 2
    models = []
    for heard in (Heard(), Callback()):
        model = xpnet.FeedforwardNeuralNet(3, 4, 2, rng=0, backend=backend)
        model.fit(X, y, epochs=2, batch_size=10, callbacks=[heard])
        models.append((model, heard))
    (watched, heard), (alone, _) = models
    assert {done for done, _ in heard.rows} == {0, 1}
    assert all(rows % 10 == 0 and 0 < rows <= 100 for _, rows in heard.rows)
    assert watched.history.loss == alone.history.loss
    for name in watched.params:
        np.testing.assert_array_equal(watched.params[name], alone.params[name])
    told = len(heard.rows)
    watched.fit(X, y, epochs=1, batch_size=10)
    assert len(heard.rows) == told


def test_a_short_epoch_says_nothing():
    heard = Heard()
    fit(heard)
    assert not heard.rows


@pytest.mark.usefixtures("a_word_each_time")
def test_the_bar_moves_within_an_epoch(capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    moved = []

    class Watched(Progress):
        def within_epoch(self, training):
            super().within_epoch(training)
            moved.append((self.bar.tasks[0].completed, self.bar.tasks[0].fields["speed"]))

    model = xpnet.LogisticRegression(2, 2, backend="numpy")
    model.fit(
        np.ones((4, 2)), np.array([0, 1, 1, 0]), epochs=2, batch_size=1, callbacks=[Watched()]
    )
    assert (0.5, "2 of 4 rows") in moved and (1.75, "3 of 4 rows") in moved
    capsys.readouterr()


@pytest.mark.usefixtures("a_word_each_time")
def test_a_notebook_gets_a_line_that_is_written_over(monkeypatch, capsys):
    kernel = SimpleNamespace(get_ipython=type("ZMQInteractiveShell", (), {}))
    monkeypatch.setitem(sys.modules, "IPython", kernel)
    model = xpnet.LogisticRegression(2, 2, backend="numpy")
    model.fit(
        np.ones((4, 2)), np.array([0, 1, 1, 0]), epochs=3, batch_size=1, callbacks=[Progress()]
    )
    empty, *shown = capsys.readouterr().out.split("\r")
    assert empty == "" and shown[0].strip() == "epoch 1 of 3: 1 of 4 rows"
    assert shown[-1].startswith("epoch 3 of 3: loss")
    assert len(shown) == 15
