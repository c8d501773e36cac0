"""Columns of a table read as the training has learned it, by the forms of ``xpnet.data.cells``."""

from collections.abc import Mapping, Set
from dataclasses import dataclass, replace
from numbers import Real
from typing import Literal, NamedTuple

import numpy

from xpnet.data.cells.dates import (
    FORMS,
    Dates,
    are_whole_dates,
    check_date_format,
    common_forms,
    read_dates,
)
from xpnet.data.cells.durations import duration_of
from xpnet.data.cells.forms import (
    ColumnForm,
    FormKind,
    LearnedForm,
    TextRules,
    category_form,
    date_form,
    form_of_kind,
    learn_text,
    note_of_likeness,
)
from xpnet.data.cells.gaps import ALL_COLUMNS, MISSING, GapValues, gaps_of_column, listed
from xpnet.data.cells.numbers import Decimal, shown_decimal_marks
from xpnet.errors import InputError, warn_user
from xpnet.tabular.columns.gap_notes import (
    note_of_codes,
    note_of_infinities,
    note_of_named_gaps,
    note_of_no_date,
)
from xpnet.tabular.columns.records import (
    Numbers,
    OtherValues,
    Table,
    Timestamps,
    Values,
    Words,
    changed_clock,
    changed_kind,
    enumerated,
)

TEXTS_LOOKED_AT = 200
"""Number of texts of a column that show the decimal mark of a table."""


class UnreadableWarning(UserWarning):
    """Some values of a column are gaps, since they do not have the form of the training.

    column : its name; count : number of such rows; problem : what is wrong with the first of them
    """

    def __init__(self, column: str, count: int, problem: str) -> None:
        self.column: str = column
        self.count: int = count
        self.problem: str = problem
        super().__init__(f"{count} values became gaps. {problem}")


@dataclass(frozen=True)
class ReadingRules:
    """The settings of a user for the columns of a table.

    date_format : of dates in text: of all columns that have it, or by the name of the column
    categorical : indices of columns that are categories whatever they hold
    missing_values : values that are gaps, of all columns or by the name of the column, where
        those under "" are of all columns
    """

    date_format: str | Mapping[str, str] | None = None
    categorical: Set[int] = frozenset()
    missing_values: object = None

    def gaps_of(self, name: str) -> GapValues:
        """Return the values of a column that the user calls gaps.

        Raises InputError for values that are neither numbers nor text.
        """
        own = self.missing_values
        values = own.values() if isinstance(own, Mapping) else [own]
        wrong = [
            value for one in values for value in listed(one) if not isinstance(value, str | Real)
        ]
        if wrong:
            raise InputError(
                "`missing_values` must be numbers or text, or a dict of them by the names of "
                f"columns; got {wrong[0]!r}. Gaps such as None and NaN need not be named."
            )
        return gaps_of_column(own, name)

    def format_of(self, name: str) -> str | None:
        """Return the format that is named for one column, None for none."""
        return None if isinstance(self.date_format, str) else (self.date_format or {}).get(name)

    @property
    def general_format(self) -> str | None:
        """Return the format of all columns that have it, None for none."""
        return self.date_format if isinstance(self.date_format, str) else None

    def check(self, table: Table) -> None:
        """Raise InputError for an impossible format, and for columns that the table lacks."""
        formats = {} if isinstance(self.date_format, str) else dict(self.date_format or {})
        for form in [*formats.values(), *filter(None, [self.general_format])]:
            check_date_format(form)
        missing = dict(self.missing_values) if isinstance(self.missing_values, Mapping) else {}
        missing.pop(ALL_COLUMNS, None)
        for parameter, named in {"date_format": formats, "missing_values": missing}.items():
            unknown = sorted(named.keys() - {*table.names, *table.labels}, key=str)
            if unknown:
                raise InputError(
                    f"`{parameter}` must name columns of the table; got "
                    f"{enumerated(map(repr, unknown))}. Correct the names."
                )


class LearnedTable(NamedTuple):
    """A table of training, whose text is numbers or dates where it holds these.

    forms : how each column is read, by its index
    notes : by the names of columns, how they are read where that is not plain
    """

    table: Table
    forms: dict[int, ColumnForm]
    notes: dict[str, str]


def learn_table(table: Table, rules: ReadingRules) -> LearnedTable:
    """Learn how the columns of a table of training are read, and read them.

    Warns where another reading may be meant, and of a format that no column has.

    Raises InputError for an impossible format, and for a column that does not have its own.
    """
    rules.check(table)
    decimal = _decimal_of(table, rules)
    forms: dict[int, ColumnForm] = {}
    notes: dict[str, str] = {}
    for index, name in enumerate(table.labels or table.names):
        values = table.values(index)
        if isinstance(values, OtherValues):
            continue
        is_known = name in table.forms
        if is_known:
            learned = table.forms[name]
        elif index in rules.categorical:
            learned = LearnedForm(_form_of_category(values, rules.gaps_of(name)))
        else:
            learned = learn_column(values, name, rules, decimal)
        forms[index] = learned.form
        if learned.note:
            notes[name] = learned.note
        if learned.note and learned.is_doubtful and not is_known:
            warn_user(f"Column {name!r} {learned.note}.")
    general = rules.general_format
    is_used = general in {form.date_format for form in forms.values()}
    if general is not None and not is_used and not table.forms:
        warn_user(
            f"`date_format` should be the format of some column; got {general!r}, which none "
            "has in all rows.",
        )
    read = read_table(table, forms)
    for index, name in enumerate(table.labels or table.names):
        named = note_of_named_gaps(table.values(index), read.values(index), rules.gaps_of(name))
        infinite = note_of_infinities(read.values(index))
        suspicious = _note_of_suspicious_values(read.values(index), name)
        for note in filter(None, (named, infinite, suspicious)):
            earlier = notes.get(name, "")
            if note in earlier:
                continue
            notes[name] = f"{earlier}, and {note}" if earlier else note
            if note == suspicious:
                warn_user(f"Column {name!r} {note}.")
    return LearnedTable(read, forms, notes)


def _note_of_suspicious_values(values: Values, name: str) -> str:
    """Return the note on values that look like codes for gaps, "" for none. name : of the column"""
    if isinstance(values, Numbers) and not values.is_empty:
        return note_of_codes(values, name)
    if isinstance(values, Timestamps) and values.unit != "time" and not values.is_empty:
        return note_of_no_date(values)
    return ""


def learn_column(
    values: Values, name: str, rules: ReadingRules, decimal: Decimal | None = None
) -> LearnedForm:
    """Return the form of a column of training.

    decimal : the decimal mark of numbers in text, None for the one that the text shows

    Raises InputError for a column that does not have the format that is named for it.
    """
    date_format = rules.format_of(name)
    gaps = rules.gaps_of(name)
    if isinstance(values, Timestamps):
        kind: FormKind = "time" if values.unit == "time" else "date"
        return LearnedForm(form_of_kind(kind, gaps, values.clock))
    if date_format is not None and not values.is_empty:
        return LearnedForm(_form_of_format(values, name, date_format, gaps))
    if isinstance(values, Words):
        return _learn_words(values, TextRules(rules.general_format, decimal, gaps=gaps))
    if isinstance(values, Numbers) and values.values.dtype.kind in "iu" and not values.is_empty:
        return _learn_whole_numbers(values, rules.general_format, gaps)
    are_durations = isinstance(values, Numbers) and values.are_durations
    return LearnedForm(form_of_kind("duration" if are_durations else "number", gaps))


def _form_of_category(values: Values, gaps: GapValues) -> ColumnForm:
    """Return the form of a column that is a category."""
    counts = values.counts() if isinstance(values, Words) else None
    return category_form([] if counts is None else [counts], gaps)


def _learn_words(words: Words, rules: TextRules) -> LearnedForm:
    """Return the form of a column of text."""
    counts = words.counts()
    if not words.is_category:
        return learn_text(lambda: [counts], rules)
    is_uncertain = not common_forms([counts.texts]).forms
    note = note_of_likeness(counts.texts) if is_uncertain else ""
    return LearnedForm(category_form([counts], rules.gaps), note, is_doubtful=True)


def _learn_whole_numbers(numbers: Numbers, date_format: str | None, gaps: GapValues) -> LearnedForm:
    """Return the form of a column of whole numbers, which are dates if they have a format."""
    if date_format is not None:
        texts = [text for text in _as_words(numbers).texts if text not in gaps.words]
        dates = read_dates(texts, date_format) if texts else None
        if dates is not None:
            return LearnedForm(date_form(dates, gaps))
    note = ""
    if are_whole_dates(numbers.values[numbers.is_present]):
        note = (
            "holds whole numbers that look like dates and are read as numbers; "
            "date_format='%Y%m%d' reads dates"
        )
    return LearnedForm(form_of_kind("number", gaps), note, is_doubtful=True)


def _form_of_format(values: Values, name: str, date_format: str, gaps: GapValues) -> ColumnForm:
    """Return the form of a column whose format the user names.

    Raises InputError for a column that does not have it.
    """
    gap_texts = {*MISSING, *gaps.words}
    texts = [text for text in _as_words(values).counts().texts if text not in gap_texts]
    dates = read_dates(texts, date_format) if texts else None
    if dates is not None or not texts:
        return date_form(dates or Dates(numpy.empty(0), "", date_format), gaps)
    wrong = next((text for text in texts if read_dates([text], date_format) is None), texts[0])
    form = "form" if date_format in FORMS else "format"
    raise InputError(
        f"Column {name!r} must hold dates of the {form} {date_format!r}; got {wrong!r}. Correct "
        "it, or make it a gap."
    )


def _as_words(values: Values) -> Words:
    """Return a column as text. Raises InputError for one that is neither text nor numbers."""
    if isinstance(values, Words):
        return values
    if not isinstance(values, Numbers):
        raise InputError(f"Dates must be text or whole numbers; got {values.kind.type_name}.")
    codes, texts = values.categories()
    return Words(codes, texts)


def _decimal_of(table: Table, rules: ReadingRules) -> Decimal | None:
    """Return the decimal mark of a table's numbers in text, None where it shows none or both.

    So a column that does not show its own decimal mark has that of the others.
    """
    marks: set[Decimal] = set()
    for index in range(len(table.columns)):
        values = table.values(index)
        if isinstance(values, Words) and not values.is_category and index not in rules.categorical:
            marks |= shown_decimal_marks(values.filled_texts[:TEXTS_LOOKED_AT])
        elif isinstance(values, Numbers) and values.values.dtype.kind == "f":
            with numpy.errstate(invalid="ignore"):  # infinite numbers have no fraction
                fractions = values.values[:TEXTS_LOOKED_AT] % 1
            marks |= {"."} if (fractions > 0).any() else set()
    return "," if marks == {","} else None


def read_table(table: Table, forms: Mapping[int, ColumnForm], unreadable: str = "error") -> Table:
    """Return a table whose columns are read by the forms of the training.

    forms : by the index of the column; those of the table take precedence
    unreadable : "error", or "gap" for gaps in place of values of another form, with a warning

    Raises InputError for such values.
    """
    changed: dict[int, Values] = {}
    for index, form in forms.items():
        values = table.values(index)
        name = table.names[index]
        learned = table.forms.get(name)
        read = _read_column(table, index, learned.form if learned else form, unreadable)
        if read is not values:
            changed[index] = read
    return table.with_values(changed)


def form_of_later_rows(form: ColumnForm | None, values: Values) -> ColumnForm:
    """Return the form of a column of the training.

    form : None for numbers of files of 0.1.0, where later text shows whether it is durations
    values : of later rows
    """
    if form is not None:
        return form
    texts = values.filled_texts if isinstance(values, Words) else []
    are_durations = bool(texts) and all(duration_of(text) is not None for text in texts)
    return ColumnForm("duration" if are_durations else "number")


def _read_column(table: Table, index: int, form: ColumnForm, unreadable: str) -> Values:
    """Return a column by its form; a column of another type stays as it is."""
    values = table.values(index)
    name = table.names[index]
    is_moment = form.kind in ("date", "time")
    if (isinstance(values, Numbers) and form.keeps_numbers) or values.is_empty:
        return values
    if form.kind == "category":
        return _categories_with_gaps(values, form, name)
    if isinstance(values, Timestamps) and is_moment:
        return _with_gap_dates(_as_in_training(values, form, name), form)
    if isinstance(values, Numbers) and is_moment and form.date_format:
        values = _as_words(values)
    if not isinstance(values, Words):
        return _with_gap_codes(values, form) if isinstance(values, Numbers) else values
    read = form.read(values.texts)
    wrong_rows = numpy.flatnonzero(numpy.append(read.is_wrong, False)[values.codes])
    if len(wrong_rows):
        first = int(wrong_rows[0])
        text = values.texts[values.codes[first]]
        row = first if table.row_numbers is None else int(table.row_numbers[first])
        problem = _problem_of(text, form, name, row)
        if unreadable == "error":
            raise InputError(problem)
        warn_user(UnreadableWarning(name, len(wrong_rows), problem))
    numbers = values.of_rows(read.values)
    if not is_moment:
        return _with_gap_codes(Numbers(numbers), form)
    unit: Literal["time", "datetime"] = "time" if form.kind == "time" else "datetime"
    return _with_gap_dates(Timestamps(numbers, form.clock, unit=unit), form)


def _categories_with_gaps(values: Values, form: ColumnForm, name: str) -> Values:
    """Return the values of a category, of which some are gaps. name : of the column

    Numbers and dates count as the text that Python writes.

    Raises InputError for a type that no value of the training spells.
    """
    if isinstance(values, OtherValues):
        return values
    type_name = "dates" if isinstance(values, Timestamps) else "numbers"
    if not isinstance(values, Words) and type_name in form.refuses:
        raise InputError(changed_kind(name, "text", f"{type_name} ({values.kind.type_name})"))
    gap_texts = form.gap_texts - {""}
    codes, texts = values.categories()
    if gap_texts.isdisjoint(texts):
        return values
    is_gap = numpy.array([*(text in gap_texts for text in texts), False], bool)
    kept = numpy.where(is_gap[codes], -1, codes)
    is_category = isinstance(values, Words) and values.is_category
    return Words(kept, texts, is_category)


def _with_gap_codes(numbers: Numbers, form: ColumnForm) -> Numbers:
    """Return numbers of which the codes of a form are gaps."""
    if not form.codes:
        return numbers
    is_code = numpy.isin(numbers.values, form.codes)
    if not is_code.any():
        return numbers
    return replace(numbers, gaps=is_code if numbers.gaps is None else numbers.gaps | is_code)


def _with_gap_dates(timestamps: Timestamps, form: ColumnForm) -> Timestamps:
    """Return timestamps of which the dates that a form calls gaps are gaps."""
    if not form.words:
        return timestamps
    is_gap = numpy.isin(timestamps.microseconds, form.gap_microseconds)
    return replace(timestamps, microseconds=numpy.where(is_gap, numpy.nan, timestamps.microseconds))


def _as_in_training(values: Timestamps, form: ColumnForm, name: str) -> Timestamps:
    """Return typed timestamps on the clock of the training. name : of the column

    Raises InputError for times of day in place of dates, the reverse, and another clock.
    """
    if (values.unit == "time") != (form.kind == "time"):
        expected = "times of day" if form.kind == "time" else "dates"
        raise InputError(
            f"Column {name!r} must hold {expected}, as in training; got {values.kind.type_name}. "
            "Convert the column."
        )
    timestamps = values.on_clock(form.clock)
    if timestamps is None:
        raise InputError(changed_clock(name, form.clock))
    return timestamps


def _problem_of(text: str, form: ColumnForm, name: str, row: int) -> str:
    """Return what is wrong with a text that a form does not read. name, row : where it stands"""
    if form.clock and not replace(form, clock="").read([text]).is_wrong[0]:
        return changed_clock(name, form.clock)
    return (
        f"Column {name!r} must hold {form.rule}; got {text!r} in row {row}. Correct it, or make it "
        "a gap."
    )
