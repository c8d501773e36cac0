"""Model files of every kind meet data files."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from helpers.command_line import Run, check_one_line
from helpers.damage import sealed
from sklearn import metrics

import xpnet


def test_model_files_and_data_must_fit(run: Run) -> None:
    quick = ("--epochs", "1", "--members", "1", "-o")
    run("train", "iris", *quick, "m.safetensors")
    np.savez("known.npz", X=np.arange(80.0).reshape(20, 4), y=[0, 1] * 10)
    np.savez("wide.npz", X=np.ones((2, 5)), y=[0, 1])
    np.savez("labels.npz", X=np.ones((2, 4)), y=[0, 9])
    Path("other.csv").write_text("a,b\n1,2\n")
    Path("damaged").write_bytes(Path("m.safetensors").read_bytes()[:-3])
    check_one_line(
        run("predict", "m.safetensors", "wide.npz", code=1),
        "there are no columns 'sepal length (cm)'",
    )
    xpnet.MLPClassifier((2,), tol=9.0, backend="numpy").fit(np.ones((4, 4)), [0, 1] * 2).save(
        "plain"
    )
    check_one_line(run("predict", "plain", "wide.npz", code=1), "X has 5 features")
    check_one_line(run("predict", "m.safetensors", "other.csv", code=1), "'sepal length (cm)'")
    run("train", "known.npz", *quick, "numbers")
    check_one_line(
        run("evaluate", "numbers", "labels.npz", "--target", "y", code=1), "got 9 in 1 rows"
    )
    check_one_line(run("evaluate", "numbers", "known.npz", "--target", "z", code=1), "z")
    check_one_line(run("predict", "damaged", "iris", code=1), "damaged")
    check_one_line(run("predict", "none", "iris", code=1), "none")
    check_one_line(run("inspect", "other.csv", code=1), "other.csv")


def test_a_model_from_python_takes_and_gives_plain_numbers(run: Run) -> None:
    model = xpnet.LogisticRegression(4, 3)
    model.save("m.safetensors")
    assert run("predict", "m.safetensors", "iris").stdout.split()[:2] == ["prediction", "0"]


def test_files_of_estimators(run: Run) -> None:
    from sklearn.datasets import load_iris

    X, y = load_iris(return_X_y=True)
    names = load_iris().target_names[y]
    model = xpnet.MLPClassifier((8,), solver="lbfgs", random_state=0, backend="numpy").fit(X, names)
    model.save("m.safetensors")
    regressor = xpnet.MLPRegressor(
        hidden_layer_sizes=(3,), solver="lbfgs", random_state=0, backend="numpy"
    )
    regressor.fit(X, X[:, 0]).save("r.safetensors")
    assert "MLPClassifier" in run("inspect", "m.safetensors").stdout
    evaluated = json.loads(run("evaluate", "m.safetensors", "iris", "--json").stdout)
    assert evaluated["accuracy"] == pytest.approx(model.score(X, names))
    assert run("predict", "m.safetensors", "iris").stdout.split()[1:] == model.predict(X).tolist()
    predicted = run("predict", "r.safetensors", "iris").stdout.split()[1:]
    np.testing.assert_allclose(np.array(predicted, dtype=float), regressor.predict(X))
    check_one_line(
        run("predict", "r.safetensors", "iris", "--proba", code=2), "this one predicts numbers"
    )


NO_NAMES: dict[str, tuple[object, ...]] = {
    "names": (5, {"a": 1}),
    "left_out": (None, 5),
    "notes": (5, {"a": 1}),
}
"""Values that parts of an encoder in a file must not have."""


def test_a_file_whose_columns_are_no_names_is_shown_and_not_opened(
    run: Run, subtests: pytest.Subtests
) -> None:
    run("train", "iris", "--epochs", "1", "--members", "1", "-o", "m")
    for part, values in NO_NAMES.items():
        for value in values:
            with subtests.test(part=part, value=value):
                change = partial(_set_part_of_encoder, part=part, value=value)
                Path("hostile").write_bytes(sealed(Path("m").read_bytes(), change))
                assert "TabularClassifier" in run("inspect", "hostile").stdout
                check_one_line(run("predict", "hostile", "iris", code=1), "hostile")


def _set_part_of_encoder(
    entries: dict[str, Any], envelope: dict[str, Any], *, part: str, value: object
) -> None:
    envelope["description"]["settings"]["encoder"][part] = value


HOSTILE = "a\x1b]0;owned\x07\x1b[31m\x9b2J\u202e"


def test_control_characters_do_not_reach_a_terminal(run: Run) -> None:
    X, y = np.zeros((4, 2)), np.array([HOSTILE, "b"] * 2)
    xpnet.MLPClassifier((2,), tol=9.0, backend="numpy", random_state=0).fit(X, y).save(
        "model", {"a": HOSTILE}
    )
    Path("rows.csv").write_text("a,b\n0,0\n")
    commands = [
        ("inspect", "model"),
        ("inspect", "model", "--json"),
        ("predict", "model", "rows.csv", "--proba"),
    ]
    shown = [run(*command).stdout for command in commands]
    assert all(character.isprintable() or character in "\n" for text in shown for character in text)
    assert json.loads(shown[1])["extra"] == {"a": HOSTILE}
    assert r"p_a\x1b]0;owned\x07\x1b[31m\x9b2J\u202e" in shown[2]
    run("predict", "model", "rows.csv", "--proba", "-o", "table.csv")
    assert f"p_{HOSTILE}" in Path("table.csv").read_text()


def test_several_labels_or_numbers_a_row(run: Run) -> None:
    X = np.random.default_rng(0).normal(size=(40, 3))
    np.savez("d.npz", X=X)
    two = np.stack([X[:, 0] > 0, X[:, 1] > 0], axis=1).astype(int)
    model = xpnet.MLPClassifier((), solver="lbfgs", random_state=0, backend="numpy").fit(X, two)
    model.save("c.safetensors")
    xpnet.MLPRegressor(hidden_layer_sizes=(), solver="lbfgs", backend="numpy").fit(
        X, X[:, :2]
    ).save("r.safetensors")
    lines = run("predict", "c.safetensors", "d.npz", "--proba").stdout.splitlines()
    assert lines[0] == "0,1,p_0,p_1"
    assert [line.split(",")[:2] for line in lines[1:]] == model.predict(X).astype(str).tolist()
    assert (
        run("predict", "r.safetensors", "d.npz").stdout.splitlines()[0]
        == "prediction_0,prediction_1"
    )
    check_one_line(run("evaluate", "c.safetensors", "d.npz", code=2), "Measure it in Python")


def test_many_rows_are_predicted_some_at_a_time(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run("train", "iris", "--epochs", "2", "-o", "m.safetensors", "--hidden", "5", "--members", "1")
    whole = run("predict", "m.safetensors", "iris", "--proba").stdout
    monkeypatch.setattr("xpnet.data.frames.BATCH_ROWS", 40)
    assert run("predict", "m.safetensors", "iris", "--proba").stdout == whole


def test_predictions_have_names_that_no_column_of_the_file_has(run: Run, flowers: Path) -> None:
    run("train", str(flowers), "--target", "kind", "--quality", "1", "--epochs", "2", "-o", "m")
    run("predict", "m", str(flowers), "--keep-columns", "-o", "p.csv")
    again = run("predict", "m", "p.csv", "--keep-columns", "-o", "q.csv")
    assert "p.csv has a column 'prediction'; what is predicted is 'prediction_2'" in again.stderr
    first, second = pandas.read_csv("p.csv"), pandas.read_csv("q.csv")
    assert list(second.columns) == [*first.columns, "prediction_2"]
    assert (second["prediction_2"] == first["prediction"]).all()


def test_columns_of_predictions_are_named(run: Run) -> None:
    rng = np.random.default_rng(0)
    table = pandas.DataFrame({"x": rng.normal(size=80)})
    table["y"], table["label"] = 2 * table["x"] + 0.01, np.where(table["x"] > 0, "b", "a")
    table.to_csv("d.csv", index=False)
    quick = ("--epochs", "2", "--members", "1", "--hidden", "3", "--features", "x", "-o")
    run("train", "d.csv", "--target", "y", *quick, "numbers")
    run("train", "d.csv", "--target", "label", *quick, "classes")
    for model, options, usual, chosen in (
        ("numbers", ("--interval", "0.8"), "prediction,low,high", "p,q,r"),
        ("classes", ("--proba",), "prediction,p_a,p_b", "kind,no,yes"),
    ):
        plain = run("predict", model, "d.csv", *options).stdout.splitlines()
        named = run("predict", model, "d.csv", *options, "--columns", chosen).stdout.splitlines()
        assert (plain[0], named[0]) == (usual, chosen)
        assert plain[1:] == named[1:]
        few = run("predict", model, "d.csv", *options, "--columns", "p", code=2)
        check_one_line(few, usual.replace(",", ", "))
    kept = ("predict", "numbers", "d.csv", "--keep-columns", "--columns")
    check_one_line(run(*kept, "label", code=2), "label")
    assert run(*kept, "price").stdout.startswith("x,y,label,price\n")


@pytest.mark.parametrize("by_blocks", [False, True])
def test_values_unlike_those_of_the_training_are_counted(
    run: Run, monkeypatch: pytest.MonkeyPatch, by_blocks: bool
) -> None:
    monkeypatch.setattr("xpnet.data.table_size.LARGE_TABLE_BYTES", 0 if by_blocks else 2**28)
    rng = np.random.default_rng(0)
    table = pandas.DataFrame({"x": rng.uniform(size=90), "colour": ["red", "blue", "green"] * 30})
    table["y"] = 2 * table["x"] + 0.01
    table.to_csv("d.csv", index=False)
    run("train", "d.csv", "--target", "y", "--epochs", "2", "--test-size", "0", "-o", "m")
    later = pandas.DataFrame(
        {"x": [2.0, 0.5, -1.0, 0.5], "colour": ["red", "pink", "", "blue"], "y": [0.0, 1.0, 2.0, 3]}
    )
    later.to_csv("later.csv", index=False)
    notes = run("predict", "m", "later.csv").stderr.splitlines()
    assert notes[-2:] == [
        "Note: x: 2 values outside of the range of the training rows, of 4 rows",
        "Note: colour: 1 value that is not in the training rows, 1 gap, of 4 rows",
    ]
    assert "training rows" not in run("predict", "m", "d.csv").stderr
    measured = json.loads(run("evaluate", "m", "later.csv", "--json").stdout)
    assert measured["columns"] == xpnet.load("m").encoder_.count_unknowns(later)
    shown = [line.split() for line in run("evaluate", "m", "later.csv").stdout.splitlines()]
    assert ["x", "0", "0", "2"] in shown and ["colour", "1", "1", "0"] in shown
    assert "columns" not in json.loads(run("evaluate", "m", "d.csv", "--json").stdout)


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_file_without_rows_gives_the_header_of_predictions(run: Run, ending: str) -> None:
    model = xpnet.TabularClassifier(quality=1, max_iter=1, random_state=0)
    table = {"size": np.arange(40.0), "kind": ["a", "b"] * 20}
    model.fit(table, ["no", "yes"] * 20).save("m.safetensors")
    labelled = pandas.DataFrame({"id": [7], "size": [1.0], "kind": ["a"], "y": ["no"]}).iloc[:0]
    for name, empty in (
        ("rows", labelled.drop(columns="y")),
        ("other", labelled.drop(columns=["y", "size"])),
        ("labelled", labelled),
    ):
        if ending == "csv":
            empty.to_csv(f"{name}.csv", index=False)
        else:
            empty.to_parquet(f"{name}.parquet")
    predicted = run("predict", "m.safetensors", f"rows.{ending}", "--id", "id", "--proba")
    assert predicted.stdout == "id,prediction,p_no,p_yes\n"
    assert f"rows.{ending}" in predicted.stderr and "nothing is predicted" in predicted.stderr
    named = ("--columns", "label", "--keep-columns", "-q", "-o", "predicted.csv")
    assert run("predict", "m.safetensors", f"rows.{ending}", *named).stderr == ""
    assert Path("predicted.csv").read_text() == "id,size,kind,label\n"
    check_one_line(run("predict", "m.safetensors", f"other.{ending}", code=1), "'size'")
    for command in (("evaluate", "m.safetensors"), ("train",)):
        ended = run(*command, f"labelled.{ending}", "--target", "y", code=1)
        check_one_line(ended, "no rows. Give a file with rows")


def test_predict_and_evaluate_use_the_threshold_of_the_file(run: Run) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=600)
    label = np.where(x + rng.normal(size=600) > 2.2, "rare", "often")
    table = pandas.DataFrame({"x": x, "label": label})
    table.to_csv("d.csv", index=False)
    quick = ("--target", "label", "--epochs", "5", "--members", "1", "--test-size", "0", "-o", "m")
    shown = run("train", "d.csv", *quick, "--threshold", "f1", "--metrics-json", "j").stdout
    threshold = xpnet.load("m").threshold_
    assert json.loads(Path("j").read_text())["model"]["threshold"] == threshold
    assert f"rare is predicted from a probability of {threshold:.4g}, the largest f1" in shown
    second = xpnet.load("m").predict_proba(table[["x"]])[:, 1]
    rows = run("predict", "m", "d.csv").stdout.splitlines()[1:]
    assert [row == "rare" for row in rows] == (second >= threshold).tolist()
    scores = json.loads(run("evaluate", "m", "d.csv", "--json").stdout)
    f1 = metrics.f1_score(label, np.where(second >= threshold, "rare", "often"), pos_label="rare")
    assert scores["f1"] == pytest.approx(f1, rel=1e-12)
    assert scores["f1"] > metrics.f1_score(
        label, np.where(second > 0.5, "rare", "often"), pos_label="rare"
    )
    renamed = table.assign(label=np.where(label == "rare", "fraud", "ok"))
    renamed.to_csv("e.csv", index=False)
    shown = run("train", "e.csv", *quick, "--threshold", "f1").stdout
    assert "for fraud add --positive-class fraud" in " ".join(shown.split())
    named = ("--threshold", "f1", "--positive-class", "fraud")
    shown = run("train", "e.csv", *quick, *named).stdout
    assert "fraud is predicted from a probability of" in shown
    fraud = run("predict", "m", "e.csv").stdout.splitlines()[1:]
    scores = json.loads(run("evaluate", "m", "e.csv", "--json").stdout)
    assert scores["f1_class"] == "fraud"
    f1 = metrics.f1_score(renamed["label"], fraud, pos_label="fraud")
    assert scores["f1"] == pytest.approx(f1, rel=1e-12)
    refused = run("train", "e.csv", *quick, "--threshold", "f1", "--positive-class", "frau", code=2)
    check_one_line(refused, "--positive-class must be 'fraud' or 'ok'; got 'frau'")
    refused = run("train", "iris", "--threshold", "0.3", code=2)
    check_one_line(refused, "--threshold must go with two classes; target has 3")
    refused = run("train", "diabetes", "--threshold", "0.3", code=2)
    check_one_line(refused, "--threshold must go with classes")
