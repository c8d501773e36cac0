"""NumPy archives, Parquet files and scikit-learn's data sets."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from xpnet.data import DATASETS, read_table
from xpnet.errors import DataFileError

X = np.arange(6.0).reshape(3, 2)
Y = np.array(["p", "q", "p"])


def saved(folder: Path, **content: Any) -> Path:
    """An archive with those arrays."""
    path = folder / "d.npz"
    np.savez(path, **content)
    return path


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [("uint8", "float32"), ("bool", "float32"), ("float32", "float32"), ("int64", "float64"), ("float64", "float64")],
)
def test_archive_keeps_values_exact(tmp_path: Path, dtype: str, expected: str) -> None:
    table = read_table(saved(tmp_path, X=X.astype(dtype), y=Y))
    assert table.X.dtype == expected
    np.testing.assert_array_equal(table.X, X.astype(dtype))
    assert (table.features, table.target, list(table.labels)) == (["x0", "x1"], "y", ["p", "q", "p"])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"X": X}, "no array 'y'; the archive holds 'X'"),
        ({"y": Y}, "no array 'X'"),
        ({"X": X, "y": Y[:2]}, "holds one label for each row of X, shape (3,); received shape (2,)"),
        ({"X": X, "y": np.eye(3)}, "received shape (3, 3)"),
        ({"X": X[0], "y": Y}, "X is a matrix of numbers"),
        ({"X": X.astype(str), "y": Y}, "X is a matrix of numbers"),
        ({"X": X[:, :0], "y": Y}, "at least one column"),
        ({"X": X[:0], "y": Y[:0]}, "at least one row"),
        ({"X": np.where(X == 3, np.nan, X), "y": Y}, "row 2, column 'x1' holds nan"),
        ({"X": X, "y": np.array([0, np.nan, 1])}, "row 2, column 'y' has none"),
        ({"X": X, "y": np.array([0, 0.5, 1])}, "row 2 holds 0.5"),
        ({"X": X, "y": np.array([None, 1, "a"], dtype=object)}, "not an archive of plain arrays"),
    ],
)
def test_bad_archives_are_told(tmp_path: Path, content: dict[str, Any], said: str) -> None:
    with pytest.raises(DataFileError, match="d.npz") as caught:
        read_table(saved(tmp_path, **content))
    assert said in str(caught.value)


def test_damaged_archives_are_told(tmp_path: Path) -> None:
    path = saved(tmp_path, X=X, y=Y)
    whole = path.read_bytes()
    np.save(tmp_path / "one.npy", X)
    for damaged in (
        b"",
        b"no archive",
        (tmp_path / "one.npy").read_bytes(),
        whole[: len(whole) // 2],
        whole[:40] + b"\xff" * 60 + whole[100:],
    ):
        path.write_bytes(damaged)
        with pytest.raises(DataFileError, match="not an archive of plain arrays"):
            read_table(path)


def parquet(folder: Path, **columns: Any) -> Path:
    """A Parquet file with those columns."""
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow reads and writes Parquet files; it is the extra 'data'")
    from pyarrow import parquet

    path = folder / "d.parquet"
    parquet.write_table(pyarrow.table(columns), path)
    return path


def test_parquet(tmp_path: Path) -> None:
    table = read_table(parquet(tmp_path, a=[1, 2], b=[True, False], c=[0.5, 1.5], y=["p", "q"]), target="y")
    np.testing.assert_array_equal(table.X, [[1, 1, 0.5], [2, 0, 1.5]])
    assert (table.features, list(table.labels)) == (["a", "b", "c"], ["p", "q"])


def test_parquet_from_pandas(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas", reason="pandas writes the file; it is in the extra 'test'")
    pytest.importorskip("pyarrow", reason="pyarrow reads and writes Parquet files; it is the extra 'data'")
    frame = pandas.DataFrame({"a": [1.0, 2.0], "y": pandas.Categorical(["p", "q"])}, index=["r", "s"])
    frame.to_parquet(tmp_path / "d.parquet")
    table = read_table(tmp_path / "d.parquet", target="y")
    assert (table.features, list(table.labels)) == (["a"], ["p", "q"])


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"a": [1, 2]}, "no column 'y'"),
        ({"a": ["m", "f"], "y": [0, 1]}, "column 'a' must hold numbers; row 1 holds 'm'"),
        ({"a": [1, None], "y": [0, 1]}, "row 2, column 'a' is empty"),
        ({"a": [1.0, float("inf")], "y": [0, 1]}, "row 2, column 'a' holds inf"),
        ({"a": [1, 2], "y": ["p", None]}, "row 2, column 'y' has none"),
        ({"a": [1, 2], "y": [0, None]}, "row 2, column 'y' has none"),
        ({"y": [0, 1]}, "at least one column beside the target"),
    ],
)
def test_bad_parquet_is_told(tmp_path: Path, columns: dict[str, Any], said: str) -> None:
    with pytest.raises(DataFileError, match="d.parquet") as caught:
        read_table(parquet(tmp_path, **columns), target="y")
    assert said in str(caught.value)


def test_damaged_parquet_is_told(tmp_path: Path) -> None:
    path = parquet(tmp_path, a=[1], y=[0])
    path.write_bytes(path.read_bytes()[:30])
    with pytest.raises(DataFileError, match="not a whole Parquet file"):
        read_table(path, target="y")


def test_parquet_without_pyarrow_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "d.parquet").touch()
    with pytest.raises(DataFileError, match=r"pip install 'xpnet\[data\]'"):
        read_table(tmp_path / "d.parquet", target="y")


@pytest.mark.parametrize("name", DATASETS)
def test_bundled_data_sets(name: str) -> None:
    table = read_table(name)
    assert table.X.shape == (len(table.labels), len(table.features))
    assert len(set(table.labels.tolist())) == {"digits": 10, "iris": 3, "wine": 3, "breast_cancer": 2}[name]


def test_bundled_data_sets_have_one_target() -> None:
    with pytest.raises(DataFileError, match="are called 'target'; received 'species'"):
        read_table("iris", target="species")
