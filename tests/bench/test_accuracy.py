"""The suite of accuracy: what it trains on, how it judges, and what its report says."""

import json
from pathlib import Path

import numpy
import pandas
import pytest
from click.testing import CliRunner
from xpnet_bench.accuracy import costs, write_accuracy_report
from xpnet_bench.accuracy.contenders import (
    CONTENDERS,
    Categories,
    imputed,
    installed,
    one_hot,
    text_prepared,
)
from xpnet_bench.accuracy.report import geometric_means
from xpnet_bench.accuracy.run import errors, measure_errors
from xpnet_bench.accuracy.tables import MIN_ROWS_OF_A_CLASS, TABLES, available, split_of
from xpnet_bench.cli import bench


def test_splits_are_disjoint_and_repeatable() -> None:
    first, again, other = (split_of("diabetes", seed) for seed in (0, 0, 1))
    assert len(first.y) + len(first.y_test) == 442
    numpy.testing.assert_array_equal(first.y, again.y)
    assert not numpy.array_equal(first.y, other.y)
    assert len(available()) >= 3
    assert {"xpnet", "xpnet quality 1", "linear", "HistGradientBoosting"} <= set(installed())


def test_tables_are_read_as_described() -> None:
    for name in set(available()) & {"storms", "birds", "loans", "cars"}:
        table, split = TABLES[name], split_of(name, 0)
        assert table.role == ("quoted" if name == "birds" else "choosing")
        assert not {table.target, "rownames", *table.without} & set(split.X)
        assert len(split.X) == len(split.y) and len(split.X_test) == len(split.y_test)
        if table.task == "classification":
            counts = numpy.bincount(split.y) + numpy.bincount(split.y_test)
            assert counts.min() >= MIN_ROWS_OF_A_CLASS
            assert set(split.y) == set(split.y_test) == set(range(len(counts)))


def test_errors_are_shares_log_losses_and_root_mean_squares() -> None:
    split = split_of("digits", 0)
    rows = numpy.arange(len(split.y_test))
    outputs = numpy.random.default_rng(0).dirichlet(numpy.ones(10), len(rows))
    wrong, loss = errors(split, outputs)
    assert loss == pytest.approx(-numpy.log(outputs[rows, split.y_test]).mean(), rel=1e-4)
    assert wrong == pytest.approx(numpy.mean(outputs.argmax(1) != split.y_test))
    numbers = split_of("diabetes", 0)
    assert errors(numbers, numbers.y_test + 3.0) == pytest.approx((3.0, 3.0))


def test_a_contender_takes_part_in_its_tables_and_splits() -> None:
    assert CONTENDERS["xpnet"].takes_part("ames", 4)
    assert CONTENDERS["TabM"].takes_part("ames", 0) and not CONTENDERS["TabM"].takes_part("ames", 1)
    assert not CONTENDERS["RealMLP"].takes_part("ames", 0)
    assert CONTENDERS["RealMLP"].takes_part("cars", 0)


def test_text_is_prepared_for_each_contender() -> None:
    frame = pandas.DataFrame({"number": [1.0, numpy.nan, 3.0], "word": ["a", None, "b"]})
    new = pandas.DataFrame({"number": [2.0], "word": ["c"]})
    categories = Categories().fit(frame)
    assert list(categories.transform(frame)["word"].cat.codes) == [0, -1, 1]
    assert list(categories.transform(new)["word"].cat.codes) == [-1]
    assert list(text_prepared().fit_transform(frame)["word"]) == ["a", "", "b"]
    filled = imputed().fit(frame)
    assert filled.transform(frame)["number"].tolist() == [1.0, 2.0, 3.0]
    assert filled.transform(new)["word"].tolist() == ["c"]
    assert one_hot().fit(frame).transform(new).shape[0] == 1


@pytest.mark.parametrize("name", ["linear", "HistGradientBoosting"])
def test_contenders_learn(name: str) -> None:
    score = measure_errors(name, split_of("cancer", 0), 0)
    assert score["error"] < 0.1 and score["loss"] < 0.3
    assert score["cpu_seconds"] >= 0 and score["predict_cpu_seconds"] >= 0


def test_the_report_says_where_xpnet_is_behind(tmp_path: Path) -> None:
    scores = [
        {
            "table": table,
            "seed": seed,
            "contender": name,
            "task": "regression",
            "role": "quoted" if table == "easy" else "choosing",
            "rows": 300,
            "error": error,
            "loss": error,
            "cpu_seconds": 1.0,
            "predict_cpu_seconds": 0.5,
        }
        for table, ours in (("hard", 2.0), ("easy", 0.5))
        for seed in range(3)
        for name, error in (("xpnet", ours + 0.01 * seed), ("HistGradientBoosting", 1.0))
    ]
    machine = {"processor": "a processor", "versions": {"xpnet": "0"}}
    (tmp_path / "tables.json").write_text(json.dumps({"scores": scores, "machine": machine}))
    page = write_accuracy_report(tmp_path / "tables.json", tmp_path).read_text()
    assert "\nhard: its error is 2.01 times that of HistGradientBoosting." in page
    assert "easy:" not in page
    assert "| xpnet | 0.510 | 3 | 0.510 | 1.000 | 1.000 | – |" in page  # (0.50 0.51 0.52) ^ (1 / 3)
    assert "| xpnet | 2.010 | 3 |" in page  # (2.00 2.01 2.02) ^ (1 / 3)
    quoted, choosing = page.index("| xpnet | 0.510"), page.index("| xpnet | 2.010")
    assert quoted < choosing
    assert "<svg" in (tmp_path / "tables.svg").read_text()


def test_no_error_on_few_rows_counts_as_half_a_row() -> None:
    """300 training rows are three quarters of a table, 100 measure: half a row of them is 0.005."""
    row = {"table": "few", "seed": 0, "task": "classification", "rows": 300, "loss": 0.1}
    times = {"cpu_seconds": 1.0, "predict_cpu_seconds": 1.0}
    errors_of = {"xpnet": 0.0, "HistGradientBoosting": 0.02}
    scores = [
        {**row, **times, "contender": name, "error": error} for name, error in errors_of.items()
    ]
    means = geometric_means(pandas.DataFrame(scores))
    assert means.loc["xpnet", "error"] == pytest.approx(0.005 / 0.02)


@pytest.mark.slow
def test_a_quick_run_from_the_shell_ends_in_a_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for tables in ("TABLES_QUICK", "WARM_TABLES"):
        monkeypatch.setattr(f"xpnet_bench.accuracy.run.{tables}", ("diabetes",))
    arguments = [
        "--suite",
        "tables",
        "--quick",
        "--peer",
        "linear",
        "--peer",
        "HistGradientBoosting",
        "-o",
        str(tmp_path),
    ]
    result = CliRunner().invoke(bench, arguments)
    assert result.exit_code == 0, result.output
    assert "| linear |" in (tmp_path / "tables.md").read_text()


def test_costs_are_measured_once_and_have_a_section(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(costs, "ROWS", (40, 80))
    monkeypatch.setattr(costs, "MAX_ROWS", {1: 80, 3: 40})
    seconds = iter(range(1, 100))
    measured: list[costs.Fit] = []

    def cpu_seconds_of(fit: costs.Fit) -> float:
        measured.append(fit)
        return float(next(seconds))

    monkeypatch.setattr(costs, "cpu_seconds_of", cpu_seconds_of)
    path = costs.run_costs(tmp_path, quick=True)
    kinds = [(fit.rows, fit.quality, fit.task[0]) for fit in measured[2:]]  # two warm up
    assert kinds == [
        *[(40, 1, "c"), (40, 1, "r"), (40, 3, "c"), (40, 3, "r")],
        *[(80, 1, "c"), (80, 1, "r")],
    ]
    costs.run_costs(tmp_path, quick=True)
    assert len(measured) == 2 + 6 + 2
    row = {"table": "few", "seed": 0, "task": "classification", "rows": 300, "loss": 0.1}
    score = {**row, "cpu_seconds": 1.0, "contender": "HistGradientBoosting", "error": 0.1}
    scores = [score, {**score, "contender": "xpnet"}]
    document = {**json.loads(path.read_text()), "scores": scores}
    (tmp_path / "tables.json").write_text(json.dumps(document))
    page = write_accuracy_report(tmp_path / "tables.json", tmp_path).read_text()
    assert "| 80 x 30 | 1 | regression | 8 | 1e+02 |" in page  # 8 s for 80 rows
    assert "<svg" in (tmp_path / "costs.svg").read_text()


def test_made_up_tables_have_the_columns_that_the_page_names() -> None:
    frame = costs.made_up_table(500, costs.COLUMNS)
    categories = frame.select_dtypes("category")
    assert (frame.shape, categories.shape[1]) == ((500, 30), 10)
    classes = costs.made_up_target(frame, "classification")
    numbers = costs.made_up_target(frame, "regression")
    numpy.testing.assert_array_equal(classes, numbers > 0)
    assert costs.made_up_table(5, 40).shape == (5, 40)
