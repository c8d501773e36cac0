"""Labels of columns of every type, and their places among classes."""

from typing import Any

import numpy as np
import pyarrow
import pytest

from xpnet.data.cells.gaps import GapValues
from xpnet.data.frames import Frame
from xpnet.data.labels import class_indices, label_gaps, note_missing_labels, read_labels
from xpnet.errors import DataFileError


def frame_of(cells: Any, kind: pyarrow.DataType | None = None, rows: int = 2) -> Frame:
    """A frame of one column, stored some rows at a time."""
    table = pyarrow.table({"y": pyarrow.array(cells, kind)})
    return Frame(
        "d.csv",
        table.schema,
        np.array([0, table.num_rows]),
        lambda block, columns: table.select(columns).to_batches(rows),
    )


@pytest.mark.parametrize(
    ("cells", "kind", "values", "dtype"),
    [
        ([3, 1, 2], pyarrow.int64(), [3, 1, 2], "int64"),
        ([3, 1, 2], pyarrow.uint8(), [3, 1, 2], "int64"),
        ([3.0, 1.0], pyarrow.float64(), [3, 1], "int64"),
        ([3.0, 1.5], pyarrow.float32(), [3.0, 1.5], "float64"),
        ([3, None, 2], pyarrow.int64(), [3, 2], "int64"),
        ([3.5, None, 2.0], pyarrow.float64(), [3.5, 2.0], "float64"),
        ([3.0, np.nan, np.inf, -np.inf, 2.0], pyarrow.float64(), [3, 2], "int64"),
        ([2.0**53 - 1, 1.0], pyarrow.float64(), [2**53 - 1, 1], "int64"),
        ([2.0**53, 1.0], pyarrow.float64(), [2.0**53, 1.0], "float64"),
        ([-(2.0**53), 1.0], pyarrow.float64(), [-(2.0**53), 1.0], "float64"),
        ([2**63 + 2048, 1], pyarrow.uint64(), [2.0**63 + 2048, 1.0], "float64"),
        ([True, False], pyarrow.bool_(), ["true", "false"], "str"),
        (["q", None, "p", "q"], pyarrow.string(), ["q", "p", "q"], "str"),
        (["q", " p ", ""], pyarrow.large_string(), ["q", "p"], "str"),
        (["1", "2.5", None], pyarrow.string(), [1.0, 2.5], "float64"),
        (["1", "2"], pyarrow.string(), [1, 2], "int64"),
    ],
)
def test_labels_are_whole_numbers_numbers_or_text(
    cells: list[Any], kind: pyarrow.DataType, values: list[Any], dtype: str
) -> None:
    labels = read_labels(frame_of(cells, kind), "y")
    found = labels.values.tolist()
    assert [str(one).lower() if dtype == "str" else one for one in found] == values
    assert labels.values.dtype.kind == {"int64": "i", "float64": "f", "str": "U"}[dtype]
    is_gap = [cell is None or cell in ("", np.inf, -np.inf) or cell != cell for cell in cells]
    assert labels.labelled.tolist() == [not gap for gap in is_gap]


def test_texts_that_are_named_as_gaps_are_no_labels() -> None:
    frame = frame_of(["p", "?", "q", ""])
    assert read_labels(frame, "y").values.tolist() == ["p", "?", "q"]
    labels = read_labels(frame, "y", gap_texts={"?", ""})
    assert labels.values.tolist() == ["p", "q"]
    assert labels.labelled.tolist() == [True, False, True, False]
    note_missing_labels(frame, labels.labelled)
    note_missing_labels(frame, np.ones(4, bool))
    assert frame.notes == ["2 of 4 rows have no label, and are left out"]


def test_numbers_in_text_are_read_as_in_training() -> None:
    learned = read_labels(frame_of(["1,5", "2,25"]), "y", ",")
    assert learned.values.tolist() == [1.5, 2.25]
    assert learned.number_format is not None
    later = read_labels(frame_of(["4,75", None]), "y", None, learned.number_format)
    assert later.values.tolist() == [4.75]
    with pytest.raises(DataFileError, match="as in training .*; got 'word'. Correct it"):
        read_labels(frame_of(["4,75", "word"]), "y", None, learned.number_format)


@pytest.mark.parametrize("kind", [pyarrow.int64(), pyarrow.string(), pyarrow.null()])
def test_a_column_without_labels_is_an_error(kind: pyarrow.DataType) -> None:
    with pytest.raises(DataFileError, match="none of 3 has one in column 'y'"):
        read_labels(frame_of([None] * 3, kind), "y")


@pytest.mark.parametrize(
    ("gaps", "classes", "texts"),
    [
        (GapValues(), ["p"], {"", "NA", "null"}),
        (GapValues(), ["p", "NA"], {"", "null"}),
        (GapValues(words=frozenset({"?"})), ["p"], {"", "NA", "null", "?"}),
    ],
)
def test_a_class_is_no_gap(gaps: GapValues, classes: list[str], texts: set[str]) -> None:
    found = label_gaps(gaps, classes)
    assert found & {"", "NA", "null", "?", "p"} == texts


@pytest.mark.parametrize(
    ("count", "dtype"), [(2, "uint8"), (255, "uint8"), (256, "uint16"), (65_535, "uint16")]
)
def test_labels_are_found_among_classes_as_text(count: int, dtype: str) -> None:
    classes = [str(k) for k in range(count)]
    labels = np.array([count - 1, 0, 1])
    for values in (labels, labels.astype(str)):
        indices = class_indices("d.csv", values, classes)
        assert indices.tolist() == [count - 1, 0, 1]
        assert indices.dtype == dtype


def test_the_first_label_that_is_no_class_is_named() -> None:
    with pytest.raises(DataFileError, match=r"model, 0, 1; got 7 in 2 rows. Leave these out"):
        class_indices("d.csv", np.array([1, 7, 0, 8]), [0, 1])
    with pytest.raises(DataFileError, match="got 'setosas' in 1 rows. Did you mean 'setosa'"):
        class_indices("d.csv", np.array(["setosa", "setosas"]), ["setosa", "other"])
    with pytest.raises(DataFileError) as caught:
        class_indices("d.csv", np.array([99]), range(20))
    assert " 11; got 99" in str(caught.value)  # twelve classes are listed
