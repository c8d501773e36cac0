"""The functions that divide rows, on rows that show each rule by itself."""

from typing import Any

import numpy
import pandas
import pytest
from numpy.random import RandomState

from xpnet.errors import InputError
from xpnet.tabular.rows import division
from xpnet.tabular.rows.division import (
    RowLinks,
    can_be_stratified,
    folds_to_measure,
    group_folds,
    group_numbers,
    latest_fold,
    latest_rows,
    links_of,
    random_folds,
    split_off_rows,
    times_of,
    unseen_inputs,
    with_unseen_inputs,
)


@pytest.mark.parametrize(
    ("time", "share", "latest"),
    [
        ([1, 2, 3, 4, 5], 0.2, [5]),
        ([1, 2, 3, 4, 5], 0.4, [4, 5]),
        ([1, 2, 3, 4, 5], 0.29, [5]),
        ([1, 2, 3, 4, 5], 0.31, [4, 5]),
        ([1, 2, 3, 4, 5], 0.99, [2, 3, 4, 5]),  # the first time stays
        ([1, 2, 3, 4, 5], 0.01, [5]),
        ([3, 1, 3, 2, 3], 0.2, [3]),  # rows of one time are together
        ([3, 1, 3, 2, 3], 0.75, [3, 2]),
        ([1, 2, 2, 2, 2], 0.1, [2]),
        ([1, 2, 3, 3, 3, 3], 0.7, [3]),  # four of six rows
        ([1, 1, 1, 1, 2, 3], 0.3, [2, 3]),  # two of six rows
    ],
)
def test_the_latest_rows_are_whole_times(
    time: list[float], share: float, latest: list[int]
) -> None:
    times = numpy.array(time, float)
    numpy.testing.assert_array_equal(latest_rows(times, share), numpy.isin(times, latest))


def test_one_time_cannot_be_divided() -> None:
    with pytest.raises(InputError, match="two different times or more; got 1"):
        latest_rows(numpy.zeros(3), 0.5)


def test_links_of_some_rows() -> None:
    links = RowLinks(numpy.array([5, 6, 7]), numpy.array([0.5, 1.5, 2.5]))
    taken = links.take(numpy.array([2, 0]))
    numpy.testing.assert_array_equal(taken.groups, [7, 5])
    numpy.testing.assert_array_equal(taken.time, [2.5, 0.5])
    assert links.take(None) is links
    none = RowLinks().take(numpy.array([0]))
    assert none.groups is None and none.time is None


def test_parts_of_rows_for_means_over_others() -> None:
    parts = RowLinks().parts(3, 10, RandomState(0))
    numpy.testing.assert_array_equal(parts, RandomState(0).permutation(10) % 3)
    groups = numpy.array([0, 1, 1, 2, 3, 3])
    parts = RowLinks(groups).parts(2, 6, RandomState(0))
    numpy.testing.assert_array_equal(parts, RandomState(0).permutation(4)[groups] % 2)
    time = numpy.array([9.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0])
    numpy.testing.assert_array_equal(
        RowLinks(time=time).parts(3, 9, RandomState(0)), [2, 0, 0, 0, 1, 1, 1, 2, 2]
    )
    equal = numpy.array([1.0, 1.0, 1.0, 2.0])
    numpy.testing.assert_array_equal(RowLinks(time=equal).parts(2, 4, RandomState(0)), [1, 1, 1, 1])


@pytest.mark.parametrize("are_classes", [True, False])
def test_no_fraction_splits_nothing_off(are_classes: bool) -> None:
    y = numpy.array([0, 1, 0, 1])
    assert not split_off_rows(y, RowLinks(), 0, 0, are_classes=are_classes).any()


def test_each_class_keeps_its_share_on_both_sides() -> None:
    y = numpy.repeat([0, 1, 2], [60, 30, 10])
    second = split_off_rows(y, RowLinks(), 0.3, 0, are_classes=True)
    assert numpy.bincount(y[second]).tolist() == [18, 9, 3]
    numbers = split_off_rows(y.astype(float), RowLinks(), 0.3, 0, are_classes=False)
    assert numbers.sum() == 30
    assert numpy.bincount(y[numbers]).tolist() != [18, 9, 3]


def test_a_class_of_one_row_is_not_split_off() -> None:
    y = numpy.array([0] * 10 + [1] * 10 + [2])
    for seed in range(20):
        second = split_off_rows(y, RowLinks(), 0.5, seed, are_classes=True)
        assert not second[20] and second.sum() == 10
    alone = split_off_rows(numpy.array([0, 1, 2]), RowLinks(), 0.5, 0, are_classes=True)
    assert not alone.any()
    few = numpy.array([0, 0, 1, 1, 2, 2])  # two rows are fewer than there are classes
    counts = []
    for seed in range(20):
        second = split_off_rows(few, RowLinks(), 0.2, seed, are_classes=True)
        counts.append(int(second.sum()))
        assert set(few[~second]) == {0, 1, 2}
    assert set(counts) == {0, 2}  # both rows of a class stay


def test_many_rows_are_divided_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(division, "ROWS_AT_ONCE", 10)
    second = split_off_rows(numpy.zeros(35), RowLinks(), 0.2, 0, are_classes=False)
    assert [int(second[start : start + 10].sum()) for start in range(0, 35, 10)] == [2, 2, 2, 1]


def test_times_and_groups_are_split_off_whole() -> None:
    y = numpy.zeros(12)
    time = numpy.repeat(numpy.arange(4.0), 3)
    second = split_off_rows(y, RowLinks(time=time), 0.25, 0, are_classes=False)
    numpy.testing.assert_array_equal(second, time == 3)
    groups = numpy.repeat(numpy.arange(4), 3)
    second = split_off_rows(y, RowLinks(groups), 0.25, 0, are_classes=False)
    assert second.sum() == 3
    assert len(set(groups[second])) == 1
    divisions = [split_off_rows(y, RowLinks(groups), 0.5, k, are_classes=False) for k in range(9)]
    assert len({tuple(one) for one in divisions}) > 2
    assert {int(one.sum()) for one in divisions} == {6}


@pytest.mark.parametrize("count", [2, 3, 5])
def test_each_fold_measures_rows_of_its_own(count: int) -> None:
    y = numpy.arange(40) % 2
    groups = numpy.repeat(numpy.arange(10), 4)
    for links in (RowLinks(), RowLinks(groups)):
        folds = folds_to_measure(y, links, count, 3, are_classes=True)
        assert len(folds) == count
        measured = numpy.concatenate([fold.validation for fold in folds])
        assert sorted(measured) == [*range(40)]
        for fold in folds:
            assert sorted([*fold.training, *fold.validation]) == [*range(40)]
            assert abs(y[fold.validation].mean() - 0.5) < 0.1
            if links.groups is not None:
                assert not {*groups[fold.training]} & {*groups[fold.validation]}


def test_each_part_of_time_measures_a_model_of_all_earlier_ones() -> None:
    time = numpy.arange(20.0)[::-1]
    folds = folds_to_measure(numpy.zeros(20), RowLinks(time=time), 3, 0, are_classes=False)
    assert len(folds) == 3
    for k, fold in enumerate(folds, 1):
        assert sorted(time[fold.training]) == [*range(5 * k)]
        assert sorted(time[fold.validation]) == [*range(5 * k, 5 * k + 5)]


@pytest.mark.parametrize(
    ("links", "count", "message"),
    [
        ({}, 7, "7 folds must have rows of their own; got 6"),
        ({"groups": numpy.array([4, 4, 4, 9, 9, 2])}, 4, "must have groups of their own; got 3"),
        ({"time": numpy.array([1.0, 1, 1, 2, 2, 2])}, 2, "must have time of their own; got 1"),
    ],
)
def test_too_many_folds_are_refused(links: dict[str, Any], count: int, message: str) -> None:
    y = numpy.arange(6.0)
    with pytest.raises(InputError, match=message):
        folds_to_measure(y, RowLinks(**links), count, 0, are_classes=False)
    if "time" not in links:
        folds = folds_to_measure(y, RowLinks(**links), count - 1, 0, are_classes=False)
        assert len(folds) == count - 1


def test_groups_are_numbered_and_gaps_refused() -> None:
    numpy.testing.assert_array_equal(group_numbers(["b", "a", "b"], 3), [1, 0, 1])
    with pytest.raises(InputError, match="got 2 gaps"):
        group_numbers([1.0, numpy.nan, numpy.nan], 3)
    with pytest.raises(InputError, match="one type for each row"):
        group_numbers(numpy.array(["a", None], object), 2)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        group_numbers([1, 2], 3)


def test_links_are_groups_or_times() -> None:
    X = pandas.DataFrame({"x": [1.0, 2.0, 3.0], "day": [3.0, 1.0, 2.0]})
    none = links_of(X, None, None, 3)
    assert none.groups is None
    assert none.time is None
    of_groups = links_of(X, ["b", "a", "b"], None, 3)
    assert of_groups.groups is not None
    assert of_groups.groups.tolist() == [1, 0, 1]
    assert of_groups.time is None
    for time in ("day", [3.0, 1.0, 2.0]):
        of_times = links_of(X, None, time, 3)
        assert of_times.groups is None
        assert of_times.time is not None
        assert of_times.time.tolist() == [3.0, 1.0, 2.0]
    with pytest.raises(InputError, match="must not come together; got both"):
        links_of(X, [1, 2, 3], "day", 3)


def test_times_are_seconds_or_numbers() -> None:
    X = pandas.DataFrame({"x": [1.0, 2.0], "day": ["1970-01-02", "1970-01-01"]})
    assert times_of(X, "day", 2).tolist() == [86400.0, 0.0]
    assert times_of(X, pandas.to_datetime(X["day"]), 2).tolist() == [86400.0, 0.0]
    assert times_of(X, [7, 5], 2).tolist() == [7.0, 5.0]
    with pytest.raises(InputError, match="got 1 others"):
        times_of(X, [7.0, numpy.inf], 2)
    with pytest.raises(InputError, match="name of a column of X; got 'days'.*'day'"):
        times_of(X, "days", 2)
    with pytest.raises(InputError, match="got the array of"):
        times_of(X, ["p", "q"], 2)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        times_of(X, [7.0], 2)


def test_classes_are_stratified_where_one_has_a_row_for_each_fold() -> None:
    labels = numpy.array([0, 0, 0, 1])
    assert can_be_stratified(labels, 3)
    assert not can_be_stratified(labels, 4)
    assert not can_be_stratified(None, 1)


def test_the_fold_of_the_latest_rows() -> None:
    fold = latest_fold(3, 2)
    numpy.testing.assert_array_equal(fold.training, [0, 1, 2])
    numpy.testing.assert_array_equal(fold.validation, [3, 4])
    numpy.testing.assert_array_equal(fold.groups, [0, 1])


@pytest.mark.parametrize("labels", [None, numpy.arange(30) % 3])
def test_folds_of_groups(labels: numpy.ndarray | None) -> None:
    groups = numpy.repeat([7, 3, 9, 1, 5, 2], 5)
    folds = group_folds(groups, labels, 4, RandomState(0))
    assert len(folds) == 4
    numbers = numpy.unique(groups, return_inverse=True)[1]
    for fold in folds:
        numpy.testing.assert_array_equal(fold.groups, numbers[fold.validation])
        assert not {*groups[fold.training]} & {*groups[fold.validation]}
    assert len(group_folds(groups, labels, 9, RandomState(0))) == 6
    with pytest.raises(InputError, match="two groups or more"):
        group_folds(numpy.ones(4, int), labels, 2, RandomState(0))


def test_many_groups_are_not_stratified(monkeypatch: pytest.MonkeyPatch) -> None:
    """Groups of one class each: only a division by classes has both in each of two folds."""
    groups, labels = numpy.arange(6), numpy.array([0, 0, 0, 0, 1, 1])

    def classes_in_folds() -> set[tuple[int, ...]]:
        return {
            tuple(sorted(numpy.bincount(labels[fold.validation], minlength=2)))
            for seed in range(20)
            for fold in group_folds(groups, labels, 2, RandomState(seed))
        }

    assert classes_in_folds() == {(1, 2)}
    monkeypatch.setattr(division, "MAX_STRATIFIED_GROUPS", 6)
    assert classes_in_folds() == {(1, 2)}
    monkeypatch.setattr(division, "MAX_STRATIFIED_GROUPS", 5)
    assert classes_in_folds() > {(1, 2)}


def test_folds_of_classes_come_in_any_order() -> None:
    labels = numpy.array([0] * 25 + [1] * 3)
    firsts = set()
    for seed in range(12):
        folds = random_folds(28, labels, 5, RandomState(seed))
        assert sorted(numpy.concatenate([fold.validation for fold in folds])) == [*range(28)]
        firsts.add(int(labels[folds[0].validation].sum()))
    assert firsts == {0, 1}


def test_inputs_that_training_rows_do_not_have() -> None:
    X = numpy.array([[0.0, 1.0, 0.0], [0.0, 0.0, 2.0], [3.0, 0.0, 0.0]])
    numpy.testing.assert_array_equal(unseen_inputs(X, slice(0, 2)), [True, False, False])
    folds = group_folds(numpy.array([0, 1, 2]), None, 3, RandomState(0))
    for fold in with_unseen_inputs(folds, X):
        expected = (X[fold.training] == 0).all(axis=0)
        numpy.testing.assert_array_equal(fold.unseen_inputs, expected)
    plain = random_folds(3, None, 3, RandomState(0))
    assert with_unseen_inputs(plain, X) is plain
    assert with_unseen_inputs([], X) == []
