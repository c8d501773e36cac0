"""Mean targets against plain loops over the rows, for training rows, validation rows and values."""

from typing import Any

import numpy
import pytest
from helpers.cases import each_case

from xpnet.tabular.encodings import target_means
from xpnet.tabular.encodings.encoding_target import Target
from xpnet.tabular.encodings.target_means import CodedValues, ColumnMeans, fit_means, target_blocks
from xpnet.tabular.rows.division import RowLinks

ROWS = 120
VALUES = 4
PRIOR_ROWS = 3.0


def fitted(classes: int, *, in_order: bool) -> tuple[ColumnMeans, numpy.ndarray, numpy.ndarray]:
    """Return means, the targets of the rows as columns, and the part of each row.

    classes : 0 for a target of numbers
    """
    rng = numpy.random.default_rng(classes)
    indices = rng.integers(-1, VALUES, ROWS)
    y: Any = rng.integers(0, classes, ROWS) if classes else rng.normal(size=ROWS)
    y[:classes] = numpy.arange(classes)
    links = RowLinks(time=rng.normal(size=ROWS) if in_order else None)
    parts = links.parts(5, ROWS, numpy.random.RandomState(3))
    assert set(parts) == set(range(5))
    task = "classification" if classes else "regression"
    target = Target(y, task, links, numpy.random.RandomState(3))
    Y = (y[:, None] == range(1, classes)).astype(float) if classes else y[:, None]
    return fit_means(CodedValues(indices, VALUES), target, PRIOR_ROWS), Y, parts


def shrunk(Y: numpy.ndarray, mean: numpy.ndarray) -> numpy.ndarray:
    """The mean of some targets and of the prior rows, which have the overall mean."""
    return (Y.sum(axis=0) + PRIOR_ROWS * mean) / (len(Y) + PRIOR_ROWS)


def of_rows_by_loops(
    indices: numpy.ndarray, Y: numpy.ndarray, parts: numpy.ndarray, *, in_order: bool
) -> numpy.ndarray:
    """The mean of each row's value over the rows of other, or earlier, parts."""
    mean = Y[indices >= 0].mean(axis=0)
    result = []
    for index, part in zip(indices, parts, strict=True):
        is_other = parts < part if in_order else parts != part
        result.append(shrunk(Y[(indices == index) & is_other], mean))
    return numpy.array(result)


def of_values_by_loops(indices: numpy.ndarray, Y: numpy.ndarray) -> numpy.ndarray:
    """The mean of each value over its rows."""
    mean = Y[indices >= 0].mean(axis=0)
    return numpy.array([shrunk(Y[indices == value], mean) for value in range(VALUES)])


@each_case("in_order", [False, True])
@each_case("classes", [0, 2, 4])
@each_case("numbers_at_once", [1 << 20, 1])
def test_means_of_rows_and_values(classes: int, in_order: bool, numbers_at_once: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(target_means, "MEANS_AT_ONCE", numbers_at_once)
        means, Y, parts = fitted(classes, in_order=in_order)
        indices = means.values.indices
        has_value = indices >= 0
        of_rows = of_rows_by_loops(indices, Y, parts, in_order=in_order)
        of_values = of_values_by_loops(indices, Y)
        # The outputs are standardised over the rows that have a value.
        counts = numpy.bincount(indices[has_value], minlength=VALUES)
        centre = numpy.average(of_values, axis=0, weights=counts)
        spread = of_rows[has_value].std(axis=0)
        every_row = numpy.arange(ROWS)
        expected = numpy.where(has_value[:, None], (of_rows - centre) / spread, 0.0)
        received = means.of_training_rows(every_row)
        numpy.testing.assert_allclose(received, expected, rtol=2e-6, atol=2e-6)
        received = means.of_values(every_row)
        numpy.testing.assert_allclose(received, (of_values - centre) / spread, rtol=2e-6, atol=2e-6)

        # Some of the rows give means of their own, by the same scale.
        training = numpy.flatnonzero(numpy.random.default_rng(9).uniform(size=ROWS) < 0.7)
        some = indices[training]
        of_rows = of_rows_by_loops(some, Y[training], parts[training], in_order=in_order)
        expected = numpy.where(some[:, None] >= 0, (of_rows - centre) / spread, 0.0)
        received = means.of_training_rows(training)
        numpy.testing.assert_allclose(received, expected, rtol=2e-6, atol=2e-6)
        others = numpy.setdiff1d(every_row, training)
        of_values = (of_values_by_loops(some, Y[training]) - centre) / spread
        is_known = (indices[others] >= 0)[:, None]
        expected = numpy.where(is_known, of_values[indices[others]], 0.0)
        received = means.of_new_rows(training, others)
        numpy.testing.assert_allclose(received, expected, rtol=2e-6, atol=2e-6)


def test_a_value_without_training_rows_is_as_an_unknown_value() -> None:
    means, _, _ = fitted(0, in_order=False)
    training = numpy.flatnonzero(means.values.indices != 2)
    of_values = means.of_values(training)
    assert not of_values[2].any()
    assert of_values[[0, 1, 3]].all()


def test_the_target_of_a_row_moves_no_mean_of_its_own() -> None:
    """Neither as a training row nor as a validation row."""
    means, _, _ = fitted(0, in_order=False)
    row = int(numpy.flatnonzero(means.values.indices >= 0)[0])
    every_row, others = numpy.arange(ROWS), numpy.delete(numpy.arange(ROWS), row)
    before = means.of_training_rows(every_row)[row], means.of_new_rows(others, every_row)[row]
    means.target.y[row] += 100
    # As a training row it moves the mean that counts as prior rows, and nothing else.
    moved = means.of_training_rows(every_row)[row] - before[0]
    counts = (means.values.indices == means.values.indices[row]) & (means.parts != means.parts[row])
    of_mean = 100 / (means.values.indices >= 0).sum()
    expected = PRIOR_ROWS * of_mean / (counts.sum() + PRIOR_ROWS) * means.factors
    numpy.testing.assert_allclose(moved, expected, rtol=1e-4)
    numpy.testing.assert_array_equal(means.of_new_rows(others, every_row)[row], before[1])


@each_case(("classes", "maximum", "sizes"), [(3, 3, [2]), (7, 3, [3, 3]), (8, 3, [3, 2, 2])])
def test_classes_come_a_few_columns_at_a_time(classes: int, maximum: int, sizes: list[int]) -> None:
    y = numpy.arange(classes)
    target = Target(y, "classification", RowLinks(), numpy.random.RandomState(0))
    blocks = list(target_blocks(target, y, maximum))
    assert [block.shape[1] for block in blocks] == sizes
    numpy.testing.assert_array_equal(numpy.hstack(blocks), numpy.eye(classes)[:, 1:])
