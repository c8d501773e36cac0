"""Rows of a data file with their targets: read, divided, encoded."""

import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy
import pyarrow
from pyarrow import types

from xpnet.cli.output import few, working
from xpnet.cli.settings import LinkedSettings, MeasuringSettings, RateSettings, ReadingSettings
from xpnet.cli.table_model import TableModel
from xpnet.data import open_data
from xpnet.data.cells.forms import ColumnForm, LearnedForm, TextRules, category_form
from xpnet.data.cells.gaps import ALL_COLUMNS
from xpnet.data.cells.numbers import NumberFormat
from xpnet.data.column_choice import pick_columns
from xpnet.data.frame_forms import (
    decimal_mark_of,
    learn_forms,
    notes_of_digit_names,
    notes_of_words,
    read_numbers,
    text_columns,
)
from xpnet.data.frames import Frame, is_text
from xpnet.data.readers.text import TextFile
from xpnet.errors import DataFileError, InputError
from xpnet.learning.exposure import MAX_OFFSET
from xpnet.tabular.columns.frames import table_of
from xpnet.tabular.columns.reading import ReadingRules, UnreadableWarning, learn_table, read_table
from xpnet.tabular.columns.records import Table
from xpnet.tabular.rows.coded_labels import CodedLabels
from xpnet.tabular.rows.division import RowLinks, folds_to_measure, split_off_rows, times_of
from xpnet.tabular.rows.file_rows import FileRows

MAX_COLUMNS = 100_000
"""Maximum columns of a table: each takes about 0.1 ms when it is encoded."""


class ReadColumns(NamedTuple):
    """A data file and the columns that a model takes.

    opened : the file; frame : its rows, with these columns
    features : names of columns; target : the name of the labels' column, "" without labels
    forms : how columns are read, by their names
    """

    opened: Frame | TextFile
    frame: Frame
    features: list[str]
    target: str
    forms: dict[str, LearnedForm]


def read_columns(
    data: str,
    settings: ReadingSettings,
    model: TableModel | None = None,
    forms_before: Mapping[str, ColumnForm] = MappingProxyType({}),
    *,
    labelled: bool,
) -> ReadColumns:
    """Open a data file and read the columns that a model takes.

    model : says what the options leave open; labelled : whether labels are needed
    forms_before : how columns are read, by their names, where there is no model yet

    Raises DataFileError if columns are missing, and for a format of dates that no column has.
    """
    forms_before = with_marks(forms_before if model is None else model.forms, settings)
    dialect = settings.dialect
    dialect["decimal"] = settings.decimal or decimal_mark_of(forms_before)
    opened = open_data(data, settings.target if labelled else None, **dialect)
    drop = [*settings.no_features]
    text = [*settings.text, *(name for name in text_columns(forms_before) if name in opened.names)]
    features = settings.features
    target = settings.target
    if model is not None:
        drop += [name for name in model.ids if name in opened.names]
        features = features or tuple(model.features)
        target = target or opened.default_target or model.target
    named = [*text, *settings.further_columns, *(settings.missing_values or {})]
    names, label = pick_columns(opened, target, features, drop, named, labelled=labelled)
    if len(names) > MAX_COLUMNS:
        raise DataFileError(
            f"{opened.name}: a model must have at most {MAX_COLUMNS:,} columns; got "
            f"{len(names):,}. Choose some with --features."
        )
    columns = [*names, *settings.further_columns, *([] if label is None else [label])]
    columns = list(dict.fromkeys(columns))
    if model is not None and model.target_format is not None and label is not None:
        text.append(label)
    with working(f"reading {opened.name}"):
        frame = opened.read(
            columns,
            [name for name in text if name in columns],
            label,
            keeps_names=not forms_before,
        )
        forms = _forms_of_file(opened, frame, names, settings, forms_before)
    if model is not None:
        model.use_unreadable(settings.unreadable)
        if not model.has_encoder:
            read_numbers(frame, forms)
    return ReadColumns(opened, frame, names, label or "", forms)


def with_marks(
    forms: Mapping[str, ColumnForm], settings: ReadingSettings
) -> Mapping[str, ColumnForm]:
    """Return forms with the marks of numbers that the user names for this file."""
    if settings.decimal is None and settings.thousands is None:
        return forms
    return {
        name: form.with_marks(settings.decimal, settings.thousands) for name, form in forms.items()
    }


def _forms_of_file(
    opened: Frame | TextFile,
    frame: Frame,
    features: Sequence[str],
    settings: ReadingSettings,
    forms_before: Mapping[str, ColumnForm],
) -> dict[str, LearnedForm]:
    """Return the forms of a file's columns: those that are known, and others by all of its rows.

    Raises DataFileError for a format of dates that no column has.
    """
    decimal = settings.decimal
    if decimal is None and isinstance(opened, TextFile):
        decimal = opened.decimal
    rules = TextRules(
        settings.date_format,
        decimal,
        settings.thousands,
        has_types=not isinstance(opened, TextFile),
    )
    unknown = [name for name in features if name not in forms_before]
    forms = learn_forms(frame, unknown, settings.text, rules, settings.gaps_of)
    if not forms_before and not rules.has_types:
        frame.notes += notes_of_words(frame, forms)
    if isinstance(opened, TextFile):
        frame.notes += notes_of_digit_names(opened.digit_names, forms)
    forms |= {name: LearnedForm(form) for name, form in forms_before.items() if name in features}
    formats = {learned.form.date_format for learned in forms.values()}
    if settings.date_format is not None and settings.date_format not in formats:
        raise DataFileError(
            f"{frame.name}: --date-format must be the format of some column of text or whole "
            f"numbers; got {settings.date_format!r}, which no column has in all rows. Leave it out."
        )
    frame.take_as_text(name for name in features if is_text(frame.schema.field(name).type))
    return forms


@dataclass(frozen=True)
class TableRows:
    """Some of the rows of a frame.

    features : names of columns; chosen : (rows of the frame,) bool, which of them
    y : (rows,) class indices, or numbers; classes : the labels, in their order; None for numbers
    weight : (rows,) of the rows, positive; None for equal ones; links : their groups or times
    factors : (rows,) the known factors of their means, by exposures and offsets; None for none
    forms : how columns are read, by their names
    target_format : of labels that are numbers in text; None for others
    """

    frame: Frame
    features: list[str]
    chosen: numpy.ndarray
    y: numpy.ndarray
    classes: Any
    weight: numpy.ndarray | None = None
    factors: numpy.ndarray | None = None
    links: RowLinks = RowLinks()
    forms: dict[str, LearnedForm] = field(default_factory=dict)
    target_format: NumberFormat | None = None

    def __len__(self) -> int:
        return len(self.y)

    def take(self, selection: numpy.ndarray | slice) -> "TableRows":
        """Return some of the rows, in their order. selection : (rows,) bool, indices, or a slice"""
        selected = numpy.zeros(len(self), bool)
        selected[selection] = True
        chosen = self.chosen.copy()
        chosen[self.chosen] = selected
        return replace(
            self,
            chosen=chosen,
            y=self.y[selected],
            weight=None if self.weight is None else self.weight[selected],
            factors=None if self.factors is None else self.factors[selected],
            links=self.links.take(numpy.flatnonzero(selected)),
        )

    def sample(self, maximum: int) -> "TableRows":
        """Return about ``maximum`` rows, at even distances; all of fewer rows."""
        return self.take(self.sampled(maximum))

    def sampled(self, maximum: int) -> numpy.ndarray:
        """Return the indices of about ``maximum`` rows, at even distances."""
        return numpy.arange(0, len(self), -(-len(self) // maximum))

    @property
    def places(self) -> numpy.ndarray:
        """Return the rows of the frame that these are: (rows,) int."""
        return numpy.flatnonzero(self.chosen)

    @property
    def file_rows(self) -> FileRows:
        """Return the table of the features, which is read when it is needed."""
        return FileRows(self.frame, self.features, self.places, self.forms)

    @property
    def labels(self) -> CodedLabels | numpy.ndarray:
        """Return the labels of classes, or numbers, as estimators take them."""
        return self.y if self.classes is None else CodedLabels(self.classes, self.y)

    def table(self) -> pyarrow.Table:
        """Return all rows as one table."""
        return pyarrow.concat_tables(self.tables()).unify_dictionaries()

    def check_cells(self, unreadable: str = "error") -> None:
        """Raise DataFileError for a cell of text that does not have the form of its column.

        unreadable : "error"; with "gap", a note on the gaps that such cells become
        """
        schema = self.frame.schema
        checked = [
            name
            for name, (form, *_) in self.forms.items()
            if form.kind != "category" and types.is_dictionary(schema.field(name).type)
        ]
        forms = {place: self.forms[name].form for place, name in enumerate(checked)}
        rows = replace(self, features=checked)
        gaps: dict[str, list[UnreadableWarning]] = {}
        for table, numbers, _ in rows.numbered_tables() if checked else ():
            read = replace(table_of(table), row_numbers=numbers)
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                try:
                    read_table(read, forms, unreadable)
                except InputError as error:
                    raise DataFileError(f"{self.frame.name}: {error}") from error
            for warning in caught:
                if isinstance(warning.message, UnreadableWarning):
                    gaps.setdefault(warning.message.column, []).append(warning.message)
        for own in gaps.values():
            count = sum(warning.count for warning in own)
            self.frame.notes.append(f"{count:,} values became gaps: {own[0].problem}")

    def outputs_of(self, model: TableModel) -> numpy.ndarray:
        """Return the outputs of a model for all rows as one array."""
        parts = self.numbered_tables()
        return numpy.concatenate(
            [model.outputs_of(part.table, self.forms, part.numbers, part.factors) for part in parts]
        )

    def count_unknowns(self, model: TableModel) -> dict[str, dict[str, int]]:
        """Return the columns with values unlike those of a model's training, and their numbers.

        A model without a `TableEncoder` knows nothing of its training's values.
        """
        counts: dict[str, Counter[str]] = {}
        for table in self.tables() if model.has_encoder and model.features else ():
            for name, numbers in model.count_unknowns(table, self.forms).items():
                counts.setdefault(name, Counter()).update(numbers)
        return {name: dict(numbers) for name, numbers in counts.items() if any(numbers.values())}

    def tables(self, blocks: Iterable[int] | None = None) -> Iterator[pyarrow.Table]:
        """Yield the rows, some thousand at a time. blocks : of the frame; None for all"""
        return (rows.table for rows in self.numbered_tables(blocks))

    def numbered_tables(self, blocks: Iterable[int] | None = None) -> Iterator["NumberedRows"]:
        """Yield the rows with their numbers. blocks : of the frame; None for all"""
        places = self.places
        if blocks is not None:
            block_of_row = numpy.searchsorted(self.frame.starts, places, side="right") - 1
            places = places[numpy.isin(block_of_row, list(blocks))]
        for batch, own in self.file_rows.pieces(places):
            table = pyarrow.Table.from_batches([batch])
            factors = self.factors
            if factors is not None:
                factors = factors[numpy.searchsorted(self.places, own)]
            yield NumberedRows(table, self.frame.first_row + own, factors)


class NumberedRows(NamedTuple):
    """Some rows of a file.

    numbers : (rows,) int, as messages name them; factors : (rows,) of their means, or None
    """

    table: pyarrow.Table
    numbers: numpy.ndarray
    factors: numpy.ndarray | None = None


def split(rows: TableRows, fraction: float, seed: int, option: str) -> tuple[TableRows, TableRows]:
    """Divide rows into two parts, of which the second has a fraction of them, by `split_off_rows`.

    option : that named the fraction, for the message

    Raises DataFileError where no row would be left in the first part.
    """
    count = len(rows)
    if fraction and round(fraction * count) >= count:
        raise DataFileError(
            f"{rows.frame.name}: some row must be left to train on; {count} rows are too few for "
            f"{option} {fraction}."
        )
    groups = rows.links.groups
    if fraction and groups is not None and groups.max() == groups.min():
        raise DataFileError(
            f"{rows.frame.name}: --groups must name a column of two groups or more; got 1. "
            "Leave it out."
        )
    are_classes = rows.classes is not None
    second = split_off_rows(rows.y, rows.links, fraction, seed, are_classes=are_classes)
    return rows.take(~second), rows.take(second)


def split_last(rows: TableRows, fraction: float) -> tuple[TableRows, TableRows]:
    """Divide rows into two parts, of which the second has the last ones, a fraction of them."""
    second = numpy.arange(len(rows)) >= len(rows) - round(fraction * len(rows))
    return rows.take(~second), rows.take(second)


def split_folds(rows: TableRows, count: int, seed: int) -> list[tuple[TableRows, TableRows]]:
    """Return training and test rows for each fold, by `folds_to_measure`.

    Raises DataFileError for fewer rows, groups or times than folds.
    """
    are_classes = rows.classes is not None
    try:
        folds = folds_to_measure(rows.y, rows.links, count, seed, are_classes=are_classes)
    except InputError as error:
        raise DataFileError(f"{rows.frame.name}: --folds {count}: {error}") from error
    return [(rows.take(fold.training), rows.take(fold.validation)) for fold in folds]


def with_training_classes(training: TableRows, test: TableRows) -> tuple[TableRows, TableRows]:
    """Return both parts with the classes of the training rows alone; a note reports others."""
    if training.classes is None:
        return training, test
    indices = numpy.unique(training.y)
    if len(indices) == len(training.classes):
        return training, test
    is_trained = numpy.isin(test.y, indices)
    if not is_trained.all():
        others = numpy.unique(test.y[~is_trained])
        training.frame.notes.append(
            f"{numpy.count_nonzero(~is_trained):,} test rows are left out, since no training row "
            f"has their class: {few(training.classes[others].tolist())}"
        )

    def renumbered(rows: TableRows) -> TableRows:
        """Return rows whose class indices count the training rows' classes alone."""
        y = numpy.searchsorted(indices, rows.y).astype(rows.y.dtype)
        return replace(rows, y=y, classes=rows.classes[indices])

    return renumbered(training), renumbered(test.take(is_trained))


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


def with_weights(rows: TableRows, settings: MeasuringSettings) -> TableRows:
    """Return rows with their weights; those of weight 0 are left out, and a note says so.

    Raises DataFileError for weights that are no finite numbers, are negative, or are all 0.
    """
    column = settings.weight
    if column is None:
        return rows
    weights = read_numbers_of_rows(rows.frame, column, rows.chosen, settings, WEIGHTS)
    counted = weights > 0
    if not counted.any():
        raise DataFileError(
            f"{rows.frame.name}: --weight must name a column with numbers above 0; {column!r} has "
            "none. Name another."
        )
    if not counted.all():
        rows.frame.notes.append(
            f"{numpy.count_nonzero(~counted):,} rows have weight 0, and are left out"
        )
    return replace(rows, weight=weights).take(counted)


def with_factors(rows: TableRows, settings: RateSettings) -> TableRows:
    """Return rows with the known factors of their means, exposure * exp(offset).

    Raises DataFileError for exposures that are not above 0, and offsets that are no numbers.
    """
    if not (settings.exposure or settings.offset):
        return rows
    factors = numpy.ones(numpy.count_nonzero(rows.chosen))
    if settings.exposure is not None:
        rule = RowNumbers("--exposure", "finite numbers above 0", lambda values: values > 0)
        factors *= read_numbers_of_rows(rows.frame, settings.exposure, rows.chosen, settings, rule)
    if settings.offset is not None:
        rule = RowNumbers(
            "--offset",
            f"numbers from {-MAX_OFFSET} to {MAX_OFFSET}",
            lambda values: abs(values) <= MAX_OFFSET,
        )
        factors *= numpy.exp(
            read_numbers_of_rows(rows.frame, settings.offset, rows.chosen, settings, rule)
        )
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


def read_numbers_of_rows(
    frame: Frame,
    column: str,
    labelled: numpy.ndarray,
    settings: ReadingSettings,
    must_be: RowNumbers,
) -> numpy.ndarray:
    """Return the numbers of a column of the rows that have a label: (rows,) float64.

    Raises DataFileError for other values than these must be.
    """
    rules = ReadingRules(missing_values=settings.missing_values)
    table = learn_table(_column_of(frame, column, labelled), rules).table
    rule = f"{frame.name}: {must_be.option} must name a column of {must_be.rule}"
    kind, type_name = table.kind(0)
    if kind != "number":
        raise DataFileError(f"{rule}; {column!r} holds {type_name}. Name another.")
    numbers = table.numbers(0)
    wrong = ~(numpy.isfinite(numbers) & must_be.are_allowed(numbers))
    if wrong.any():
        row = frame.first_row + int(numpy.flatnonzero(labelled)[wrong.argmax()])
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
