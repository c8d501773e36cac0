"""Tables that take too much memory when they are encoded at once.

An encoder learns from some rows at even distances, and rows are encoded some thousand at a time:
once, or for each epoch where the encoded rows would take too much memory, too. All networks have
the same validation rows, which are split off before the encoder learns. So no validation row has a
part in the encoding, each part is encoded in place, and a row is never copied. With more than
`SAMPLE_ROWS` rows there is hardly more than one network, for which folds would be one part as well.

Chunks and blocks are numbers of rows, whatever holds the table: a frame and a file of the same rows
are encoded and trained on in the same order.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy
from numpy.random import RandomState

from xpnet.data import table_size
from xpnet.data.sources import Source
from xpnet.dispatch import choose
from xpnet.learning.labels import hard_labels
from xpnet.models.inputs import is_host
from xpnet.tabular.columns.frames import table_of
from xpnet.tabular.encoder import TableEncoder
from xpnet.tabular.encodings.column_fit import GUARANTEED_CATEGORIES, MAX_TREE_BINS, MIN_BINS
from xpnet.tabular.encodings.target_means import InputMeans
from xpnet.tabular.rows.division import check_groups, split_off_rows
from xpnet.tabular.rows.file_table import FileTable
from xpnet.tabular.rows.sparse_rows import are_mostly_zeros, compressed, max_filled
from xpnet.tabular.rows.table_rows import TableRows, target_of_encodings
from xpnet.tabular.rows.table_split import TableSplit
from xpnet.tabular.settings import TableSettings
from xpnet.typing import SparseMatrix

SAMPLE_ROWS = 2**16
"""Maximum number of rows that the encoder of a large table learns from."""
MAX_ENCODED = 2**25
"""Maximum number of numbers of a large table that are in memory at once when they are encoded."""
BLOCK_ROWS = 2**18
"""Rows of a block of a table that is encoded for each epoch; blocks are read in random order.
Smaller blocks would read the large groups of rows of Parquet files many times."""
MAX_CHUNK_ROWS = 2**14
"""Maximum number of rows that are encoded at once."""
MIN_CHUNK_ROWS = 2**10
"""Number of rows that are encoded at once of the widest tables."""
CHUNK_NUMBERS = 2**19
"""Number of cells that are encoded at once, unless these are fewer rows than MIN_CHUNK_ROWS."""


def is_large(rows: TableRows) -> bool:
    """Return whether rows are encoded some thousand at a time."""
    return has_large_size(rows.count, len(columns_of(rows)))


def has_large_size(rows: int, columns: int) -> bool:
    """Return whether a table of these numbers of rows and columns is large."""
    return rows > SAMPLE_ROWS and 8 * rows * columns > table_size.LARGE_TABLE_BYTES


def columns_of(rows: TableRows) -> Sequence[object]:
    """Return the columns of a table."""
    return rows.X.columns if isinstance(rows.X, FileTable) else table_of(rows.X).columns


def encode_large(
    settings: TableSettings,
    encoder: TableEncoder,
    rows: TableRows,
    validation: TableRows | None,
    random_state: RandomState,
) -> TableSplit:
    """Fit an encoder to some rows of a large table, and return all rows, which it encodes.

    validation : the user's own validation rows; None for a fraction of the rows
    """
    max_width = MAX_ENCODED // (rows.count * len(columns_of(rows)))  # inputs of each column
    training = rows
    if validation is None and settings.validation_fraction:
        training, validation = split_off(settings, rows, random_state)
    places = numpy.arange(0, training.count, -(-training.count // SAMPLE_ROWS))
    limit_width(encoder, max_width, rows.count)
    means = fit_to_sample(encoder, training.take(places), are_classes=settings.has_classes)
    notes = []
    if not max_width:
        notes.append(
            "the table is read again for each epoch, since its encoded rows would take much memory"
        )
    if len(places) < training.count:
        notes.append(
            f"encodings are those of {len(places):,} of {training.count:,} rows, at even distances"
        )
    X = TableSource(training, encoder, settings.dtype, written_means(means, places))
    may_be_sparse = is_host(choose(backend=settings.backend).backend)
    split = TableSplit(
        training.with_inputs(X.in_memory(may_be_sparse=may_be_sparse) if max_width else X),
        None,
        are_own=True,
        notes=notes,
    )
    if validation is None:
        return split
    X_val = TableSource(validation, encoder, settings.dtype)
    return replace(
        split,
        validation=validation.with_inputs(X_val.in_memory() if max_width else X_val),
    )


def split_off(
    settings: TableSettings, rows: TableRows, random_state: RandomState
) -> tuple[TableRows, TableRows]:
    """Return rows for training, and a fraction of all rows for validation."""
    if rows.links.groups is not None:
        check_groups(rows.links.groups)
    Y = rows.Y
    is_validation = split_off_rows(
        hard_labels(Y) if settings.has_classes else Y,
        rows.links,
        settings.validation_fraction,
        int(random_state.randint(2**31 - 1)),
        are_classes=settings.has_classes,
    )
    return rows.part(~is_validation), rows.part(is_validation)


def limit_width(encoder: TableEncoder, max_width: int, rows: int) -> None:
    """Limit the bins and the categories that are left to the data.

    max_width : maximum number of inputs of each column; rows : of the table
    """
    if encoder.bins == "auto":
        encoder.bins = min(max_width, MAX_TREE_BINS) if max_width >= MIN_BINS else None
    max_categories = max(GUARANTEED_CATEGORIES, MAX_ENCODED // rows)
    encoder.max_categories = min(encoder.max_categories, max_categories)


def fit_to_sample(
    encoder: TableEncoder, sample: TableRows, *, are_classes: bool
) -> Sequence[InputMeans]:
    """Fit an encoder to some rows; return the inputs that are mean targets."""
    target = target_of_encodings(sample.Y, are_classes=are_classes)
    table = sample.table_for(encoder)
    return encoder.fit_means(table, target, sample.links.groups, sample.links.time)


@dataclass(frozen=True, eq=False)
class WrittenMeans:
    """The mean targets of the rows that an encoder has learned from, for rows encoded in chunks.

    inputs : their places among the inputs
    places : (rows,) int, where these rows are among the encoded ones, rising
    values : (rows, means)
    """

    inputs: slice
    places: numpy.ndarray
    values: numpy.ndarray

    def write(self, X: numpy.ndarray, first: int) -> None:
        """Write the means of consecutive rows. X : (rows, inputs); first : place of the first"""
        own = slice(*numpy.searchsorted(self.places, [first, first + len(X)]))
        X[self.places[own] - first, self.inputs] = self.values[own]


def written_means(means: Sequence[InputMeans], places: numpy.ndarray) -> list[WrittenMeans]:
    """Return the mean targets of the rows of an encoder. places : of these among training rows"""
    rows = numpy.arange(len(places))
    return [
        WrittenMeans(inputs, places, of_column.of_training_rows(rows))
        for inputs, of_column in means
    ]


class TableSource(Source):
    """Inputs of a network: rows of a table that are encoded as they are read.

    encoder : fitted; means : the mean targets of training rows; none for other rows
    """

    def __init__(
        self,
        rows: TableRows,
        encoder: TableEncoder,
        dtype: str,
        means: Sequence[WrittenMeans] = (),
    ) -> None:
        self.table = rows.X if isinstance(rows.X, FileTable) else table_of(rows.X)
        indices = rows.indices
        self.rows: numpy.ndarray = numpy.arange(rows.count) if indices is None else indices
        self.encoder = encoder
        self.means = means
        self.dtype: numpy.dtype = numpy.dtype(dtype)
        self.starts: numpy.ndarray = numpy.append(
            numpy.arange(0, rows.count, BLOCK_ROWS), rows.count
        )
        self.shape: tuple[int, int] = (rows.count, len(encoder.get_feature_names_out()))
        cells = CHUNK_NUMBERS // len(self.table.columns)
        self.chunk_rows: int = min(max(cells, MIN_CHUNK_ROWS), MAX_CHUNK_ROWS)

    def parts(self, block: int) -> Iterator[numpy.ndarray]:
        """Yield the rows of a block, some thousand at a time."""
        return self._encoded(*self.starts[block : block + 2].tolist())

    def in_memory(self, *, may_be_sparse: bool = False) -> "numpy.ndarray | SparseMatrix":
        """Return all rows, as a sparse matrix where most inputs are 0 and that is allowed."""
        encodings = self.encoder.encodings_
        if may_be_sparse and are_mostly_zeros(encodings):
            parts = self._encoded(0, len(self))
            return compressed(parts, self.shape, self.dtype, max_filled(encodings))
        return self.whole()

    def whole(self) -> numpy.ndarray:
        """Return all rows, which are read once from the first to the last."""
        X = numpy.empty(self.shape, self.dtype)
        filled = 0
        for part in self._encoded(0, len(self)):
            X[filled : filled + len(part)] = part
            filled += len(part)
        return X

    def _encoded(self, first: int, end: int) -> Iterator[numpy.ndarray]:
        """Yield consecutive rows."""
        for table in self.table.chunks(self.rows[first:end], self.chunk_rows):
            X = self.encoder.encoded(self.encoder.prepared(table))
            for means in self.means:
                means.write(X, first)
            first += len(X)
            yield X.astype(self.dtype, copy=False)
