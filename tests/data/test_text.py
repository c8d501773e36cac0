"""Separated text: what is read, and the sentence for what is not."""

import bz2
import errno
import gc
import gzip
import io
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pyarrow
import pyarrow.csv
import pyarrow.parquet
import pytest
from helpers.data_files import look, read
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from xpnet.data import open_data, table_size
from xpnet.data.cells.forms import TextRules
from xpnet.data.cells.gaps import GapValues
from xpnet.data.column_choice import pick_columns
from xpnet.data.frame_forms import learn_forms
from xpnet.data.readers.text import TextFile
from xpnet.errors import DataFileError

GOOD = "a,b,y\n1,2,x\n3,4.5,z\n"


def test_reads_numbers_names_and_labels(tmp_path: Path) -> None:
    found = read(tmp_path, GOOD)
    assert found.cells == {"a": [1, 3], "b": [2.0, 4.5]}
    assert found.frame.schema.field("a").type == pyarrow.int64()
    assert found.labels.tolist() == ["x", "z"]


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
    ids="mark crlf cr blank-lines semicolons tabs spaces quotes target-first".split(),
)
def test_reads_what_spreadsheets_write(tmp_path: Path, content: str) -> None:
    found = read(tmp_path, content)
    assert (found.cells, list(found.labels)) == ({"a": [1, 3], "b": [2.0, 4.5]}, ["x", "z"])


@pytest.mark.parametrize(
    ("content", "again"),
    [
        ("a,b,y\n1,2,x\n3,4.5,z\n", []),
        ("a,b,y\n1,2,0\n3,4.5,1\n", [["y"]]),
        ("a,b,y\n1,2024-05-01,x\n3,2024-06-01,z\n", [["b"]]),
        ("a,b,y\n,2,x\n,4.5,z\n", [["a"]]),
    ],
    ids="as-inferred whole-labels dates gaps".split(),
)
def test_a_small_file_is_parsed_once_and_columns_of_other_types_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, again: list[list[str]]
) -> None:
    parsed = []
    open_csv = pyarrow.csv.open_csv

    def counted(stream: Any, read: Any, parse: Any, convert: Any) -> Any:
        parsed.append(convert.include_columns)
        return open_csv(stream, read, parse, convert)

    monkeypatch.setattr(pyarrow.csv, "open_csv", counted)
    found = read(tmp_path, content)
    assert parsed == [["a", "b", "y"], *again]
    monkeypatch.setattr(pyarrow.csv, "open_csv", open_csv)
    monkeypatch.setattr(TextFile, "max_growth", 2**40)
    of_blocks = read(tmp_path, content)
    assert found.frame.schema == of_blocks.frame.schema
    assert str(found.cells) == str(of_blocks.cells)
    assert list(found.labels) == list(of_blocks.labels)


def test_tsv_and_upper_case_endings(tmp_path: Path) -> None:
    assert list(read(tmp_path, GOOD.replace(",", "\t"), "d.tsv").cells) == ["a", "b"]
    assert list(read(tmp_path, GOOD, "d.CSV").cells) == ["a", "b"]


def test_a_quoted_name_may_hold_separator_and_newline(tmp_path: Path) -> None:
    found = read(tmp_path, '"size\n(cm), net","b\r\n2",y\n1,2,p\n3,4,q\n')
    assert found.cells == {"size\n(cm), net": [1, 3], "b\r\n2": [2, 4]}
    assert found.labels.tolist() == ["p", "q"]


def test_a_quoted_value_may_hold_separator_and_newline(tmp_path: Path) -> None:
    assert read(tmp_path, 'a,y\n1,"p, q"\n2,"r\ns"\n').labels.tolist() == ["p, q", "r\ns"]


@given(
    arrays.arrays(
        np.float64,
        st.tuples(st.integers(1, 5), st.integers(1, 4)),
        elements=st.floats(allow_nan=False, allow_infinity=False),
    )
)
def test_every_float_comes_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, X: np.ndarray
) -> None:
    header = [f"c{k}" for k in range(X.shape[1])]
    lines = [",".join([*header, "y"])] + [",".join([*map(repr, row), "k"]) for row in X.tolist()]
    np.testing.assert_array_equal(read(tmp_path_factory.mktemp("d"), "\n".join(lines)).X, X)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "data.csv is empty"),
        ("\n\n", "it is blank"),
        ("\ufeff\nx,y\n1,2\n", "it is blank"),
        ("\rx,y\r\n1,2\n", "it is blank"),
        ("a,b,y\n", "has a header and no rows"),
        ("a,b,y", "has a header and no rows"),
        ("a,b,y\n\n\n", "has a header and no rows"),
        ("a,b,y\n1,2,3\n4,5\n", "Row #3: Expected 3 columns, got 2: 4,5. Correct that row"),
        ("a,b,y\n1,2,3,4\n", "Row #2: Expected 3 columns, got 4"),
        ("a,b,y\n1,2,\n3,4,\n", "none of 2 has one in column 'y'"),
        ("a,y\n1,2024-01-02\n", "column 'y' holds date32"),
        (b"a,b,y\n1,2,\xe9t\xe9\n", "row 2, column 'y' holds the byte 0xe9"),
        ("a,b,y\n1,2,x\n".encode("utf-16")[2:], "row 1, column 1 holds a zero byte"),
        ('a,b,y\n1,2,"x\n', "a quote is opened and never closed"),
    ],
)
def test_what_is_no_table_is_told(tmp_path: Path, content: str | bytes, said: str) -> None:
    with pytest.raises(DataFileError, match="data.csv") as caught:
        read(tmp_path, content)
    assert said in str(caught.value)
    assert len(str(caught.value)) < 400


THOUSANDS = (
    "a: holds text such as '1,234', which is read as 1234.0; with a decimal comma it would be 1.234"
)
COMMA = "commas are read as decimal marks; --decimal . if they separate thousands"


@pytest.mark.parametrize(
    ("content", "numbers", "notes"),
    [
        ("a;b;y\n1,234;0,5;p\n2,000;12,25;q\n", [[1.234, 0.5], [2, 12.25]], [COMMA]),
        (
            "a;b;y\n1.234;1,5;p\n999;2,5;q\n",
            [[1234, 1.5], [999, 2.5]],
            [COMMA, "a: holds text such as '1.234', which is read as 1234.0"],
        ),
        ("a;b;y\n1,234;5;p\n2,000;6;q\n", [[1.234, 5], [2, 6]], [COMMA]),
        (
            "a;b;y\n1,234;5.25;p\n2,000;6;q\n",
            [[1234, 5.25], [2000, 6]],
            [THOUSANDS],
        ),
        (
            'a,b,y\n"1,234",5,p\n"2,000",6,q\n',
            [[1234, 5], [2000, 6]],
            [THOUSANDS],
        ),
        ('a,b,y\n"1,234","5,5",p\n"2,000",6,q\n', [[1.234, 5.5], [2, 6]], [COMMA]),
        (
            "a;b;y\n1'234.5;5;p\n2'000.25;6;q\n",
            [[1234.5, 5], [2000.25, 6]],
            ['a: holds text such as "2\'000.25", which is read as 2000.25'],
        ),
        (
            "a;b;y\n12,5 %;7 €;p\n7,25 %;1.234,50 €;q\n",
            [[12.5, 7], [7.25, 1234.5]],
            [
                "a: holds text such as '12,5 %', which is read as 12.5",
                "b: holds text such as '1.234,50 €', which is read as 1234.5",
            ],
        ),
        (
            'a,b,y\n$5.50,1,p\n"-$1,200",2,q\n',
            [[5.5, 1], [-1200, 2]],
            ["a: holds text such as '-$1,200', which is read as -1200.0"],
        ),
    ],
)
@pytest.mark.parametrize("by_blocks", [False, True])
def test_how_a_file_writes_its_numbers_is_recognised(
    tmp_path: Path,
    content: str,
    numbers: list[list[float]],
    notes: list[str],
    by_blocks: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(table_size, "LARGE_TABLE_BYTES", 0 if by_blocks else 2**28)
    found = read(tmp_path, content)
    np.testing.assert_array_equal(found.X, numbers)
    assert [note for note in found.frame.notes if "Parquet" not in note] == notes
    assert any("Parquet" in note for note in found.frame.notes) == by_blocks


def test_marks_may_be_named(tmp_path: Path) -> None:
    for mark in "_^]":
        found = read(tmp_path, f"a;y\n1{mark}234.5;p\n2{mark}000;q\n", thousands=mark)
        assert found.cells == {"a": [1234.5, 2000]}
    assert read(tmp_path, "a;y\n1,234;p\n2,000;q\n", decimal=".").cells == {"a": [1234, 2000]}


def test_different_units_make_no_numbers(tmp_path: Path) -> None:
    assert read(tmp_path, "a,b,y\n5 EUR,1,p\n6 USD,2,q\n").cells["a"] == ["5 EUR", "6 USD"]


def test_words_of_few_kinds_among_numbers_are_gaps_and_told(tmp_path: Path) -> None:
    lines = ["a,b,c,y"] + [
        f"{k},{k if k % 20 else 'unknown'},{k if k % 3 else 'x'},p" for k in range(60)
    ]
    found = read(tmp_path, "\n".join(lines))
    assert found.cells["b"][:3] == [None, 1, 2]
    assert found.frame.notes == [
        "b: holds 'unknown' among numbers in 3 rows, which are gaps; categorical_features reads "
        "the column as text"
    ]
    assert found.cells["c"][:2] == ["x", "1"]
    assert read(tmp_path, "\n".join(lines), text=["b"]).cells["b"][:2] == ["unknown", "1"]


@pytest.mark.parametrize(
    ("cells", "labels"),
    [
        (["1.234,50 €", "999,00 €"], [1234.5, 999]),
        (["1,5", "2,25"], [1.5, 2.25]),
        (["007", "7"], ["007", "7"]),
        (["12", "7"], [12, 7]),
        (["1.0", "7.0"], [1, 7]),
        (["true", "False"], ["true", "False"]),
        (["p ", "q"], ["p", "q"]),
    ],
)
def test_labels_are_whole_numbers_numbers_or_text(
    tmp_path: Path, cells: list[str], labels: list[Any]
) -> None:
    lines = ["a;y"] + [f"{k};{cell}" for k, cell in enumerate(cells)]
    assert read(tmp_path, "\n".join(lines)).labels.tolist() == labels


def test_rows_without_a_label_are_known(tmp_path: Path) -> None:
    found = read(tmp_path, "a,y\n1,p\n2,\n3,NA\n4, \n5,q\n")
    assert (found.labels.tolist(), found.labelled.tolist()) == (
        ["p", "q"],
        [True, False, False, False, True],
    )
    found = read(tmp_path, "a,y\n1,1.5\n2,\n3,2\n")
    assert (found.labels.tolist(), found.labelled.tolist()) == ([1.5, 2], [True, False, True])


def test_dates_have_forms(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        "a,b,c,y\n2024-02-01,01.02.2024,2024-02-01 10:30,p\n2024-02-03,03.02.2024,2024-02-03 "
        "11:00,q\n",
    )
    forms = learn_forms(found.frame, ["a", "b", "c"], [], TextRules(), lambda _: GapValues())
    assert [form.form.kind for form in forms.values()] == ["date"] * 3
    seconds = forms["b"].form.read(found.cells["b"]).values / 1e6
    assert seconds.tolist() == [pandas.Timestamp(f"2024-02-0{day}").timestamp() for day in (1, 3)]


def test_what_the_user_says_of_the_file_counts(tmp_path: Path) -> None:
    content = "1,5/ä/p\n2/ü/q\n2/ä/q\n".encode("cp1252")
    found = read(
        tmp_path,
        content,
        target="x2",
        separator="/",
        decimal=",",
        encoding="cp1252",
        no_header=True,
    )
    assert found.cells == {"x0": [1.5, 2, 2], "x1": ["ä", "ü", "ä"]}
    with pytest.raises(DataFileError, match="unknown encoding: cp9"):
        read(tmp_path, GOOD, encoding="cp9")


def test_marked_encodings(tmp_path: Path) -> None:
    for encoding in ("utf-16", "utf-8-sig"):
        assert read(tmp_path, GOOD.replace("x", "é").encode(encoding)).labels.tolist() == ["é", "z"]


@pytest.mark.parametrize(("ending", "pack"), [(".gz", gzip.compress), (".bz2", bz2.compress)])
def test_compressed(tmp_path: Path, ending: str, pack: Any) -> None:
    assert read(tmp_path, pack(GOOD.encode()), f"d.csv{ending}").labels.tolist() == ["x", "z"]
    with pytest.raises(DataFileError, match="d.csv"):
        read(tmp_path, pack(GOOD.encode())[:-9], f"d.csv{ending}")


@pytest.mark.parametrize("by_blocks", [False, True])
def test_compressed_content_that_is_damaged_far_behind_its_beginning_is_told(
    tmp_path: Path, by_blocks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_size, "LARGE_TABLE_BYTES", 2**16 if by_blocks else 2**28)
    monkeypatch.setattr("xpnet.data.readers.text.SAMPLE", 1000)
    X = np.random.default_rng(0).normal(size=(40_000, 3))
    whole = gzip.compress(
        "\n".join(["a,b,y", *(",".join(map(repr, row)) for row in X.tolist())]).encode()
    )
    with pytest.raises(DataFileError, match=r"d.csv.gz: this file cannot be read: .*"):
        read(tmp_path, whole[:-4000] + bytes(4000), "d.csv.gz")


def test_a_small_file_of_much_text_is_read_by_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that are equal take a hundredth of their bytes, or less."""
    monkeypatch.setattr(table_size, "LARGE_TABLE_BYTES", 2**20)
    packed = gzip.compress(b"a,y\n" + b"1.5,2.5\n" * 300_000)
    assert len(packed) < 2**16
    assert "Parquet" in read(tmp_path, packed, "d.csv.gz").frame.notes[0]
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(packed)))
    assert "Parquet" in look("-").frame.notes[0]


def test_a_compressed_file_of_some_size(tmp_path: Path) -> None:
    X = np.random.default_rng(0).normal(size=(1000, 3))
    lines = ["a,b,c,y", *(",".join([*map(repr, row), "p"]) for row in X.tolist())]
    np.testing.assert_array_equal(
        read(tmp_path, gzip.compress("\n".join(lines).encode()), "d.csv.gz").X, X
    )


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gz"])
def test_standard_input(monkeypatch: pytest.MonkeyPatch, pack: Any) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(pack(GOOD.encode()))))
    found = look("-")
    assert (found.frame.name, found.labels.tolist()) == ("stdin", ["x", "z"])


@pytest.mark.parametrize("by_blocks", [False, True])
def test_types_are_those_of_the_whole_column(
    tmp_path: Path, by_blocks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_size, "LARGE_TABLE_BYTES", 0 if by_blocks else 2**28)
    lines = ["whole,half,late,empty,date,y"] + [
        f"{k},{k},{k % 5},,2024-01-0{k % 9 + 1},p" for k in range(90_000)
    ]
    lines[80_000], lines[80_001] = "1,2.5,word,x,1,q", "1,2,other,y,2,q"
    lines[80_002], lines[80_003] = "1,2,third,y,2,q", "1,2,fourth,y,2,q"
    found = read(tmp_path, "\n".join(lines))
    kinds = {field.name: str(field.type) for field in found.frame.schema if field.name != "y"}
    text = "dictionary<values=string, indices=int32, ordered=0>"
    assert kinds == {"whole": "int64", "half": "double", "late": text, "empty": text, "date": text}
    assert found.cells["half"][79_999] == 2.5
    assert found.cells["late"][79_998:80_000] == ["3", "word"]


def test_columns_of_one_name_are_told_apart_and_noted(tmp_path: Path) -> None:
    table = read(tmp_path, "a,a,a.1,,y\n1,2,3,4,p\n")
    assert list(table.cells) == ["a", "a.1", "a.1.1", "Unnamed: 3"]
    (note,) = table.frame.notes
    assert "2 columns 'a'" in note
    assert "'a', 'a.1'" in note
    assert read(tmp_path, "a,b,y\n1,2,p\n").frame.notes == []


@pytest.mark.parametrize("target", ["y", "y.1"])
def test_a_target_that_the_header_names_twice_is_an_error(tmp_path: Path, target: str) -> None:
    """The other column of its name would be a feature that holds the labels."""
    (tmp_path / "d.csv").write_text("a,y,y\n1,p,p\n2,q,q\n")
    other = "y.1" if target == "y" else "y"
    opened = open_data(tmp_path / "d.csv")
    with pytest.raises(DataFileError, match=f"d.csv.* 2 .*'{target}'.*--drop {other}"):
        pick_columns(opened, target, labelled=True)
    assert pick_columns(opened, target, drop=[other], labelled=True) == (["a"], target)
    assert pick_columns(opened, target, features=["a"], labelled=True) == (["a"], target)


def test_a_row_that_is_longer_than_those_at_the_beginning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xpnet.data.readers.text.SAMPLE", 1000)
    monkeypatch.setattr("xpnet.data.readers.text.MAX_LINE", 200_000)
    lines = ["a,b,y"] + [f"{k},word,p" for k in range(30_000)]
    lines[20_000] = f"1,{'x' * 150_000},q"
    assert len(read(tmp_path, "\n".join(lines)).cells["b"][19_999]) == 150_000
    lines[20_000] = f"1,{'x' * 1_000_000},q"
    with pytest.raises(DataFileError, match="a row has 200,000 bytes, or more"):
        read(tmp_path, "\n".join(lines))


def test_a_row_without_header_and_line_end(tmp_path: Path) -> None:
    assert read(tmp_path, "1,2,p", target="x2", no_header=True).cells == {"x0": [1], "x1": [2]}


TITLES = {
    "a title": "Report of May\n",
    "blank lines": "Report of May\n\n\n",
    "an open quote": 'Report of 5" pipes\n\n',
    "cells": "Report,of,May,2024\n,,,\n",
}
"""What stands above the header of exports."""


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("title", TITLES.values(), ids=TITLES)
def test_lines_above_the_header_are_skipped(tmp_path: Path, title: str, line_end: str) -> None:
    content = (title + GOOD).replace("\n", line_end)
    found = read(tmp_path, content, skip_rows=title.count("\n"))
    assert (found.cells, list(found.labels)) == ({"a": [1, 3], "b": [2.0, 4.5]}, ["x", "z"])
    assert found.frame.first_row == title.count("\n") + 2


def test_lines_above_the_header_may_be_longer_than_a_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xpnet.data.readers.text.MIN_BLOCK_BYTES_PER_COLUMN", 1)
    assert read(tmp_path, "x" * 10**6 + "\n" + GOOD, skip_rows=1).cells["a"] == [1, 3]


def test_lines_above_values_without_a_header_are_skipped(tmp_path: Path) -> None:
    found = read(tmp_path, "title\n1,2,p\n", target="x2", no_header=True, skip_rows=1)
    assert found.cells == {"x0": [1], "x1": [2]}
    assert found.frame.first_row == 2


def test_a_cell_over_two_lines_at_the_end_of_a_file_with_a_quote_in_its_title(
    tmp_path: Path,
) -> None:
    content = 'Pipes of 5"\na,b,y\n1,2,p\n3,4,"q\nr"\n'
    assert list(read(tmp_path, content, skip_rows=1).labels) == ["p", "q\nr"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("title\n", "has no line after the 2 that are skipped. Skip fewer"),
        ("title\n\n\na,y\n1,2\n", "line 3 must name the columns; it is blank. .* --skip-rows 3"),
        ("t\n\na,y\n1,2\n3,4,5\n", "Row #5: Expected 2 columns, got 3"),
        ("t\n\na,y\n1,\u0080\n".encode("latin-1"), "row 4, column 'y' holds the byte 0x80"),
    ],
)
def test_messages_count_the_lines_that_are_skipped(
    tmp_path: Path, content: str | bytes, said: str
) -> None:
    with pytest.raises(DataFileError, match=said):
        read(tmp_path, content, skip_rows=2)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("Report of May\n\n" + GOOD, "Line 3 of the file names them: add --skip-rows 2."),
        ("Report;May\n" + GOOD, "Line 2 of the file names them: add --skip-rows 1."),
        ('Report;May\n"a"; y\n1;2\n', "Line 2 of the file names them: add --skip-rows 1."),
        ("1,2,3\n4,5,6\n", "if lines stand above the header, add --skip-rows and their number"),
    ],
)
def test_a_header_below_other_lines_is_named(tmp_path: Path, content: str, said: str) -> None:
    with pytest.raises(DataFileError, match=said):
        read(tmp_path, content)


def test_missing_words_are_those_of_pandas(tmp_path: Path) -> None:
    lines = ["a,b,y"] + [
        f"{word},{word},p" for word in ("1", "2", "x", "", "NA", "None", "null", "n/a", "-", "?")
    ]
    ours = read(tmp_path, "\n".join(lines), text=["b"]).cells["b"]
    theirs = pandas.read_csv(tmp_path / "data.csv")["b"]
    assert [value is None for value in ours] == theirs.isna().tolist()


def test_many_columns_with_gaps_that_are_words(tmp_path: Path) -> None:
    X = np.random.default_rng(0).normal(size=(10, 2100))
    X[::3] = np.nan
    header = [*(f"c{k}" for k in range(2100)), "y"]
    lines = [",".join("NA" if np.isnan(x) else str(x) for x in row) + ",p" for row in X]
    np.testing.assert_array_equal(read(tmp_path, "\n".join([",".join(header), *lines])).X, X)


def test_many_columns_and_long_cells(tmp_path: Path) -> None:
    X = np.random.default_rng(0).normal(size=(5, 3000))
    lines = [",".join([*(f"c{k}" for k in range(3000)), "y"])] + [
        ",".join([*map(str, row), "p"]) for row in X.tolist()
    ]
    np.testing.assert_array_equal(read(tmp_path, "\n".join(lines)).X, X)
    assert read(tmp_path, f"a,b,y\n1,{'x' * 3_000_000},p\n2,q,p\n3,q,p\n").frame.rows == 3


def test_a_line_without_an_end_is_told_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xpnet.data.readers.text.MAX_LINE", 1000)
    assert read(tmp_path, f"a,y\n{'1' * 990},p\n2,q\n").frame.rows == 2
    with pytest.raises(DataFileError, match="a line has 1,000 characters, or more"):
        read(tmp_path, f"a,y\n{'1' * 5000},p\n")


def test_a_large_file_is_kept_as_parquet_and_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_size, "LARGE_TABLE_BYTES", 1000)
    monkeypatch.setattr("xpnet.data.readers.text.GROUP_BLOCKS", 1)
    (tmp_path / "kept").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "kept"))
    lines = ["a,b,when,code,y"] + [  # more than a block of text
        f"{k / 3},{'red' if k % 3 else ''},2024-01-{k % 28 + 1:02},{k % 50:03},{'pq'[k % 2]}"
        for k in range(40_000)
    ]
    large = read(tmp_path, "\n".join(lines), text=["code"])
    assert large.frame.blocks > 1
    assert "the rows are kept in a Parquet file" in large.frame.notes[0]
    monkeypatch.setattr(table_size, "LARGE_TABLE_BYTES", 2**28)
    whole = read(tmp_path, "\n".join(lines), text=["code"])
    assert whole.cells == large.cells
    np.testing.assert_array_equal(whole.labels, large.labels)
    assert list((tmp_path / "kept").iterdir())
    del large
    gc.collect()
    assert not list((tmp_path / "kept").iterdir())


def test_a_large_file_is_kept_in_few_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader of the Parquet file holds the metadata of each group: many small ones would take
    much memory.
    """
    monkeypatch.setattr(table_size, "LARGE_TABLE_BYTES", 1000)
    line = ",".join(["0.123456"] * 20) + "\n"
    text = ",".join([*(f"x{k}" for k in range(19)), "y"]) + "\n" + line * 70_000
    frame = read(tmp_path, text).frame
    assert frame.rows == 70_000
    assert frame.blocks == 2  # 11.2 MB of numbers, of which a group holds 8


def test_nothing_is_left_behind_by_a_large_file_that_is_no_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_size, "LARGE_TABLE_BYTES", 0)
    (tmp_path / "kept").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "kept"))
    with pytest.raises(DataFileError, match="Row #3001: Expected 2 columns, got 3"):
        read(tmp_path, "\n".join(["a,y", *["1,p"] * 2999, "1,2,3"]))
    assert not list((tmp_path / "kept").iterdir())

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pyarrow.parquet.ParquetWriter, "write_table", full)
    with pytest.raises(
        DataFileError, match="No space left on device.*TMPDIR names a folder with room"
    ):
        read(tmp_path, GOOD)
    assert not list((tmp_path / "kept").iterdir())


def test_pyarrow_reads_through_no_file_of_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its threads may still read ahead when a program ends, which would abort the program."""
    (tmp_path / "d.csv").write_text(GOOD)

    def opened(*_: Any, **__: Any) -> None:
        raise AssertionError("Python has opened the file")

    monkeypatch.setattr(Path, "open", opened)
    assert look(tmp_path / "d.csv").cells == {"a": [1, 3], "b": [2.0, 4.5]}
