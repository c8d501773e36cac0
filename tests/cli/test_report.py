"""What ``xpnet train`` and ``xpnet inspect`` report about a model."""

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas
import pytest
from helpers.command_line import Run, check_one_line

import xpnet
from xpnet.cli.plot import draw_losses
from xpnet.cli.report import describe_model
from xpnet.cli.scores import note_of_baseline

SMALL = ("--hidden", "4", "--members", "2", "--epochs", "2", "-q")


def table(rows: int, labels: list[str]) -> None:
    """Write d.csv, whose column ``same`` has one value and whose labels repeat."""
    lines = [f"{k * 7 % 11},{'red' if k % 3 else 'blue'},1,{labels[k]}" for k in range(rows)]
    Path("d.csv").write_text("\n".join(["size,colour,same,y", *lines]))


def test_train_and_inspect_count_the_same_parameters_and_networks(run: Run) -> None:
    table(80, ["p", "q"] * 40)
    shown = run("train", "d.csv", "--target", "y", *SMALL, "-o", "m", "--metrics-json", "j").stdout
    trained = json.loads(Path("j").read_text())["model"]
    inspected = json.loads(run("inspect", "--json", "m").stdout)
    tensors = {n: t for n, t in inspected["tensors"].items() if n[0].isdigit()}
    count = sum(int(np.prod(tensor["shape"])) for tensor in tensors.values())
    assert inspected["networks"] == trained["networks"] == len({n[0] for n in tensors}) > 1
    assert inspected["parameters"] == trained["parameters"] == count
    assert f"{count:,} parameters in {trained['networks']} networks" in shown
    facts = run("inspect", "m").stdout
    assert re.search(rf"^networks +{trained['networks']}$", facts, re.MULTILINE)
    assert re.search(rf"^parameters +{count:,}$", facts, re.MULTILINE)


@pytest.mark.slow
def test_parameters_are_counted_where_arrays_have_no_number_of_elements() -> None:
    """The attribute ``size`` of PyTorch's tensors is a method."""
    torch = pytest.importorskip("torch", reason="the model's arrays are PyTorch's")
    network = xpnet.LogisticRegression(2, 2)
    network.fit(torch.eye(2), torch.tensor([0, 1]), epochs=1)
    model = SimpleNamespace(networks_=[network, network], best_epochs_=[1, 1])
    assert describe_model(model, "linear")["model"]["parameters"] == 12


def test_inspect_answers_what_a_person_asks(run: Run) -> None:
    labels = ["p", "q"] * 40
    lines = [
        f"{k * 7 % 11},{'red' if k % 3 else 'blue'},2024-01-{1 + k % 28:02d},{labels[k]}"
        for k in range(80)
    ]
    Path("d.csv").write_text("\n".join(["size,colour,day,y", *lines]))
    run("train", "d.csv", "--target", "y", *SMALL, "-o", "m", "--metrics-json", "j")
    report = json.loads(Path("j").read_text())
    facts = run("inspect", "m").stdout
    assert report["model"]["validation_loss"] == xpnet.load("m").validation_loss_
    for name, value in {
        "kind": "TabularClassifier",
        "target": "y",
        "classes": "p, q",
        "columns": r"size \(number\), colour \(2 categories\), day \(date\)",
        "trained on": "60 rows of d.csv",
        "validation loss": f"{report['model']['validation_loss']:,.4g}",
        "test scores": f"accuracy {report['scores']['test']['accuracy']:.4g}, .*, of 20 rows",
        "quality": "3",
        "bytes": f"{Path('m').stat().st_size:,}",
        "written by": "xpnet .*",
        "predict": "xpnet predict m DATA",
    }.items():
        assert re.search(rf"^{name} +{value}$", facts, re.MULTILINE), name
    assert "W1" not in facts
    assert re.search("^0/W1 +float32", run("inspect", "m", "--tensors").stdout, re.MULTILINE)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_inspect_knows_the_training_of_an_estimator_saved_in_python(run: Run) -> None:
    frame = pandas.DataFrame({"size": np.arange(80) % 7.0, "kind": list("abcd") * 20})
    classifier = xpnet.TabularClassifier(quality=1, max_iter=3, random_state=0)
    classifier.fit(frame, ["p", "q"] * 40).save("table")
    (kept,) = classifier.best_epochs_
    network = xpnet.MLPRegressor(
        "squared_error", (3,), max_iter=4, early_stopping=True, random_state=0
    )
    network.fit(frame[["size"]], frame["size"]).save("network")
    expected = {
        "table": {
            "trained on": "80 rows",
            "validation loss": f"{classifier.validation_loss_:,.4g}",
            "epochs": f"{classifier.n_iter_}; kept {kept}",
        },
        "network": {
            "trained on": "72 rows",
            "training loss": f"{network.loss_:,.4g}",
            "validation loss": f"{network.validation_loss_curve_[-1]:,.4g}",
            "validation score": f"{network.best_validation_score_:,.4g}",
            "epochs": "4",
        },
    }
    for file, facts in expected.items():
        shown = run("inspect", file).stdout
        for name, value in facts.items():
            assert re.search(rf"^{name} +{re.escape(value)}$", shown, re.MULTILINE), (name, shown)
    xpnet.load("table").save("again")
    assert Path("again").read_bytes() == Path("table").read_bytes()


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_inspect_names_no_rows_that_several_fits_have_seen_together(run: Run) -> None:
    rows = np.arange(80).reshape(-1, 1) % 7.0
    classes = np.arange(80) % 2
    continued = xpnet.MLPClassifier((3,), max_iter=4, warm_start=True, random_state=0)
    continued.fit(rows, classes).save("once")
    continued.fit(rows, classes).save("twice")
    parts = xpnet.MLPClassifier((3,), random_state=0)
    for count in (80, 40, 30):
        parts.partial_fit(rows[:count], classes[:count], classes=[0, 1])
    parts.save("parts")
    shown = {file: run("inspect", file).stdout for file in ("once", "twice", "parts")}
    assert re.search("^trained on +80 rows$", shown["once"], re.MULTILINE)
    assert "trained on" not in shown["twice"] + shown["parts"]


def test_columns_that_are_not_used_are_no_features(run: Run) -> None:
    table(80, ["p", "q"] * 40)
    run("train", "d.csv", "--target", "y", "--id", "colour", *SMALL, "-o", "m")
    inspected = json.loads(run("inspect", "--json", "m").stdout)
    assert inspected["features"] == ["size"]
    assert list(inspected["left_out"]) == ["same"]
    facts = run("inspect", "m").stdout
    assert re.search("^left out +same: ", facts, re.MULTILINE)
    assert re.search("^target +y$", facts, re.MULTILINE)
    assert re.search("^ids +colour$", facts, re.MULTILINE)


def test_a_column_that_is_left_out_is_told_in_the_words_of_the_command_line(run: Run) -> None:
    lines = [f"{k % 7},word {k} of {k * k},{'pq'[k % 2]}" for k in range(80)]
    Path("d.csv").write_text("\n".join(["size,note,y", *lines]))
    trained = run("train", "d.csv", "--target", "y", *SMALL[:-1], "-o", "m")
    for shown in (trained.stderr, trained.stdout, run("inspect", "m").stdout):
        assert "note" in shown
        assert "--text-features on" in shown
        assert "text_features" not in shown


@pytest.mark.parametrize("loss", ["poisson", "huber", "squared_error"])
def test_a_loss_of_numbers_predicts_numbers(run: Run, loss: str) -> None:
    table(80, [str(k % 4) for k in range(80)])
    assert "classify" in run("train", "d.csv", "--target", "y", *SMALL).stdout
    shown = run("train", "d.csv", "--target", "y", *SMALL, "--loss", loss).stdout
    assert re.search(f"^task +regress: --loss {loss}", shown, re.MULTILINE)
    command = ("train", "d.csv", "--target", "y", *SMALL, "--loss", loss, "--task", "classify")
    check_one_line(run(*command, code=2), "--loss must go with numbers")


def test_a_loss_of_numbers_with_text(run: Run) -> None:
    table(80, ["p", "q"] * 40)
    command = ("train", "d.csv", "--target", "y", *SMALL, "--loss", "poisson")
    check_one_line(run(*command, code=1), "column 'y' must hold numbers")


def test_a_rare_class_gets_a_hint(run: Run) -> None:
    table(200, ["yes" if k % 50 == 7 else "no" for k in range(200)])
    command = ("train", "d.csv", "--target", "y", *SMALL)
    shown = run(*command).stdout
    assert re.search("^note +yes has 2.00% of the rows.*--class-weight", shown, re.MULTILINE)
    assert "F1 of yes" in shown
    for option in (("--class-weight", "balanced"), ("--threshold", "f1")):
        assert "--class-weight" not in run(*command, *option).stdout
    table(200, ["yes" if k % 8 == 7 else "no" for k in range(200)])
    assert re.search(r"^note +yes has 1\d.* --threshold f1", run(*command).stdout, re.MULTILINE)
    table(200, ["p", "q"] * 100)
    shown = run(*command).stdout
    assert "--class-weight" not in shown
    assert "F1 of q" in shown


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The figures that are drawn from now on."""
    figure_module = pytest.importorskip("matplotlib.figure", reason="the extra 'plot' has it")
    figures: list[Any] = []
    create = figure_module.Figure

    def keep(*arguments: object, **options: object) -> object:
        figures.append(create(*arguments, **options))
        return figures[-1]

    monkeypatch.setattr(figure_module, "Figure", keep)
    return figures


def test_losses_below_zero_of_one_network_without_validation_rows(
    figures: list[Any], tmp_path: Path
) -> None:
    history = {"loss": [0.5, -0.25, -0.75], "validation_loss": []}
    draw_losses(tmp_path / "loss.svg", [history], "d.csv", "poisson")
    (axes,) = figures[0].axes
    (line,) = axes.lines
    np.testing.assert_array_equal(line.get_xydata(), [[1, 0.5], [2, -0.25], [3, -0.75]])
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["training"]
    assert axes.get_yscale() == "linear"
    assert axes.get_ylabel() == "poisson per row"


def test_the_plot_of_losses_shows_all_networks_and_its_labels_do_not_overlap(
    figures: list[Any], tmp_path: Path
) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    history = {"loss": [0.71, 0.5, 0.38], "validation_loss": [0.7, 0.52, 0.4]}
    draw_losses(tmp_path / "loss.png", [history] * 3, "d.csv", "softmax_cross_entropy")
    FigureCanvasAgg(figures[0]).draw()  # in the resolution that extents are measured in
    (axes,) = figures[0].axes
    names = [text.get_text() for text in axes.get_legend().get_texts()]
    assert names[:2] == ["network 1, training", "network 1, validation"]
    assert len(axes.lines) == len(names) == 6
    assert axes.get_xlabel() == "epoch"
    assert axes.get_ylabel() == "cross-entropy (nats per row)"
    label = axes.yaxis.label.get_window_extent()
    ticks = [*axes.yaxis.get_majorticklabels(), *axes.yaxis.get_minorticklabels()]
    shown = [tick.get_window_extent() for tick in ticks if tick.get_text()]
    assert shown
    assert not any(label.overlaps(extent) for extent in shown)
    assert label.x0 >= 0


@pytest.mark.parametrize("task", ["classify", "regress"])
@pytest.mark.parametrize("is_noise", [True, False])
def test_a_model_that_is_no_better_than_the_baseline_says_so(
    run: Run, task: str, is_noise: bool
) -> None:
    """A training of one epoch at a high learning rate predicts other labels than those of noise."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=400)
    y = rng.permutation(x) if is_noise else x
    pandas.DataFrame({"x": x, "y": y > 0 if task == "classify" else y}).to_csv("d.csv", index=False)
    options = ("--task", task, "--lr", "0.3", "--epochs", "20", "--validation-size", "0", "-q")
    options = options if is_noise else ("--task", task, "-q")
    shown = run("train", "d.csv", "--target", "y", *options, "--metrics-json", "j").stdout
    report = json.loads(Path("j").read_text())
    name = "log_loss" if task == "classify" else "rmse"
    test, baseline = (report["scores"][rows][name] for rows in ("test", "baseline"))
    assert (test >= baseline) == is_noise
    assert ("no better than predicting" in shown) == is_noise
    assert bool(report["comparison"]) == is_noise
    if is_noise:
        assert f"{test:.4f} against {baseline:.4f}" in report["comparison"]
        assert report["comparison"] in shown


@pytest.mark.parametrize(("loss", "is_better"), [(0.69164, False), (0.69154, True), (0.7, False)])
def test_the_decimals_that_the_table_shows_are_compared(loss: float, is_better: bool) -> None:
    baseline = {"log_loss": 0.69165, "accuracy": 0.5}
    scores = {"test": {"log_loss": loss, "accuracy": 0.5}, "baseline": baseline}
    assert bool(note_of_baseline(scores, "softmax_cross_entropy")) != is_better


def test_inspect_refuses_a_file_with_altered_weights(run: Run) -> None:
    """Its header is intact, so that it can be described."""
    xpnet.FeedforwardNeuralNet(2, 3, 2, backend="numpy").save("m")
    content = Path("m").read_bytes()
    run("inspect", "m")
    Path("m").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    for options in ((), ("--json",), ("--tensors",)):
        check_one_line(
            run("inspect", "m", *options, code=1), "the checksum of its tensors does not hold"
        )
    Path("m").write_bytes(content[:-1])
    check_one_line(run("inspect", "m", code=1), "it is cut short or has grown")
