"""The command line, called in an empty folder."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from helpers.command_line import Run

from xpnet.cli.app import app


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """``run("train", "iris", code=1)``: the command, called in an empty folder; fails on another
    exit code.

    On the backend that users get, which trains tabular models ten times faster than NumPy does.
    """
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str, code: int = 0, **environment: str | None) -> Result:
        result = CliRunner(env=environment).invoke(app, arguments)
        assert result.exit_code == code, (result.output, result.exception)
        return result

    return call


@pytest.fixture
def flowers(tmp_path: Path) -> Path:
    """Three classes with text labels, four columns, one of them text that nothing needs."""
    rng = np.random.default_rng(0)
    lines = ["width,note,length,kind"]
    for k, kind in enumerate(["iris", "lily", "rose, wild"] * 20):
        width, length = rng.normal(size=2) + [3 * (k % 3), 1000 * (k % 3)]
        lines.append(f'{width},n{k},{length},"{kind}"')
    path = tmp_path / "flowers.csv"
    path.write_text("\n".join(lines) + "\n")
    numbers = [
        line.replace(f",n{k - 1},", ",").replace(",note,", ",") for k, line in enumerate(lines)
    ]
    (tmp_path / "numbers.csv").write_text("\n".join(numbers))
    return tmp_path / "numbers.csv"
