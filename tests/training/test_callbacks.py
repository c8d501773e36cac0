"""Progress goes where it is sent, and nowhere else."""

import numpy as np
import pytest

import xpnet
from xpnet.cli.output import show_facts
from xpnet.training import Progress


def fit(callback, epochs=4):
    model = xpnet.LogisticRegression(2, 2, backend="numpy")
    return model.fit(np.ones((3, 2)), np.array([0, 1, 1]), epochs=epochs, callbacks=[callback]).loss


def test_a_sink_gets_one_line_for_every_so_many_epochs():
    lines = []
    loss = fit(Progress(lines.append, every=2))
    assert [line.split(",")[0] for line in lines] == [f"epoch {n}: loss {loss[n - 1]:.4f}" for n in (2, 4)]
    assert all(line.endswith("rows/s") for line in lines)


def test_nothing_is_printed_where_there_is_no_terminal(capsys):
    fit(Progress())
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


def test_without_streams_nothing_is_printed(monkeypatch):
    """pythonw has neither stdout nor stderr."""
    monkeypatch.setattr("sys.stderr", None)
    monkeypatch.setattr("sys.stdout", None)
    fit(Progress())
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
