"""Parquet files."""

import gzip
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas
import pyarrow
import pyarrow.parquet
import pytest
from helpers.data_files import look

from xpnet.errors import DataFileError


def parquet(folder: Path, **columns: Any) -> Path:
    """A Parquet file with those columns."""
    path = folder / "d.parquet"
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    return path


def test_parquet(tmp_path: Path) -> None:
    found = look(parquet(tmp_path, a=[1, 2], b=[True, False], c=[0.5, 1.5], y=["p", "q"]))
    assert found.cells == {"a": [1, 2], "b": [True, False], "c": [0.5, 1.5]}
    assert found.labels.tolist() == ["p", "q"]


def test_parquet_from_pandas(tmp_path: Path) -> None:
    frame = pandas.DataFrame(
        {"a": [1.0, 2.0], "y": pandas.Categorical(["p", "q"])}, index=["r", "s"]
    )
    frame.to_parquet(tmp_path / "d.parquet")
    found = look(tmp_path / "d.parquet")
    assert (list(found.cells), list(found.labels)) == (["a"], ["p", "q"])


def test_parquet_that_is_compressed_as_a_whole_is_told(tmp_path: Path) -> None:
    (tmp_path / "d.parquet.gz").write_bytes(gzip.compress(parquet(tmp_path, a=[1, 2]).read_bytes()))
    with pytest.raises(DataFileError, match=r"d.parquet.gz: files that end in .gz"):
        look(tmp_path / "d.parquet.gz")


def test_damaged_parquet_is_told(tmp_path: Path) -> None:
    path = parquet(tmp_path, a=[1], y=[0])
    path.write_bytes(path.read_bytes()[:30])
    with pytest.raises(DataFileError, match="d.parquet: .* Write it again"):
        look(path)


def test_labels_of_every_kind(tmp_path: Path) -> None:
    kinds: dict[str, tuple[Any, list[Any]]] = {
        "whole": ([2, None, 3], [2, 3]),
        "number": ([0.5, None, float("nan")], [0.5]),
        "money": ([Decimal("1.5"), Decimal("2.5"), None], [1.5, 2.5]),
        "art": (pyarrow.array(["p", "q", "p"]).dictionary_encode(), ["p", "q", "p"]),
        "large": (
            pyarrow.array([2**64 - 2048, 2**63, 1], "uint64"),
            [2.0**64 - 2048, 2.0**63, 1.0],
        ),
        "long": (pyarrow.array(["x", None, "y"], "large_string"), ["x", "y"]),
        "flag": ([True, False, None], ["True", "False"]),
    }
    for cells, labels in kinds.values():
        assert look(parquet(tmp_path, a=[1, 2, 3], y=cells)).labels.tolist() == labels
    with pytest.raises(DataFileError, match="column 'y' holds list"):
        look(parquet(tmp_path, a=[1, 2], y=[[1], [2]]))


def test_columns_that_are_taken_as_text(tmp_path: Path) -> None:
    path = parquet(tmp_path, a=[1, None], b=[1.5, 2.0], when=[datetime(2024, 1, 1), None], y=[0, 1])
    assert look(path, text=["a", "when"]).cells == {
        "a": ["1", None],
        "b": [1.5, 2.0],
        "when": ["2024-01-01 00:00:00.000000", None],
    }


@pytest.mark.parametrize(
    "kind",
    [
        pyarrow.large_string(),
        pyarrow.string_view(),
        pyarrow.dictionary(pyarrow.int8(), pyarrow.string()),
    ],
    ids=["large", "view", "dictionary"],
)
def test_every_kind_of_text(tmp_path: Path, kind: Any) -> None:
    try:
        text = pyarrow.array(["p", "q", "p"], kind)
        path = parquet(tmp_path, a=text, b=[1.0, 2.5, 3.0], y=text)
    except pyarrow.ArrowNotImplementedError:
        pytest.skip("this version of pyarrow writes no views")
    found = look(path)
    assert (found.cells["a"], found.labels.tolist()) == (["p", "q", "p"], ["p", "q", "p"])


def write_files(folder: Path, *files: dict[str, Any]) -> Path:
    """A folder with a file for each of these tables, named by its column ``at``, which the file
    does not hold.
    """
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
    found = look(path)
    assert found.cells == {"a": [1, 2, 2.5], "year": [2023, 2023, 2024], "land": ["de", "de", "fr"]}
    assert found.labels.tolist() == ["p", "q", "q"]
    assert found.frame.blocks == 2


def test_files_of_a_folder_may_differ(tmp_path: Path) -> None:
    path = write_files(tmp_path, {"a": [4, 2], "b": [1, 5], "y": [0, 1]}, {"y": [1.0], "a": [3]})
    found = look(path)
    assert found.cells == {"a": [4, 2, 3], "b": [1, 5, None]}
    assert found.labels.tolist() == [0, 1, 1]


@pytest.mark.parametrize(
    ("second", "said"),
    [
        ({"a": ["x"], "y": [0]}, "Field a has incompatible types"),
        ({"a": [[1]], "y": [0]}, "incompatible types"),
    ],
)
def test_files_that_do_not_go_together_are_told(
    tmp_path: Path, second: dict[str, Any], said: str
) -> None:
    path = write_files(tmp_path, {"a": [1, 2], "y": [0, 1]}, second)
    with pytest.raises(DataFileError, match=said):
        look(path)


def test_dictionaries_of_several_files_are_text(tmp_path: Path) -> None:
    for name in ("p", "q"):
        frame = pandas.DataFrame(
            {"a": [1.0, 2.0], "c": pandas.Categorical([name, "both"]), "y": [0, 1]},
            index=["r", "s"],
        )
        (tmp_path / "rows").mkdir(exist_ok=True)
        frame.to_parquet(tmp_path / "rows" / f"{name}.parquet")
    assert look(tmp_path / "rows").cells["c"] == ["p", "both", "q", "both"]
