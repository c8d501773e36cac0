"""Digits that name things: which bytes of a text may hold them, and which columns do."""

import pyarrow
import pytest

from xpnet.data.readers import digit_names
from xpnet.data.readers.digit_names import columns_of_names, large_columns, may_begin_with_zero


@pytest.mark.parametrize(
    ("cell", "may"),
    [
        ("01", True),
        ("0123456789", True),
        ("4,05", True),
        ("4;05", True),
        ("-01", True),
        ("+01", True),
        (" 01", True),
        ("01 ", True),
        ('"01"', True),
        ("x ,01", True),
        ("0", False),
        ("00", True),
        ("10", False),
        ("1.01", False),
        ("0.5", False),
        ("-0.5", False),
        ("00.5", False),
        ("01.5", False),
        ("1 01", False),
        ("12-01", False),
        ("a01", False),
        ("a 01", False),
        ("a-01", False),
        ("01a", False),
        ("01:30", False),
        ("10:01", False),
        ("01-02", False),
        ("01/02", False),
        ("2024-01-02", False),
        ("0" + "1" * 21, True),
        ("1" * 30, False),
    ],
)
@pytest.mark.parametrize(("before", "after"), [("a,b\n7,", ",7\n"), ("b\n", "\n"), ("b\n7\t", "")])
def test_cells_that_begin_with_zero(cell: str, may: bool, before: str, after: str) -> None:
    content = (before + cell + after).encode()
    assert may_begin_with_zero([content], "utf-8") is may
    for place in range(1, len(content)):
        assert may_begin_with_zero([content[:place], content[place:]], "utf-8") is may
    assert may_begin_with_zero([bytes([byte]) for byte in content], "utf-8") is may


@pytest.mark.parametrize("place", [0, 1, 23, 24, 25, 26, 27, 50, 63, 64, 65, 89, 90, 91, 127, 128])
def test_a_zero_at_any_place_of_the_parts_that_are_looked_at(
    monkeypatch: pytest.MonkeyPatch, place: int
) -> None:
    monkeypatch.setattr(digit_names, "_BYTES_AT_ONCE", 64)
    line = b"," * place
    assert may_begin_with_zero([line + b"017" + b"," * 100], "utf-8")
    assert not may_begin_with_zero([line + b"107" + b"," * 100], "utf-8")


def test_all_parts_are_taken_only_until_a_zero_was_seen() -> None:
    assert not may_begin_with_zero([], "utf-8")
    taken = []

    def parts() -> object:
        for part in (b"a,017,8\n" + b"1,2\n" * 20, b"1,2\n" * 20, b"3,4\n"):
            taken.append(part)
            yield part

    assert may_begin_with_zero(parts(), "utf-8")
    assert len(taken) == 3  # the stream is read to its end, whose bytes may be damaged


def test_an_encoding_of_two_bytes_says_nothing() -> None:
    assert may_begin_with_zero([b"1,2\n"], "utf-16")
    assert not may_begin_with_zero([b"1,2\n"], "latin-1")


def batches_of(**columns: list[str | None]) -> list[pyarrow.RecordBatch]:
    """A batch for each row."""
    return pyarrow.table(
        {name: pyarrow.array(cells, pyarrow.string()) for name, cells in columns.items()}
    ).to_batches(1)


@pytest.mark.parametrize(
    ("cells", "example"),
    [
        (["01234", "56789"], "01234"),
        (["56789", None, "01234", "00001"], "01234"),
        (["12345678901234567890", "2"], "12345678901234567890"),
        (["1234567890123456", "2"], None),  # exact in float64
        (["9007199254740993", "2"], "9007199254740993"),  # the first one that is not
        (["1", "2", "0"], None),
        (["0.5", "1e5"], None),
        ([None, None], None),
    ],
)
def test_columns_whose_digits_name_things(cells: list[str | None], example: str | None) -> None:
    expected = {} if example is None else {"a": example}
    assert columns_of_names(batches_of(a=cells, b=["7"] * len(cells))) == expected


@pytest.mark.parametrize(
    ("values", "large"),
    [
        ([1.0, 2.0**53], False),
        ([1.0, 2.0**53 + 2], True),
        ([-(2.0**53) - 2, 1.0], True),
        ([-(2.0**53), None], False),
        ([None, None], False),
        ([None, 1e300, None], True),
    ],
)
def test_columns_of_numbers_that_float64_does_not_hold_exactly(
    values: list[float | None], large: bool
) -> None:
    table = pyarrow.table({"a": pyarrow.array(values, pyarrow.float64()), "b": [1.0] * len(values)})
    for rows in (1, 10):
        assert [*large_columns(table.to_batches(rows), ["a", "b"])] == ["a"] * large
    assert [*large_columns(table.to_batches(1), ["b"])] == []


def test_a_large_column_is_named_once() -> None:
    table = pyarrow.table({"a": [1e300, 1e300], "b": [1.0, 1e300]})
    assert [*large_columns(table.to_batches(1), ["a", "b"])] == ["a", "b"]
