"""Separated text: what is read, and the sentence for what is not."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from xpnet.data import Table, read_table
from xpnet.errors import DataFileError

GOOD = "a,b,y\n1,2,x\n3,4.5,z\n"


def read(folder: Path, content: str | bytes, name: str = "data.csv", target: str | None = "y") -> Table:
    """The table of a file with that content."""
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_table(path, target=target)


def test_reads_numbers_names_and_labels(tmp_path: Path) -> None:
    table = read(tmp_path, GOOD)
    np.testing.assert_array_equal(table.X, [[1, 2], [3, 4.5]])
    assert table.X.dtype == np.float64
    assert table.features == ["a", "b"]
    assert table.labels.tolist() == ["x", "z"]


@pytest.mark.parametrize(
    "content",
    [
        "\ufeff" + GOOD,
        GOOD.replace("\n", "\r\n"),
        GOOD.replace("\n", "\r"),
        GOOD + "\n\n",
        GOOD.replace(",", ";"),
        GOOD.replace(",", "\t"),
        GOOD.replace(",", " , "),
        '"a","b","y"\n"1","2","x"\n3,4.5,z',
        "y,a,b\nx,1,2\nz,3,4.5\n",
    ],
    ids=[
        "mark",
        "crlf",
        "cr",
        "blank lines",
        "semicolons",
        "tabs",
        "spaces",
        "quotes, no last newline",
        "target first",
    ],
)
def test_reads_what_spreadsheets_write(tmp_path: Path, content: str) -> None:
    table = read(tmp_path, content)
    np.testing.assert_array_equal(table.X, [[1, 2], [3, 4.5]])
    assert (table.features, list(table.labels)) == (["a", "b"], ["x", "z"])


def test_tsv_and_upper_case_endings(tmp_path: Path) -> None:
    assert read(tmp_path, GOOD.replace(",", "\t"), "d.tsv").features == ["a", "b"]
    assert read(tmp_path, GOOD, "d.CSV").features == ["a", "b"]


def test_a_quoted_value_may_hold_separator_and_newline(tmp_path: Path) -> None:
    assert read(tmp_path, 'a,y\n1,"p, q"\n2,"r\ns"\n').labels.tolist() == ["p, q", "r\ns"]


def test_chosen_features_come_in_that_order(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    path.write_text("note,b,a\nhello,2,1\n")
    table = read_table(path, features=["a", "b"], labelled=False)
    np.testing.assert_array_equal(table.X, [[1, 2]])
    assert table.labels.size == 0


@given(
    arrays.arrays(
        np.float64,
        st.tuples(st.integers(1, 5), st.integers(1, 4)),
        elements=st.floats(allow_nan=False, allow_infinity=False),
    )
)
def test_every_float_comes_back_as_it_was(tmp_path_factory: pytest.TempPathFactory, X: np.ndarray) -> None:
    header = [f"c{k}" for k in range(X.shape[1])]
    lines = [",".join([*header, "y"])] + [",".join([*map(repr, row), "k"]) for row in X.tolist()]
    np.testing.assert_array_equal(read(tmp_path_factory.mktemp("d"), "\n".join(lines)).X, X)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "the file is empty"),
        ("\n\n", "begins with a blank line"),
        ("a,b,y\n", "none below the header"),
        ("y\n1\n2\n", "at least one column beside the target"),
        ("a,b,z\n1,2,3\n", "no column 'y'; the first line names 'a', 'b', 'z'"),
        ("a,a,y\n1,2,3\n", "'a' stands there twice"),
        ("a,b,y\n1,2,3\n4,5\n", "line 3 holds 2"),
        ("a,b,y\n1,2,3,4\n", "line 2 holds 4"),
        ("a,b,y\n1,2,x\n1,male,z\n", "column 'b' must hold numbers; row 2 holds 'male'"),
        ("a,b,y\n1,,x\n", "row 1, column 'b' is empty"),
        ("a,b,y\n1,2,x\n3,nan,z\n", "row 2, column 'b' holds nan"),
        ("a,b,y\n1,2,x\n-inf,4,z\n", "row 2, column 'a' holds -inf"),
        ("a,b,y\n1,2,x\n3,4,\n", "row 2, column 'y' has none"),
        ("a,b,y\n1,2,0.5\n3,4,1\n", "row 1 holds 0.5"),
        (b"a,b,y\n1,2,\xe9t\xe9\n", "text must be UTF-8"),
        ("a,b,y\n1,2,x\n".encode("utf-16"), "text must be UTF-8"),
        ('a,b,y\n1,2,"x\n', "not separated text"),
        ("a,b,y\n1,2," + "x" * 200_000, "not separated text"),
    ],
)
def test_what_is_no_table_is_told(tmp_path: Path, content: str | bytes, said: str) -> None:
    with pytest.raises(DataFileError, match="data.csv") as caught:
        read(tmp_path, content)
    assert said in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_target_must_be_named(tmp_path: Path) -> None:
    with pytest.raises(DataFileError, match="must be named as the target: one of 'a', 'b', 'y'"):
        read(tmp_path, GOOD, target=None)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("no.csv", "there is no file"),
        ("sub.csv", "is a folder"),
        ("d.xlsx", "received"),
        ("diggits", "there is no file"),
    ],
)
def test_what_is_no_file_is_told(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "sub.csv").mkdir()
    (tmp_path / "d.xlsx").touch()
    with pytest.raises(DataFileError, match="Data is one of digits, iris, wine, breast_cancer, or a file") as caught:
        read_table(tmp_path / name, target="y")
    assert said in str(caught.value)
