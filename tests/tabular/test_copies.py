"""Notes on columns that tell the target, and on columns that repeat another one."""

from pathlib import Path
from typing import Any

import numpy
import pandas
import pytest
from click.testing import CliRunner

from xpnet import TableEncoder, TabularClassifier
from xpnet.cli.app import app
from xpnet.tabular.columns import copies
from xpnet.tabular.columns.frames import table_of

ROWS = 200
TELLS = "tells the target of each training row"


def table(rows: int = ROWS) -> pandas.DataFrame:
    """Columns of numbers, text and dates that have nothing in common."""
    rng = numpy.random.default_rng(0)
    return pandas.DataFrame(
        {
            "size": rng.normal(size=rows),
            "count": rng.integers(0, 9, rows),
            "town": rng.choice(["Rome", "Oslo", "Cork"], rows),
            "day": pandas.Timestamp("2024-01-01") + pandas.to_timedelta(rng.permutation(rows), "D"),
        }
    )


def notes(frame: pandas.DataFrame, y: Any, task: str) -> dict[str, str]:
    """Return the notes of an encoder that learns from a frame and targets."""
    return TableEncoder(task=task, random_state=0).fit(frame, y).notes_


LABELS = numpy.random.default_rng(1).choice([3, 5, 8], ROWS)
NUMBERS = numpy.random.default_rng(2).normal(size=ROWS)

LEAKS = {
    "the labels": (LABELS, LABELS),
    "names of the labels": (numpy.array(list("abcdefghi"))[LABELS], LABELS),
    "numbers of the labels in another order": (-((LABELS - 4.0) ** 3), LABELS),
    "the numbers": (NUMBERS, NUMBERS),
    "a rising function": (numpy.exp(NUMBERS), NUMBERS),
    "a falling function": (100 - 3 * NUMBERS, NUMBERS),
    "names of numbers that repeat": (LABELS.astype(str), LABELS * 1.5),
}


@pytest.mark.parametrize(("leak", "y"), LEAKS.values(), ids=LEAKS)
def test_a_column_that_tells_the_target_is_noted(leak: Any, y: Any) -> None:
    task = "classification" if y is LABELS else "regression"
    found = notes(table().assign(later=leak), y, task)
    assert list(found) == ["later"]
    assert found["later"].startswith(TELLS)


HARMLESS = {
    "one row is another": numpy.where(numpy.arange(ROWS) == 150, 3, LABELS),
    "one row is a gap": numpy.where(numpy.arange(ROWS) == 150, numpy.nan, LABELS),
    "two labels have one value": LABELS == 3,
    "labels are divided": LABELS * 2 + (numpy.arange(ROWS) % 2),
}


@pytest.mark.parametrize("column", HARMLESS.values(), ids=HARMLESS)
def test_a_column_that_nearly_tells_the_target_has_no_note(column: Any) -> None:
    assert notes(table().assign(later=column), LABELS, "classification") == {}


def test_numbers_that_differ_in_each_row_tell_nothing_by_that() -> None:
    assert notes(table(), NUMBERS, "regression") == {}


def test_few_rows_and_one_value_have_no_note() -> None:
    few = table(19).assign(later=LABELS[:19])
    assert notes(few, LABELS[:19], "classification") == {}
    assert notes(table(), numpy.zeros(ROWS), "regression") == {}


@pytest.mark.parametrize("column", ["size", "count", "town", "day"])
def test_a_column_that_repeats_another_is_noted(column: str) -> None:
    frame = table()
    frame["again"] = frame[column]
    gaps = frame.copy()
    gaps.loc[190, "again"] = None
    both = gaps.copy()
    both.loc[190, column] = None
    expected = {"again": f"has the values of {column!r} in all rows; one of the two is enough"}
    assert notes(frame, NUMBERS, "regression") == expected
    assert notes(gaps, NUMBERS, "regression") == {}
    assert notes(both, NUMBERS, "regression") == expected


def test_columns_of_equal_first_rows_are_no_copies() -> None:
    flags = numpy.zeros((ROWS, 30))
    flags[numpy.arange(100, 190), numpy.arange(90) % 30] = 1
    found = notes(pandas.DataFrame(flags).add_prefix("f"), NUMBERS, "regression")
    assert found == {}


def test_noise_has_no_notes() -> None:
    """Rare flags are equal by chance, and so are rare labels and flags: of 1,000 tables of 40 flags
    in 20 to 60 rows 924 have columns that are equal, and 27 one that tells the target.
    """
    noted = 0
    for seed in range(1000):
        rng = numpy.random.default_rng(seed)
        rows = rng.integers(20, 60)
        flags = {
            f"f{k}": 1.0 * (rng.random(rows) < rng.choice([0.03, 0.1, 0.5])) for k in range(40)
        }
        labels = (rng.random(rows) < rng.choice([0.03, 0.1, 0.5])).astype(int)
        noted += bool(copies.notes_of_copies(table_of(flags), labels, ()))
    assert noted <= 2  # the bound of both notes together is 2 of 1,000


def test_a_wide_table_has_few_notes() -> None:
    frame = pandas.DataFrame(numpy.tile(NUMBERS[:, None], 50)).add_prefix("f")
    found = notes(frame, LABELS, "classification")
    assert list(found) == [f"f{k}" for k in range(1, copies.MAX_COPIES + 1)]


def test_the_estimator_and_the_report_have_the_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = table().assign(later=LABELS)
    model = TabularClassifier(quality=1, max_iter=2, random_state=0).fit(frame, LABELS)
    assert model.encoder_.notes_["later"].startswith(TELLS)
    monkeypatch.chdir(tmp_path)
    frame.assign(again=frame["size"], y=LABELS).to_csv("d.csv", index=False)
    command = ["train", "d.csv", "--target", "y", "--model", "linear", "--epochs", "2", "-q"]
    shown = CliRunner().invoke(app, command).stdout
    assert f"later: {TELLS}" in shown
    assert "again: has the values of 'size' in all rows" in shown
