"""``xpnet refine``: a model goes on with the rows of another file."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers.command_line import Run

import xpnet

TRAIN = ("--quality", "1", "--epochs", "10", "-o", "m.st")


def write(name: str, seed: int, drift: float, rows: int = 240) -> pd.DataFrame:
    """Write a file with two features, labels, numbers, exposures and counts."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame({"a": rng.normal(size=rows), "b": rng.choice(["x", "y"], rows)})
    value = table["a"] + drift
    table["label"] = np.where(value + 0.2 * rng.normal(size=rows) > 0, "p", "q")
    table["number"] = value
    table["years"] = rng.uniform(0.5, 3.0, rows)
    table["count"] = rng.poisson(table["years"] * np.exp(value))
    table.to_csv(name, index=False)
    return table


@pytest.mark.parametrize(
    ("target", "options"),
    [
        ("label", ()),
        ("number", ()),
        ("count", ("--loss", "poisson", "--exposure", "years")),
    ],
)
def test_the_command_refines_as_python_does(
    run: Run, target: str, options: tuple[str, ...]
) -> None:
    write("old.csv", 0, 0.0)
    new = write("new.csv", 1, 0.5)
    features = ("--features", "a,b")
    run("train", "old.csv", "--target", target, *features, *options, *TRAIN)
    shown = json.loads(run("refine", "m.st", "new.csv", "-o", "r.st", "--json").stdout)
    model: Any = xpnet.load("m.st")
    known = {"exposure": new["years"]} if options else {}
    refinement = model.refine(new[["a", "b"]], new[target], **known)
    assert shown["rows"] == refinement.rows == 240
    assert shown["loss_after"] == pytest.approx(refinement.loss_after, rel=1e-5)
    assert shown["loss_after"] < shown["loss_before"]
    refined: Any = xpnet.load("r.st")
    np.testing.assert_array_equal(refined.predict(new), model.predict(new))
    # The file knows its target and its exposures: further commands need no options.
    run("evaluate", "r.st", "new.csv", "--json")
    again = run("refine", "r.st", "new.csv", "-o", "again.st").stdout
    assert "new rows" in again and "again.st" in again


@pytest.mark.parametrize("option", ["groups", "time"])
def test_groups_and_times_divide_the_new_rows_as_in_python(run: Run, option: str) -> None:
    table = write("old.csv", 0, 0.0)
    table["day"] = pd.date_range("2024-01-01", periods=len(table)).strftime("%d.%m.%Y")
    table.to_csv("old.csv", index=False)
    run("train", "old.csv", "--target", "label", "--features", "a,b,day", *TRAIN)
    new = write("new.csv", 1, 0.5)
    rng = np.random.default_rng(2)
    days = pd.date_range("2025-01-01", periods=len(new))[rng.permutation(len(new))]
    new["day"] = days.strftime("%d.%m.%Y")
    new["site"] = rng.integers(0, 12, len(new))
    new["w"] = rng.integers(0, 3, len(new))
    new.to_csv("new.csv", index=False)
    column = {"groups": "site", "time": "day"}[option]
    options = (f"--{option}", column, "--weight", "w", "--json")
    shown = json.loads(run("refine", "m.st", "new.csv", *options, "-o", "r.st").stdout)
    model: Any = xpnet.load("m.st")
    links: Any = {"groups": new["site"]} if option == "groups" else {"time": days}
    refinement = model.refine(new[["a", "b", "day"]], new["label"], new["w"], **links)
    assert shown["loss_before"] == pytest.approx(refinement.loss_before, rel=1e-6)
    assert shown["loss_after"] == pytest.approx(refinement.loss_after, rel=1e-6)
    refined: Any = xpnet.load("r.st")
    np.testing.assert_array_equal(refined.predict_proba(new), model.predict_proba(new))


def test_unknown_categories_are_shown(run: Run) -> None:
    write("old.csv", 0, 0.0)
    new = write("new.csv", 1, 0.5)
    new["b"] = np.where(new["b"] == "x", "z", "y")
    new.to_csv("new.csv", index=False)
    run("train", "old.csv", "--target", "label", "--features", "a,b", *TRAIN)
    shown = run("refine", "m.st", "new.csv", "-o", "r.st").stdout
    assert f"b {(new['b'] == 'z').sum()} unknown" in shown


def test_refused(run: Run) -> None:
    table = write("old.csv", 0, 0.0)
    run("train", "old.csv", "--target", "label", "--features", "a,b", *TRAIN)
    table.head(10).to_csv("few.csv", index=False)
    assert "16 new rows or more" in run("refine", "m.st", "few.csv", "-o", "r.st", code=1).stderr
    both = run("refine", "m.st", "old.csv", "-o", "r.st", "--groups", "b", "--time", "a", code=2)
    assert "--groups and --time must not come together" in both.stderr
    table.assign(label="other").to_csv("other.csv", index=False)
    assert "other" in run("refine", "m.st", "other.csv", "-o", "r.st", code=1).stderr
    assert not Path("r.st").exists()
    numbers = xpnet.MLPClassifier((), solver="lbfgs", alpha=1.0, max_iter=500)
    numbers.fit(table[["a", "number"]], table["label"]).save("mlp.st")
    assert (
        "model of tables"
        in run("refine", "mlp.st", "old.csv", "-o", "r.st", "--target", "label", code=2).stderr
    )
