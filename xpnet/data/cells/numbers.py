"""Texts that are numbers with marks and units: ``1.234,50 €``, ``84%``, ``(1,204)``, ``1,023 mi``.

A column has one decimal mark and at most one unit, which its training rows show. A mark between
thousands that no training row had is read only where it is certain.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Literal, NamedTuple

import numpy

Decimal = Literal[".", ","]

MIN_NUMERIC = 0.9
"""A column holds numbers if at least this fraction of its rows are numbers."""
MAX_MARKS = 0.5
"""Maximum fraction of its rows that are marks without letters and digits, such as - and ?."""
MAX_OTHER_TEXTS = 3
"""Maximum different texts in a column of numbers; they are gaps."""
MAX_EXACT_INTEGER = 2**53
"""Largest whole number up to which float64 holds each one."""

MAX_EXACT_DIGITS = 15
"""Number of digits up to which float64 holds each whole number."""

_NINES = str.maketrans("12345678", "99999999")
_LATER_ZERO = re.compile("(?<=[09])0")
"""A 0 that is not the first digit, where the others are 9."""
_OTHER_MARK: dict[Decimal, Decimal] = {".": ",", ",": "."}
_THOUSANDS = "'’ \u00a0\u202f"
"""Marks between thousands that are no decimal mark: apostrophes and spaces."""
_CURRENCY = r"[$€£¥]|EUR|USD|GBP|CHF"
_UNIT = r"(?:[%‰°$€£¥]|[^\W\d_])[^\W\d_²³/°.%]*[²³/%]?[^\W\d_²³]*[²³]?\.?"
_INFINITE = {"inf", "+inf", "-inf", "infinity", "+infinity", "-infinity"}


class TextCounts(NamedTuple):
    """Texts of some rows. texts : none of them ""; counts : (texts,) number of rows of each"""

    texts: Sequence[str]
    counts: numpy.ndarray


class _Number(NamedTuple):
    """A text as a number.

    mark : between its thousands, "" for none; is_certain : whether that mark cannot be a decimal
    mark; unit : "" for none
    """

    value: float
    mark: str
    is_certain: bool
    unit: str


@cache
def _pattern_of(decimal: str, thousands: str) -> re.Pattern[str]:
    """Return the pattern of a number. thousands : marks that may stand between thousands"""
    marks = re.escape(thousands)
    point = re.escape(decimal)
    integer = rf"[1-9]\d{{0,2}}(?P<mark>[{marks}])\d{{3}}(?P<more>(?:(?P=mark)\d{{3}})*)|\d+"
    return re.compile(
        rf"\s*(?P<open>\()?\s*(?P<sign>[+\-−])?\s*(?P<before>{_CURRENCY})?\s*(?P<inner>[+\-−])?"
        rf"(?:(?P<whole>{integer})(?:{point}(?P<fraction>\d*))?|{point}(?P<only>\d+))"
        rf"(?P<exponent>[eE][+-]?\d+)?\s*(?P<after>{_UNIT})?\s*(?P<close>\))?\s*"
    )


def _number_of(text: str, decimal: str, thousands: str) -> _Number | None:
    """Return a text as a number, None for another text."""
    match = _pattern_of(decimal, thousands).fullmatch(text)
    if match is None:
        is_infinite = text.strip().lower() in _INFINITE
        return _Number(float(text), "", False, "") if is_infinite else None
    fields = match.groupdict(default="")
    signs = fields["sign"] + fields["inner"]
    units = [unit for unit in (fields["before"], fields["after"]) if unit]
    if len(signs) > 1 or len(units) > 1 or bool(fields["open"]) != bool(fields["close"]):
        return None
    if fields["open"] and signs:
        return None
    mark = fields["mark"]
    digits = fields["whole"].replace(mark, "") if mark else fields["whole"]
    fraction = fields["fraction"] or fields["only"]
    value = float(f"{digits or 0}.{fraction or 0}{fields['exponent']}")
    is_negative = bool(fields["open"]) or signs in ("-", "−")
    has_point = match["fraction"] is not None
    is_certain = mark in _THOUSANDS or bool(fields["more"]) or has_point
    return _Number(-value if is_negative else value, mark, is_certain, "".join(units))


@dataclass(frozen=True)
class NumberFormat:
    """The form of the numbers of a column.

    decimal : the decimal mark, "." or ","
    thousands : marks that stand between thousands in training, or that the user named
    unit : what may stand before or behind a number, such as "$", "%" or "km"; "" for none
    """

    decimal: Decimal = "."
    thousands: str = ""
    unit: str = ""

    def read(self, text: str) -> float | None:
        """Return a text of this format as a number, None for another text."""
        plain = _plain_value(text) if self.decimal == "." else None
        if plain is not None:
            return plain
        number = _number_of(text, self.decimal, _possible_marks(self.decimal, self.thousands))
        if number is None or number.unit not in ("", self.unit):
            return None
        if number.mark not in self.thousands and not number.is_certain:
            return None
        return number.value

    def __str__(self) -> str:
        """Return the format in words, for messages."""
        marks = ", ".join(repr(mark) for mark in self.thousands)
        parts = [f"decimal mark {self.decimal!r}"]
        parts += [f"{marks} between thousands"] if marks else []
        parts += [f"unit {self.unit!r}"] if self.unit else []
        return ", ".join(parts)


def _possible_marks(decimal: Decimal, thousands: str = "") -> str:
    """Return the marks that may stand between thousands. thousands : those that are known"""
    return "".join(dict.fromkeys([_OTHER_MARK[decimal], *_THOUSANDS, *thousands]))


@dataclass(frozen=True)
class NumericText:
    """A column of text that holds numbers.

    number_format : of all numbers; words : texts that are no numbers, and are gaps
    note : how the column is read; "" for plain numbers
    """

    number_format: NumberFormat
    words: tuple[str, ...]
    note: str


@dataclass
class _NumberEvidence:
    """Evidence in the texts of a column for numbers with one decimal mark.

    marks, units : of the numbers; word_rows : rows of each text that is no number
    example : the longest number that is not plain; is_whole : whether all are digits alone
    is_ambiguous : whether the mark of each number could be a decimal mark, too
    """

    decimal: Decimal
    thousands: str
    marks: set[str] = field(default_factory=set)
    units: set[str] = field(default_factory=set)
    word_rows: Counter[str] = field(default_factory=Counter)
    rows: int = 0
    example: str = ""
    is_whole: bool = True
    is_ambiguous: bool = True

    def add(self, shapes: Iterable[TextCounts]) -> bool:
        """Add some rows; return whether the column may still hold numbers.

        Digits that begin with 0, and those that float64 does not tell apart, are names.

        shapes : the rows of each shape
        """
        possible = _possible_marks(self.decimal, self.thousands)
        for texts, counts in shapes:
            self.rows += int(counts.sum())
            number = _number_of(texts[0], self.decimal, possible)
            if number is None:
                different = MAX_OTHER_TEXTS + 1  # more of them end the search
                self.word_rows.update(dict(zip(texts[:different], counts.tolist(), strict=False)))
            elif any(
                map(is_name_of_digits, texts if len(texts[0]) > MAX_EXACT_DIGITS else texts[:1])
            ):
                return False
            else:
                self._add_number(texts[0], number)
            if len(self.word_rows) > MAX_OTHER_TEXTS or len(self.units) > 1:
                return False
        return True

    def _add_number(self, text: str, number: _Number) -> None:
        """Take note of the marks of a number."""
        self.is_whole = self.is_whole and text.strip().isdecimal()
        self.marks |= {number.mark} - {""}
        self.units |= {number.unit} - {""}
        self.is_ambiguous &= number.mark != "" and not number.is_certain
        if len(text) > len(self.example) and _plain_value(text) != number.value:
            self.example = text

    def result(self, *, strictly: bool, is_decimal_known: bool) -> NumericText | None:
        """Return the column in this format; None where too many rows hold no numbers.

        Without a known decimal mark a note says what the numbers would be with the other one.
        Text that holds digits alone was made text, and stays it.
        """
        words = self.word_rows.total()
        if strictly and words:
            return None
        if not strictly and (self.is_whole and not words or not self.may_be_numeric):
            return None
        thousands = "".join(sorted(self.marks | set(self.thousands)))
        number_format = NumberFormat(self.decimal, thousands, "".join(self.units))
        note = self._note(number_format, has_alternative=self.is_ambiguous and not is_decimal_known)
        return NumericText(number_format, tuple(sorted(self.word_rows)), note)

    @property
    def may_be_numeric(self) -> bool:
        """Return whether enough of the rows so far hold numbers."""
        marks = sum(
            rows for word, rows in self.word_rows.items() if not any(map(str.isalnum, word))
        )
        words = self.word_rows.total() - marks
        return words <= (1 - MIN_NUMERIC) * self.rows and marks <= MAX_MARKS * self.rows

    def _note(self, number_format: NumberFormat, *, has_alternative: bool) -> str:
        """Return how the column is read."""
        notes = []
        if self.example:
            value = number_format.read(self.example)
            note = f"holds text such as {self.example!r}, which is read as {value}"
            if has_alternative:
                other = replace(number_format, decimal=_OTHER_MARK[self.decimal], thousands="")
                name = {".": "point", ",": "comma"}[other.decimal]
                note += f"; with a decimal {name} it would be {other.read(self.example)}"
            notes.append(note)
        if self.word_rows:
            words = ", ".join(map(repr, sorted(self.word_rows)))
            rows = sum(self.word_rows.values())
            notes.append(
                f"holds {words} among numbers in {rows} rows, which are gaps; "
                "categorical_features reads the column as text"
            )
        return ", and ".join(notes)


def is_name_of_digits(text: str) -> bool:
    """Return whether digits name something: they begin with 0, or float64 merges such numbers."""
    digits = text.strip().lstrip("+-")
    if not digits.isdecimal():
        return False
    return (digits[0] == "0" and len(digits) > 1) or int(digits) > MAX_EXACT_INTEGER


def _plain_value(text: str) -> float | None:
    """Return a text as Python reads numbers, None for other text; Python takes 1_000 for 1000."""
    try:
        return None if "_" in text else float(text)
    except ValueError:
        return None


def numeric_text(
    parts: Iterable[TextCounts],
    decimal: Decimal | None = None,
    thousands: str | None = None,
    *,
    strictly: bool = False,
) -> NumericText | None:
    """Return how a column of text holds numbers; None where it does not.

    parts : the texts of its rows, some rows after the others
    decimal, thousands : the marks, if they are known
    strictly : whether every text must be a number, and digits alone are numbers, too
    """
    candidates = [
        _NumberEvidence(mark, thousands or "") for mark in _OTHER_MARK if decimal in (None, mark)
    ]
    is_first = True
    for part in parts:
        if not len(part.texts):
            continue
        shapes = _by_shape(part)
        candidates = [candidate for candidate in candidates if candidate.add(shapes)]
        if is_first:  # the first rows show most columns of words
            candidates = [one for one in candidates if one.may_be_numeric]
        is_first = False
        if not candidates:
            return None
    columns = [
        candidate.result(strictly=strictly, is_decimal_known=decimal is not None)
        for candidate in candidates
        if candidate.rows
    ]
    return next((column for column in columns if column is not None), None)


def _by_shape(part: TextCounts) -> list[TextCounts]:
    """Return the rows of each shape, the first one first.

    Texts have one shape that differ only in digits that are not 0 at the beginning of a number, as
    $1,306 and $2,050. They are numbers in the same formats, so that one of them is looked at.
    """
    joined = "\n".join(part.texts)
    if joined.count("\n") != len(part.texts) - 1:
        return [TextCounts([text], part.counts[k : k + 1]) for k, text in enumerate(part.texts)]
    shapes = _LATER_ZERO.sub("9", joined.translate(_NINES)).split("\n")
    places: dict[str, list[int]] = {}
    for place, shape in enumerate(shapes):
        places.setdefault(shape, []).append(place)
    return [
        TextCounts([part.texts[place] for place in own], part.counts[own])
        for own in places.values()
    ]


def shown_decimal_marks(texts: Iterable[str]) -> set[Decimal]:
    """Return the decimal marks that some texts certainly have."""
    marks: set[Decimal] = set()
    for text in texts:
        if "." in text or "," in text:
            readable = [
                mark for mark in _OTHER_MARK if _number_of(text, mark, _possible_marks(mark))
            ]
            marks |= {readable[0]} & set(text) if len(readable) == 1 else set()
    return marks
