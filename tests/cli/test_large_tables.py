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
from said import Run, check_one_line

import xpnet
from xpnet.cli import model, streaming
from xpnet.data import sources

ROWS = 1200


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is larger than memory."""
    monkeypatch.setattr(sources, "LARGE_COPY", 1000)
    monkeypatch.setattr(sources, "BUFFER_ROWS", 200)


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
        table = pyarrow.table({name: pyarrow.array(values[rows]) for name, values in columns.items()})
        pyarrow.parquet.write_table(table, f"rows/{k}.parquet", row_group_size=group)


def trained(run: Run, *options: str, data: str = "rows", target: str = "y") -> Any:
    """What a training on the folder reports."""
    run("train", data, "--target", target, "--epochs", "20", "-o", "m", "--metrics-json", "m.json", *options)
    return json.loads(Path("m.json").read_text())


def test_numbers(run: Run) -> None:
    write(columns())
    found = trained(run, "--features", "a,b", "--patience", "5")
    assert found["scores"]["test"]["accuracy"] > 0.95
    assert found["scores"]["test"]["rows"] == 300
    assert found["data"]["notes"] == []
    assert json.loads(run("evaluate", "m", "rows/0.parquet", "--json").stdout)["accuracy"] > 0.95
    check_one_line(run("train", "rows", code=1), "must be named as the target")
    Path("none").mkdir()
    check_one_line(run("train", "none", "--target", "y", code=1), "none is a folder without Parquet files")


def test_text(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    write(columns())
    found = trained(run)
    assert found["model"]["widths"] == [5, 1]
    assert found["scores"]["test"]["accuracy"] > 0.95
    assert found["data"]["left_out"] == {"when": "holds dates or times"}
    fitted = xpnet.load("m")
    assert fitted[0].named_transformers_["text"].categories_[0].tolist() == ["blue", "green", "red"]
    by_blocks = run("predict", "m", "rows", "--proba", "--id", "when").stdout
    assert json.loads(run("evaluate", "m", "rows", "--json").stdout)["accuracy"] > 0.95
    monkeypatch.setattr(sources, "LARGE_COPY", 10**9)
    assert run("predict", "m", "rows", "--proba", "--id", "when").stdout == by_blocks
    assert by_blocks.splitlines()[1].startswith("2020-01-01,")


@pytest.mark.parametrize("rows", ["rows", "rows/0.parquet"])
def test_few_groups_are_cut_in_pieces(run: Run, rows: str) -> None:
    """As many rows as were asked for are held out, from all groups, and each has its own label."""
    write(columns(b=np.arange(ROWS) % 300 / 7), group=300)
    found = trained(run, "--validation-size", "0.2", "--features", "a,b,colour", data=rows)
    count = found["data"]["rows"]
    assert [part["rows"] for part in found["scores"].values()] == [0.6 * count, 0.15 * count, 0.25 * count]
    assert all(part["accuracy"] > 0.8 for part in found["scores"].values())


def test_pieces_are_all_rows_once() -> None:
    X = np.arange(3000.0).reshape(1000, 3)
    source = sources.ArraySource(X)
    source.starts = np.array([0, 0, 400, 400, 1000])
    bounds = streaming._pieces(source.starts)
    assert np.diff(bounds).max() == 5
    order = np.random.default_rng(0).permutation(len(bounds) - 1)
    divided = order[:40], order[40:41], order[41:]
    parts = [streaming.SomeBlocks(source, bounds, np.sort(some), [], 3) for some in divided]
    assert sorted(len(part) for part in parts) == [5, 200, 795]
    for part in parts:
        assert (part.whole() == X[part.take(np.arange(1000))]).all()
        for block in reversed(range(part.blocks)):
            assert (part.read(block) == part.whole()[part.starts[block] : part.starts[block + 1]]).all()
    assert sorted(row for part in parts for row in part.take(np.arange(1000))) == list(range(1000))


def test_learned_of_some_rows(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    write(columns(colour=np.array(["red", "green"] + ["rare"] * 3)[np.minimum(np.arange(ROWS) % 401, 3) % 5]))
    monkeypatch.setattr(streaming, "SAMPLE_ROWS", 100)
    found = trained(run)
    assert (
        found["data"]["notes"][-1] == "categories, medians and scales are those of 100 of 900 rows, at even distances"
    )
    assert found["scores"]["test"]["accuracy"] > 0.95


def test_gaps(run: Run) -> None:
    given = columns()
    given["a"] = np.where(np.arange(ROWS) % 7 == 5, np.nan, given["a"])
    given["colour"] = pyarrow.array(
        [None if k % 11 == 3 else colour for k, colour in enumerate(given["colour"])]
    ).to_numpy(False)
    write(given)
    check_one_line(run("train", "rows", "--target", "y", code=1), "column 'a' is empty")
    trained(run, "--missing", "impute", "--test-size", "0")
    fitted = xpnet.load("m")
    imputer = fitted[0].named_transformers_["numbers"][0]
    np.testing.assert_allclose(imputer.statistics_[0], np.nanmedian(given["a"]), rtol=1e-6)
    trained(run, "--missing", "impute", "--test-size", "0", "--features", "a,b")
    np.testing.assert_allclose(xpnet.load("m")[0].statistics_[0], np.nanmedian(given["a"]), rtol=1e-6)


def test_a_cell_that_cannot_be_used_is_found_in_its_row(run: Run) -> None:
    write(columns())
    trained(run)
    given = columns()
    given["b"][777] = np.inf
    write(given)
    check_one_line(run("predict", "m", "rows", code=1), "row 778, column 'b' holds inf")
    check_one_line(run("train", "rows", "--target", "y", code=1), "row 778, column 'b' holds inf")


def test_an_array_of_bytes(run: Run) -> None:
    X = np.random.default_rng(0).integers(0, 256, (ROWS, 3), dtype=np.uint8)
    np.save("X.npy", X)
    np.save("y.npy", X[:, 1] > 127)
    run("train", "X.npy", "--target", "y.npy", "--epochs", "20", "--test-size", "0", "-o", "m")
    predicted = run("predict", "m", "X.npy").stdout.split()[1:]
    assert predicted == xpnet.load("m").predict(pandas.DataFrame(X, columns=["x0", "x1", "x2"])).astype(str).tolist()
    assert json.loads(run("evaluate", "m", "X.npy", "--target", "y.npy", "--json").stdout)["accuracy"] > 0.95
    trained(run, "--drop", "x0", "--test-size", "0", data="X.npy", target="y.npy")
    some = pandas.DataFrame(X[:, 1:], columns=["x1", "x2"])
    assert run("predict", "m", "X.npy").stdout.split()[1:] == xpnet.load("m").predict(some).astype(str).tolist()


@pytest.mark.parametrize("name", ["d.h5", "d.zarr"])
def test_stores(run: Run, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    package = pytest.importorskip("h5py" if name == "d.h5" else "zarr", reason="an extra of its own, 'data'")
    X = np.random.default_rng(0).normal(size=(ROWS, 3)).astype(np.float32)
    monkeypatch.setattr(sources, "BLOCK_BYTES", 1200)
    with closing(package.File(name, "w")) if name == "d.h5" else nullcontext(package.open_group(name)) as made:
        for key, array in {"X": X, "y": np.where(X[:, 1] > 0, 7, 3)}.items():
            make = made.create_dataset if name == "d.h5" else made.create_array
            make(key, shape=array.shape, dtype=array.dtype, chunks=(100, *array.shape[1:]))[:] = array
    assert trained(run, data=name)["scores"]["test"]["rows"] == pytest.approx(300, abs=10)
    by_blocks = run("predict", "m", name).stdout
    assert json.loads(run("evaluate", "m", name, "--json").stdout)["accuracy"] > 0.95
    monkeypatch.setattr(sources, "LARGE_COPY", 10**9)
    assert run("predict", "m", name).stdout == by_blocks


def test_a_table_with_text_is_predicted_some_rows_at_a_time(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    pyarrow.parquet.write_table(pyarrow.table(columns()), "d.parquet")
    run("train", "d.parquet", "--target", "y", "--epochs", "2", "-o", "m")
    whole = run("predict", "m", "d.parquet", "--proba").stdout
    monkeypatch.setattr(model, "ROWS", 40)
    monkeypatch.setattr("xpnet.cli.predict.HELD", 1000)
    assert run("predict", "m", "d.parquet", "--proba").stdout == whole
    told: list[str] = []
    opened = model.open_model(Path("m"), None)
    list(opened.outputs(pyarrow.parquet.read_table("d.parquet", columns=["a", "b", "colour"]), told.append))
    assert told[:2] == ["40 of 1,200 rows", "80 of 1,200 rows"]


@pytest.mark.parametrize(("widths", "most"), [([4, 3], 2**15), ([10_000, 10], 419), ([5000, 5000, 10], 342)])
def test_wide_networks_take_fewer_rows_at_a_time(widths: list[int], most: int) -> None:
    assert model.rows_at_a_time(widths) == most
