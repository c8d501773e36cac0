"""What a name of data leads to, and the sentence for one that leads to no table."""

import os
import sys
from pathlib import Path

import pytest

from xpnet.data import open_data
from xpnet.errors import DataFileError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder, which is the current one, with files and folders that are no tables."""
    monkeypatch.chdir(tmp_path)
    Path("flowers.csv").write_text("a,y\n1,p\n2,q\n")
    Path("sub.csv").mkdir()
    for name in ("d.xlsx", "d.json", "plain", "d.csv.zip"):
        Path(name).touch()
    for name in ("empty.csv", "empty.parquet", "empty.npz"):
        Path(name).touch()
    Path("header.csv").write_text("a,b,y\n")
    Path("header2.csv").write_text("a,b,y")
    Path("blank.csv").write_text("\n1,2,3\n")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "fact", "remedy"),
    [
        ("zzzzzzzz.csv", "no file zzzzzzzz.csv", "Check the path"),
        ("flower.csv", "no file flower.csv", "Did you mean 'flowers.csv'?"),
        ("diggits", "no file diggits", "Did you mean 'digits'?"),
        ("no/where.csv", "no file no/where.csv", "Check the path"),
        ("flowers.csv/a.csv", "no file flowers.csv/a.csv", "Check the path"),
        ("d.xlsx", "end in .xlsx cannot be read", "save the sheet as CSV UTF-8"),
        ("d.json", "end in .json cannot be read", "CSV (UTF-8) or Parquet"),
        ("d.csv.zip", "end in .zip cannot be read", "CSV (UTF-8) or Parquet"),
        ("plain", "without an ending cannot be read", "CSV (UTF-8) or Parquet"),
        ("sub.csv", "sub.csv is a folder without .parquet files", "Name a file"),
        ("empty.csv", "empty.csv is empty", "header and rows"),
        ("header.csv", "header.csv has a header and no rows", "rows below the header"),
        ("header2.csv", "header2.csv has a header and no rows", "rows below the header"),
        ("blank.csv", "blank.csv: the first line", "Remove it"),
        ("empty.parquet", "empty.parquet is empty", "Write it again"),
        ("empty.npz", "empty.npz is empty", "Write it again"),
    ],
)
def test_a_name_that_leads_to_no_table_gets_the_fact_and_one_remedy(
    folder: Path, name: str, fact: str, remedy: str
) -> None:
    with pytest.raises(DataFileError) as caught:
        opened = open_data(name)
        opened.read(opened.names)
    message = str(caught.value)
    assert fact in message
    assert remedy in message
    assert message.index(fact) < message.index(remedy)
    assert len(message.split()) <= 25


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such files in folders")
@pytest.mark.parametrize("ending", ["csv", "parquet", "npz"])
def test_files_without_an_end_are_refused_before_they_are_opened(folder: Path, ending: str) -> None:
    os.mkfifo(f"pipe.{ending}")
    Path(f"zero.{ending}").symlink_to("/dev/zero")
    for name, kind in {"pipe": "a named pipe", "zero": "a device"}.items():
        with pytest.raises(DataFileError, match=f"{name}.{ending} is {kind}.*standard input"):
            open_data(f"{name}.{ending}")


def test_a_folder_of_parquet_files_may_have_any_name(folder: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    for name in ("rows", "rows.parquet", "rows.csv"):
        Path(name).mkdir()
        pyarrow.parquet.write_table(pyarrow.table({"a": [1, 2]}), Path(name) / "part-0.parquet")
        assert open_data(name).names == ["a"]
