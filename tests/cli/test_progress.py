"""What a training says while it works: lines on stderr, also without a terminal."""

import io
import logging
import re
import subprocess
import sys
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from helpers.command_line import Run

from xpnet.cli import progress, training
from xpnet.cli.output import logging_to_stderr

QUICK = ("train", "iris", "--hidden", "3", "--members", "1", "--epochs", "4")


def test_data_task_and_each_network_get_a_line_on_stderr(run: Run) -> None:
    result = run(*QUICK)
    lines = result.stderr.splitlines()
    assert lines[0] == "data      iris: 150 rows, 4 features, 3 classes"
    assert lines[1].startswith("task      classify")
    assert [line[:9] for line in lines[2:]] == [f"network {number}" for number in (1, 2)]
    for line in lines[2:]:
        assert re.search(r"4 epochs, loss \d\.\d+, validation loss \d\.\d+, \d+ s$", line)
    assert "network 1" not in result.stdout


def test_a_long_training_gets_a_line_again_and_again(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xpnet.tabular.ensemble.watching.SECONDS_BETWEEN_LINES", 0.0)
    lines = run(*QUICK, "--model", "mlp").stderr.splitlines()
    epochs = [line for line in lines if re.match(r"network 1 epoch \d of 4, loss", line)]
    assert len(epochs) == 4


@pytest.mark.parametrize("option", ["-v", "--verbose"])
def test_verbose_prints_each_epoch(run: Run, option: str) -> None:
    lines = run(*QUICK, "--model", "mlp", option).stderr.splitlines()
    assert sum(line.startswith("network 1 epoch ") for line in lines) == 4


@pytest.mark.parametrize("option", ["-q", "--quiet"])
def test_quiet_prints_no_progress(run: Run, option: str) -> None:
    result = run(*QUICK, option)
    assert result.stderr == ""
    assert "rows of" in result.stdout


def test_there_is_a_line_again_and_again_while_none_comes(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading lasts until its second line has come."""
    said = Event()
    read = training.read_training_rows
    log = progress.ProgressLines.log

    def noted(lines: Any, name: str, value: str) -> None:
        log(lines, name, value)
        if sum(named == "working" for named in names) == 2:
            said.set()
        names.append(name)

    def slow(settings: Any, lines: Any) -> Any:
        if not settings.quiet:
            assert said.wait(60)
        return read(settings, lines)

    names: list[str] = []
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.01)
    monkeypatch.setattr(progress.ProgressLines, "log", noted)
    monkeypatch.setattr(training, "read_training_rows", slow)
    lines = run(*QUICK, "--model", "mlp").stderr.splitlines()
    assert re.fullmatch(r"working   reading iris, \d+ s", lines[0])
    assert re.fullmatch(r"working   reading iris, \d+ s", lines[1])
    assert run(*QUICK, "--model", "mlp", "--quiet").stderr == ""


@pytest.mark.parametrize("limit", [100, 1e9])
def test_columns_are_left_out_are_told_at_once(
    run: Run, monkeypatch: pytest.MonkeyPatch, limit: float
) -> None:
    """Also of a large table, which is read block by block."""
    monkeypatch.setattr("xpnet.data.table_size.LARGE_TABLE_BYTES", limit)
    monkeypatch.setattr("xpnet.tabular.rows.large_tables.SAMPLE_ROWS", 40)
    rows = [f"{k % 7},1,{'pq'[k % 2]}" for k in range(60)]
    Path("d.csv").write_text("\n".join(["a,same,y", *rows]))
    lines = run("train", "d.csv", "--target", "y", *QUICK[2:]).stderr.splitlines()
    assert lines[2].startswith("left out  same: ")
    assert lines[3].startswith("network 1")


INTERRUPTED = """
import sys

class Interrupt:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == {name!r}:
            raise KeyboardInterrupt

sys.meta_path.insert(0, Interrupt)
sys.argv[:] = ["xpnet", "train", "iris"]
from xpnet_command import main
main()
"""
"""A command that is interrupted where a module is imported."""


@pytest.mark.parametrize(
    "name", ["numpy", "click", "xpnet.cli.commands.train", "pyarrow", "xpnet.cli.training"]
)
def test_ctrl_c_during_imports_ends_quietly(name: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", INTERRUPTED.format(name=name)], capture_output=True, text=True
    )
    assert ended.returncode == 130
    assert ended.stderr.split() == ["Aborted!"]
    assert ended.stdout == ""


def test_what_the_library_logs_is_printed_while_a_command_runs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logger = logging.getLogger("xpnet")
    with logging_to_stderr():
        logger.info("compiling \x1b for this machine")
        logger.debug("details")
    logger.info("later")
    assert capsys.readouterr().err == "xpnet: compiling \\x1b for this machine\n"
    assert not logger.handlers and logger.level == logging.NOTSET


@pytest.mark.parametrize("stream", [None, "closed"])
def test_without_a_stderr_nothing_is_printed(
    stream: str | None, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    logger = logging.getLogger("xpnet")
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed if stream else None)
    with logging_to_stderr():
        assert len(logger.handlers) == 1
        logger.info("compiling")
    assert not logger.handlers and logger.level == logging.NOTSET
    assert capfd.readouterr() == ("", "")
