"""Columns of text or whole numbers that are dates: in training, and in later tables."""

import warnings
from collections.abc import Set
from typing import NamedTuple

from xpnet.errors import InputError
from xpnet.tabular.columns import Numbers, Table, Timestamps, Values, Words, enumerated
from xpnet.tabular.dates import (
    FORMS,
    CommonForms,
    are_whole_dates,
    check_date_format,
    common_forms,
    read_dates,
    unlike_date,
)


class DatedTable(NamedTuple):
    """A table of training whose text is dates where it holds dates.

    notes : by the names of columns, how they are read where it may have been meant otherwise
    """

    table: Table
    notes: dict[str, str]


def with_dates(
    table: Table, date_format: str | dict[str, str] | None, categorical: Set[int]
) -> DatedTable:
    """Return a table of training in which columns of text and whole numbers that are dates are so.

    Warns of each note, and of a format that no column has.

    date_format : the user's, of all columns that have it or by the name of the column; None for
        the forms that are recognised
    categorical : indices of columns that stay as they are

    Raises InputError for an impossible format, and for a column that does not have its own.
    """
    formats = date_format if isinstance(date_format, dict) else {}
    general = date_format if isinstance(date_format, str) else None
    for form in [*formats.values(), *filter(None, [general])]:
        check_date_format(form)
    unknown = sorted(formats.keys() - {*table.names, *table.labels})
    if unknown:
        raise InputError(
            f"`date_format` must name columns of the table; got {enumerated(map(repr, unknown))}. "
            "Correct the names."
        )
    changed: dict[int, Values] = {}
    notes: dict[str, str] = {}
    for index, name in enumerate(table.labels or table.names):
        if index in categorical:
            continue
        values, note = learn_dates(table.values(index), name, formats.get(name), general)
        if values is not table.values(index):
            changed[index] = values
        if note:
            notes[name] = note
            warnings.warn(f"Column {name!r} {note}.", UserWarning, stacklevel=4)
    formats_read = {getattr(values, "date_format", "") for values in changed.values()}
    if general is not None and general not in formats_read:
        warnings.warn(
            f"`date_format` should be the format of some column; got {general!r}, which none "
            "has in all rows.",
            UserWarning,
            stacklevel=4,
        )
    return DatedTable(table.with_values(changed), notes)


def with_dates_as_in_training(table: Table, formats: dict[int, str]) -> Table:
    """Return a later table in which columns of text and whole numbers are dates as in training.

    formats : of text in training, by the index of the column; "" where training had no text

    Raises InputError for text that is no such date.
    """
    changed: dict[int, Values] = {}
    for index, date_format in formats.items():
        values = table.values(index)
        dates = dates_as_in_training(values, table.names[index], date_format)
        if dates is not values:
            changed[index] = dates
    return table.with_values(changed)


class LearnedColumn(NamedTuple):
    """A column of training, as dates where it holds dates.

    note : how it is read, where it may have been meant in another way; "" otherwise
    """

    values: Values
    note: str = ""


def learn_dates(
    values: Values, name: str, date_format: str | None, general_format: str | None
) -> LearnedColumn:
    """Return a column of training as dates where it holds dates.

    date_format : the one that the user names for this column, None for none
    general_format : the one that the user names for all columns that have it, None for none

    Raises InputError for a column that does not have the format that is named for it.
    """
    if isinstance(values, Timestamps) or values.is_empty:
        return LearnedColumn(values)
    if date_format is not None:
        return LearnedColumn(_dated(values, name, date_format))
    if isinstance(values, Words) and not values.is_category:
        return _learn_text(values, general_format)
    if isinstance(values, Words):
        is_uncertain = not common_forms([values.filled_texts]).forms
        return LearnedColumn(values, _note_of_likeness(values) if is_uncertain else "")
    if isinstance(values, Numbers) and values.values.dtype.kind in "iu":
        dates = None if general_format is None else _by_format(values, general_format)
        if dates is not None:
            return LearnedColumn(dates)
        if are_whole_dates(values.values[values.is_present]):
            return LearnedColumn(
                values,
                "holds whole numbers that look like dates and are read as numbers; "
                "date_format='%Y%m%d' reads dates",
            )
    return LearnedColumn(values)


def _learn_text(words: Words, general_format: str | None) -> LearnedColumn:
    """Return text of training as dates where it holds dates."""
    dates = None if general_format is None else _by_format(words, general_format)
    if dates is not None:
        return LearnedColumn(dates)
    common = common_forms([words.filled_texts])
    if common.dates is not None:
        note = note_of_ambiguity(words.filled_texts[0], common) if common.is_ambiguous else ""
        return LearnedColumn(words.dated(common.dates), note)
    return LearnedColumn(words, _note_of_likeness(words))


def _note_of_likeness(words: Words) -> str:
    """Return the note on text that looks like dates and is not read as dates; "" on other text."""
    example = unlike_date(words.filled_texts)
    if example is None:
        return ""
    return (
        f"looks like dates and is read as text, since its values, such as {example!r}, have no "
        "form that all share and that is certain; date_format names one"
    )


def note_of_ambiguity(example: str, common: CommonForms) -> str:
    """Return the note on a column whose texts do not show whether day or month is first.

    example : one of the texts
    """
    right, other = common.forms[:2]
    return (
        f"holds dates such as {example!r}, in which no number shows whether day or month is "
        f"first; they are read as {right!r}, and date_format={other!r} reads the others"
    )


def dates_as_in_training(values: Values, name: str, date_format: str) -> Values:
    """Return a column of a later table, whose text and whole numbers are dates as in training.

    date_format : of text in training, "" where training had no text

    Raises InputError for text that is no such date.
    """
    if not isinstance(values, Words | Numbers) or values.is_empty:
        return values
    dates = _by_format(values, date_format) if date_format else None
    if dates is not None:
        return dates
    if isinstance(values, Words):
        common = common_forms([values.filled_texts])
        if common.dates is not None and not common.is_ambiguous:
            return values.dated(common.dates)
        if common.dates is not None and not date_format:
            raise InputError(
                f"Column {name!r} must hold dates in which day and month are certain; got text "
                f"such as {values.filled_texts[0]!r}. Convert the column to dates."
            )
    return _dated(values, name, date_format) if date_format else values


def _texts_of(values: Values) -> list[str]:
    """Return the texts, or the whole numbers as text, of a column."""
    return _as_words(values).filled_texts


def _as_words(values: Values) -> Words:
    """Return a column as text. Raises InputError for one that is neither text nor numbers."""
    if isinstance(values, Words):
        return values
    if not isinstance(values, Numbers):
        raise InputError(f"Dates must be text or whole numbers; got {values.kind.type_name}.")
    codes, texts = values.categories()
    return Words(codes, texts)


def _by_format(values: Values, date_format: str) -> Timestamps | None:
    """Return text or whole numbers as dates of a format; None where they are no such dates."""
    words = _as_words(values)
    dates = read_dates(words.filled_texts, date_format)
    return None if dates is None else words.dated(dates)


def _dated(values: Values, name: str, date_format: str) -> Timestamps:
    """Return text or whole numbers as dates of a format. Raises InputError for others."""
    dates = _by_format(values, date_format)
    if dates is not None:
        return dates
    texts = _texts_of(values)
    wrong = next((text for text in texts if read_dates([text], date_format) is None), texts[0])
    form = "form" if date_format in FORMS else "format"
    raise InputError(
        f"Column {name!r} must hold dates of the {form} {date_format!r}; got {wrong!r}. Correct "
        "it, or make it a gap."
    )
