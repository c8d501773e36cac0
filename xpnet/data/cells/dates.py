"""Dates in text: the forms in which people write them, and which of them a column has.

A form is named as ``datetime.strptime`` writes it. All texts of a column have one form; a time of
day may follow each date. Months have their English names, whatever the locale is. Years of the
forms lie between 1000 and 2999, so that the numbers of parts and deliveries are no dates; the first
and the last day of the calendar, which stand for "no date" in many tables, are dates, too.
"""

import math
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import combinations
from typing import Literal, NamedTuple

import numpy

from xpnet.errors import InputError

Clock = Literal["utc", "naive", ""]
"""The clock of a column of timestamps: UTC where they have a time zone, "naive" where they have
none; "" in model files that were written before clocks were recorded: the clock of any zone."""

MAX_FORMAT_LENGTH = 100
"""Maximum number of characters of a format of dates, which may come from a file of anyone."""
MIN_DATE_LIKE_SHARE = 0.9
"""Share of the texts of a column that are dates in some form from which it looks like dates."""
MAX_TEXTS_LOOKED_AT = 200
"""Number of texts of a column that show whether it looks like dates."""
FIRST_DAY = 19000101
"""First whole number that looks like a date, as year, month and day."""
LAST_DAY = 21001231
"""Last whole number that looks like a date."""

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_NAMES = (
    "january february march april may june july august september october november december"
).split()
_MONTH_OF_NAME = {name: month for month, name in enumerate(_NAMES, 1)}
_MONTH_OF_NAME |= {name: month for month, name in enumerate(_MONTHS, 1)} | {"sept": 9}

_YEAR, _MONTH, _DAY = r"(?P<year>\d{4})", r"(?P<month>\d{1,2})", r"(?P<day>\d{1,2})"
_NAME = r"(?P<name>[A-Za-z]{3,9})\.?"
_CLOCK_TIME = (
    r"(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:\.(?P<fraction>\d{1,9}))?)?"
    r"(?: ?(?P<half>[AaPp])\.?[Mm]\.?)?"
)
_TIME = rf"(?:(?:T|,? ){_CLOCK_TIME})?"
_ZONE = (
    r"(?: ?(?:(?P<utc>Z|UTC)"
    r"|(?P<sign>[+-])(?P<zone_hour>0\d|1[0-4])(?::?(?P<zone_minute>[0-5]\d))?))?"
)
_TIME_IN_ZONE = rf"(?:(?:T|,? ){_CLOCK_TIME}{_ZONE})?"

ISO_DATE = "%Y-%m-%d"
"""The form of ISO 8601, which may have a time zone."""
TIME_OF_DAY = "%H:%M"
"""The form of times without a date."""

_PATTERNS = {
    ISO_DATE: f"{_YEAR}-{_MONTH}-{_DAY}{_TIME_IN_ZONE}",
    "%Y/%m/%d": f"{_YEAR}/{_MONTH}/{_DAY}{_TIME}",
    "%d.%m.%Y": rf"{_DAY}\.{_MONTH}\.{_YEAR}{_TIME}",
    "%m/%d/%Y": f"{_MONTH}/{_DAY}/{_YEAR}{_TIME}",
    "%d/%m/%Y": f"{_DAY}/{_MONTH}/{_YEAR}{_TIME}",
    "%m-%d-%Y": f"{_MONTH}-{_DAY}-{_YEAR}{_TIME}",
    "%d-%m-%Y": f"{_DAY}-{_MONTH}-{_YEAR}{_TIME}",
    "%d %b %Y": f"{_DAY}[ -]{_NAME}[ -]{_YEAR}{_TIME}",
    "%b %d %Y": f"{_NAME}[ -]{_DAY},?[ -]{_YEAR}{_TIME}",
    "%Y-%m": f"{_YEAR}-{_MONTH}",
    "%b %Y": f"{_NAME}[ -]{_YEAR}",
    TIME_OF_DAY: _CLOCK_TIME,
}
FORMS = {name: re.compile(pattern, re.ASCII) for name, pattern in _PATTERNS.items()}
"""The forms that are recognised. Where texts have two of them, the first is right: the month comes
first between slashes and dashes, as in pandas."""

_OTHER_FORMS = ("%d/%m/%y", "%m/%d/%y", "%d.%m.%y", "%d-%m-%y", "%m-%d-%y", "%d-%b-%y", "%Y%m%d")
"""Forms that look like dates, and are read only if the user names them."""
_TWO_DIGITS = re.compile(
    r"\d{1,2}[/-](\d{1,2}|[A-Za-z]{3})[/-]\d{2}|\d{2}\.\d{2}\.\d{2}|\d{8}", re.ASCII
)

_CERTAIN_FORMS = (ISO_DATE, "%Y/%m/%d", "%d.%m.%Y", "%d %b %Y", "%b %d %Y", "%Y-%m", "%b %Y")
"""Forms in which a text has one meaning, whatever the other texts of its column are."""
FIRST_YEAR = 1000
"""First year of a date in one of the forms."""
LAST_YEAR = 2999
"""Last year of a date in one of the forms."""
ENDS_OF_CALENDAR = frozenset({date.min, date.max})
"""Days that are dates in any form, since many tables write them for "no date"."""

_ISO_LAYOUTS = {10: "dddd-dd-dd", 16: "dddd-dd-dd dd:dd", 19: "dddd-dd-dd dd:dd:dd"}
"""Dates of ISO 8601 without zone and fraction, by their length, which are read all at once."""
_DIGITS_OF_DIRECTIVE = {"Y": 4, "j": 3, **dict.fromkeys("mdHMSy", 2)}
"""Digits of the parts of a format of ``datetime.strptime`` that are written without a separator."""
_EPOCH = datetime(1970, 1, 1)
_MICROSECOND = timedelta(microseconds=1)
MICROSECONDS_PER_DAY = 86_400_000_000


class Dates(NamedTuple):
    """Texts that were read as dates.

    microseconds : (texts,) int64 since 1970, or since midnight for times without a date
    clock : "utc" if the texts have a time zone
    date_format : the form of the texts, or the user's format
    """

    microseconds: numpy.ndarray
    clock: Clock
    date_format: str

    @property
    def is_time_of_day(self) -> bool:
        """Return whether these are times without a date."""
        return not has_date(self.date_format)


def check_date_format(date_format: object, name: str = "date_format") -> None:
    """Raise InputError for a text that ``datetime.strptime`` does not take as a format.

    name : of the argument
    """
    try:
        if not isinstance(date_format, str) or "%" not in date_format:
            raise ValueError
        if len(date_format) > MAX_FORMAT_LENGTH:
            raise ValueError
        written = datetime(2023, 4, 8, tzinfo=UTC).strftime(date_format)
        datetime.strptime(written, date_format)
    except (ValueError, re.error) as error:
        raise InputError(
            f"`{name}` must be a format as datetime.strptime takes it, such as '%d/%m/%Y' for "
            f"08/04/2023; got {date_format!r}. Correct it."
        ) from error


def read_dates(texts: Sequence[str], date_format: str) -> Dates | None:
    """Return texts as dates of a form or format; None where one of them is no such date.

    texts : not empty, none of them ""
    """
    if date_format == ISO_DATE:
        microseconds = _iso_microseconds(texts)
        if microseconds is not None:
            return Dates(microseconds, "naive", date_format)
    instants = [instant for instant in map(_reader_of(date_format), texts) if instant is not None]
    clocks = {instant.clock for instant in instants}
    if len(instants) < len(texts) or len(clocks) > 1:
        return None
    microseconds = numpy.array([instant.microseconds for instant in instants], numpy.int64)
    return Dates(microseconds, clocks.pop(), date_format)


def read_each_date(texts: Sequence[str], date_format: str, clock: Clock) -> numpy.ndarray:
    """Return the microseconds of each text as a later date of a column: (texts,) float64.

    Each text is read for itself: in the form of the training, else in the form of ISO 8601, in
    which all libraries write dates. Other texts, and those on another clock, are NaN.

    texts : none of them ""
    date_format : of the training's text; "" where training had typed dates: a text of any form that
        is certain
    clock : of the training; "" for any
    """
    if date_format in ("", ISO_DATE) and clock != "utc":
        microseconds = _iso_microseconds(texts)
        if microseconds is not None:
            return microseconds.astype(numpy.float64)
    readers = [_reader_of(form) for form in _later_forms(date_format)]
    return numpy.array([_microseconds_of(text, readers, clock) for text in texts], numpy.float64)


def _later_forms(date_format: str) -> Sequence[str]:
    """Return the forms in which later text may be, for the form of the training."""
    if date_format == "":
        return _CERTAIN_FORMS
    begins_with_year = date_format not in FORMS and date_format.startswith("%Y-")
    is_dated = has_date(date_format)
    return [date_format, ISO_DATE] if is_dated and not begins_with_year else [date_format]


def _microseconds_of(text: str, readers: "Sequence[_Reader]", clock: Clock) -> float:
    """Return a text as a date of the first form that it has, NaN for no form or another clock."""
    for read in readers:
        instant = read(text)
        if instant is not None:
            return instant.microseconds if clock in ("", instant.clock) else math.nan
    return math.nan


def is_date(text: str) -> bool:
    """Return whether a text is a date or a time of day in one of the forms."""
    return text != "" and any(read_dates([text], form) for form in FORMS)


def has_date(date_format: str) -> bool:
    """Return whether a format has a date, and not only a time of day."""
    return any(f"%{letter}" in date_format for letter in "YymbBdjUWGVcxs")


def _iso_microseconds(texts: Sequence[str]) -> numpy.ndarray | None:
    """Return dates of ISO 8601 of one length: (texts,) int64; None where one is no such date."""
    length = len(texts[0]) if texts else 0
    layout = _ISO_LAYOUTS.get(length)
    joined = "".join(texts)
    if layout is None or len(joined) != length * len(texts) or not joined.isascii():
        return None
    if any(len(text) != length for text in texts):
        return None
    characters = numpy.frombuffer(joined.encode(), numpy.uint8).reshape(-1, length)
    digits = characters - 48
    is_digit = numpy.array([mark == "d" for mark in layout])
    separators = characters[:, ~is_digit]
    expected = numpy.array([ord(mark) for mark in layout if mark != "d"], numpy.uint8)
    is_separator = separators == expected
    is_separator |= (expected == ord(" ")) & (separators == ord("T"))
    if (digits[:, is_digit] > 9).any() or not is_separator.all():
        return None
    return _microseconds_of_digits(digits[:, is_digit].astype(numpy.int64))


def _microseconds_of_digits(digits: numpy.ndarray) -> numpy.ndarray | None:
    """Return dates from the digits of year, month, day, and hour, minute, second if there are any.

    digits : (texts, 8, 12 or 14)
    returns (texts,) int64; None where one is in no calendar, or its year is none of the forms
    """
    year = digits[:, :4] @ numpy.array([1000, 100, 10, 1])
    month, day, *clock_time = (
        digits[:, first : first + 2] @ numpy.array([10, 1])
        for first in range(4, digits.shape[1], 2)
    )
    hour, minute, second = [*clock_time, 0, 0, 0][:3]
    is_date = (year >= FIRST_YEAR) & (year <= LAST_YEAR) & (month >= 1) & (month <= 12) & (day >= 1)
    is_time = numpy.less(hour, 24) & numpy.less(minute, 60) & numpy.less(second, 60)
    if not (is_date & is_time).all():
        return None
    months = ((year - 1970) * 12 + month - 1).astype("datetime64[M]")
    days = months.astype("datetime64[D]") + (day - 1)
    if (days.astype("datetime64[M]") != months).any():
        return None
    of_day = ((hour * 60 + minute) * 60 + second) * 1_000_000
    return days.astype(numpy.int64) * MICROSECONDS_PER_DAY + of_day


class _Instant(NamedTuple):
    """One text as a date: microseconds since 1970 on the clock."""

    microseconds: int
    clock: Clock


_Reader = Callable[[str], _Instant | None]


def _reader_of(date_format: str) -> _Reader:
    """Return the function that reads a text of a form or format as a date, None for others.

    In a format of digits alone, such as 0517, a whole number lacks its first zeros: 517.
    """
    pattern = FORMS.get(date_format)
    width = _digits_of(date_format)

    def read(text: str) -> _Instant | None:
        """Return the date, None for another text."""
        try:
            if pattern is None:
                filled = text.zfill(width) if text.isdecimal() else text
                return _instant_by_format(filled, date_format)
            return _instant_of(text, pattern)
        except (ValueError, OverflowError):
            return None

    return read


def _digits_of(date_format: str) -> int:
    """Return the number of digits of a format that has digits alone, 0 for another format."""
    directives = re.findall("%(.)", date_format)
    if not directives or "".join(f"%{letter}" for letter in directives) != date_format:
        return 0
    widths = [_DIGITS_OF_DIRECTIVE.get(letter, 0) for letter in directives]
    return sum(widths) if all(widths) else 0


def _instant_by_format(text: str, date_format: str) -> _Instant:
    """Return a text in a format of the user's as a date. Raises ValueError for another text."""
    timestamp = datetime.strptime(text, date_format)
    if not has_date(date_format):  # strptime counts times of day from 1900
        timestamp = datetime.combine(_EPOCH, timestamp.timetz())
    offset = timestamp.utcoffset()
    if offset is None:
        return _Instant((timestamp - _EPOCH) // _MICROSECOND, "naive")
    return _Instant((timestamp.replace(tzinfo=None) - offset - _EPOCH) // _MICROSECOND, "utc")


def _instant_of(text: str, pattern: re.Pattern[str]) -> _Instant:
    """Return a text of a form as a date. Raises ValueError for another text."""
    match = pattern.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no such date")
    fields = match.groupdict()
    microseconds = _time_of(fields) if fields.get("hour") else 0
    if "year" in fields:
        month = fields.get("month") or _MONTH_OF_NAME.get(fields["name"].lower(), 0)
        microseconds += _day_of(fields["year"], month, fields.get("day", 1)) * MICROSECONDS_PER_DAY
    if fields.get("utc"):
        return _Instant(microseconds, "utc")
    if fields.get("sign"):
        minutes = 60 * int(fields["zone_hour"]) + int(fields["zone_minute"] or 0)
        offset = minutes if fields["sign"] == "+" else -minutes
        return _Instant(microseconds - offset * 60_000_000, "utc")
    return _Instant(microseconds, "naive")


@lru_cache(maxsize=1 << 15)
def _day_of(year: str, month: str | int, day: str | int) -> int:
    """Return the number of days since 1970.

    Raises ValueError for a day that is in no calendar, and for a year that is none of the forms.
    """
    calendar_day = date(int(year), int(month), int(day))
    if not FIRST_YEAR <= calendar_day.year <= LAST_YEAR and calendar_day not in ENDS_OF_CALENDAR:
        raise ValueError("no such year")
    return calendar_day.toordinal() - _EPOCH.toordinal()


def _time_of(fields: dict[str, str]) -> int:
    """Return the microseconds since midnight. Raises ValueError for a time that no clock shows.

    fields : the groups of the form's pattern, by name
    """
    hour = int(fields["hour"])
    minute = int(fields["minute"])
    second = int(fields["second"] or 0)
    microsecond = int((fields["fraction"] or "0").ljust(6, "0")[:6])
    half = fields["half"]
    if hour > 23 or minute > 59 or second > 59 or (half and not 1 <= hour <= 12):
        raise ValueError("no such time")
    if half:
        hour = hour % 12 + 12 * (half in "pP")
    return ((hour * 60 + minute) * 60 + second) * 1_000_000 + microsecond


class CommonForms(NamedTuple):
    """The forms that all texts of a column have, the first of which is right.

    is_ambiguous : whether another of them gives other dates
    dates : the texts of the last part, read in the first form; None for no form
    """

    forms: list[str]
    is_ambiguous: bool
    dates: Dates | None


def common_forms(parts: Iterable[Sequence[str]], forms: Iterable[str] = FORMS) -> CommonForms:
    """Return which forms or formats all texts of a column have; none for a column without text.

    parts : texts of some rows after those of others, none of them ""
    """
    remaining = list(forms)
    clocks: set[Clock] = set()
    differing: set[tuple[str, str]] = set()
    common: list[Dates] = []
    for texts in filter(None, parts):
        dates = [read_dates(texts, form) for form in remaining if read_dates(texts[:1], form)]
        common = [one for one in dates if one is not None]
        clocks |= {one.clock for one in common}
        remaining = [one.date_format for one in common]
        if not remaining or len(clocks) > 1:
            return CommonForms([], False, None)
        differing |= {
            (one.date_format, other.date_format)
            for one, other in combinations(common, 2)
            if not numpy.array_equal(one.microseconds, other.microseconds)
        }
    if not common:
        return CommonForms([], False, None)
    right, *others = remaining
    is_ambiguous = any((right, other) in differing for other in others)
    return CommonForms(remaining, is_ambiguous, common[0])


def unlike_date(texts: Sequence[str]) -> str | None:
    """Return a text that has no form, or the first text, where texts look like dates; else None.

    Nearly all of them must be dates in some form, also in forms that are not recognised.
    """
    sample = list(texts[:: -(-len(texts) // MAX_TEXTS_LOOKED_AT)]) if texts else []
    minimum = max(2.0, MIN_DATE_LIKE_SHARE * len(sample))
    if sum(any(letter.isdigit() for letter in text) for text in sample) < minimum:
        return None
    in_form = [any(read_dates([text], form) for form in FORMS) for text in sample]
    date_like = [has_form or _is_date_like(t) for t, has_form in zip(sample, in_form, strict=True)]
    if sum(date_like) < minimum:
        return None
    without_form = [t for t, has_form in zip(sample, in_form, strict=True) if not has_form]
    return [*without_form, sample[0]][0]


def _is_date_like(text: str) -> bool:
    """Return whether a text is a date in a form that is read only if the user names it."""
    return _TWO_DIGITS.fullmatch(text) is not None and any(
        read_dates([text], form) for form in _OTHER_FORMS
    )


def are_whole_dates(numbers: numpy.ndarray) -> bool:
    """Return whether whole numbers look like dates: year, month, day. numbers : (rows,)"""
    if not len(numbers) or numbers.min() < FIRST_DAY or numbers.max() > LAST_DAY:
        return False
    day = numbers % 100
    month = numbers // 100 % 100
    return bool(((day >= 1) & (day <= 31) & (month >= 1) & (month <= 12)).all())
