"""Separated text: what is read, and the sentence for what is not."""

import bz2
import gzip
import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from xpnet.data import Dialect, Request, Table, read_table
from xpnet.data.labels import as_labels
from xpnet.errors import DataFileError

GOOD = "a,b,y\n1,2,x\n3,4.5,z\n"


def read(folder: Path, content: str | bytes, name: str = "data.csv", **asked: Any) -> Table:
    """The table of a file with that content, and labels in column y."""
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_table(path, Request(**{"target": "y", **asked}))


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
    table = read_table(path, Request(features=["a", "b"], labelled=False))
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
    np.testing.assert_array_equal(read(tmp_path_factory.mktemp("d"), "\n".join(lines), features=header).X, X)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "the file is empty"),
        ("\n\n", "begins with a blank line"),
        ("a,b,y\n", "none below the header"),
        ("y\n1\n2\n", "at least one column beside the target"),
        ("a,b,z\n1,2,3\n", "no column 'y'; the first line names 'a', 'b', 'z'"),
        ("1.5,2,3\n1,2,3\n", "It holds numbers: if there is no line of names, --no-header"),
        ("a,a,y\n1,2,3\n", "'a' stands there twice"),
        ("a,b,y\n1,2,3\n4,5\n", "line 3 holds 2"),
        ("a,b,y\n1,2,3,4\n", "line 2 holds 4"),
        ("a,b,y\n1,2,x\n1,male,z\n3,4,x\n", "row 2, column 'b' holds 'male'"),
        ("a,b,y\n1,,x\n", "row 1, column 'b' is empty"),
        ("a,b,y\n1,2,x\n3,nan,z\n", "row 2, column 'b' is empty"),
        ("a,b,y\n1,2,x\n-inf,4,z\n", "row 2, column 'a' holds -inf"),
        ("a,b,y\n1,2,x\n3,4,\n", "row 2, column 'y' has none"),
        ("a,y\n1,p\n1,p\n1,p\n", "left out: a always holds 1"),
        (b"a,b,y\n1,2,\xe9t\xe9\n", "text must be UTF-8; byte 10 is not"),
        ("a,b,y\n1,2,x\n".encode("utf-16")[2:], "text must be UTF-8"),
        ('a,b,y\n1,2,"x\n', "not separated text"),
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
        ("d.xlsx", "d.xlsx. Save the sheet as CSV UTF-8."),
        ("diggits", "there is no file"),
    ],
)
def test_what_is_no_file_is_told(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "sub.csv").mkdir()
    (tmp_path / "d.xlsx").touch()
    with pytest.raises(
        DataFileError, match="Data is one of digits, iris, wine, breast_cancer, diabetes, or a file"
    ) as caught:
        read_table(tmp_path / name, Request(target="y"))
    assert said in str(caught.value)


MESSY = """\
\ufeffRow;Gewicht;Betrag;Art;Wann;Land;ja;y
1;39,4;1.079,90;rot;2024-01-02;DE;True;p
2;;12,50;blau;2024-02-03;DE;False;q
3;41,25;980,00;;2024-03-04;DE;true;p
4;40,5;1.200,00;rot;2024-04-05;DE;FALSE;q
"""


def test_what_spreadsheets_do_to_numbers(tmp_path: Path) -> None:
    table = read(tmp_path, MESSY, missing="keep", dtype="float32")
    assert table.X.schema.types == [pyarrow.float32(), pyarrow.float32(), pyarrow.string(), pyarrow.float32()]
    assert table.X.column("Gewicht").to_pylist() == [pytest.approx(39.4), None, 41.25, 40.5]
    assert table.X.column("Betrag").to_pylist() == [pytest.approx(1079.9), 12.5, 980, 1200]
    assert table.X.column("Art").to_pylist() == ["rot", "blau", None, "rot"]
    assert table.X.column("ja").to_pylist() == [1, 0, 1, 0]
    assert table.left_out == {"Row": "counts the rows", "Wann": "holds dates or times", "Land": "always holds 'DE'"}
    assert table.notes == [COMMA]


MARKS = "a: marks between thousands are taken out"
COMMA = "a comma stands before decimals; --decimal . if it parts thousands"


@pytest.mark.parametrize(
    ("content", "numbers", "notes"),
    [
        ("a;b;y\n1,234;0,5;p\n2,000;12,25;q\n", [[1.234, 0.5], [2, 12.25]], [COMMA]),
        ("a;b;y\n1.234;1,5;p\n999;2,5;q\n", [[1234, 1.5], [999, 2.5]], [COMMA]),
        ("a;b;y\n1,234;5;p\n2,000;6;q\n", [[1.234, 5], [2, 6]], [COMMA]),
        ("a;b;y\n1,234;5.25;p\n2,000;6;q\n", [[1234, 5.25], [2000, 6]], [MARKS]),
        ('a,b,y\n"1,234",5,p\n"2,000",6,q\n', [[1234, 5], [2000, 6]], [MARKS]),
        ('a,b,y\n"1,234","5,5",p\n"2,000",6,q\n', [[1.234, 5.5], [2, 6]], [COMMA]),
        ("a;b;y\n1\xa0234,5;5;p\n2\u202f000,25;6;q\n", [[1234.5, 5], [2000.25, 6]], [COMMA]),
        ("a;b;y\n1'234.5;5;p\n2'000.25;6;q\n", [[1234.5, 5], [2000.25, 6]], [MARKS]),
        (
            "a;b;y\n12,5 %;7 €;p\n7,25 %;1.234,50 €;q\n",
            [[12.5, 7], [7.25, 1234.5]],
            [COMMA, "a: % is taken out", "b: € is taken out"],
        ),
        (
            'a,b,y\n$5.50,1,p\n"-$1,200",2,q\n',
            [[5.5, 1], [-1200, 2]],
            ["a: $ is taken out, marks between thousands are taken out"],
        ),
        ("sep=;\r\na;b;y\r\n1;2;p\r\n3;4;q\r\n", [[1, 2], [3, 4]], []),
    ],
)
def test_how_a_file_writes_its_numbers_is_learned_of_all_columns(
    tmp_path: Path, content: str, numbers: list[list[float]], notes: list[str]
) -> None:
    table = read(tmp_path, content)
    np.testing.assert_array_equal(table.X, numbers)
    assert table.notes == notes


def test_different_units_make_no_numbers(tmp_path: Path) -> None:
    table = read(tmp_path, "a,b,y\n5 EUR,1,p\n6 USD,2,q\n")
    assert table.X.column("a").to_pylist() == ["5 EUR", "6 USD"]


@pytest.mark.parametrize(
    ("cells", "labels"),
    [
        (["1.234,50 €", "999,00 €"], [1234.5, 999]),
        (["1,5", "2,25"], [1.5, 2.25]),
        (["1.234", "1,5"], [1234, 1.5]),
        (["007", "7"], ["007", "7"]),
        (["12", "7"], [12, 7]),
        (["true", "false"], ["true", "false"]),
    ],
)
def test_labels_are_read_as_other_numbers_are(tmp_path: Path, cells: list[str], labels: list[Any]) -> None:
    lines = ["a;y"] + [f"{k},5;{cell}" for k, cell in enumerate(cells)]
    assert read(tmp_path, "\n".join(lines)).labels.tolist() == labels
    assert read(tmp_path, "\n".join(lines), text=["y"]).labels.dtype == as_labels("d", "y", cells).dtype


def test_a_point_between_thousands_far_below(tmp_path: Path) -> None:
    lines = ["a;y"] + [f"{k % 7},5;{'pq'[k % 2]}" for k in range(150_000)]
    lines[140_000] = "1.234;p"
    assert read(tmp_path, "\n".join(lines)).X[139_999, 0] == 1234


@pytest.mark.parametrize(
    "written", ["%Y-%m-%d", "%d.%m.%y", "%m/%d/%Y %I:%M %p", "%Y-%m-%dT%H:%M:%SZ", "%d-%b-%Y", "%d. %B %Y", "%B %d, %Y"]
)
def test_dates_are_told(tmp_path: Path, written: str) -> None:
    lines = ["a,when,y"] + [
        f'{k * k},"{pandas.Timestamp(2020, 1 + k % 12, 1 + k % 9).strftime(written)}",p' for k in range(50)
    ]
    assert read(tmp_path, "\n".join(lines)).left_out == {"when": "holds dates or times"}


def test_thousands_are_told(tmp_path: Path) -> None:
    table = read(tmp_path, 'a,b,y\n"10,079.90",1,p\n"1,000",2,q\n5.5,4,p\n')
    np.testing.assert_array_equal(table.X, [[10079.9, 1], [1000, 2], [5.5, 4]])
    assert table.notes == [MARKS]


def test_what_the_user_says_of_the_file_counts(tmp_path: Path) -> None:
    dialect = Dialect(separator="/", decimal=",", encoding="cp1252", header=False)
    table = read(tmp_path, "1,5/ä/p\n2/ü/q\n2/ä/q\n".encode("cp1252"), target="x2", dialect=dialect)
    assert table.X.to_pydict() == {"x0": [1.5, 2, 2], "x1": ["ä", "ü", "ä"]}
    with pytest.raises(DataFileError, match="must be one that Python knows; received 'cp9'"):
        read(tmp_path, GOOD, dialect=Dialect(encoding="cp9"))


def test_marked_encodings(tmp_path: Path) -> None:
    for encoding in ("utf-16", "utf-32", "utf-8-sig"):
        assert read(tmp_path, GOOD.replace("x", "é").encode(encoding)).labels.tolist() == ["é", "z"]


@pytest.mark.parametrize(("ending", "pack"), [(".gz", gzip.compress), (".bz2", bz2.compress)])
def test_compressed(tmp_path: Path, ending: str, pack: Any) -> None:
    assert read(tmp_path, pack(GOOD.encode()), f"d.csv{ending}").labels.tolist() == ["x", "z"]
    with pytest.raises(DataFileError, match="d.csv"):
        read(tmp_path, pack(GOOD.encode())[:-9], f"d.csv{ending}")


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gz"])
def test_standard_input(monkeypatch: pytest.MonkeyPatch, pack: Any) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(pack(GOOD.encode()))))
    table = read_table("-", Request(target="y"))
    assert (table.name, table.labels.tolist()) == ("stdin", ["x", "z"])


def test_every_bad_column_is_named(tmp_path: Path) -> None:
    lines = ["a,b,c,d,y"] + [f"{k},{k * 3},{k % 7},{k % 3},{'pq'[k % 2]}" for k in range(50_000)]
    lines[40_001], lines[100] = "1,?,2,oops,p", "5,,2,1,q"
    with pytest.raises(DataFileError) as caught:
        read(tmp_path, "\n".join(lines))
    assert "row 40001, column 'b' holds '?'" in str(caught.value)
    assert "row 40001, column 'd' holds 'oops'" in str(caught.value)
    assert "--text b --text d takes them as text; --drop b --drop d leaves out" in str(caught.value)


def test_numbers_that_turn_into_text_far_below_are_text(tmp_path: Path) -> None:
    lines = ["a,b,y"] + [f"{k * k},{k % 5 if k < 9000 else 'abc'[k % 3]},{'pq'[k % 2]}" for k in range(30_000)]
    table = read(tmp_path, "\n".join(lines))
    assert set(table.X.column("b").to_pylist()) == {"0", "1", "2", "3", "4", "a", "b", "c"}


def test_identifiers_are_carried_along_and_others_left_out(tmp_path: Path) -> None:
    lines = ["id,who,a,y"] + [f"00{k},name {k},{k % 7},{k % 2}" for k in range(40)]
    table = read(tmp_path, "\n".join(lines), ids=["id"])
    assert table.ids["id"][:2] == ["000", "001"]
    assert (table.features, table.left_out) == (["a"], {"who": "holds 40 different texts in 40 rows"})
    assert read(tmp_path, "\n".join(lines), drop=["id"], features=["who", "a"]).features == ["who", "a"]
    with pytest.raises(DataFileError, match="no column 'idd'"):
        read(tmp_path, "\n".join(lines), drop=["idd"])


def test_a_date_cannot_be_chosen_as_a_feature(tmp_path: Path) -> None:
    with pytest.raises(DataFileError, match="'b' holds dates or times"):
        read(tmp_path, "a,b,y\n1,24/12/2020,p\n2,25/12/2020,q\n", features=["a", "b"])


def test_a_model_says_what_columns_hold(tmp_path: Path) -> None:
    kinds: Any = {"zip": "text", "a": "number"}
    table = read(
        tmp_path, "zip,a\n01,False\n02,True\n", labelled=False, features=["zip", "a"], kinds=kinds, missing="keep"
    )
    assert table.X.column("zip").to_pylist() == ["01", "02"]
    with pytest.raises(DataFileError, match="row 1, column 'a' holds 'x'"):
        read(tmp_path, "zip,a\n01,x\n02,y\n", labelled=False, features=["zip", "a"], kinds=kinds)


def test_missing_words_are_those_of_pandas(tmp_path: Path) -> None:
    lines = ["a,b,y"] + [f"{word},{word},p" for word in ("1", "2", "x", "", "NA", "None", "null", "n/a", "-", "?")]
    path = tmp_path / "d.csv"
    path.write_text("\n".join(lines))
    ours = read_table(path, Request(labelled=False, features=["b"], text=["b"], missing="keep")).X.column("b")
    theirs = pandas.read_csv(path)["b"]
    assert [value is None for value in ours.to_pylist()] == theirs.isna().tolist()


def test_many_columns_and_long_cells(tmp_path: Path) -> None:
    X = np.random.default_rng(0).normal(size=(5, 3000)).astype(np.float32)
    lines = [",".join([*(f"c{k}" for k in range(3000)), "y"])] + [",".join([*map(str, row), "p"]) for row in X.tolist()]
    np.testing.assert_array_equal(read(tmp_path, "\n".join(lines), dtype="float32").X, X)
    assert read(tmp_path, f"a,b,y\n1,{'x' * 3_000_000},p\n2,q,p\n3,q,p\n").X.num_rows == 3
