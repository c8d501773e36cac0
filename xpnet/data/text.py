"""Comma- and tab-separated text, plain or compressed, read by pyarrow straight into the dtype that is asked for."""

import codecs
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pyarrow
import pyarrow.compute
from pyarrow import csv

from xpnet.data.columns import NUMBER, as_table
from xpnet.data.content import Content
from xpnet.data.dialect import MISSING, Written, learn, wrong_encoding
from xpnet.data.numeric import read_numbers
from xpnet.data.table import Columns, Request, Table, pick_columns
from xpnet.errors import DataFileError

_WIDE = 2000  # columns from which on a block is converted by one thread: threads would each take a few of its rows
_ROWS = 1024  # of a block at least, so that a column's part of it is worth the call
_LARGEST = 2**28  # bytes of a block at most
TEXT = pyarrow.dictionary(pyarrow.int32(), pyarrow.string())


def read_text(content: Content, request: Request) -> Table:
    """A .csv or .tsv file as a table.

    Raises DataFileError for ragged lines, cells that are neither numbers nor text, and bytes of another encoding.
    """
    written = learn(content, request.dialect)
    columns = pick_columns(content.name, written.header, request)
    learned = replace(request, dialect=replace(request.dialect, decimal=written.decimal))
    reader = TextReader(content, written, columns, learned)
    table = read_numbers(reader) or as_table(content.name, reader.read(), columns, learned)
    if written.decimal == request.dialect.decimal:
        return table
    return replace(table, notes=["a comma stands before decimals; --decimal . if it parts thousands", *table.notes])


class TextReader:
    """Reads the columns of a text file: first as its beginning suggests, then as it really is."""

    def __init__(self, content: Content, written: Written, columns: Columns, request: Request) -> None:
        self.content, self.written, self.columns, self.request = content, written, columns, request
        self.dtype = request.dtype or "float64"
        self.ragged: list[Any] = []

    def read(self) -> pyarrow.Table:
        """Every column that is wanted: numbers in the dtype, or text.

        Raises DataFileError for what is no separated text.
        """
        numbers = self.guessed()
        try:
            return self._checked(self._read(numbers))
        except pyarrow.ArrowInvalid as error:
            if "conversion error" not in str(error):
                raise self._told(error) from error
        return self._checked(self._again(numbers))

    def guessed(self) -> set[str]:
        """The columns that are numbers as far as the beginning shows."""
        numbers = {name for name, is_number in zip(self.written.header, self.written.numbers, strict=True) if is_number}
        kinds = self.request.kinds or {}
        as_text = {
            self.columns.target,
            *self.columns.ids,
            *self.request.text,
            *(c for c in kinds if kinds[c] == "text"),
        }
        return numbers & (set(self.columns.features) - as_text)  # type: ignore[arg-type]

    def _read(self, numbers: set[str]) -> pyarrow.Table:
        stream = self.stream()
        return csv.read_csv(stream, **self.options(numbers, threads=len(self.written.header) < _WIDE))

    def _again(self, numbers: set[str]) -> pyarrow.Table:
        """A second reading, with those columns as text in which some cell is no number."""
        try:
            numbers -= self._no_numbers(numbers)
            return self._read(numbers)
        except pyarrow.ArrowInvalid as error:
            raise self._told(error) from error

    def _no_numbers(self, numbers: set[str]) -> set[str]:
        """The columns that hold something else further below; the file is read block by block, as text."""
        found: set[str] = set()
        pattern = NUMBER.replace(r"\.", re.escape(self.request.dialect.decimal or "."))
        for batch in csv.open_csv(self.stream(), **self.options(set(), threads=False)):
            for name in numbers - found:
                matches = pyarrow.compute.match_substring_regex(batch.column(name).cast("string"), pattern)
                if not pyarrow.compute.all(pyarrow.compute.fill_null(matches, True)).as_py():
                    found.add(name)
        return found

    def stream(self) -> Any:
        encoding = self.written.encoding
        stream = self.content.open()
        if codecs.lookup(encoding).name == "utf-8":
            return stream
        return pyarrow.transcoding_input_stream(stream, encoding, "utf-8")

    def options(self, numbers: set[str], *, threads: bool) -> dict[str, Any]:
        """pyarrow's options, with those columns as numbers and the others as text."""
        written, dialect = self.written, self.request.dialect
        wanted = self.columns.all
        types = {name: self.dtype if name in numbers else TEXT for name in wanted}
        wide = len(written.header) >= _WIDE
        return {
            "read_options": csv.ReadOptions(
                use_threads=threads,
                block_size=min(max(2**20, _ROWS * written.line if wide else 4 * written.line), _LARGEST),
                column_names=written.header,
                skip_rows=written.above,
            ),
            "parse_options": csv.ParseOptions(
                delimiter=written.separator,
                newlines_in_values=written.quoted,
                invalid_row_handler=self._note_ragged,
            ),
            "convert_options": csv.ConvertOptions(
                column_types=types,
                include_columns=wanted,
                # Each column of numbers builds a table of these words: for many columns the empty cell must do.
                null_values=MISSING[:1] if wide else MISSING,
                true_values=[],
                false_values=[],
                strings_can_be_null=True,
                decimal_point=dialect.decimal or ".",
            ),
        }

    def _note_ragged(self, row: Any) -> str:
        self.ragged.append(row)
        return "error"

    def _checked(self, content: pyarrow.Table) -> pyarrow.Table:
        """The table, if no quote was left open, which takes the rest of the file for one cell."""
        if not self.written.quoted or not content.num_rows:
            return content
        last = [content.column(name)[-1].as_py() for name in content.column_names if content.column(name).type == TEXT]
        if any(isinstance(cell, str) and "\n" in cell for cell in last) and self._quotes() % 2:
            raise self._told(ValueError("a quote is opened and never closed"))
        return content

    def _quotes(self) -> int:
        return sum(block.count(b'"') for block in self._blocks())

    def _blocks(self) -> Iterator[bytes]:
        with self.stream() as stream:
            while block := stream.read(2**22):
                yield bytes(block)

    def _told(self, error: Exception) -> DataFileError:
        """What is wrong, in the words of someone who wrote the file."""
        if self.ragged:
            return self._ragged()
        if "UTF8" in str(error) or "UTF-8" in str(error):
            return wrong_encoding(self.content.name, "utf-8", self._first_wrong_byte())
        return DataFileError(
            f"{self.content.name}: this is not separated text: {error}. Check its quotes and line ends."
        )

    def _ragged(self) -> DataFileError:
        """Only a reading without threads knows the number of a line."""
        self.ragged.clear()
        try:
            for _ in csv.open_csv(self.stream(), **self.options(set(), threads=False)):
                pass
        except pyarrow.ArrowInvalid:
            pass
        if not self.ragged:
            return DataFileError(f"{self.content.name}: its lines hold different numbers of values.")
        row = self.ragged[0]
        line = "a line" if row.number is None else f"line {row.number}"
        return DataFileError(
            f"{self.content.name}: every line holds {row.expected_columns} values, one for each column; {line} holds "
            f"{row.actual_columns}. Quote values that contain the separator."
        )

    def _first_wrong_byte(self) -> int:
        decoder, start = codecs.getincrementaldecoder("utf-8")(), 0
        for block in self._blocks():
            try:
                decoder.decode(block)
            except UnicodeDecodeError as error:
                return start + error.start
            start += len(block)
        return start
