"""What is shown of a training whose numbers are given."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from xpnet_numpy import NumpyBackend

from xpnet.backend import NetworkSpec
from xpnet.steps import ReferenceStep
from xpnet.training import Callback, History, InMemory, LabeledRows, Progress, Training, callbacks


def training_of(*listeners, rows=2000, epochs=5):
    step = ReferenceStep(NetworkSpec((2, 2), ()), NumpyBackend(), "")
    batches = InMemory(LabeledRows(np.zeros((rows, 2)), np.zeros(rows, int)), batch_size=rows)
    return Training(step, batches, epochs, callbacks=listeners)


def end_epoch(training, progress, loss, seconds):
    training.history.add(loss, 0.1, seconds)
    training.done += 1
    progress.epoch_end(training)


def in_notebook(monkeypatch, shell="ZMQInteractiveShell"):
    kernel = SimpleNamespace(get_ipython=type(shell, (), {}))
    monkeypatch.setitem(sys.modules, "IPython", kernel)


def test_the_line_of_a_notebook(monkeypatch, capsys):
    in_notebook(monkeypatch)
    progress, training = Progress(), training_of()
    progress.train_begin(training)
    training.rows_done = 1500
    progress.within_epoch(training)
    end_epoch(training, progress, 0.98765, 0.5)
    end_epoch(training, progress, 0.5, 0.0)
    progress.close(training)
    empty, *shown = capsys.readouterr().out.split("\r")
    assert empty == ""
    assert [line.rstrip() for line in shown] == [
        "epoch 1 of 5: 1,500 of 2,000 rows",
        "epoch 1 of 5: loss 0.9877, 4,000 rows/s",
        "epoch 2 of 5: loss 0.5000, 2,000,000,000,000 rows/s",
    ]
    assert {len(line) for line in shown} == {79}


@pytest.mark.parametrize("place", ["another shell", "another process"])
def test_elsewhere_no_line_is_written(monkeypatch, capsys, place):
    in_notebook(monkeypatch, "TerminalShell" if place == "another shell" else "ZMQInteractiveShell")
    progress, training = Progress(), training_of()
    training.batches.is_main_process = place == "another shell"
    progress.train_begin(training)
    end_epoch(training, progress, 1.0, 1.0)
    progress.close(training)
    assert capsys.readouterr().out == ""


def on_terminal(monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")


def test_the_bar_of_a_terminal(capsys, monkeypatch):
    on_terminal(monkeypatch)
    progress, training = Progress(), training_of()
    training.done = 1  # of a run that was cut off
    progress.train_begin(training)
    (task,) = progress.bar.tasks
    assert (task.description, task.completed, task.total) == ("training", 1, 5)
    assert task.fields == {"loss": "", "speed": ""}
    training.rows_done = 500
    progress.within_epoch(training)
    assert (task.completed, task.fields["speed"]) == (1.25, "500 of 2,000 rows")
    end_epoch(training, progress, 0.98765, 0.5)
    assert task.completed == 2
    assert task.fields == {"loss": "loss 0.9877", "speed": "4,000 rows/s"}
    progress.close(training)
    assert progress.bar is None
    progress.close(training)  # a second time it does nothing
    assert capsys.readouterr().out == ""


@pytest.mark.usefixtures("capsys")
@pytest.mark.parametrize("is_main, in_line", [(False, False), (True, True)])
def test_no_bar_beside_a_line_or_in_another_process(monkeypatch, is_main, in_line):
    on_terminal(monkeypatch)
    if in_line:
        in_notebook(monkeypatch)
    progress, training = Progress(), training_of()
    training.batches.is_main_process = is_main
    progress.train_begin(training)
    assert progress.bar is None
    assert progress.in_line == in_line


class Heard(Callback):
    """Notes how many rows it is told of."""

    def __init__(self):
        self.rows = []

    def within_epoch(self, training):
        self.rows.append(training.rows_done)


def test_progress_is_reported_every_tenth_of_a_second(monkeypatch):
    now = iter([10.0625, 10.125, 10.1875, 10.2, 10.25, 10.375])
    monkeypatch.setattr(callbacks.time, "perf_counter", lambda: next(now))
    heard = Heard()
    training = training_of(heard)
    assert (training.rows_done, training.reported_at) == (0, 0.0)
    training.reported_at = 10.0
    for rows in range(100, 700, 100):
        training.report(rows)
    assert heard.rows == [200, 500, 600]
    assert (training.rows_done, training.reported_at) == (600, 10.375)


def test_a_report_after_exactly_the_shortest_time_is_made(monkeypatch):
    monkeypatch.setattr(callbacks.time, "perf_counter", lambda: callbacks.MIN_REPORT_SECONDS)
    heard = Heard()
    training_of(heard).report(7)
    assert heard.rows == [7]


def test_a_training_says_how_far_it_is():
    training = training_of(epochs=3)
    assert repr(training) == "Training(0 of 3 epochs, 2000 rows, History(epochs=0))"
    assert training.stop is False and training.is_main_process and training.leads
    training.history.add(0.5, 0.1, 1.0)
    training.done = 1
    assert repr(training) == "Training(1 of 3 epochs, 2000 rows, History(epochs=1, loss=0.5))"
    assert isinstance(training.history, History)
