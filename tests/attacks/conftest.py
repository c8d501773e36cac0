"""How often each attack is made, and what came of it.

``pytest`` makes each attack a few times; ``pytest --attack`` (``make attack``) as often as
SECURITY.md says, and prints the counts.
"""

from collections.abc import Callable, Iterator

import pytest

COUNTS: dict[str, int] = {}


@pytest.fixture
def times(request: pytest.FixtureRequest) -> Callable[[int, int], int]:
    """How often to attack: the first number in the test suite, the second under ``--attack``."""
    whole = request.config.getoption("--attack")
    return lambda few, many: many if whole else few


@pytest.fixture
def tally() -> Iterator[Callable[[str, int], None]]:
    """Add to the count of an attack."""

    def add(name: str, count: int = 1) -> None:
        COUNTS[name] = COUNTS.get(name, 0) + count

    yield add


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print the counts."""
    if COUNTS and config.getoption("--attack"):
        terminalreporter.section("attacks")
        for name, count in sorted(COUNTS.items()):
            terminalreporter.line(f"{count:>9,}  {name}")
