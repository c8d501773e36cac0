"""Labels to classes and indices."""

from typing import Any

import numpy as np
import pytest

from xpnet.data import Table, class_indices, class_labels, quantities
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
