"""Parquet files."""

from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pyarrow
import pyarrow.parquet
import pytest

from xpnet.data import Request, read_table
from xpnet.errors import DataFileError


def parquet(folder: Path, **columns: Any) -> Path:
    """A Parquet file with those columns."""
    path = folder / "d.parquet"
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    return path


def test_parquet(tmp_path: Path) -> None:
    table = read_table(parquet(tmp_path, a=[1, 2], b=[True, False], c=[0.5, 1.5], y=["p", "q"]), Request(target="y"))
    np.testing.assert_array_equal(table.X, [[1, 1, 0.5], [2, 0, 1.5]])
    assert (table.features, list(table.labels)) == (["a", "b", "c"], ["p", "q"])


def test_parquet_from_pandas(tmp_path: Path) -> None:
    frame = pandas.DataFrame({"a": [1.0, 2.0], "y": pandas.Categorical(["p", "q"])}, index=["r", "s"])
    frame.to_parquet(tmp_path / "d.parquet")
    table = read_table(tmp_path / "d.parquet", Request(target="y"))
    assert (table.features, list(table.labels)) == (["a"], ["p", "q"])


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"a": [1, 2]}, "no column 'y'"),
        ({"a": ["1", "m", "3"], "y": [0, 1, 0]}, "row 2, column 'a' holds 'm'"),
        ({"a": [[1], [2]], "y": [0, 1]}, "left out: a holds list<element: int64>"),
        ({"a": [1, None], "y": [0, 1]}, "row 2, column 'a' is empty"),
        ({"a": [1.0, float("inf")], "y": [0, 1]}, "row 2, column 'a' holds inf"),
        ({"a": [1, 2], "y": ["p", None]}, "row 2, column 'y' has none"),
        ({"a": [1, 2], "y": [0, None]}, "row 2, column 'y' has none"),
        ({"y": [0, 1]}, "at least one column beside the target"),
    ],
)
def test_bad_parquet_is_told(tmp_path: Path, columns: dict[str, Any], said: str) -> None:
    with pytest.raises(DataFileError, match="d.parquet") as caught:
        read_table(parquet(tmp_path, **columns), Request(target="y"))
    assert said in str(caught.value)


def test_damaged_parquet_is_told(tmp_path: Path) -> None:
    path = parquet(tmp_path, a=[1], y=[0])
    path.write_bytes(path.read_bytes()[:30])
    with pytest.raises(DataFileError, match="not a whole Parquet file"):
        read_table(path, Request(target="y"))


def test_columns_of_every_kind(tmp_path: Path) -> None:
    columns = {
        "small": pyarrow.array([1, None, 3], "int8"),
        "money": pyarrow.array([Decimal("1.5"), Decimal("2.5"), None]),
        "art": pyarrow.array(["p", "q", "p"]).dictionary_encode(),
        "code": pyarrow.array([7, 8, 7]).dictionary_encode(),
        "when": pyarrow.array([datetime(2024, 1, k) for k in (1, 2, 3)]),
        "long": pyarrow.array(["x", None, "y"], "large_string"),
        "flag": pyarrow.array([True, False, None]),
    }
    request = Request(labelled=False, missing="keep", dtype="float32")
    table = read_table(parquet(tmp_path, **columns), request)
    assert table.X.to_pydict() == {
        "small": [1, None, 3],
        "money": [1.5, 2.5, None],
        "art": ["p", "q", "p"],
        "code": [7, 8, 7],
        "long": ["x", None, "y"],
        "flag": [1, 0, None],
    }
    assert table.left_out == {"when": "holds dates or times"}


def test_groups_of_rows_come_in_the_dtype_that_is_asked_for(tmp_path: Path) -> None:
    numbers = np.random.default_rng(0).normal(size=1000)
    pyarrow.parquet.write_table(
        pyarrow.table({"a": numbers, "y": ["p", "q"] * 500}), tmp_path / "d.parquet", row_group_size=64
    )
    table = read_table(tmp_path / "d.parquet", Request(target="y", dtype="float32"))
    np.testing.assert_array_equal(table.X[:, 0], numbers.astype(np.float32))
    assert table.labels.tolist() == ["p", "q"] * 500


@pytest.mark.parametrize(
    "cells", [[[1], [2], [3]], [{"p": 1}] * 3, [b"p", b"q", b"r"]], ids=["list", "struct", "bytes"]
)
def test_cells_of_several_values_are_left_out(tmp_path: Path, cells: list[Any]) -> None:
    path = parquet(tmp_path, a=cells, b=[1.0, 2.5, 3.0], y=[0, 1, 0])
    table = read_table(path, Request(target="y"))
    assert (table.features, list(table.left_out)) == (["b"], ["a"])
    with pytest.raises(DataFileError, match="Column 'a' holds"):
        read_table(path, Request(target="y", features=["a"]))


@pytest.mark.parametrize(
    "kind",
    [pyarrow.large_string(), pyarrow.string_view(), pyarrow.dictionary(pyarrow.int8(), pyarrow.string())],
    ids=["large", "view", "dictionary"],
)
def test_every_kind_of_text(tmp_path: Path, kind: Any) -> None:
    try:
        text = pyarrow.array(["p", "q", "p"], kind)
        path = parquet(tmp_path, a=text, b=[1.0, 2.5, 3.0], y=text)
    except pyarrow.ArrowNotImplementedError:
        pytest.skip("this version of pyarrow writes no views")
    table = read_table(path, Request(target="y"))
    assert (table.X.column("a").to_pylist(), table.labels.tolist()) == (["p", "q", "p"], ["p", "q", "p"])


def write_files(folder: Path, *files: dict[str, Any]) -> Path:
    """A folder with a file for each of these tables, named by its column ``at``, which the file does not hold."""
    for k, columns in enumerate(files):
        place = folder / "rows" / str(columns.pop("at", ""))
        place.mkdir(parents=True, exist_ok=True)
        pyarrow.parquet.write_table(pyarrow.table(columns), place / f"{k}.parquet")
    return folder / "rows"


def test_a_folder_is_one_table(tmp_path: Path) -> None:
    path = write_files(
        tmp_path,
        {"at": "year=2023/land=de", "a": [1, 2], "y": ["p", "q"]},
        {"at": "year=2024/land=fr", "y": ["q"], "a": [2.5]},
    )
    table = read_table(path, Request(target="y"))
    assert table.X.to_pydict() == {"a": [1, 2, 2.5], "year": [2023, 2023, 2024], "land": ["de", "de", "fr"]}
    assert table.labels.tolist() == ["p", "q", "q"]


def test_files_of_a_folder_may_differ(tmp_path: Path) -> None:
    path = write_files(tmp_path, {"a": [4, 2], "b": [1, 5], "y": [0, 1]}, {"y": [1.0], "a": [3]})
    np.testing.assert_array_equal(
        read_table(path, Request(target="y", missing="keep")).X, [[4, 1], [2, 5], [3, np.nan]]
    )
    with pytest.raises(DataFileError, match="row 3, column 'b' is empty"):
        read_table(path, Request(target="y"))


@pytest.mark.parametrize(
    ("second", "said"),
    [({"a": ["x"], "y": [0]}, "Field a has incompatible types"), ({"b": [1]}, "row 3, column 'y' has none")],
)
def test_files_that_do_not_go_together_are_told(tmp_path: Path, second: dict[str, Any], said: str) -> None:
    path = write_files(tmp_path, {"a": [1, 2], "y": [0, 1]}, second)
    with pytest.raises(DataFileError, match=said):
        read_table(path, Request(target="y", missing="keep"))


def test_dictionaries_of_several_files_are_text(tmp_path: Path) -> None:
    for name in ("p", "q"):
        frame = pandas.DataFrame(
            {"a": [1.0, 2.0], "c": pandas.Categorical([name, "both"]), "y": [0, 1]}, index=["r", "s"]
        )
        (tmp_path / "rows").mkdir(exist_ok=True)
        frame.to_parquet(tmp_path / "rows" / f"{name}.parquet")
    assert read_table(tmp_path / "rows", Request(target="y")).X.column("c").to_pylist() == ["p", "both", "q", "both"]
