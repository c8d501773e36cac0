"""What a failing command says."""

from collections.abc import Callable

from click.testing import Result

Run = Callable[..., Result]


PROGRESS = ("data ", "task ", "left out ", "network ", "working ")
"""Beginnings of lines that ``xpnet train`` prints on stderr while it works."""


def check_one_line(result: Result, said: str) -> None:
    """Require one line on stderr that says so, after lines of progress, and nothing on stdout."""
    assert result.stdout == ""
    *progress, line = result.stderr.splitlines()
    assert all(one.startswith(PROGRESS) for one in progress), progress
    assert line.startswith("Error: ")
    assert said in line
