"""Texts that are numbers in a form of their own: with marks between thousands, a decimal comma, a unit."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import pyarrow
from pyarrow import compute

_UNIT = r"[$€£¥%]|EUR|USD|GBP|CHF"
_THOUSANDS = {".": r",'’ \x{a0}\x{202f}", ",": r".'’ \x{a0}\x{202f}"}
"""Marks that may stand between thousands, by the mark that stands before decimals."""

MOSTLY, STRAYS = 0.9, 3
"""A column in which so large a share of the cells are numbers, and at most so many different others, holds numbers."""


@dataclass
class NumberFormat:
    """A form of numbers, and what was seen of a column in which it is looked for.

    decimal : the mark before decimals; thousands : the marks that may stand between thousands
    rows : cells that have the form; others : cells that do not; strays : some of these; units : those that were seen
    """

    decimal: str
    thousands: str
    rows: int = 0
    others: int = 0
    strays: set[str] = field(default_factory=set)
    units: set[str] = field(default_factory=set)
    marked: bool = False

    @property
    def pattern(self) -> str:
        """Return a regular expression that matches a number in this form alone."""
        whole = rf"\d{{1,3}}(?:[{self.thousands}]\d{{3}})+" if self.thousands else r"\d+"
        digits = rf"(?:(?:{whole}|\d+)(?:[{self.decimal}]\d*)?|[{self.decimal}]\d+)(?:[eE][+-]?\d+)?"
        return rf"^\s*[+-]?\s*(?:{_UNIT})?\s*[+-]?{digits}\s*(?:{_UNIT})?\s*$"

    def add(self, texts: Any, counts: Any) -> None:
        """See some cells. texts : those that differ; counts : in how many cells each stands"""
        good = compute.match_substring_regex(texts, self.pattern)
        self.rows += compute.sum(counts.filter(good)).as_py() or 0
        self.others += compute.sum(counts.filter(compute.invert(good))).as_py() or 0
        if len(self.strays) <= STRAYS:
            self.strays |= set(texts.filter(compute.invert(good)).slice(0, STRAYS + 1).to_pylist())
        found = compute.extract_regex(texts.filter(good), rf"(?P<unit>{_UNIT})").drop_null()
        self.units |= set(found.field(0).unique().to_pylist()) if len(found) else set()
        marks = rf"[{self.thousands}]\d{{3}}" if self.thousands else "x"
        self.marked |= bool(compute.any(compute.match_substring_regex(texts.filter(good), marks)).as_py())

    def fits(self, *, strictly: bool) -> bool:
        """Return whether the column holds numbers in this form. strictly : whether all cells must have it"""
        if not self.rows or len(self.units) > 1:
            return False
        mostly = self.rows >= MOSTLY * (self.rows + self.others) and len(self.strays) <= STRAYS
        return not self.others or (mostly and not strictly)

    def numbers(self, column: Any) -> Any:
        """Return the cells of a column as float64; those that are no numbers are gaps."""
        encoded = column if pyarrow.types.is_dictionary(column.type) else column.dictionary_encode()
        return compute.take(self._converted(encoded.dictionary), encoded.indices)

    def _converted(self, texts: Any) -> Any:
        texts = texts.cast(pyarrow.string())
        known = compute.if_else(compute.match_substring_regex(texts, self.pattern), texts, None)
        bare = compute.replace_substring_regex(known, rf"{_UNIT}|\s|[{self.thousands}]", "")
        return compute.replace_substring(bare, self.decimal, ".").cast(pyarrow.float64())

    @property
    def note(self) -> str:
        """Tell the user how the column was read; the note is empty where the numbers are plain."""
        notes = [f"{unit} is taken out" for unit in sorted(self.units)]
        notes += ["a comma stands before the decimals"] if self.decimal == "," else []
        notes += ["marks between thousands are taken out"] if self.marked else []
        if self.others:
            words = ", ".join(map(repr, sorted(self.strays)))
            notes.append(f"{self.others} cells hold {words} among numbers, and are gaps; --text takes all as text")
        return ", ".join(notes)


def number_format_of(
    parts: Iterable[Any], decimal: str | None, thousands: str | None, *, strictly: bool = False
) -> NumberFormat | None:
    """Return the form in which the texts of a column are numbers; None where they are not.

    parts : arrays of Arrow's; decimal, thousands : the marks where the user named them
    strictly : whether every cell must be a number
    """
    marks = {decimal} if decimal else {".", ","}
    forms = [
        NumberFormat(mark, _THOUSANDS[mark] if thousands is None else thousands) for mark in (".", ",") if mark in marks
    ]
    for part in parts:
        counted = compute.value_counts(part.drop_null())
        texts = counted.field(0)
        texts = texts.dictionary_decode() if pyarrow.types.is_dictionary(texts.type) else texts
        for form in forms:
            form.add(texts.cast(pyarrow.string()), counted.field(1))
        forms = [form for form in forms if form.fits(strictly=strictly) or not form.rows + form.others]
        if not forms:
            return None
    return next((form for form in forms if form.fits(strictly=strictly)), None)
