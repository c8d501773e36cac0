"""The forms of a file's columns: learned from all of its rows, and read from text by them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy
import pyarrow
from pyarrow import types

from xpnet.data.cells.dates import read_dates
from xpnet.data.cells.forms import (
    ColumnForm,
    LearnedForm,
    TextRules,
    category_form,
    date_form,
    form_of_kind,
    learn_text,
)
from xpnet.data.cells.gaps import GapValues
from xpnet.data.cells.numbers import Decimal, NumberFormat, TextCounts
from xpnet.data.frames import Frame, is_text

MAX_NAMES = 8
"""Maximum number of columns that a note names."""


def learn_forms(
    frame: Frame,
    columns: Sequence[str],
    text: Sequence[str],
    rules: TextRules,
    gaps_of: Callable[[str], GapValues],
) -> dict[str, LearnedForm]:
    """Return the forms of those columns that hold text, as all rows of a file show them.

    Columns of whole numbers have one, too, where they are dates by the format of the rules.

    text : columns that stay text, whatever they hold; rules : what is known about text
    gaps_of : returns the values of a column that the user calls gaps
    """
    forms: dict[str, LearnedForm] = {}
    for name in columns:
        kind = frame.schema.field(name).type
        gaps = gaps_of(name)
        if name in text:
            parts = _counts(frame, name) if rules.has_types else ()
            forms[name] = LearnedForm(category_form(parts, gaps))
        elif is_text(kind.value_type if types.is_dictionary(kind) else kind):
            forms[name] = learn_text(partial(_counts, frame, name), rules._replace(gaps=gaps))
        elif types.is_integer(kind) and rules.date_format is not None:
            form = _form_of_whole_dates(frame, name, rules.date_format, gaps)
            forms |= {} if form is None else {name: LearnedForm(form)}
        elif rules.decimal == "," and (types.is_floating(kind) or types.is_integer(kind)):
            form = form_of_kind("number", gaps)
            forms[name] = LearnedForm(replace(form, number_format=NumberFormat(",")))
    return forms


def notes_of_words(frame: Frame, forms: Mapping[str, LearnedForm]) -> list[str]:
    """Return the note on columns of text in which NA or None is a gap, and could be a value."""
    words = {"NA", "None"}
    columns = [
        name
        for name, learned in forms.items()
        if learned.form.kind == "category"
        and words & learned.form.gap_texts
        and any(words.intersection(part.texts) for part in _counts(frame, name))
    ]
    if not columns:
        return []
    shown = ", ".join(columns[:MAX_NAMES]) + (", ..." if len(columns) > MAX_NAMES else "")
    return [
        f"NA and None are gaps in text ({shown}); --missing '' makes them values, and --missing "
        "names the words that are gaps"
    ]


def notes_of_digit_names(
    examples: Mapping[str, str], forms: Mapping[str, LearnedForm]
) -> list[str]:
    """Return the notes on columns whose digits are read as text, and are no times of day.

    examples : of the digits, by the names of the columns
    """
    return [
        f"{name}: holds digits that name things, such as {example!r}, and is read as text"
        for name, example in examples.items()
        if name not in forms or forms[name].form.kind == "category"
    ]


def decimal_mark_of(forms: Mapping[str, ColumnForm]) -> Decimal | None:
    """Return the decimal mark with which a file is read, None where no form tells one."""
    marks = [form.number_format.decimal for form in forms.values() if form.kind == "number"]
    return marks[0] if marks else None


def text_columns(forms: Mapping[str, ColumnForm]) -> list[str]:
    """Return the columns that pyarrow leaves as text, for their forms to read."""
    mark = decimal_mark_of(forms)
    return [
        name
        for name, form in forms.items()
        if form.kind != "number" or form.number_format.decimal != mark
    ]


def read_numbers(frame: Frame, forms: Mapping[str, LearnedForm]) -> None:
    """Read the columns of text that hold numbers as numbers, and note how."""
    for name, (form, note, _) in forms.items():
        kind = frame.schema.field(name).type
        if form.kind == "number" and types.is_dictionary(kind):
            frame.convert(name, pyarrow.float64(), _number_reader(form))
            frame.notes += [f"{name}: {note}"] if note else []


def _number_reader(form: ColumnForm) -> Callable[[pyarrow.Array], pyarrow.Array]:
    """Return a function that makes an array of numbers from one of text."""

    def numbers(column: pyarrow.Array) -> pyarrow.Array:
        """Return the numbers; other text becomes gaps."""
        # Encoded again, since a batch may use few words of its dictionary.
        encoded = column.cast(pyarrow.string()).dictionary_encode()
        values = form.read(encoded.dictionary.to_pylist()).values
        return pyarrow.array(values, from_pandas=True).take(encoded.indices)

    return numbers


def _counts(frame: Frame, name: str) -> Iterator[TextCounts]:
    """Yield the different texts of a column, for some thousand rows at a time."""
    for batch in frame.all_batches([name]):
        column = batch.column(0)
        if types.is_dictionary(column.type):
            codes = column.indices.drop_null().to_numpy()
            texts = column.dictionary.to_pylist()
            counts = numpy.bincount(codes, minlength=len(texts))
        else:
            distinct, rows = column.drop_null().value_counts().flatten()
            texts, counts = distinct.to_pylist(), rows.to_numpy()
        present = numpy.flatnonzero(counts).tolist()
        yield TextCounts([texts[index] for index in present], counts[present])


def _form_of_whole_dates(
    frame: Frame, name: str, date_format: str, gaps: GapValues
) -> ColumnForm | None:
    """Return the form of a column of whole numbers that are dates of a format; None for others."""
    form = None
    for batch in frame.all_batches([name]):
        numbers = batch.column(0).unique().drop_null().to_pylist()
        texts = [str(number) for number in numbers if number not in gaps.numbers]
        dates = read_dates(texts, date_format) if texts else None
        if texts and dates is None:
            return None
        form = form if dates is None else date_form(dates, gaps)
    return form
