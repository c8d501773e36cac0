"""``xpnet train`` and what it writes."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from helpers.command_line import Run, check_one_line
from sklearn.datasets import load_iris, load_wine
from sklearn.model_selection import train_test_split

import xpnet
from xpnet.cli.app import app
from xpnet.cli.training import build
from xpnet.data.task import choose_task
from xpnet.tabular.quality import QUALITIES

QUICK = ("--members", "1", "--epochs")


def test_train_predict_evaluate_inspect(run: Run, flowers: Path) -> None:
    options = (
        "--target",
        "kind",
        "--model",
        "mlp",
        "--hidden",
        "8,4",
        "--lr",
        "0.02",
        "--epochs",
        "40",
        "-o",
        "m",
    )
    shown = run("train", str(flowers), *options).stdout
    assert "60 rows, 2 features, 3 classes" in shown
    assert "1 network 2-8-4-3" in shown
    evaluated = json.loads(run("evaluate", "m", str(flowers), "--json").stdout)
    assert evaluated["accuracy"] > 0.9
    assert [c["class"] for c in evaluated["classes"]] == ["iris", "lily", "rose, wild"]
    # Columns are found by name, in a file that holds others too, and no label is needed.
    lines = run("predict", "m", "flowers.csv", "--proba").stdout.splitlines()
    assert lines[0] == 'prediction,p_iris,p_lily,"p_rose, wild"'
    assert len(lines) == 61
    assert sum(float(p) for p in lines[1].split(",")[-3:]) == pytest.approx(1, abs=1e-6)
    assert "iris, lily, rose, wild" in run("inspect", "m").stdout


def test_predictions_are_those_of_the_model(run: Run) -> None:
    run("train", "wine", *QUICK, "5", "-o", "m.safetensors", "--dtype", "float64")
    run("predict", "m.safetensors", "wine", "--proba", "-o", "out.csv")
    model = xpnet.load("m.safetensors", backend="numpy")
    X = load_wine(as_frame=True).data
    rows = [line.split(",") for line in Path("out.csv").read_text().splitlines()[1:]]
    found = np.array([row[1:] for row in rows], dtype=float)
    np.testing.assert_allclose(found, model.predict_proba(X), rtol=1e-12)
    assert [row[0] for row in rows] == model.predict(X).tolist()


def test_the_table_is_encoded_by_its_training_rows(run: Run) -> None:
    run(
        "train",
        "iris",
        "--epochs",
        "1",
        "--model",
        "linear",
        "--seed",
        "7",
        "-o",
        "m",
        "--dtype",
        "float64",
    )
    X, y = load_iris(return_X_y=True, as_frame=True)
    rows, _ = train_test_split(X, test_size=0.25, random_state=7, stratify=y)
    encoder = xpnet.load("m").encoder_
    np.testing.assert_allclose(encoder.transform(rows).mean(axis=0), 0, atol=1e-6)


def test_the_models_differ_in_what_they_are_told_to(run: Run) -> None:
    made = {}
    for name in ("tabular", "mlp", "linear"):
        run(
            "train",
            "iris",
            "--epochs",
            "2",
            "--model",
            name,
            "-o",
            name,
            "--metrics-json",
            "m.json",
        )
        made[name] = json.loads(Path("m.json").read_text())["model"]
        assert made[name]["name"] == name
    assert [len(made[name]["widths"]) for name in made] == [4, 3, 2]
    assert [made[name]["networks"] for name in made] == [2, 1, 1]
    assert made["mlp"]["widths"] == [4, 100, 3]
    assert made["tabular"]["widths"][0] > 4


def test_the_same_seed_gives_the_same_file(run: Run) -> None:
    for name in ("a", "b"):
        run("train", "iris", "--hidden", "5", *QUICK, "3", "--seed", "4", "-o", name)
    run("train", "iris", "--hidden", "5", *QUICK, "3", "--seed", "5", "-o", "c")
    assert Path("a").read_bytes() == Path("b").read_bytes() != Path("c").read_bytes()


def test_metrics_and_plot(run: Run) -> None:
    pytest.importorskip("matplotlib", reason="plots are drawn by matplotlib, the extra 'plot'")
    run("train", "iris", *QUICK, "6", "--metrics-json", "m.json", "--plot", "loss.svg")
    metrics = json.loads(Path("m.json").read_text())
    assert len(metrics["history"]["loss"]) == len(metrics["history"]["validation_loss"]) == 6
    assert metrics["scores"]["test"]["rows"] == metrics["scores"]["baseline"]["rows"] == 38
    assert metrics["settings"]["epochs"] == 6
    assert Path("loss.svg").read_text().startswith("<?xml")


def test_all_rows_may_be_trained_on(run: Run) -> None:
    shown = run("train", "iris", "--test-size", "0", *QUICK, "2", "--metrics-json", "m.json").stdout
    assert "test" not in shown
    assert json.loads(Path("m.json").read_text())["scores"]["training"]["rows"] == 150


@pytest.mark.parametrize("patience", ["16", "2"])
def test_a_training_goes_on_from_its_checkpoint(run: Run, patience: str) -> None:
    common = (
        "train",
        "iris",
        "--hidden",
        "6",
        "--seed",
        "3",
        "--members",
        "2",
        "--lr",
        "0.1",
        "--patience",
        patience,
    )
    run(*common, "--epochs", "8", "-o", "whole")
    run(*common, "--epochs", "3", "--checkpoint-dir", "c", "--resume")
    said = run(*common, "--epochs", "8", "--checkpoint-dir", "c", code=2).stderr
    assert "Add --resume" in said
    run(*common, "--epochs", "8", "--checkpoint-dir", "c", "--resume", "-o", "resumed")
    whole, resumed = (xpnet.load(name) for name in ("whole", "resumed"))
    for expected, found in zip(whole.networks_, resumed.networks_, strict=True):
        for name, array in expected.params.items():
            np.testing.assert_array_equal(found.params[name], array)


def test_the_best_epoch_is_kept(run: Run) -> None:
    options = (
        "--model",
        "mlp",
        "--hidden",
        "64",
        "--lr",
        "0.02",
        "--validation-size",
        "0.3",
        "--metrics-json",
        "m.json",
    )
    run("train", "breast_cancer", *options, "--patience", "4")
    found = json.loads(Path("m.json").read_text())
    curve = found["history"]["validation_loss"]
    assert len(curve) == int(np.argmin(curve)) + 1 + 4 < 200
    assert found["model"]["kept"] == [int(np.argmin(curve)) + 1]
    assert [part["rows"] for part in found["scores"].values()] == [426, 143, 143]


def test_options_reach_the_estimator(run: Run) -> None:
    options = {
        "--activation": ("tanh", "activation", "tanh"),
        "--dropout": ("0.2", "dropout", 0.2),
        "--weight-decay": ("0.5", "weight_decay", 0.5),
        "--class-weight": (
            "setosa=2,versicolor=1,virginica=0.5",
            "class_weight",
            {"setosa": 2.0, "versicolor": 1.0, "virginica": 0.5},
        ),
        "--lr": ("0.25", "learning_rate_init", 0.25),
        "--members": ("2", "members", 2),
        "--batch-size": ("17", "batch_size", 17),
        "--patience": ("3", "n_iter_no_change", 3),
        "--validation-size": ("0.2", "validation_fraction", 0.2),
        "--time-limit": ("100", "time_limit", 100.0),
        "--jobs": ("2", "n_jobs", 2),
    }
    run_options = [part for name, (value, _, _) in options.items() for part in (name, value)]
    settings = read_settings(*run_options, "--hidden", "5,4")
    params = build(settings, classify=True).get_params()
    assert {name: params[name] for _, name, _ in options.values()} == {
        name: value for _, name, value in options.values()
    }
    assert params["hidden_layer_sizes"] == (5, 4)
    run("train", "iris", "--hidden", "5,4", "--epochs", "2", *run_options, "-o", "m.safetensors")
    assert xpnet.load("m.safetensors").networks_[0].spec.widths[1:] == (5, 4, 3)


def test_without_options_the_command_trains_as_the_estimator_does() -> None:
    own = xpnet.TabularClassifier().get_params()
    params = build(read_settings(), classify=True).get_params()
    assert {name: value for name, value in params.items() if value != own[name]} == {
        "random_state": 0,
        "n_jobs": 1,
    }


def read_settings(*options: str) -> SimpleNamespace:
    """The settings that a command line makes."""
    kept: list[SimpleNamespace] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("xpnet.cli.training.run", kept.append)
        CliRunner().invoke(app, ["train", "iris", *options], catch_exceptions=False)
    return kept[0]


def test_a_time_limit_ends_the_training(run: Run) -> None:
    run(
        "train",
        "digits",
        "--epochs",
        "100000",
        "--patience",
        "100000",
        "--time-limit",
        "1",
        "--metrics-json",
        "m.json",
    )
    assert len(json.loads(Path("m.json").read_text())["history"]["loss"]) < 100_000


def test_regression(run: Run) -> None:
    shown = run("train", "diabetes", *QUICK, "30", "-o", "m.safetensors", "--plot", "p.png").stdout
    assert "regress: target holds 214 different whole numbers" in shown
    found = json.loads(
        run("evaluate", "m.safetensors", "diabetes", "--json", "--plot", "against.png").stdout
    )
    assert found["r2"] > 0.45
    assert set(found) - {"columns"} == {"rows", "mae", "rmse", "r2"}
    of_columns = found.get("columns", {})  # only columns with values unlike those of the training
    assert all(counts["outside"] > 0 == counts["unknown"] for counts in of_columns.values())
    assert Path("against.png").read_bytes().startswith(b"\x89PNG")


def test_classes_are_never_thousands_in_silence(run: Run) -> None:
    rng = np.random.default_rng(0)
    Path("prices.csv").write_text(
        "\n".join(
            ["a,price"]
            + [
                f"{x},{p}"
                for x, p in zip(rng.normal(size=1500), rng.permutation(90000), strict=False)
            ]
        )
    )
    assert (
        "regress: price holds 1,500 different whole numbers"
        in run("train", "prices.csv", "--target", "price", *QUICK, "1").stdout
    )
    Path("names.csv").write_text("\n".join(["a,y"] + [f"{k % 7},n{k}" for k in range(1500)]))
    check_one_line(
        run("train", "names.csv", "--target", "y", code=1), "1,500 different texts in 1,500 rows"
    )
    Path("few.csv").write_text("\n".join(["a,y"] + [f"{k % 7},n{k % 30}" for k in range(50)]))
    check_one_line(
        run("train", "few.csv", "--target", "y", code=1), "30 different texts in 50 rows"
    )
    check_one_line(
        run("train", "names.csv", "--target", "y", "--task", "regress", code=1),
        "must hold numbers; its first row",
    )


@pytest.mark.parametrize(
    ("labels", "task"),
    [
        ([0, 1] * 10, "classify"),
        (list(range(30)) * 30, "classify"),
        ([3, 7, 9] * 4, "classify"),
        (list(range(30)) * 3, "regress"),
        (list(range(1990, 2020)) * 30, "regress"),
        ([0.5, 1.0] * 5, "regress"),
        (["p", "q"] * 5, "classify"),
        ([3, 1, 4, 15, 9], "regress"),
    ],
)
def test_the_task_is_guessed(labels: list[Any], task: str) -> None:
    assert choose_task("d", "y", np.array(labels), None)[0] == task


def test_options_are_read_from_a_file(run: Run) -> None:
    Path('d, "1".csv').write_text(
        "\n".join(["a,b c,y"] + [f"{k % 5},{k * k % 7},{'pq'[k % 2]}" for k in range(40)])
    )
    options = (
        "--target",
        "y",
        "--hidden",
        "5",
        *QUICK,
        "3",
        "--class-weight",
        "p=2,q=1",
        "--features",
        "a,b c",
    )
    run("train", 'd, "1".csv', *options, "-o", "first")
    Path("run.toml").write_text(
        """data = 'd, "1".csv'\ntarget = "y"\nhidden = [5]\nmembers = 1\nepochs = 3
class-weight = { p = 2.0, q = 1.0 }
features = ["a", "b c"]\noutput = "a"\n"""
    )
    run("train", "--config", "run.toml")
    assert Path("a").read_bytes() == Path("first").read_bytes()
    run("train", "--config", "run.toml", "-o", "b", "--seed", "1")
    assert Path("b").read_bytes() != Path("first").read_bytes()
    Path("bad.toml").write_text("hiden = [3]\n")
    check_one_line(run("train", "iris", "--config", "bad.toml", code=2), "no option hiden")
    Path("bad.toml").write_text("class-weight = { setosa = 'x' }\n")
    check_one_line(
        run("train", "iris", "--config", "bad.toml", code=2),
        "class weights must be balanced, or label=weight",
    )
    Path("bad.toml").write_text("hidden = [3\n")
    check_one_line(
        run("train", "iris", "--config", "bad.toml", code=2), "must be a TOML file with options"
    )


def test_python_dash_m(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "xpnet", "--version"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=600,
    )
    assert done.stdout.startswith("xpnet, version")


def test_every_class_has_rows_to_train_on(run: Run) -> None:
    rows = [
        f"{k / 7},{k % 5},{'rare' if k == 90 else 'few' if k in (3, 5) else 'pq'[k % 2]}"
        for k in range(100)
    ]
    Path("d.csv").write_text("\n".join(["a,b,y", *rows]))
    for seed in range(4):
        run(
            "train",
            "d.csv",
            "--target",
            "y",
            *QUICK,
            "1",
            "--seed",
            str(seed),
            "-o",
            "m",
            "--metrics-json",
            "m.json",
        )
        assert xpnet.load("m").classes_.tolist() == ["few", "p", "q", "rare"]
        assert json.loads(Path("m.json").read_text())["scores"]["test"]["rows"] == 25


def test_more_classes_than_rows_to_measure_on(run: Run) -> None:
    rows = [f"{k / 7},c{k % 15}" for k in range(30)]
    Path("d.csv").write_text("\n".join(["a,y", *rows]))
    run(
        "train",
        "d.csv",
        "--target",
        "y",
        "--task",
        "classify",
        "--test-size",
        "0.1",
        *QUICK,
        "1",
        "-o",
        "m",
    )
    assert len(xpnet.load("m").classes_) == 15


def test_ctrl_c_ends_the_command(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(self: Any, training: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("xpnet.training.Progress.epoch_end", interrupted)
    result = run("train", "iris", *QUICK, "2", "-o", "m", code=130)
    assert (result.stdout, result.stderr.splitlines()[-1]) == ("", "Aborted!")
    assert not Path("m").exists()


def test_quality_chooses_the_networks(run: Run) -> None:
    run("train", "iris", "--quality", "1", "--epochs", "1", "-o", "m")
    model = xpnet.load("m")
    (network,) = model.networks_
    assert model.quality == 1
    assert network.spec.members == QUALITIES[1].members


def test_the_command_line_offers_all_qualities() -> None:
    options = {option.name: option for option in app.get_command(None, "train").params}
    offered = options["quality"].type
    assert list(range(offered.min, offered.max + 1)) == list(QUALITIES)


def test_quality_is_refused_for_a_model_that_is_not_tabular(run: Run) -> None:
    refused = run("train", "iris", "--quality", "1", "--model", "mlp", code=2)
    assert "--quality" in refused.stderr and "mlp" in refused.stderr
