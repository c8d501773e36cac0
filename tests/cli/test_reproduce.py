"""``xpnet reproduce``: the notebook's numbers."""

import pytest
from helpers.command_line import Run

from xpnet.cli.commands.reproduce import NETWORK

NOTEBOOK = """\
Epoch    0, loss = 2.3026
Epoch   50, loss = 0.2275
Epoch  100, loss = 0.1599
Epoch  150, loss = 0.1306
Epoch  200, loss = 0.1130
Epoch  250, loss = 0.1009
Epoch  300, loss = 0.0918
Epoch  350, loss = 0.0846
Epoch  400, loss = 0.0788
Epoch  450, loss = 0.0738
Epoch  500, loss = 0.0696
test set accuracy = 0.953
Epoch    0, loss = 8.5876
Epoch   50, loss = 0.6002
Epoch  100, loss = 0.3517
Epoch  150, loss = 0.2510
Epoch  200, loss = 0.1975
Epoch  250, loss = 0.1631
Epoch  300, loss = 0.1401
Epoch  350, loss = 0.1231
Epoch  400, loss = 0.1098
Epoch  450, loss = 0.0989
Epoch  500, loss = 0.0897
test set accuracy = 0.938
"""


@pytest.mark.parametrize("backend", [pytest.param("numpy", marks=pytest.mark.slow), "numba"])
def test_reproduce_prints_the_notebook(run: Run, backend: str) -> None:
    lines = run("reproduce", "--backend", backend, "--threads", "1").stdout.splitlines()
    assert lines[:3] == ["All checks passed successfully!"] * 3
    printed = [line for line in lines if line.startswith(("Epoch", "test"))]
    assert printed == NOTEBOOK.splitlines()
    assert lines[-1] == "All 24 numbers are the notebook's."


def test_reproduce_fails_where_a_number_differs(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xpnet.cli.commands.reproduce.NETWORK", [*NETWORK[:-1], "0.939"])
    assert run("reproduce", "--threads", "1", code=1).stderr.startswith(
        "Error: The numbers must be the notebook's"
    )
