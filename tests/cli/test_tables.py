"""Tables as people have them, from file to model to answers: in the shell, in Python and in
ONNX.
"""

import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pandas
import pyarrow
import pyarrow.parquet
import pytest
from helpers.command_line import Run
from sklearn import metrics
from sklearn.dummy import DummyClassifier
from sklearn.model_selection import train_test_split

import xpnet
from xpnet import TableEncoder
from xpnet.cli.table_model import TableModel
from xpnet.learning.scores import class_scores
from xpnet.tabular.columns.records import Table

Frame = pandas.DataFrame


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("classes", [2, 3])
def test_scores_of_classes_are_those_of_scikit_learn(classes: int, weighted: bool) -> None:
    rng = np.random.default_rng(0)
    weight = rng.exponential(size=500) if weighted else None
    weights = {"sample_weight": weight}
    labels = rng.integers(0, classes, 500).astype(np.uint8)
    probabilities = (rng.integers(1, 9, (500, classes)) / 9).astype(
        np.float32
    )  # many rows have equal scores
    exact = probabilities / probabilities.sum(axis=1, keepdims=True, dtype=np.float64)
    predicted = exact.argmax(axis=1)
    expected = {
        "accuracy": metrics.accuracy_score(labels, predicted, **weights),
        "balanced_accuracy": metrics.balanced_accuracy_score(labels, predicted, **weights),
        "f1": metrics.f1_score(
            labels, predicted, average="binary" if classes == 2 else "macro", **weights
        ),
        "log_loss": metrics.log_loss(labels, exact, **weights),
        "roc_auc": metrics.roc_auc_score(
            labels, exact[:, 1] if classes == 2 else exact, multi_class="ovr", **weights
        ),
    }
    found = class_scores(labels, probabilities, range(classes), weight)
    by_class = found.pop("classes")
    assert found.pop("f1_class") == (1 if classes == 2 else None)
    assert found == pytest.approx({"rows": 500, **expected}, rel=1e-12)
    np.testing.assert_allclose(
        [one["f1"] for one in by_class],
        metrics.f1_score(labels, predicted, average=None, **weights),
    )
    assert [one["rows"] for one in by_class] == np.bincount(labels).tolist()
    some = labels != 1
    found = class_scores(labels[some], probabilities[some], range(classes))
    assert found["roc_auc"] is None  # one class has no rows
    expected_recall = metrics.recall_score(
        labels[some], predicted[some], labels=np.unique(labels[some]), average="macro"
    )
    assert found["balanced_accuracy"] == pytest.approx(expected_recall, rel=1e-12)


def titanic() -> tuple[Frame, str, list[str], list[str]]:
    """Passengers with gaps, text, names, a date and a row number. Returns frame, target, numbers,
    text.
    """
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
    zone, garage = (
        rng.choice(["north", "south", "east", "west"], rows),
        rng.choice(["yes", "no", None], rows),
    )
    price = (
        area * 1500 * (1 + 0.1 * quality)
        + 60000 * (zone == "north")
        + rng.normal(size=rows) * 15000
    )
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
    rows = 1200
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
            "country": np.where(
                rng.random(rows) < 0.05,
                None,
                np.array([f"country {k}" for k in range(40)])[country],
            ),
            "income": np.where(rng.random(rows) < 1 / (1 + np.exp(-logit)), ">50K", "<=50K"),
        }
    )
    return frame, "income", ["hours", "gain"], ["job", "country"]


def asked_onnx(path: str, frame: Frame, output: str) -> Any:
    """What onnxruntime makes of a frame."""
    session = onnxruntime.InferenceSession(path)
    feed = {}
    for given in session.get_inputs():
        column = frame[given.name]
        if given.type == "tensor(string)":
            feed[given.name] = np.array(
                [[v if isinstance(v, str) else ""] for v in column], dtype=object
            )
        else:
            kind = np.float64 if given.type == "tensor(double)" else np.float32
            feed[given.name] = column.to_numpy(dtype=kind)[:, None]
    return session.run([output], feed)[0]


OPTIONS = "--members 2 --epochs 6 --metrics-json m.json -o m.safetensors".split()


@pytest.mark.parametrize("made", [titanic, houses])
def test_from_file_to_answers_everywhere(run: Run, made: Any) -> None:
    frame, target, numbers, text = made()
    frame.to_csv("d.csv", index=False)
    run("train", "d.csv", "--target", target, *OPTIONS)
    found = json.loads(Path("m.json").read_text())
    score = "r2" if target == "price" else "balanced_accuracy"
    assert found["scores"]["test"][score] > found["scores"]["baseline"][score] + 0.1
    assert set(numbers + text).isdisjoint(found["data"]["left_out"])
    model = xpnet.load("m.safetensors")
    read = pandas.read_csv("d.csv", parse_dates=["Boarded"] if target == "Survived" else [])
    read.loc[0, text[0]] = "never seen"
    read.to_csv("new.csv", index=False)
    if target == "price":
        python = model.predict(read)
        shell = pandas.read_csv(io.StringIO(run("predict", "m.safetensors", "new.csv").stdout))[
            "prediction"
        ]
        np.testing.assert_allclose(shell, python, rtol=1e-6)
        return
    python = model.predict_proba(read)
    shell = pandas.read_csv(
        io.StringIO(run("predict", "m.safetensors", "new.csv", "--proba").stdout)
    )
    np.testing.assert_allclose(shell.filter(like="p_"), python, atol=1e-6)
    assert shell["prediction"].tolist() == model.predict(read).tolist()
    evaluated = json.loads(run("evaluate", "m.safetensors", "d.csv", "--json").stdout)
    assert set(evaluated) >= {
        "accuracy",
        "balanced_accuracy",
        "f1",
        "log_loss",
        "roc_auc",
        "classes",
    }


def test_the_shell_python_and_onnx_answer_alike(run: Run) -> None:
    frame, target, numbers, text = adult()
    frame.to_csv("d.csv", index=False)
    run("train", "d.csv", "--target", target, *OPTIONS)
    scores = json.loads(Path("m.json").read_text())["scores"]
    assert scores["test"]["balanced_accuracy"] > scores["baseline"]["balanced_accuracy"] + 0.1
    run("export", "m.safetensors", "m.onnx")
    frame.loc[0, text[0]] = "never seen"
    frame.to_csv("new.csv", index=False)
    shell = pandas.read_csv(
        io.StringIO(run("predict", "m.safetensors", "new.csv", "--proba").stdout)
    )
    python = xpnet.load("m.safetensors").predict_proba(frame)
    np.testing.assert_allclose(shell.filter(like="p_"), python, atol=1e-6)
    found = asked_onnx("m.onnx", frame[numbers + text], "probabilities")
    np.testing.assert_allclose(found, python, atol=1e-5)


def test_scores_are_those_of_scikit_learn(run: Run) -> None:
    frame, target, *_ = adult()
    frame.to_csv("d.csv", index=False)
    run("train", "d.csv", "--target", target, *OPTIONS, "--test-size", "0.4", "--seed", "3")
    scores = json.loads(Path("m.json").read_text())["scores"]
    rows = np.arange(len(frame))
    training, test = train_test_split(rows, test_size=0.4, random_state=3, stratify=frame[target])
    model = xpnet.load("m.safetensors")
    probabilities = model.predict_proba(frame.loc[np.sort(test)])
    labels = frame[target].to_numpy()
    found = labels[np.sort(test)]
    assert scores["test"]["rows"] == len(test)
    assert scores["test"]["accuracy"] == pytest.approx(
        metrics.accuracy_score(found, model.classes_[probabilities.argmax(axis=1)])
    )
    assert scores["test"]["log_loss"] == pytest.approx(
        metrics.log_loss(found, probabilities), rel=1e-4
    )
    assert scores["test"]["roc_auc"] == pytest.approx(
        metrics.roc_auc_score(found == model.classes_[1], probabilities[:, 1]), rel=1e-4
    )
    guess = DummyClassifier(strategy="prior").fit(training[:, None], labels[training])
    assert scores["baseline"]["accuracy"] == pytest.approx(guess.score(test[:, None], labels[test]))
    assert scores["baseline"]["log_loss"] == pytest.approx(
        metrics.log_loss(labels[test], guess.predict_proba(test[:, None]))
    )


def test_gaps_and_rows_without_a_label_are_told(run: Run) -> None:
    frame = titanic()[0]
    frame["Survived"] = frame["Survived"].where(frame.index % 9 != 2)
    frame.to_csv("d.csv", index=False)
    shown = run("train", "d.csv", "--target", "Survived", *OPTIONS).stdout
    assert "99 of 891 rows have no label, and are left out" in shown
    assert "Survived holds 2 different whole numbers" in shown
    assert re.search("data +d.csv: 792 rows", shown)
    assert len(run("predict", "m.safetensors", "d.csv").stdout.splitlines()) == 892
    assert json.loads(run("evaluate", "m.safetensors", "d.csv", "--json").stdout)["rows"] == 792


def test_columns_are_carried_along(run: Run) -> None:
    titanic()[0].to_csv("d.csv", index=False)
    options = (
        "--features",
        "Sex,Fare",
        "--id",
        "PassengerId",
        "--epochs",
        "1",
        "--members",
        "1",
        "-o",
        "m",
    )
    run("train", "d.csv", "--target", "Survived", *options)
    assert run("predict", "m", "d.csv").stdout.splitlines()[0] == "PassengerId,prediction"
    titanic()[0].drop(columns="PassengerId").to_csv("nameless.csv", index=False)
    assert run("predict", "m", "nameless.csv").stdout.splitlines()[0] == "prediction"
    lines = run("predict", "m", "d.csv", "--id", "PassengerId", "--id", "Name").stdout.splitlines()
    assert lines[0] == "Name,PassengerId,prediction" or lines[0] == "PassengerId,Name,prediction"
    assert '1,"Doe, Mr. 0 ""0""",' in lines[1]
    joined = pandas.read_csv(io.StringIO(run("predict", "m", "d.csv", "--keep-columns").stdout))
    pandas.testing.assert_frame_equal(joined.drop(columns="prediction"), pandas.read_csv("d.csv"))


def test_what_is_carried_along_stands_as_in_the_file(run: Run) -> None:
    rows = [
        f'{k % 7},{word},"{word} {k}",{"uv"[k % 2]}'
        for k, word in enumerate(["NA", "DE", "null", "", "None"] * 8)
    ]
    Path("d.csv").write_text("\n".join(["a,country,note,y", *rows, ""]))
    run(
        "train",
        "d.csv",
        "--target",
        "y",
        "--features",
        "a",
        "--epochs",
        "1",
        "--members",
        "1",
        "-o",
        "m",
    )
    written = run("predict", "m", "d.csv", "--keep-columns").stdout.splitlines()
    assert [line.rpartition(",")[0] for line in written[1:]] == [
        row.replace('"', "") for row in rows
    ]
    written = run("predict", "m", "d.csv", "--id", "country").stdout.splitlines()
    assert [line.partition(",")[0] for line in written[1:6]] == ["NA", "DE", "null", "", "None"]


def test_a_feature_that_is_named_twice_is_one(run: Run) -> None:
    Path("d.csv").write_text(
        "a,b,y\n" + "".join(f"{k % 7},{k % 3},{'uv'[k % 2]}\n" for k in range(40))
    )
    shown = run(
        "train", "d.csv", "--target", "y", "--features", "a,a", "--epochs", "1", "--members", "1"
    ).stdout
    assert "40 rows, 1 features" in shown


def test_columns_of_any_type_are_carried_along(run: Run) -> None:
    kinds = {"pair": [[1, 2], None] * 20, "bytes": [b"\xff", b"a"] * 20, "record": [{"p": 1}] * 40}
    table = pyarrow.table({"a": [k % 7 for k in range(40)], **kinds, "y": ["u", "v"] * 20})
    pyarrow.parquet.write_table(table, "d.parquet")
    run("train", "d.parquet", "--target", "y", "--epochs", "1", "--members", "1", "-o", "m")
    header, first, second = run("predict", "m", "d.parquet", "--keep-columns").stdout.splitlines()[
        :3
    ]
    assert header == "a,pair,bytes,record,y,prediction"
    assert first.startswith("0,\"[1, 2]\",b'\\xff',{'p': 1},u,")
    assert second.startswith("1,,a,{'p': 1},v,") or second.startswith("1,,b'a',{'p': 1},v,")


def test_standard_input(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    content = "a,b,y\n" + "".join(f"{k},{'uv'[k % 2]},{k % 2}\n" for k in range(0, 80, 2))
    Path("d.csv").write_text(content.replace(",0\n", ",1\n", 20))
    run(
        "train",
        "d.csv",
        "--target",
        "y",
        "--epochs",
        "1",
        "--members",
        "1",
        "--features",
        "a",
        "-o",
        "m",
    )
    for _ in range(2):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content.encode())))
    from click.testing import CliRunner

    from xpnet.cli.app import app

    piped = CliRunner().invoke(app, ["predict", "m", "-"], input=content.encode())
    assert piped.stdout == run("predict", "m", "d.csv").stdout


def test_unbalanced_classes_are_weighted(run: Run) -> None:
    adult()[0].to_csv("d.csv", index=False)
    recalls = []
    for weight in ((), ("--class-weight", "balanced"), ("--class-weight", ">50K=9")):
        options = ("--epochs", "3", "--members", "1", "--metrics-json", "m.json", *weight)
        run("train", "d.csv", "--target", "income", *options)
        recalls.append(
            json.loads(Path("m.json").read_text())["scores"]["test"]["balanced_accuracy"]
        )
    assert min(recalls[1:]) > recalls[0] + 0.01


def test_counts_are_predicted_by_a_loss_of_their_own(run: Run) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=400)
    Frame({"x": x, "visits": rng.poisson(np.exp(0.5 + x))}).to_csv("d.csv", index=False)
    options = (
        "--task",
        "regress",
        "--loss",
        "poisson",
        "--epochs",
        "20",
        "--members",
        "1",
        "-o",
        "m",
    )
    run("train", "d.csv", "--target", "visits", *options)
    predicted = pandas.read_csv(io.StringIO(run("predict", "m", "d.csv").stdout))["prediction"]
    assert predicted.min() >= 0
    assert np.corrcoef(predicted, np.exp(x))[0, 1] > 0.8


@pytest.mark.parametrize("loss", ["poisson", "gamma", "tweedie", "quantile", "absolute_error"])
def test_scores_fit_the_loss(run: Run, loss: str) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=300)
    y = rng.gamma(2.0, np.exp(0.5 * x))
    Frame({"x": x, "y": y}).to_csv("d.csv", index=False)
    quick = ("--target", "y", "--epochs", "5", "--members", "1", "--task", "regress", "-o", "m")
    levels = [0.1, 0.5, 0.9]
    options = ("--quantile", "0.1,0.5,0.9") if loss == "quantile" else ()
    shown = run("train", "d.csv", *quick, "--loss", loss, *options, "--metrics-json", "j").stdout
    assert "D2" in shown
    scores = json.loads(run("evaluate", "m", "d.csv", "--json").stdout)
    predicted = xpnet.load("m").predict({"x": x})
    if loss == "quantile":
        columns = list(zip(levels, predicted.T, strict=True))
        d2 = np.mean([metrics.d2_pinball_score(y, o, alpha=level) for level, o in columns])
        pinball = np.mean([metrics.mean_pinball_loss(y, o, alpha=level) for level, o in columns])
        assert scores["pinball_loss"] == pytest.approx(pinball, rel=1e-6)
    elif loss == "absolute_error":
        d2 = metrics.d2_absolute_error_score(y, predicted)
        assert set(scores) - {"columns"} == {"rows", "mae", "rmse", "r2", "d2"}
    else:
        power = {"poisson": 1, "tweedie": 1.5, "gamma": 2}[loss]
        d2 = metrics.d2_tweedie_score(y, predicted, power=power)
        deviance = metrics.mean_tweedie_deviance(y, predicted, power=power)
        assert scores["mean_deviance"] == pytest.approx(deviance, rel=1e-6)
    assert scores["d2"] == pytest.approx(d2, rel=1e-6)
    # On its own training rows the constant is nearly the best one.
    assert abs(json.loads(Path("j").read_text())["scores"]["baseline"]["d2"]) < 0.1
    if loss == "gamma":
        Frame({"x": x, "y": np.where(x > 1, 0.0, y)}).to_csv("zeros.csv", index=False)
        scores = json.loads(run("evaluate", "m", "zeros.csv", "--json").stdout)
        assert scores["d2"] is scores["mean_deviance"] is None and scores["mae"] > 0


@pytest.mark.parametrize("target", ["label", "number"])
def test_a_column_that_is_explained_is_encoded_alone(
    run: Run, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    rng = np.random.default_rng(0)
    x, z = rng.normal(size=(2, 300)).round(2)
    start = pandas.to_datetime("2024-01-01") + pandas.to_timedelta(rng.integers(0, 300, 300), "D")
    columns = {"x": x, "z": z, "colour": rng.choice(["red", "blue"], 300), "start": start}
    columns["end"] = start + pandas.to_timedelta(rng.integers(1, 30, 300), "D")
    days = (columns["end"] - start).days
    number = x + z * (columns["colour"] == "red") + days / 10
    values = number if target == "number" else np.where(number > 1.5, "yes", "no")
    columns["x"] = np.where(x > 1, np.nan, x)
    Frame(columns | {target: values}).to_csv("d.csv", index=False)
    run("train", "d.csv", "--target", target, "--epochs", "2", "--members", "1", "-o", "m")
    encoded_rows = []
    encoded = TableEncoder.encoded

    def counted(self: TableEncoder, table: Table) -> np.ndarray:
        encoded_rows.append(table.rows)
        return encoded(self, table)

    monkeypatch.setattr(TableEncoder, "encoded", counted)
    found = run("explain", "m", "d.csv", "--json").stdout
    assert encoded_rows == [300]
    monkeypatch.setattr(TableModel, "encoded_table", lambda *_: None)
    assert run("explain", "m", "d.csv", "--json").stdout == found
    assert len(encoded_rows) == 2 + 5 * 5


def test_columns_that_a_model_needs_are_explained(run: Run) -> None:
    rng = np.random.default_rng(0)
    x, noise = rng.normal(size=600), rng.normal(size=600)
    colour = rng.choice(["red", "blue"], 600)
    label = np.where(x + 2 * (colour == "red") > 1, "yes", "no")
    Frame({"noise": noise, "x": x, "colour": colour, "label": label}).to_csv("d.csv", index=False)
    run("train", "d.csv", "--target", "label", "--epochs", "15", "--members", "1", "-o", "m")
    found = json.loads(run("explain", "m", "d.csv", "--json", "--plot", "p.svg").stdout)
    names = [one["column"] for one in found["columns"]]
    assert set(names[:2]) == {"x", "colour"} and names[2] == "noise"
    assert found["columns"][1]["importance"] > 0.1 > abs(found["columns"][2]["importance"])
    assert "colour" in run("explain", "m", "d.csv").stdout
    assert Path("p.svg").stat().st_size > 1000
    run("evaluate", "m", "d.csv", "--plot", "c.svg")
    assert "reliability" in Path("c.svg").read_text() or Path("c.svg").stat().st_size > 1000


def test_quantiles_and_intervals_of_a_table(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=900)
    y = 3 * x + rng.normal(size=900)
    Frame({"x": x, "y": y}).to_csv("d.csv", index=False)
    quick = ("--target", "y", "--epochs", "15", "--members", "1", "-o", "m")
    encoded: list[int] = []
    encode = xpnet.TableEncoder.encoded

    def counted(self: Any, X: Any) -> Any:
        encoded.append(X.rows)
        return encode(self, X)

    monkeypatch.setattr(xpnet.TableEncoder, "encoded", counted)
    printed = run(
        "train", "d.csv", *quick, "--loss", "quantile", "--quantile", "0.1,0.5,0.9"
    ).stdout
    assert "R2" in printed
    encoded.clear()
    found = pandas.read_csv(io.StringIO(run("predict", "m", "d.csv", "--interval", "0.8").stdout))
    assert list(found) == ["prediction_0.1", "prediction_0.5", "prediction_0.9", "low", "high"]
    assert ((found["low"] <= y) & (y <= found["high"])).mean() > 0.7
    assert json.loads(run("evaluate", "m", "d.csv", "--json").stdout)["r2"] > 0.8
    run("train", "d.csv", *quick)
    encoded.clear()
    found = pandas.read_csv(io.StringIO(run("predict", "m", "d.csv", "--interval", "0.9").stdout))
    assert list(found) == ["prediction", "low", "high"]
    assert ((found["low"] <= y) & (y <= found["high"])).mean() > 0.85
    assert encoded == [len(y)]


@pytest.mark.parametrize("by_blocks", [False, True])
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_dates_that_are_read_as_text_are_words(
    run: Run, monkeypatch: pytest.MonkeyPatch, ending: str, by_blocks: bool
) -> None:
    monkeypatch.setattr("xpnet.data.table_size.LARGE_TABLE_BYTES", 0 if by_blocks else 2**28)
    monkeypatch.setattr("xpnet.tabular.rows.large_tables.SAMPLE_ROWS", 40)
    day = np.array(["2024-01-05", "2024-02-10", "2024-03-15", "2024-04-20"] * 20)
    frame = Frame({"day": day, "label": np.where(day < "2024-03", "yes", "no")})
    frame.to_csv("d.csv", index=False)
    frame.to_parquet("d.parquet", index=False)
    quick = ("--target", "label", "--epochs", "2", "--members", "1", "-o", "m")
    run("train", f"d.{ending}", *quick, "--text", "day")
    encoded = xpnet.load("m").encoder_.get_feature_names_out().tolist()
    assert sorted(encoded) == [f"day_{value}" for value in day[:4]]
    predictions = run("predict", "m", f"d.{ending}", "--proba", "--id", "day").stdout.splitlines()
    assert [line.split(",")[0] for line in predictions] == ["day", *day]


@pytest.mark.parametrize("by_blocks", [False, True])
def test_words_among_dates_that_no_training_row_holds_make_the_column_text(
    run: Run, monkeypatch: pytest.MonkeyPatch, by_blocks: bool
) -> None:
    monkeypatch.setattr("xpnet.data.table_size.LARGE_TABLE_BYTES", 0 if by_blocks else 2**28)
    monkeypatch.setattr("xpnet.tabular.rows.large_tables.SAMPLE_ROWS", 40)
    day = np.array(["2024-01-05", "2024-02-10", "2024-03-15", "2024-04-20"] * 30)
    frame = Frame(
        {"day": day, "none": pandas.Series([None] * 119 + ["2024-01-05"]), "x": np.arange(120) % 7}
    )
    frame.loc[1, "day"] = "never"
    frame["label"] = np.where(day < "2024-03", "yes", "no")
    frame.to_parquet("d.parquet", index=False)
    quick = ("--target", "label", "--epochs", "1", "--members", "1", "-o", "m")
    for seed in "0123":
        run("train", "d.parquet", *quick, "--seed", seed)
        assert "day_2024-01-05" in xpnet.load("m").encoder_.get_feature_names_out()
    assert len(run("predict", "m", "d.parquet").stdout.split()) == 121
