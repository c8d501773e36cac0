"""Columns of a text file whose digits name things: postcodes such as 01234, numbers of 20 digits.

As numbers, 01234 and 1234 would be one value, and so would whole numbers beyond float64.
"""

from collections.abc import Iterable, Iterator, Sequence

import numpy
import pyarrow
from pyarrow import compute

from xpnet.data.cells.numbers import MAX_EXACT_INTEGER, is_name_of_digits

_NAME = r"^\s*[+-]?(0\d+|\d{16,})\s*$"
"""Digits that may name something: those that begin with 0, and many of them."""
_SIGNS = tuple(map(ord, "+-"))
_BEFORE_CELL = tuple(map(ord, '\n\r" '))
"""Bytes that may stand before a cell, besides the separator."""


def may_begin_with_zero(parts: Iterable[bytes], separator: str, encoding: str) -> bool:
    """Return whether some cell of a text may hold digits that begin with 0.

    parts : the content; all of them are taken, as far as no such cell is found
    """
    if not "0,".encode(encoding, "replace").endswith(b"0,"):  # as in UTF-16
        return True
    last = b"\n"
    found = False
    for part in parts:
        found = found or _begins_with_zero(last + part, ord(separator))
        last = part[-2:]
    return found


def _begins_with_zero(content: bytes, separator: int) -> bool:
    """Return whether digits that begin with 0 stand behind the beginning of a cell or a sign."""
    characters = numpy.frombuffer(content, numpy.uint8)
    before, middle, after = characters[:-2], characters[1:-1], characters[2:]
    is_name = (middle == ord("0")) & (after - ord("0") < 10)  # unsigned numbers wrap around
    is_first = before == separator
    for mark in (*_BEFORE_CELL, *_SIGNS):
        is_first |= before == mark
    return bool((is_name & is_first).any())


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
        for name in sorted(remaining):
            ends = compute.min_max(batch.column(name)).as_py().values()
            if any(end is not None and abs(end) > MAX_EXACT_INTEGER for end in ends):
                remaining.remove(name)
                yield name
