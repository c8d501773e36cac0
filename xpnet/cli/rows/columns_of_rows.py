"""Columns that say something about rows and are no features: groups, times, weights, exposures."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import NamedTuple

import numpy
import pyarrow
from pyarrow import types

from xpnet.cli.output import few
from xpnet.cli.reading import ReadColumns
from xpnet.cli.rows.file_rows import FileRows
from xpnet.cli.settings import LinkedSettings, MeasuringSettings, RateSettings, ReadingSettings
from xpnet.data.cells.forms import LearnedForm, category_form
from xpnet.data.cells.gaps import ALL_COLUMNS
from xpnet.data.frames import Frame
from xpnet.errors import DataFileError, InputError
from xpnet.learning.exposure import MAX_OFFSET
from xpnet.learning.labels import hard_labels
from xpnet.models.inputs import MAX_SUM_ERROR
from xpnet.tabular.columns.frames import table_of
from xpnet.tabular.columns.reading import ReadingRules, learn_table, read_table
from xpnet.tabular.columns.records import Table
from xpnet.tabular.rows.division import RowLinks, times_of
from xpnet.tabular.rows.file_table import FileTable


def read_links(
    frame: Frame,
    settings: LinkedSettings,
    labelled: numpy.ndarray,
    forms: Mapping[str, LearnedForm] = MappingProxyType({}),
) -> RowLinks:
    """Return the groups or times of the rows that have a label.

    forms : how columns are read, by their names, where a model knows it

    Raises DataFileError for gaps, and for times that are neither numbers nor dates.
    """
    if settings.groups is not None:
        form = category_form([], settings.gaps_of(settings.groups))
        table = read_table(_column_of(frame, settings.groups, labelled), {0: form})
        names = table.categories(0)
        codes = names.codes
        is_empty = numpy.array([*(text == "" for text in names.texts), True])  # -1 is a gap
        gaps = numpy.count_nonzero(is_empty[codes])
        if gaps:
            raise DataFileError(
                f"{frame.name}: --groups must name a column without gaps; {settings.groups!r} has "
                f"{gaps:,}. Fill them, or leave such rows out."
            )
        # Groups are divided in the order of their values; texts are in that of the rows.
        if table.kind(0).kind == "category":
            codes = numpy.unique(names.texts, return_inverse=True)[1][codes]
        return RowLinks(groups=codes)
    if settings.time is None:
        return RowLinks()
    table = replace(_column_of(frame, settings.time, labelled), forms=forms)
    try:
        rules = _rules_of(settings, settings.time)
        return RowLinks(time=times_of(table, settings.time, table.rows, rules))
    except InputError as error:
        raise DataFileError(f"{frame.name}: --time {settings.time}: {error}") from error


def _rules_of(settings: ReadingSettings, column: str) -> ReadingRules:
    """Return what the options say about one column, which is no feature."""
    gaps = settings.missing_values
    own = None if gaps is None else [*gaps.get(ALL_COLUMNS, ()), *gaps.get(column, ())]
    return ReadingRules(settings.date_format, missing_values=own)


def with_weights(rows: FileRows, settings: MeasuringSettings) -> FileRows:
    """Return rows with their weights; those of weight 0 are left out, and a note says so.

    Raises DataFileError for weights that are no finite numbers, are negative, or are all 0.
    """
    column = settings.weight
    if column is None:
        return rows
    weights = read_numbers_of_rows(rows.features, column, settings, WEIGHTS)
    has_weight = weights > 0
    if not has_weight.any():
        raise DataFileError(
            f"{rows.frame.name}: --weight must name a column with numbers above 0; {column!r} has "
            "none. Name another."
        )
    if not has_weight.all():
        rows.frame.notes.append(
            f"{numpy.count_nonzero(~has_weight):,} rows have weight 0, and are left out"
        )
    return replace(rows, weight=weights).take(has_weight)


def with_factors(rows: FileRows, settings: RateSettings) -> FileRows:
    """Return rows with the known factors of their means or odds, exposure * exp(offset).

    Raises DataFileError for exposures that are not above 0, and offsets that are no numbers.
    """
    if not settings.known_parts:
        return rows
    factors = numpy.ones(len(rows))
    if settings.exposure is not None:
        rule = RowNumbers("--exposure", "finite numbers above 0", lambda values: values > 0)
        factors *= read_numbers_of_rows(rows.features, settings.exposure, settings, rule)
    if settings.offset is not None:
        rule = RowNumbers(
            "--offset",
            f"numbers from {-MAX_OFFSET} to {MAX_OFFSET}",
            lambda values: abs(values) <= MAX_OFFSET,
        )
        of_columns = [
            numpy.exp(read_numbers_of_rows(rows.features, column, settings, rule))
            for column in settings.offset
        ]
        if len(of_columns) > 1:
            return replace(rows, factors=numpy.column_stack(of_columns))
        factors *= of_columns[0]
    return replace(rows, factors=factors)


class RowNumbers(NamedTuple):
    """The rule for the numbers of a column that an option names.

    option : that names the column; rule : for messages, what it holds
    are_allowed : returns which finite numbers hold the rule
    """

    option: str
    rule: str
    are_allowed: Callable[[numpy.ndarray], numpy.ndarray]


WEIGHTS = RowNumbers(
    "--weight", "finite numbers, none of them negative", lambda values: values >= 0
)
"""The rule for weights of rows."""


PROBABILITIES = RowNumbers(
    "--soft",
    "probabilities, numbers from 0 to 1",
    lambda values: (values >= 0) & (values <= 1 + MAX_SUM_ERROR),
)
"""The rule for the probabilities of a class."""


def soft_rows(
    read: ReadColumns, classes: Sequence[object] | numpy.ndarray, settings: ReadingSettings
) -> FileRows:
    """Return all rows of a file with soft labels; their labels are the most probable classes.

    classes : (classes,) names of the columns with their probabilities

    Raises DataFileError for other numbers than probabilities that sum to 1 in each row.
    """
    frame = read.frame
    features = read.features_of(numpy.ones(frame.rows, bool))
    names = list(map(str, classes))
    shares = numpy.column_stack(
        [read_numbers_of_rows(features, name, settings, PROBABILITIES) for name in names]
    )
    sums = shares.sum(axis=1)
    wrong = numpy.abs(sums - 1) > MAX_SUM_ERROR
    if wrong.any():
        row = int(wrong.argmax())
        raise DataFileError(
            f"{frame.name}: --soft must name columns whose numbers sum to 1 in each row; "
            f"{few(names)} sum to {sums[row]:g} in row {frame.first_row + row}. Divide them by "
            "their sum, or leave the row out."
        )
    y = hard_labels(shares).astype(numpy.min_scalar_type(len(names)))
    return FileRows(features, y, classes, shares=shares)


def read_numbers_of_rows(
    features: FileTable, column: str, settings: ReadingSettings, must_be: RowNumbers
) -> numpy.ndarray:
    """Return the numbers of a column of some rows: (rows,) float64.

    features : of these rows; column : of their file

    Raises DataFileError for other values than these must be.
    """
    frame = features.frame
    rules = ReadingRules(missing_values=settings.missing_values)
    table = learn_table(_column_of(frame, column, features.chosen), rules).table
    rule = f"{frame.name}: {must_be.option} must name a column of {must_be.rule}"
    kind, type_name = table.kind(0)
    if kind != "number":
        raise DataFileError(f"{rule}; {column!r} holds {type_name}. Name another.")
    numbers = table.numbers(0)
    wrong = ~(numpy.isfinite(numbers) & must_be.are_allowed(numbers))
    if wrong.any():
        row = frame.first_row + int(features.places[wrong.argmax()])
        raise DataFileError(
            f"{rule}; {column!r} holds {numbers[wrong][0]:g} in row {row}. Correct it, or leave "
            "the row out."
        )
    return numbers


def _column_of(frame: Frame, name: str, labelled: numpy.ndarray) -> Table:
    """Return a column of the rows that have a label, as a table."""
    batches = [batch.column(0) for batch in frame.all_batches([name])]
    column = pyarrow.chunked_array(batches, frame.schema.field(name).type)
    own = column.filter(pyarrow.array(labelled))
    if types.is_dictionary(own.type):
        own = own.cast(own.type.value_type)
    return table_of(pyarrow.table({name: own}))
