"""Rows that need not fit into memory, read block by block for training and prediction."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

import numpy

from xpnet.data.readers.zarr_safety import check_zarr
from xpnet.errors import DataFileError, InputError
from xpnet.typing import ArrayLike

__all__ = ["ArraySource", "ChunkSource", "ParquetSource", "Source"]

BLOCK_BYTES = 2**23
"""Usual bytes of a block: a disk reads such blocks in any order about as fast as in their own."""

MAX_BLOCK_BYTES = 2**27
"""Maximum bytes of a block, whatever the chunks in which an array is stored."""

BUFFER_ROWS = 2**18
"""Maximum rows that are shuffled at a time; a smaller source is loaded whole."""

BUFFER_BYTES = 2**27
"""Maximum bytes that are shuffled at a time."""

LARGE_MAP_BYTES = 2**32
"""Size from which on a memory-mapped array is read as a source."""

LARGE_COPY_BYTES = 2**29
"""Size, in bytes of the copy, from which on an array that would be copied is read as a source."""


class Source:
    """A matrix of numbers that is read in blocks of consecutive rows, and need not fit into memory.

    A subclass sets `shape`, `dtype` and `starts`, and has a method `read` or `parts`.

    Attributes
    ----------
    shape : tuple of int
        Rows and features.
    dtype : numpy.dtype
        The dtype of the matrix.
    starts : numpy.ndarray, shape (blocks + 1,)
        The first row of each block, and behind them the number of rows.
    ndim : int
        2, as of every matrix.
    in_order : bool
        Whether blocks are read from the first to the last, if not all of them; False by default.

    Examples
    --------
    >>> import numpy
    >>> from xpnet.data.sources import Source
    >>> class Squares(Source):
    ...     shape, dtype, starts = (6, 1), numpy.dtype("float64"), numpy.array([0, 4, 6])
    ...     def read(self, block):
    ...         return numpy.arange(self.starts[block], self.starts[block + 1])[:, None] ** 2.0
    >>> Squares().whole().ravel()
    array([ 0.,  1.,  4.,  9., 16., 25.])
    """

    shape: tuple[int, int]
    dtype: numpy.dtype
    starts: numpy.ndarray
    ndim = 2
    in_order = False

    def read(self, block: int) -> numpy.ndarray:
        """Read the rows of a block. It is called from one thread at a time.

        A subclass overrides this method or `parts`.

        Parameters
        ----------
        block : int
            The number of the block, from 0.

        Returns
        -------
        numpy.ndarray, shape (rows of the block, features)
            The rows.
        """
        return numpy.concatenate([numpy.empty((0, self.shape[1]), self.dtype), *self.parts(block)])

    def parts(self, block: int) -> Iterator[numpy.ndarray]:
        """Read the rows of a block, some at a time where reading it whole would take much memory.

        Parameters
        ----------
        block : int
            The number of the block, from 0.

        Yields
        ------
        numpy.ndarray, shape (some rows, features)
            The rows, in their order; by default all at once.
        """
        yield self.read(block)

    @property
    def blocks(self) -> int:
        """Return the number of blocks."""
        return len(self.starts) - 1

    def __len__(self) -> int:
        return self.shape[0]

    def whole(self) -> numpy.ndarray:
        """Read all rows.

        Returns
        -------
        numpy.ndarray, shape (rows, features)
            The matrix, in its dtype.
        """
        X = numpy.empty(self.shape, self.dtype)
        filled = 0
        for block in range(self.blocks):
            for part in self.parts(block):
                X[filled : filled + len(part)] = part
                filled += len(part)
        return X

    def buffer_rows(self, dtype: str | numpy.dtype | None = None) -> int:
        """Count the rows that are shuffled at a time.

        Parameters
        ----------
        dtype : dtype or None, default None
            The dtype that the rows are computed in; None for that of the matrix, or float32 if it
            is narrower.

        Returns
        -------
        int
            The number of rows that a buffer holds.
        """
        if dtype is None:
            dtype = numpy.result_type(self.dtype, numpy.float32)
        row_bytes = self.shape[1] * numpy.dtype(dtype).itemsize
        return max(1, min(BUFFER_ROWS, BUFFER_BYTES // row_bytes))


class ArraySource(Source):
    """An object that is sliced as an array is: memory maps, datasets of h5py, arrays of Zarr.

    Parameters
    ----------
    array : array-like, shape (rows, features)
        Slices of consecutive rows are read as they are needed.

    Raises
    ------
    InputError
        For an array that is not a matrix of numbers.

    Examples
    --------
    >>> import numpy
    >>> from xpnet.data.sources import ArraySource
    >>> source = ArraySource(numpy.arange(6.0).reshape(3, 2))
    >>> source.shape, source.blocks
    ((3, 2), 1)
    >>> source.read(0)
    array([[0., 1.],
           [2., 3.],
           [4., 5.]])
    """

    def __init__(self, array: Any) -> None:
        if len(array.shape) != 2 or numpy.dtype(array.dtype).kind not in "biuf":
            raise InputError(
                "A source must be a matrix of numbers, (rows, features); got "
                f"{array.dtype}, {tuple(array.shape)}."
            )
        check_zarr(array)
        self.array: Any = array
        self.dtype: numpy.dtype = numpy.dtype(array.dtype)
        self.shape: tuple[int, int] = (int(array.shape[0]), int(array.shape[1]))
        row_bytes = max(1, self.shape[1] * self.dtype.itemsize)
        chunk = int((getattr(array, "chunks", None) or (1,))[0])
        size = -(-max(1, BLOCK_BYTES // row_bytes) // chunk) * chunk
        # Chunks that are taller, as those of single columns, are read in parts, each several times.
        size = min(size, max(1, MAX_BLOCK_BYTES // row_bytes))
        firsts = numpy.arange(0, self.shape[0], size)
        self.starts: numpy.ndarray = numpy.append(firsts, self.shape[0])

    def read(self, block: int) -> numpy.ndarray:
        return numpy.asarray(self.array[int(self.starts[block]) : int(self.starts[block + 1])])


class ParquetSource(Source):
    """A folder of Parquet files, or one file, whose groups of rows are the blocks.

    Names of folders such as ``year=2024`` are columns, too. An empty cell is NaN, as is a column
    that a file lacks.

    Parameters
    ----------
    path : str or Path
        The folder or file.
    target : str
        Column of the labels, which are read at once and kept.
    features : sequence of str, optional
        Columns that make the matrix; the default is all others.
    drop : sequence of str, default ()
        Columns to leave out.
    dtype : {"float32", "float64"}, default "float32"
        The dtype of the matrix.

    Attributes
    ----------
    labels : array, shape (rows,)
        Integers, floats or text.
    features : list of str
        Names of the matrix's columns.

    Raises
    ------
    DataFileError
        For a file that cannot be read, for columns that it does not have or that hold no numbers,
        and for rows without a label; also later, while rows are read.

    Examples
    --------
    >>> import pyarrow
    >>> import pyarrow.parquet
    >>> from xpnet.data.sources import ParquetSource
    >>> table = pyarrow.table({"width": [1.0, 2.0], "height": [3.0, None], "species": ["a", "b"]})
    >>> pyarrow.parquet.write_table(table, "flowers.parquet")
    >>> source = ParquetSource("flowers.parquet", target="species")
    >>> source.features, source.labels.tolist()
    (['width', 'height'], ['a', 'b'])
    >>> source.whole()
    array([[ 1.,  3.],
           [ 2., nan]], dtype=float32)
    """

    def __init__(
        self,
        path: str | Path,
        target: str,
        features: Iterable[str] | None = None,
        drop: Iterable[str] = (),
        dtype: str = "float32",
    ) -> None:
        # pyarrow is installed with the extra `tables` only.
        from xpnet.data.column_choice import pick_columns
        from xpnet.data.labels import read_labels
        from xpnet.data.readers.parquet_frames import parquet_frame

        self.frame: Any = parquet_frame(path, str(path))
        self.dtype: numpy.dtype = numpy.dtype(dtype)
        columns, _ = pick_columns(
            self.frame, target, list(features or ()), list(drop), (), labelled=True
        )
        self.features: list[str] = columns
        self._check_numeric(path)
        labels, labelled, _ = read_labels(self.frame, target)
        self.labels: numpy.ndarray = labels
        if not labelled.all():
            row = int(labelled.argmin()) + 1
            raise DataFileError(
                f"{path}: every row must have a label; row {row}, column {target!r} has none. "
                "Leave it out."
            )
        self.starts: numpy.ndarray = self.frame.starts
        self.shape: tuple[int, int] = (self.frame.rows, len(self.features))

    def _check_numeric(self, path: str | Path) -> None:
        """Raise DataFileError for features that are not numbers."""
        from pyarrow import types

        numeric = (types.is_integer, types.is_floating, types.is_boolean, types.is_decimal)
        kinds = {name: self.frame.schema.field(name).type for name in self.features}
        others = [
            name for name, kind in kinds.items() if not any(is_kind(kind) for is_kind in numeric)
        ]
        if others:
            raise DataFileError(
                f"{path}: the columns of a matrix must hold numbers; "
                f"{', '.join(map(repr, others))} hold none. Leave them out, encode them first, or "
                "use xpnet train."
            )

    def parts(self, block: int) -> Iterator[numpy.ndarray]:
        for batch in self.frame.batches(block, self.features):
            X = numpy.empty((batch.num_rows, len(self.features)), self.dtype)
            for place, column in enumerate(batch.columns):
                X[:, place] = column.cast(self.dtype.name, safe=False).to_numpy(
                    zero_copy_only=False
                )
            yield X


class ChunkSource(Source):
    """Chunks of rows that a function yields, from the first to the last, whenever it is called.

    Parameters
    ----------
    make : callable
        Called without arguments; yields matrices (rows, features), or pairs of one and its labels
        (rows,). It is called once to count, and once for each pass over the rows, and yields the
        same each time.

    Attributes
    ----------
    labels : array, shape (rows,), or None
        The labels, where there were any.

    Raises
    ------
    InputError
        For chunks with other numbers of columns, and later for a function that yields others than
        before.

    Examples
    --------
    >>> import numpy
    >>> from xpnet.data.sources import ChunkSource
    >>> def chunks():
    ...     for k in range(3):
    ...         yield numpy.full((2, 4), float(k)), numpy.array([k, k])
    >>> source = ChunkSource(chunks)
    >>> source.shape, source.labels
    ((6, 4), array([0, 0, 1, 1, 2, 2]))
    """

    in_order = True

    def __init__(self, make: Callable[[], Iterable[Any]]) -> None:
        self.make = make
        chunks = [(X.shape, X.dtype, y) for X, y in self._chunks()]
        widths = {shape[1] for shape, *_ in chunks}
        labels = [numpy.asarray(y) for *_, y in chunks if y is not None]
        if len(widths) != 1:
            raise InputError(
                "Chunks must be matrices with equally many columns, at least one; got "
                f"{sorted(widths)}."
            )
        self.dtype: numpy.dtype = numpy.result_type(*(dtype for _, dtype, _ in chunks))
        self.starts: numpy.ndarray = numpy.cumsum([0, *(shape[0] for shape, *_ in chunks)])
        self.shape: tuple[int, int] = (int(self.starts[-1]), widths.pop())
        self.labels: numpy.ndarray | None = numpy.concatenate(labels) if labels else None
        self._open: Iterator[tuple[numpy.ndarray, Any]] = iter(())
        self._next = self.blocks

    def _chunks(self) -> Iterator[tuple[numpy.ndarray, Any]]:
        """Yield the chunks of one pass: X as an array, and y, or None without targets."""
        for chunk in self.make():
            X, y = chunk if isinstance(chunk, tuple) else (chunk, None)
            yield numpy.asarray(X), y

    def read(self, block: int) -> numpy.ndarray:
        """Read a chunk, and pass over those between it and the last one that was read.

        For an earlier chunk the function is called again.

        Parameters
        ----------
        block : int
            The number of the block, from 0.

        Returns
        -------
        numpy.ndarray, shape (rows of the block, features)
            The rows.
        """
        if block < self._next:
            self._open = self._chunks()
            self._next = 0
        skipped = block - self._next
        self._next = block + 1
        X = next(islice(self._open, skipped, None), (None, None))[0]
        if X is None or X.shape[0] != self.starts[block + 1] - self.starts[block]:
            raise InputError(
                "A function that yields chunks must yield the same ones whenever it is called; it "
                "yielded others. Make it independent of earlier calls."
            )
        return X


RowsLike: TypeAlias = ArrayLike | Source | Callable[[], Iterable[object]]
"""Rows of a user: in memory, a source, or a function that yields chunks of rows."""


def as_source(X: object, *, dtype: str | None = None, copied: bool = False) -> Source | None:
    """Return X as a source, if it is one or must be read as one.

    Arrays in memory and small memory maps give None.

    X : a Source; a numpy.memmap that is large, or would make a large copy; a dataset of h5py or an
        array of Zarr; a function that yields chunks
    dtype : in which X would be used as an array, where that is known
    copied : whether it would be copied anyway
    """
    if isinstance(X, Source):
        return X
    if isinstance(X, numpy.ndarray):
        return ArraySource(X) if _is_large_map(X, dtype, copied=copied) else None
    if type(X).__module__.partition(".")[0] in ("h5py", "zarr"):
        return ArraySource(X)
    if callable(X) and not hasattr(X, "__array__") and not hasattr(X, "shape"):
        return ChunkSource(X)
    return None


def _is_large_map(array: numpy.ndarray, dtype: str | None, *, copied: bool) -> bool:
    """Return whether this is a memory-mapped matrix that is too large to be used as an array; see
    `as_source`.
    """
    if not (isinstance(array, numpy.memmap) and array.ndim == 2 and array.dtype.kind in "biuf"):
        return False
    own_dtype = array.dtype if array.dtype in ("float32", "float64") else numpy.dtype("float64")
    used_in = numpy.dtype(dtype or own_dtype)
    if copied or array.dtype != used_in:
        return array.size * used_in.itemsize > LARGE_COPY_BYTES
    return array.nbytes > LARGE_MAP_BYTES
