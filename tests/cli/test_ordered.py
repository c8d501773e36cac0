"""``--ordered``: training, scores by rank, predictions and errors."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers.command_line import Run, check_one_line
from sklearn import metrics

import xpnet

NAMES = ["low", "middle", "high"]
TRAIN = ("train", "d.csv", "--target", "size", "--test", "d.csv", "--quality", "1")
QUICK = ("--epochs", "8", "--metrics-json", "m.json", "-o", "m.st")


@pytest.fixture(autouse=True)
def table(tmp_path: Path) -> pd.DataFrame:
    """Write ``d.csv``: two features, a class in rising order, and the number of this class."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"a": rng.normal(size=240), "b": rng.choice(["x", "y"], 240)})
    ranks = np.digitize(2 * table["a"] + rng.normal(size=240), [-1, 1])
    table["size"] = np.array(NAMES)[ranks]
    table["number"] = 10 - ranks
    table.to_csv(tmp_path / "d.csv", index=False)
    return table


@pytest.fixture(params=[1e9, 100], ids=["in memory", "block by block"])
def size(request: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take tables for small, then for large."""
    monkeypatch.setattr("xpnet.data.table_size.LARGE_TABLE_BYTES", request.param)
    monkeypatch.setattr("xpnet.tabular.rows.large_tables.SAMPLE_ROWS", 40)


@pytest.mark.usefixtures("size")
def test_classes_are_learned_and_measured_in_their_order(run: Run, table: pd.DataFrame) -> None:
    run(*TRAIN, "--drop", "number", "--ordered", "low,middle,high,never", *QUICK)
    model: Any = xpnet.load("m.st")
    assert model.classes_.tolist() == NAMES
    predicted = model.predict(table)
    ranks = [[NAMES.index(label) for label in labels] for labels in (table["size"], predicted)]
    expected = {
        "mae_of_ranks": metrics.mean_absolute_error(*ranks),
        "quadratic_kappa": metrics.cohen_kappa_score(*ranks, weights="quadratic"),
    }
    written = json.loads(Path("m.json").read_text())["scores"]["test"]
    measured = json.loads(run("evaluate", "m.st", "d.csv", "--json").stdout)
    for scores in (written, measured):
        assert {name: scores[name] for name in expected} == pytest.approx(expected)
    shown = run("predict", "m.st", "d.csv").stdout.split()
    assert shown == ["prediction", *predicted]


def test_numbers_may_be_classes_in_an_order_of_their_own(run: Run, table: pd.DataFrame) -> None:
    arguments = ["number" if part == "size" else part for part in TRAIN]
    run(*arguments, "--drop", "size", "--ordered", "10,9,8", *QUICK)
    model: Any = xpnet.load("m.st")
    assert model.classes_.tolist() == [10, 9, 8]
    assert metrics.accuracy_score(table["number"], model.predict(table)) > 0.6


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--ordered", "low,high"), "'middle' is missing"),
        (("--ordered", "low,middle,high", "--threshold", "0.3"), "two classes"),
        (("--ordered", "low,middle,high", "--task", "regress"), "--ordered"),
    ],
)
def test_an_order_that_cannot_be_used_is_refused(
    run: Run, options: tuple[str, ...], said: str
) -> None:
    arguments = list(TRAIN)
    if "regress" in options:
        arguments[arguments.index("size")] = "number"
    check_one_line(run(*arguments, *options, code=2), said)
