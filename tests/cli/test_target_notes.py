"""Targets that look like mistakes of an export are noted."""

from pathlib import Path

import pytest
from helpers.command_line import Run

ROWS = 60


def trained(run: Run, path: Path, targets: list[str], *options: str) -> list[str]:
    """Train on rows with these targets; return the lines about notes."""
    lines = [f"{row % 7}.5,{target}" for row, target in enumerate(targets)]
    path.write_text("\n".join(["area,y", *lines]) + "\n", encoding="utf-8")
    shown = run("train", str(path), "--target", "y", "--quality", "1", "--epochs", "2", *options)
    return [
        line
        for line in shown.stderr.splitlines() + shown.stdout.splitlines()
        if line.startswith("note") and " y: " in line
    ]


def test_a_total_among_numbers(run: Run, tmp_path: Path) -> None:
    prices = [100 + row for row in range(ROWS)]
    (note,) = trained(run, tmp_path / "a.csv", [*map(str, prices), str(sum(prices))])
    assert "y: 7,770 in row 62 is over 20 times as far from the median as all others" in note


@pytest.mark.parametrize("far", [130 + 20 * 30, 130 - 20 * 30])
def test_a_number_that_may_be_one(run: Run, tmp_path: Path, far: int) -> None:
    """Other targets lie up to 30 from the median, 130."""
    prices = [100 + row for row in range(ROWS)]
    assert trained(run, tmp_path / "a.csv", [*map(str, prices), str(far)]) == []


def test_equal_targets_but_one(run: Run, tmp_path: Path) -> None:
    assert trained(run, tmp_path / "a.csv", ["0"] * ROWS + ["5"], "--task", "regress") == []


def test_labels_that_differ_in_case_or_blanks(run: Run, tmp_path: Path) -> None:
    labels = ["Yes", " yes", "YES", "No", "n o"] * 12
    (note,) = trained(run, tmp_path / "a.csv", labels)
    assert (
        "y: the labels 'YES', 'Yes', 'yes' differ in case or blanks alone, and are classes of "
        "their own" in note
    )
