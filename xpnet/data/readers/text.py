"""Comma- and tab-separated text, plain or compressed, read by pyarrow."""

import codecs
import io
import mmap
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
from typing import NamedTuple, TypeVar

import numpy
import pyarrow
from pyarrow import csv, parquet, types

from xpnet.data import table_size
from xpnet.data.cells.gaps import MISSING
from xpnet.data.cells.numbers import Decimal
from xpnet.data.frames import BATCH_ROWS, Frame
from xpnet.data.readers.bad_bytes import KEEP_BYTES, holds_bad_bytes, raise_for_bad_bytes
from xpnet.data.readers.digit_names import columns_of_names, large_columns, may_begin_with_zero
from xpnet.data.readers.file_errors import reading
from xpnet.data.readers.names import COMPRESSED, STDIN, format_suffix
from xpnet.data.readers.parquet_frames import parquet_frame
from xpnet.data.readers.text_dialect import (
    SEPARATORS,
    find_separator,
    has_decimal_commas,
    header_of,
    names_columns,
)
from xpnet.errors import DataFileError

SAMPLE = 2**19
"""Characters after the first three lines that are looked at before the file is read."""

SAMPLE_OF_LINES = 2**14
"""Characters of the first lines in which a header is searched that is not the first line."""

MAX_LINE = 2**24
"""Maximum characters of a line."""

MIN_BLOCK_BYTES_PER_COLUMN = 2**13
"""Bytes of a block of text for each column, so that the block shows the types of many columns."""

MAX_BLOCK_BYTES = 2**28
"""Maximum bytes of a block of text."""

GROUP_BLOCKS = 8
"""Blocks of text, of about a megabyte, that become one group of Parquet rows.

Few groups take little memory.
"""

MAX_GROWTH = 3
"""Maximum number of bytes in UTF-8 of a byte of another encoding: the euro sign has 3, not 1."""

PART_BYTES = 2**20
"""Bytes that are read at a time where content is counted."""

REMEDY = "Correct that row, or quote values that hold the separator or a line end"
"""The remedy that an error names for a row that cannot be read."""

_MARKS = {b"\x1f\x8b": "gzip", b"BZh": "bz2", b"\x28\xb5\x2f\xfd": "zstd"}
"""First bytes of compressed content."""

_MAX_RETRIES = 8
"""Readings with other types, after which all columns whose type may change are read as text."""

STRING = pyarrow.string()

Result = TypeVar("Result")

OpenReader = Callable[[dict[str, pyarrow.DataType]], AbstractContextManager[csv.CSVStreamingReader]]
"""Opens a reader of some columns, for types by column; other types are inferred."""


class NoRowsError(DataFileError):
    """A file has a header and no rows. file : the file, whose names of columns are known"""

    def __init__(self, file: "TextFile") -> None:
        super().__init__(
            f"{file.name} has a header and no rows. Give a file with rows below the header."
        )
        self.file = file


class ZeroByteError(ValueError):
    """Text holds a zero byte."""


class FirstReading(NamedTuple):
    """What pyarrow infers of the columns of a file.

    schema : the types that the first block shows
    table : all rows in these types, where they are one block; None for more blocks
    """

    schema: pyarrow.Schema
    table: pyarrow.Table | None


@dataclass
class TextFile:
    """A text file or standard input, whose beginning was looked at, and which can be read again.

    Arguments say how it is written; None means that the file itself shows it.

    separator : between two values; decimal : before the fraction of a number
    thousands : between thousands; encoding : a name that Python knows
    no_header : whether the first line has values, not names
    skip_rows : number of lines above the header, or above the first row, which are not read

    name : for messages; names : of the columns
    repeated_names : groups of columns that have one name in the file
    notes : sentences for the user about how the file is read
    digit_names : columns of digits that are read as text, with an example of each

    Raises DataFileError for an empty file, and for bytes of another encoding.
    """

    source: str | Path
    separator: str | None = None
    decimal: Decimal | None = None
    thousands: str | None = None
    encoding: str | None = None
    no_header: bool = False
    skip_rows: int = 0
    default_target = None

    def __post_init__(self) -> None:
        self.path: Path = Path(self.source)
        self.piped: bytes = b""
        self.name: str = self.path.name
        self.compression: str | None = COMPRESSED.get(self.path.suffix.lower())
        if str(self.source) == STDIN:
            self.name = "stdin"
            self.piped = sys.stdin.buffer.read()
            self.compression = next(
                (kind for mark, kind in _MARKS.items() if self.piped.startswith(mark)), None
            )
        self.notes: list[str] = []
        self.digit_names: dict[str, str] = {}
        with reading(self.name, self._remedy):
            text = self._beginning()
            self._first_lines: list[str] = re.split("\r\n|\r|\n", text[:SAMPLE_OF_LINES])
            usual = "\t" if format_suffix(self.path) == ".tsv" else SEPARATORS
            self.separator, rows = find_separator(text, self.separator or usual)
        self._name_columns(rows[0])
        if holds_bad_bytes(text):
            self._raise_for_bad_bytes()
        if len(rows) == 1 and not self.no_header and len(text) < SAMPLE:
            raise NoRowsError(self)
        # pyarrow skips lines of the first block alone.
        begun = len(self._skipped) + len(text)
        self.block_bytes: int = max(2 * begun, MIN_BLOCK_BYTES_PER_COLUMN * len(self.names))
        self.block_bytes = min(self.block_bytes, MAX_BLOCK_BYTES)
        self.quoted: bool = '"' in text
        if self.decimal is None and has_decimal_commas(rows[1:], self.separator):
            self.decimal = ","
            self.notes.append(
                "commas are read as decimal marks; --decimal . if they separate thousands"
            )

    def lines_above(self, names: Sequence[str]) -> int:
        """Return how many lines stand above the one that names columns, as an export may have them.

        names : of the columns; 0 where none of the first lines names them all
        """
        for place, line in enumerate(self._first_lines):
            if place and any(names_columns(line, mark, names) for mark in SEPARATORS):
                return self.skip_rows + place
        return 0

    @property
    def _remedy(self) -> str:
        """Return the remedy that an error names where the file cannot be read."""
        return REMEDY if self.compression is None else "Compress the table again"

    def _name_columns(self, first_row: Sequence[str]) -> None:
        """Set the names of the columns, and note those that the file has twice."""
        if self.no_header:
            self.names: list[str] = [f"x{place}" for place in range(len(first_row))]
            self.repeated_names: list[list[str]] = []
            return
        names, self.repeated_names = header_of(first_row)
        self.names = names
        for names in self.repeated_names:
            self.notes.append(
                f"the header names {len(names)} columns {names[0]!r}; they are read as "
                f"{', '.join(map(repr, names))}"
            )

    def _content(self) -> pyarrow.NativeFile:
        """Return a stream over the content, decompressed.

        No file of Python's is read: a thread that reads ahead through one would abort a program
        that ends meanwhile, such as after an error. pyarrow opens files whose names are UTF-8.
        """
        raw: object
        if str(self.source) == STDIN:
            raw = pyarrow.py_buffer(self.piped)
        elif _is_utf8(str(self.path)):
            raw = pyarrow.OSFile(str(self.path))
        else:
            raw = pyarrow.py_buffer(_mapped(self.path))
        return pyarrow.input_stream(raw, compression=self.compression)

    def _parts(self) -> Iterator[bytes]:
        """Yield the content, decompressed, some bytes at a time."""
        with self._content() as stream:
            while part := stream.read(PART_BYTES):
                yield part

    def _beginning(self) -> str:
        """Return the first lines, the last of which may be cut.

        The first bytes show the encoding. Bytes that are not of it are kept as `KEEP_BYTES` does.
        """
        with self._content() as stream:
            mark = stream.read(2)
        if not mark:
            raise DataFileError(f"{self.name} is empty. Give a file with a header and rows.")
        self.encoding = self.encoding or (
            "utf-16" if mark in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8"
        )
        with (
            self._content() as stream,
            io.TextIOWrapper(stream, self.encoding, errors=KEEP_BYTES, newline="") as text,
        ):
            self._skipped: str = "".join(text.readline(MAX_LINE) for _ in range(self.skip_rows))
            first = [text.readline(MAX_LINE) for _ in range(3)]
            beginning = ("".join(first) + text.read(SAMPLE)).removeprefix("\ufeff")
        if max(map(len, first)) == MAX_LINE:
            raise ValueError(f"a line has {MAX_LINE:,} characters, or more")
        if not beginning:
            raise DataFileError(
                f"{self.name} has no line after the {self.skip_rows:,} that are skipped. Skip "
                "fewer."
            )
        if not re.split(r"[\r\n]", beginning, maxsplit=1)[0].strip():
            place = f"line {self.skip_rows + 1}" if self.skip_rows else "the first line"
            raise DataFileError(
                f"{self.name}: {place} must name the columns; it is blank. Remove it, or skip the "
                f"lines up to it with --skip-rows {self.skip_rows + 1}."
            )
        return beginning

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
                skip_rows=self.skip_rows,
            )

    def read(
        self,
        columns: Sequence[str],
        text: Sequence[str] = (),
        target: str | None = None,
        *,
        keeps_names: bool = True,
    ) -> Frame:
        """Return some columns of all rows: numbers and truth values as Python writes them, or text.

        text : columns that are read as text
        target : the column of labels, which is read as text unless it holds fractions
        keeps_names : whether columns of digits that name things, such as 0123, are read as text

        Raises DataFileError for a file that is no separated text, and if a disk has no room for a
        large one.
        """
        with reading(self.name, self._remedy), self._bad_bytes_located():
            open_reader = partial(self._opened, list(columns))
            size = self._size_up_to(table_size.LARGE_TABLE_BYTES)
            first = self._first_reading(open_reader, text, size)
            kinds = _kinds_to_read(first.schema, target)
            is_large = size > table_size.LARGE_TABLE_BYTES
            read = self._kept_as_parquet if is_large else partial(self._in_memory, first.table)
            if keeps_names:
                self._take_zeros_as_text(kinds, target)
            frame = read(open_reader, kinds)
            floats = [name for name in columns if kinds[name] == pyarrow.float64()]
            large = [*large_columns(frame.all_batches(floats), floats)] if keeps_names else []
            if self._take_names_as_text(kinds, [name for name in large if name != target]):
                frame = read(open_reader, kinds)
            text_columns = [name for name in columns if kinds[name] == STRING]
            self._check_end(frame, text_columns)
            frame.notes += self.notes
            frame.take_as_text(text_columns)
            frame.first_row = self.skip_rows + (1 if self.no_header else 2)
            return frame

    def _take_zeros_as_text(self, kinds: dict[str, pyarrow.DataType], target: str | None) -> None:
        """Read columns of numbers as text where some of their cells begin with 0, as 0123 does."""
        numeric = [
            name
            for name, kind in kinds.items()
            if name != target and (types.is_integer(kind) or types.is_floating(kind))
        ]
        if numeric and may_begin_with_zero(self._parts(), str(self.encoding)):
            self._take_names_as_text(kinds, numeric)

    def _take_names_as_text(
        self, kinds: dict[str, pyarrow.DataType], columns: Sequence[str]
    ) -> bool:
        """Read those of some columns as text whose digits name things; return whether any does."""
        if not columns:
            return False
        with self._opened(list(columns), dict.fromkeys(columns, STRING)) as reader:
            names = columns_of_names(reader)
        kinds |= dict.fromkeys(names, STRING)
        self.digit_names |= names
        return bool(names)

    @contextmanager
    def _opened(
        self, columns: list[str], kinds: dict[str, pyarrow.DataType]
    ) -> Iterator[csv.CSVStreamingReader]:
        """Open a reader of some columns.

        kinds : types of columns; those of the others are inferred from the first block
        """
        read_options = csv.ReadOptions(
            use_threads=False,  # one thread knows which row is wrong
            block_size=self.block_bytes,
            column_names=self.names,
            skip_rows=self.skip_rows,
            # The header may be several lines, if a name has two.
            skip_rows_after_names=int(not self.no_header),
            encoding=self.encoding,
        )
        parse_options = csv.ParseOptions(delimiter=self.separator, newlines_in_values=self.quoted)
        convert_options = csv.ConvertOptions(
            column_types=kinds,
            include_columns=columns,
            null_values=MISSING,
            decimal_point=self.decimal or ".",
        )
        with (
            self._content() as stream,
            csv.open_csv(stream, read_options, parse_options, convert_options) as reader,
        ):
            yield reader

    def _size_up_to(self, maximum: int) -> int:
        """Return the bytes of the content, decompressed, of which a few above a maximum are enough.

        They are counted, since a compressed file may have a thousand times its size.
        """
        size = 0
        for size in accumulate(map(len, self._parts())):
            if size > maximum:
                break
        return size

    @property
    def max_growth(self) -> int:
        """Return how many times the bytes of the content the text may have in UTF-8, as parsed."""
        return 1 if codecs.lookup(str(self.encoding)).name == "utf-8" else MAX_GROWTH

    def _first_reading(
        self, open_reader: OpenReader, text: Sequence[str], size: int
    ) -> FirstReading:
        """Return the types of columns as far as the first block shows, and a small file's rows.

        text : columns that are read as text; size : bytes of the content, as far as they count
        """

        def read_first(reader: csv.CSVStreamingReader) -> FirstReading:
            """Return what a reader has read of the first block, which may hold all rows."""
            is_whole = size * self.max_growth <= self.block_bytes
            is_whole &= size <= table_size.LARGE_TABLE_BYTES
            return FirstReading(reader.schema, _whole_table(reader) if is_whole else None)

        return self._retried(open_reader, dict.fromkeys(text, STRING), read_first)

    def _in_memory(
        self,
        inferred: pyarrow.Table | None,
        open_reader: OpenReader,
        kinds: dict[str, pyarrow.DataType],
    ) -> Frame:
        """Return the frame of all rows. inferred : all rows in inferred types; None to read them"""
        if inferred is None:
            table = self._retried(open_reader, kinds, _whole_table)
        else:
            table = self._with_kinds(inferred, kinds)
        starts = numpy.asarray([0, table.num_rows])

        def stored(block: int, columns: Sequence[str]) -> list[pyarrow.RecordBatch]:
            """Return batches of some columns; there is one block, the whole table."""
            return table.select(columns).to_batches(BATCH_ROWS)

        return Frame(self.name, table.schema, starts, stored)

    def _with_kinds(
        self, table: pyarrow.Table, kinds: dict[str, pyarrow.DataType]
    ) -> pyarrow.Table:
        """Return a table in which the columns that need other types are read again."""
        changed = [field.name for field in table.schema if field.type != kinds[field.name]]
        if not changed:
            return table
        open_changed = partial(self._opened, changed)
        again = self._retried(open_changed, {name: kinds[name] for name in changed}, _whole_table)
        for field in again.schema:
            place = table.schema.get_field_index(field.name)
            table = table.set_column(place, field, again.column(field.name))
        return table

    def _kept_as_parquet(self, open_reader: OpenReader, kinds: dict[str, object]) -> Frame:
        """Keep rows in a temporary Parquet file.

        It is removed with its last reader or at the end of the program.
        """
        folder = _temporary_folder()
        remedy = (
            f"{self._remedy}; a file this large is kept as Parquet in {folder} meanwhile, TMPDIR "
            "names a folder with room"
        )
        with ExitStack() as stack, reading(self.name, remedy), self._bad_bytes_located():
            created = stack.enter_context(
                tempfile.TemporaryDirectory(prefix="xpnet-", dir=folder, ignore_cleanup_errors=True)
            )
            path = Path(created) / "rows.parquet"
            self._retried(open_reader, kinds, partial(_write_parquet, path))
            frame = parquet_frame(path, self.name)
            weakref.finalize(frame.stored, stack.pop_all().close)
        pyarrow.default_memory_pool().release_unused()
        frame.notes.append(
            f"the rows are kept in a Parquet file in {folder}, which is removed at the end"
        )
        return frame

    def _retried(
        self, open_reader: OpenReader, kinds: dict[str, object], take: Callable[..., Result]
    ) -> Result:
        """Return the result of ``take`` for a reader.

        It begins again with another type where a cell does not fit a column's, and with larger
        blocks for rows that do not fit into one.
        """
        retries = 0
        while True:
            try:
                with open_reader(kinds) as reader:
                    return take(reader)
            except pyarrow.ArrowInvalid as error:
                if "straddling" in str(error):
                    self._enlarge_blocks()
                    continue
                name = self._misfit(str(error))
                if kinds.get(name, STRING) == STRING:
                    raise
                kinds[name] = pyarrow.float64() if kinds[name] == pyarrow.int64() else STRING
                retries += 1
                if retries > _MAX_RETRIES:
                    kinds.update(
                        {name: STRING for name, kind in kinds.items() if kind != pyarrow.float64()}
                    )

    def _enlarge_blocks(self) -> None:
        """Read blocks in which a long line fits; raise ValueError if no line may be as long."""
        if self.block_bytes >= 2 * MAX_LINE:
            raise ValueError(
                f"a row has {MAX_LINE:,} bytes, or more; perhaps a quote is never closed"
            )
        self.block_bytes = 2 * MAX_LINE

    def _misfit(self, message: str) -> str:
        """Return the column that pyarrow's message says does not fit its type; otherwise ""."""
        misfit = re.search(r"CSV column #(\d+): (Row #\d+: )?CSV conversion error", message)
        return "" if misfit is None else self.names[int(misfit[1])]

    def _check_end(self, frame: Frame, text_columns: Sequence[str]) -> None:
        """Raise an error for a file without rows, and for a last cell whose quote is never closed.

        Such a cell holds the lines that follow.
        """
        if not frame.rows:
            raise NoRowsError(self)
        *_, last = frame.stored(frame.blocks - 1, text_columns or frame.names)
        if any("\n" in str(column[-1]) for column in last.columns):
            quotes = sum(part.count(b'"') for part in self._parts())
            if (quotes - self._skipped.count('"')) % 2:
                raise ValueError("a quote is opened and never closed")


def _kinds_to_read(schema: pyarrow.Schema, target: str | None) -> dict[str, pyarrow.DataType]:
    """Return the types in which columns are read, by name. schema : their types as inferred"""
    kinds = {
        column.name: _kind_to_read(column.type, is_target=column.name == target)
        for column in schema
    }
    if target is not None and (types.is_integer(kinds[target]) or types.is_boolean(kinds[target])):
        kinds[target] = STRING  # labels such as 007 and FALSE stay as they are
    return kinds


def _kind_to_read(inferred: pyarrow.DataType, *, is_target: bool) -> pyarrow.DataType:
    """Return the type in which a column is read whose first cells seem to have another one."""
    if types.is_null(inferred):  # a column of gaps may hold numbers later
        return pyarrow.float64()
    # Dates are read by the form of their column; bytes of another encoding are an error later.
    if types.is_binary(inferred) or (types.is_temporal(inferred) and not is_target):
        return STRING
    return inferred


def _mapped(path: Path) -> mmap.mmap | bytes:
    """Return the bytes of a file, which are read from the disk when they are needed."""
    with path.open("rb") as file:
        if not os.fstat(file.fileno()).st_size:
            return b""
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _is_utf8(name: str) -> bool:
    """Return whether a name can be written as UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _temporary_folder() -> str:
    """Return the folder for temporary files; /tmp lies in memory on many systems."""
    usual = tempfile.gettempdir()
    on_disk = "/var/tmp"
    return on_disk if usual == "/tmp" and os.access(on_disk, os.W_OK | os.X_OK) else usual


def _batches(reader: csv.CSVStreamingReader) -> Iterator[pyarrow.RecordBatch]:
    """Yield the rows of a reader, some thousand at a time; raise ZeroByteError for a zero byte."""
    for batch in reader:
        if any(column.type == STRING and _holds_zero_byte(column) for column in batch.columns):
            raise ZeroByteError("text cannot hold a zero byte")
        yield batch


def _holds_zero_byte(column: pyarrow.Array) -> bool:
    """Return whether some cell of an array of text has a zero byte."""
    content = column.buffers()[2]
    return content is not None and b"\0" in content.to_pybytes()


def _whole_table(reader: csv.CSVStreamingReader) -> pyarrow.Table:
    """Return all rows of a reader."""
    return pyarrow.Table.from_batches(_batches(reader), reader.schema)


def _write_parquet(path: Path, reader: csv.CSVStreamingReader) -> None:
    """Write rows as Parquet, several blocks of text in a group: each group takes memory."""
    # Columns of numbers rarely repeat enough for a dictionary.
    words = [column.name for column in reader.schema if column.type == STRING]
    options: dict[str, object] = {
        "compression": "lz4",
        "store_schema": False,
        "use_dictionary": words,
    }
    batches = _batches(reader)
    with parquet.ParquetWriter(path, reader.schema, **options) as writer:
        while blocks := list(islice(batches, GROUP_BLOCKS)):
            writer.write_table(pyarrow.Table.from_batches(blocks))
