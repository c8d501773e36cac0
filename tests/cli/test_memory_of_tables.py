"""How much anonymous memory commands take beside what they take for a small file."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
from anonymous_memory import linux, peak_of
from pyarrow import csv, parquet

COMMAND = """
from xpnet.data import sources
sources.LARGE_TABLE = int(sys.argv.pop(1))
from xpnet.cli import main
main()
"""
ROWS, COLUMNS = 500_000, 30
SIZE = 4 * ROWS * COLUMNS
"""Bytes of the table."""

BUFFERS = 4 * 10**7
"""Bytes, at most, of the blocks and batches through which rows come, whatever the size of the table."""

TIMES = 4
"""How often the folder holds it."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CSV file, a folder of Parquet with the same rows several times, and a small file like them."""
    path = tmp_path_factory.mktemp("tables")
    rng = np.random.default_rng(0)
    X = rng.normal(size=(ROWS, COLUMNS)).astype(np.float32)
    columns: dict[str, Any] = {f"x{k}": X[:, k] for k in range(COLUMNS)}
    table = pyarrow.table({**columns, "y": np.array(["no", "yes"])[(X[:, 0] > 0).astype(int)]})
    csv.write_csv(table, path / "large.csv")
    csv.write_csv(table.slice(0, 1000), path / "small.csv")
    (path / "parts").mkdir()
    for k in range(TIMES):
        parquet.write_table(table, path / f"parts/{k}.parquet", row_group_size=20_000)
    return path


def peak(folder: Path, *arguments: str, large: int = 2**26) -> int:
    """Return a command's peak of anonymous memory. large : bytes from which on tables are read block by block"""
    # The first may compile, which takes memory, too; and threads that read hold a few megabytes more or less.
    return min(peak_of(COMMAND, large, *arguments, folder=folder) for _ in range(4))


def train(folder: Path, data: str, large: int = 2**26) -> int:
    """As much in a training of one epoch."""
    options = ("--model", "mlp", "--hidden", "16", "--epochs", "1", "--batch-size", "2000", "-o", "m")
    return peak(folder, "train", data, "--target", "y", *options, large=large)


@linux
def test_tables(folder: Path) -> None:
    """A CSV file is held three times at most, as numbers of the trained dtype; a large folder is never whole."""
    small = train(folder, "small.csv")
    assert SIZE < train(folder, "large.csv") - small < 3 * SIZE + BUFFERS
    assert train(folder, "parts", large=2**24) - small < 0.7 * TIMES * SIZE + BUFFERS
    assert peak(folder, "evaluate", "m", "parts", large=2**24) - small < 0.7 * TIMES * SIZE + BUFFERS
