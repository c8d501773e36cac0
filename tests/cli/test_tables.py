"""Tables as people have them, from file to model to answers: in the shell, in Python and in ONNX."""

import io
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pandas
import pytest
from said import Run, check_one_line
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import xpnet

Frame = pandas.DataFrame


def titanic() -> tuple[Frame, str, list[str], list[str]]:
    """Passengers with gaps, text, names, a date and a row number. Returns frame, target, numbers, text."""
    rng = np.random.default_rng(0)
    rows = 891
    sex, grade = rng.choice(["male", "female"], rows), rng.integers(1, 4, rows)
    age, fare = np.round(rng.gamma(5, 6, rows), 1), np.round(rng.lognormal(3, 1, rows) / grade, 2)
    logit = 2.5 * (sex == "female") - 1.2 * (grade - 2) - 0.04 * (age - 30) - 1
    frame = Frame(
        {
            "PassengerId": np.arange(1, rows + 1),
            "Survived": (rng.random(rows) < 1 / (1 + np.exp(-logit))).astype(int),
            "Pclass": grade,
            "Name": [f'Doe, Mr. {k} "{k}"' for k in range(rows)],
            "Sex": sex,
            "Age": np.where(rng.random(rows) < 0.2, np.nan, age),
            "Fare": fare,
            "Embarked": rng.choice(["S", "C", "Q", None], rows, p=[0.7, 0.19, 0.09, 0.02]),
            "Boarded": [f"1912-04-{10 + k % 5}" for k in range(rows)],
        }
    )
    return frame, "Survived", ["Pclass", "Age", "Fare"], ["Sex", "Embarked"]


def houses() -> tuple[Frame, str, list[str], list[str]]:
    """Houses with whole-number prices."""
    rng = np.random.default_rng(1)
    rows = 800
    area, quality = np.round(rng.uniform(40, 300, rows), 1), rng.integers(1, 10, rows)
    zone, garage = rng.choice(["north", "south", "east", "west"], rows), rng.choice(["yes", "no", None], rows)
    price = area * 1500 * (1 + 0.1 * quality) + 60000 * (zone == "north") + rng.normal(size=rows) * 15000
    frame = Frame(
        {
            "Id": np.arange(rows),
            "area": area,
            "quality": np.where(rng.random(rows) < 0.1, np.nan, quality),
            "zone": zone,
            "garage": garage,
            "sold": pandas.date_range("2020-01-01", periods=rows).strftime("%d/%m/%Y"),
            "country": "DE",
            "price": price.round().astype(int),
        }
    )
    return frame, "price", ["area", "quality"], ["zone", "garage"]


def adult() -> tuple[Frame, str, list[str], list[str]]:
    """Many categories, and a positive class of one in ten."""
    rng = np.random.default_rng(2)
    rows = 3000
    job, country = rng.integers(0, 15, rows), rng.integers(0, 40, rows) ** 2 // 40
    hours, gain = (
        rng.normal(40, 10, rows).round(),
        np.where(rng.random(rows) < 0.1, rng.lognormal(8, 1, rows).round(), 0),
    )
    logit = 0.4 * (job - 12) + 0.08 * (hours - 45) + (gain > 0) * 2
    frame = Frame(
        {
            "hours": hours,
            "gain": gain,
            "job": np.array([f" job {k}" for k in range(15)])[job],
            "country": np.where(rng.random(rows) < 0.05, None, np.array([f"country {k}" for k in range(40)])[country]),
            "income": np.where(rng.random(rows) < 1 / (1 + np.exp(-logit)), ">50K", "<=50K"),
        }
    )
    return frame, "income", ["hours", "gain"], ["job", "country"]


def peer(frame: Frame, target: str, numbers: list[str], text: list[str]) -> float:
    """The score of scikit-learn's own pipeline on the same split."""
    fill = SimpleImputer(strategy="constant", fill_value="missing")
    columns = ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler()), numbers),
            ("text", make_pipeline(fill, OneHotEncoder(handle_unknown="ignore", sparse_output=False)), text),
        ]
    )
    shared: dict[str, Any] = {"hidden_layer_sizes": (32,), "max_iter": 40, "random_state": 0, "batch_size": 32}
    regressor = TransformedTargetRegressor(MLPRegressor(**shared), transformer=StandardScaler())
    model = make_pipeline(columns, regressor if target == "price" else MLPClassifier(**shared))
    frame = frame.where(frame.notna(), np.nan)  # older pandas keeps None, which is no gap to scikit-learn
    train, test = train_test_split(frame, test_size=0.25, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(train[numbers + text], train[target])
    return float(model.score(test[numbers + text], test[target]))


def asked_onnx(path: str, frame: Frame, output: str) -> Any:
    """What onnxruntime makes of a frame."""
    session = onnxruntime.InferenceSession(path)
    feed = {}
    for given in session.get_inputs():
        column = frame[given.name]
        if given.type == "tensor(string)":
            feed[given.name] = np.array([[v if isinstance(v, str) else ""] for v in column], dtype=object)
        else:
            feed[given.name] = column.to_numpy(dtype=np.float32)[:, None]
    return session.run([output], feed)[0]


@pytest.mark.parametrize("made", [titanic, houses, adult])
def test_from_file_to_answers_everywhere(run: Run, made: Any) -> None:
    frame, target, numbers, text = made()
    frame.to_csv("d.csv", index=False)
    options = (
        "--hidden",
        "32",
        "--epochs",
        "40",
        "--missing",
        "impute",
        "--metrics-json",
        "m.json",
        "-o",
        "m.safetensors",
    )
    shown = run("train", "d.csv", "--target", target, *options, XPNET_BACKEND=None).stdout
    score = json.loads(Path("m.json").read_text())["scores"]["test"]["r2" if target == "price" else "accuracy"]
    # float32 moves a prediction by its rounding, and with it at most a row that lies between two classes.
    assert score == pytest.approx(
        peer(frame, target, numbers, text), abs=1e-6 if target == "price" else 1.1 * 4 / len(frame)
    )
    assert ("dates or times" in shown) == (made is not adult)
    model = xpnet.load("m.safetensors")
    assert set(model[0].feature_names_in_) == {*numbers, *text}
    read = pandas.read_csv("d.csv")
    read.loc[0, text[0]] = "never seen"
    read.to_csv("new.csv", index=False)
    run("export", "m.safetensors", "m.onnx")
    if target == "price":
        python = model.predict(read)
        shell = pandas.read_csv(io.StringIO(run("predict", "m.safetensors", "new.csv").stdout))["prediction"]
        np.testing.assert_allclose(shell, python, rtol=1e-6)
        np.testing.assert_allclose(asked_onnx("m.onnx", read, "predictions")[:, 0], python, rtol=1e-6)
        return
    python = model.predict_proba(read)
    shell = pandas.read_csv(io.StringIO(run("predict", "m.safetensors", "new.csv", "--proba").stdout))
    np.testing.assert_allclose(shell.filter(like="p_"), python, atol=1e-6)
    np.testing.assert_allclose(asked_onnx("m.onnx", read, "probabilities"), python, atol=1e-6)
    assert asked_onnx("m.onnx", read, "label").tolist() == model.predict(read).tolist()
    assert shell["prediction"].tolist() == model.predict(read).tolist()
    evaluated = json.loads(run("evaluate", "m.safetensors", "d.csv", "--json").stdout)
    assert set(evaluated) >= {"accuracy", "balanced_accuracy", "f1", "log_loss", "roc_auc", "classes"}


@pytest.mark.parametrize("made", [titanic, houses, adult])
def test_scores_are_those_of_scikit_learn(run: Run, made: Any) -> None:
    frame, target, numbers, text = made()
    frame.to_csv("d.csv", index=False)
    options = "--hidden 32 --epochs 40 --missing impute --dtype float64 --metrics-json m.json".split()
    run("train", "d.csv", "--target", target, *options)
    score = json.loads(Path("m.json").read_text())["scores"]["test"]["r2" if target == "price" else "accuracy"]
    assert score == pytest.approx(peer(frame, target, numbers, text), rel=1e-6)


def test_gaps_are_refused_with_every_column_unless_they_are_to_be_filled(run: Run) -> None:
    titanic()[0].to_csv("d.csv", index=False)
    result = run("train", "d.csv", "--target", "Survived", code=1)
    check_one_line(result, "column 'Age' is empty")
    assert "column 'Embarked' is empty" in result.stderr
    assert "--missing impute fills gaps; --drop Age --drop Embarked leaves out" in result.stderr
    run("train", "d.csv", "--target", "Survived", "--drop", "Age", "--drop", "Embarked", "--epochs", "1", "-o", "m")
    titanic()[0].assign(Fare=np.nan).to_csv("gaps.csv", index=False)
    check_one_line(run("predict", "m", "gaps.csv", code=1), "column 'Fare' is empty")


def test_identifiers_pass_through(run: Run) -> None:
    titanic()[0].to_csv("d.csv", index=False)
    options = ("--missing", "impute", "--features", "Sex,Fare", "--id", "PassengerId", "--epochs", "1", "-o", "m")
    run("train", "d.csv", "--target", "Survived", *options)
    assert run("predict", "m", "d.csv").stdout.splitlines()[0] == "PassengerId,prediction"
    titanic()[0].drop(columns="PassengerId").to_csv("nameless.csv", index=False)
    assert run("predict", "m", "nameless.csv").stdout.splitlines()[0] == "prediction"
    lines = run("predict", "m", "d.csv", "--id", "PassengerId", "--id", "Name").stdout.splitlines()
    assert lines[0] == "PassengerId,Name,prediction"
    assert lines[1].startswith('1,"Doe, Mr. 0 ""0""",')


def test_standard_input(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    content = "a,b,y\n" + "".join(f"{k},{'uv'[k % 2]},{k % 2}\n" for k in range(0, 80, 2))
    Path("d.csv").write_text(content.replace(",0\n", ",1\n", 20))
    run("train", "d.csv", "--target", "y", "--epochs", "1", "--features", "a", "-o", "m")
    for _ in range(2):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content.encode())))
    from click.testing import CliRunner

    from xpnet.cli.app import app

    piped = CliRunner().invoke(app, ["predict", "m", "-"], input=content.encode())
    assert piped.stdout == run("predict", "m", "d.csv").stdout


def test_unbalanced_classes_are_weighted(run: Run) -> None:
    adult()[0].to_csv("d.csv", index=False)
    recalls = []
    for weight in ((), ("--class-weight", "balanced")):
        options = ("--missing", "impute", "--epochs", "10", "--metrics-json", "m.json", *weight)
        run("train", "d.csv", "--target", "income", *options)
        recalls.append(json.loads(Path("m.json").read_text())["scores"]["test"]["balanced_accuracy"])
    assert recalls[1] > recalls[0] + 0.05
