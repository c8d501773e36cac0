"""Labels to classes and indices."""

import decimal
from typing import Any

import numpy as np
import pyarrow
import pytest

from xpnet.data import Table, class_indices, class_labels, labels, quantities
from xpnet.data.labels import as_labels, read_labels
from xpnet.data.table import Coded
from xpnet.errors import DataFileError


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([2, 1, 10], [2, 1, 10]),
        (np.array([2.0, 1.0]), [2, 1]),
        (["2", "1", "10"], [2, 1, 10]),
        (["-1", "1"], [-1, 1]),
        (["007", "7"], ["007", "7"]),
        (["1.0", "2.0"], [1, 2]),
        (["1.5", "2"], [1.5, 2.0]),
        (np.array([0.5, 1.0]), [0.5, 1.0]),
        ([" a", "b "], ["a", "b"]),
        ([True, False], ["True", "False"]),
        (["9" * 30, "1"], [1e30, 1.0]),
    ],
)
def test_labels_are_whole_numbers_or_text(values: Any, expected: list[Any]) -> None:
    assert as_labels("d", "y", values).tolist() == expected


def labelled(*labels: Any) -> Table:
    """A table with those labels."""
    return Table("d", np.zeros((len(labels), 1)), ["x"], np.array(labels), "y")


def test_classes_are_sorted_and_two_at_least() -> None:
    assert class_labels(labelled(10, 2, 2)) == [2, 10]
    with pytest.raises(DataFileError, match="every label is 'a'"):
        class_labels(labelled("a", "a"))


def test_quantities_are_no_classes_and_text_is_no_quantity() -> None:
    with pytest.raises(DataFileError, match=r"row 1 holds 0.5. --task regress"):
        class_labels(labelled(0.5, 1.0))
    with pytest.raises(DataFileError, match="--task classify takes text"):
        quantities(labelled("a", "b"))
    assert quantities(labelled(1, 2)).tolist() == [1.0, 2.0]


def test_indices_compare_labels_as_text() -> None:
    np.testing.assert_array_equal(class_indices(labelled(2, 1, 2), ["1", "2", "x"]), [1, 0, 1])


def test_an_unknown_label_is_named_with_its_row() -> None:
    with pytest.raises(DataFileError, match="row 3 holds 'c'"):
        class_indices(labelled("a", "b", "c"), ["a", "b"])


@pytest.mark.parametrize(
    "column",
    [
        pyarrow.array(["b", "a", "b", " a"] * 9),
        pyarrow.array(["1", "02", "7", "1"] * 9),
        pyarrow.array(["1.5", "2", "7", "-1"] * 9),
        pyarrow.array([True, False, True, True] * 9),
        pyarrow.array([3, 1, 3, 2] * 9, "int8"),
        pyarrow.array([3.0, 1, 3, 2] * 9, "float32"),
        pyarrow.array([3.5, 1, 3, 2] * 9, "float32"),
        pyarrow.array([decimal.Decimal("1.50"), decimal.Decimal("2.25")] * 18),
        pyarrow.array(range(36)),
    ],
    ids=lambda column: f"{column.type}-{column[0]}",
)
@pytest.mark.parametrize("few", [2, 100])
def test_labels_of_very_many_rows_are_those_of_the_column(
    column: Any, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(labels, "_FEW", few)
    expected = as_labels("d", "y", pyarrow.chunked_array([column]))
    found = read_labels("d", "y", [column[:1], column[1:1], column[1:20], column[20:]], len(column))
    if isinstance(found, Coded):
        assert found.distinct.tolist() == np.unique(expected).tolist()
        assert found.places.dtype == np.uint8
        found = found.distinct[found.places]
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)
    table = Table("d", None, [], read_labels("d", "y", [column], len(column)), "y")
    if found.dtype.kind in "if":
        np.testing.assert_array_equal(quantities(table), expected)
    if found.dtype.kind != "f":
        assert class_labels(table) == np.unique(expected).tolist()
        classes = class_labels(table)
        np.testing.assert_array_equal(np.array(classes)[class_indices(table, classes)], expected)


@pytest.mark.parametrize("column", [["a", "b", "a", " "], ["a", "b", "a", None], [1, 2, 3, None], [1.5, 2, 1, None]])
def test_a_missing_label_of_very_many_is_named_with_its_row(column: list[Any]) -> None:
    cells = pyarrow.array(column)
    with pytest.raises(DataFileError, match="row 4, column 'y' has none"):
        read_labels("d", "y", [cells[:2], cells[2:]], 4)


@pytest.mark.parametrize("dtype", ["int8", "int64"])
@pytest.mark.parametrize(("least", "most"), [(-100, 100), (5, 5), (-3, 2**17)])
def test_codes_of_whole_numbers(dtype: str, least: int, most: int) -> None:
    """Those that lie near each other are not sorted; the codes are those that sorting finds."""
    given = np.random.default_rng(0).integers(least, min(most, np.iinfo(dtype).max), 50, endpoint=True).astype(dtype)
    found = labels.coded(given)
    distinct, places = np.unique(given, return_inverse=True)
    assert (found.distinct.dtype, found.places.dtype) == (given.dtype, np.uint8)
    np.testing.assert_array_equal(found.distinct, distinct)
    np.testing.assert_array_equal(found.places, places)


def test_codes_of_texts() -> None:
    given = np.random.default_rng(0).choice(["b", "", "ä", "a", "aa", "\U0001f600"], 50)
    found = labels.coded(given)
    distinct, places = np.unique(given, return_inverse=True)
    np.testing.assert_array_equal(found.distinct, distinct)
    np.testing.assert_array_equal(found.places, places)
