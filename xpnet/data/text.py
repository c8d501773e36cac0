"""Comma- and tab-separated text, plain or compressed, read by pyarrow: how it is written, its types, its rows."""

import codecs
import csv as lines
import io
import os
import re
import sys
import tempfile
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, islice
from pathlib import Path
from typing import Any, TypeVar

import numpy
import pyarrow
from pyarrow import csv, parquet, types

from xpnet.data import sources
from xpnet.data.bad_bytes import KEEP_BYTES, holds_bad_bytes, raise_for_bad_bytes
from xpnet.data.files import COMPRESSED, STDIN, reading, suffix_of
from xpnet.data.frames import ROWS, Frame, number_format_of, parquet_frame

lines.field_size_limit(2**31 - 1)  # Python's reader takes cells as long as pyarrow's

SAMPLE, LONGEST = 2**19, 2**24
"""Characters that are looked at first, behind three lines of fewer than so many."""

GROUP = 8
"""Blocks of text, of about a megabyte, that are kept as one group of rows: few groups take little memory."""

MISSING = [*csv.ConvertOptions().null_values, "<NA>", "None"]
"""An empty cell holds one of these: pandas' list, so that a frame read by pandas gets the same predictions."""

REMEDY = (
    "Quote values that hold the separator or a line end; --encoding names another encoding than UTF-8, such as cp1252 "
    "(Windows), latin-1 or utf-16"
)

_MARKS = {b"\x1f\x8b": "gzip", b"BZh": "bz2", b"\x28\xb5\x2f\xfd": "zstd"}
"""Compressed content begins with these bytes."""

_RETRIES = 8  # readings with other types, until all columns that may change are read as text

STRING = pyarrow.string()

Result = TypeVar("Result")

Opened = Callable[[dict[str, Any]], AbstractContextManager[csv.CSVStreamingReader]]
"""Opens a reader of some columns, whose types it is given."""


class ZeroByteError(ValueError):
    """Text holds a zero byte."""


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
        self.path, self.piped = Path(self.source), b""
        self.name, self.compression = self.path.name, COMPRESSED.get(self.path.suffix.lower())
        if str(self.source) == STDIN:
            self.name, self.piped = "stdin", sys.stdin.buffer.read()
            self.compression = next(
                (kind for mark, kind in _MARKS.items() if self.piped.startswith(mark)), None
            )
        with reading(self.name, REMEDY):
            text = self._beginning()
            usual = "\t" if suffix_of(self.path) == ".tsv" else ",;\t|"
            parted = {mark: _rows(text, mark) for mark in self.separator or usual}
        self.separator, rows = max(parted.items(), key=_columns)
        self.looked_at, self.quoted = len(text), '"' in text
        self.names = (
            [f"x{place}" for place in range(len(rows[0]))] if self.no_header else _names(rows[0])
        )
        if holds_bad_bytes(text):
            self._raise_for_bad_bytes()
        self.notes = []
        if self.decimal is None and _has_decimal_commas(rows[1:], self.separator):
            self.decimal = ","
            self.notes.append("a comma stands before decimals; --decimal . if it parts thousands")

    def _content(self) -> Any:
        """Return a stream over the content, decompressed."""
        # Python opens the file, since pyarrow opens none whose name is not UTF-8.
        raw = pyarrow.py_buffer(self.piped) if str(self.source) == STDIN else self.path.open("rb")
        return pyarrow.input_stream(raw, compression=self.compression)

    def _beginning(self) -> str:
        """Return the first lines, the last of which may be cut. The encoding is what their first bytes say."""
        with self._content() as stream:
            mark = stream.read(2)
        self.encoding = self.encoding or (
            "utf-16" if mark in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8"
        )
        with (
            self._content() as stream,
            io.TextIOWrapper(stream, self.encoding, errors=KEEP_BYTES, newline="") as text,
        ):
            first = [text.readline(LONGEST) for _ in range(3)]
            found = "".join(first) + text.read(SAMPLE)
        if max(map(len, first)) == LONGEST:
            raise ValueError(f"a line has {LONGEST:,} characters, or more")
        if not found.partition("\n")[0].strip():
            raise ValueError(
                "the first line must name the columns; it is blank, or the file is empty"
            )
        return found.removeprefix("\ufeff")

    @contextmanager
    def _bad_bytes_located(self) -> Iterator[None]:
        """Raise DataFileError with row and column in place of errors about bytes."""
        try:
            yield
        except (UnicodeDecodeError, ZeroByteError):
            self._raise_for_bad_bytes()
            raise
        except pyarrow.ArrowInvalid as error:
            if "invalid UTF8" in str(error):
                self._raise_for_bad_bytes()
            raise

    def _raise_for_bad_bytes(self) -> None:
        """Raise DataFileError for the first cell with bytes that are not text, if there is one."""
        with self._content() as stream:
            raise_for_bad_bytes(
                stream,
                name=self.name,
                encoding=str(self.encoding),
                separator=str(self.separator),
                names=self.names,
            )

    def read(
        self,
        columns: Sequence[str],
        text: Sequence[str] = (),
        target: str | None = None,
        *,
        gaps: bool = True,
    ) -> Frame:
        """Return some columns of all rows: numbers, truth values, moments, or text.

        text : columns that are read as text; target : the column of labels, which is read as text unless it
        holds fractions; gaps : whether words such as NA are gaps in text, too

        Raises DataFileError for what is no separated text, and where a disk has no room for a large file.
        """
        with reading(self.name, REMEDY), self._bad_bytes_located():
            opened = partial(self._opened, list(columns), gaps)
            kinds = _first_kinds(opened, text, target)
            with self._content() as stream:  # which a file may unpack to a thousand times its size
                sizes = accumulate(len(part) for part in iter(lambda: stream.read(2**20), b""))
                large = any(size > sources.LARGE_TABLE for size in sizes)
            frame = (
                self._kept_as_parquet(opened, kinds) if large else self._in_memory(opened, kinds)
            )
            words = [name for name in columns if kinds[name] == STRING]
            self._check_end(frame, words)
            frame.notes += self.notes
            frame.take_as_text(words)
            for name in [word for word in words if word not in (*text, target)]:
                cells = (batch.column(0) for batch in frame.all_batches([name]))
                found = number_format_of(cells, self.decimal, self.thousands)
                if found is not None:
                    frame.notes += [f"{name}: {found.note}"] if found.note else []
                    frame.convert(name, pyarrow.float64(), found.numbers)
            return frame

    @contextmanager
    def _opened(
        self, columns: list[str], gaps: bool, kinds: dict[str, Any]
    ) -> Iterator[csv.CSVStreamingReader]:
        """Open a reader of some columns. kinds : types of columns; those of the others are inferred"""
        # The first block shows the types of many columns, and long lines fit. One thread knows which row is wrong.
        how = csv.ReadOptions(
            use_threads=False,
            block_size=min(max(2 * self.looked_at, 2**13 * len(self.names)), 2**28),
            column_names=self.names,
            skip_rows_after_names=int(
                not self.no_header
            ),  # which may be several lines, where a name has two
            encoding=self.encoding,
        )
        form = csv.ParseOptions(delimiter=self.separator, newlines_in_values=self.quoted)
        cells = csv.ConvertOptions(
            column_types=kinds,
            include_columns=columns,
            null_values=MISSING,
            strings_can_be_null=gaps,
            decimal_point=self.decimal or ".",
            timestamp_parsers=[csv.ISO8601, "%d.%m.%Y", "%d.%m.%Y %H:%M", "%d.%m.%Y %H:%M:%S"],
        )
        with self._content() as stream, csv.open_csv(stream, how, form, cells) as reader:
            yield reader

    def _in_memory(self, opened: Opened, kinds: dict[str, Any]) -> Frame:
        """Return the frame of all rows."""
        table = self._retried(opened, kinds, _whole_table)
        starts = numpy.asarray([0, table.num_rows])
        return Frame(
            self.name,
            table.schema,
            starts,
            lambda _, columns: table.select(columns).to_batches(ROWS),
        )

    def _kept_as_parquet(self, opened: Opened, kinds: dict[str, Any]) -> Frame:
        """Keep rows in a temporary Parquet file, which is removed with its last reader or at the end of the program."""
        usual = (
            tempfile.gettempdir()
        )  # which lies in memory on many systems, where it was not chosen
        place = (
            "/var/tmp" if usual == "/tmp" and os.access("/var/tmp", os.W_OK | os.X_OK) else usual
        )
        remedy = f"{REMEDY}; a file this large is kept as Parquet in {place} meanwhile, TMPDIR names a folder with room"
        with ExitStack() as stack, reading(self.name, remedy), self._bad_bytes_located():
            folder = tempfile.TemporaryDirectory(
                prefix="xpnet-", dir=place, ignore_cleanup_errors=True
            )
            path = Path(stack.enter_context(folder)) / "rows.parquet"
            self._retried(opened, kinds, partial(_write, path))
            frame = parquet_frame(path, self.name)
            weakref.finalize(frame.stored, stack.pop_all().close)
        pyarrow.default_memory_pool().release_unused()
        frame.notes.append(f"read by way of a Parquet file in {place}, which is removed at the end")
        return frame

    def _retried(
        self, opened: Opened, kinds: dict[str, Any], take: Callable[..., Result]
    ) -> Result:
        """Return what is taken of a reader. It begins again with another type where a cell does not fit a column's."""
        retries = 0
        while True:
            try:
                with opened(kinds) as reader:
                    return take(reader)
            except pyarrow.ArrowInvalid as error:
                misfit = re.search(
                    r"CSV column #(\d+): (Row #\d+: )?CSV conversion error", str(error)
                )
                name = "" if misfit is None else self.names[int(misfit[1])]
                if kinds.get(name, STRING) == STRING:
                    raise
                kinds[name] = pyarrow.float64() if kinds[name] == pyarrow.int64() else STRING
                retries += 1
                if retries > _RETRIES:
                    kinds.update(
                        {name: STRING for name, kind in kinds.items() if kind != pyarrow.float64()}
                    )

    def _check_end(self, frame: Frame, words: Sequence[str]) -> None:
        """Raise an error for a file without rows, and where the last cell is open and holds the lines that follow."""
        if not frame.rows:
            raise ValueError("it has no row below the header")
        *_, last = frame.stored(frame.blocks - 1, words or frame.names)
        if any("\n" in str(column[-1]) for column in last.columns):
            with self._content() as stream:
                quotes = sum(part.count(b'"') for part in iter(lambda: stream.read(2**20), b""))
            if quotes % 2:
                raise ValueError("a quote is opened and never closed")


def _first_kinds(opened: Opened, text: Sequence[str], target: str | None) -> dict[str, Any]:
    """Return the types of columns as far as the beginning shows."""
    with opened(dict.fromkeys(text, STRING)) as reader:
        kinds = {column.name: _kind_to_read(column.type) for column in reader.schema}
    if target is not None and (types.is_integer(kinds[target]) or types.is_boolean(kinds[target])):
        kinds[target] = STRING  # labels such as 007 and FALSE stay as they are
    return kinds


def _kind_to_read(inferred: Any) -> Any:
    """Return the type in which a column is read whose first cells seem to have another one."""
    if types.is_null(inferred):  # a column of gaps may hold numbers later
        return pyarrow.float64()
    if types.is_binary(inferred):  # text of another encoding, which is an error when it is read
        return STRING
    return inferred


def _batches(reader: csv.CSVStreamingReader) -> Iterator[pyarrow.RecordBatch]:
    """Yield the rows of a reader, some thousand at a time; raise ZeroByteError for text with one."""
    for batch in reader:
        for column in batch.columns:
            if column.type == STRING and _holds_zero_byte(column):
                raise ZeroByteError("text cannot hold a zero byte")
        yield batch


def _holds_zero_byte(column: Any) -> bool:
    """Return whether some cell of an array of text has a zero byte."""
    content = column.buffers()[2]
    return content is not None and b"\0" in content.to_pybytes()


def _whole_table(reader: csv.CSVStreamingReader) -> pyarrow.Table:
    """Return all rows of a reader."""
    return pyarrow.Table.from_batches(_batches(reader), reader.schema)


def _write(path: Path, reader: csv.CSVStreamingReader) -> None:
    """Write rows as Parquet, several blocks of text in a group: each group takes memory with its readers."""
    words = [
        column.name for column in reader.schema if column.type == STRING
    ]  # other columns rarely repeat enough
    how: dict[str, Any] = {"compression": "lz4", "store_schema": False, "use_dictionary": words}
    with parquet.ParquetWriter(path, reader.schema, **how) as writer:
        checked = _batches(reader)
        while blocks := list(islice(checked, GROUP)):
            writer.write_table(pyarrow.Table.from_batches(blocks))


def _names(cells: Sequence[str]) -> list[str]:
    """Return the names of the columns, each once."""
    names: dict[str, int] = {}  # each with how often it has come again
    for place, cell in enumerate(cells):
        name = plain = cell.strip() or f"Unnamed: {place}"
        while name in names:
            names[plain] += 1
            name = f"{plain}.{names[plain]}"
        names[name] = 0
    return list(names)


def _has_decimal_commas(rows: Sequence[Sequence[str]], separator: str) -> bool:
    """Return whether it is certain that a comma stands before decimals: in some numbers, and in none a point."""
    cells = [cell.strip() for row in rows for cell in row]
    three = "" if separator == ";" else r"(?!\d{3}$)"
    commas = re.compile(rf"[+-]?\d*,{three}\d+([eE][+-]?\d+)?")
    points = re.compile(r"[+-]?\d*\.(?!\d{3}(,|$))\d+([eE][+-]?\d+)?")
    return any(commas.fullmatch(cell) for cell in cells) and not any(
        points.fullmatch(cell) for cell in cells
    )


def _rows(text: str, separator: str) -> list[list[str]]:
    """Return the first lines as cells, the last of which may be cut."""
    rows = list(
        islice(filter(None, lines.reader(io.StringIO(text, newline=""), delimiter=separator)), 201)
    )
    return rows[:-1] if len(rows) > 2 else rows


def _columns(parted: tuple[str, list[list[str]]]) -> tuple[bool, int]:
    """Return whether a mark parts the first lines alike, and into how many columns the first. parted : it, and cells"""
    widths = [len(row) for row in parted[1][:20]]
    return widths[0] > 1 and len(set(widths)) == 1, widths[0]
