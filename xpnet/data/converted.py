"""Text files that are too large for memory, as Parquet files beside them, which are read block by block."""

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy
import pyarrow
import pyarrow.compute
from pyarrow import csv, parquet

from xpnet.data import sources
from xpnet.data.columns import NUMBER, PLAIN, TRUTH, Seen, distinct, looked_up, matches
from xpnet.data.content import Content
from xpnet.data.dialect import learn
from xpnet.data.labels import LEADING_ZERO
from xpnet.data.table import BadCells, Dialect, Request, pick_columns, raise_for
from xpnet.data.text import TEXT, TextReader
from xpnet.errors import DataFileError

_SAMPLE = 2**20
_PACKED = 20  # bytes of text in a compressed byte, at most, for a first look


_MARKS = re.compile(rb"[^\w. \"']")  # of which one parts columns


def table_bytes(content: Content, request: Request) -> int:
    """About how many bytes a text file takes as a table, from its size and its first lines; 0 where that is little."""
    packed = content.path.stat().st_size
    if packed * (_PACKED if content.compression else 1) < sources.LARGE_COPY // 8:  # a cell has a byte and a comma
        return 0
    beginning, taken = content.look(_SAMPLE)
    lines = int(packed / taken * max(1, beginning.count(b"\n")))
    itemsize = numpy.dtype(request.dtype or "float64").itemsize
    columns = len(_MARKS.split(beginning.partition(b"\n")[0])) if request.dialect.separator is None else 0
    if columns and lines * columns * itemsize <= sources.LARGE_COPY:  # to learn how it is written takes longer
        return 0
    written = learn(content, request.dialect)
    return lines * len(pick_columns(content.name, written.header, request).all) * itemsize


@dataclass
class Column:
    """A column of text, as it is seen while it is written.

    seen : what its texts have in common; readable : cells that are plain numbers; cells : that are not empty
    bad : the first of those that are none, with their number so far
    zeros : whether a text begins as 007 does
    """

    name: str
    seen: Seen
    readable: int = 0
    cells: int = 0
    bad: BadCells | None = None
    zeros: bool = False

    def add(self, cells: Any, first: int) -> None:
        """See some cells. first : the number of their first row"""
        encoded, texts = distinct(cells)
        self.seen.add(texts)
        self.zeros = self.zeros or any(LEADING_ZERO.match(text) for text in texts.to_pylist() if text)
        empty = cells.null_count
        self.cells += len(cells) - empty
        if PLAIN in self.seen.form and self.bad is None:
            self.readable += len(cells) - empty
            return
        wrong = pyarrow.compute.invert(matches(encoded.cast("string"), NUMBER))
        count = int(pyarrow.compute.sum(wrong).as_py() or 0)
        self.readable += len(cells) - empty - count
        if count and self.bad is None:
            row = pyarrow.compute.index(wrong, True).as_py()
            self.bad = BadCells(self.name, first + row, str(cells[row].as_py()), 0)
        if self.bad is not None:
            self.bad = replace(self.bad, count=self.bad.count + count)


@dataclass
class Converted:
    """A Parquet file in a folder of its own, and how it is to be read.

    request : for the columns that it has; left_out, notes : as a table has them
    """

    folder: Path
    request: Request
    left_out: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def path(self) -> Path:
        """Of the file."""
        return self.folder / "rows.parquet"


def convert(content: Content, request: Request, size: int, tell: Callable[[str], None]) -> Converted:
    """A text file's columns as a Parquet file, in a folder that the caller removes; nothing is left after an error.

    size : about how many bytes the table would take; tell : called with how far it is

    Raises DataFileError as :func:`xpnet.data.text.read_text` does, and where the disk has no room.
    """
    place = _place()
    free = shutil.disk_usage(place).free
    if free < size:
        raise _no_room(content.name, place, size, free)
    folder = Path(tempfile.mkdtemp(prefix="xpnet-", dir=place))
    try:
        return Converter(content, request, tell).convert(folder)
    except OSError as error:
        if isinstance(error, pyarrow.ArrowException) or error.errno is None:
            raise
        shutil.rmtree(folder, ignore_errors=True)
        raise _no_room(content.name, place, size, shutil.disk_usage(place).free) from error
    except BaseException:  # Ctrl-C among them
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _place() -> str:
    """A folder for large files that do not last: /tmp lies in memory on many systems, where it was not chosen."""
    usual = tempfile.gettempdir()
    return "/var/tmp" if usual == "/tmp" and os.access("/var/tmp", os.W_OK | os.X_OK) else usual


def _no_room(name: str, place: str, size: int, free: int) -> DataFileError:
    return DataFileError(
        f"{name}: a text file this large is kept as Parquet while it is used, which may take {size / 1e9:.1f} GB; "
        f"{place} has {free / 1e9:.1f} GB left. Let TMPDIR name a folder with more."
    )


class Converter(TextReader):
    """Writes the columns of a text file, some thousand rows at a time, in the types that the whole file calls for."""

    def __init__(self, content: Content, request: Request, tell: Callable[[str], None]) -> None:
        written = learn(content, request.dialect)
        columns = pick_columns(content.name, written.header, request)
        learned = replace(request, dialect=replace(request.dialect, decimal=written.decimal))
        super().__init__(content, written, columns, learned)
        self.tell = tell

    def convert(self, folder: Path) -> Converted:
        """Write it; again where columns turn out to be something else than their beginning suggests."""
        found = Converted(folder, self.request)
        numbers = self.guessed()
        try:
            seen = self._write(found.path, numbers, {})
        except pyarrow.ArrowInvalid as error:
            if "conversion error" not in str(error):
                raise self._told(error) from error
            numbers -= self._no_numbers(numbers)
            seen = self._write(found.path, numbers, {})
        reading = self._reading(found, seen)
        if reading:
            self._write(found.path, numbers, reading)
        text = [name for name in self.columns.features if name not in numbers and name not in reading]
        features = [name for name in self.columns.features if name not in found.left_out]
        found.request = replace(
            self.request,
            features=features if self.columns.chosen else None,
            drop=tuple(found.left_out),
            text=[name for name in text if name in features],
            dialect=Dialect(decimal="."),
        )
        return found

    def _reading(self, found: Converted, seen: dict[str, Column]) -> dict[str, Any]:
        """What reads the texts of columns that are numbers in some form.

        Raises DataFileError for columns of numbers in which some cells are none, and for dates that were asked for.
        """
        kinds, reading, bad = self.request.kinds or {}, {}, []
        for name, column in seen.items():
            read, note = column.seen.numbers
            if name == self.columns.target:
                # Whether labels are whole numbers or names, such as 007, is seen from their texts.
                plain = column.seen.form and column.seen.form[0] in (PLAIN, TRUTH)
                if plain and (column.zeros or column.seen.form[0] is TRUTH):
                    continue
            if read is not None:
                reading[name] = read
                found.notes += [f"{name}: {note}"] if note else []
            elif name == self.columns.target:
                continue
            elif column.seen.dates and column.seen.some and kinds.get(name) is None:
                if self.columns.chosen:
                    continue  # the reader says what to do
                found.left_out[name] = "holds dates or times"
            elif column.bad is not None and (kinds.get(name) == "number" or 2 * column.readable >= column.cells):
                bad.append(column.bad)
        raise_for(self.content.name, bad)
        return reading

    def _write(self, path: Path, numbers: set[str], reading: dict[str, Any]) -> dict[str, Column]:
        """Write all rows. reading : what makes numbers of texts, by column; returns what other columns of text hold"""
        as_text = {*self.request.text, *self.columns.ids}
        as_text |= {name for name, kind in (self.request.kinds or {}).items() if kind == "text"}
        watched = [name for name in self.columns.all if name not in numbers | as_text | set(reading)]
        seen = {name: Column(name, Seen.nothing(self.request.dialect.decimal)) for name in watched}
        fields = [pyarrow.field(name, self._type(name, numbers, reading)) for name in self.columns.all]
        schema, done, last = pyarrow.schema(fields), 0, None
        with parquet.ParquetWriter(path, schema, compression="lz4", store_schema=False) as writer:
            for group in self._groups(numbers):
                for name, column in seen.items():
                    column.add(group.column(name).unify_dictionaries().combine_chunks(), done)
                writer.write_table(_read(group, reading).cast(schema))
                done, last = done + len(group), group
                self.tell(f"{done:,} rows kept as Parquet in {path.parent}")
        if last is not None:
            self._checked(last)
        return seen

    def _type(self, name: str, numbers: set[str], reading: dict[str, Any]) -> Any:
        if name == self.columns.target and name in reading:
            return pyarrow.float64()
        return pyarrow.type_for_alias(self.dtype) if name in numbers or name in reading else TEXT.value_type

    def _groups(self, numbers: set[str]) -> Iterator[pyarrow.Table]:
        """The rows, as many at a time as make a group."""
        rows = max(1024, sources.BLOCK_BYTES // (len(self.columns.all) * numpy.dtype(self.dtype).itemsize))
        options = self.options(numbers, threads=len(self.written.header) < 2000)
        batches, count = [], 0
        with closing(csv.open_csv(self.stream(), **options)) as reader:
            for batch in reader:
                batches.append(batch)
                count += len(batch)
                if count >= rows:
                    yield pyarrow.Table.from_batches(batches)
                    batches, count = [], 0
        if count:
            yield pyarrow.Table.from_batches(batches)


def _read(group: pyarrow.Table, reading: dict[str, Any]) -> pyarrow.Table:
    """The rows with some columns of text as numbers."""
    for name, read in reading.items():
        encoded, texts = distinct(group.column(name).unify_dictionaries().combine_chunks())
        numbers = looked_up(encoded, texts, read(texts))
        group = group.set_column(group.schema.get_field_index(name), name, numbers)
    return group
