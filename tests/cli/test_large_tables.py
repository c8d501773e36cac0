"""Tables that are read block by block, and answers that do not depend on it."""

import json
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pyarrow
import pyarrow.parquet
import pytest
from helpers.command_line import Run, check_one_line
from sklearn.base import clone

import xpnet
from xpnet.cli.rows.file_rows import FileRows
from xpnet.data import open_data, sources, table_size
from xpnet.tabular.rows import large_tables
from xpnet.tabular.rows.file_table import FileTable
from xpnet.tabular.rows.large_tables import TableSource, written_means
from xpnet.tabular.rows.table_rows import TableRows

pytestmark = pytest.mark.slow

ROWS = 1200


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is larger than memory."""
    monkeypatch.setattr(table_size, "LARGE_TABLE_BYTES", 1000)
    monkeypatch.setattr(sources, "BUFFER_ROWS", 200)
    monkeypatch.setattr(large_tables, "MAX_ENCODED", 1000)
    monkeypatch.setattr(large_tables, "SAMPLE_ROWS", 700)
    monkeypatch.setattr(large_tables, "BLOCK_ROWS", 50)


def columns(**others: Any) -> dict[str, Any]:
    """Numbers, text, a date and labels that the first number decides."""
    rng = np.random.default_rng(0)
    a = rng.normal(size=ROWS)
    return {
        "a": a,
        "b": rng.normal(size=ROWS) * 100 + 5000,
        "colour": np.array(["red", "green", "blue"])[rng.integers(0, 3, ROWS)],
        "when": np.datetime64("2020-01-01") + np.arange(ROWS) % 9,
        "y": np.where(a > 0, "p", "q"),
        **others,
    }


def write(columns: dict[str, Any], group: int = 50) -> None:
    """Four files in the folder ``rows``, in groups of fifty rows, or of others."""
    Path("rows").mkdir(exist_ok=True)
    for k, rows in enumerate(np.array_split(np.arange(ROWS), 4)):
        table = pyarrow.table(
            {name: pyarrow.array(values[rows]) for name, values in columns.items()}
        )
        pyarrow.parquet.write_table(table, f"rows/{k}.parquet", row_group_size=group)


def trained(run: Run, *options: str, data: str = "rows", target: str = "y") -> Any:
    """What a training on the folder reports."""
    settings = ("--model", "mlp", "--epochs", "10", "--lr", "0.02", "--batch-size", "32")
    run(
        "train",
        data,
        "--target",
        target,
        *settings,
        "-o",
        "m",
        "--metrics-json",
        "m.json",
        *options,
    )
    return json.loads(Path("m.json").read_text())


def test_two_classes_several_classes_and_numbers(run: Run) -> None:
    given = columns()
    write({**given, "three": np.digitize(given["a"], [-0.5, 0.5]), "number": 100 + 20 * given["a"]})
    found = trained(run, "--drop", "three", "--drop", "number", "--patience", "5")
    assert found["scores"]["test"]["accuracy"] > 0.95
    assert [part["rows"] for part in found["scores"].values()] == [900, 300, 300]
    assert len(found["history"]["loss"]) == len(found["history"]["validation_loss"])
    assert json.loads(run("evaluate", "m", "rows/0.parquet", "--json").stdout)["accuracy"] > 0.95
    found = trained(run, "--drop", "y", "--drop", "number", target="three")
    assert found["scores"]["test"]["accuracy"] > 0.9
    found = trained(run, "--drop", "y", "--drop", "three", target="number")
    assert found["scores"]["test"]["r2"] > 0.95
    assert xpnet.load("m").residuals_.shape == (
        113,
        1,
    )  # an eighth of the 900 rows to train on ends the training
    check_one_line(run("train", "rows", code=1), "--target must name the column")
    Path("none").mkdir()
    check_one_line(
        run("train", "none", "--target", "y", code=1), "none is a folder without .parquet files"
    )


def test_weights_of_classes_are_those_that_were_given(run: Run) -> None:
    given = columns()
    write({**given, "y": np.where(given["a"] > 1, "p", "q")})
    plain, alike, more = (
        trained(run, "--epochs", "3", *options)["history"]["loss"]
        for options in ((), ("--class-weight", "p=1,q=1"), ("--class-weight", "p=5"))
    )
    np.testing.assert_allclose(alike, plain, rtol=1e-5)
    assert more[-1] > 1.2 * plain[-1]  # the loss counts the rarer class five times


def test_the_answers_do_not_depend_on_blocks(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    given = columns()
    given["colour"] = np.where(np.arange(ROWS) % 11 == 3, None, given["colour"])
    given["a"] = np.where(np.arange(ROWS) % 70 == 5, np.nan, given["a"])
    write(given)
    found = trained(run, "--model", "tabular", "--epochs", "3")
    said = "the table is read again for each epoch, since its encoded rows would take much memory"
    assert found["data"]["notes"] == [
        said,
        "encodings are those of 394 of 787 rows, at even distances",
    ]
    assert (found["model"]["networks"], found["model"]["members"]) == (2, 4)
    by_blocks = run("predict", "m", "rows", "--proba", "--id", "when").stdout
    assert by_blocks.splitlines()[1].startswith("2020-01-01,")
    frame = pandas.read_parquet("rows")
    shell = np.array([line.split(",")[2:] for line in by_blocks.splitlines()[1:]], dtype=float)
    np.testing.assert_allclose(xpnet.load("m").predict_proba(frame), shell, atol=1e-6)
    scores = json.loads(run("evaluate", "m", "rows", "--json").stdout)
    monkeypatch.setattr(table_size, "LARGE_TABLE_BYTES", 10**9)
    assert run("predict", "m", "rows", "--proba", "--id", "when").stdout == by_blocks
    assert json.loads(run("evaluate", "m", "rows", "--json").stdout) == scores


def test_a_table_of_few_rows_is_encoded_at_once(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    write(columns())
    monkeypatch.setattr(large_tables, "MAX_ENCODED", 2**26)
    monkeypatch.setattr(large_tables, "SAMPLE_ROWS", 2000)
    trained(run, "--model", "tabular", "--members", "2", "--epochs", "3")
    monkeypatch.setattr(table_size, "LARGE_TABLE_BYTES", 10**9)
    by_blocks = xpnet.load("m")
    trained(run, "--model", "tabular", "--members", "2", "--epochs", "3")
    frame = pandas.read_parquet("rows")
    assert len(by_blocks.networks_) == len(xpnet.load("m").networks_) > 1
    found, expected = by_blocks.encoder_, xpnet.load("m").encoder_
    np.testing.assert_array_equal(found.transform(frame), expected.transform(frame))


def test_encoded_rows_are_all_rows_once(run: Run) -> None:
    write(columns())
    opened = open_data("rows")
    frame = opened.read(opened.names)
    chosen = np.arange(ROWS) % 7 < 3
    features = FileTable(frame, ["a", "b", "colour"], chosen, {})
    rows = FileRows(features, np.flatnonzero(chosen).astype(float), None)
    encoder = xpnet.TableEncoder(bins=None).fit(rows.take(slice(None, None, 3)).table())
    of_table = TableRows(rows.features, len(rows), None, rows.y)
    source = TableSource(of_table, encoder, "float32")
    whole = encoder.transform(pandas.read_parquet("rows")[rows.features.names][chosen])
    np.testing.assert_array_equal(source.whole(), whole)
    for block in reversed(range(source.blocks)):
        np.testing.assert_array_equal(
            source.read(block), whole[source.starts[block] : source.starts[block + 1]]
        )


def test_learned_of_some_rows(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    write(columns())
    monkeypatch.setattr(large_tables, "SAMPLE_ROWS", 100)
    found = trained(run)
    assert found["data"]["notes"][-1] == "encodings are those of 99 of 787 rows, at even distances"
    assert found["scores"]["test"]["accuracy"] > 0.9


def test_an_array_of_bytes(run: Run) -> None:
    X = np.random.default_rng(0).integers(0, 256, (ROWS, 3), dtype=np.uint8)
    np.save("X.npy", X)
    np.save("y.npy", X[:, 1] > 127)
    run(
        "train",
        "X.npy",
        "--target",
        "y.npy",
        "--epochs",
        "20",
        "--test-size",
        "0",
        "--model",
        "linear",
        "-o",
        "m",
    )
    predicted = run("predict", "m", "X.npy").stdout.split()[1:]
    frame = pandas.DataFrame(X, columns=["x0", "x1", "x2"])
    assert predicted == xpnet.load("m").predict(frame).astype(str).tolist()
    assert (
        json.loads(run("evaluate", "m", "X.npy", "--target", "y.npy", "--json").stdout)["accuracy"]
        > 0.95
    )


@pytest.mark.parametrize("name", ["d.h5", "d.zarr"])
def test_stores(run: Run, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    package = pytest.importorskip(
        "h5py" if name == "d.h5" else "zarr", reason="an extra of its own, 'data'"
    )
    X = np.random.default_rng(0).normal(size=(ROWS, 3)).astype(np.float32)
    monkeypatch.setattr(sources, "BLOCK_BYTES", 1200)
    with (
        closing(package.File(name, "w"))
        if name == "d.h5"
        else nullcontext(package.open_group(name)) as made
    ):
        for key, array in {"X": X, "y": np.where(X[:, 1] > 0, 7, 3)}.items():
            make = made.create_dataset if name == "d.h5" else made.create_array
            make(key, shape=array.shape, dtype=array.dtype, chunks=(100, *array.shape[1:]))[:] = (
                array
            )
    assert trained(run, data=name)["scores"]["test"]["rows"] == 300
    by_blocks = run("predict", "m", name).stdout
    assert json.loads(run("evaluate", "m", name, "--json").stdout)["accuracy"] > 0.95
    monkeypatch.setattr(table_size, "LARGE_TABLE_BYTES", 10**9)
    assert run("predict", "m", name).stdout == by_blocks


def test_no_mean_target_tells_a_row_its_own_target() -> None:
    """The rows that the encoder learns from have the means over other rows, as `fit_transform`
    gives them, and all others have those of new rows.
    """
    rng = np.random.default_rng(0)
    firm = rng.permutation(np.arange(ROWS) % 150)
    y = rng.normal(size=150)[firm] + 2 * rng.normal(size=ROWS)
    table = pandas.DataFrame({"firm": np.char.add("f", firm.astype(str))})
    rows = TableRows(table, ROWS, None, y[:, None])
    encoder = xpnet.TableEncoder(binning="tree", task="regression", random_state=0)
    places = np.arange(0, ROWS, 2)
    means = written_means(encoder.fit_means(table[::2], y[::2]), places)
    source = TableSource(rows, encoder, "float32", means)
    of_new_rows = encoder.transform(table)
    blocks = np.concatenate([source.read(block) for block in range(source.blocks)])
    for X in (source.whole(), blocks):
        assert (X[::2] != of_new_rows[::2]).any(axis=1).mean() > 0.5
        np.testing.assert_array_equal(X[1::2], of_new_rows[1::2])
        np.testing.assert_array_equal(X[::2], clone(encoder).fit_transform(table[::2], y[::2]))
