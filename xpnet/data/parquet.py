"""Parquet files, read by pyarrow, group of rows by group of rows."""

from typing import Any

import pyarrow
from pyarrow import parquet, types

from xpnet.data.columns import as_table
from xpnet.data.content import Content
from xpnet.data.table import Request, Table, pick_columns
from xpnet.errors import DataFileError


def read_parquet(content: Content, request: Request) -> Table:
    """A .parquet file as a table; an index that pandas stored beside the columns is left out.

    Raises DataFileError for a damaged file, and for columns that hold neither numbers nor text.
    """
    try:
        with content.seekable() as stored:
            return _read(content.name, parquet.ParquetFile(stored), request)
    except DataFileError:
        raise
    except (pyarrow.ArrowException, ValueError) as error:  # ValueError: damaged text or JSON inside the file
        raise DataFileError(f"{content.name}: this is not a whole Parquet file: {error}. Write it again.") from error


def _read(name: str, file: Any, request: Request) -> Table:
    columns = pick_columns(name, header_of(file.schema_arrow), request)
    batches = file.iter_batches(columns=columns.all)
    numbers = set(columns.features) - {columns.target, *columns.ids}
    read = [narrowed(batch, numbers, request.dtype or "float64") for batch in batches]
    schema = pyarrow.schema([file.schema_arrow.field(column) for column in columns.all])
    content = pyarrow.Table.from_batches(read) if read else schema.empty_table()
    return as_table(name, content, columns, request)


def header_of(schema: Any) -> list[str]:
    """Names of the columns that are data."""
    stored = (schema.pandas_metadata or {}).get("index_columns", [])
    return [name for name in schema.names if name not in stored]


def narrowed(batch: Any, numbers: set[str], dtype: str) -> Any:
    """The batch with its numbers in the dtype that is asked for, before more of it is read."""
    narrow = [
        column.cast(dtype, safe=False) if name in numbers and is_number(column.type) else column
        for name, column in zip(batch.schema.names, batch.columns, strict=True)
    ]
    return pyarrow.RecordBatch.from_arrays(narrow, names=batch.schema.names)


def is_number(kind: Any) -> bool:
    """Whether a type of Arrow's is one of numbers."""
    return types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind) or types.is_decimal(kind)
