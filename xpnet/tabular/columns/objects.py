"""A column of Python's objects, as NumPy's values of the one kind that all of them have."""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from numbers import Integral, Real
from typing import Any, SupportsFloat

import numpy

from xpnet.data.cells.numbers import MAX_EXACT_INTEGER
from xpnet.errors import InputError
from xpnet.tabular.columns.records import Numbers, OtherValues, Timestamps, Values, Words, text_of

_GAP_TYPES = ("NoneType", "MaskedConstant", "NAType", "NaTType")
"""Names of the types of Python, NumPy and pandas whose values stand for gaps."""


def values_of_objects(values: list[Any], name: object) -> Values:
    """Return Python's objects as the values of the one kind that all of them have, or as text.

    Raises InputError for text that is not valid Unicode.
    """
    is_gap = _gaps_of(values)
    present = [value for value, gap in zip(values, is_gap.tolist(), strict=True) if not gap]
    if not present:
        return Numbers(numpy.full(len(values), numpy.nan))
    types = set(map(type, present))
    has_one_kind = bool not in types or types <= {bool, numpy.bool_}
    for classes, read in _READERS.items():
        if has_one_kind and all(issubclass(kind, classes) for kind in types):
            column = read(present, is_gap)
            if column is not None:
                return column
            break
    texts = present if types == {str} else list(map(text_of, present))
    code_of = {text: code for code, text in enumerate(dict.fromkeys(texts))}
    codes = numpy.full(len(values), -1)
    codes[~is_gap] = numpy.fromiter(map(code_of.__getitem__, texts), numpy.int64, len(texts))
    check_unicode(code_of, name)
    return Words(codes, list(code_of))


def check_unicode(texts: Iterable[str], name: object) -> None:
    """Raise InputError for text with lone surrogates. name : of the column"""
    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError:
            raise InputError(
                f"Text must be valid Unicode; got {text!r} in column {name!r}. Replace its lone "
                "surrogates, for example by text.encode('utf-8', 'replace').decode()."
            ) from None


def is_gap_value(value: object) -> bool:
    """Return whether a value stands for a gap in Python, NumPy or pandas."""
    if isinstance(value, float | numpy.floating | Decimal):
        return bool(value != value)
    return type(value).__name__ in _GAP_TYPES


def _gaps_of(values: list[object]) -> numpy.ndarray:
    """Return which values stand for gaps, as ``is_gap_value`` says: (rows,) bool.

    Each type is looked at once, and only numbers of floating point one by one.
    """
    types = set(map(type, values))
    float_types = {kind for kind in types if issubclass(kind, float | numpy.floating | Decimal)}
    gap_types = {kind for kind in types if kind.__name__ in _GAP_TYPES}
    if not float_types and not gap_types:
        return numpy.zeros(len(values), bool)
    is_gap = [
        kind in gap_types or (kind in float_types and bool(value != value))
        for kind, value in zip(map(type, values), values, strict=True)
    ]
    return numpy.array(is_gap, bool)


def _with_gaps(numbers: numpy.ndarray, is_gap: numpy.ndarray) -> numpy.ndarray:
    """Return the numbers of rows without gaps as (rows,) float64, NaN for gaps."""
    floats = numpy.full(len(is_gap), numpy.nan)
    floats[~is_gap] = numbers
    return floats


def _of_integers(present: list[int], is_gap: numpy.ndarray) -> Numbers | None:
    """Return whole numbers; None beyond 64 bits, where they name things, and stay text."""
    numbers = numpy.array(present)
    if numbers.dtype.kind not in "iu":
        return None
    values = numpy.zeros(len(is_gap), numbers.dtype)
    values[~is_gap] = numbers
    return Numbers(values, is_gap if is_gap.any() else None)


def _of_reals(present: Sequence[SupportsFloat], is_gap: numpy.ndarray) -> Numbers | None:
    """Return numbers of any of Python's types; None for whole decimals beyond float64."""
    floats = numpy.array(list(map(float, present)))
    if all(isinstance(number, Decimal) for number in present) and are_large_integers(floats):
        return None
    return Numbers(_with_gaps(floats, is_gap))


def are_large_integers(floats: numpy.ndarray) -> bool:
    """Return whether these are whole numbers, of which some are beyond those float64 holds."""
    return bool((numpy.abs(floats) > MAX_EXACT_INTEGER).any() and (floats % 1 == 0).all())


def _of_datetimes(present: list[datetime], is_gap: numpy.ndarray) -> Timestamps | None:
    """Return timestamps; None for some with and some without a time zone."""
    is_aware = {timestamp.tzinfo is not None for timestamp in present}
    if len(is_aware) > 1:
        return None
    without_zone = [timestamp.replace(tzinfo=None) for timestamp in present]
    own_clock = numpy.array(without_zone, "datetime64[us]")
    local = _with_gaps(own_clock.astype(numpy.int64), is_gap)
    if is_aware == {False}:
        return Timestamps(local, "naive")
    utc = [timestamp.astimezone(UTC).replace(tzinfo=None) for timestamp in present]
    instants = numpy.array(utc, "datetime64[us]").astype(numpy.int64)
    return Timestamps(_with_gaps(instants, is_gap), "utc", local)


def _of_dates(present: list[object], is_gap: numpy.ndarray) -> Timestamps:
    """Return days."""
    microseconds = numpy.array(present, "datetime64[us]").astype(numpy.int64)
    return Timestamps(_with_gaps(microseconds, is_gap), "naive", unit="date")


def _of_times(present: list[time], is_gap: numpy.ndarray) -> Timestamps:
    """Return times of day."""
    midnight = datetime.min.date()
    spans = [
        datetime.combine(midnight, clock_time.replace(tzinfo=None)) - datetime.min
        for clock_time in present
    ]
    microseconds = numpy.array(spans, "timedelta64[us]").astype(numpy.int64)
    return Timestamps(_with_gaps(microseconds, is_gap), "naive", unit="time")


def _of_spans(present: list[object], is_gap: numpy.ndarray) -> Numbers:
    """Return durations in seconds."""
    microseconds = numpy.array(present, "timedelta64[us]").astype(numpy.int64)
    return durations_of(_with_gaps(microseconds, is_gap))


def durations_of(microseconds: numpy.ndarray) -> Numbers:
    """Return durations in seconds. microseconds : (rows,) float64, NaN for gaps"""
    return Numbers(microseconds / 1e6, are_durations=True)


def _of_numpy_times(present: list[object], is_gap: numpy.ndarray) -> Timestamps:
    """Return NumPy's timestamps."""
    microseconds = numpy.array(present, "datetime64[us]").astype(numpy.int64)
    return Timestamps(_with_gaps(microseconds, is_gap), "naive")


def _of_others(present: list[object], is_gap: numpy.ndarray) -> OtherValues:
    """Return values that are not encoded."""
    return OtherValues(len(is_gap), type(present[0]).__name__)


_Reader = Callable[[list[Any], numpy.ndarray], Values | None]


_READERS: dict[tuple[type, ...], _Reader] = {
    (bool, numpy.bool_): _of_reals,
    (str,): lambda present, is_gap: None,
    (Integral,): _of_integers,
    (Real, Decimal): _of_reals,
    (datetime,): _of_datetimes,
    (date,): _of_dates,
    (time,): _of_times,
    (timedelta, numpy.timedelta64): _of_spans,
    (numpy.datetime64,): _of_numpy_times,
    (bytes, list, tuple, dict, numpy.ndarray): _of_others,
}
"""The function that reads objects which all have one of these types, the narrowest types first.

Objects of several types are text."""
