"""Targets that look like mistakes of an export are noted."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy
import pytest
from helpers.command_line import Run

from xpnet.cli.rows.target_notes import notes_of_targets

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


@pytest.mark.parametrize(("numbers", "count"), [([1.0, 900.0], 0), ([1.0, 2.0, 900.0], 1)])
def test_two_numbers_are_equally_far_from_their_median(numbers: list[float], count: int) -> None:
    rows: Any = SimpleNamespace(
        classes=None,
        y=numpy.array(numbers),
        features=SimpleNamespace(places=numpy.arange(len(numbers))),
        frame=SimpleNamespace(first_row=2),
    )
    notes = list(notes_of_targets(rows, "y"))
    assert len(notes) == count
    assert all("y: 900 in row 4" in note for note in notes)
