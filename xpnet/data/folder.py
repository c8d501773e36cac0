"""A folder of Parquet files as one table, read group of rows by group of rows."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy
import pyarrow
from pyarrow import dataset, parquet, types

from xpnet.data.columns import as_table
from xpnet.data.parquet import header_of, narrowed
from xpnet.data.table import Request, Table, pick_columns
from xpnet.errors import DataFileError

_BYTES_DECODED, _BYTES_BUFFERED = 2**22, 2**16
"""Of the rows of a file that are decoded at a time, and of what is read at a time of each of its columns."""


class Group(NamedTuple):
    """A group of rows of one file.

    stored : names of the columns that the file has; keys : values of those that its folder's name tells (year=2024)
    """

    path: str
    metadata: Any
    number: int
    stored: frozenset[str]
    keys: dict[str, Any]


class Folder:
    """Parquet files under a folder, or one file, as one table.

    Names of folders such as ``year=2024`` are columns. A file without a column that others have has gaps there.

    name : for messages; schema : of all columns, dictionaries decoded; groups : of rows, in order
    starts : (groups + 1,) the first row of each group, and the number of rows

    Raises DataFileError where a file is no whole Parquet file, or columns of one name hold different things.
    """

    def __init__(self, path: str | Path, name: str | None = None) -> None:
        self.name = name or str(path)
        try:
            found = dataset.dataset(str(path), format="parquet", partitioning="hive")
            files = list(found.get_fragments())
            self.groups = [group for file in files for group in _groups(file)]
            schemas = [_plain(file.physical_schema) for file in files]
            named = {key for group in self.groups for key in group.keys if key not in group.stored}
            schemas.append(pyarrow.schema([field for field in found.schema if field.name in named]))
            self.schema = _joined(self.name, schemas)
            counts = [group.metadata.row_group(group.number).num_rows for group in self.groups]
        except (pyarrow.ArrowException, OSError, ValueError) as error:  # ValueError: damaged text or JSON inside a file
            kind = "no folder of whole Parquet files" if Path(path).is_dir() else "not a whole Parquet file"
            raise DataFileError(f"{path}: this is {kind}: {error}. Write it again.") from error
        self.starts = numpy.append(0, numpy.cumsum(counts)).astype(numpy.int64)

    @property
    def rows(self) -> int:
        """How many."""
        return int(self.starts[-1])

    def cells(self, name: str) -> Iterator[Any]:
        """One column of all rows, a few thousand at a time."""
        for block in range(len(self.groups)):
            yield from (batch.column(0) for batch in self.batches(block, [name]))

    def batches(self, block: int, columns: Sequence[str]) -> Iterator[pyarrow.RecordBatch]:
        """Some columns of a group, in that order, a few thousand rows at a time.

        Raises DataFileError for a file that cannot be read any more.
        """
        group = self.groups[block]
        rows = min(max(_BYTES_DECODED // (8 * max(1, len(columns))), 2**10), 2**14)
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
            if name in group.stored:
                whole.append(batch.column(name).cast(kind, safe=False))
            else:
                value = pyarrow.scalar(group.keys.get(name), type=kind)
                whole.append(pyarrow.repeat(value, batch.num_rows))
        return pyarrow.RecordBatch.from_arrays(whole, names=list(columns))


def read_folder(path: Path, request: Request) -> Table:
    """A folder of Parquet files as a table.

    Raises DataFileError as :class:`Folder` does, and for cells that cannot be used.
    """
    folder = Folder(path)
    columns = pick_columns(folder.name, folder.schema.names, request)
    numbers, dtype = set(columns.features) - {columns.target, *columns.ids}, request.dtype or "float64"
    read = [
        narrowed(batch, numbers, dtype)
        for block in range(len(folder.groups))
        for batch in folder.batches(block, columns.all)
    ]
    schema = pyarrow.schema([folder.schema.field(column) for column in columns.all])
    content = pyarrow.Table.from_batches(read) if read else schema.empty_table()
    return as_table(folder.name, content, columns, request)


def _groups(file: Any) -> Iterator[Group]:
    stored, keys = frozenset(file.physical_schema.names), dataset.get_partition_keys(file.partition_expression)
    for part in file.split_by_row_group():
        yield Group(part.path, part.metadata, part.row_groups[0].id, stored, keys)


def _plain(schema: Any) -> Any:
    """The columns that are data, each with the type of its values."""
    fields = [schema.field(name) for name in header_of(schema)]
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
