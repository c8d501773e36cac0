"""Which columns of a file are read as which type, and the limits of its lines and groups."""

import sys
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from helpers.data_files import read

from xpnet.data import open_data
from xpnet.data.readers import parquet_frames
from xpnet.errors import DataFileError

NAMES = "code,long,number,y\n0123,1,1.5,p\n0007,12345678901234567890,2.5,q\n"


def test_digits_that_name_things_stay_text(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text(NAMES)
    opened = open_data(tmp_path / "d.csv")
    columns = ["code", "long", "number"]
    kept = opened.read(columns)
    kinds = {field.name: str(field.type) for field in kept.schema}
    assert kinds["number"] == "double"
    assert "string" in kinds["code"]
    assert "string" in kinds["long"]
    as_numbers = opened.read(columns, keeps_names=False)
    assert [str(field.type) for field in as_numbers.schema] == ["int64", "double", "double"]


@pytest.mark.parametrize("target", ["code", "zero"])
def test_labels_with_fractions_are_numbers_whatever_they_begin_with(
    tmp_path: Path, target: str
) -> None:
    """Names before and after that of the other column."""
    found = read(tmp_path, f"mine,{target}\n0123,1.5\n7,012\n8,2.0\n", target=target)
    assert found.labels.tolist() == [1.5, 12.0, 2.0]
    assert found.cells["mine"] == ["0123", "7", "8"]


@pytest.mark.parametrize("target", ["a", "z"])
def test_large_digits_beside_labels_stay_text(tmp_path: Path, target: str) -> None:
    content = f"m,{target}\n12345678901234567890,1.5\n12345678901234567891,2.5\n"
    found = read(tmp_path, content, target=target)
    assert found.cells["m"] == ["12345678901234567890", "12345678901234567891"]
    assert found.labels.tolist() == [1.5, 2.5]


def test_many_columns_become_text_late_and_those_with_fractions_stay_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xpnet.data.readers.text.SAMPLE", 1000)
    count, rows = 12, 9000
    cells = np.full((rows, count + 2), "1", object)
    cells[:, count] = "0.5"
    for column in range(count):
        cells[rows - 1 - 9 * column : rows - 9 * column, column] = "word"
        cells[rows // 2 + column, column] = "other"
    header = ",".join([*(f"c{k}" for k in range(count)), "half", "y"])
    found = read(tmp_path, "\n".join([header, *map(",".join, cells)]))
    kinds = [str(found.frame.schema.field(name).type) for name in found.cells]
    assert kinds[count] == "double"
    assert found.cells["half"] == [0.5] * rows


@pytest.mark.parametrize("line", [1, 2, 3])
def test_none_of_the_first_lines_may_be_endless(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: int
) -> None:
    monkeypatch.setattr("xpnet.data.readers.text.MAX_LINE", 1000)
    lines = ["a,y", "1,p", "2,q", "3,p"]
    lines[line - 1] = f"{'1' * 5000},p"
    with pytest.raises(DataFileError, match="a line has 1,000 characters, or more"):
        read(tmp_path, "\n".join(lines))


def test_a_line_of_sixteen_million_characters_is_too_long(tmp_path: Path) -> None:
    with pytest.raises(DataFileError, match="a line has 16,777,216 characters, or more"):
        read(tmp_path, b"a,y\n" + b"1" * 2**24 + b",p\n")


def test_groups_of_rows_begin_where_the_ones_before_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "d.parquet"
    table = pyarrow.table({"a": np.arange(5000), "b": np.arange(5000) / 2})
    pyarrow.parquet.write_table(table, path, row_group_size=3000)
    frame = open_data(path)
    assert isinstance(frame, parquet_frames.Frame)
    assert frame.starts.tolist() == [0, 3000, 5000]
    assert [len(batch) for batch in frame.batches(0, ["a"])] == [3000]
    monkeypatch.setattr(parquet_frames, "_DECODED_BYTES", 2000 * 8 * 2)
    assert [len(batch) for batch in frame.batches(0, ["a", "b"])] == [2000, 1000]
    monkeypatch.setattr(parquet_frames, "_DECODED_BYTES", 1)
    assert [len(batch) for batch in frame.batches(1, ["a", "b"])] == [1024, 976]
    cells = pyarrow.Table.from_batches(frame.all_batches(["b", "a"])).to_pydict()
    assert cells == {"b": [k / 2 for k in range(5000)], "a": [*range(5000)]}


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege on Windows")
def test_a_zarr_group_may_lie_behind_a_link(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr", reason="Zarr groups are read by zarr, the extra 'data'")
    (tmp_path / "real").mkdir()
    group = zarr.open_group(str(tmp_path / "real" / "d.zarr"), mode="w")
    group.create_array("X", data=np.eye(3))
    group.create_array("y", data=np.arange(3))
    (tmp_path / "link").symlink_to(tmp_path / "real", target_is_directory=True)
    frame = open_data(tmp_path / "link" / "d.zarr")
    assert frame.names == ["x0", "x1", "x2", "y"]
