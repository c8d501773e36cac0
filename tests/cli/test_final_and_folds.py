"""`--final` trains on all rows after measuring, and `--folds` cross-validates."""

import json
from pathlib import Path
from typing import Any

import numpy
import pandas
import pytest
from helpers.command_line import Run, check_one_line
from numpy.random import RandomState
from sklearn import metrics
from sklearn.model_selection import StratifiedKFold

import xpnet

ROWS = 150
SMALL: dict[str, Any] = {
    "max_iter": 4,
    "hidden_layer_sizes": (5,),
    "members": 1,
    "quality": 1,
    "random_state": 0,
}
OPTIONS = ("--epochs", "4", "--hidden", "5", "--members", "1", "--quality", "1")


@pytest.fixture(autouse=True)
def table(tmp_path: Path) -> pandas.DataFrame:
    """Write ``d.csv`` with numbers, a group, a time and labels."""
    rng = numpy.random.default_rng(0)
    x = rng.normal(size=ROWS)
    table = pandas.DataFrame(
        {
            "x": x,
            "z": rng.normal(size=ROWS),
            "shop": [f"shop {k}" for k in rng.integers(0, 12, ROWS)],
            "day": rng.permutation(ROWS),
            "label": numpy.where(x + rng.normal(size=ROWS) > 0, "yes", "no"),
        }
    )
    table.to_csv(tmp_path / "d.csv", index=False)
    return table


def report_of(run: Run, *options: str) -> Any:
    """Return the metrics of `xpnet train`, which writes ``m``."""
    drop = () if "--groups" in options else ("--drop", "shop")
    files = ("--metrics-json", "m.json", "-o", "m")
    run("train", "d.csv", "--target", "label", *drop, *OPTIONS, *options, *files)
    return json.loads(Path("m.json").read_text())


def same_parameters(one: Any, other: Any) -> bool:
    """Return whether two estimators have the same parameters, bit for bit."""
    pairs = zip(one.networks_, other.networks_, strict=True)
    return all(
        numpy.array_equal(a.params[name], value)
        for a, b in pairs
        for name, value in b.params.items()
    )


def test_final_writes_a_model_of_all_rows_with_the_scores_of_the_measured_one(
    run: Run, table: pandas.DataFrame
) -> None:
    measured = report_of(run)
    part = xpnet.load("m")
    final = report_of(run, "--final")
    X = table[["x", "z", "day"]]
    of_all_rows = xpnet.TabularClassifier(**SMALL).fit(X, table["label"])
    assert final["scores"] == measured["scores"]
    assert final["scores"]["test"]["rows"] == 38
    assert same_parameters(xpnet.load("m"), of_all_rows)
    assert not same_parameters(part, of_all_rows)
    assert (measured["data"]["training_rows"], final["data"]["training_rows"]) == (112, 150)
    shown = run("inspect", "m").stdout
    assert "all 150 rows; the scores are of a model of 112 of them" in " ".join(shown.split())


def test_the_report_says_how_many_rows_the_model_has_seen(run: Run) -> None:
    shown = run("train", "d.csv", "--target", "label", *OPTIONS).stdout
    assert "112 of 150 rows (75%); --final trains on all of them" in shown
    shown = run("train", "d.csv", "--target", "label", *OPTIONS, "--test", "d.csv").stdout
    assert any(line.split() == ["rows", "all", "150", "rows"] for line in shown.splitlines())


def test_folds_are_those_of_cross_validation(run: Run, table: pandas.DataFrame) -> None:
    report = report_of(run, "--folds", "3")
    X, y = table[["x", "z", "day"]], table["label"].to_numpy()
    accuracies, losses = [], []
    for training, test in StratifiedKFold(3, shuffle=True, random_state=RandomState(0)).split(X, y):
        model = xpnet.TabularClassifier(**SMALL).fit(X.iloc[training], y[training])
        accuracies.append(model.score(X.iloc[test], y[test]))
        losses.append(metrics.log_loss(y[test], model.predict_proba(X.iloc[test])))
    scores = report["scores"]
    assert [fold["accuracy"] for fold in report["folds"]] == pytest.approx(accuracies, rel=1e-12)
    assert scores["test"]["rows"] == ROWS
    assert scores["test"]["accuracy"] == pytest.approx(numpy.mean(accuracies), rel=1e-12)
    assert scores["spread"]["accuracy"] == pytest.approx(numpy.std(accuracies, ddof=1), rel=1e-12)
    # The command sums probabilities in float64, scikit-learn in their own float32.
    assert scores["test"]["log_loss"] == pytest.approx(numpy.mean(losses), rel=1e-6)
    assert scores["spread"]["log_loss"] == pytest.approx(numpy.std(losses, ddof=1), rel=1e-5)
    assert same_parameters(xpnet.load("m"), xpnet.TabularClassifier(**SMALL).fit(X, y))


@pytest.mark.parametrize("options", [("--groups", "shop"), ("--time", "day")])
def test_folds_respect_groups_and_times(
    run: Run, table: pandas.DataFrame, options: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from xpnet.cli import training

    divisions: list[Any] = []
    divide = training.divisions_of

    def recorded(*arguments: Any) -> Any:
        divisions.extend(divide(*arguments))
        return divisions

    monkeypatch.setattr(training, "divisions_of", recorded)
    report = report_of(run, *options, "--folds", "4")
    values = table[options[1]].to_numpy()
    assert len(divisions) == len(report["folds"]) == 4
    tested = numpy.zeros(ROWS, int)
    for number, (part, test) in enumerate(divisions):
        own, others = values[test.features.chosen], values[part.features.chosen]
        tested += test.features.chosen
        if options[0] == "--groups":
            assert not set(own) & set(others)
            assert len(own) + len(others) == ROWS
        else:
            assert own.min() > others.max()
            assert (len(others), len(own)) == (30 * (number + 1), 30)
    assert tested.max() == 1
    assert tested.sum() == (ROWS if options[0] == "--groups" else 120)
    assert report["data"]["training_rows"] == ROWS


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--folds", "3", "--final"), "--final"),
        (("--folds", "3", "--test", "d.csv"), "--test"),
        (("--final", "--test", "d.csv"), "--final"),
        (("--final", "--test-size", "0"), "--final"),
        (("--folds", "3", "--holdout", "last"), "--holdout"),
    ],
)
def test_options_without_effect_are_refused(run: Run, options: tuple[str, ...], named: str) -> None:
    check_one_line(run("train", "d.csv", "--target", "label", *options, code=2), named)


def test_more_folds_than_groups_are_refused(run: Run) -> None:
    options = ("--groups", "shop", "--folds", "13", "--target", "label")
    check_one_line(
        run("train", "d.csv", *options, code=1), "13 folds must have groups of their own; got 12"
    )


def test_a_final_training_resumes_from_its_checkpoints(run: Run) -> None:
    def history(epochs: int, *options: str) -> Any:
        command = ("train", "d.csv", "--target", "label", "--drop", "shop", "--model", "mlp")
        settings = ("--hidden", "5", "--final", "--epochs", str(epochs))
        run(*command, *settings, "--metrics-json", "m.json", *options)
        return json.loads(Path("m.json").read_text())["history"]

    history(2, "--checkpoint-dir", "c")
    assert history(4, "--checkpoint-dir", "c", "--resume") == history(4)
    assert Path("c/measured-1/member-0").is_dir()
