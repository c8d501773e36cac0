"""Text files that are read by way of a Parquet file are the table that their reading at once gives."""

import gc
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from xpnet.data import Request, converted, read_table, sources
from xpnet.data.large import read_large
from xpnet.data.table import Coded
from xpnet.errors import DataFileError

ROWS = 3000


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Everything is large, groups are small, and files go to a folder of the test."""
    monkeypatch.setattr(sources, "LARGE_COPY", 1000)
    monkeypatch.setattr(sources, "BLOCK_BYTES", 1)
    (tmp_path / "kept").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "kept"))
    monkeypatch.setattr("xpnet.data.text.MISSING", ["", "NA"])


def write(path: Path, last: dict[str, str] | None = None) -> Path:
    """A file with columns of every kind; the last row may have other cells."""
    rng = np.random.default_rng(0)
    columns: dict[str, Any] = {
        "number": rng.normal(size=ROWS),
        "whole": rng.integers(0, 9, ROWS),
        "gaps": np.where(np.arange(ROWS) % 7, rng.normal(size=ROWS), np.nan),
        "price": [f'"$ {k:,}.50"' for k in rng.integers(0, 10**7, ROWS)],
        "truth": rng.choice(["True", "false"], ROWS),
        "colour": rng.choice(["red", "green", ""], ROWS),
        "when": [f"2024-01-{k % 28 + 1:02}" for k in range(ROWS)],
        "code": [f"{k % 50:03}" for k in range(ROWS)],
        "y": rng.choice(["p", "q"], ROWS),
    }
    rows = [list(map(str, row)) for row in zip(*columns.values(), strict=True)]
    rows = [[cell if cell != "nan" else "" for cell in row] for row in rows]
    for name, cell in (last or {}).items():
        rows[-1][list(columns).index(name)] = cell
    path.write_text("\n".join([",".join(columns), *map(",".join, rows)]) + "\n")
    return path


def both(path: Path, **asked: Any) -> tuple[Any, Any]:
    """The table that is read block by block, and the one that is read at once."""
    request = Request(**{"target": "y", "missing": "keep", "dtype": "float32", **asked})
    large = read_large(path, request)
    assert large is not None
    return large, read_table(path, request)


def rows_of(table: Any) -> Any:
    """X as columns of cells."""
    parts = [part for block in range(table.X.blocks) for part in table.X.parts(block)]
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts)
    return {name: [cell for part in parts for cell in part.column(name).to_pylist()] for name in table.features}


def check_same(path: Path, **asked: Any) -> None:
    """Require the same features, cells and labels."""
    large, whole = both(path, **asked)
    assert (large.features, large.name, large.target) == (whole.features, whole.name, whole.target)
    assert set(large.left_out) == set(whole.left_out)
    labels = large.labels.distinct[large.labels.places] if isinstance(large.labels, Coded) else large.labels
    assert labels.dtype == whole.labels.dtype
    np.testing.assert_array_equal(labels, whole.labels)
    found = rows_of(large)
    if isinstance(found, np.ndarray):
        np.testing.assert_array_equal(found, whole.X)
    else:
        for name in whole.features:
            expected, cells = whole.X.column(name).to_pylist(), found[name]
            missing = [cell is None or cell != cell for cell in expected]
            assert missing == [cell is None or cell != cell for cell in cells]
            assert [c for c, m in zip(cells, missing, strict=True) if not m] == [
                c for c, m in zip(expected, missing, strict=True) if not m
            ]


@pytest.mark.parametrize("ending", ["d.csv", "d.csv.gz"])
def test_every_kind_of_column(tmp_path: Path, ending: str) -> None:
    path = write(tmp_path / "d.csv")
    if ending.endswith(".gz"):
        import gzip

        (tmp_path / ending).write_bytes(gzip.compress(path.read_bytes()))
    check_same(tmp_path / ending)
    check_same(tmp_path / ending, features=["number", "price", "gaps"])


@pytest.mark.parametrize(
    "last",
    [
        {"number": ""},
        {"price": "€ 3"},
        {"truth": "maybe"},
        {"when": "soon"},
        {"y": "1"},
    ],
    ids=str,
)
def test_the_last_row_decides_as_any_other(tmp_path: Path, last: dict[str, str]) -> None:
    check_same(write(tmp_path / "d.csv", last))


@pytest.mark.parametrize("target", ["whole", "code", "price", "number", "truth", "colour"])
def test_labels(tmp_path: Path, target: str) -> None:
    path = write(tmp_path / "d.csv")
    if target == "colour":
        for read in (read_large, read_table):
            with pytest.raises(DataFileError, match="every row needs a label; row [0-9]+, column 'colour' has none"):
                read(path, Request(target=target, missing="keep", dtype="float32"))
        return
    check_same(path, target=target)


def test_a_word_among_numbers_in_the_last_row(tmp_path: Path) -> None:
    path = write(tmp_path / "d.csv", {"whole": "many", "number": "one", "code": "x"})
    said = []
    for read in (read_large, read_table):
        with pytest.raises(DataFileError, match="row 3000, column 'number' holds 'one'") as raised:
            read(path, Request(target="y", missing="keep", dtype="float32"))
        said.append(str(raised.value))
    assert said[0] == said[1]
    check_same(path, text=["whole", "number", "code"])


def test_what_is_no_separated_text(tmp_path: Path) -> None:
    path = write(tmp_path / "d.csv", {"y": "p,q"})
    for read in (read_large, read_table):
        with pytest.raises(DataFileError, match="line 3001 holds 10"):
            read(path, Request(target="y", missing="keep"))
    write(path, {"y": '"p'})
    with pytest.raises(DataFileError, match="a quote is opened and never closed"):
        read_large(path, Request(target="y", missing="keep"))
    assert list((tmp_path / "kept").iterdir()) == []


def test_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, kept = write(tmp_path / "d.csv"), tmp_path / "kept"
    large, _ = both(path, ids=["code"])
    (folder,) = kept.iterdir()
    assert large.notes[0].endswith(f"GB in {kept}, which is removed at the end")
    assert list(large.ids["code"])[:2] == ["000", "001"]
    del large
    gc.collect()
    assert list(kept.iterdir()) == []

    def interrupted(far: str) -> None:
        assert len(list(kept.iterdir())) == 1
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        read_large(path, Request(target="y"), interrupted)
    assert list(kept.iterdir()) == []


def test_a_full_disk_is_told_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "d.csv")
    monkeypatch.setattr(converted.shutil, "disk_usage", lambda place: type("Usage", (), {"free": 100}))
    with pytest.raises(DataFileError, match="Let TMPDIR name a folder with more"):
        read_large(path, Request(target="y"))
    assert list((tmp_path / "kept").iterdir()) == []


def test_a_small_file_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "LARGE_COPY", 10**6)
    path = write(tmp_path / "d.csv")
    assert read_large(path, Request(target="y")) is None
    assert converted.table_bytes(converted.Content(path), Request(target="y")) == 0
    monkeypatch.setattr(sources, "LARGE_COPY", 10**5)
    size = converted.table_bytes(converted.Content(path), Request(target="y"))
    assert 0.9 * ROWS * 9 * 8 < size < 1.1 * ROWS * 9 * 8
