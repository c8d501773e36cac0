"""Files of arrays, and scikit-learn's data sets."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from xpnet.data import DATASETS, Request, read_table
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
        ({"X": np.where(X == 3, np.nan, X), "y": Y}, "row 2, column 'x1' is empty"),
        ({"X": X, "y": np.array([0, np.nan, 1])}, "row 2, column 'y' has none"),
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


@pytest.mark.parametrize("name", DATASETS)
def test_bundled_data_sets(name: str) -> None:
    table = read_table(name)
    assert table.X.shape == (len(table.labels), len(table.features))
    assert (
        len(set(table.labels.tolist()))
        == {"digits": 10, "iris": 3, "wine": 3, "breast_cancer": 2, "diabetes": 214}[name]
    )


def test_bundled_data_sets_have_one_target() -> None:
    with pytest.raises(DataFileError, match="are called 'target'; received 'species'"):
        read_table("iris", Request(target="species"))


def test_an_array_alone(tmp_path: Path) -> None:
    np.save(tmp_path / "X.npy", np.array([[1, 2, 0], [3, 4, 1]], dtype=np.uint8))
    np.save(tmp_path / "y.npy", Y[:2])
    table = read_table(tmp_path / "X.npy", Request(target="x2"))
    np.testing.assert_array_equal(table.X, [[1, 2], [3, 4]])
    assert (table.features, table.labels.tolist(), table.X.dtype) == (["x0", "x1"], [0, 1], np.float32)
    table = read_table(tmp_path / "X.npy", Request(target=str(tmp_path / "y.npy"), drop=["x1"]))
    assert (table.features, table.labels.tolist()) == (["x0", "x2"], ["p", "q"])
    with pytest.raises(DataFileError, match="no column 'x9'"):
        read_table(tmp_path / "X.npy", Request(target="x9"))
    (tmp_path / "X.npy").write_bytes((tmp_path / "X.npy").read_bytes()[:100])
    with pytest.raises(DataFileError, match="not a plain array"):
        read_table(tmp_path / "X.npy", Request(labelled=False))


def test_hdf5(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py", reason="HDF5 files are read by h5py, the extra 'data'")
    with h5py.File(tmp_path / "d.h5", "w") as file:
        file["X"], file["kind"] = X, ["p", "q", "p"]
    table = read_table(tmp_path / "d.h5", Request(target="kind", dtype="float32"))
    np.testing.assert_array_equal(table.X, X)
    assert (table.labels.tolist(), table.X.dtype) == (["p", "q", "p"], np.float32)
    with pytest.raises(DataFileError, match="no array 'y'"):
        read_table(tmp_path / "d.h5")
    (tmp_path / "d.h5").write_bytes((tmp_path / "d.h5").read_bytes()[:300])
    with pytest.raises(DataFileError, match="cannot be read"):
        read_table(tmp_path / "d.h5")


def test_zarr(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr", reason="Zarr groups are read by zarr, the extra 'data'")
    group = zarr.open_group(str(tmp_path / "d.zarr"), mode="w")
    group.create_array("X", shape=X.shape, dtype=X.dtype)[:] = X
    group.create_array("y", shape=3, dtype="int64")[:] = [1, 0, 1]
    table = read_table(tmp_path / "d.zarr")
    np.testing.assert_array_equal(table.X, X)
    assert table.labels.tolist() == [1, 0, 1]
    (tmp_path / "empty.zarr").mkdir()
    with pytest.raises(DataFileError, match="empty.zarr"):
        read_table(tmp_path / "empty.zarr")
