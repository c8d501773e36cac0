"""``--soft``: columns with the probability of each class in place of labels."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers.command_line import Run, check_one_line
from scipy.special import softmax

import xpnet

ROWS = 240
CLASSES = ["low", "middle", "high"]
ONE_HOT = ["is low", "is middle", "is high"]
FEATURES = ("--features", "age,fuel", "--test", "d.csv")
QUICK = ("--quality", "1", "--epochs", "8", "--metrics-json", "m.json", "-o", "m.st")
SOFT = ("train", "d.csv", "--soft", "low,middle,high", *FEATURES, *QUICK)


@pytest.fixture(autouse=True)
def table(tmp_path: Path) -> pd.DataFrame:
    """Write ``d.csv``: two features, a weight, probabilities of three classes, and hard labels."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "age": rng.uniform(18, 80, ROWS).round(1),
            "fuel": rng.choice(["petrol", "diesel"], ROWS),
            "w": rng.integers(1, 3, ROWS),
        }
    )
    effect = (table["age"].to_numpy() - 50) / 15 + 0.3 * rng.normal(size=ROWS)
    shares = softmax(np.outer(effect, [-1, 0, 1]) + [0, 1, 0], axis=1).round(4)
    shares[:, 1] = 1 - shares[:, 0] - shares[:, 2]
    table[CLASSES] = shares.round(4)
    table["level"] = np.array(ONE_HOT)[shares.argmax(axis=1)]
    table[ONE_HOT] = np.eye(3, dtype=int)[shares.argmax(axis=1)]
    table.to_csv(tmp_path / "d.csv", index=False)
    return table


@pytest.fixture(params=[1e9, 100], ids=["in memory", "block by block"])
def size(request: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take tables for small, then for large."""
    monkeypatch.setattr("xpnet.data.table_size.LARGE_TABLE_BYTES", request.param)
    monkeypatch.setattr("xpnet.tabular.rows.large_tables.SAMPLE_ROWS", 40)


def soft_loss(table: pd.DataFrame, probabilities: Any, classes: Any) -> float:
    """Return the weighted mean of the cross-entropies of the rows."""
    losses = -(table[list(classes)].to_numpy() * np.log(probabilities)).sum(axis=1)
    return float(np.average(losses, weights=table["w"]))


@pytest.mark.usefixtures("size")
@pytest.mark.parametrize("model", ["tabular", "mlp", "linear"])
def test_one_hot_columns_train_as_labels_do(run: Run, model: str) -> None:
    options = (*FEATURES, "--model", model, "--epochs", "4", "--weight", "w", "-o")
    run("train", "d.csv", "--soft", ",".join(ONE_HOT), *options, "soft.st")
    run("train", "d.csv", "--target", "level", *options, "hard.st")
    soft, hard = xpnet.load("soft.st"), xpnet.load("hard.st")
    assert soft.classes_.tolist() == hard.classes_.tolist() == sorted(ONE_HOT)
    for one, other in zip(soft.networks_, hard.networks_, strict=True):
        for name, value in one.values().items():
            np.testing.assert_array_equal(value, other.values()[name])


@pytest.mark.usefixtures("size")
def test_probabilities_are_learned_and_measured(run: Run, table: pd.DataFrame) -> None:
    run(*SOFT, "--weight", "w")
    model: Any = xpnet.load("m.st")
    assert model.feature_names_in_.tolist() == ["age", "fuel"]
    assert model.classes_.tolist() == sorted(CLASSES)
    probabilities = model.predict_proba(table)
    expected = soft_loss(table, probabilities, model.classes_)
    scores = json.loads(Path("m.json").read_text())["scores"]
    assert scores["training"]["log_loss"] == pytest.approx(expected, rel=1e-5)
    assert scores["test"]["log_loss"] == pytest.approx(expected, rel=1e-5)
    constant = np.average(table[sorted(CLASSES)], axis=0, weights=table["w"])
    of_constant = soft_loss(table, np.tile(constant, (ROWS, 1)), model.classes_)
    assert scores["baseline"]["log_loss"] == pytest.approx(of_constant, rel=1e-5)
    most_probable = table[sorted(CLASSES)].idxmax(axis=1)
    accuracy = np.average(model.predict(table) == most_probable, weights=table["w"])
    assert scores["training"]["accuracy"] == pytest.approx(accuracy, rel=1e-5)
    evaluated = json.loads(run("evaluate", "m.st", "d.csv", "--weight", "w", "--json").stdout)
    assert evaluated["log_loss"] == pytest.approx(expected, rel=1e-5)  # by the training's columns


@pytest.mark.parametrize("ordered", [False, True])
def test_the_command_trains_what_fit_trains(run: Run, table: pd.DataFrame, ordered: bool) -> None:
    run(*SOFT, *(("--ordered", "low,middle,high") if ordered else ()))
    opened: Any = xpnet.load("m.st")
    model = xpnet.TabularClassifier(
        quality=1,
        max_iter=8,
        random_state=0,
        validation_fraction=0.125,
        ordered=CLASSES if ordered else None,
    )
    model.fit(table[["age", "fuel"]], table[CLASSES].to_numpy(), classes=CLASSES)
    assert opened.classes_.tolist() == model.classes_.tolist()
    np.testing.assert_allclose(
        opened.predict_proba(table), model.predict_proba(table), rtol=1e-5, atol=1e-7
    )


def test_labels_may_be_measured_and_refined_with_instead(run: Run, table: pd.DataFrame) -> None:
    run(*SOFT)
    model: Any = xpnet.load("m.st")
    labels = table["level"].str.removeprefix("is ")
    table.drop(columns=CLASSES).assign(level=labels).to_csv("d.csv", index=False)
    evaluated = json.loads(run("evaluate", "m.st", "d.csv", "--target", "level", "--json").stdout)
    assert evaluated["accuracy"] == pytest.approx(model.score(table, labels), rel=1e-6)
    run("refine", "m.st", "d.csv", "--target", "level", "-o", "r.st")
    table.to_csv("d.csv", index=False)
    check_one_line(run("refine", "m.st", "d.csv", "-o", "r.st", code=2), "Name their column")


REFUSED = [
    (("--target", "level"), 2, "--soft must stand alone"),
    (("--task", "regress"), 2, "--soft must stand alone"),
    (("--loss", "poisson"), 2, "--loss must go with numbers"),
    (("--soft", "low"), 2, "--soft must name two columns or more"),
    (("--soft", "low,low"), 2, "each once; got low, low"),
    (("--soft", "low,medium"), 1, "medium"),
    (("--soft", "low,fuel"), 1, "'fuel' holds"),
    (("--soft", "low,age"), 1, "--soft must name a column of probabilities"),
    (("--soft", "low,middle"), 1, "low, middle sum to"),
    (("--soft", "low,middle,gaps"), 1, "'gaps' holds nan in row 5. Correct it, or leave the row"),
    (("--soft", "low,middle,wrong"), 1, "in row 7. Divide them by their sum, or leave the row"),
    (("--soft", "low,middle,negative"), 1, "'negative' holds -0.1 in row 9. Correct it"),
]


@pytest.mark.parametrize(("options", "code", "message"), REFUSED)
def test_refused(
    run: Run, table: pd.DataFrame, options: tuple[str, ...], code: int, message: str
) -> None:
    wrong = table["high"].where(table.index != 5, table["high"] / 2)
    table.assign(
        gaps=table["high"].where(table.index != 3),
        wrong=wrong,
        negative=table["high"].where(table.index != 7, -0.1),
    ).to_csv("d.csv", index=False)
    check_one_line(run(*SOFT, *options, code=code), message)
    assert not Path("m.st").exists()
