"""Texts that are numbers with units or marks: ``1.234,50 €``, ``12 %``."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

import pyarrow
from pyarrow import compute

_UNIT = r"[$€£¥%]|EUR|USD|GBP|CHF"
"""Units that may stand before or behind a number."""

_THOUSANDS = {".": r",'’ \x{a0}\x{202f}", ",": r".'’ \x{a0}\x{202f}"}
"""Marks that may stand between thousands, by the decimal mark."""

MIN_NUMERIC = 0.9
"""A column holds numbers if at least this fraction of its cells are numbers."""

MAX_OTHER_TEXTS = 3
"""Maximum different texts in a column of numbers; they are gaps."""

_MAX_EXAMPLES = 100
"""Texts among which an example for the note is looked for."""


@dataclass(frozen=True)
class NumberFormat:
    """A format of numbers.

    decimal : the decimal mark; thousands : the marks that may stand between thousands
    note : how a column in this format is read, for the user; empty if its numbers are plain
    """

    decimal: str
    thousands: str
    note: str = ""

    def plain(self, texts: pyarrow.Array) -> pyarrow.Array:
        """Return numbers of this format without units and marks, and with a decimal point.

        Other texts become gaps.
        """
        integer = rf"\d{{1,3}}(?:[{self.thousands}]\d{{3}})+" if self.thousands else r"\d+"
        digits = (
            rf"(?:(?:{integer}|\d+)(?:[{self.decimal}]\d*)?|[{self.decimal}]\d+)(?:[eE][+-]?\d+)?"
        )
        pattern = rf"^\s*[+-]?\s*(?:{_UNIT})?\s*[+-]?{digits}\s*(?:{_UNIT})?\s*$"
        numbers = compute.if_else(compute.match_substring_regex(texts, pattern), texts, None)
        bare = compute.replace_substring_regex(numbers, rf"{_UNIT}|\s|[{self.thousands}]", "")
        return compute.replace_substring(bare, self.decimal, ".")

    def numbers(self, column: pyarrow.ChunkedArray) -> pyarrow.ChunkedArray:
        """Return the cells of a column as float64; those that are no numbers are gaps."""
        # Encoded again, since a batch may use few words of its dictionary.
        encoded = column.cast(pyarrow.string()).dictionary_encode()
        return compute.take(self.plain(encoded.dictionary).cast(pyarrow.float64()), encoded.indices)

    def of(self, column: pyarrow.ChunkedArray, *, strictly: bool) -> "NumberFormat | None":
        """Return this format with a note on a column that has it; None for another column."""
        texts, counts = compute.value_counts(column.drop_null()).flatten()
        texts = texts.cast(pyarrow.string())  # the distinct ones, fewer than rows in most columns
        plain = self.plain(texts)
        numbers = texts.filter(plain.is_valid())
        others = texts.filter(plain.is_null())
        rows = compute.sum(counts, min_count=0).as_py()
        other_rows = compute.sum(counts.filter(plain.is_null()), min_count=0).as_py()
        tolerable = (
            not strictly
            and len(others) <= MAX_OTHER_TEXTS
            and rows - other_rows >= MIN_NUMERIC * rows
        )
        if not len(numbers) or _unit_count(numbers) > 1 or (other_rows and not tolerable):
            return None
        notes = []
        changed = texts.filter(compute.not_equal(texts, plain))[:_MAX_EXAMPLES].to_pylist()
        if changed:
            example = max(changed, key=len)
            notes.append(f"{example!r} is read as {self.numbers(pyarrow.array([example]))[0]}")
        if other_rows:
            words = ", ".join(map(repr, sorted(others.to_pylist())))
            notes.append(
                f"{other_rows} cells hold {words} among numbers, and are gaps; "
                "--text reads the column as text"
            )
        return replace(self, note=", ".join(notes))


def _unit_count(texts: pyarrow.Array) -> int:
    """Return how many different units some numbers have."""
    matches = compute.extract_regex(texts, rf"(?P<unit>{_UNIT})")
    return len(compute.struct_field(matches, 0).drop_null().unique())


def number_format_of(
    parts: Iterable[pyarrow.Array],
    decimal: str | None,
    thousands: str | None,
    *,
    strictly: bool = False,
) -> NumberFormat | None:
    """Return the format in which the texts of a column are numbers; None if they are not.

    parts : Arrow arrays; decimal, thousands : the marks, if the user named them
    strictly : whether every cell must be a number
    """
    formats = [
        NumberFormat(mark, _THOUSANDS[mark] if thousands is None else re.escape(thousands))
        for mark in ([decimal] if decimal else [".", ","])
    ]

    def format_of(column: pyarrow.ChunkedArray) -> NumberFormat | None:
        """Return the first format in which a column's text can be read, or None."""
        return next(
            filter(None, (candidate.of(column, strictly=strictly) for candidate in formats)), None
        )

    parts = iter(parts)
    first = next((part for part in parts if part.null_count < len(part)), None)
    if first is None or format_of(first) is None:  # the first rows show most columns of words
        return None
    return format_of(pyarrow.chunked_array([first, *parts]).unify_dictionaries())
