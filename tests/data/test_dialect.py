"""The dialect of a text, from its first lines alone."""

import pytest

from xpnet.data.readers import text_dialect
from xpnet.data.readers.text_dialect import find_separator, has_decimal_commas, header_of

USUAL = ",;\t|"


@pytest.mark.parametrize(
    ("text", "separator", "width"),
    [
        ("a,b\n1,2\n3,4\n", ",", 2),
        ("a;b;c\n1,5;2,5;3\n1;2;3\n", ";", 3),
        ("a\tb\n1,2\t3\n", "\t", 2),
        ("a|b,c|d\n1|2,3|4\n", "|", 3),  # both are regular: the one with more columns
        ("a;b,c\n1;2\n3;4\n5;6\n", ";", 2),  # commas are in one line alone
        ("name\nx\ny\n", ",", 1),
        ("a,b;c\n1,2;3\n", ",", 2),  # the same number of columns: the usual one
    ],
)
def test_the_separator_that_divides_the_lines_alike(text: str, separator: str, width: int) -> None:
    found, rows = find_separator(text, USUAL)
    assert found == separator
    assert len(rows[0]) == width


def test_the_last_of_several_lines_may_be_cut() -> None:
    assert find_separator("a;b\n1;2\n3;4\n5", ";")[1] == [["a", "b"], ["1", "2"], ["3", "4"]]
    assert find_separator("a;b\n1;2\n3", ";")[1] == [["a", "b"], ["1", "2"]]
    assert find_separator("a;b\n1", ";")[1] == [["a", "b"], ["1"]]
    assert find_separator("a;b\n\n1;2\n\n", ";")[1] == [["a", "b"], ["1", "2"]]


def test_a_few_rows_are_compared_and_some_more_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    regular = "a;b\n" + "1,2;3\n" * 19
    assert find_separator(regular + "1,2,3\n" * 5, ",;")[0] == ";"
    assert find_separator("a;b\n" + "1,2;3\n" * 18 + "1,2,3\n" * 5, ",;")[0] == ";"
    assert find_separator("x,y;z\n" + "1,2;3\n" * 18 + "1,2\n" * 5, ";,")[0] == ","
    assert len(find_separator("a;b\n" + "1;2\n" * 500, ";")[1]) == 200
    monkeypatch.setattr(text_dialect, "_ROWS_LOOKED_AT", 7)
    assert len(find_separator("a;b\n" + "1;2\n" * 500, ";")[1]) == 7


@pytest.mark.parametrize(
    ("cells", "names", "repeated"),
    [
        (["a", " b ", "c"], ["a", "b", "c"], []),
        (["", "a", " "], ["Unnamed: 0", "a", "Unnamed: 2"], []),
        (["a", "a", "a"], ["a", "a.1", "a.2"], [["a", "a.1", "a.2"]]),
        (["a", "a.1", "a"], ["a", "a.1", "a.2"], [["a", "a.2"]]),
        (["a", "a", "a.1"], ["a", "a.1", "a.1.1"], [["a", "a.1"]]),
        (["x", "y", "x", "y"], ["x", "y", "x.1", "y.1"], [["x", "x.1"], ["y", "y.1"]]),
    ],
)
def test_each_column_has_a_name_of_its_own(
    cells: list[str], names: list[str], repeated: list[list[str]]
) -> None:
    assert header_of(cells) == (names, repeated)


@pytest.mark.parametrize(
    ("cells", "separator", "decimal"),
    [
        (["1,5"], ",", True),
        (["1,234"], ",", False),  # perhaps thousands
        (["1,234"], ";", True),
        (["1,2345"], ",", True),
        ([",5"], ",", True),
        (["-1,5e-3", "word"], ",", True),
        (["+2,5E7"], ",", True),
        ([" 1,5 "], ",", True),
        (["1,5", "2.5"], ",", False),
        (["1,5", "1.234"], ",", True),  # a point before three digits may separate thousands
        (["1,5", "1.234,5"], ",", True),
        (["1,5", "1.2345"], ",", False),
        (["1,5", ".5e3"], ",", False),
        (["1,5", "a.5"], ",", True),
        (["12", "x"], ";", False),
        (["1,5 kg"], ";", False),
        ([], ";", False),
    ],
)
def test_commas_that_are_certainly_decimal_marks(
    cells: list[str], separator: str, decimal: bool
) -> None:
    assert has_decimal_commas([cells], separator) is decimal
    assert has_decimal_commas([["x"], *([cell] for cell in cells)], separator) is decimal
