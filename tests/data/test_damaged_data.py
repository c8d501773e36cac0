"""Whatever a file holds, it becomes a table or one sentence."""

from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from helpers.damaged_data import FILES, ROWS, count_told, npz, parquet
from helpers.data_files import look
from helpers.mutants import mutants

from xpnet.errors import DataFileError

ALL_CHECKED = ("d.csv.gz",)
"""Files that hold a checksum of every byte, so that a damaged one is never read."""


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_read_or_told_in_one_line(tmp_path: Path, name: str) -> None:
    make, count = FILES[name]
    whole = make()
    told = count_told(tmp_path / name, mutants(whole, count), whole)
    assert 0 < told < count or (name in ALL_CHECKED and told == count)


def test_a_name_as_long_as_an_archive_allows_is_cut_short(tmp_path: Path) -> None:
    whole = npz()
    header = bytearray(whole)
    header[26:28] = b"\xff\x0f"  # the length of the first name, in the archive's local header
    assert count_told(tmp_path / "d.npz", [bytes(header)], whole) == 1


def test_a_folder_with_a_damaged_file(tmp_path: Path) -> None:
    folder, told = tmp_path / "rows", 0
    folder.mkdir()
    (folder / "0.parquet").write_bytes(parquet())
    for damaged in mutants(parquet(), 200):
        (folder / "1.parquet").write_bytes(damaged)
        try:
            assert look(folder).frame.rows >= ROWS
        except DataFileError as error:
            told += 1
            assert "rows" in str(error)
            assert len(str(error)) < 1000
    assert told > 100


def test_a_group_of_rows_that_counts_them_wrongly_is_told(tmp_path: Path) -> None:
    whole, path, told = parquet(), tmp_path / "rows.parquet", 0
    for place in [
        place for place, byte in enumerate(whole) if byte == 2 * ROWS
    ]:  # as Thrift writes the number
        path.write_bytes(whole[:place] + bytes([2 * ROWS + 4]) + whole[place + 1 :])
        try:
            counted = pyarrow.parquet.read_metadata(path).row_group(0).num_rows
        except (OSError, pyarrow.ArrowInvalid):  # this byte is another's
            continue
        if counted != ROWS:
            with pytest.raises(DataFileError, match="as many rows as its metadata"):
                look(path)
            told += 1
    assert told
