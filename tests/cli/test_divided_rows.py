"""Columns that say how rows are divided or weighted, and which rows a model is tested on."""

import json
from pathlib import Path
from typing import Any

import numpy
import pandas
import pytest
from helpers.command_line import Run, check_one_line

import xpnet
from xpnet.cli import training
from xpnet.cli.training import fit, measure

QUICK = ("--members", "2", "--epochs", "3", "--hidden", "4", "--metrics-json", "m.json")
ROWS = 240


@pytest.fixture(autouse=True)
def table(tmp_path: Path) -> pandas.DataFrame:
    """Write ``d.csv``: a number, a group, a date, a weight, labels and a target of numbers."""
    rng = numpy.random.default_rng(0)
    a = rng.normal(size=ROWS)
    table = pandas.DataFrame(
        {
            "a": a,
            "shop": [f"shop {k}" for k in rng.integers(0, 24, ROWS)],
            "day": numpy.datetime64("2024-01-01") + rng.integers(0, 60, ROWS),
            "w": rng.integers(0, 3, ROWS),
            "label": numpy.where(a > 0, "p", "q"),
            "y": a + 0.001,
        }
    )
    table.to_csv(tmp_path / "d.csv", index=False)
    return table


@pytest.fixture(params=[1e9, 100], ids=["in memory", "block by block"])
def size(request: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take tables for small, then for large."""
    monkeypatch.setattr("xpnet.data.table_size.LARGE_TABLE_BYTES", request.param)
    monkeypatch.setattr("xpnet.tabular.rows.large_tables.SAMPLE_ROWS", 40)


@pytest.fixture
def fitted(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Record the rows that are trained on and the rows that are tested on."""
    recorded = []

    def recording(name: str, function: Any) -> Any:
        def record(*args: Any) -> Any:
            recorded.append(args)
            return function(*args)

        monkeypatch.setattr(training, name, record)

    recording("fit", fit)
    recording("measure", measure)
    return recorded


def parts(fitted: list[Any]) -> tuple[Any, Any]:
    """Return the training rows and the test rows."""
    _, (_, rows, test) = fitted
    return rows, test


@pytest.mark.usefixtures("size")
@pytest.mark.parametrize("target", ["label", "y"])
def test_groups_are_on_one_side(
    run: Run, fitted: Any, table: pandas.DataFrame, target: str
) -> None:
    other = "y" if target == "label" else "label"
    options = ("--groups", "shop", "--drop", other, *QUICK)
    run("train", "d.csv", "--target", target, *options, "-o", "m.safetensors")
    rows, test = parts(fitted)
    shops = [set(table["shop"][part.features.chosen]) for part in (rows, test)]
    assert not shops[0] & shops[1]
    assert len(shops[1]) == 6
    assert xpnet.load("m.safetensors").feature_names_in_.tolist() == ["a", "day", "w"]
    notes = json.loads(Path("m.json").read_text())["data"]["notes"]
    assert any("shop" in note for note in notes)


@pytest.mark.usefixtures("size")
@pytest.mark.parametrize("drop", [(), ("--drop", "day")])
def test_test_rows_are_the_latest(
    run: Run, fitted: Any, table: pandas.DataFrame, drop: tuple[str, ...]
) -> None:
    run("train", "d.csv", "--target", "label", "--time", "day", *drop, *QUICK)
    rows, test = parts(fitted)
    assert table["day"][rows.features.chosen].max() < table["day"][test.features.chosen].min()
    assert len(test) == pytest.approx(ROWS / 4, abs=ROWS / 40)
    assert ("day" in rows.features.names) == (not drop)


def inner_parts(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Record the inputs of training and validation rows of each network."""
    from xpnet.tabular.ensemble import ensemble

    recorded = []
    train_network = ensemble.train_network

    def record(training: Any, recipe: Any, rows: Any, validation: Any, **settings: Any) -> None:
        recorded.append([len(rows.Y), len(validation.Y)])
        train_network(training, recipe, rows, validation, **settings)

    monkeypatch.setattr(ensemble, "train_network", record)
    return recorded


def test_validation_rows_are_the_latest_before_the_test_rows(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All networks have the same validation rows, which random ones of several networks are not."""
    recorded = inner_parts(monkeypatch)
    days = numpy.repeat(numpy.arange(12), 20)
    pandas.DataFrame({"a": days % 5, "day": days, "y": days % 2}).to_csv("d.csv", index=False)
    run("train", "d.csv", "--target", "y", "--time", "day", *QUICK)
    assert recorded == [[160, 20]] * 2  # 9 of 12 days, of which an eighth is about one


def test_the_last_rows_are_tested_on(run: Run, fitted: Any) -> None:
    run("train", "d.csv", "--target", "label", "--holdout", "last", "--test-size", "0.1", *QUICK)
    rows, test = parts(fitted)
    assert numpy.flatnonzero(test.features.chosen).tolist() == list(range(216, 240))
    assert numpy.flatnonzero(rows.features.chosen).tolist() == list(range(216))


@pytest.mark.parametrize("target", ["label", "y"])
def test_scores_are_those_of_a_test_file(run: Run, table: pandas.DataFrame, target: str) -> None:
    later = table.iloc[::3].drop(columns="w").assign(more=1)
    later.to_csv("later.csv", index=False)
    options = ("--drop", "w", "--drop", "y" if target == "label" else "label")
    run("train", "d.csv", "--target", target, "--test", "later.csv", *options, *QUICK, "-o", "m.st")
    report = json.loads(Path("m.json").read_text())
    assert report["scores"]["training"]["rows"] == ROWS
    assert report["scores"]["test"]["rows"] == 80
    evaluated = json.loads(run("evaluate", "m.st", "later.csv", "--json").stdout)
    assert evaluated == report["scores"]["test"]


def test_a_class_without_training_rows_is_not_tested_on(run: Run, table: pandas.DataFrame) -> None:
    table.loc[table["day"] > table["day"].quantile(0.9), "label"] = "new"
    table.to_csv("d.csv", index=False)
    run("train", "d.csv", "--target", "label", "--time", "day", "--drop", "y", *QUICK, "-o", "m.st")
    report = json.loads(Path("m.json").read_text())
    assert report["scores"]["test"]["classes"][-1]["class"] == "q"
    assert report["scores"]["test"]["rows"] < ROWS / 4
    assert any("'new'" in note or "new" in note for note in report["data"]["notes"])
    assert xpnet.load("m.st").classes_.tolist() == ["p", "q"]


@pytest.mark.usefixtures("size")
@pytest.mark.parametrize("option", ["--weight", "--sample-weight"])
def test_weights_are_those_of_the_rows(
    run: Run, fitted: Any, table: pandas.DataFrame, option: str
) -> None:
    shown = run("train", "d.csv", "--target", "label", option, "w", *QUICK, "-o", "m.st").stdout
    assert any("w has the weights" in line for line in shown.splitlines())
    rows, test = parts(fitted)
    numpy.testing.assert_array_equal(rows.weight, table["w"][rows.features.chosen])
    assert (table["w"][rows.features.chosen | test.features.chosen] > 0).all()
    assert len(rows) + len(test) == (table["w"] > 0).sum()
    assert "w" not in rows.features.names


@pytest.mark.usefixtures("size")
def test_weights_change_what_is_learned(run: Run, table: pandas.DataFrame) -> None:
    """A constant is learned: the mean of the weighted targets."""
    heavy = pandas.DataFrame({"a": numpy.arange(ROWS) % 7, "y": numpy.arange(ROWS) % 2 + 0.5})
    heavy["w"] = numpy.where(heavy["y"] > 1, 9.0, 1.0)
    heavy.to_csv("d.csv", index=False)
    means = []
    for options in ((), ("--weight", "w")):
        run(
            "train",
            "d.csv",
            "--target",
            "y",
            *options,
            "--drop",
            "w",
            "--epochs",
            "40",
            "-o",
            "m.st",
        )
        model = xpnet.load("m.st")
        means.append(float(model.predict({"a": numpy.arange(7.0)}).mean()))
    assert means[0] == pytest.approx(1.0, abs=0.1)
    assert means[1] == pytest.approx(1.4, abs=0.1)


@pytest.mark.usefixtures("size")
@pytest.mark.parametrize("target", ["label", "y"])
def test_scores_count_rows_by_their_weight(run: Run, table: pandas.DataFrame, target: str) -> None:
    """A row of weight 2 counts as two rows, in all sets of rows; one of weight 0 does not count."""
    command = ("train", "d.csv", "--target", target, "--test", "d.csv", "--features", "a")
    shown = run(*command, "--weight", "w", *QUICK, "-o", "m.st").stdout
    zeros = (table["w"] == 0).sum()
    assert f"d.csv: {zeros} rows have weight 0" in shown
    scores = json.loads(Path("m.json").read_text())["scores"]
    table.loc[table.index.repeat(table["w"])].to_csv("repeated.csv", index=False)
    repeated = json.loads(run("evaluate", "m.st", "repeated.csv", "--json").stdout)
    evaluated = run("evaluate", "m.st", "d.csv", "--weight", "w", "--json").stdout
    plain = json.loads(run("evaluate", "m.st", "d.csv", "--json").stdout)
    names = ["mae", "rmse", "r2"] if target == "y" else ["accuracy", "f1", "log_loss", "roc_auc"]
    for weighted_scores in (scores["training"], scores["test"], json.loads(evaluated)):
        assert weighted_scores["rows"] == ROWS - zeros
        for name in names:
            assert weighted_scores[name] == pytest.approx(repeated[name], rel=1e-6), name
    assert plain[names[0]] != repeated[names[0]]
    if target == "y":
        assert scores["baseline"]["r2"] == pytest.approx(0, abs=1e-9)  # the weighted mean


REFUSED = [
    (("--groups", "shop", "--time", "day"), 2, "--groups and --time"),
    (("--groups", "shop", "--holdout", "last"), 2, "--groups and --holdout"),
    (("--groups", "shp"), 1, "'shop'"),
    (("--time", "shop"), 1, "--time shop"),
    (("--weight", "shop"), 1, "--weight"),
    (("--weight", "a"), 1, "'a' holds -"),
    (("--groups", "gap"), 1, "'gap' has 1"),
    (("--groups", "one"), 1, "got 1"),
    (("--weight", "label"), 2, "label"),
    (("--weight", "none"), 1, "'none'"),
    (("--test", "nothere.csv"), 1, "nothere.csv"),
]


@pytest.mark.parametrize(("options", "code", "message"), REFUSED)
def test_refused(
    run: Run, table: pandas.DataFrame, options: tuple[str, ...], code: int, message: str
) -> None:
    gap = [None, *["x"] * (ROWS - 1)]
    table.assign(gap=gap, one=1, none=0).to_csv("d.csv", index=False)
    result = run("train", "d.csv", "--target", "label", *options, *QUICK, code=code)
    assert message in result.stderr.splitlines()[-1]


def test_a_test_file_without_a_column_of_the_training_is_refused_before_the_training(
    run: Run, table: pandas.DataFrame, fitted: Any
) -> None:
    table.drop(columns="shop").to_csv("later.csv", index=False)
    result = run("train", "d.csv", "--target", "label", "--test", "later.csv", *QUICK, code=1)
    check_one_line(result, "'shop'")
    assert not fitted
