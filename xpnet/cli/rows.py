"""Rows of a frame with their targets: split, taken at once, or encoded while they are read block by block."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy
import pyarrow

from xpnet.data.frames import Frame
from xpnet.data.sources import Source
from xpnet.errors import DataFileError


@dataclass(frozen=True)
class Rows:
    """Some rows of a frame.

    features : names of columns; places : (rows,) numbers of the rows in the frame, ascending
    y : (rows,) class indices, or numbers
    """

    frame: Frame
    features: list[str]
    places: numpy.ndarray
    y: numpy.ndarray

    def __len__(self) -> int:
        return len(self.places)

    def take(self, chosen: numpy.ndarray) -> "Rows":
        """Some of the rows. chosen : indices"""
        chosen = numpy.sort(chosen)
        return Rows(self.frame, self.features, self.places[chosen], self.y[chosen])

    def table(self, *, step: int = 1) -> pyarrow.Table:
        """One row in so many, as one table."""
        schema = pyarrow.schema([self.frame.schema.field(name) for name in self.features])
        parts = [batch for block in range(self.frame.blocks) for batch in self.batches(block, self.places[::step])]
        return pyarrow.Table.from_batches(parts, schema).unify_dictionaries()

    def batches(self, block: int, places: numpy.ndarray | None = None) -> Iterator[pyarrow.RecordBatch]:
        """The rows of a block of the frame, some thousand at a time."""
        places = self.places if places is None else places
        first, end = map(int, self.frame.starts[block : block + 2])
        if numpy.searchsorted(places, first) == numpy.searchsorted(places, end):
            return
        for batch in self.frame.batches(block, self.features):
            low, high = numpy.searchsorted(places, [first, first + len(batch)])
            if high - low == len(batch):
                yield batch
            elif high > low:
                yield batch.take(pyarrow.array(places[low:high] - first))
            first += len(batch)

    def tables(self) -> Iterator[pyarrow.Table]:
        """All rows, some thousand at a time."""
        for block in range(self.frame.blocks):
            for batch in self.batches(block):
                yield pyarrow.Table.from_batches([batch])


class EncodedRows(Source):
    """Rows as inputs of a network, encoded as they are read. encoder : fitted"""

    def __init__(self, rows: Rows, encoder: Any, dtype: str) -> None:
        self.rows, self.encoder, self.dtype = rows, encoder, numpy.dtype(dtype)
        counts = numpy.diff(numpy.searchsorted(rows.places, rows.frame.starts))
        (self._read_from,) = numpy.nonzero(counts)
        self.starts = numpy.append(0, numpy.cumsum(counts[self._read_from])).astype(numpy.int64)
        self.shape = (len(rows), len(encoder.get_feature_names_out()))

    def read(self, block: int) -> numpy.ndarray:
        """The rows of a block."""
        return numpy.concatenate(list(self.parts(block)))

    def parts(self, block: int) -> Iterator[numpy.ndarray]:
        """The rows of a block, some thousand at a time."""
        for batch in self.rows.batches(int(self._read_from[block])):
            table = pyarrow.Table.from_batches([batch])
            yield numpy.asarray(self.encoder.transform(table)).astype(self.dtype, copy=False)


def split(rows: Rows, share: float, seed: int, *, stratified: bool, option: str) -> tuple[Rows, Rows]:
    """Two parts of some rows, the second of which has the share; classes keep theirs, and have rows in the first.

    option : that named the share

    Raises DataFileError where no row would be left in the first part.
    """
    from sklearn.model_selection import train_test_split

    every = numpy.arange(len(rows))
    if not share:
        return rows, rows.take(every[:0])
    if round(share * len(rows)) >= len(rows):
        raise DataFileError(
            f"{rows.frame.name}: some row must be left to train on; {len(rows)} rows are too few for {option} {share}."
        )
    alone = numpy.bincount(rows.y)[rows.y] < 2 if stratified else numpy.zeros(len(rows), bool)
    shared = every[~alone]
    if len(shared) < 2:
        return rows, rows.take(every[:0])
    labels = rows.y[shared] if stratified else None
    try:
        first, second = train_test_split(shared, test_size=share, random_state=seed, stratify=labels)
    except ValueError:  # there are more classes than rows in one of the parts
        first, second = train_test_split(shared, test_size=share, random_state=seed)
        first, second = _with_every_class(rows.y, first, second) if stratified else (first, second)
    return rows.take(numpy.append(first, every[alone])), rows.take(second)


def _with_every_class(y: numpy.ndarray, first: numpy.ndarray, second: numpy.ndarray) -> Any:
    """The parts, with those rows of the second moved whose class the first lacks."""
    lacking = ~numpy.isin(y[second], y[first])
    return numpy.append(first, second[lacking]), second[~lacking]
