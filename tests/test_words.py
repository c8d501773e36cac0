"""The check of words finds what it should find; `make lint` makes it on the repository."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
CHECK = ROOT / ".ci" / "check-words"


def check(*paths: Path) -> subprocess.CompletedProcess[str]:
    """Run the check on files."""
    command = [sys.executable, str(CHECK), *map(str, paths)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_a_name_a_comment_and_a_message_are_reported_with_their_lines(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text(
        "MOST_ROWS = 5\n"
        "def f(given):\n"
        "    # The gradient\n"
        "    # by the inputs.\n"
        "    found, text = given, 'with so many rows'\n"
        "    return found\n"
    )
    outcome = check(module)
    assert outcome.returncode == 1
    lines = [line.removeprefix(f"{module}:") for line in outcome.stdout.splitlines()]
    assert [line.split(";")[0] for line in lines] == [
        "1: 'MOST_ROWS'",
        "2: 'given'",
        "3: 'gradient by'",
        "5: 'found'",
        "5: 'so many'",
    ]
    assert "MAX_ROWS" in lines[0]
    assert "gradient with respect to" in lines[2]


def test_a_page_is_checked_outside_its_code(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("One.\n\n```python\n# told\n```\n\nWho is `told`\nis told.\n")
    outcome = check(page)
    assert [line.removeprefix(f"{page}:") for line in outcome.stdout.splitlines()] == [
        "8: 'told'; write: passed, reported, named"
    ]


def test_plain_text_passes(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("The gradient with respect to the inputs. It is computed by hand.\n")
    assert check(page).returncode == 0
