"""The columns of a data file that a model takes, and how they are read."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy

from xpnet.cli.output import working
from xpnet.cli.settings import ReadingSettings
from xpnet.cli.table_model import TableModel
from xpnet.data import open_data
from xpnet.data.cells.forms import ColumnForm, LearnedForm, TextRules
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
from xpnet.errors import DataFileError
from xpnet.tabular.rows.file_table import FileTable

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

    def features_of(self, chosen: numpy.ndarray) -> FileTable:
        """Return the features of some rows. chosen : (rows of the frame,) bool"""
        return FileTable(self.frame, self.features, chosen, self.forms)


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
        if labelled and not frame.rows:
            raise DataFileError(f"{frame.name} has no rows. Give a file with rows.")
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
