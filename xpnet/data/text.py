"""Comma- and tab-separated text: a header, then one line a row. Read with the standard library, line by line."""

import csv
from array import array
from collections.abc import Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any, TextIO

import numpy

from xpnet.data.labels import as_labels
from xpnet.data.table import Columns, Table, check_numbers, need_target, not_a_number, pick_columns
from xpnet.errors import DataFileError


def read_text(path: Path, target: str | None, features: Sequence[str] | None, *, labelled: bool) -> Table:
    """A .csv or .tsv file (UTF-8) as a table; X is float64.

    Raises DataFileError for ragged lines, text where numbers should be, empty cells, and bytes that are not UTF-8.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as lines:
            return _read(path.name, lines, path.suffix.lower(), target, features, labelled)
    except UnicodeDecodeError as error:
        raise DataFileError(
            f"{path.name}: text must be UTF-8; byte {error.start} is not. Save it as UTF-8 (CSV UTF-8)."
        ) from error
    except csv.Error as error:
        raise DataFileError(
            f"{path.name}: this is not separated text: {error}. Check its quotes and line ends."
        ) from error


def _read(
    name: str, lines: TextIO, suffix: str, target: str | None, features: Sequence[str] | None, labelled: bool
) -> Table:
    first = lines.readline()
    if not first.strip():
        raise DataFileError(
            f"{name}: the first line must name the columns; the file is empty or begins with a blank line."
        )
    lines.seek(0)
    reader = csv.reader(lines, delimiter=_delimiter(first, suffix), strict=True)
    header = [column.strip() for column in next(reader)]
    wanted = need_target(name, target, header) if labelled else None
    columns = pick_columns(name, header, wanted, features)
    X, labels = _cells(name, header, columns, _rows(name, header, reader))
    check_numbers(name, X, columns.features)
    if wanted is None:
        return Table(name, X, columns.features)
    return Table(name, X, columns.features, as_labels(name, wanted, labels), wanted)


def _delimiter(header: str, suffix: str) -> str:
    """A tab in .tsv; in .csv a comma, or the semicolon or tab that some spreadsheets write in its place."""
    if suffix == ".tsv":
        return "\t"
    return max(",;\t", key=header.count)


def _rows(name: str, header: list[str], reader: Any) -> Iterator[list[str]]:
    """The lines below the header, blank ones left out, each as long as the header."""
    for row in reader:
        if not row:
            continue
        if len(row) != len(header):
            raise DataFileError(
                f"{name}: every line holds {len(header)} values, one for each column; line {reader.line_num} holds "
                f"{len(row)}. Quote values that contain the separator."
            )
        yield row


def _cells(
    name: str, header: list[str], columns: Columns, rows: Iterator[list[str]]
) -> tuple[numpy.ndarray, list[str]]:
    """The numbers (rows, features) and the text of the labels."""
    places = [header.index(column) for column in columns.features]
    pick = itemgetter(*places) if len(places) > 1 else lambda row: (row[places[0]],)
    label = None if columns.target is None else header.index(columns.target)
    numbers, labels = array("d"), []
    for count, row in enumerate(rows):
        try:
            numbers.extend(map(float, pick(row)))
        except ValueError:
            raise _first_bad(name, columns.features, pick(row), count) from None
        if label is not None:
            labels.append(row[label])
    return numpy.frombuffer(numbers).reshape(-1, len(places)), labels


def _first_bad(name: str, features: list[str], cells: Sequence[str], row: int) -> DataFileError:
    for feature, cell in zip(features, cells, strict=True):
        try:
            float(cell)
        except ValueError:
            return not_a_number(name, feature, row, cell)
    raise AssertionError("called for a row that holds numbers only")
