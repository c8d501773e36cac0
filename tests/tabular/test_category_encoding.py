"""Categories against counts and means that plain loops over the rows compute."""

import math
from dataclasses import replace
from typing import Any

import numpy
import pytest
from helpers.cases import each_case

from xpnet.tabular import category_encoding
from xpnet.tabular.category_encoding import GAP, UNKNOWN, CategoryEncoding
from xpnet.tabular.columns import CategoryCodes
from xpnet.tabular.division import RowLinks
from xpnet.tabular.encoding_target import Target

ROWS = 120


def fitted(counts: dict[str, int], min_rows: int, max_columns: int) -> CategoryEncoding | None:
    """The encoding of a column with each text so many times; None in place of -1 rows of gaps."""
    texts = list(counts)
    rows = [[-1 if text == "gap" else k] * counts[text] for k, text in enumerate(texts)]
    codes = CategoryCodes(numpy.array(sum(rows, [])), texts)
    return category_encoding.fit_category(
        codes, column=2, min_rows=min_rows, max_columns=max_columns
    )


@each_case(
    ("counts", "min_rows", "max_columns", "values", "frequent", "gaps"),
    [
        ({"b": 3, "a": 3, "c": 5}, 1, 9, "cab", 3, False),
        ({"b": 3, "a": 2, "c": 5}, 3, 9, "cba", 3, False),  # a single rare value
        ({"b": 3, "a": 2, "c": 5, "d": 2}, 3, 9, "cbad", 2, False),
        ({"b": 3, "a": 2, "c": 5, "d": 2}, 2, 9, "cbad", 4, False),
        ({"b": 3, "a": 2, "c": 5, "d": 2}, 1, 2, "cbad", 2, False),
        ({"b": 3, "a": 2, "c": 5}, 1, 2, "cba", 2, False),
        ({"b": 3, "a": 2, "c": 5}, 9, 3, "cba", 0, False),
        ({"b": 3, "a": 2, "c": 5}, 1, 3, "cba", 3, False),
        ({"b": 3, "gap": 1}, 1, 3, "b", 1, True),
        ({"b": 3, "": 1}, 1, 3, "b", 1, True),
        ({"b": 3, "gap": 1, "": 2, "a": 9}, 4, 1, "ab", 1, True),
    ],
)
def test_which_values_are_frequent(
    counts: dict[str, int], min_rows: int, max_columns: int, values: str, frequent: int, gaps: bool
) -> None:
    category = fitted(counts, min_rows, max_columns)
    assert category is not None
    assert (category.column, "".join(category.values)) == (2, values)
    assert (category.frequent, category.gaps) == (frequent, gaps)
    assert category.details.shape == (len(values), 0)


def test_one_value_without_gaps_is_no_category() -> None:
    assert fitted({"b": 3}, 1, 3) is None
    assert fitted({"gap": 3}, 1, 3) is None


@each_case(
    ("text", "other"),
    [
        ("12", "12.0"),
        ("-12.0", "-12"),
        ("0", "0.0"),
        ("0.0", "0"),
        ("7", "7.0"),
        ("01", "01"),
        ("00.0", "00.0"),
        ("1.5", "1.5"),
        ("-", "-"),
        ("", ""),
        ("--1", "--1"),
        ("²", "²"),
        ("a.0", "a.0"),
    ],
)
def test_the_other_form_of_a_whole_number(text: str, other: str) -> None:
    assert category_encoding.other_form(text) == other


def test_the_outputs_of_each_row() -> None:
    details = numpy.array([[0.5, 1], [1.5, 2], [2.5, 3], [3.5, 4]], numpy.float32)
    category = CategoryEncoding(0, ("a", "7", "c", "d"), 2, True, details, ("frequency", "target"))
    labels = ["_a", "_7", "_rare", "_missing", "_frequency", "_target"]
    assert (category.hot, category.labels) == (3, labels)
    codes = CategoryCodes(numpy.array([0, 1, 2, 3, 4, 5, -1]), ["d", "7.0", "a", "x", "", "c"])
    indices = category.indices(codes)
    assert indices.tolist() == [3, 1, 0, UNKNOWN, GAP, 2, GAP]
    expected = [
        [0, 0, 1, 0, 3.5, 4],
        [0, 1, 0, 0, 1.5, 2],
        [1, 0, 0, 0, 0.5, 1],
        [0, 0, 0, 0, 0, 0],
        [0, 0, 0, 1, 0, 0],
        [0, 0, 1, 0, 2.5, 3],
        [0, 0, 0, 1, 0, 0],
    ]
    out = numpy.full((7, 6), 9, numpy.float32)
    category.write(indices, out)
    numpy.testing.assert_array_equal(out, expected)
    own = numpy.arange(14, dtype=numpy.float32).reshape(7, 2) + 20
    category.write(indices, out, own)
    numpy.testing.assert_array_equal(out[:, :4], numpy.array(expected)[:, :4])
    is_known = indices >= 0
    numpy.testing.assert_array_equal(out[:, 4:], own * is_known[:, None])
    without_gaps = replace(category, gaps=False, frequent=4)
    assert (without_gaps.hot, len(without_gaps.labels)) == (4, 6)
    without_gaps.write(indices, out)
    numpy.testing.assert_array_equal(out[0], [0, 0, 0, 1, 3.5, 4])
    numpy.testing.assert_array_equal(out[4], 0)


def test_texts_that_are_known() -> None:
    category = CategoryEncoding(0, ("a", "7", "8", "8.0"), 4, False, numpy.empty((4, 0)), ())
    assert category.known_texts() == {"": GAP, "a": 0, "7": 1, "7.0": 1, "8": 2, "8.0": 3}


def smoothed(targets: list[float], mean: float) -> float:
    """The mean of some targets and of ten rows with the overall mean."""
    return (sum(targets) + 10 * mean) / (len(targets) + 10)


def standardized(of_values: Any, of_rows: Any, indices: numpy.ndarray) -> tuple[Any, Any]:
    """Details of values and of rows, by the mean of values weighted by rows and by the rows'
    deviation.
    """
    counts = [(indices == k).sum() for k in range(len(of_values))]
    mean = numpy.average(of_values, weights=counts)
    present = numpy.array(of_rows)[indices >= 0]
    deviation = math.sqrt(sum((present - present.mean()) ** 2) / len(present))
    return (numpy.array(of_values) - mean) / deviation, (numpy.array(of_rows) - mean) / deviation


@each_case("in_order", [False, True])
@each_case("classes", [0, 2, 4])
@each_case("numbers_at_once", [1 << 20, 1])
def test_frequency_and_mean_targets(
    classes: int, in_order: bool, numbers_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(category_encoding, "MEANS_AT_ONCE", numbers_at_once)
    rng = numpy.random.default_rng(classes)
    indices = rng.integers(-1, 4, ROWS)
    indices[indices == -1] = GAP
    y = rng.integers(0, classes, ROWS) if classes else rng.normal(size=ROWS)
    links = RowLinks(time=rng.normal(size=ROWS) if in_order else None)
    task = "classification" if classes else "regression"
    folds = links.parts(5, ROWS, numpy.random.RandomState(3))
    assert set(folds) == set(range(5))
    target = Target(y, task, links, numpy.random.RandomState(3))
    category = CategoryEncoding(0, ("a", "b", "c", "d"), 2, True, numpy.empty((4, 0)), ())
    detailed = category_encoding.with_details(category, indices, target)

    log_counts = [math.log(1 + (indices == k).sum()) for k in range(4)]
    of_rows = [log_counts[index] if index >= 0 else 0.0 for index in indices]
    columns = [standardized(log_counts, of_rows, indices)]
    for one in range(1, classes) if classes else [None]:
        t = y if one is None else (y == one).astype(float)
        mean = float(t.mean())
        of_values = [smoothed(list(t[indices == k]), mean) for k in range(4)]
        of_rows = []
        for index, fold in zip(indices, folds, strict=True):
            is_other = folds < fold if in_order else folds != fold
            of_rows.append(smoothed(list(t[(indices == index) & is_other]), mean))
        columns.append(standardized(of_values, of_rows, indices))
    is_known = indices >= 0
    for column, (values, rows) in enumerate(columns):
        received = detailed.category.details[:, column], detailed.row_details[is_known, column]
        numpy.testing.assert_allclose(received[0], values, rtol=2e-6, atol=2e-6)
        numpy.testing.assert_allclose(received[1], rows[is_known], rtol=2e-6, atol=2e-6)
    targets = [f"target_{one}" for one in range(1, classes)] if classes > 2 else ["target"]
    assert detailed.category.detail_labels == ("frequency", *targets)
    assert detailed.category.details.shape == (4, len(columns))


def test_without_a_task_there_is_the_frequency_alone() -> None:
    target = Target(None, None, RowLinks(), numpy.random.RandomState(0))
    category = CategoryEncoding(0, ("a", "b"), 2, True, numpy.empty((2, 0)), ())
    detailed = category_encoding.with_details(category, numpy.array([0, 0, 1, GAP]), target)
    assert detailed.category.detail_labels == ("frequency",)
    assert detailed.row_details.shape == (4, 1)


def test_a_detail_that_does_not_vary_is_0() -> None:
    target = Target(None, None, RowLinks(), numpy.random.RandomState(0))
    category = CategoryEncoding(0, ("a", "b"), 2, False, numpy.empty((2, 0)), ())
    detailed = category_encoding.with_details(category, numpy.array([0, 1, 1, 0]), target)
    assert not detailed.category.details.any() and not detailed.row_details.any()


@each_case(("classes", "maximum", "sizes"), [(3, 3, [2]), (7, 3, [3, 3]), (8, 3, [3, 2, 2])])
def test_classes_come_a_few_columns_at_a_time(classes: int, maximum: int, sizes: list[int]) -> None:
    y = numpy.arange(classes)
    target = Target(y, "classification", RowLinks(), numpy.random.RandomState(0))
    blocks = list(category_encoding._target_blocks(target, maximum))
    assert [block.shape[1] for block in blocks] == sizes
    numpy.testing.assert_array_equal(numpy.hstack(blocks), numpy.eye(classes)[:, 1:])
