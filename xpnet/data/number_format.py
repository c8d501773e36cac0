"""Texts that are numbers in a form of their own: with marks between thousands, a decimal comma, a unit."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import pyarrow
from pyarrow import compute

_UNIT = r"[$€£¥%]|EUR|USD|GBP|CHF"
_THOUSANDS = {".": r",'’ \x{a0}\x{202f}", ",": r".'’ \x{a0}\x{202f}"}
"""Marks that may stand between thousands, by the mark that stands before decimals."""

MOSTLY, STRAYS = 0.9, 3
"""A column in which so large a share of the cells are numbers, and at most so many different others, holds numbers."""


@dataclass(frozen=True)
class NumberFormat:
    """A form of numbers.

    decimal : the mark before decimals; thousands : the marks that may stand between thousands
    note : how a column in this form was read, for the user; empty where its numbers are plain
    """

    decimal: str
    thousands: str
    note: str = ""

    @property
    def pattern(self) -> str:
        """Return a regular expression that matches a number in this form alone."""
        whole = rf"\d{{1,3}}(?:[{self.thousands}]\d{{3}})+" if self.thousands else r"\d+"
        digits = rf"(?:(?:{whole}|\d+)(?:[{self.decimal}]\d*)?|[{self.decimal}]\d+)(?:[eE][+-]?\d+)?"
        return rf"^\s*[+-]?\s*(?:{_UNIT})?\s*[+-]?{digits}\s*(?:{_UNIT})?\s*$"

    def numbers(self, column: Any) -> Any:
        """Return the cells of a column as float64; those that are no numbers are gaps."""
        encoded = column if pyarrow.types.is_dictionary(column.type) else column.dictionary_encode()
        return compute.take(self._converted(encoded.dictionary), encoded.indices)

    def _converted(self, texts: Any) -> Any:
        texts = texts.cast(pyarrow.string())
        known = compute.if_else(compute.match_substring_regex(texts, self.pattern), texts, None)
        bare = compute.replace_substring_regex(known, rf"{_UNIT}|\s|[{self.thousands}]", "")
        return compute.replace_substring(bare, self.decimal, ".").cast(pyarrow.float64())

    def of(self, texts: Any, counts: Any, *, strictly: bool) -> "NumberFormat | None":
        """Return this form with a note on a column that has it; None for a column that has not.

        texts : those that differ; counts : in how many cells each stands
        """
        good = compute.match_substring_regex(texts, self.pattern)
        right, strays = texts.filter(good), texts.filter(compute.invert(good))
        rows, others = (compute.sum(counts.filter(part)).as_py() or 0 for part in (good, compute.invert(good)))
        found = compute.extract_regex(right, rf"(?P<unit>{_UNIT})").drop_null()
        units = set(compute.struct_field(found, 0).to_pylist())
        few = not strictly and len(strays) <= STRAYS and rows >= MOSTLY * (rows + others)
        if not rows or len(units) > 1 or (others and not few):
            return None
        notes = [f"{unit} is taken out" for unit in units]
        notes += ["a comma stands before the decimals"] if self.decimal == "," else []
        marks = rf"[{self.thousands}]\d{{3}}" if self.thousands else "x"
        if compute.any(compute.match_substring_regex(right, marks)).as_py():
            notes.append("marks between thousands are taken out")
        if others:
            words = ", ".join(map(repr, sorted(strays.to_pylist())))
            notes.append(f"{others} cells hold {words} among numbers, and are gaps; --text takes all as text")
        return replace(self, note=", ".join(notes))


def number_format_of(
    parts: Iterable[Any], decimal: str | None, thousands: str | None, *, strictly: bool = False
) -> NumberFormat | None:
    """Return the form in which the texts of a column are numbers; None where they are not.

    parts : arrays of Arrow's; decimal, thousands : the marks where the user named them
    strictly : whether every cell must be a number
    """
    marks = [decimal] if decimal else [".", ","]
    forms = [NumberFormat(mark, _THOUSANDS[mark] if thousands is None else thousands) for mark in marks]
    parts = iter(parts)
    first = next((part for part in parts if part.null_count < len(part)), None)
    if first is None or _fitting(forms, first, strictly) is None:  # most columns of words are told by their first rows
        return None
    return _fitting(forms, pyarrow.chunked_array([first, *parts]).unify_dictionaries(), strictly)


def _fitting(forms: list[NumberFormat], column: Any, strictly: bool) -> NumberFormat | None:
    """Return the first form that a column has, with a note; None where it has none of them."""
    counted = compute.value_counts(column.drop_null())
    texts = counted.field(0)
    texts = texts.dictionary_decode() if pyarrow.types.is_dictionary(texts.type) else texts
    found = (form.of(texts.cast(pyarrow.string()), counted.field(1), strictly=strictly) for form in forms)
    return next((form for form in found if form is not None), None)
