"""How the cells of a column are read: learned once from its training rows, and used ever after.

A `ColumnForm` reads each text for itself. So a value means the same alone, in any batch, block and
order of rows, and in any source: frames, dicts and files all come here with their distinct texts.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy

from xpnet.data.cells.dates import (
    FORMS,
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
from xpnet.data.cells.gaps import MISSING
from xpnet.data.cells.numbers import Decimal, NumberFormat, TextCounts, numeric_text

FormKind = Literal["number", "duration", "date", "time", "category"]
Parts = Callable[[], Iterable[TextCounts]]
"""Returns the texts of a column, some rows after the others; each call begins again."""


MAX_TEXT_LENGTH = 1000
"""Maximum number of characters of a text in a form, which may come from a file of anyone."""
MAX_WORDS = 1000
"""Maximum number of words for gaps in a form."""


@dataclass(frozen=True)
class ColumnForm:
    """How the cells of a column are read, as its training rows have shown.

    kind : "number", "duration" (in seconds), "date", "time" (of day) or "category"
    number_format : of numbers in text
    date_format : of dates and times in text; "" where the training had typed dates
    clock : of dates: "utc" with a time zone, "naive" without one, "" in files that do not tell
    words : texts that are gaps, besides the usual ones in numbers and dates
    """

    kind: FormKind
    number_format: NumberFormat = NumberFormat()
    date_format: str = ""
    clock: Clock = ""
    words: tuple[str, ...] = ()

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
        words = {*MISSING, *self.words}
        is_gap = numpy.array([text in words for text in texts], bool)
        filled = [text for text in texts if text not in words]
        values = numpy.full(len(texts), numpy.nan)
        values[~is_gap] = self._read_filled(filled)
        return ReadTexts(values, numpy.isnan(values) & ~is_gap)

    def _read_filled(self, texts: Sequence[str]) -> numpy.ndarray:
        """Return texts that are no gaps as numbers, NaN for those of another form."""
        if self.kind in ("date", "time"):
            return read_each_date(texts, self.date_format, self.clock)
        read = self.number_format.read if self.kind == "number" else duration_of
        return numpy.array([read(text) for text in texts], numpy.float64)  # NaN for None

    @property
    def rule(self) -> str:
        """Return what a column of this form must hold, for messages."""
        if self.kind == "number":
            return f"numbers as in training ({self.number_format})"
        if self.kind == "duration":
            return "durations as in training ('1 days 12:30:00'), or numbers of seconds"
        if not self.date_format:
            return "dates as in training"
        form = "form" if self.date_format in FORMS else "format"
        return f"dates of the {form} {self.date_format!r}"


def checked_form(form: ColumnForm) -> ColumnForm:
    """Return a form from a file of anyone. Raises ValueError for one that reads no column."""
    checked_number_format(form.number_format)
    if len(form.words) > MAX_WORDS or max(map(len, form.words), default=0) > MAX_TEXT_LENGTH:
        raise ValueError("a form must have few short words")
    if form.date_format:
        check_date_format(form.date_format)
    return form


def checked_number_format(number_format: NumberFormat) -> NumberFormat:
    """Return a format from a file of anyone. Raises ValueError for one that reads no numbers."""
    texts = [number_format.thousands, number_format.unit]
    are_texts = all(isinstance(text, str) and len(text) <= MAX_TEXT_LENGTH for text in texts)
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
    """What is known about the text of a column before its form is learned.

    date_format : a format that its dates may have; None for none
    decimal, thousands : marks of its numbers; None for those that the text shows
    words : texts that are gaps
    """

    date_format: str | None = None
    decimal: Decimal | None = None
    thousands: str | None = None
    words: tuple[str, ...] = ()


def learn_text(parts: Parts, rules: TextRules) -> LearnedForm:
    """Return the form of a column of text: dates, durations, numbers, or else a category."""
    words = {*MISSING, *rules.words}
    filled = _without(parts, words)

    def texts() -> Iterable[Sequence[str]]:
        """Yield the texts of some rows after those of others."""
        return (part.texts for part in filled())

    formats = [[rules.date_format]] if rules.date_format is not None else []
    for forms in [*formats, FORMS]:
        common = common_forms(texts(), forms)
        if common.dates is not None:
            return _learned_dates(common, next(filter(None, texts()))[0], rules.words)
    if _are_durations(texts()):
        return LearnedForm(ColumnForm("duration", words=rules.words))
    numbers = numeric_text(filled(), rules.decimal, rules.thousands)
    if numbers is not None:
        form = ColumnForm("number", numbers.number_format, words=(*rules.words, *numbers.words))
        return LearnedForm(form, numbers.note, is_doubtful=bool(numbers.words))
    return LearnedForm(ColumnForm("category"), note_of_likeness(next(iter(texts()), [])), True)


def _without(parts: Parts, words: set[str]) -> Parts:
    """Return the parts without texts that are gaps."""

    def filled() -> Iterable[TextCounts]:
        """Yield the parts that are not empty."""
        for texts, counts in parts():
            is_filled = numpy.array([text not in words for text in texts], bool)
            if is_filled.any():
                yield TextCounts([text for text in texts if text not in words], counts[is_filled])

    return filled


def _are_durations(parts: Iterable[Sequence[str]]) -> bool:
    """Return whether there are texts, and all of them are durations."""
    any_text = False
    for texts in parts:
        if any(duration_of(text) is None for text in texts):
            return False
        any_text = any_text or bool(texts)
    return any_text


def _learned_dates(common: CommonForms, example: str, words: tuple[str, ...]) -> LearnedForm:
    """Return the form of dates. example : one of the texts"""
    dates = common.dates
    assert dates is not None
    note = note_of_ambiguity(example, common) if common.is_ambiguous else ""
    return LearnedForm(date_form(dates, words), note, bool(note))


def date_form(dates: Dates, words: tuple[str, ...] = ()) -> ColumnForm:
    """Return the form of dates that were read from text."""
    kind: FormKind = "date" if has_date(dates.date_format) else "time"
    return ColumnForm(kind, date_format=dates.date_format, clock=dates.clock, words=words)


def note_of_likeness(texts: Sequence[str]) -> str:
    """Return the note on text that looks like dates and is not read as dates; "" on other text."""
    example = unlike_date(texts)
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
