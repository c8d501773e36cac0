"""Categories as float32 columns: frequent values, and the frequency and mean target of all."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import numpy

from xpnet.tabular.columns import CategoryCodes
from xpnet.tabular.encoding_target import Target

MEANS_AT_ONCE = 1 << 20
"""Block size in numbers of the mean targets of values; it bounds temporary memory."""
FOLDS = 5
"""Number of parts of the training rows. The mean target of a row's value is taken over the rows of
the other parts."""
SMOOTHING_ROWS = 10.0
"""Number of rows with the overall mean target that are added to the rows of each value."""
MIN_SPREAD = 1e-12
"""Smallest standard deviation of a detail, relative to its largest value; one that varies less is 0
in all rows. So is the mean target of values of which each has rows in one group only."""

UNKNOWN = -1
"""The index of a value that was not seen in training."""
GAP = -2
"""The index of a gap."""


@dataclass(frozen=True)
class CategoryEncoding:
    """A category: a column for each frequent value, one for all rare values, one for gaps, details.

    Unknown values are 0 in all of these columns.

    values : the values of the training, the most frequent first
    frequent : number of values that have a column of their own
    gaps : whether there is a column for gaps
    details : (values, columns) float32: frequency and mean targets of categories of many values
    detail_labels : (columns,) names of the details
    """

    column: int
    values: tuple[str, ...]
    frequent: int
    gaps: bool
    details: numpy.ndarray
    detail_labels: tuple[str, ...]

    @property
    def hot(self) -> int:
        """Return the number of columns of values: the frequent ones, and one of rare ones."""
        return self.frequent + (self.frequent < len(self.values))

    @property
    def labels(self) -> list[str]:
        """Return the ending of the name of each output, which follows the column's name."""
        labels = [f"_{value}" for value in self.values[: self.frequent]]
        labels += ["_rare"] * (self.hot - self.frequent) + ["_missing"] * self.gaps
        return labels + [f"_{label}" for label in self.detail_labels]

    def indices(self, codes: CategoryCodes) -> numpy.ndarray:
        """Return for each row the index of its value: (rows,) int64; or UNKNOWN or GAP."""
        index_of_text = self._index_of_text()
        indices = [
            index_of_text.get(text, index_of_text.get(other_form(text), UNKNOWN))
            for text in codes.texts
        ]
        return numpy.array([*indices, GAP], numpy.int64)[codes.codes]

    def _index_of_text(self) -> dict[str, int]:
        """Return the index of each value, and GAP for empty text.

        Empty text may be a value in files of a release that took it for one.
        """
        return {"": GAP} | {value: index for index, value in enumerate(self.values)}

    def known_texts(self) -> dict[str, int]:
        """Return the index of each text that is not unknown: a value, its other form, or GAP."""
        indices = self._index_of_text()
        other_forms = {other_form(value): index for value, index in indices.items()}
        return other_forms | indices

    def write(
        self, indices: numpy.ndarray, out: numpy.ndarray, details: numpy.ndarray | None = None
    ) -> None:
        """Encode rows.

        indices : (rows,) of values; out : (rows, outputs) float32, overwritten
        details : of these rows, (rows, columns); None for those of their values
        """
        out[...] = 0.0
        (known_rows,) = numpy.nonzero(indices >= 0)
        out[known_rows, numpy.minimum(indices[known_rows], self.hot - 1)] = 1.0
        if self.gaps:
            out[:, self.hot] = indices == GAP
        if self.detail_labels:
            first = self.hot + self.gaps
            if details is None:
                out[known_rows, first:] = self.details[indices[known_rows]]
            else:
                out[known_rows, first:] = details[known_rows]


def other_form(value: str) -> str:
    """Return "1" for "1.0" and "1.0" for "1"; the text itself where it is no whole number.

    Whole numbers of a column of floats have a decimal in CSV files, and none in ``CategoryCodes``.
    """
    whole = value.removesuffix(".0")
    digits = whole.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()) or (digits[0] == "0" and len(digits) > 1):
        return value
    return whole if value != whole else f"{whole}.0"


def fit_category(
    codes: CategoryCodes, *, column: int, min_rows: int, max_columns: int
) -> CategoryEncoding | None:
    """Fit a category without details; None where it has one value only. Empty text is a gap.

    min_rows : minimum number of rows of a frequent value
    max_columns : maximum number of frequent values
    """
    texts = codes.texts
    counts = numpy.bincount(codes.codes[codes.codes >= 0], minlength=len(texts))
    present = [index for index in numpy.flatnonzero(counts) if texts[index]]
    order = sorted(present, key=lambda index: (-counts[index], texts[index]))
    values = tuple(texts[index] for index in order)
    gaps = bool(counts[order].sum() < len(codes.codes))
    if len(values) + gaps < 2:
        return None
    frequent = min(int((counts[order] >= min_rows).sum()), max_columns)
    if len(values) - frequent == 1 and len(values) <= max_columns:
        frequent = len(values)  # a single rare value needs no column for all rare values
    no_details = numpy.empty((len(values), 0), numpy.float32)
    return CategoryEncoding(column, values, frequent, gaps, no_details, ())


class _Details(NamedTuple):
    """Details of values (values, columns), and of the rows (rows, columns), both float64."""

    of_values: numpy.ndarray
    of_rows: numpy.ndarray


class DetailedCategory(NamedTuple):
    """A category with details, and the details of its training rows: (rows, columns) float32."""

    category: CategoryEncoding
    row_details: numpy.ndarray


class ValueDetails(NamedTuple):
    """Details of values (values, columns), and of the rows (rows, columns), both float32.

    labels : (columns,) their names
    """

    of_values: numpy.ndarray
    of_rows: numpy.ndarray
    labels: tuple[str, ...]


def with_details(
    category: CategoryEncoding, indices: numpy.ndarray, target: Target
) -> DetailedCategory:
    """Add the frequency of each value and, for a target, its smoothed mean over the value's rows.

    indices : (rows,) of values, negative for gaps
    """
    details = details_of_values(indices, len(category.values), target, prior_rows=SMOOTHING_ROWS)
    detailed = replace(category, details=details.of_values, detail_labels=details.labels)
    return DetailedCategory(detailed, details.of_rows)


def details_of_values(
    indices: numpy.ndarray, values: int, target: Target, *, prior_rows: float
) -> ValueDetails:
    """Return the frequency of each value and, for a target, its smoothed mean over its rows.

    The training rows get means over other rows (cross-fitting), so that a network cannot read
    their targets from them.

    indices : (rows,) of values, negative for gaps; values : their number
    prior_rows : number of rows with the overall mean target that are added to those of each value
    """
    labels = ["frequency"]
    if target.task == "regression":
        labels.append("target")
    elif target.task == "classification":
        classes = int(target.y.max()) + 1
        names = [f"target_{index}" for index in range(1, classes)]
        labels += ["target"] if classes == 2 else names
    counts = numpy.bincount(indices[indices >= 0], minlength=values).astype(numpy.float64)
    details = numpy.empty((values, len(labels)), numpy.float32)
    row_details = numpy.empty((len(indices), len(labels)), numpy.float32)
    first = 0
    for of_values, of_rows in _detail_blocks(indices, counts, target, prior_rows):
        columns = slice(first, first + of_values.shape[1])
        mean = numpy.average(of_values, axis=0, weights=counts)
        spread = of_rows[indices >= 0].std(axis=0)
        spread[spread <= MIN_SPREAD * numpy.abs(of_rows).max(axis=0)] = numpy.inf
        details[:, columns] = (of_values - mean) / spread
        row_details[:, columns] = (of_rows - mean) / spread
        first = columns.stop
    return ValueDetails(details, row_details, tuple(labels))


def target_columns(target: Target) -> numpy.ndarray:
    """Return the target as columns, one for each class but the first: (rows, columns) float64."""
    return numpy.hstack(list(_target_blocks(target, len(target.y))))


def _detail_blocks(
    indices: numpy.ndarray, counts: numpy.ndarray, target: Target, prior_rows: float
) -> Iterator[_Details]:
    """Yield what ``details_of_values`` returns, a few columns at a time to bound memory."""
    frequency = numpy.log1p(counts)
    frequencies = _Details(frequency[:, None], frequency[indices, None])
    if target.task is None:
        yield frequencies
        return
    folds = target.links.parts(FOLDS, len(indices), target.random_state)
    in_order = target.links.time is not None
    max_columns = MEANS_AT_ONCE // max(len(indices), FOLDS * len(counts))
    for block, y in enumerate(_target_blocks(target, max(3, max_columns))):
        means = _mean_targets(
            indices, y, len(counts), folds, prior_rows=prior_rows, in_order=in_order
        )
        if block == 0:
            means = _Details(*map(numpy.hstack, zip(frequencies, means, strict=True)))
        yield means


def _target_blocks(target: Target, max_columns: int) -> Iterator[numpy.ndarray]:
    """Yield the target as columns: (rows, columns) float64; all classes but the first have one."""
    if target.task == "regression":
        yield target.y[:, None].astype(numpy.float64)
        return
    classes = numpy.arange(1, int(target.y.max()) + 1)
    for block in numpy.array_split(classes, max(1, -(-len(classes) // max_columns))):
        yield (target.y[:, None] == block).astype(numpy.float64)


def _mean_targets(
    indices: numpy.ndarray,
    y: numpy.ndarray,
    values: int,
    folds: numpy.ndarray,
    *,
    prior_rows: float,
    in_order: bool,
) -> _Details:
    """Return the mean target of each value, and of each row's value over the rows of other folds.

    indices : (rows,) of values, negative for gaps; y : (rows, columns); folds : (rows,)
    prior_rows : as of ``details_of_values``
    in_order : whether only folds before that of the row count, not those after it
    """
    mean = y.mean(axis=0)
    value = numpy.where(indices < 0, values, indices)
    sums = numpy.zeros((values + 1, FOLDS, y.shape[1]))
    counts = numpy.zeros((values + 1, FOLDS, 1))
    numpy.add.at(sums, (value, folds), y)
    numpy.add.at(counts, (value, folds), 1)

    def smoothed(total: numpy.ndarray, count: numpy.ndarray) -> numpy.ndarray:
        """Return means of ``count`` targets and of ``prior_rows`` times the overall mean."""
        return (total + prior_rows * mean) / (count + prior_rows)

    total = numpy.cumsum if in_order else partial(numpy.sum, keepdims=True)
    other_sums = total(sums, axis=1) - sums
    other_counts = total(counts, axis=1) - counts
    of_values = smoothed(sums.sum(axis=1), counts.sum(axis=1))[:values]
    return _Details(of_values, smoothed(other_sums, other_counts)[value, folds])
