"""The command line as a user meets it: what it prints, what it writes, how it fails."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result
from threadpoolctl import threadpool_info

import xpnet
from xpnet.backend.threads import get_threads
from xpnet.cli.app import app
from xpnet.cli.notebook import LOGISTIC, NETWORK
from xpnet.cli.options import computing

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """``run("train", "iris", code=1)``: the command, called in an empty folder; fails on another exit code.

    On the NumPy backend, unless the arguments or XPNET_BACKEND say otherwise.
    """
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str, code: int = 0, **environment: str | None) -> Result:
        result = CliRunner(env={"XPNET_BACKEND": "numpy", **environment}).invoke(app, arguments)
        assert result.exit_code == code, (result.output, result.exception)
        return result

    return call


@pytest.fixture
def flowers(tmp_path: Path) -> Path:
    """Three classes with text labels, four columns, one of them text that nothing needs."""
    rng = np.random.default_rng(0)
    lines = ["width,note,length,kind"]
    for k, kind in enumerate(["iris", "lily", "rose, wild"] * 20):
        width, length = rng.normal(size=2) + [3 * (k % 3), 1000 * (k % 3)]
        lines.append(f'{width},n{k},{length},"{kind}"')
    path = tmp_path / "flowers.csv"
    path.write_text("\n".join(lines) + "\n")
    numbers = [line.replace(f",n{k - 1},", ",").replace(",note,", ",") for k, line in enumerate(lines)]
    (tmp_path / "numbers.csv").write_text("\n".join(numbers))
    return tmp_path / "numbers.csv"


NOTEBOOK = """\
Epoch    0, loss = 2.3026
Epoch   50, loss = 0.2275
Epoch  100, loss = 0.1599
Epoch  150, loss = 0.1306
Epoch  200, loss = 0.1130
Epoch  250, loss = 0.1009
Epoch  300, loss = 0.0918
Epoch  350, loss = 0.0846
Epoch  400, loss = 0.0788
Epoch  450, loss = 0.0738
Epoch  500, loss = 0.0696
test set accuracy = 0.953
Epoch    0, loss = 8.5876
Epoch   50, loss = 0.6002
Epoch  100, loss = 0.3517
Epoch  150, loss = 0.2510
Epoch  200, loss = 0.1975
Epoch  250, loss = 0.1631
Epoch  300, loss = 0.1401
Epoch  350, loss = 0.1231
Epoch  400, loss = 0.1098
Epoch  450, loss = 0.0989
Epoch  500, loss = 0.0897
test set accuracy = 0.938
"""


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_reproduce_prints_the_notebook(run: Run, backend: str) -> None:
    lines = run("reproduce", "--backend", backend, "--threads", "1").stdout.splitlines()
    assert lines[:3] == ["All checks passed successfully!"] * 3
    printed = [line for line in lines if line.startswith(("Epoch", "test"))]
    assert printed == NOTEBOOK.splitlines()
    assert lines[-1] == "All 24 numbers are the notebook's."


def test_reproduce_through_the_environment_as_json(run: Run) -> None:
    found = json.loads(run("reproduce", "--json", XPNET_BACKEND="numba").stdout)
    assert found["equal"] is True
    assert "numba (named by XPNET_BACKEND)" in found["feedforward"]["why"]
    assert f"{found['feedforward']['loss']['500']:.4f}" == "0.0897"


def test_reproduce_fails_where_a_number_differs(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def notebook(off: float) -> dict[str, Any]:
        tables = {"logistic_regression": (LOGISTIC, 0.953), "feedforward": (NETWORK, 0.938 + off)}
        return {
            name: {"loss": dict(enumerate(losses)), "accuracy": accuracy} for name, (losses, accuracy) in tables.items()
        }

    for off, code in ((0.0, 0), (0.001, 1)):
        monkeypatch.setattr("xpnet.cli.reproduce.run_notebook", lambda backend, say, off=off: notebook(off))
        assert json.loads(run("reproduce", "--json", code=code).stdout)["equal"] is (code == 0)


def test_train_predict_evaluate_inspect(run: Run, flowers: Path) -> None:
    options = ("--target", "kind", "--hidden", "8,4", "--lr", "0.02", "--epochs", "40", "-o", "m.safetensors")
    shown = run("train", str(flowers), *options).stdout
    assert "60 rows, 2 features, 3 classes" in shown
    assert "2-8-4-3" in shown
    evaluated = json.loads(run("evaluate", "m.safetensors", str(flowers), "--json").stdout)
    assert evaluated["accuracy"] > 0.9
    assert [c["class"] for c in evaluated["classes"]] == ["iris", "lily", "rose, wild"]
    # Columns are found by name, in a file that holds others too, and no label is needed.
    lines = run("predict", "m.safetensors", "flowers.csv", "--proba").stdout.splitlines()
    assert lines[0] == 'prediction,p_iris,p_lily,"p_rose, wild"'
    assert len(lines) == 61
    assert sum(float(p) for p in lines[1].split(",")[-3:]) == pytest.approx(1, abs=1e-6)
    inspected = run("inspect", "m.safetensors").stdout
    assert "iris, lily, rose, wild" in inspected
    assert "width, length" in inspected


def test_predictions_are_those_of_the_model(run: Run) -> None:
    run("train", "wine", "--epochs", "5", "-o", "m.safetensors", "--dtype", "float64")
    run("predict", "m.safetensors", "wine", "--proba", "-o", "out.csv")
    model = xpnet.load("m.safetensors", backend="numpy")
    kept = model.extra["preparation"]
    from sklearn.datasets import load_wine

    X = (load_wine().data - np.array(kept["mean"])) / np.array(kept["scale"])
    expected = np.asarray(model.predict(X))
    rows = [line.split(",") for line in Path("out.csv").read_text().splitlines()[1:]]
    np.testing.assert_array_equal(np.array([row[1:] for row in rows], dtype=float), expected)
    assert [row[0] for row in rows] == [kept["classes"][k] for k in expected.argmax(axis=1)]


def test_scaling_comes_from_the_training_rows(run: Run) -> None:
    from sklearn.datasets import load_iris
    from sklearn.model_selection import train_test_split

    run("train", "iris", "--epochs", "1", "--seed", "7", "-o", "m.safetensors")
    rows, _ = train_test_split(load_iris().data, test_size=0.25, random_state=7)
    np.testing.assert_allclose(xpnet.load("m.safetensors").extra["preparation"]["mean"], rows.mean(axis=0), rtol=1e-12)


def test_the_same_seed_gives_the_same_file(run: Run) -> None:
    for name in ("a", "b"):
        run("train", "iris", "--hidden", "5", "--epochs", "3", "--seed", "4", "-o", name)
    run("train", "iris", "--hidden", "5", "--epochs", "3", "--seed", "5", "-o", "c")
    assert Path("a").read_bytes() == Path("b").read_bytes() != Path("c").read_bytes()


def test_metrics_and_plot(run: Run) -> None:
    pytest.importorskip("matplotlib", reason="plots are drawn by matplotlib, the extra 'plot'")
    run("train", "iris", "--epochs", "6", "--metrics-json", "m.json", "--plot", "loss.svg")
    metrics = json.loads(Path("m.json").read_text())
    assert len(metrics["history"]["loss"]) == len(metrics["history"]["validation_loss"]) == 6
    assert metrics["scores"]["test"]["rows"] == 38
    assert metrics["history"]["validation_loss"][-1] == pytest.approx(metrics["scores"]["test"]["log_loss"], rel=1e-5)
    assert metrics["settings"]["lr"] == 0.01
    assert Path("loss.svg").read_text().startswith("<?xml")


def test_all_rows_may_be_trained_on(run: Run) -> None:
    shown = run("train", "iris", "--test-size", "0", "--epochs", "2", "--metrics-json", "m.json").stdout
    assert "test" not in shown
    assert json.loads(Path("m.json").read_text())["scores"]["training"]["rows"] == 150


def test_a_training_goes_on_from_its_checkpoint(run: Run) -> None:
    common = ("train", "iris", "--hidden", "6", "--seed", "3")
    run(*common, "--epochs", "8", "-o", "whole")
    run(*common, "--epochs", "5", "--checkpoint-dir", "c", "--resume")
    said = run(*common, "--epochs", "8", "--checkpoint-dir", "c", code=2).stderr
    assert "Add --resume" in said
    run(*common, "--epochs", "8", "--checkpoint-dir", "c", "--resume", "-o", "resumed")
    assert Path("whole").read_bytes() == Path("resumed").read_bytes()


def test_nothing_goes_to_stderr_where_there_is_no_terminal(run: Run) -> None:
    assert run("train", "iris", "--epochs", "2").stderr == ""


def test_threads_hold_for_one_command() -> None:
    def threads() -> set[int]:
        return {get_threads(), *(b["num_threads"] for b in threadpool_info() if b["user_api"] == "blas")}

    seen: list[set[int]] = []

    @click.command()
    @computing
    def show(backend: str | None) -> None:
        seen.append(threads())

    CliRunner().invoke(show, [], catch_exceptions=False)
    CliRunner().invoke(show, ["--threads", "1"], catch_exceptions=False)
    before, during = seen
    assert (during, threads()) == ({1}, before)


BAD_DATA = {
    "nan.csv": ("a,b,y\n1,2,p\n3,nan,q\n", "row 2, column 'b' is empty"),
    "text.csv": ("a,b,y\n1,x,p\n3,4,q\n", "row 1, column 'b' holds 'x'"),
    "single.csv": ("a,y\n1,p\n2,p\n", "at least two classes; every label is 'p'"),
    "ragged.csv": ("a,y\n1,p,3\n2,q\n", "line 2 holds 3"),
    "target.csv": ("a,z\n1,p\n2,q\n", "no column 'y'"),
    "empty.csv": ("", "the file is empty"),
    "few.csv": ("a,y\n1,p\n2,q\n", "2 rows are too few for --test-size 0.75"),
}


@pytest.mark.parametrize("name", BAD_DATA)
def test_bad_data_is_told_in_one_line(run: Run, tmp_path: Path, name: str) -> None:
    content, said = BAD_DATA[name]
    (tmp_path / name).write_text(content)
    test_size = "0.75" if name == "few.csv" else "0.3"
    result = run("train", name, "--target", "y", "--no-scale", "--test-size", test_size, code=1)
    check_one_line(result, said)


@pytest.mark.parametrize("scaling", ["--scale", "--no-scale"])
def test_values_too_large_for_the_inputs_are_told(run: Run, scaling: str) -> None:
    Path("huge.csv").write_text("a,y\n1e300,p\n-1e300,q\n1,p\n2,q\n3,p\n")
    check_one_line(run("train", "huge.csv", "--target", "y", scaling, code=1), "some are too large")


USAGE = [
    (("train", "iris", "--backend", "nope"), "must be one of cupy, numba, numpy; received 'nope'"),
    (("train", "iris", "-o", "no/m.safetensors"), "The folder no must exist to write m.safetensors there"),
    (("train", "iris", "--metrics-json", "no/m.json"), "The folder no must exist"),
    (("train", "iris", "--plot", "no/m.png"), "The folder no must exist"),
    (("train", "iris", "--plot", "loss.doc"), "a plot ends in"),
    (("train", "iris", "-o", "."), "is a folder or a device"),
    (("predict", "m", "iris", "-o", os.devnull), "is a folder or a device"),
    (("train", "iris", "--checkpoint-dir", "no/c"), "The folder no must exist"),
    (("train", "iris", "--resume"), "--checkpoint-dir"),
    (("train", "iris", "--hidden", "10,x"), "positive integers such as 100,50; received '10,x'"),
    (("train", "iris", "--hidden", "0"), "positive integers"),
    (("train", "iris", "--lr", "0"), "0.0 is not in the range x>0"),
    (("train", "iris", "--lr", "nan"), "nan is not a number"),
    (("train", "iris", "--test-size", "nan"), "nan is not a number"),
    (("train", "iris", "--epochs", "0"), "0 is not in the range x>=1"),
    (("train", "iris", "--threads", "0"), "0 is not in the range x>=1"),
    (("train", "iris", "--test-size", "1"), "1.0 is not in the range"),
    (("train", "iris", "--optimizer", "lion"), "'lion' is not one of"),
    (("train",), "Missing argument 'DATA'"),
    (("teach",), "No such command 'teach'"),
]


@pytest.mark.parametrize(("arguments", "said"), USAGE, ids=[" ".join(arguments) for arguments, _ in USAGE])
def test_wrong_usage_is_told_in_one_line_before_any_work(run: Run, arguments: tuple[str, ...], said: str) -> None:
    check_one_line(run(*arguments, code=2), said)


def test_an_unknown_backend_in_the_environment(run: Run) -> None:
    check_one_line(
        run("train", "iris", code=2, XPNET_BACKEND="nope"), "The environment variable XPNET_BACKEND names it"
    )


def test_cupy_without_a_card_says_why_and_what_to_install(run: Run) -> None:
    try:
        xpnet.get_backend("cupy")
    except xpnet.BackendError:
        check_one_line(run("train", "iris", "--backend", "cupy", code=2), "cupy")
    else:
        pytest.skip("CuPy and a GPU are here, so nothing refuses")


def test_a_diverging_training_fails_and_writes_nothing(run: Run) -> None:
    options = ("--no-scale", "--optimizer", "sgd", "--lr", "1e30", "--hidden", "9", "-o", "m")
    result = run("train", "wine", *options, code=1)
    check_one_line(result, "The loss must stay finite")
    assert not Path("m").exists()


def test_model_files_and_data_must_fit(run: Run) -> None:
    run("train", "iris", "--epochs", "1", "-o", "m.safetensors")
    np.savez("wide.npz", X=np.ones((2, 5)), y=[0, 1])
    np.savez("labels.npz", X=np.ones((2, 4)), y=[0, 9])
    Path("other.csv").write_text("a,b\n1,2\n")
    Path("damaged").write_bytes(Path("m.safetensors").read_bytes()[:-3])
    check_one_line(run("predict", "m.safetensors", "wide.npz", code=1), "this model takes 4 columns; received 5")
    check_one_line(run("predict", "m.safetensors", "other.csv", code=1), "no column 'sepal length (cm)'")
    check_one_line(run("evaluate", "m.safetensors", "labels.npz", "--target", "y", code=1), "row 1 holds 0")
    check_one_line(run("predict", "damaged", "iris", code=1), "damaged")
    check_one_line(run("predict", "none", "iris", code=1), "none")
    check_one_line(run("inspect", "other.csv", code=1), "other.csv")


def test_a_model_from_python_takes_and_gives_plain_numbers(run: Run) -> None:
    model = xpnet.LogisticRegression(4, 3)
    model.save("m.safetensors")
    assert run("predict", "m.safetensors", "iris").stdout.split()[:2] == ["prediction", "0"]


@pytest.mark.parametrize(
    "kept",
    [5, {}, {"classes": ["a"]}, {"features": None, "classes": 3, "target": None, "mean": None, "scale": None}],
    ids=["number", "empty", "half", "other types"],
)
def test_what_is_kept_with_a_model_is_checked(run: Run, kept: Any) -> None:
    xpnet.LogisticRegression(4, 3).save("m.safetensors", extra={"preparation": kept})
    for command in (("predict", "m.safetensors", "iris"), ("inspect", "m.safetensors")):
        check_one_line(run(*command, code=1), "A model file")


def test_files_of_estimators(run: Run) -> None:
    from sklearn.datasets import load_iris

    X, y = load_iris(return_X_y=True)
    names = load_iris().target_names[y]
    model = xpnet.MLPClassifier((8,), solver="lbfgs", random_state=0, backend="numpy").fit(X, names)
    model.save("m.safetensors")
    regressor = xpnet.MLPRegressor(hidden_layer_sizes=(3,), solver="lbfgs", random_state=0, backend="numpy")
    regressor.fit(X, X[:, 0]).save("r.safetensors")
    assert "MLPClassifier" in run("inspect", "m.safetensors").stdout
    evaluated = json.loads(run("evaluate", "m.safetensors", "iris", "--json").stdout)
    assert evaluated["accuracy"] == pytest.approx(model.score(X, names))
    assert run("predict", "m.safetensors", "iris").stdout.split()[1:] == model.predict(X).tolist()
    check_one_line(run("predict", "r.safetensors", "iris", code=1), "holds another model, MLPRegressor")


HOSTILE = "a\x1b]0;owned\x07\x1b[31m\x9b2J\u202e"


def test_control_characters_do_not_reach_a_terminal(run: Run) -> None:
    X, y = np.zeros((4, 2)), np.array([HOSTILE, "b"] * 2)
    xpnet.MLPClassifier((2,), tol=9.0, backend="numpy", random_state=0).fit(X, y).save("model", {"a": HOSTILE})
    Path("rows.csv").write_text("a,b\n0,0\n")
    commands = [("inspect", "model"), ("inspect", "model", "--json"), ("predict", "model", "rows.csv", "--proba")]
    shown = [run(*command).stdout for command in commands]
    assert all(character.isprintable() or character in "\n" for text in shown for character in text)
    assert json.loads(shown[1])["extra"] == {"a": HOSTILE}
    assert r"p_a\x1b]0;owned\x07\x1b[31m\x9b2J\u202e" in shown[2]
    run("predict", "model", "rows.csv", "--proba", "-o", "table.csv")
    assert f"p_{HOSTILE}" in Path("table.csv").read_text()


def test_backends_and_doctor(run: Run) -> None:
    found = {b["name"]: b for b in json.loads(run("backends", "--json").stdout)}
    assert found["numpy"] == {"name": "numpy", "usable": True, "facts": {"numpy": np.__version__}, "reason": None}
    assert all(b["usable"] or b["reason"] for b in found.values())
    assert "numpy" in run("backends").stdout
    doctor = json.loads(run("doctor", "--json").stdout)
    assert {library["of"] for library in doctor["blas"]} >= {"numpy.libs", "scipy.libs"}
    shown = run("doctor", XPNET_BACKEND=None).stdout
    assert len(shown.splitlines()) <= 50
    assert "NumPy, lists, frames" in shown
    assert "named by XPNET_BACKEND" in run("doctor").stdout
    assert "must be one of" in run("doctor", XPNET_BACKEND="nope").stdout


def test_warmup(run: Run) -> None:
    assert run("warmup", "--backend", "numpy").stdout == "numpy compiles nothing.\n"
    assert run("warmup", "--backend", "numba").stdout.startswith("numba is warm: ")


def test_every_command_has_help_that_names_the_exit_codes(run: Run) -> None:
    for command in ("", *(name for name in app.commands if name != "bench")):
        page = " ".join(run(*command.split(), "--help").stdout.split())
        assert "Exit codes: 0 done, 1 the work failed, 2 wrong usage" in page


def test_a_reader_that_goes_away_is_no_error() -> None:
    command = f"{sys.executable} -c 'from xpnet.cli import main; main()' backends --json | head -c 1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("[", "")


def check_one_line(result: Result, said: str) -> None:
    """Require one line on stderr that says so, nothing on stdout, and no traceback."""
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ")
    assert said in line
