"""Comma- and tab-separated text, plain or compressed, read by pyarrow: how it is written, its types, its rows."""

import codecs
import csv as lines
import io
import os
import re
import sys
import tempfile
import weakref
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import pyarrow
from pyarrow import csv, parquet

from xpnet.data import sources
from xpnet.data.files import COMPRESSED, STDIN, suffix_of
from xpnet.data.frames import TEXT, Frame, number_format_of, parquet_frame, table_frame
from xpnet.errors import DataFileError

lines.field_size_limit(2**31 - 1)  # Python's reader takes cells as long as pyarrow's

SAMPLE = 2**20
"""Bytes that are looked at first; more where a line is longer."""

GROUP = 8
"""Blocks of text, of about a megabyte, that are kept as one group of rows: few groups take little memory."""

MISSING = [
    *("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA"),
    *("NULL", "NaN", "None", "n/a", "nan", "null"),
]
"""An empty cell holds one of these: pandas' list, so that a frame read by pandas gets the same predictions."""

_MARKS = {b"\x1f\x8b": "gzip", b"BZh": "bz2", b"\x28\xb5\x2f\xfd": "zstd"}
"""Compressed content begins with these bytes."""

_BOMS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_WIDE = 2000  # columns from which on one thread converts a block: threads would each take a few of its rows
_LARGEST_BLOCK, _ROWS_IN_BLOCK = 2**28, 1024
_RETRIES = 8  # readings with other types, until all columns that may change are read as text
_CONVERSION = re.compile(r"CSV column #(\d+): CSV conversion error")

Result = TypeVar("Result")


@dataclass
class TextFile:
    """A text file or standard input, whose beginning was looked at, and which can be read more than once.

    Arguments say how it is written; None means that the file itself shows it.

    name : for messages; names : of the columns
    separator : between two values; decimal : before the fraction of a number; thousands : between thousands
    encoding : a name that Python knows; no_header : whether the first line has values, not names

    Raises DataFileError for an empty file, and for bytes of another encoding.
    """

    source: str | Path
    separator: str | None = None
    decimal: str | None = None
    thousands: str | None = None
    encoding: str | None = None
    no_header: bool = False
    default_target = None

    def __post_init__(self) -> None:
        self.path, self.gaps = Path(self.source), True
        self.name, self.compression = self.path.name, COMPRESSED.get(self.path.suffix.lower())
        self.piped: bytes | None = None
        if str(self.source) == STDIN:
            self.name, self.piped = "stdin", sys.stdin.buffer.read()
            self.compression = next((kind for mark, kind in _MARKS.items() if self.piped.startswith(mark)), None)
        text, self.encoding = self._beginning()
        told = re.fullmatch(r"\"?sep=(.)\"?", text.partition("\n")[0].rstrip("\r"))  # what Excel writes above the names
        text = text.partition("\n")[2] if told else text
        first = text.splitlines()[:200]
        if not first or not first[0].strip():
            raise DataFileError(
                f"{self.name}: the first line must name the columns; the file is empty or begins with a blank line."
            )
        usual = told[1] if told else "\t" if suffix_of(self.path) == ".tsv" else None
        parted = {mark: _rows(self.name, text, mark) for mark in self.separator or usual or ",;\t|"}
        self.separator, rows = max(parted.items(), key=_columns)
        self.longest, self.quoted = max(map(len, first)), '"' in text
        self.names, self.notes = _names(rows[0], self.no_header)
        self.told, self.header = int(told is not None), int(not self.no_header)
        if self.decimal is None and _has_decimal_commas(rows[1:], self.separator):
            self.decimal = ","
            self.notes.append("a comma stands before decimals; --decimal . if it parts thousands")

    def _content(self) -> Any:
        """Return a stream over the content, decompressed."""
        # Python opens the file, since pyarrow opens none whose name is not UTF-8.
        raw = self.path.open("rb") if self.piped is None else pyarrow.py_buffer(self.piped)
        return pyarrow.input_stream(raw, compression=self.compression)

    def _beginning(self) -> tuple[str, str]:
        """Return the first lines as text, whole ones where possible, and the encoding."""
        size = SAMPLE
        while True:
            with self._content() as stream:
                raw = bytes(stream.read(size))
            if len(raw) < size or raw.count(b"\n") + raw.count(b"\r") >= 3 or size >= _LARGEST_BLOCK:
                break
            size *= 8
        marked = next((name for mark, name in _BOMS.items() if raw.startswith(mark)), "utf-8")
        encoding = self.encoding or marked
        try:
            text = codecs.getincrementaldecoder(encoding)().decode(raw, final=len(raw) < size)
        except UnicodeDecodeError as error:
            raise _wrong_encoding(self.name, encoding, error.start) from error
        except (LookupError, TypeError, UnicodeError) as error:
            raise DataFileError(
                f"{self.name}: the encoding must be one that Python knows; received {encoding!r}."
            ) from error
        if "\0" in text:  # every second byte of UTF-16
            raise _wrong_encoding(self.name, encoding, raw.index(b"\0"))
        return text.removeprefix("\ufeff"), encoding

    def _is_larger(self, size: int) -> bool:
        """Return whether the text has more bytes than that when it is decompressed; False for what is in memory so."""
        if not self.compression:
            return self.piped is None and self.path.stat().st_size > size
        with self._content() as stream:  # a file does not say how much it unpacks to: maybe a thousand times as much
            while size >= 0 and (found := len(stream.read(2**20))):
                size -= found
        return size < 0

    def read(self, columns: Sequence[str], text: Sequence[str] = (), target: str | None = None) -> Frame:
        """Return some columns of all rows: numbers, truth values, moments, or text.

        text : columns that are read as text; target : the column of labels, which is read as text unless it
        holds fractions

        Raises DataFileError for what is no separated text, and where a disk has no room for a large file.
        """
        try:
            return self._frame(columns, text, target)
        except OSError as error:  # as of compressed content that is damaged
            raise DataFileError(f"{self.name}: the file must be readable; {error.strerror or error}.") from error

    def as_it_stands(self, columns: Sequence[str]) -> Frame:
        """Return some columns as text, in which NA is no gap. Raises DataFileError as ``read`` does."""
        self.gaps = False
        try:
            return self.read(columns, columns)
        finally:
            self.gaps = True

    def _frame(self, columns: Sequence[str], text: Sequence[str], target: str | None) -> Frame:
        types, large = self._first_types(columns, text, target), self._is_larger(sources.LARGE_TABLE)
        if large:
            frame = self._kept_as_parquet(columns, types)
        else:
            frame = table_frame(self.name, self._with_types(types, lambda: self._table(columns, types)))
        frame.notes += self.notes
        for name in columns:
            if types[name] == TEXT and name not in text and name != target:
                cells = (batch.column(0) for batch in frame.all_batches([name]))
                found = number_format_of(cells, self.decimal, self.thousands)
                if found is not None:
                    frame.notes += [f"{name}: {found.note}"] if found.note else []
                    frame.convert(name, pyarrow.float64(), found.numbers)
        return frame if large else replace(table_frame(self.name, frame.table(columns)), notes=frame.notes)

    def _first_types(self, columns: Sequence[str], text: Sequence[str], target: str | None) -> dict[str, Any]:
        """Return the types of columns as far as the beginning shows."""
        types: dict[str, Any] = dict.fromkeys(text, TEXT)

        def begin() -> Any:
            with self._stream() as stream, csv.open_csv(stream, **self._options(columns, types)) as reader:
                return reader.schema

        for column in self._with_types(types, begin):
            kind = pyarrow.float64() if pyarrow.types.is_null(column.type) else column.type
            types[column.name] = TEXT if pyarrow.types.is_string(kind) else kind
        if target is not None and (pyarrow.types.is_integer(types[target]) or pyarrow.types.is_boolean(types[target])):
            types[target] = TEXT  # labels such as 007 and FALSE stay as they are
        return types

    def _with_types(self, types: dict[str, Any], read: Callable[[], Result]) -> Result:
        """Return the result of a reading, which begins again with another type where a cell does not fit a column's."""
        retries = 0
        while True:
            try:
                return read()
            except pyarrow.ArrowInvalid as error:
                misfit = _CONVERSION.search(str(error))
                column = "" if misfit is None else self.names[int(misfit[1])]
                if misfit is None or types.get(column) in (TEXT, pyarrow.string()):
                    raise self._explained(error) from error
                types[column] = pyarrow.float64() if types.get(column) == pyarrow.int64() else TEXT
                retries += 1
                if retries > _RETRIES:
                    types.update({name: TEXT for name, kind in types.items() if kind != pyarrow.float64()})

    def _table(self, columns: Sequence[str], types: dict[str, Any]) -> pyarrow.Table:
        with self._stream() as stream:
            content = csv.read_csv(stream, **self._options(columns, types))
        if not content.num_rows:
            raise DataFileError(f"{self.name}: at least one row is needed; received none below the header.")
        last = [content.column(name)[-1].as_py() for name in columns if types[name] == TEXT]
        if any("\n" in (cell or "") for cell in last) and self._quotes() % 2:
            raise self._explained(ValueError("a quote is opened and never closed"))
        return content

    def _kept_as_parquet(self, columns: Sequence[str], types: dict[str, Any]) -> Frame:
        """Keep rows in a temporary Parquet file, which is removed with its last reader or at the end of the program."""
        usual = tempfile.gettempdir()  # which lies in memory on many systems, where it was not chosen
        place = "/var/tmp" if usual == "/tmp" and os.access("/var/tmp", os.W_OK | os.X_OK) else usual
        with ExitStack() as stack:
            folder = tempfile.TemporaryDirectory(prefix="xpnet-", dir=place, ignore_cleanup_errors=True)
            path = Path(stack.enter_context(folder)) / "rows.parquet"
            try:
                self._with_types(types, lambda: self._write(path, columns, types))
            except OSError as error:
                if error.errno is None:
                    raise
                raise DataFileError(
                    f"{self.name}: a text file this large is kept as Parquet in {place} while it is used, and that "
                    f"failed: {error.strerror}. Let TMPDIR name a folder with more room."
                ) from error
            frame = parquet_frame(path, self.name)
            weakref.finalize(frame.stored, stack.pop_all().close)
        frame.take_as_text(name for name in columns if types[name] == TEXT)
        pyarrow.default_memory_pool().release_unused()
        kept = path.stat().st_size / 1e9
        frame.notes.append(f"read by way of a Parquet file of {kept:.2f} GB in {place}, which is removed at the end")
        return frame

    def _write(self, path: Path, columns: Sequence[str], types: dict[str, Any]) -> None:
        """Write the rows as Parquet, several blocks of text in a group: each group takes memory with its readers."""
        plain = {name: pyarrow.string() if kind == TEXT else kind for name, kind in types.items()}
        words = [name for name in columns if types[name] == TEXT]  # numbers rarely repeat enough for a dictionary
        how: dict[str, Any] = {"compression": "lz4", "store_schema": False, "use_dictionary": words}
        with self._stream() as stream, closing(csv.open_csv(stream, **self._options(columns, plain))) as reader:
            with parquet.ParquetWriter(path, reader.schema, **how) as writer:
                while blocks := list(islice(reader, GROUP)):
                    writer.write_table(pyarrow.Table.from_batches(blocks))

    def _stream(self) -> Any:
        """Return a stream over the content as UTF-8."""
        stream = self._content()
        if codecs.lookup(str(self.encoding)).name == "utf-8":
            return stream
        return pyarrow.transcoding_input_stream(stream, self.encoding, "utf-8")

    def _options(self, columns: Sequence[str], types: dict[str, Any]) -> dict[str, Any]:
        """Return pyarrow's options. types : of columns; those of the others are inferred"""
        wide = len(self.names) >= _WIDE
        return {
            "read_options": csv.ReadOptions(
                use_threads=not wide,
                block_size=min(max(2**20, (_ROWS_IN_BLOCK if wide else 4) * self.longest), _LARGEST_BLOCK),
                column_names=self.names,
                skip_rows=self.told,
                skip_rows_after_names=self.header,  # which may be several lines, where a name has two
            ),
            "parse_options": csv.ParseOptions(delimiter=self.separator, newlines_in_values=self.quoted),
            "convert_options": csv.ConvertOptions(
                column_types=dict(types),
                include_columns=list(columns),
                null_values=MISSING,
                strings_can_be_null=self.gaps,
                true_values=["true", "True", "TRUE"],
                false_values=["false", "False", "FALSE"],
                decimal_point=self.decimal or ".",
                timestamp_parsers=[csv.ISO8601, "%d.%m.%Y", "%d.%m.%Y %H:%M", "%d.%m.%Y %H:%M:%S"],
            ),
        }

    def _quotes(self) -> int:
        """Count the quotes of the file."""
        with self._stream() as stream:
            return sum(bytes(block).count(b'"') for block in iter(lambda: stream.read(2**22), b""))

    def _explained(self, error: Exception) -> DataFileError:
        """Return an error that says what is wrong in the words of someone who wrote the file."""
        if "UTF8" in str(error) or "UTF-8" in str(error):
            return _wrong_encoding(self.name, "utf-8")
        due = len(self.names)
        with suppress(lines.Error), self._stream() as stream:  # pyarrow's threads do not count lines
            text = io.TextIOWrapper(stream, "utf-8", errors="replace", newline="")
            rows = lines.reader(text, delimiter=str(self.separator))
            for row in islice(rows, self.told + self.header, None):
                if len(row) not in (0, due):
                    return DataFileError(
                        f"{self.name}: every line holds {due} values, one for each column; line {rows.line_num} holds "
                        f"{len(row)}. Quote values that contain the separator."
                    )
        return DataFileError(f"{self.name}: this is not separated text: {error}. Check its quotes and line ends.")


def _names(cells: Sequence[str], no_header: bool) -> tuple[list[str], list[str]]:
    """Return the names of the columns, each once, and a note where some had to be changed."""
    if no_header:
        return [f"x{place}" for place in range(len(cells))], []
    names: list[str] = []
    for place, cell in enumerate(cells):
        name = plain = cell.strip() or f"Unnamed: {place}"
        count = 0
        while name in names:
            count += 1
            name = f"{plain}.{count}"
        names.append(name)
    renamed = [name for name, cell in zip(names, cells, strict=True) if cell.strip() and name != cell.strip()]
    return names, [f"columns of one name are told apart: {', '.join(renamed[:6])}"] if renamed else []


def _has_decimal_commas(rows: Sequence[Sequence[str]], separator: str) -> bool:
    """Return whether it is certain that a comma stands before decimals: in some numbers, and in none a point."""
    cells = [cell.strip() for row in rows for cell in row]
    three = "" if separator == ";" else r"(?!\d{3}$)"
    commas = re.compile(rf"[+-]?\d*,{three}\d+([eE][+-]?\d+)?")
    points = re.compile(r"[+-]?\d*\.(?!\d{3}(,|$))\d+([eE][+-]?\d+)?")
    return any(commas.fullmatch(cell) for cell in cells) and not any(points.fullmatch(cell) for cell in cells)


def _wrong_encoding(name: str, encoding: str, byte: int | None = None) -> DataFileError:
    """Return the error for bytes that an encoding does not have. byte : the first, counted from 0, where it is known"""
    place = "some bytes are" if byte is None else f"byte {byte} is"
    return DataFileError(
        f"{name}: text must be {encoding.upper()}; {place} not. Save it as CSV UTF-8, or name its encoding: "
        "--encoding cp1252 (Windows), latin-1, utf-16."
    )


def _rows(name: str, text: str, separator: str) -> list[list[str]]:
    """Return the first lines as cells, the last of which may be cut."""
    try:
        found = lines.reader(io.StringIO(text, newline=""), delimiter=separator)
        rows = list(islice(filter(None, found), 201))
    except lines.Error as error:
        raise DataFileError(f"{name}: this is not separated text: {error}. Check its quotes and line ends.") from error
    return rows[:-1] if len(rows) > 2 else rows


def _columns(parted: tuple[str, list[list[str]]]) -> tuple[bool, int]:
    """Return whether a mark parts the first lines alike, and into how many columns the first. parted : it, and cells"""
    widths = [len(row) for row in parted[1][:20]]
    return widths[0] > 1 and len(set(widths)) == 1, widths[0]
