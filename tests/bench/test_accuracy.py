"""The suite of accuracy: what it trains on, how it judges, and what its report says."""

import json
from pathlib import Path

import numpy
import pytest
from click.testing import CliRunner
from sklearn.metrics import log_loss
from xpnet_bench.accuracy import write_accuracy_report
from xpnet_bench.accuracy.contenders import installed
from xpnet_bench.accuracy.run import errors, measure_errors
from xpnet_bench.accuracy.tables import available, split_of
from xpnet_bench.cli import bench


def test_splits_are_disjoint_and_repeatable() -> None:
    first, again, other = (split_of("diabetes", seed) for seed in (0, 0, 1))
    assert len(first.y) + len(first.y_test) == 442
    numpy.testing.assert_array_equal(first.y, again.y)
    assert not numpy.array_equal(first.y, other.y)
    assert len(available()) >= 3
    assert {"xpnet", "linear", "HistGradientBoosting"} <= set(installed())


def test_errors_are_those_of_scikit_learn() -> None:
    split = split_of("digits", 0)
    outputs = numpy.random.default_rng(0).dirichlet(numpy.ones(10), len(split.y_test))
    wrong, loss = errors(split, outputs)
    assert loss == pytest.approx(log_loss(split.y_test, outputs))
    assert wrong == pytest.approx(numpy.mean(outputs.argmax(1) != split.y_test))


@pytest.mark.parametrize("name", ["linear", "HistGradientBoosting"])
def test_contenders_learn(name: str) -> None:
    score = measure_errors(name, split_of("cancer", 0), 0)
    assert score["error"] < 0.1 and score["loss"] < 0.3 and score["cpu_seconds"] > 0


def test_the_report_says_where_xpnet_is_behind(tmp_path: Path) -> None:
    scores = [
        {
            "table": table,
            "seed": seed,
            "contender": name,
            "task": "regression",
            "error": error,
            "loss": error,
            "cpu_seconds": 1.0,
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
    assert "| xpnet | 1.012 |" in page  # (2.00 2.01 2.02 0.50 0.51 0.52) ^ (1 / 6)
    assert "<svg" in (tmp_path / "tables.svg").read_text()


def test_a_quick_run_from_the_shell_ends_in_a_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xpnet_bench.accuracy.run.TABLES_QUICK", ("diabetes",))
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
