"""Categories against counts and means that plain loops over the rows compute."""

from dataclasses import replace

import numpy
import pytest
from helpers.cases import each_case

from xpnet.tabular.columns.records import CategoryCodes
from xpnet.tabular.encodings import category as category_encoding
from xpnet.tabular.encodings.category import GAP, UNKNOWN, CategoryEncoding
from xpnet.tabular.encodings.encoding_target import Target
from xpnet.tabular.rows.division import RowLinks


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
    category.write_indices(indices, out)
    numpy.testing.assert_array_equal(out, expected)
    without_gaps = replace(category, gaps=False, frequent=4)
    assert (without_gaps.hot, len(without_gaps.labels)) == (4, 6)
    without_gaps.write_indices(indices, out)
    numpy.testing.assert_array_equal(out[0], [0, 0, 0, 1, 3.5, 4])
    numpy.testing.assert_array_equal(out[4], 0)


def test_texts_that_are_known() -> None:
    category = CategoryEncoding(0, ("a", "7", "8", "8.0"), 4, False, numpy.empty((4, 0)), ())
    assert category.known_texts() == {"": GAP, "a": 0, "7": 1, "7.0": 1, "8": 2, "8.0": 3}


def detailed(
    y: numpy.ndarray, indices: numpy.ndarray, *, keeps_columns: bool = False
) -> category_encoding.DetailedCategory:
    """The details of a category whose values all have columns. indices : (rows,) of values"""
    count = int(indices.max()) + 1
    values = tuple(f"v{index:03d}" for index in range(count))
    category = CategoryEncoding(0, values, count, True, numpy.empty((count, 0)), ())
    target = Target(y, "regression", RowLinks(), numpy.random.RandomState(0))
    return category_encoding.with_details(category, indices, target, keeps_columns=keeps_columns)


RNG = numpy.random.default_rng(0)
SIZES = numpy.repeat([40, 20, 12, 6, 3], [5, 10, 20, 30, 40])
"""Rows of the values, the most frequent first."""
INDICES = numpy.repeat(numpy.arange(len(SIZES)), SIZES)
EFFECTS = RNG.normal(size=len(SIZES))[INDICES]
NOISE = RNG.normal(size=len(INDICES))


@each_case(
    ("effect", "prior_rows", "min_rows"),
    [
        (0.0, 30, 20),  # no value of fewer rows has a column, and none has a mean
        (0.5, 7.8, 20),
        (1.0, 2.1, 8.4),  # columns from four times the prior rows on
        (5.0, 0.45, 4),  # a value of fewer rows has no column
    ],
)
def test_values_of_many_rows_have_columns_and_the_others_means(
    effect: float, prior_rows: float, min_rows: float
) -> None:
    y = effect * EFFECTS + NOISE
    target = Target(y, "regression", RowLinks(), numpy.random.RandomState(0))
    similarity = category_encoding.similarity_of(INDICES, target)
    assert similarity is not None
    assert similarity.prior_rows == pytest.approx(prior_rows, abs=0.05)
    assert similarity.is_certain == (effect > 0)
    category, means = detailed(y, INDICES)
    assert category.frequent == (SIZES >= min_rows).sum()
    assert (means is None) == (effect == 0.0)
    if means is not None:
        of_values = category.details[:, 1]
        assert not of_values[: category.frequent].any()
        assert len(set(of_values[category.frequent :])) == len(SIZES) - category.frequent
        assert not means.of_training_rows(numpy.flatnonzero(SIZES[INDICES] >= min_rows)).any()


def test_columns_that_the_user_asks_for_are_kept() -> None:
    category, means = detailed(NOISE + EFFECTS, INDICES, keeps_columns=True)
    assert (category.frequent, means) == (len(SIZES), None)
    assert category.detail_labels == ("frequency",)


def test_a_target_of_too_many_classes_is_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xpnet.tabular.encodings.value_effect.MAX_TARGET_NUMBERS", len(INDICES) - 1)
    category, means = detailed(NOISE, INDICES)
    assert means is not None
    assert (category.frequent, means.prior_rows) == ((SIZES >= 20).sum(), 10.0)


def test_without_a_task_there_is_the_frequency_alone() -> None:
    target = Target(None, None, RowLinks(), numpy.random.RandomState(0))
    category = CategoryEncoding(0, ("a", "b"), 2, True, numpy.empty((2, 0)), ())
    indices = numpy.array([0, 0, 0, 1, GAP])
    encoding, means = category_encoding.with_details(category, indices, target, keeps_columns=False)
    assert (encoding.detail_labels, encoding.frequent, means) == (("frequency",), 2, None)
    # The logarithm of rows + 1, over the four rows with a value: mean 0, deviation 1.
    frequency = numpy.log1p([3, 1])
    rows = numpy.repeat(frequency, [3, 1])
    expected = (frequency - rows.mean()) / rows.std()
    numpy.testing.assert_allclose(encoding.details[:, 0], expected, rtol=1e-6)


def test_a_frequency_that_does_not_vary_is_0() -> None:
    category, _ = detailed(NOISE[:4], numpy.array([0, 1, 1, 0]))
    assert not category.details.any()
