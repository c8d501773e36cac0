"""Files of numbers alone are read piece by piece; what comes out is that of reading them as a whole."""

import gzip
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from xpnet.data import Dialect, Request, read_table, text
from xpnet.data import numeric as pieces
from xpnet.errors import DataFileError

ROWS = 40


def lines(separator: str = ",", decimal: str = ".") -> list[str]:
    """A header and rows of numbers, whose labels are a, b, c."""
    rng = np.random.default_rng(0)
    cells = [[str(value).replace(".", decimal) for value in row] for row in rng.normal(size=(ROWS, 3)).round(3)]
    return [separator.join(["p", "q", "r", "y"])] + [separator.join([*row, "abc"[k % 3]]) for k, row in enumerate(cells)]


def changed(row: int, line: str) -> str:
    """The file with another line in place of one. row : counted from 1"""
    return "\n".join([*lines()[:row], line, *lines()[row + 1 :]])


FILES: dict[str, str] = {
    "plain": "\n".join(lines()),
    "quotes": "\n".join(",".join(f'"{cell}"' for cell in line.split(",")) for line in lines()),
    "line ends of Windows": "\r\n".join(lines()) + "\r\n",
    "line ends of the Macintosh": "\r".join(lines()),
    "byte order mark": "\ufeff" + "\n".join(lines()),
    "blank lines": "\n\n".join(lines()) + "\n\n",
    "a separator line": "sep=;\n" + "\n".join(lines(";")),
    "a gap": changed(30, ",2,3,a"),
    "a word for a gap": changed(30, "1,NA,3,a"),
    "nan": changed(30, "1,nan,3,a"),
    "infinity": changed(30, "1,inf,3,a"),
    "a text": changed(30, "1,two,3,a"),
    "a short line": changed(30, "1,2,a"),
    "a label that is missing": changed(30, "1,2,3,"),
    "a word for a missing label": changed(30, "1,2,3,NA"),
    "an open quote": changed(30, '1,2,3,"a'),
    "a cell of two lines": changed(30, '1,2,3,"a\nb"'),
    "a cell of two lines among numbers": changed(30, '1,"2\n",3,a'),
    "a header alone": lines()[0],
    "one column that counts": "\n".join(["n," + lines()[0]] + [f"{k}," + line for k, line in enumerate(lines()[1:])]),
    "one column that is constant": "\n".join(["n," + lines()[0]] + ["7," + line for line in lines()[1:]]),
    "one column that is empty": "\n".join(["n," + lines()[0]] + ["," + line for line in lines()[1:]]),
    "constant columns alone": "\n".join(["p,y"] + [f"1,{k % 2}" for k in range(ROWS)]),
}


def outcome(path: Path, request: Request) -> Any:
    """What a table holds, or what is said of the file."""
    try:
        table = read_table(path, request)
    except DataFileError as error:
        return str(error)
    X = np.asarray(table.X.to_pandas() if hasattr(table.X, "to_pandas") else table.X)
    kept = replace(table, X=None, labels=None)
    return kept, str(X.dtype), X.astype(str).tolist(), table.labels.tolist(), {k: list(v) for k, v in table.ids.items()}


@pytest.mark.parametrize("missing", ["error", "keep"])
@pytest.mark.parametrize("size", [1, 100, 10**6])
@pytest.mark.parametrize("kind", FILES)
def test_pieces_of_any_size(
    kind: str, size: int, missing: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "d.csv"
    path.write_bytes(FILES[kind].encode())
    request = Request(target="y", missing=missing, dtype="float32")
    monkeypatch.setattr(pieces, "_PIECE", size)
    monkeypatch.setattr(pieces, "_LINES", 0)
    found = outcome(path, request)
    monkeypatch.setattr(text, "read_numbers", lambda reader: None)
    assert found == outcome(path, request)


@pytest.mark.parametrize(
    ("request_", "content"),
    [
        (Request(target="y", dialect=Dialect(decimal=",")), "\n".join(lines(";", ",")).encode()),
        (Request(target="y", ids=("p",)), FILES["plain"].encode()),
        (Request(target="p", ids=("y",)), FILES["a word for a missing label"].encode()),
        (Request(labelled=False, features=("r", "p")), FILES["plain"].encode()),
        (Request(target="x3", dialect=Dialect(header=False)), "\n".join(lines()[1:]).encode()),
        (Request(target="y", dialect=Dialect(encoding="utf-16")), FILES["plain"].encode("utf-16")),
        (Request(target="y", features=("n", "p")), FILES["one column that counts"].encode()),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_requests(
    request_: Request, content: bytes, packed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / ("d.csv.gz" if packed else "d.csv")
    path.write_bytes(gzip.compress(content) if packed else content)
    monkeypatch.setattr(pieces, "_PIECE", 200)
    found = outcome(path, request_)
    assert not isinstance(found, str)
    monkeypatch.setattr(text, "read_numbers", lambda reader: None)
    assert found == outcome(path, request_)


def test_numbers_are_read_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And not as a whole, where nothing forbids it: also with quotes, and with words for gaps."""
    monkeypatch.setattr(text.TextReader, "read", lambda self: pytest.fail("read as a whole"))
    for kind in ("plain", "quotes", "a gap", "a word for a gap"):
        path = tmp_path / "d.csv"
        path.write_text(FILES[kind])
        assert read_table(path, Request(target="y", missing="keep")).X.shape == (ROWS, 3)
