"""Labels to classes and indices."""

from typing import Any

import numpy as np
import pytest

from xpnet.data import Table, class_indices, class_labels
from xpnet.data.labels import as_labels
from xpnet.errors import DataFileError


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([2, 1, 10], [2, 1, 10]),
        (np.array([2.0, 1.0]), [2, 1]),
        (["2", "1", "10"], [2, 1, 10]),
        (["-1", "1"], [-1, 1]),
        (["007", "7"], ["007", "7"]),
        (["1.0", "2.0"], ["1.0", "2.0"]),
        ([" a", "b "], ["a", "b"]),
        ([True, False], ["True", "False"]),
        (["9" * 30, "1"], ["9" * 30, "1"]),
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


def test_indices_compare_labels_as_text() -> None:
    np.testing.assert_array_equal(class_indices(labelled(2, 1, 2), ["1", "2", "x"]), [1, 0, 1])


def test_an_unknown_label_is_named_with_its_row() -> None:
    with pytest.raises(DataFileError, match="row 3 holds 'c'"):
        class_indices(labelled("a", "b", "c"), ["a", "b"])
