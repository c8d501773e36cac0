"""Frames: the rows of a data file as named columns of Arrow's, at once or a block of rows at a time."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy
import pyarrow
from pyarrow import dataset, parquet, types

from xpnet.data import sources
from xpnet.data.arrays import reading
from xpnet.data.sources import ArraySource
from xpnet.errors import DataFileError

ROWS = 2**14
"""The most rows of a batch."""

_BYTES_DECODED, _BYTES_BUFFERED = 2**22, 2**16
"""Bytes of a Parquet file's rows that are decoded at a time, and bytes that are read at a time of each column."""


class Frame(ABC):
    """The rows of a data file.

    name : of the file, for messages; schema : of the columns
    starts : (blocks + 1,) the first row of each block, and the number of rows
    notes : what was done to read the file that its owner should know
    """

    name: str
    schema: pyarrow.Schema
    starts: numpy.ndarray

    def __init__(self) -> None:
        self.notes: list[str] = []
        self._texts: set[str] = set()

    @abstractmethod
    def _read(self, block: int, columns: Sequence[str]) -> Iterator[pyarrow.RecordBatch]:
        """Some columns of a block as they are stored, in that order, some thousand rows at a time.

        Raises DataFileError for a file that cannot be read any more.
        """

    def take_as_text(self, columns: Iterable[str]) -> None:
        """Have columns read as text, whatever they hold."""
        for name in columns:
            place = self.schema.get_field_index(name)
            kind = self.schema.field(place).type
            if not types.is_dictionary(kind) and not types.is_string(kind):
                self._texts.add(name)
                self.schema = self.schema.set(place, pyarrow.field(name, pyarrow.string()))

    def batches(self, block: int, columns: Sequence[str]) -> Iterator[pyarrow.RecordBatch]:
        """Yield some columns of a block, in that order, some thousand rows at a time.

        Raises DataFileError for a file that cannot be read any more.
        """
        texts = self._texts.intersection(columns)
        for batch in self._read(block, columns):
            for name in texts:
                place = batch.schema.get_field_index(name)
                batch = batch.set_column(place, name, batch.column(place).cast(pyarrow.string()))
            yield batch

    @property
    def rows(self) -> int:
        """Return the number of rows."""
        return int(self.starts[-1])

    @property
    def blocks(self) -> int:
        """Return the number of blocks."""
        return len(self.starts) - 1

    @property
    def is_large(self) -> bool:
        """Return whether all columns at once would take much memory."""
        return self.rows * len(self.schema) * 8 > sources.LARGE_TABLE

    def all_batches(self, columns: Sequence[str]) -> Iterator[pyarrow.RecordBatch]:
        """Yield some columns of all rows, some thousand rows at a time."""
        for block in range(self.blocks):
            yield from self.batches(block, columns)

    def table(self, columns: Sequence[str]) -> pyarrow.Table:
        """Return some columns of all rows."""
        schema = pyarrow.schema([self.schema.field(name) for name in columns])
        return pyarrow.Table.from_batches(list(self.all_batches(columns)), schema).unify_dictionaries()

    def column(self, name: str) -> pyarrow.ChunkedArray:
        """Return one column of all rows."""
        return self.table([name]).column(0)


class MemoryFrame(Frame):
    """A frame of an Arrow table."""

    def __init__(self, name: str, content: pyarrow.Table) -> None:
        super().__init__()
        self.name, self.content, self.schema = name, content, content.schema
        self.starts = numpy.asarray([0, content.num_rows])

    def _read(self, block: int, columns: Sequence[str]) -> Iterator[pyarrow.RecordBatch]:
        """See :class:`Frame`."""
        yield from self.content.select(columns).to_batches(ROWS)


class ArrayFrame(Frame):
    """A frame of a matrix and further columns.

    X : (rows, features), an array or what is sliced as one; names : of its columns; others : (rows,) arrays by name
    """

    def __init__(self, name: str, X: Any, names: Sequence[str], others: Mapping[str, numpy.ndarray]) -> None:
        super().__init__()
        self.name = name
        self.others = {key: pyarrow.array(y.astype(_arrow_dtype(y.dtype))) for key, y in others.items()}
        self.places = {column: place for place, column in enumerate(names)}
        self.source = ArraySource(X)
        self.starts = self.source.starts
        kind = pyarrow.from_numpy_dtype(_arrow_dtype(self.source.dtype))
        fields = [pyarrow.field(column, kind) for column in names]
        self.schema = pyarrow.schema([*fields, *((key, y.type) for key, y in self.others.items())])

    def _read(self, block: int, columns: Sequence[str]) -> Iterator[pyarrow.RecordBatch]:
        """See :class:`Frame`."""
        start, end = map(int, self.starts[block : block + 2])
        matrix = any(column in self.places for column in columns)
        with reading(self.name, "write it again"):
            X = self.source.read(block) if matrix else numpy.empty((end - start, 0))
            X = X.astype(_arrow_dtype(X.dtype), copy=False)
        for first in range(0, end - start, ROWS):
            rows = slice(first, min(first + ROWS, end - start))
            cells = [
                pyarrow.array(X[rows, self.places[column]])
                if column in self.places
                else self.others[column].slice(start + rows.start, rows.stop - rows.start)
                for column in columns
            ]
            yield pyarrow.RecordBatch.from_arrays(cells, names=list(columns))


def _arrow_dtype(dtype: numpy.dtype) -> numpy.dtype:
    """The dtype in which Arrow takes numbers: in this machine's order of bytes, and not half precision."""
    return numpy.dtype("float32") if dtype == "float16" else dtype.newbyteorder("=")


class Group(NamedTuple):
    """A group of rows of one file.

    stored : names of the columns that the file has; keys : values of those that its folder's name tells (year=2024)
    """

    path: str
    metadata: Any
    number: int
    stored: frozenset[str]
    keys: dict[str, Any]


class ParquetFrame(Frame):
    """A frame of a folder of Parquet files, or of one file.

    Names of folders such as ``year=2024`` are columns. A file without a column that others have has gaps there.

    forms : how columns of text are numbers, where they are

    Raises DataFileError where a file is no whole Parquet file, or columns of one name hold different things.
    """

    def __init__(self, path: str | Path, name: str | None = None) -> None:
        super().__init__()
        self.name = name or str(path)
        self.forms: dict[str, Any] = {}
        try:
            found = dataset.dataset(str(path), format="parquet", partitioning="hive")
            files = list(found.get_fragments())
            self.groups = [group for file in files for group in _groups(file)]
            schemas = [plain_schema(file.physical_schema) for file in files]
            named = {key for group in self.groups for key in group.keys if key not in group.stored}
            schemas.append(pyarrow.schema([field for field in found.schema if field.name in named]))
            self.schema = _joined(self.name, schemas)
            counts = [group.metadata.row_group(group.number).num_rows for group in self.groups]
        except (pyarrow.ArrowException, OSError, ValueError) as error:  # ValueError: damaged text or JSON inside a file
            kind = "no folder of whole Parquet files" if Path(path).is_dir() else "not a whole Parquet file"
            raise DataFileError(f"{path}: this is {kind}: {error}. Write it again.") from error
        self.starts = numpy.append(0, numpy.cumsum(counts)).astype(numpy.int64)

    def _read(self, block: int, columns: Sequence[str]) -> Iterator[pyarrow.RecordBatch]:
        """See :class:`Frame`."""
        group = self.groups[block]
        rows = min(max(_BYTES_DECODED // (8 * max(1, len(columns))), 2**10), ROWS)
        stored = [name for name in columns if name in group.stored]
        try:
            with parquet.ParquetFile(
                group.path, metadata=group.metadata, pre_buffer=False, buffer_size=_BYTES_BUFFERED
            ) as file:
                # Each thread takes room, and one column gives them nothing to share.
                wanted = {"row_groups": [group.number], "columns": stored, "use_threads": len(stored) > 1}
                for batch in file.iter_batches(rows, **wanted):
                    yield self._completed(batch, columns, group)
        except (pyarrow.ArrowException, OSError, ValueError, KeyError) as error:  # as above
            raise DataFileError(f"{group.path}: this file cannot be read: {error}. Write it again.") from error

    def _completed(self, batch: Any, columns: Sequence[str], group: Group) -> pyarrow.RecordBatch:
        """The batch with every column, in the types that all files share."""
        whole = []
        for name in columns:
            kind = self.schema.field(name).type
            if name in self.forms:
                whole.append(self.forms[name].numbers(batch.column(name)))
            elif name in group.stored:
                whole.append(batch.column(name).cast(kind, safe=False))
            else:
                value = pyarrow.scalar(group.keys.get(name), type=kind)
                whole.append(pyarrow.repeat(value, batch.num_rows))
        return pyarrow.RecordBatch.from_arrays(whole, names=list(columns))


def _groups(file: Any) -> Iterator[Group]:
    stored, keys = frozenset(file.physical_schema.names), dataset.get_partition_keys(file.partition_expression)
    for part in file.split_by_row_group():
        yield Group(part.path, part.metadata, part.row_groups[0].id, stored, keys)


def plain_schema(schema: Any) -> Any:
    """The columns that are data, without an index of pandas', each with the type of its values."""
    index = (schema.pandas_metadata or {}).get("index_columns", [])
    fields = [schema.field(name) for name in schema.names if name not in index]
    return pyarrow.schema(
        [pyarrow.field(f.name, f.type.value_type if types.is_dictionary(f.type) else f.type) for f in fields]
    )


def _joined(name: str, schemas: Sequence[Any]) -> Any:
    try:
        return pyarrow.unify_schemas(list(schemas), promote_options="permissive")
    except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError) as error:
        raise DataFileError(
            f"{name}: files of one folder must agree on what a column holds: {error}. Write them alike."
        ) from error
