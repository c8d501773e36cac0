"""``--exposure`` and ``--offset``: training, scores, predictions and intervals with rates."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers.command_line import Run, check_one_line
from sklearn.metrics import mean_absolute_error

import xpnet

ROWS = 240
TRAIN = ("train", "d.csv", "--target", "claims", "--loss", "poisson", "--test", "d.csv")
QUICK = ("--quality", "1", "--epochs", "8", "--metrics-json", "m.json", "-o", "m.st")


@pytest.fixture(autouse=True)
def table(tmp_path: Path) -> pd.DataFrame:
    """Write ``d.csv``: two features, years insured, their logarithm, a weight, and claims."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "age": rng.uniform(18, 80, ROWS).round(1),
            "fuel": rng.choice(["petrol", "diesel"], ROWS),
            "years": rng.uniform(0.2, 5.0, ROWS).round(3),
            "w": rng.integers(1, 3, ROWS),
        }
    )
    table["log"] = np.log(table["years"])
    table["claims"] = rng.poisson(table["years"] * np.where(table["age"] < 30, 2.0, 0.5))
    table.to_csv(tmp_path / "d.csv", index=False)
    return table


@pytest.fixture(params=[1e9, 100], ids=["in memory", "block by block"])
def size(request: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take tables for small, then for large."""
    monkeypatch.setattr("xpnet.data.table_size.LARGE_TABLE_BYTES", request.param)
    monkeypatch.setattr("xpnet.tabular.rows.large_tables.SAMPLE_ROWS", 40)


@pytest.mark.usefixtures("size")
@pytest.mark.parametrize("option", ["--exposure", "--offset"])
def test_rates_are_learned_and_measured(run: Run, table: pd.DataFrame, option: str) -> None:
    column, other = ("years", "log") if option == "--exposure" else ("log", "years")
    shown = run(*TRAIN, option, column, "--drop", other, "--weight", "w", *QUICK).stdout
    assert f"{column} has the {option[2:]}s of the rows, and is no feature" in shown
    model: Any = xpnet.load("m.st")
    assert model.feature_names_in_.tolist() == ["age", "fuel"]
    means = model.predict(table, exposure=table["years"])
    expected = mean_absolute_error(table["claims"], means, sample_weight=table["w"])
    scores = json.loads(Path("m.json").read_text())["scores"]
    assert scores["training"]["mae"] == pytest.approx(expected, rel=1e-5)
    assert scores["test"]["mae"] == pytest.approx(expected, rel=1e-5)
    weighted = table["w"] * table[["claims", "years"]].T
    rate = weighted.loc["claims"].sum() / weighted.loc["years"].sum()
    of_constant = mean_absolute_error(
        table["claims"], rate * table["years"], sample_weight=table["w"]
    )
    assert scores["baseline"]["mae"] == pytest.approx(of_constant, rel=1e-5)
    evaluated = json.loads(run("evaluate", "m.st", "d.csv", "--weight", "w", "--json").stdout)
    assert evaluated["mae"] == pytest.approx(expected, rel=1e-5)  # by the column of the training


def test_the_command_trains_what_fit_trains(run: Run, table: pd.DataFrame) -> None:
    run(*TRAIN, "--exposure", "years", "--features", "age,fuel", *QUICK)
    opened: Any = xpnet.load("m.st")
    model = xpnet.TabularRegressor(
        loss="poisson", quality=1, max_iter=8, random_state=0, validation_fraction=0.125
    )
    model.fit(table[["age", "fuel"]], table["claims"], exposure=table["years"])
    np.testing.assert_allclose(opened.predict(table), model.predict(table), rtol=1e-6)
    np.testing.assert_allclose(opened.residuals_, model.residuals_, rtol=1e-4, atol=1e-6)


def test_predictions_are_rates_or_means(run: Run, table: pd.DataFrame) -> None:
    run(*TRAIN, "--exposure", "years", "--drop", "log", *QUICK)
    model: Any = xpnet.load("m.st")
    run("predict", "m.st", "d.csv", "-o", "rates.csv")
    run("predict", "m.st", "d.csv", "--exposure", "years", "--interval", "0.8", "-o", "means.csv")
    rates, means = pd.read_csv("rates.csv"), pd.read_csv("means.csv")
    np.testing.assert_allclose(rates["prediction"], model.predict(table), rtol=1e-6)
    np.testing.assert_allclose(means["prediction"], rates["prediction"] * table["years"], rtol=1e-6)
    ends = model.predict_interval(table, 0.8, exposure=table["years"])
    np.testing.assert_allclose(means[["low", "high"]], ends, rtol=1e-6)
    run("predict", "m.st", "d.csv", "--offset", "log", "-o", "same.csv")
    np.testing.assert_allclose(
        pd.read_csv("same.csv")["prediction"], means["prediction"], rtol=1e-6
    )


REFUSED = [
    (("--exposure", "zero"), 1, "'zero' holds 0 in row 3. Correct"),
    (("--exposure", "fuel"), 1, "'fuel' holds"),
    (("--offset", "large"), 1, "--offset must name a column of numbers from -80 to 80"),
    (("--exposure", "claims"), 2, "--exposure and --offset; got claims twice"),
    (("--exposure", "years", "--loss", "huber"), 2, "poisson, gamma or tweedie; got --loss huber"),
]


@pytest.mark.parametrize(("options", "code", "message"), REFUSED)
def test_refused(
    run: Run, table: pd.DataFrame, options: tuple[str, ...], code: int, message: str
) -> None:
    zero = table["years"].where(table.index != 1, 0.0)
    table.assign(zero=zero, large=100.0).to_csv("d.csv", index=False)
    result = run(*TRAIN, *options, *QUICK, code=code)
    assert message in result.stderr.splitlines()[-1]


@pytest.mark.parametrize("value", [0.0, -2.5, np.nan])
def test_an_exposure_that_is_not_above_0_is_refused_before_anything_is_written(
    run: Run, table: pd.DataFrame, value: float
) -> None:
    run(*TRAIN, "--exposure", "years", "--drop", "log", *QUICK)
    table["years"] = table["years"].where(table.index != 200, value)
    table.to_csv("d.csv", index=False)
    for output in ((), ("-o", "p.csv")):
        result = run("predict", "m.st", "d.csv", "--exposure", "years", *output, code=1)
        message = f"'years' holds {value:g} in row 202. Correct it, or leave the row out."
        check_one_line(result, message)
        assert not result.stdout
    assert not Path("p.csv").exists()


def test_a_model_without_rates_takes_no_exposures(run: Run) -> None:
    run("train", "d.csv", "--target", "claims", "--task", "regress", *QUICK)
    for command in ("predict", "evaluate"):
        result = run(command, "m.st", "d.csv", "--exposure", "years", code=2)
        assert "this one has another loss" in result.stderr.splitlines()[-1]
    check_one_line(run(*TRAIN[:4], "--exposure", "years", code=2), "got none")
