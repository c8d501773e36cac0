"""How each column of a table is encoded: the choices that `TableEncoder` leaves to the data.

`choose_scaling` decides how many bins numbers have. `ColumnFit` decides for each column whether it
is numbers, a category or free text, or is left out.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import NamedTuple

import numpy

from xpnet.errors import InputError
from xpnet.tabular.columns.records import CategoryCodes, ColumnKind, Table, enumerated
from xpnet.tabular.encodings.category import CategoryEncoding, fit_category, with_details
from xpnet.tabular.encodings.differences.found import (
    MAX_SUBTRACTED_COLUMNS,
    FoundDifference,
    auditioned_rows,
    find_differences,
)
from xpnet.tabular.encodings.differences.units import NumberColumn
from xpnet.tabular.encodings.encoding import Encoding
from xpnet.tabular.encodings.encoding_target import Target
from xpnet.tabular.encodings.kinds import ENCODINGS
from xpnet.tabular.encodings.level import (
    columns_with_levels,
    distinct_levels,
    edges_of_many_levels,
    fit_levels,
    indices_of_levels,
)
from xpnet.tabular.encodings.number import (
    NumberEncoding,
    numbers_of,
    plain_numbers,
    read_number,
)
from xpnet.tabular.encodings.number_fit import Scaling, fit_numbers
from xpnet.tabular.encodings.other_columns import OtherColumns, fit_other_columns
from xpnet.tabular.encodings.target_means import ColumnMeans
from xpnet.tabular.encodings.text import fit_text
from xpnet.tabular.encodings.value_effect import correlation_of

MIN_ROWS_PER_BIN = 20
"""Minimum number of rows for each bin of a number."""
MIN_BINS = 4
"""Minimum number of bins of a number; one that would have fewer has none."""
MAX_BINS = 48
"""Maximum number of bins of quantiles of a number."""
TREE_BINS_OF_TABLE = 192
"""Number of tree bins of all columns together up to which a column has many. Few columns predict
better with many bins where the target has steps; with many columns these take long for nothing."""
MAX_TREE_BINS_OF_WIDE_TABLE = 8
"""Maximum number of bins of a tree in a table of very many columns."""
MAX_TREE_BINS = 32
"""Maximum number of bins of a tree in a table of few columns."""
MAX_FINE_TREE_BINS = 64
"""Maximum number of bins of a tree where the target rises and falls many times along the column."""
MIN_ROWS_PER_TREE_BIN = 7
"""Minimum number of rows for each tree bin of all columns together; more bins would fit noise."""
MAX_BINNED_NUMBERS = 1000
"""Number of encoded numbers of a table above which they have no bins: rows are far too few for
theirs, and inputs and trees of all bins take most of a fit's time."""
MAX_ENCODED_NUMBERS = 1 << 26
"""Maximum number of numbers in the encoded training table, which decides how many bins and
categories it has; 256 MiB in float32."""
GUARANTEED_CATEGORIES = 100
"""Number of values of a category that may have columns of their own in tables of any length."""
MAX_VALUES_WITHOUT_DETAILS = 20
"""Number of values above which a category has details: frequency and mean target."""
MIN_ROWS_FOR_IDENTIFIERS = 20
"""Minimum number of rows of a table in which columns are examined for identifiers."""
MAX_DISTINCT_SHARE = 0.5
"""Share of distinct values above which text is free text and left out."""
MIN_COUNTER_SHARE = 0.5
"""Share of their range that distinct whole numbers fill from which they are a row counter."""


def choose_scaling(
    rows: int,
    kinds: Sequence[ColumnKind],
    *,
    robust: bool,
    bins: int | str | None,
    tree_target: Target | None,
) -> Scaling:
    """Choose how the numbers of a table are scaled and divided into bins.

    rows : number of rows of the table; kinds : of its columns
    robust : whether numbers are scaled by median and quartiles
    bins : maximum number of bins of a number; "auto" for a choice by the table; None for no bins
    tree_target : the target of the trees that cut the bins; None for bins of quantiles
    """
    is_tree = tree_target is not None
    numbers = encoded_numbers(kinds)
    max_bins = max_automatic_bins(rows, numbers, is_tree=is_tree) if bins == "auto" else bins
    may_be_fine = bins == "auto" and max_bins == max_tree_bins(numbers)
    return Scaling(
        robust=robust,
        max_bins=int(max_bins or 0),
        max_fine_bins=MAX_FINE_TREE_BINS if may_be_fine else 0,
        target=tree_target,
    )


def max_automatic_bins(rows: int, numbers: int, *, is_tree: bool) -> int:
    """Return the maximum number of bins of a number in a table, 0 for no bins.

    numbers : how many numbers the columns are encoded as; is_tree : whether trees cut the bins
    """
    maximum = MAX_BINS
    if is_tree:
        maximum = max(MIN_BINS, rows // (MIN_ROWS_PER_TREE_BIN * numbers))
        maximum = min(max_tree_bins(numbers), maximum)
    of_memory = MAX_ENCODED_NUMBERS // (rows * numbers)
    bins = min(rows // MIN_ROWS_PER_BIN, maximum, of_memory)
    return bins if bins >= MIN_BINS and numbers <= MAX_BINNED_NUMBERS else 0


def max_tree_bins(numbers: int) -> int:
    """Return the maximum number of bins of a tree in a table of a number of encoded numbers."""
    return min(MAX_TREE_BINS, max(TREE_BINS_OF_TABLE // numbers, MAX_TREE_BINS_OF_WIDE_TABLE))


def encoded_numbers(kinds: Sequence[ColumnKind]) -> int:
    """Return how many numbers columns of these kinds are encoded as, at least 1."""
    numbers_of_kind = {"number": 1, "timestamp": 4}
    return max(1, sum(numbers_of_kind.get(kind, 0) for kind, _ in kinds))


class EncodedDifference(NamedTuple):
    """The encoding of a difference of columns, and why there is one."""

    encoding: NumberEncoding
    why: str


class LearnedColumns(NamedTuple):
    """What an encoder has learned of the columns of a table.

    encodings : in the order of the outputs
    left_out : why columns are not encoded; added : why differences are, both by their names
    means : mean targets of the values of categories and of levels, by the index of the column
    """

    encodings: list[Encoding]
    left_out: dict[str, str]
    added: dict[str, str]
    means: dict[int, ColumnMeans]


@dataclass(frozen=True)
class ColumnFit:
    """Fits the encodings of the columns of a table, one column after the other.

    table : the training rows; target : their target
    scaling : how numbers are scaled and divided into bins
    min_frequency : minimum number of rows of a value with a column of its own, or their share
    max_categories : maximum number of such values of a category
    uses_free_text : whether free text is encoded
    plain : indices of columns whose inputs rise with the number: no categories, levels, differences
    means : mean targets of the values of categories and of levels, by the index of the column;
        `encodings` adds them
    """

    table: Table
    target: Target
    scaling: Scaling
    min_frequency: float
    max_categories: int
    uses_free_text: bool
    plain: frozenset[int] = frozenset()
    means: dict[int, ColumnMeans] = field(default_factory=dict)

    def learn(self, kinds: Sequence[ColumnKind]) -> LearnedColumns:
        """Fit the encodings of all columns. kinds : of the columns

        Raises InputError where no column varies.
        """
        names = self.table.names
        left_out: dict[str, str] = {}
        without_means: list[Encoding] = []
        for index, kind in enumerate(kinds):
            encodings = self.encodings(index, kind)
            if isinstance(encodings, str):
                left_out[names[index]] = encodings
            else:
                without_means += encodings
        encodings = self.with_means(without_means)
        if not encodings:
            reasons = enumerated(f"{name} {reason}" for name, reason in left_out.items())
            raise InputError(
                f"A column must vary from row to row; got n_samples={self.table.rows} in which "
                f"none does: {reasons}."
            )
        differences = self.differences(encodings)
        added = {encoding.title(names): why for encoding, why in differences}
        encodings += [encoding for encoding, _ in differences]
        return LearnedColumns(encodings, left_out, added, self.means)

    def encodings(self, index: int, kind: ColumnKind) -> Sequence[Encoding] | str:
        """Return the encodings of a column, or why it is left out."""
        fit_kind = {
            "number": self._numbers,
            "category": self._category,
            "timestamp": self._timestamps,
            "other": self._other,
        }[kind.kind]
        encodings = fit_kind(index, kind.type_name)
        if isinstance(encodings, str):
            return encodings
        additions = (
            encoding_class.fit_addition(self.table, encodings)
            for encoding_class in ENCODINGS.values()
        )
        return [*encodings, *(addition for addition in additions if addition is not None)]

    def _other(self, index: int, type_name: str) -> str:
        """Return why a column of values of another kind is left out."""
        return f"holds {type_name}"

    def _numbers(self, index: int, type_name: str) -> Sequence[Encoding] | str:
        """Return the encodings of a column of numbers, or why it is left out.

        Whole numbers that float64 does not distinguish are a category, where they are few.
        """
        is_merged = index not in self.plain and self.table.is_merged_by_float64(index)
        if is_merged:
            categories = self._category(index, type_name)
            if not isinstance(categories, str):
                return categories
        x = self.table.numbers(index)
        is_integer = type_name.lstrip("u").startswith("int")
        if self.table.named and is_integer and is_row_counter(x):
            return "numbers the rows"
        numbers = fit_numbers(x, self.scaling, index, "number")
        if not numbers and is_merged:
            return "holds whole numbers above 2^53 that are one number in float64"
        return numbers or "holds one value only"

    def _timestamps(self, index: int, type_name: str) -> Sequence[Encoding] | str:
        """Return the encodings of a column of timestamps, or why it is left out."""
        timestamps = self.table.timestamps(index)
        return fit_numbers(timestamps, self.scaling, index, "timestamp") or "holds one value only"

    def differences(self, encodings: Sequence[Encoding]) -> list[EncodedDifference]:
        """Return the encodings of the differences of columns that explain the target.

        encodings : of all columns
        """
        numbers = [n for n in _subtracted_numbers(encodings) if n.column not in self.plain]
        if not self.scaling.max_bins or not 2 <= len(numbers) <= MAX_SUBTRACTED_COLUMNS:
            return []
        rows = auditioned_rows(self.target)
        if not len(rows):
            return []
        sample = self.table.take(rows)
        columns = [
            NumberColumn(
                number,
                read_number(sample, number),
                sample.is_time_of_day(number.column),
                sample.clock(number.column),
            )
            for number in numbers
        ]
        assert self.target.task is not None
        differences = find_differences(columns, self.target.y[rows], self.target.task)
        return [
            encoded
            for difference in differences
            for encoded in self._encoded_difference(difference)
        ]

    def _encoded_difference(self, difference: FoundDifference) -> Iterator[EncodedDifference]:
        """Yield the encoding of a difference, unless it has one value only."""
        stub = replace(difference.first, difference=difference.difference)
        (x,) = numbers_of([stub], partial(read_number, self.table))
        for number in fit_numbers(x, self.scaling, difference.first.column, "number"):
            if number.scale:
                encoding = replace(
                    number,
                    part=stub.part,
                    gaps=False,  # the columns have indicators of their own gaps
                    difference=stub.difference,
                )
                yield EncodedDifference(encoding, difference.why)

    def _category(self, index: int, type_name: str) -> list[Encoding] | str:
        """Return the encoding of a category or of free text, or why the column is left out."""
        codes = self.table.categories(index)
        category = fit_category(
            codes,
            column=index,
            min_rows=self._min_rows_of_value(),
            max_columns=self._max_value_columns(),
        )
        if category is None:
            return "holds one value only"
        indices = category.indices(codes)
        filled_rows = int((indices >= 0).sum())
        is_free_text = len(category.values) > MAX_DISTINCT_SHARE * filled_rows
        if filled_rows >= MIN_ROWS_FOR_IDENTIFIERS and is_free_text:
            return self._free_text(codes, index)
        return [category]

    def with_means(self, encodings: Sequence[Encoding]) -> list[Encoding]:
        """Return encodings with the mean targets of categories and of numbers that name things.

        encodings : of all columns
        """
        others = _OthersOnDemand(self.table, encodings, self.target)
        completed: list[Encoding] = []
        for encoding in encodings:
            if isinstance(encoding, CategoryEncoding):
                completed.append(self._detailed_category(encoding, others))
            elif (
                isinstance(encoding, NumberEncoding)
                and not encoding.part
                and encoding.column not in self.plain
            ):
                completed += self._with_levels(encoding, others)
            else:
                completed.append(encoding)
        return completed

    def _detailed_category(
        self, category: CategoryEncoding, others: "_OthersOnDemand"
    ) -> CategoryEncoding:
        """Return a category, with details if it has many values."""
        if len(category.values) <= MAX_VALUES_WITHOUT_DETAILS:
            return category
        column = category.column
        indices = category.indices(self.table.categories(column))
        category, means = with_details(
            category,
            indices,
            others.target_of_means(column, indices),
            keeps_columns=self.min_frequency >= 1,
        )
        if means is not None:
            self.means[column] = means
        return category

    def _with_levels(self, number: NumberEncoding, others: "_OthersOnDemand") -> list[Encoding]:
        """Return a number, and its levels if these predict better than its bins.

        Bins of few levels would tell which level a row has, so that the number keeps wider ones.

        Levels are for more values than bins: without bins they would be for every column.
        """
        if self.scaling.max_bins == 0 or not number.scale:
            return [number]
        x = self.table.numbers(number.column)
        values = distinct_levels(x[numpy.isfinite(x)])
        if values is None:
            return [number]
        target = others.target_of_means(number.column, indices_of_levels(x, values))
        levels = fit_levels(x, number, target)
        if levels is None:
            return [number]
        self.means[number.column] = levels.means
        return [replace(number, edges=edges_of_many_levels(number.edges, values)), levels.encoding]

    def _min_rows_of_value(self) -> int:
        """Return the minimum number of rows of a value with a column of its own."""
        if self.min_frequency >= 1:
            return int(self.min_frequency)
        return int(max(2, self.min_frequency * self.table.rows))

    def _max_value_columns(self) -> int:
        """Return the maximum number of values of a category with a column of their own."""
        of_memory = MAX_ENCODED_NUMBERS // self.table.rows
        return min(self.max_categories, max(GUARANTEED_CATEGORIES, of_memory))

    def _free_text(self, codes: CategoryCodes, index: int) -> list[Encoding] | str:
        """Return the encoding of free text, or why it is left out."""
        if not self.uses_free_text:
            return "holds text that differs from row to row; text_features='on' uses it"
        encoding = fit_text(codes, index, self.target.random_state)
        return "holds text without n-grams" if encoding is None else [encoding]


@dataclass
class _OthersOnDemand:
    """The linear prediction of the target by other columns, fitted when it is first needed."""

    table: Table
    encodings: Sequence[Encoding]
    target: Target

    @cached_property
    def fitted(self) -> OtherColumns | None:
        """Return the ridge regression on all columns, None where there is none."""
        if self.target.task is None:
            return None
        return fit_other_columns(self.table, self.encodings, self.target)

    def target_of_means(self, column: int, indices: numpy.ndarray) -> Target:
        """Return the target of the means of a column.

        It is what the other columns leave of the target where the rows of one value are more alike
        in that. Where they are less, the other columns tell the values apart, as a place does the
        postcode, and their linear prediction takes a part of the effect away.

        indices : (rows,) of values, negative for rows without one
        """
        if self.fitted is None:
            return self.target
        remaining = replace(self.target, predicted=self.fitted.without(column))
        return max(self.target, remaining, key=lambda target: correlation_of(indices, target))


def _subtracted_numbers(encodings: Sequence[Encoding]) -> list[NumberEncoding]:
    """Return the numbers that may be part of a difference, and the trends of timestamps.

    Numbers with levels name things, and their differences tell nothing.
    """
    with_levels = columns_with_levels(encodings)
    return [number for number in plain_numbers(encodings) if number.column not in with_levels]


def is_row_counter(x: numpy.ndarray) -> bool:
    """Return whether whole numbers are all different and close together, as row numbers are.

    x : (rows,) float64, NaN for gaps
    """
    x = x[~numpy.isnan(x)]
    if len(x) < MIN_ROWS_FOR_IDENTIFIERS or len(x) < MIN_COUNTER_SHARE * (x.max() - x.min() + 1):
        return False
    return len(numpy.unique(x)) == len(x)
