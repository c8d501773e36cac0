"""The dialect of a text file, as its first lines show it: separator, header, decimal mark."""

import csv
import io
import re
from collections.abc import Sequence
from itertools import islice
from typing import NamedTuple

csv.field_size_limit(2**31 - 1)  # Python's reader takes cells as long as pyarrow's

SEPARATORS = ",;\t|"
"""Marks between values that are recognised."""

_ROWS_LOOKED_AT = 200
"""Rows, after the header, that show the decimal mark."""

_ROWS_COMPARED = 20
"""Rows that must have equally many cells if a separator is right."""


class Header(NamedTuple):
    """Names of columns, each once.

    names : those of the file; a column without one is called ``Unnamed: 3``, and the second ``x``
        is called ``x.1``
    repeated : groups of columns that have the same name in the file
    """

    names: list[str]
    repeated: list[list[str]]


def find_separator(text: str, candidates: str) -> tuple[str, list[list[str]]]:
    """Return the separator that divides the first lines most regularly, and their cells.

    text : the first lines, the last of which may be cut; candidates : characters
    """
    cells = {mark: _cells(text, mark) for mark in candidates}
    return max(cells.items(), key=lambda pair: _regularity(pair[1]))


def header_of(cells: Sequence[str]) -> Header:
    """Return the names of columns that the first row holds."""
    copies: dict[str, int] = {}  # by name, the number of its later copies
    groups: dict[str, list[str]] = {}
    for place, cell in enumerate(cells):
        name = plain = cell.strip() or f"Unnamed: {place}"
        while name in copies:
            copies[plain] += 1
            name = f"{plain}.{copies[plain]}"
        copies[name] = 0
        groups.setdefault(plain, []).append(name)
    return Header(list(copies), [names for names in groups.values() if len(names) > 1])


def names_columns(line: str, separator: str, names: Sequence[str]) -> bool:
    """Return whether the cells of a line contain some names."""
    cells = {cell.strip() for cell in next(csv.reader([line], delimiter=separator), [])}
    return cells.issuperset(names)


def has_decimal_commas(rows: Sequence[Sequence[str]], separator: str) -> bool:
    """Return whether commas are certainly decimal marks: no number has a decimal point."""
    cells = [cell.strip() for row in rows for cell in row]
    three_digits = "" if separator == ";" else r"(?!\d{3}$)"
    commas = re.compile(rf"[+-]?\d*,{three_digits}\d+([eE][+-]?\d+)?")
    points = re.compile(r"[+-]?\d*\.(?!\d{3}(,|$))\d+([eE][+-]?\d+)?")
    return any(commas.fullmatch(cell) for cell in cells) and not any(
        points.fullmatch(cell) for cell in cells
    )


def _cells(text: str, separator: str) -> list[list[str]]:
    """Return the first lines as cells, without the last line, which may be cut."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    rows = list(islice(filter(None, reader), _ROWS_LOOKED_AT + 1))
    return rows[:-1] if len(rows) > 2 else rows


def _regularity(rows: list[list[str]]) -> tuple[bool, int]:
    """Return whether all rows have one number of cells, above 1, and that of the first row."""
    widths = [len(row) for row in rows[:_ROWS_COMPARED]]
    return widths[0] > 1 and len(set(widths)) == 1, widths[0]
