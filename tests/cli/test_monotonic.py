"""``--monotonic``: columns with which no prediction falls."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers.command_line import Run, check_one_line

import xpnet

TRAIN = ("train", "d.csv", "--target", "price", "--quality", "1", "--epochs", "20")


@pytest.fixture(autouse=True)
def table(tmp_path: Path) -> pd.DataFrame:
    """Write ``d.csv``: two features, and a price that rises with one of them, with noise."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"area": rng.normal(size=240), "town": rng.choice(["x", "y"], 240)})
    table["price"] = np.tanh(table["area"]) + 0.7 * rng.normal(size=240)
    table.to_csv(tmp_path / "d.csv", index=False)
    return table


def test_no_prediction_falls(run: Run) -> None:
    run(*TRAIN, "--monotonic", "area=1", "-o", "m.st")
    model: Any = xpnet.load("m.st")
    grid = {"area": np.linspace(-4, 4, 2000), "town": np.full(2000, "x")}
    predictions = model.predict(grid)
    assert np.diff(predictions).min() >= -1e-6 and np.ptp(predictions) > 0.5


@pytest.mark.parametrize(
    ("columns", "said"),
    [("area=2", "'2' for 'area'"), ("town=1", "'town'"), ("aera=1", "area")],
)
def test_columns_that_cannot_be_monotonic_are_refused(run: Run, columns: str, said: str) -> None:
    code = 2 if columns == "area=2" else 1
    check_one_line(run(*TRAIN, "--monotonic", columns, code=code), said)
