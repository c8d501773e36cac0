"""Files that are read block by block, since as tables they would take much memory."""

import shutil
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy

from xpnet.data import sources
from xpnet.data.content import STDIN, Content
from xpnet.data.read import TEXTS, holds_parquet
from xpnet.data.sources import ArraySource, as_source
from xpnet.data.table import Columns, Dialect, Kind, Request, Table, pick_columns
from xpnet.errors import DataFileError

_BLOCKS = 16
"""Of how many groups the first rows are looked at, to see what columns hold."""


class Frames:
    """The rows of a folder of Parquet files, each part as a table's X: a matrix, or columns of numbers and text.

    folder : an :class:`xpnet.data.folder.Folder`; request : with features and kinds
    shape : (rows, features); starts : see :class:`~xpnet.data.sources.Source`
    """

    def __init__(self, folder: Any, request: Request) -> None:
        self.folder, self.request = folder, request
        self.starts, self.features = folder.starts, list(request.features or [])
        self.shape = (folder.rows, len(self.features))
        self.dtype = numpy.dtype(request.dtype or "float64")
        self._columns = Columns(self.features, None, [], chosen=True)

    @property
    def blocks(self) -> int:
        """How many groups of rows there are."""
        return len(self.starts) - 1

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def only_numbers(self) -> bool:
        """Whether no column holds text."""
        return set((self.request.kinds or {}).values()) == {"number"}

    def parts(self, block: int) -> Iterator[Any]:
        """The rows of a block, a few thousand at a time.

        Raises DataFileError for cells that cannot be used.
        """
        import pyarrow

        from xpnet.data.columns import as_table

        first = int(self.starts[block])
        for batch in self.folder.batches(block, self.features):
            if not batch.num_rows:
                continue
            content = pyarrow.Table.from_batches([batch])
            rows = range(first, first + batch.num_rows)
            yield as_table(self.folder.name, content, self._columns, self.request, rows).X
            first = rows.stop


class Cells:
    """A column of a folder of Parquet files as text, read anew whenever someone iterates over it."""

    def __init__(self, folder: Any, column: str) -> None:
        self.folder, self.column = folder, column

    def __iter__(self) -> Iterator[str | None]:
        for cells in self.folder.cells(self.column):
            yield from cells.cast("string").to_pylist()


def read_large(data: str | Path, request: Request, tell: Callable[[str], None] = lambda far: None) -> Table | None:
    """The table of a file or folder that is read block by block, its X a source or :class:`Frames`; None for others.

    tell : called with how far it is

    Raises DataFileError for a folder with damaged Parquet files, and for what only an array in memory allows.
    """
    path = Path(data)
    if str(data) == STDIN or not path.exists():
        return None
    if holds_parquet(path) or (path.suffix.lower() == ".parquet" and path.is_file()):
        return _read_folder(path, request)
    if path.suffix.lower() in (".h5", ".hdf5", ".zarr"):
        return _read_store(path, request)
    if path.is_file() and Content(path).suffix in TEXTS:
        return _read_text(path, request, tell)
    return _read_array(path, request) if path.suffix.lower() == ".npy" and path.is_file() else None


def _read_folder(path: Path, request: Request) -> Table | None:
    from xpnet.data.folder import Folder

    folder = Folder(path)
    columns = pick_columns(folder.name, folder.schema.names, request)
    size = folder.rows * len(columns.all) * numpy.dtype(request.dtype or "float64").itemsize
    return None if size <= sources.LARGE_COPY else _table_of(folder, columns, request)


def _read_text(path: Path, request: Request, tell: Callable[[str], None]) -> Table | None:
    """A text file that would take much memory, by way of a Parquet file that is removed with its last reader."""
    from xpnet.data.converted import convert, table_bytes

    content = Content(path)
    size = table_bytes(content, request)
    if size <= sources.LARGE_COPY:
        return None
    from xpnet.data.folder import Folder

    converted = convert(content, request, size, tell)
    kept = converted.path.stat().st_size
    try:
        folder = Folder(converted.path, content.name)
    except BaseException:
        shutil.rmtree(converted.folder, ignore_errors=True)
        raise
    weakref.finalize(folder, shutil.rmtree, converted.folder, ignore_errors=True)  # Python's end counts, too
    asked = converted.request
    table = _table_of(folder, pick_columns(folder.name, folder.schema.names, asked), asked)
    place = converted.folder.parent
    note = f"read by way of a Parquet file of {kept / 1e9:.2f} GB in {place}, which is removed at the end"
    left_out = {**converted.left_out, **table.left_out}
    return replace(table, left_out=left_out, notes=[note, *converted.notes, *table.notes])


def _table_of(folder: Any, columns: Columns, request: Request) -> Table:
    """The table of a folder, whose cells are not read yet."""
    from xpnet.data.labels import read_labels

    # Whether a comma stands before decimals is not to depend on the block.
    request = replace(request, dialect=Dialect(decimal=request.dialect.decimal or "."))
    table = Table(folder.name, None, columns.features)
    if request.features is None or not request.kinds:
        table = _look(folder, columns, request)
        request = replace(request, kinds=_kinds(table), text=())
    X = Frames(folder, replace(request, features=table.features))
    ids = {column: Cells(folder, column) for column in columns.ids}
    if columns.target is None:
        return replace(table, X=X, ids=ids)
    labels = read_labels(folder.name, columns.target, folder.cells(columns.target), folder.rows)
    return replace(table, X=X, ids=ids, labels=labels, target=columns.target)


def _look(folder: Any, columns: Columns, request: Request) -> Table:
    """A table of the first rows of some groups."""
    import pyarrow

    from xpnet.data.columns import as_table

    count = len(folder.groups)
    some = numpy.unique(numpy.linspace(0, count - 1, min(count, _BLOCKS)).astype(int))
    parts = [(block, batch) for block in some for batch in islice(folder.batches(int(block), columns.features), 1)]
    content = pyarrow.Table.from_batches([batch for _, batch in parts])
    rows = [int(folder.starts[block]) + row for block, batch in parts for row in range(len(batch))]
    table = as_table(folder.name, content, replace(columns, target=None, ids=[]), request, rows)
    if not table.left_out:
        return table
    note = f"columns to leave out are found by {content.num_rows:,} of {folder.rows:,} rows"
    return replace(table, notes=[note, *table.notes])


def _kinds(table: Table) -> dict[str, Kind]:
    """What each feature holds."""
    if isinstance(table.X, numpy.ndarray):
        return dict.fromkeys(table.features, "number")
    text = {field.name for field in table.X.schema if str(field.type) == "string"}
    return {feature: "text" if feature in text else "number" for feature in table.features}


def _read_array(path: Path, request: Request) -> Table | None:
    """A .npy file whose numbers would take much memory in the dtype asked for."""
    from xpnet.data.arrays import load_array

    array = load_array(Content(path))
    apart = not request.labelled or (request.target or "").endswith(".npy")
    if as_source(array, dtype=request.dtype) is None or not (apart or path.stat().st_size > sources.LARGE):
        return None
    if not apart:
        raise DataFileError(f"{path.name}: labels of an array this large lie in a file of their own: --target y.npy.")
    y = load_array(Content(str(request.target))) if request.labelled else None
    return _of_array(path.name, array, y, request)


def _read_store(path: Path, request: Request) -> Table | None:
    """An HDF5 or Zarr file whose X would take much memory."""
    from xpnet.data.arrays import array_of, check_codecs, decoded, open_large_store, reading

    store = open_large_store(path)
    if store is None:
        return None
    with reading(path.name):
        X = store["X"]
        check_codecs(path.name, X)
        rows, columns = X.shape
        if rows * columns * numpy.dtype(request.dtype or "float64").itemsize <= sources.LARGE_COPY:
            return None
        y = decoded(array_of(path.name, store, request.target or "y")) if request.labelled else None
        return _of_array(path.name, X, y, replace(request, target=request.target or "y"))


def _of_array(name: str, array: Any, y: numpy.ndarray | None, request: Request) -> Table:
    """An array that is not loaded, and its labels, as a table.

    Raises DataFileError for another number of labels than of rows.
    """
    from xpnet.data.arrays import chosen_columns
    from xpnet.data.labels import as_labels

    features, places = chosen_columns(name, array, request)
    source = ArraySource(array, None if places == list(range(array.shape[1])) else places)
    if y is None:
        return Table(name, source, features)
    target = str(request.target)
    if y.shape != source.shape[:1]:
        raise DataFileError(f"{target}: one label for each of {source.shape[0]} rows; received shape {y.shape}.")
    return Table(name, source, features, as_labels(name, target, y), target)
