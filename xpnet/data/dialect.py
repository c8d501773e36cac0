"""How a text file is written, learned from its beginning: separator, encoding, names, columns of numbers."""

import codecs
import csv
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from xpnet.data.content import Content
from xpnet.data.table import Dialect, numbered
from xpnet.errors import DataFileError

SAMPLE = 2**20
"""Bytes that are looked at first; more where a line is longer."""

_CELLS = 200_000  # looked at to guess which columns hold numbers
_SEPARATOR_LINE = re.compile(r"\"?sep=(.)\"?")  # what Excel understands, above the names
_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
MISSING = [
    *("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA"),
    *("NULL", "NaN", "None", "n/a", "nan", "null"),
]
"""What stands in an empty cell: pandas' list, so that a frame read by pandas gets the same predictions."""


@dataclass(frozen=True)
class Written:
    """What was learned of a text file.

    header : names of the columns; above : lines above the first row, that of the names among them
    decimal : what stands before the fraction of a number, where that is plain; None where each column must show it
    numbers : whether each column's first cells are numbers; line : bytes of the longest of the first lines
    quoted : whether there are quotes, which may hide line ends
    """

    separator: str
    encoding: str
    header: list[str]
    above: int
    decimal: str | None
    numbers: list[bool]
    line: int
    quoted: bool


def learn(content: Content, dialect: Dialect) -> Written:
    """How a text file is written, as far as the user did not say.

    Raises DataFileError for an empty file, for bytes of another encoding, and for an encoding that Python lacks.
    """
    text, encoding = _beginning(content, dialect.encoding)
    told = _SEPARATOR_LINE.fullmatch(text.partition("\n")[0].rstrip("\r"))
    text = text.partition("\n")[2] if told else text
    lines = text.splitlines()
    if not lines or not lines[0].strip():
        raise DataFileError(
            f"{content.name}: the first line must name the columns; the file is empty or begins with a blank line."
        )
    usual = told[1] if told else "\t" if content.suffix == ".tsv" else None
    separator = dialect.separator or usual or _separator(lines[:20])
    rows = _rows(content.name, text, separator)
    first = [cell.strip() for cell in rows[0]]
    header = [name or f"Unnamed: {k}" for k, name in enumerate(first)] if dialect.header else numbered(len(first))
    body = rows[1:] if dialect.header else rows
    longest, quoted = max(map(len, lines[: len(rows)])), '"' in text
    # Without quotes no cell holds the separator.
    decimal = dialect.decimal or (_decimal(body, separator) if separator != "," or quoted else None)
    numbers = [_are_numbers([row[k] for row in body if k < len(row)], decimal or ".") for k in range(len(header))]
    above = int(told is not None) + int(dialect.header)
    return Written(separator, encoding, header, above, decimal, numbers, longest, quoted)


def _plainly(mark: str, other: str) -> re.Pattern[str]:
    """Numbers of which the mark can only stand before decimals, and not between thousands."""
    digits = rf"(0|[1-9]\d*)?{mark}(\d{{1,2}}|\d{{4,}})|0{mark}\d+|\d{{1,3}}({other}\d{{3}})+{mark}\d+"
    return re.compile(rf"[+-]?({digits})([eE][+-]?\d+)?")


_COMMA, _POINT = _plainly(",", r"[.'’ \xa0\u202f]"), _plainly(r"\.", "[,'’]")
_EITHER = re.compile(r"[+-]?\d{1,3}(,\d{3})+")


def _decimal(rows: Sequence[Sequence[str]], separator: str) -> str | None:
    """A comma where numbers have one before their decimals and none has a point there; None otherwise.

    Beside semicolons a comma that could stand between thousands, as in 1,234, counts too.
    """
    found = False
    for row in rows:
        for cell in row:
            if _POINT.fullmatch(bare := bare_number(cell)):
                return None
            if not found and "," in bare:
                found = bool(_COMMA.fullmatch(bare) or (separator == ";" and _EITHER.fullmatch(bare)))
    return "," if found else None


def bare_number(cell: str) -> str:
    """A cell without space around it, and without the sign of a unit before or behind its number."""
    return cell.strip().strip("%$€£¥").strip()


def _beginning(content: Content, encoding: str | None) -> tuple[str, str]:
    """The first lines as text, whole ones where possible, and the encoding."""
    size = SAMPLE
    raw = content.beginning(size)
    while len(raw) == size and raw.count(b"\n") + raw.count(b"\r") < 3 and size < 2**28:
        size *= 8
        raw = content.beginning(size)
    marked = next((name for mark, name in _MARKS.items() if raw.startswith(mark)), None)
    chosen = encoding or marked or "utf-8"
    try:
        text = codecs.getincrementaldecoder(chosen)().decode(raw, final=len(raw) < size)
    except UnicodeDecodeError as error:
        raise wrong_encoding(content.name, chosen, error.start) from error
    except (LookupError, TypeError, UnicodeError) as error:
        raise DataFileError(
            f"{content.name}: the encoding must be one that Python knows; received {chosen!r}."
        ) from error
    if "\0" in text:  # every second byte of UTF-16
        raise wrong_encoding(content.name, chosen, raw.index(b"\0"))
    return text.removeprefix("\ufeff"), chosen


def wrong_encoding(name: str, encoding: str, byte: int) -> DataFileError:
    """The error for a byte that an encoding does not have; ``byte`` counts from 0."""
    return DataFileError(
        f"{name}: text must be {encoding.upper()}; byte {byte} is not. Save it as CSV UTF-8, or name its encoding: "
        "--encoding cp1252 (Windows), latin-1, utf-16."
    )


def _separator(lines: Sequence[str]) -> str:
    """The mark that parts the first line into most columns; one that parts all lines alike goes before others."""
    whole = lines[:-1] if len(lines) > 2 else lines

    def quality(mark: str) -> tuple[bool, int]:
        with _long_cells():
            widths = [len(row) for row in csv.reader(whole, delimiter=mark) if row]
        return len(set(widths)) == 1, widths[0] if widths else 0

    found = {mark: quality(mark) for mark in ",;\t|" if mark in whole[0]}
    several = {mark: how for mark, how in found.items() if how[1] > 1}
    return max(several, key=lambda mark: several[mark]) if several else ","


def _rows(name: str, text: str, separator: str) -> list[list[str]]:
    """The first lines as cells; the last, which may be cut, only where there is no other below the header."""
    rows, cells = [], 0
    try:
        with _long_cells():
            for row in csv.reader(io.StringIO(text, newline=""), delimiter=separator):
                rows += [row] if row else []
                cells += len(row)
                if cells > _CELLS:
                    break
    except csv.Error as error:
        raise DataFileError(f"{name}: this is not separated text: {error}. Check its quotes and line ends.") from error
    return rows[:-1] if len(rows) > 2 else rows


@contextmanager
def _long_cells() -> Iterator[None]:
    """Let Python's reader pass over cells of any length, which the sample's length bounds."""
    limit = csv.field_size_limit(2**31 - 1)
    try:
        yield
    finally:
        csv.field_size_limit(limit)


def _are_numbers(cells: Sequence[str], decimal: str) -> bool:
    """Whether every cell that is not empty is a number as C writes it; so are none."""
    for cell in cells:
        bare = cell.strip()
        if bare in MISSING:
            continue
        if "_" in bare or (decimal != "." and "." in bare) or not is_number(bare.replace(decimal, ".")):
            return False
    return True


def is_number(text: str) -> bool:
    """Whether Python reads it as a float."""
    try:
        float(text)
    except ValueError:
        return False
    return True
