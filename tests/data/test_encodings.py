"""Bytes of a text file that are not text: each is reported with its row and column, wherever it
stands.
"""

import gzip
from pathlib import Path

import pytest
from helpers.data_files import read

from xpnet.data import table_size
from xpnet.errors import DataFileError

ROWS = 40_000
"""Rows of the file. Its first block, from which column types are inferred, ends before the last of
them.
"""


def text_with(cell: bytes, row: int, column: str, rows: int = ROWS) -> bytes:
    """A file of text whose cell in a row (1 is the header) and a column is replaced."""
    columns = ("x", "town", "y")
    lines = [b"x,town,y"]
    for k in range(rows - 1):
        cells = [b"%d.5" % (k % 7), b"Ulm" if k % 3 else b"Bonn", b"yes" if k % 2 else b"no"]
        if k + 2 == row:
            cells[columns.index(column)] = cell
        lines.append(b",".join(cells))
    return b"\n".join(lines) + b"\n"


@pytest.mark.parametrize("by_blocks", [False, True])
@pytest.mark.parametrize(
    ("column", "row"),
    [("x", 2), ("town", 2), ("y", 2), ("town", 3_000), ("x", 15_000), ("town", ROWS), ("y", ROWS)],
)
def test_a_byte_of_another_encoding_is_an_error_with_its_place(
    tmp_path: Path, row: int, column: str, by_blocks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_size, "LARGE_TABLE_BYTES", 0 if by_blocks else 2**28)
    monkeypatch.setattr("xpnet.data.readers.text.SAMPLE", 2**16)
    with pytest.raises(DataFileError, match="UTF-8") as caught:
        read(tmp_path, text_with(b"K\x96ln", row, column))
    message = str(caught.value)
    assert f"row {row:,}, column '{column}'" in message
    assert "0x96" in message
    assert "--encoding" in message
    assert "data.csv" in message


def test_a_byte_of_another_encoding_in_a_compressed_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xpnet.data.readers.text.SAMPLE", 2**16)
    packed = gzip.compress(text_with(b"\xff", 30_000, "town"))
    with pytest.raises(DataFileError, match="row 30,000, column 'town'.*0xff"):
        read(tmp_path, packed, "data.csv.gz")


def test_a_byte_of_another_encoding_in_the_header(tmp_path: Path) -> None:
    with pytest.raises(DataFileError, match="row 1, column 2 .*0xe4.*--encoding"):
        read(tmp_path, "a,Länge,y\n1,2,p\n".encode("latin-1"))


def test_a_byte_that_a_named_encoding_does_not_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xpnet.data.readers.text.SAMPLE", 2**16)
    for row in (2, ROWS):
        with pytest.raises(DataFileError, match=rf"row {row:,}, column 'town'.*0x81.*cp1252"):
            read(tmp_path, text_with(b"\x81", row, "town"), encoding="cp1252")


def test_text_of_a_named_encoding_is_read_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xpnet.data.readers.text.SAMPLE", 2**16)
    content = text_with("Köln".encode("cp1252"), ROWS, "town")
    assert read(tmp_path, content, encoding="cp1252").cells["town"][-1] == "Köln"


@pytest.mark.parametrize("by_blocks", [False, True])
@pytest.mark.parametrize("column", ["x", "town", "y"])
@pytest.mark.parametrize("row", [2, ROWS])
def test_a_zero_byte_is_an_error_with_its_place(
    tmp_path: Path, row: int, column: str, by_blocks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_size, "LARGE_TABLE_BYTES", 0 if by_blocks else 2**28)
    monkeypatch.setattr("xpnet.data.readers.text.SAMPLE", 2**16)
    with pytest.raises(DataFileError, match=rf"row {row:,}, column '{column}'.*zero byte"):
        read(tmp_path, text_with(b"1\0" if column == "x" else b"no\0", row, column))


def test_labels_that_end_in_a_zero_byte_are_no_other_label(tmp_path: Path) -> None:
    """NumPy would take them for the label without it."""
    import pyarrow
    import pyarrow.parquet
    from helpers.data_files import look

    table = pyarrow.table({"x": [1.0, 2.0, 3.0], "y": ["p", "p\0", "q"]})
    pyarrow.parquet.write_table(table, tmp_path / "d.parquet")
    with pytest.raises(DataFileError, match="zero byte.*'y'|'y'.*zero byte"):
        look(tmp_path / "d.parquet")
