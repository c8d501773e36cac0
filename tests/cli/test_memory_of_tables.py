"""How much anonymous memory commands take beside what they take for a small file."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
from helpers.anonymous_memory import linux, peak_of
from pyarrow import csv, parquet

COMMAND = """
from xpnet.data import table_size
table_size.LARGE_TABLE_BYTES = int(sys.argv.pop(1))
from xpnet.cli import main
main()
"""
ROWS, COLUMNS = 500_000, 30
SIZE = 4 * ROWS * COLUMNS
"""Bytes of the table."""

BUFFERS = 4 * 10**7
"""Bytes, at most, of the blocks and batches through which rows come, whatever the size of the
table.
"""

TIMES = 4
"""How often the folder holds it."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CSV file, a folder of Parquet with the same rows several times, and a small file like
    them.
    """
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


def peaks(folder: Path, *arguments: str, large: int = 2**26) -> Iterator[int]:
    """Yield a command's peaks of anonymous memory, run after run. large : bytes of tables that are
    read by blocks
    """
    # The first may compile, which takes memory, too; and threads that read hold a few megabytes
    # more or less.
    return (peak_of(COMMAND, large, *arguments, folder=folder) for _ in range(4))


def train(folder: Path, data: str, large: int = 2**26) -> Iterator[int]:
    """Yield those of a training of one epoch."""
    options = (
        "--model",
        "mlp",
        "--hidden",
        "16",
        "--epochs",
        "1",
        "--batch-size",
        "2000",
        "-o",
        "m",
    )
    return peaks(folder, "train", data, "--target", "y", *options, large=large)


@linux
@pytest.mark.attack
@pytest.mark.exhaustive  # it takes 45 seconds
def test_tables(folder: Path) -> None:
    """A CSV file is held twice at most, as numbers of the trained dtype; a large folder is never
    whole.
    """
    small = min(train(folder, "small.csv"))
    assert any(SIZE < peak - small < 2 * SIZE + BUFFERS for peak in train(folder, "large.csv"))
    by_blocks = small + 0.7 * TIMES * SIZE + BUFFERS
    assert any(peak < by_blocks for peak in train(folder, "parts", large=2**24))
    assert any(peak < by_blocks for peak in peaks(folder, "evaluate", "m", "parts", large=2**24))
