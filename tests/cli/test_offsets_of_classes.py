"""``--offset`` of classes: training, scores, predictions and refinements beside known odds."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers.command_line import Run, check_one_line
from scipy.special import expit, softmax
from sklearn.metrics import log_loss

import xpnet

ROWS = 240
QUICK = ("--quality", "1", "--epochs", "8", "--metrics-json", "m.json", "-o", "m.st")
FEATURES = ("--features", "age,fuel", "--test", "d.csv")
TWO = ("train", "d.csv", "--target", "ill", "--offset", "prior", *FEATURES)
THREE = ("train", "d.csv", "--target", "grade", "--offset", "of a,of b,of c", *FEATURES)
PER_CLASS = ["of a", "of b", "of c"]


@pytest.fixture(autouse=True)
def table(tmp_path: Path) -> pd.DataFrame:
    """Write ``d.csv``: two features, offsets, a weight, and labels of two and of three classes."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "age": rng.uniform(18, 80, ROWS).round(1),
            "fuel": rng.choice(["petrol", "diesel"], ROWS),
            "prior": (2 * rng.normal(size=ROWS)).round(3),
            "w": rng.integers(1, 3, ROWS),
        }
    )
    table[PER_CLASS] = rng.normal(size=(ROWS, 3)).round(3)
    effect = 1.5 * (table["age"] < 40) - 0.5
    table["ill"] = np.where(rng.uniform(size=ROWS) < expit(effect + table["prior"]), "yes", "no")
    shares = softmax(table[PER_CLASS].to_numpy() + np.outer(effect, [1, 0, -1]), axis=1)
    table["grade"] = [rng.choice(list("abc"), p=share) for share in shares]
    table.to_csv(tmp_path / "d.csv", index=False)
    return table


@pytest.fixture(params=[1e9, 100], ids=["in memory", "block by block"])
def size(request: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take tables for small, then for large."""
    monkeypatch.setattr("xpnet.data.table_size.LARGE_TABLE_BYTES", request.param)
    monkeypatch.setattr("xpnet.tabular.rows.large_tables.SAMPLE_ROWS", 40)


def loss_of_constant(table: pd.DataFrame) -> float:
    """Return the log loss of the best constant beside ``prior``, found on a grid."""
    y = (table["ill"] == "yes").to_numpy()
    grid = np.linspace(-2, 2, 4001)
    losses = [log_loss(y, expit(one + table["prior"]), sample_weight=table["w"]) for one in grid]
    return float(min(losses))


@pytest.mark.usefixtures("size")
def test_the_odds_are_learned_and_measured(run: Run, table: pd.DataFrame) -> None:
    shown = run(*TWO, "--weight", "w", *QUICK).stdout
    assert (
        "prior has the offsets of the rows, which raise the odds of yes, and is no feature" in shown
    )
    model: Any = xpnet.load("m.st")
    assert model.feature_names_in_.tolist() == ["age", "fuel"]
    p = model.predict_proba(table, offset=table["prior"])
    expected = log_loss(table["ill"], p, sample_weight=table["w"])
    scores = json.loads(Path("m.json").read_text())["scores"]
    assert scores["training"]["log_loss"] == pytest.approx(expected, rel=1e-5)
    assert scores["test"]["log_loss"] == pytest.approx(expected, rel=1e-5)
    assert scores["baseline"]["log_loss"] == pytest.approx(loss_of_constant(table), rel=1e-5)
    evaluated = json.loads(run("evaluate", "m.st", "d.csv", "--weight", "w", "--json").stdout)
    assert evaluated["log_loss"] == pytest.approx(expected, rel=1e-5)  # by the training's column


@pytest.mark.parametrize(
    ("command", "target", "columns"), [(TWO, "ill", "prior"), (THREE, "grade", PER_CLASS)]
)
def test_the_command_trains_what_fit_trains(
    run: Run, table: pd.DataFrame, command: tuple[str, ...], target: str, columns: Any
) -> None:
    run(*command, *QUICK)
    opened: Any = xpnet.load("m.st")
    model = xpnet.TabularClassifier(
        quality=1, max_iter=8, random_state=0, validation_fraction=0.125
    )
    offset = table[columns].to_numpy()
    model.fit(table[["age", "fuel"]], table[target], offset=offset)
    np.testing.assert_allclose(
        opened.predict_proba(table), model.predict_proba(table), rtol=1e-5, atol=1e-7
    )
    options = ("--offset", command[command.index("--offset") + 1], "--proba")
    run("predict", "m.st", "d.csv", *options, "-o", "p.csv")
    written = pd.read_csv("p.csv")
    expected = model.predict_proba(table, offset=offset)
    names = [f"p_{label}" for label in model.classes_]
    np.testing.assert_allclose(written[names], expected, rtol=1e-5, atol=1e-7)
    assert written["prediction"].tolist() == model.predict(table, offset=offset).tolist()
    run("predict", "m.st", "d.csv", "--proba", "-o", "plain.csv")
    plain = pd.read_csv("plain.csv")[names]
    np.testing.assert_allclose(plain, model.predict_proba(table), rtol=1e-5, atol=1e-7)


def test_folds_and_a_refinement_take_offsets(run: Run, table: pd.DataFrame) -> None:
    run(*TWO[:6], "--features", "age,fuel", "--folds", "3", *QUICK)
    scores = json.loads(Path("m.json").read_text())["scores"]
    shares = table["ill"].value_counts(normalize=True)
    without = log_loss(table["ill"], np.tile(shares[["no", "yes"]], (ROWS, 1)))
    assert scores["test"]["log_loss"] < without - 0.05
    refined = json.loads(run("refine", "m.st", "d.csv", "-o", "r.st", "--json").stdout)
    model: Any = xpnet.load("m.st")
    again = model.refine(table, table["ill"], offset=table["prior"])
    assert refined["loss_before"] == pytest.approx(again.loss_before, rel=1e-5)


REFUSED = [
    (TWO, ("--offset", "fuel"), 1, "'fuel' holds"),
    (TWO, ("--offset", "large"), 1, "numbers from -80 to 80; 'large' holds 100 in row 2. Correct"),
    (TWO, ("--offset", "gaps"), 1, "'gaps' holds nan in row 5. Correct it, or leave the row out."),
    (TWO, ("--offset", "of a,of b"), 2, "--offset must name one column"),
    (THREE, ("--offset", "of a"), 2, "for each of 3 classes, in the order a, b, c; got 1"),
    (THREE, ("--ordered", "a,b,c"), 2, "--offset must go with classes that have no order"),
    (TWO, ("--offset", "ill"), 2, "--exposure and --offset; got ill twice"),
    (TWO, ("--exposure", "age"), 2, "--exposure must go with --loss"),
    (("train", "d.csv", "--target", "age", *TWO[4:6]), (), 2, "--offset must go with --loss"),
]


@pytest.mark.parametrize(("command", "options", "code", "message"), REFUSED)
def test_refused(
    run: Run,
    table: pd.DataFrame,
    command: tuple[str, ...],
    options: tuple[str, ...],
    code: int,
    message: str,
) -> None:
    gaps = table["prior"].where(table.index != 3)
    table.assign(large=100.0, gaps=gaps).to_csv("d.csv", index=False)
    check_one_line(run(*command, *options, *QUICK, code=code), message)
    assert not Path("m.st").exists()


def test_other_models_take_no_offsets(run: Run) -> None:
    run(*THREE[:4], "--ordered", "a,b,c", *FEATURES, *QUICK)
    for command in ("predict", "evaluate"):
        result = run(command, "m.st", "d.csv", "--offset", "of a,of b,of c", code=2)
        check_one_line(result, "--offset must go with an estimator of classes that have no order")
    run(*TWO, *QUICK)
    check_one_line(run("predict", "m.st", "d.csv", "--offset", "of a,of b", code=2), "one column")
    check_one_line(run("predict", "m.st", "d.csv", "--exposure", "age", code=2), "another loss")
