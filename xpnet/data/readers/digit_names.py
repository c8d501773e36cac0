"""Columns of a text file whose digits name things: postcodes such as 01234, numbers of 20 digits.

As numbers, 01234 and 1234 would be one value, and so would whole numbers beyond float64.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

import numpy
import pyarrow
from pyarrow import compute

from xpnet.data.cells.numbers import MAX_EXACT_INTEGER, is_name_of_digits

_NAME = r"^\s*[+-]?(0\d+|\d{16,})\s*$"
"""Digits that may name something: those that begin with 0, and many of them."""
_BYTES_AT_ONCE = 2**16
"""Bytes of a text that are looked at together, which stay in a processor's cache."""
_WITHIN_WORDS = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz:- ")
"""Bytes after which digits belong to a word, a date or a time."""
_AFTER_NUMBERS = frozenset(_WITHIN_WORDS - frozenset(b" ")) | frozenset(b"./")
"""Bytes before which digits belong to a word, a date, a time or a fraction."""
_MAX_DIGITS = 24
"""Number of digits of a cell that are looked at."""


def may_begin_with_zero(parts: Iterable[bytes], encoding: str) -> bool:
    """Return whether some cell of a text may hold digits that begin with 0.

    parts : the content; all of them are taken, as far as no such cell is found
    """
    if not "0,".encode(encoding, "replace").endswith(b"0,"):  # as in UTF-16
        return True
    last = b"\n\n"
    has_zero = False
    for part in chain(parts, [bytes(b"\n" * (_MAX_DIGITS + 2))]):
        content = last + part
        end = max(0, len(content) - _MAX_DIGITS - 2)
        starts = range(0, 0 if has_zero else end, _BYTES_AT_ONCE)
        has_zero = has_zero or any(
            _begins_with_zero(content[start : start + _BYTES_AT_ONCE + _MAX_DIGITS + 2])
            for start in starts
        )
        last = content[end:]
    return has_zero


def _begins_with_zero(content: bytes) -> bool:
    """Return whether a 0 and further digits stand between other bytes than those of words.

    A space or a sign may stand before the 0, unless a digit or a letter stands before these. The
    first two bytes, and the last ones, are no beginning.
    """
    characters = numpy.frombuffer(content, numpy.uint8)
    is_digit = characters - ord("0") < 10  # unsigned numbers wrap around, here and below
    before, middle = characters[1:-2], characters[2:-1]
    is_begin = before - ord(".") > ord("9") - ord(".")
    begins = 2 + numpy.flatnonzero((middle == ord("0")) & is_digit[3:] & is_begin)
    begins = begins[begins < len(characters) - _MAX_DIGITS]
    before_each = characters[begins - 1]
    is_shifted = (before_each == ord(" ")) | (before_each == ord("-"))
    first = numpy.where(is_shifted, characters[begins - 2], before_each)
    begins = begins[~_is_one_of(first, _AFTER_NUMBERS | frozenset(b"0123456789"))]
    ends = begins + 1
    for _ in range(_MAX_DIGITS - 2):
        ends = ends + is_digit[ends]
    return not _is_one_of(characters[ends], _AFTER_NUMBERS).all()


def _is_one_of(characters: numpy.ndarray, values: frozenset[int]) -> numpy.ndarray:
    """Return which of some bytes are among others: (bytes,) bool."""
    table = numpy.zeros(256, bool)
    table[list(values)] = True
    return table[characters]


def columns_of_names(batches: Iterable[pyarrow.RecordBatch]) -> dict[str, str]:
    """Return the columns whose cells are digits that name things, with an example of each.

    batches : of columns that are read as text
    """
    names: dict[str, str] = {}
    for batch in batches:
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            if name not in names:
                may_be_name = compute.match_substring_regex(column, _NAME)
                texts = column.filter(may_be_name).unique().to_pylist()
                example = next((text for text in texts if text and is_name_of_digits(text)), None)
                names |= {} if example is None else {name: example}
    return names


def large_columns(batches: Iterable[pyarrow.RecordBatch], columns: Sequence[str]) -> Iterator[str]:
    """Yield the columns of floating point with numbers beyond those that float64 holds exactly."""
    remaining = {*columns}
    for batch in batches:
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            if name in remaining and _is_large(column):
                remaining.remove(name)
                yield name


def _is_large(column: pyarrow.Array) -> bool:
    """Return whether some number is beyond those that float64 holds exactly."""
    ends = compute.min_max(column).as_py().values()
    return any(end is not None and abs(end) > MAX_EXACT_INTEGER for end in ends)
