"""Parquet files, read by pyarrow (the extra ``data``)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy

from xpnet.data.labels import as_labels
from xpnet.data.table import Columns, Table, check_numbers, need_target, not_a_number, pick_columns
from xpnet.errors import DataFileError


def read_parquet(path: Path, target: str | None, features: Sequence[str] | None, *, labelled: bool) -> Table:
    """A .parquet file as a table; X is float64, an index that pandas stored beside the columns is left out.

    Raises DataFileError where pyarrow is not installed, for a damaged file, and for columns that hold no numbers.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise DataFileError(
            f"{path.name}: Parquet files are read by pyarrow, which is not installed. pip install 'xpnet[data]'."
        ) from None
    try:
        return _read(path.name, parquet.ParquetFile(path), target, features, labelled)
    except DataFileError:
        raise
    except (pyarrow.ArrowException, ValueError) as error:  # ValueError: damaged text or JSON inside the file
        raise DataFileError(f"{path.name}: this is not a whole Parquet file: {error}. Write it again.") from error


def _read(name: str, file: Any, target: str | None, features: Sequence[str] | None, labelled: bool) -> Table:
    header = _header(file.schema_arrow)
    wanted = need_target(name, target, header) if labelled else None
    columns = pick_columns(name, header, wanted, features)
    content = file.read(columns=columns.features + ([] if wanted is None else [wanted]))
    return _table(name, content, columns)


def _header(schema: Any) -> list[str]:
    stored = (schema.pandas_metadata or {}).get("index_columns", [])
    return [name for name in schema.names if name not in stored]


def _table(name: str, content: Any, columns: Columns) -> Table:
    X = numpy.empty((content.num_rows, len(columns.features)))
    for place, feature in enumerate(columns.features):
        X[:, place] = _numbers(name, feature, content.column(feature))
    check_numbers(name, X, columns.features)
    if columns.target is None:
        return Table(name, X, columns.features)
    labels = as_labels(name, columns.target, content.column(columns.target).to_pylist())
    return Table(name, X, columns.features, labels, columns.target)


def _numbers(name: str, feature: str, column: Any) -> numpy.ndarray:
    """One column as float64; raises DataFileError for other kinds and for empty cells."""
    from pyarrow import types

    numeric = (types.is_integer, types.is_floating, types.is_boolean, types.is_decimal)
    if not any(is_kind(column.type) for is_kind in numeric):
        raise not_a_number(name, feature, 0, column[0].as_py() if len(column) else str(column.type))
    if column.null_count:
        raise not_a_number(name, feature, column.is_null().to_pylist().index(True), None)
    return column.cast("float64").to_numpy()
