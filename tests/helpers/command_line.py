"""What a failing command says."""

from collections.abc import Callable

from click.testing import Result

Run = Callable[..., Result]


def check_one_line(result: Result, said: str) -> None:
    """Require one line on stderr that says so, nothing on stdout, and no traceback."""
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ")
    assert said in line
