"""The forms by which cells are read: learned once from training rows, and used for later ones.

A `ColumnForm` reads each text for itself. So a value means the same alone, in any batch, block and
order of rows, and in any source: frames, dicts and files all come here with their distinct texts.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy

from xpnet.data.cells.dates import (
    ENDS_OF_CALENDAR,
    FORMS,
    TIME_OF_DAY,
    Clock,
    CommonForms,
    Dates,
    check_date_format,
    common_forms,
    has_date,
    read_each_date,
    unlike_date,
)
from xpnet.data.cells.durations import duration_of
from xpnet.data.cells.gaps import MISSING, GapValues
from xpnet.data.cells.numbers import Decimal, NumberFormat, TextCounts, numeric_text

FormKind = Literal["number", "duration", "date", "time", "category"]
Parts = Callable[[], Iterable[TextCounts]]
"""Returns the texts of a column, some rows after the others; each call begins again."""


USUAL_YEARS = 1800, 2200
"""Year of the first date that is read without a note, and that of the first one after all these."""
TEXTS_LOOKED_AT = 1000
"""Number of texts of a category that show which types of values they spell."""
TRUTH_VALUES = {"True": 1.0, "true": 1.0, "TRUE": 1.0, "False": 0.0, "false": 0.0, "FALSE": 0.0}
"""Numbers of the texts that are truth values, as pyarrow reads them in a column of a text file."""
CLOCK_DIGITS = re.compile(r"(?:[01]\d|2[0-3])[0-5]\d", re.ASCII)
"""A time of day in four digits."""
CLOCK_FORMAT = "%H%M"
"""The format of such times."""
MIN_CLOCK_TIMES = 30
"""Number of different times from which a column of four digits holds times of day. Of numbers below
2400, 30 different ones end in minutes, 00 to 59, by chance in 2 of ten million columns."""
MAX_WORD_LENGTH = 1000
"""Maximum number of characters of a text in a form, which may come from a file of anyone."""
MAX_WORDS = 1000
"""Maximum number of words for gaps in a form."""


@dataclass(frozen=True)
class ColumnForm:
    """The form by which the cells of a column are read, as its training rows have shown it.

    kind : "number", "duration" (in seconds), "date", "time" (of day) or "category"
    number_format : of numbers in text
    date_format : of dates and times in text; "" where the training had typed dates
    clock : of dates: "utc" with a time zone, "naive" without one, "" in files that do not tell
    words, codes : texts and numbers that are gaps
    values : usual words for gaps that are values of this category
    replaces_usual : whether the usual words for gaps are values of any category
    refuses : types that a category does not take, since none of its values spells one: "numbers",
        "dates"
    """

    kind: FormKind
    number_format: NumberFormat = NumberFormat()
    date_format: str = ""
    clock: Clock = ""
    words: tuple[str, ...] = ()
    codes: tuple[float, ...] = ()
    values: tuple[str, ...] = ()
    replaces_usual: bool = False
    refuses: tuple[str, ...] = ()

    @property
    def keeps_numbers(self) -> bool:
        """Return whether the form reads numbers of an array or a frame as they are."""
        return self.kind in ("number", "duration") and not self.codes

    @property
    def gap_texts(self) -> set[str]:
        """Return the texts that are gaps."""
        if self.kind == "category" and self.replaces_usual:
            return {"", *self.words}
        return {*MISSING, *self.words} - {*self.values}

    @property
    def gap_microseconds(self) -> numpy.ndarray:
        """Return the dates that are gaps: (dates,) float64."""
        return read_each_date([word for word in self.words if word], self.date_format, "")

    def with_marks(self, decimal: Decimal | None, thousands: str | None) -> "ColumnForm":
        """Return the same form with other marks of numbers; None for those that it has."""
        own = self.number_format
        marks = replace(
            own,
            decimal=decimal or own.decimal,
            thousands=own.thousands if thousands is None else thousands,
        )
        return replace(self, number_format=marks)

    def read(self, texts: Sequence[str]) -> "ReadTexts":
        """Return texts as numbers, or dates as microseconds."""
        gap_texts = self.gap_texts
        is_gap = numpy.array([text in gap_texts for text in texts], bool)
        filled = [text for text in texts if text not in gap_texts]
        values = numpy.full(len(texts), numpy.nan)
        values[~is_gap] = self._read_filled(filled)
        return ReadTexts(values, numpy.isnan(values) & ~is_gap)

    def _read_filled(self, texts: Sequence[str]) -> numpy.ndarray:
        """Return texts that are no gaps as numbers, NaN for those of another form."""
        if self.kind in ("date", "time"):
            return read_each_date(texts, self.date_format, self.clock)
        if self.kind == "duration":
            return numpy.array([duration_of(text) for text in texts], numpy.float64)
        read = self.number_format.read
        numbers = [TRUTH_VALUES[text] if text in TRUTH_VALUES else read(text) for text in texts]
        return numpy.array(numbers, numpy.float64)  # NaN for None

    @property
    def rule(self) -> str:
        """Return what a column of this form must hold, for messages."""
        if self.kind == "number":
            return f"numbers ({self.number_format}), or True and False"
        if self.kind == "duration":
            return "durations as in training ('1 days 12:30:00'), or numbers of seconds"
        if not self.date_format:
            return "dates as in training"
        form = "form" if self.date_format in FORMS else "format"
        return f"dates of the {form} {self.date_format!r}"


def checked_form(form: ColumnForm) -> ColumnForm:
    """Return a form from a file of anyone. Raises ValueError for one that reads no column."""
    checked_number_format(form.number_format)
    words = [*form.words, *form.values, *form.refuses]
    if (
        len(words) + len(form.codes) > MAX_WORDS
        or max(map(len, words), default=0) > MAX_WORD_LENGTH
    ):
        raise ValueError("a form must have few short words")
    if form.date_format:
        check_date_format(form.date_format)
    return form


def checked_number_format(number_format: NumberFormat) -> NumberFormat:
    """Return a format from a file of anyone. Raises ValueError for one that reads no numbers."""
    texts = [number_format.thousands, number_format.unit]
    are_texts = all(type(text) is str and len(text) <= MAX_WORD_LENGTH for text in texts)
    if number_format.decimal not in (".", ",") or not are_texts:
        raise ValueError("a format of numbers must have a decimal mark and short texts")
    return number_format


class ReadTexts(NamedTuple):
    """Texts that were read by a form.

    values : (texts,) float64, NaN for gaps and for other text; is_wrong : (texts,) bool, which are
    neither of the form nor gaps
    """

    values: numpy.ndarray
    is_wrong: numpy.ndarray


class LearnedForm(NamedTuple):
    """The form of a column of training.

    note : how it is read, "" where that is plain
    is_doubtful : whether the note is also a warning, since another reading may be meant
    """

    form: ColumnForm
    note: str = ""
    is_doubtful: bool = False


class TextRules(NamedTuple):
    """The rules about the text of a column before its form is learned.

    date_format : a format that its dates may have; None for none
    decimal, thousands : marks of its numbers; None for those that the text shows
    gaps : values that the user calls gaps
    has_types : whether the source knows gaps by their type, so that NA in text is a value
    """

    date_format: str | None = None
    decimal: Decimal | None = None
    thousands: str | None = None
    gaps: GapValues = GapValues()
    has_types: bool = True


def learn_text(parts: Parts, rules: TextRules) -> LearnedForm:
    """Return the form of a column of text: dates, durations, numbers, or else a category."""
    gaps = rules.gaps
    filled = _without(parts, {*MISSING, *gaps.words})

    def texts() -> Iterable[Sequence[str]]:
        """Yield the texts of some rows after those of others."""
        return (part.texts for part in filled())

    clock_times = _learned_clock_times(texts(), gaps)
    if clock_times is not None:
        return clock_times
    formats = [[rules.date_format]] if rules.date_format is not None else []
    for forms in [*formats, FORMS]:
        common = common_forms(texts(), forms)
        if common.dates is not None:
            return _learned_dates(common, next(filter(None, texts())), gaps)
    if _are_durations(texts()):
        return LearnedForm(form_of_kind("duration", gaps))
    numbers = numeric_text(filled(), rules.decimal, rules.thousands)
    if numbers is not None:
        words = (*gaps.words, *numbers.words)
        form = ColumnForm("number", numbers.number_format, words=words, codes=gaps.numbers)
        return LearnedForm(form, numbers.note, is_doubtful=bool(numbers.words))
    form = category_form(parts() if rules.has_types else (), gaps)
    first = next(iter(texts()), [])
    note = note_of_likeness(first) or note_of_digits(first, form.values)
    return LearnedForm(form, note, is_doubtful=True)


def form_of_kind(kind: FormKind, gaps: GapValues, clock: Clock = "") -> ColumnForm:
    """Return the form of a column whose values have types. gaps : that the user names"""
    return ColumnForm(kind, clock=clock, words=gaps.words, codes=gaps.numbers)


def category_form(parts: Iterable[TextCounts], gaps: GapValues) -> ColumnForm:
    """Return the form of a category. Usual words for gaps are values where its rows hold them."""
    words = set(MISSING) - {""}
    values: set[str] = set()
    for texts, _ in parts if not gaps.replaces_usual else ():
        values |= words.intersection(texts)
    values -= set(gaps.words)
    return ColumnForm(
        "category",
        words=gaps.words,
        values=tuple(sorted(values)),
        replaces_usual=gaps.replaces_usual,
    )


def refused_types(texts: Sequence[str]) -> tuple[str, ...]:
    """Return the types of values that none of a category's texts spells, as forms name them."""
    looked_at = texts[:TEXTS_LOOKED_AT]
    refused = []
    if not any(_spells_number(text) for text in looked_at):
        refused.append("numbers")
    readers = ("", TIME_OF_DAY)
    if not any((~numpy.isnan(read_each_date(looked_at, form, ""))).any() for form in readers):
        refused.append("dates")
    return tuple(refused)


def _spells_number(text: str) -> bool:
    """Return whether a text is a number or a truth value as Python writes it."""
    try:
        return text in ("True", "False") or float(text) == float(text)
    except ValueError:
        return False


def _without(parts: Parts, words: set[str]) -> Parts:
    """Return the parts without texts that are gaps."""

    def filled() -> Iterable[TextCounts]:
        """Yield the parts that are not empty."""
        for texts, counts in parts():
            is_filled = numpy.array([text not in words for text in texts], bool)
            if is_filled.any():
                yield TextCounts([text for text in texts if text not in words], counts[is_filled])

    return filled


def _learned_clock_times(parts: Iterable[Sequence[str]], gaps: GapValues) -> LearnedForm | None:
    """Return the form of times of day in four digits, such as 0517; None for other text.

    Postcodes and other names of four digits soon have one whose last digits are no minutes.
    """
    different: set[str] = set()
    for texts in parts:
        if any(CLOCK_DIGITS.fullmatch(text) is None for text in texts):
            return None
        different.update(texts)
    example = min(different, default="")
    if len(different) < MIN_CLOCK_TIMES or example[0] != "0":
        return None
    time = f"{example[:2]}:{example[2:]}"
    note = (
        f"holds text such as {example!r}, which is read as the time of day {time}; "
        "categorical_features reads the column as text"
    )
    form = date_form(Dates(numpy.empty(0), "naive", CLOCK_FORMAT), gaps)
    return LearnedForm(form, note, is_doubtful=True)


def _are_durations(parts: Iterable[Sequence[str]]) -> bool:
    """Return whether there are texts, and all of them are durations."""
    any_text = False
    for texts in parts:
        if any(duration_of(text) is None for text in texts):
            return False
        any_text = any_text or bool(texts)
    return any_text


def _learned_dates(common: CommonForms, texts: Sequence[str], gaps: GapValues) -> LearnedForm:
    """Return the form of dates. texts : some of them"""
    dates = common.dates
    assert dates is not None
    form = date_form(dates, gaps)
    notes = [
        note_of_ambiguity(texts[0], common) if common.is_ambiguous else "",
        _note_of_unusual_years(texts, form) if form.kind == "date" else "",
    ]
    note = ", and ".join(filter(None, notes))
    return LearnedForm(form, note, bool(note))


def _note_of_unusual_years(texts: Sequence[str], form: ColumnForm) -> str:
    """Return the note on dates whose year few tables have, "" for none."""
    days = read_each_date(texts, form.date_format, form.clock).astype("datetime64[us]")
    days = days.astype("datetime64[D]")
    is_end = numpy.isin(days, numpy.array([*ENDS_OF_CALENDAR], "datetime64[D]"))
    first, end = (numpy.datetime64(f"{year}-01-01") for year in USUAL_YEARS)
    unusual = numpy.flatnonzero(((days < first) | (days >= end)) & ~is_end)
    if not len(unusual):
        return ""
    return (
        f"holds text such as {texts[unusual[0]]!r}, which is read as the date "
        f"{days[unusual[0]]}; categorical_features reads the column as text"
    )


def date_form(dates: Dates, gaps: GapValues) -> ColumnForm:
    """Return the form of dates that were read from text. gaps : that the user names"""
    kind: FormKind = "date" if has_date(dates.date_format) else "time"
    form = form_of_kind(kind, gaps, dates.clock)
    return replace(form, date_format=dates.date_format)


def note_of_likeness(texts: Sequence[str]) -> str:
    """Return the note on text that looks like dates and is not read as dates; "" on other text."""
    example = unlike_date(texts)
    if example is None:
        return ""
    return (
        f"looks like dates and is read as text, since its values, such as {example!r}, have no "
        "form that all share and that is certain; date_format names one"
    )


def note_of_digits(texts: Sequence[str], gap_words: Sequence[str]) -> str:
    """Return the note on text of digits beside usual words for gaps; "" on other text, and on
    digits that begin with 0, which are no numbers.

    gap_words : usual words for gaps that are values of the column
    """
    are_digits = texts and all(text.isdecimal() for text in texts)
    are_codes = any(text.startswith("0") and text != "0" for text in texts)
    if not gap_words or not are_digits or are_codes:
        return ""
    return (
        f"holds {gap_words[0]!r} among text of digits, and is read as text; where these are "
        "numbers, convert the column, or read its file with this word as a gap"
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
