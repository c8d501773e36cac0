"""Small data files of each format, and how many damaged copies of one end in an error."""

import gzip
import io
import warnings
from collections.abc import Iterable
from csv import reader
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from helpers.data_files import Opened, look
from xpnet.data.cells.gaps import MISSING
from xpnet.errors import DataFileError

ROWS = 40


def csv(rows: int = ROWS) -> bytes:
    """Numbers, gaps, text, quotes and dates."""
    lines = ['a,b,"the, name",when,y'] + [
        f'{k * 1.5},{"" if k % 9 == 4 else k},"n, {k % 3}",2024-01-{k % 28 + 1:02},{k % 2}'
        for k in range(rows)
    ]
    return "\n".join(lines).encode()


def npz(save: Any = np.savez) -> bytes:
    """An archive of X and y."""
    content = io.BytesIO()
    save(content, X=np.arange(ROWS * 3.0).reshape(ROWS, 3), y=np.arange(ROWS) % 2)
    return content.getvalue()


def npy() -> bytes:
    """One array."""
    content = io.BytesIO()
    np.save(content, np.arange(ROWS * 3.0).reshape(ROWS, 3))
    return content.getvalue()


def parquet() -> bytes:
    """Numbers, text and a label."""
    content = io.BytesIO()
    table = pyarrow.table(
        {"a": np.arange(ROWS) / 2, "b": ["p", "q"] * (ROWS // 2), "y": [0, 1] * (ROWS // 2)}
    )
    pyarrow.parquet.write_table(table, content)
    return content.getvalue()


def hdf5() -> bytes:
    """X and y."""
    h5py = pytest.importorskip("h5py", reason="HDF5 files are read by h5py, the extra 'data'")
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        file["X"], file["y"] = np.arange(ROWS * 3.0).reshape(ROWS, 3), np.arange(ROWS) % 2
    return content.getvalue()


FILES = {
    "d.csv": (csv, 300),
    "long.csv": (lambda: csv(1000), 100),
    "d.csv.gz": (lambda: gzip.compress(csv(), mtime=0), 100),
    "d.npz": (npz, 400),
    "packed.npz": (lambda: npz(np.savez_compressed), 200),
    "d.npy": (npy, 150),
    "d.parquet": (parquet, 200),
    "d.h5": (hdf5, 100),
}


def count_told(path: Path, files: Iterable[bytes], whole: bytes) -> int:
    """How many of some damaged files end in an error, each of one line with the file's name.

    The others must be tables with all that the file holds. whole : the file without damage
    """
    target, told = "x2" if path.suffix == ".npy" else "y", 0
    path.write_bytes(whole)
    undamaged = look(path, target=target)
    columns, labels = list(undamaged.cells), undamaged.labels
    X = undamaged.X if path.suffix == ".npz" else None
    del undamaged  # HDF5 gives its file again to who opens one of that name
    for damaged in files:
        path.write_bytes(damaged)
        try:
            with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
                warnings.simplefilter("ignore")
                patch.setattr(
                    "xpnet.data.readers.text.SAMPLE", 1000
                )  # most of the damage is behind it
                table = look(path, target=target)
        except DataFileError as error:
            told += 1
            assert path.name in str(error)
            assert len(str(error)) < 1000
        else:
            assert table.frame.rows == len(table.labelled)
            if path.suffix == ".csv":
                check_text(table, damaged)
            else:
                assert list(table.cells) == columns
            if path.suffix == ".npz":  # which holds checksums of its arrays
                np.testing.assert_array_equal(table.X, X)
                np.testing.assert_array_equal(table.labels, labels)
            del table
    return told


def check_text(table: Opened, content: bytes) -> None:
    """Require what Python's reader finds in a text file: the same rows, columns and words."""
    text = content.decode().removeprefix("\ufeff")  # raises an error for bytes that are not UTF-8
    assert "\0" not in text
    # The rows choose among separators, so it is one that gives so many columns.
    readings = [
        list(filter(None, reader(io.StringIO(text, newline=""), delimiter=mark)))
        for mark in ",;\t|"
    ]
    columns = len(table.frame.names)
    header, *rows = max(
        readings,
        key=lambda cells: (len(cells[0]) == columns, all(len(row) == columns for row in cells)),
    )
    assert len(header) == columns
    assert len(rows) == table.frame.rows
    for place, name in enumerate(table.frame.names):
        kind = table.frame.schema.field(name).type
        assert not pyarrow.types.is_binary(kind)
        if name in table.cells and pyarrow.types.is_dictionary(kind):
            words = [cell for cell in (row[place] for row in rows) if cell not in MISSING]
            assert [word for word in table.cells[name] if word is not None] == words
