"""Rows of a data file with their targets: read, divided, encoded."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import numpy
import pyarrow
from sklearn.model_selection import train_test_split

from xpnet.cli.output import working
from xpnet.cli.settings import ReadingSettings
from xpnet.cli.table_model import TableModel
from xpnet.data import open_data
from xpnet.data.column_choice import pick_columns
from xpnet.data.frames import Frame
from xpnet.data.sources import Source
from xpnet.errors import DataFileError

SPLIT_ROWS = 2**18
"""Maximum rows that are divided at a time, since their indices take memory."""


MAX_COLUMNS = 100_000
"""Maximum columns of a table: each takes about 0.1 ms when it is encoded."""


class ReadColumns(NamedTuple):
    """A data file and the columns that a model takes.

    opened : the file; frame : its rows, with these columns
    features : names of columns; target : the name of the labels' column, "" without labels
    """

    opened: Any
    frame: Frame
    features: list[str]
    target: str


def read_columns(
    data: str, settings: ReadingSettings, model: TableModel | None = None, *, labelled: bool
) -> ReadColumns:
    """Open a data file and read the columns that a model takes.

    model : says what the options leave open; labelled : whether labels are needed

    Raises DataFileError if columns are missing.
    """
    opened = open_data(data, settings.target if labelled else None, **settings.dialect)
    drop = [*settings.drop, *settings.ids]
    text = [*settings.text]
    features, target = settings.features, settings.target
    if model is not None:
        drop += [name for name in model.ids if name in opened.names]
        text += [name for name in model.text if name in opened.names]
        features = features or tuple(model.features)
        target = target or opened.default_target or model.target
    names, label = pick_columns(opened, target, features, drop, text, labelled=labelled)
    if len(names) > MAX_COLUMNS:
        raise DataFileError(
            f"{opened.name}: a model must have at most {MAX_COLUMNS:,} columns; got "
            f"{len(names):,}. Choose some with --features."
        )
    columns = names if label is None else [*names, label]
    with working(f"reading {opened.name}"):
        frame = opened.read(columns, [name for name in text if name in columns], label)
    return ReadColumns(opened, frame, names, label or "")


@dataclass(frozen=True)
class TableRows:
    """Some of the rows of a frame.

    features : names of columns; chosen : (rows of the frame,) bool, which of them
    y : (rows,) class indices, or numbers; classes : the labels, in their order; None for numbers
    """

    frame: Frame
    features: list[str]
    chosen: numpy.ndarray
    y: numpy.ndarray
    classes: Any

    def __len__(self) -> int:
        return len(self.y)

    def take(self, selection: Any) -> "TableRows":
        """Return some of the rows, in their order. selection : (rows,) bool, or a slice"""
        taken = numpy.zeros(len(self), bool)
        taken[selection] = True
        chosen = self.chosen.copy()
        chosen[self.chosen] = taken
        return replace(self, chosen=chosen, y=self.y[taken])

    def sample(self, maximum: int) -> "TableRows":
        """Return about ``maximum`` rows, at even distances; all of fewer rows."""
        return self.take(slice(None, None, -(-len(self) // maximum)))

    def table(self) -> pyarrow.Table:
        """Return all rows as one table."""
        return pyarrow.concat_tables(self.tables()).unify_dictionaries()

    def tables(self, blocks: Iterable[int] | None = None) -> Iterator[pyarrow.Table]:
        """Yield the rows, some thousand at a time. blocks : of the frame; None for all"""
        for block in range(self.frame.blocks) if blocks is None else blocks:
            first = int(self.frame.starts[block])
            for batch in self.frame.batches(block, self.features):
                own = self.chosen[first : first + len(batch)]
                if own.any():
                    yield pyarrow.Table.from_batches([batch.filter(pyarrow.array(own))])
                first += len(batch)


class EncodedRows(Source):
    """Inputs of a network: rows that are encoded as they are read. encoder : fitted"""

    def __init__(self, rows: TableRows, encoder: Any, dtype: str) -> None:
        self.rows, self.encoder, self.dtype = rows, encoder, numpy.dtype(dtype)
        counts = [
            numpy.count_nonzero(rows.chosen[start:end])
            for start, end in pairwise(rows.frame.starts)
        ]
        self.starts = numpy.cumsum([0, *counts])
        self.shape = (len(rows), len(encoder.get_feature_names_out()))

    def parts(self, block: int) -> Iterator[numpy.ndarray]:
        """Yield the rows of a block, some thousand at a time."""
        for table in self.rows.tables([block]):
            yield numpy.asarray(self.encoder.transform(table)).astype(self.dtype, copy=False)


def split(rows: TableRows, fraction: float, seed: int, option: str) -> tuple[TableRows, TableRows]:
    """Divide rows into two parts, of which the second has a fraction of them.

    The parts have the same frequencies of classes, and each class has rows in the first part.

    option : that named the fraction, for the message

    Raises DataFileError where no row would be left in the first part.
    """
    count = len(rows)
    if fraction and round(fraction * count) >= count:
        raise DataFileError(
            f"{rows.frame.name}: some row must be left to train on; {count} rows are too few for "
            f"{option} {fraction}."
        )
    second = numpy.zeros(count, bool)
    for first in range(0, count if fraction else 0, SPLIT_ROWS):
        y = rows.y[first : first + SPLIT_ROWS]
        stratified = rows.classes is not None
        second[first + _second_part(y, fraction, seed, stratified=stratified)] = True
    return rows.take(~second), rows.take(second)


def _second_part(
    y: numpy.ndarray, fraction: float, seed: int, *, stratified: bool
) -> numpy.ndarray:
    """Return indices of the rows in the second part.

    stratified : whether y has class indices, each of which must have rows in the first part
    """
    divisible = numpy.flatnonzero(numpy.bincount(y)[y] > 1) if stratified else numpy.arange(len(y))
    if len(divisible) < 2:
        return divisible[:0]
    divide = partial(train_test_split, divisible, test_size=fraction, random_state=seed)
    try:
        return divide(stratify=y[divisible] if stratified else None)[1]
    except ValueError:  # one of the parts has fewer rows than there are classes
        first, second = divide()
        return second[numpy.isin(y[second], y[first])] if stratified else second
