"""Frames of Parquet files, which are read one group of rows at a time."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy
import pyarrow
from pyarrow import dataset, parquet, types

from xpnet.data.frames import BATCH_ROWS, Frame
from xpnet.data.readers.file_errors import reading

_DECODED_BYTES = 2**22
"""Bytes of rows that are decoded at a time."""

_BUFFER_BYTES = 2**16
"""Bytes that are read at a time of each column."""

_MIN_BATCH_ROWS = 2**10
"""Rows of a batch, even if they take more than `_DECODED_BYTES`."""


REMEDY = "Write it again"
"""The remedy that an error names for a file that cannot be read."""


def parquet_frame(path: str | Path, name: str) -> Frame:
    """Return the frame of a folder of Parquet files, or of one file, whose groups are its blocks.

    Names of folders such as ``year=2024`` are columns. A column that a file lacks holds gaps there.

    name : for messages

    Raises DataFileError where a file is no whole Parquet file, or columns of one name hold
    different things.
    """
    remedy = "Write its files again, with the same columns" if Path(path).is_dir() else REMEDY
    with reading(name, remedy):
        files = dataset.dataset(str(path), format="parquet", partitioning="hive")
        fragments = list(files.get_fragments())
        groups = [group for fragment in fragments for group in fragment.split_by_row_group()]
        keys = {
            key: files.schema.field(key).type
            for fragment in fragments
            for key in _partition_keys(fragment)
        }
        schema = pyarrow.unify_schemas(
            [
                *(_data_schema(fragment.physical_schema) for fragment in fragments),
                pyarrow.schema(keys),
            ],
            promote_options="permissive",
        )
        starts = numpy.cumsum([0, *(group.row_groups[0].num_rows for group in groups)])
    return Frame(
        name, schema, starts, lambda block, columns: _rows_of_group(groups[block], schema, columns)
    )


def _rows_of_group(
    group: pyarrow.dataset.Fragment, schema: pyarrow.Schema, columns: Sequence[str]
) -> Iterator[pyarrow.RecordBatch]:
    """Yield some columns of a group of rows, in the types that all files share."""
    batch_rows = _DECODED_BYTES // (8 * max(1, len(columns)))
    batch_rows = min(max(batch_rows, _MIN_BATCH_ROWS), BATCH_ROWS)
    in_file = set(group.physical_schema.names)
    stored = [name for name in columns if name in in_file]
    keys = _partition_keys(group)
    kinds = [schema.field(name).type for name in columns]
    missing_rows = group.row_groups[0].num_rows
    options: dict[str, object] = {
        "metadata": group.metadata,
        "pre_buffer": False,
        "buffer_size": _BUFFER_BYTES,
    }
    with reading(group.path, REMEDY), parquet.ParquetFile(group.path, **options) as file:
        for batch in file.iter_batches(
            batch_rows,
            row_groups=[group.row_groups[0].id],
            columns=stored,
            use_threads=len(stored) > 1,  # a thread takes memory, and one column keeps one busy
        ):
            cells_of = dict(zip(batch.schema.names, batch.columns, strict=True))
            cells = [
                cells_of[name].cast(kind, safe=False)
                if name in cells_of
                else pyarrow.repeat(pyarrow.scalar(keys.get(name), type=kind), batch.num_rows)
                for name, kind in zip(columns, kinds, strict=True)
            ]
            missing_rows -= batch.num_rows
            yield pyarrow.RecordBatch.from_arrays(cells, names=list(columns))
        if missing_rows:
            raise ValueError("a group must have as many rows as its metadata say")


def _partition_keys(fragment: pyarrow.dataset.Fragment) -> dict[str, object]:
    """Return the values that the name of a file's folder gives its rows (year=2024)."""
    return dataset.get_partition_keys(fragment.partition_expression)


def _data_schema(schema: pyarrow.Schema) -> pyarrow.Schema:
    """Return the columns that are data, without an index of pandas', with the types of values."""
    index = (schema.pandas_metadata or {}).get("index_columns", [])
    kinds = {column.name: column.type for column in schema if column.name not in index}
    return pyarrow.schema(
        {key: kind.value_type if types.is_dictionary(kind) else kind for key, kind in kinds.items()}
    )
