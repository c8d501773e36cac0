"""How a fit divides rows: groups stay on one side, and validation rows are the latest ones.

The command line asks these functions, too. The estimators of matrices divide rows as scikit-learn's
networks do (`xpnet.learning.split`), since they find the same numbers.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, TypeAlias

import numpy
from numpy.random import RandomState
from sklearn.model_selection import (
    GroupKFold,
    GroupShuffleSplit,
    KFold,
    StratifiedGroupKFold,
    StratifiedKFold,
    train_test_split,
)
from sklearn.utils.validation import check_consistent_length, column_or_1d

from xpnet.errors import InputError, did_you_mean, warn_user
from xpnet.learning.split import select
from xpnet.models.inputs import to_host
from xpnet.tabular.columns.frames import table_of
from xpnet.tabular.columns.reading import ReadingRules, learn_column, read_table
from xpnet.tabular.columns.records import Table
from xpnet.typing import ArrayLike, TableLike

_Parts: TypeAlias = tuple[numpy.ndarray, numpy.ndarray]
"""Indices of the training rows and of the validation rows of a fold."""

MAX_STRATIFIED_GROUPS = 500
"""Number of groups up to which the folds of a classifier have classes in proportion, if possible;
more groups take long to divide so, and a random division hardly differs."""

ROWS_AT_ONCE = 2**18
"""Maximum number of rows that are divided at random at a time, since their indices take memory."""


class Fold(NamedTuple):
    """The rows of one network.

    training : indices of the rows, or a slice of them, whose inputs are a view and no copy
    validation : indices of the rows
    unseen_inputs : (inputs,) bool, which inputs are 0 in all training rows of a division by groups;
        None for other divisions
    groups : (validation rows,) int64, the groups of the validation rows; None for other divisions
    """

    training: numpy.ndarray | slice
    validation: numpy.ndarray
    unseen_inputs: numpy.ndarray | None = None
    groups: numpy.ndarray | None = None


@dataclass(frozen=True, eq=False)
class RowLinks:
    """The links between rows, which decide how the rows may be divided.

    groups : (rows,) int64, the group of each row: all its rows are on one side; None for no groups
    time : (rows,) float64: no validation row is earlier than a training row; None for no order
    """

    groups: numpy.ndarray | None = None
    time: numpy.ndarray | None = None

    def take(self, indices: numpy.ndarray | None) -> "RowLinks":
        """Return the links of some rows. indices : None for all"""
        if indices is None:
            return self
        return RowLinks(select(self.groups, indices), select(self.time, indices))

    def parts(self, count: int, rows: int, random_state: RandomState) -> numpy.ndarray:
        """Divide rows for means over other rows: (rows,) int, numbers from 0 to count - 1.

        The parts are random, of random whole groups, or of time, from the earliest to the latest;
        rows of one time are in one part.
        """
        if self.time is not None:
            shares = numpy.arange(1, count) / count
            return numpy.searchsorted(numpy.quantile(self.time, shares), self.time, side="right")
        if self.groups is not None:
            return random_state.permutation(self.groups.max() + 1)[self.groups] % count
        return random_state.permutation(rows) % count


UNLINKED = RowLinks()
"""Rows that may be divided in any way."""


def links_of(
    X: TableLike | Table,
    groups: ArrayLike | None,
    time: ArrayLike | str | None,
    rows: int,
    rules: ReadingRules | None = None,
) -> RowLinks:
    """Return the links between rows that a user names.

    X : the table; groups : (rows,) or None; time : (rows,), the name of a column, or None
    rules : what the user says about the columns of the table; None for nothing

    Raises ValueError for other lengths, InputError for groups and times with gaps, for times that
    are neither numbers nor dates, and for both together.
    """
    if groups is not None and time is not None:
        raise InputError(
            "`groups` and `time` must not come together; got both. Pass the one that new rows "
            "will differ in."
        )
    return RowLinks(
        None if groups is None else group_numbers(groups, rows),
        None if time is None else times_of(X, time, rows, rules),
    )


def group_numbers(groups: ArrayLike | None, rows: int) -> numpy.ndarray:
    """Return the number of the group of each row, from 0: (rows,) int64.

    Raises ValueError for another length, InputError for gaps and for values of several types.
    """
    values = column_or_1d(numpy.asarray(to_host(groups)))
    check_consistent_length(numpy.empty(rows), values)
    rule = "`groups` must hold one value of one type for each row"
    try:
        names, numbers = numpy.unique(values, return_inverse=True)
    except TypeError as error:
        raise InputError(f"{rule}; got {error}. Fill gaps, or leave such rows out.") from error
    if (names != names).any():  # NaN and NaT differ from themselves.
        gaps = int((values != values).sum())
        raise InputError(f"{rule}; got {gaps} gaps. Fill them, or leave such rows out.")
    return numbers


def times_of(
    X: TableLike | Table,
    time: ArrayLike | str,
    rows: int,
    rules: ReadingRules | None = None,
) -> numpy.ndarray:
    """Return the time of each row: (rows,) float64, dates as seconds since 1970.

    time : (rows,) numbers or dates, or the name of a column of X
    rules : what the user says about the columns of the table; None for nothing

    Raises ValueError for another length, InputError for gaps and for other values.
    """
    is_column = isinstance(time, str)
    table = table_of(X if is_column else {"time": time})
    index = _index_of(table, str(time)) if is_column else 0
    check_consistent_length(numpy.empty(rows), numpy.empty(table.rows))
    name = (table.labels or table.names)[index]
    learned = table.forms.get(name)
    if learned is None:
        learned = learn_column(table.values(index), name, rules or ReadingRules())
        if learned.note and not is_column:  # the encoder warns of a column
            warn_user(f"`time` {learned.note}.")
    title = f"column {time!r}" if is_column else "the array"
    times = _seconds_of(read_table(table, {index: learned.form}), index, title)
    gaps = int((~numpy.isfinite(times)).sum())
    if gaps:
        raise InputError(
            f"`time` must be a finite number or a date in each row; got {gaps} others. "
            "Leave such rows out."
        )
    return times


def _seconds_of(table: Table, index: int, title: str) -> numpy.ndarray:
    """Return a column of numbers or dates: (rows,) float64, dates as seconds since 1970.

    title : of the column, for the message

    Raises InputError for a column of another kind.
    """
    kind, type_name = table.kind(index)
    if kind == "number":
        return table.numbers(index)
    if kind == "timestamp":
        return table.timestamps(index)
    raise InputError(
        f"`time` must hold numbers or dates; got {title} of {type_name}. Convert it, for example "
        "by pandas.to_datetime."
    )


def _index_of(table: Table, name: str) -> int:
    """Return the index of a column. Raises InputError for an unknown name."""
    names = list(table.labels or table.names)
    if name not in names:
        raise InputError(
            f"`time` must be an array or the name of a column of X; got {name!r}. "
            f"{did_you_mean(name, names)}".rstrip()
        )
    return names.index(name)


def latest_rows(time: numpy.ndarray, share: float) -> numpy.ndarray:
    """Return which rows are the latest, about this share of them: (rows,) bool.

    Rows of one time are together, so that the share is that of the nearest whole number of times.

    Raises InputError where all rows have one time.
    """
    values, counts = numpy.unique(time, return_counts=True)
    if len(values) < 2:
        raise InputError(
            f"`time` must hold two different times or more; got {len(values)}. Leave time out."
        )
    shares = counts[::-1].cumsum()[::-1] / len(time)  # of the rows from each time on
    first = 1 + int(numpy.argmin(numpy.abs(shares[1:] - share)))
    return time >= values[first]


def split_off_rows(
    y: numpy.ndarray, links: RowLinks, fraction: float, seed: int, *, are_classes: bool
) -> numpy.ndarray:
    """Return which rows are split off, about a fraction of them: (rows,) bool.

    The split-off rows have the frequencies of the classes, and each class has other rows. But where
    rows have groups, they are those of random groups, and where they have times, they
    are the latest rows; then all rows of a class may be split off.

    y : (rows,) class indices if ``are_classes``, otherwise numbers; fraction : 0 for no rows

    Raises InputError for times that are all equal.
    """
    is_split_off = numpy.zeros(len(y), bool)
    if not fraction:
        return is_split_off
    if links.time is not None:
        return latest_rows(links.time, fraction)
    if links.groups is not None:
        divide = GroupShuffleSplit(1, test_size=fraction, random_state=seed)
        is_split_off[next(divide.split(links.groups, groups=links.groups))[1]] = True
        return is_split_off
    for first in range(0, len(y), ROWS_AT_ONCE):
        part = y[first : first + ROWS_AT_ONCE]
        is_split_off[first + _random_rows(part, fraction, seed, are_classes=are_classes)] = True
    return is_split_off


def _random_rows(
    y: numpy.ndarray, fraction: float, seed: int, *, are_classes: bool
) -> numpy.ndarray:
    """Return indices of random rows, a fraction of them; each class keeps a row besides."""
    divisible = numpy.flatnonzero(numpy.bincount(y)[y] > 1) if are_classes else numpy.arange(len(y))
    if len(divisible) < 2:
        return divisible[:0]
    divide = partial(train_test_split, divisible, test_size=fraction, random_state=seed)
    try:
        return divide(stratify=y[divisible] if are_classes else None)[1]
    except ValueError:  # one of the parts has fewer rows than there are classes
        first, second = divide()
        return second[numpy.isin(y[second], y[first])] if are_classes else second


def latest_fold(earlier: int, later: int) -> Fold:
    """Return the only fold of rows of which the later ones are last. earlier, later : numbers"""
    validation = earlier + numpy.arange(later)
    # All networks predict the same rows: their predictions of a row are one group.
    return Fold(numpy.arange(earlier), validation, groups=numpy.arange(later))


def random_folds(
    rows: int, labels: numpy.ndarray | None, count: int, random_state: RandomState
) -> list[Fold]:
    """Divide rows at random, with classes in proportion. labels : (rows,) class indices or None"""
    parts = _parts_of_rows(rows, labels, count, random_state)
    if labels is not None:
        parts = _in_random_order(parts, random_state)
    return [Fold(*of_fold) for of_fold in parts]


def _parts_of_rows(
    rows: int, labels: numpy.ndarray | None, count: int, random_state: RandomState
) -> list[_Parts]:
    """Return training and validation rows for each fold. labels : (rows,) class indices or None"""
    division = StratifiedKFold if can_be_stratified(labels, count) else KFold
    folds = division(count, shuffle=True, random_state=random_state)
    with warnings.catch_warnings():  # Classes may have fewer rows than there are folds.
        warnings.filterwarnings("ignore", message="The least populated class")
        return list(folds.split(numpy.empty(rows), labels))


def _in_random_order(parts: list[_Parts], random_state: RandomState) -> list[_Parts]:
    """Return the parts of folds of classes in random order.

    The numbers of rows of a class differ by one from fold to fold, and scikit-learn's first folds
    have more rows of the first classes and fewer of the others. Few networks take the first folds
    alone, and the loss of validation rows with too few rare events is too low.
    """
    return [parts[k] for k in random_state.permutation(len(parts))]


def group_folds(
    groups: numpy.ndarray,
    labels: numpy.ndarray | None,
    count: int,
    random_state: RandomState,
) -> list[Fold]:
    """Divide rows so that all rows of a group are on one side, with classes nearly in proportion.

    labels : (rows,) class indices or None; count : of folds; fewer groups make fewer folds

    Raises InputError for a single group.
    """
    check_groups(groups)
    _, numbers = numpy.unique(groups, return_inverse=True)  # Rows of weight 0 are not among them.
    parts = _parts_of_groups(numbers, labels, count, random_state)
    if labels is not None:
        parts = _in_random_order(parts, random_state)
    return [
        Fold(training, validation, groups=numbers[validation]) for training, validation in parts
    ]


def with_unseen_inputs(folds: Sequence[Fold], X: numpy.ndarray) -> Sequence[Fold]:
    """Return folds, those by groups with the inputs that they do not see. X : (rows, inputs)"""
    if not folds or folds[0].groups is None:
        return folds
    return [fold._replace(unseen_inputs=unseen_inputs(X, fold.training)) for fold in folds]


def check_groups(groups: numpy.ndarray) -> None:
    """Raise InputError for a single group. groups : (rows,) int64"""
    if groups.min() == groups.max():
        raise InputError(
            "`groups` must hold two groups or more, of which one is for validation; got 1. "
            "Leave groups out, or pass X_val and y_val."
        )


def _parts_of_groups(
    numbers: numpy.ndarray,
    labels: numpy.ndarray | None,
    count: int,
    random_state: RandomState,
) -> list[_Parts]:
    """Return training and validation rows for each fold. numbers : (rows,) of groups, from 0"""
    group_count = int(numbers.max()) + 1
    count = min(count, group_count)
    if group_count <= MAX_STRATIFIED_GROUPS and can_be_stratified(labels, count):
        stratified = StratifiedGroupKFold(count, shuffle=True, random_state=random_state)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The least populated class")
            parts = list(stratified.split(numbers, labels, numbers))
        if all(len(validation) for _, validation in parts):
            return parts
    by_group = GroupKFold(count, shuffle=True, random_state=random_state)
    return list(by_group.split(numbers, groups=numbers))


def folds_to_measure(
    y: numpy.ndarray, links: RowLinks, count: int, seed: int, *, are_classes: bool
) -> list[Fold]:
    """Divide rows for cross-validation: folds whose validation rows measure a model of the others.

    Folds have whole groups, or classes in proportion. Where rows have times, the rows are divided
    into ``count + 1`` parts by time, and each part but the first measures a model of all earlier
    ones.

    y : (rows,) class indices if ``are_classes``, otherwise numbers; count : of folds, at least 2

    Raises InputError for fewer rows, groups or times than are needed.
    """
    labels = y if are_classes else None
    random_state = RandomState(seed)
    folds: list[Fold] = []
    if links.time is not None:
        parts = links.parts(count + 1, len(y), random_state)
        different = numpy.unique(parts).tolist()
        folds = [
            Fold(numpy.flatnonzero(parts < k), numpy.flatnonzero(parts == k)) for k in different
        ]
        folds, name, units = folds[1:], "time", len(different) - 1
    elif links.groups is not None:
        _, numbers = numpy.unique(links.groups, return_inverse=True)
        units, name = int(numbers.max()) + 1, "groups"
        if units >= count:
            divided = _parts_of_groups(numbers, labels, count, random_state)
            folds = [Fold(*parts) for parts in divided]
    else:
        units, name = len(y), "rows"
        if units >= count:
            divided = _parts_of_rows(len(y), labels, count, random_state)
            folds = [Fold(*parts) for parts in divided]
    if units < count:
        raise InputError(
            f"{count} folds must have {name} of their own; got {units}. Choose fewer folds."
        )
    return folds


def can_be_stratified(labels: numpy.ndarray | None, count: int) -> bool:
    """Return whether a class has a row for each fold. labels : (rows,) class indices or None"""
    return labels is not None and bool(numpy.bincount(labels).max() >= count)


def unseen_inputs(X: numpy.ndarray, training: numpy.ndarray | slice) -> numpy.ndarray:
    """Return which inputs are 0 in all training rows: (inputs,) bool.

    A network learns nothing about them, and its encoder would not have them if it knew the training
    rows alone: they belong to values, gaps and bins of other groups.
    """
    return numpy.asarray(~X[training].any(axis=0))
