"""`xpnet train` and Python fit the same model to the bit, from a file and from a frame of it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pandas
import polars
import pyarrow
import pytest
from helpers.command_line import Run
from pyarrow import csv, parquet

import xpnet

ROWS = 260
SMALL: dict[str, Any] = {"max_iter": 3, "hidden_layer_sizes": (6,), "members": 2, "n_jobs": 1}
"""Parameters of the estimators; the options that mean them follow."""
OPTIONS = ("--epochs", "3", "--hidden", "6", "--members", "2", "--quality", "3")


def table() -> pandas.DataFrame:
    """Return numbers, categories, dates, text with gaps, groups, times, weights and targets."""
    rng = numpy.random.default_rng(0)
    size = rng.normal(size=ROWS)
    colour = rng.choice(["red", "green", "blue"], ROWS).astype(object)
    colour[::17] = None
    size_with_gaps = numpy.where(numpy.arange(ROWS) % 11 == 3, numpy.nan, size)
    days = numpy.datetime64("2024-03-01") + rng.integers(0, 90, ROWS)
    return pandas.DataFrame(
        {
            "size": size_with_gaps,
            "colour": colour,
            "built": [str(day) for day in days],
            "count": rng.integers(0, 40, ROWS),
            "shop": [f"shop {k}" for k in rng.integers(0, 20, ROWS)],
            "day": rng.integers(0, 60, ROWS),
            "weight": rng.integers(1, 4, ROWS).astype(float),
            "label": numpy.where(size + (colour == "red") > 0, "yes", "no"),
            "price": 3 * size + (colour == "red") + 0.01,
        }
    )


LIBRARIES: dict[str, Callable[[pandas.DataFrame], Any]] = {
    "pandas": lambda frame: frame,
    "polars": polars.from_pandas,
    "pyarrow": lambda frame: pyarrow.Table.from_pandas(frame, preserve_index=False),
}
"""Functions that make a frame of a library from one of pandas."""

CASES = {
    "classes": ("label", {}),
    "numbers": ("price", {}),
    "groups": ("label", {"groups": "shop"}),
    "groups of numbers": ("label", {"groups": "count"}),
    "times": ("price", {"time": "day"}),
    "weights": ("label", {"weight": "weight"}),
    "weighted numbers": ("price", {"weight": "weight"}),
}
"""The target, and the columns with another part than that of a feature."""


def trained_by_python(target: str, columns: dict[str, str], library: str) -> Any:
    """Return an estimator fitted on a frame of a library."""
    frame = table()
    no_features = {"label", "price", *columns.values()} - {columns.get("time")}
    X = LIBRARIES[library](frame.drop(columns=sorted(no_features - {None})))
    rows: dict[str, Any] = {}
    if "weight" in columns:
        rows["sample_weight"] = frame[columns["weight"]].to_numpy()
    if "groups" in columns:
        rows["groups"] = frame[columns["groups"]].to_numpy()
    if "time" in columns:
        rows["time"] = columns["time"]
    kind = xpnet.TabularClassifier if target == "label" else xpnet.TabularRegressor
    return kind(**SMALL, random_state=0).fit(X, numpy.array(frame[target].tolist()), **rows)


def trained_by_command(run: Run, target: str, columns: dict[str, str], ending: str) -> Any:
    """Return the model that `xpnet train` writes for a file with the same rows."""
    data = pyarrow.Table.from_pandas(table(), preserve_index=False)
    if ending == "csv":
        csv.write_csv(data, "rows.csv")
    else:
        parquet.write_table(data, "rows.parquet", row_group_size=37)
    parts = [part for name, column in columns.items() for part in (f"--{name}", column)]
    other = "price" if target == "label" else "label"
    run(
        *("train", f"rows.{ending}", "--target", target, "--drop", other, *parts, *OPTIONS),
        *("--test", f"rows.{ending}", "-o", "model.safetensors", "--metrics-json", "metrics.json"),
    )
    return xpnet.load("model.safetensors")


SIZES = {
    "small": (2**26, 2**25),
    "encoded once": (1000, 2**25),
    "encoded for each epoch": (1000, 1000),
}
"""The bytes from which a table is large, and the numbers of it that are encoded at once."""


@pytest.fixture(params=SIZES)
def size(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Take the table for small or for large; blocks and chunks are small, too."""
    large, encoded = SIZES[request.param]
    monkeypatch.setattr("xpnet.data.table_size.LARGE_TABLE_BYTES", large)
    for name, value in {
        "MAX_ENCODED": encoded,
        "SAMPLE_ROWS": 150,
        "BLOCK_ROWS": 50,
        "MIN_CHUNK_ROWS": 20,
        "MAX_CHUNK_ROWS": 20,
    }.items():
        monkeypatch.setattr(f"xpnet.tabular.rows.large_tables.{name}", value)
    return str(request.param)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(
    ("ending", "library"), [("csv", "pandas"), ("csv", "polars"), ("parquet", "pyarrow")]
)
def test_python_and_the_command_fit_the_same_model(
    run: Run, case: str, ending: str, library: str, size: str
) -> None:
    target, columns = CASES[case]
    by_command = trained_by_command(run, target, columns, ending)
    by_python = trained_by_python(target, columns, library)
    notes = json.dumps(json.loads(Path("metrics.json").read_text())["data"]["notes"])
    assert ("at even distances" in notes) == (size != "small")
    assert ("read again for each epoch" in notes) == (size == "encoded for each epoch")
    assert len(by_command.networks_) == len(by_python.networks_) == 2
    for one, other in zip(by_command.networks_, by_python.networks_, strict=True):
        for name, values in other.params.items():
            numpy.testing.assert_array_equal(one.params[name], values, err_msg=name)
    assert by_command.best_epochs_ == by_python.best_epochs_
    by_command.extra = by_python.extra = {}  # the command adds the name of the target
    # The command asks for the importances, which files hold then.
    importances = [getattr(one, "feature_importances_", None) for one in (by_command, by_python)]
    numpy.testing.assert_array_equal(*importances)
    by_command.save("command.safetensors")
    by_python.save("python.safetensors")
    written = [Path(f"{name}.safetensors").read_bytes() for name in ("command", "python")]
    assert written[0] == written[1]
    X = table()
    numpy.testing.assert_array_equal(by_command.predict(X), by_python.predict(X))


MODELS: dict[str, dict[str, Any]] = {
    "mlp": {"hidden_layer_sizes": (100,), "learning_rate_init": 0.002},
    "linear": {"hidden_layer_sizes": (), "learning_rate_init": 0.02},
}
"""The parameters in which the models of one network differ."""


@pytest.mark.parametrize("target", ["label", "price"])
@pytest.mark.parametrize("model", MODELS)
def test_a_model_of_one_network_is_an_estimator_with_other_parameters(
    run: Run, model: str, target: str
) -> None:
    frame = table()
    frame.to_csv("rows.csv", index=False)
    run(
        *("train", "rows.csv", "--target", target, "--test", "rows.csv", "--model", model),
        *("--epochs", "9", "-o", "model.safetensors"),
    )
    kind = xpnet.TabularClassifier if target == "label" else xpnet.TabularRegressor
    encoder = xpnet.TableEncoder(scaling="standard", bins=None)
    by_python = kind(
        **MODELS[model],
        **{"members": 1, "networks": 1, "encoder": encoder, "dropout": 0.0},
        **{"weight_decay": 0.0003, "max_iter": 9, "n_iter_no_change": 10},
        **{"random_state": 0, "n_jobs": 1},
    )
    by_python.fit(frame.drop(columns=target), numpy.array(frame[target].tolist()))
    by_command = xpnet.load("model.safetensors")
    by_command.extra = by_python.extra = {}
    assert by_command.feature_importances_.shape == by_python.feature_importances_.shape
    by_command.save("command.safetensors")
    by_python.save("python.safetensors")
    assert Path("command.safetensors").read_bytes() == Path("python.safetensors").read_bytes()


def test_quality_and_seed_mean_the_same_in_both(run: Run, tmp_path: Path) -> None:
    frame = table()
    frame.to_csv("rows.csv", index=False)
    options = ("--quality", "1", "--seed", "7", "--epochs", "4", "--drop", "label")
    run(
        *("train", "rows.csv", "--target", "price", "--test", "rows.csv", *options),
        *("-o", "model.safetensors"),
    )
    model = xpnet.TabularRegressor(quality=1, random_state=7, max_iter=4)
    model.fit(frame.drop(columns=["label", "price"]), frame["price"])
    opened = xpnet.load("model.safetensors")
    numpy.testing.assert_array_equal(opened.predict(frame), model.predict(frame))
