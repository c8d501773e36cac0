"""A data file becomes rows with targets here: columns, the task, splits, rows encoded as they are read."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal

import numpy
import pyarrow

from xpnet.data import DataFile
from xpnet.data.frames import Frame
from xpnet.data.sources import Source
from xpnet.errors import DataFileError


@dataclass(frozen=True)
class Columns:
    """Names of columns.

    features : that a model takes; target : of the labels, None where none are asked for; ids : that are carried along
    """

    features: list[str]
    target: str | None
    ids: list[str]


def pick_columns(
    opened: DataFile,
    *,
    target: str | None = None,
    labelled: bool = True,
    features: Sequence[str] = (),
    drop: Sequence[str] = (),
    ids: Sequence[str] = (),
) -> Columns:
    """The columns to read from a file.

    labelled : whether a target is needed

    Raises DataFileError for columns that are missing, for a target that is not named, and where no feature is left.
    """
    own = opened.default_target
    if labelled and target is None and own is None:
        raise DataFileError(
            f"{opened.name}: --target names the column that holds the labels, one of {listed(opened.names)}."
        )
    if labelled and own is not None and target not in (None, own, "target", "y"):
        raise DataFileError(f"{opened.name}: its labels are called {own!r}; received {target!r}. Leave --target out.")
    target = (own or target) if labelled else None
    named = dict.fromkeys([*([] if target is None else [target]), *features, *ids, *drop])
    missing = [column for column in named if column not in opened.names]
    if missing:
        raise DataFileError(_told(opened, missing))
    apart = {target, own, *ids, *drop}
    chosen = [column for column in opened.names if column not in apart] if not features else list(features)
    if not chosen:
        raise DataFileError(
            f"{opened.name}: at least one column beside the target is needed; received {listed(opened.names)}."
        )
    if target in chosen:
        raise DataFileError(f"{opened.name}: {target!r} is the target, and no feature can be. Name another.")
    return Columns(chosen, target, list(dict.fromkeys(ids)))


def _told(opened: DataFile, missing: Sequence[str]) -> str:
    """Say which columns are missing, and which may have been meant."""
    columns = f"column{'s' if len(missing) > 1 else ''} {listed(missing)}"
    told = f"{opened.name}: there is no {columns}; the columns are {listed(opened.names)}."
    numbers = sum(_is_number(column) for column in opened.names)
    if len(opened.names) > 1 and 2 * numbers > len(opened.names):
        return f"{told} The first line holds numbers: if it has no names, --no-header calls the columns x0, x1, ..."
    lowered = {name.lower(): name for name in opened.names}
    close = get_close_matches(missing[0].lower(), lowered, 1)
    return f"{told} Did you mean {lowered[close[0]]!r}?" if close else f"{told} Check the spelling."


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def listed(names: Sequence[str], most: int = 12) -> str:
    """``'a', 'b', 'c'``, cut after so many."""
    shown = ", ".join(repr(name[:60]) for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


Task = Literal["classify", "regress"]
SPLIT_ROWS = 2**18
"""The most rows that are split at a time."""

FEW = 20
"""Whole numbers of which at most so many differ are classes, where each comes several times."""

MOST = 1000
"""More classes than this are trained only where that was asked for."""


def choose_task(name: str, target: str, labels: numpy.ndarray, asked: str | None) -> tuple[Task, str]:
    """Return the task, and in a few words why.

    Raises DataFileError for labels that do not serve the task, and for text of which thousands differ, unless it was
    asked to take them as classes.
    """
    distinct, kind = numpy.unique(labels), labels.dtype.kind
    if asked == "regress" and kind not in "iuf":
        raise DataFileError(
            f"{name}: column {target!r} must hold numbers to predict; its first row holds {labels[0]!s:.60}. "
            "--task classify takes text."
        )
    if asked == "classify" and kind == "f":
        raise DataFileError(
            f"{name}: column {target!r} must hold classes: text or whole numbers. --task regress predicts others."
        )
    if asked is None and kind not in "iuf":
        if len(distinct) > MOST or (len(distinct) > FEW and 2 * len(distinct) > len(labels)):
            raise DataFileError(
                f"{name}: column {target!r} holds {len(distinct):,} different texts in {len(labels):,} rows, "
                "which would each be a class. Add --task classify if that is meant, or name another target."
            )
    task, why = _guessed(target, distinct, len(labels), kind)
    if asked is not None:
        task, why = ("regress" if asked == "regress" else "classify"), "as asked"
    if task == "classify" and len(distinct) < 2:
        raise DataFileError(f"{name}: a classifier needs at least two classes; every label is {distinct[0].item()!r}.")
    return task, why


def _guessed(target: str, distinct: numpy.ndarray, rows: int, kind: str) -> tuple[Task, str]:
    if kind == "f":
        return "regress", f"{target} holds numbers that are not whole"
    if kind != "i":
        return "classify", f"{target} holds text"
    holds = f"{target} holds {len(distinct):,} different whole numbers"
    if _are_classes(distinct, rows):
        return "classify", f"{holds}; --task regress predicts them as numbers"
    return "regress", f"{holds}; --task classify makes them classes"


def _are_classes(distinct: numpy.ndarray, rows: int) -> bool:
    """Few whole numbers that come again and again, or 0, 1, 2, ... with many rows each."""
    count = len(distinct)
    counted = int(distinct[-1]) - int(distinct[0]) == count - 1 and distinct[0] in (0, 1)
    return count <= 2 or (count <= FEW and 2 * count <= rows) or (counted and count <= MOST and 20 * count <= rows)


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
        """Return some of the rows. chosen : indices, ascending"""
        return Rows(self.frame, self.features, self.places[chosen], self.y[chosen])

    def table(self, *, step: int = 1) -> pyarrow.Table:
        """Return one row in so many, as one table."""
        schema = pyarrow.schema([self.frame.schema.field(name) for name in self.features])
        parts = [batch for block in range(self.frame.blocks) for batch in self.batches(block, self.places[::step])]
        return pyarrow.Table.from_batches(parts, schema).unify_dictionaries()

    def batches(self, block: int, places: numpy.ndarray | None = None) -> Iterator[pyarrow.RecordBatch]:
        """Yield the rows of a block of the frame, some thousand at a time."""
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
        """Yield all rows, some thousand at a time."""
        for block in range(self.frame.blocks):
            for batch in self.batches(block):
                yield pyarrow.Table.from_batches([batch])


class EncodedRows(Source):
    """Rows as inputs of a network, encoded as they are read. encoder : fitted"""

    def __init__(self, rows: Rows, encoder: Any, dtype: str) -> None:
        self.rows, self.encoder, self.dtype = rows, encoder, numpy.dtype(dtype)
        counts = numpy.diff(numpy.searchsorted(rows.places, rows.frame.starts.astype(rows.places.dtype)))
        (self._read_from,) = numpy.nonzero(counts)
        self.starts = numpy.append(0, numpy.cumsum(counts[self._read_from])).astype(numpy.int64)
        self.shape = (len(rows), len(encoder.get_feature_names_out()))

    def read(self, block: int) -> numpy.ndarray:
        """Return the rows of a block."""
        return numpy.concatenate(list(self.parts(block)))

    def parts(self, block: int) -> Iterator[numpy.ndarray]:
        """Yield the rows of a block, some thousand at a time."""
        for batch in self.rows.batches(int(self._read_from[block])):
            table = pyarrow.Table.from_batches([batch])
            yield numpy.asarray(self.encoder.transform(table)).astype(self.dtype, copy=False)


def split(rows: Rows, share: float, seed: int, *, stratified: bool, option: str) -> tuple[Rows, Rows]:
    """Two parts of some rows, the second of which has the share; classes keep theirs, and have rows in the first.

    option : that named the share

    Raises DataFileError where no row would be left in the first part.
    """
    count = len(rows)
    if share and round(share * count) >= count:
        raise DataFileError(
            f"{rows.frame.name}: some row must be left to train on; {count} rows are too few for {option} {share}."
        )
    apart = numpy.zeros(count, bool)
    for first in range(0, count if share else 0, SPLIT_ROWS):  # what is split at a time takes memory
        y = rows.y[first : first + SPLIT_ROWS] if stratified else None
        some = min(SPLIT_ROWS, count - first)
        apart[first + _apart(some, y, share, seed)] = True
    return rows.take(numpy.flatnonzero(~apart)), rows.take(numpy.flatnonzero(apart))


def _apart(count: int, y: numpy.ndarray | None, share: float, seed: int) -> numpy.ndarray:
    """Indices of the rows to set apart, of so many. y : (rows,) class indices, of which each keeps rows; or None"""
    from sklearn.model_selection import train_test_split

    alone = numpy.zeros(count, bool) if y is None else numpy.bincount(y)[y] < 2
    shared = numpy.flatnonzero(~alone)
    if len(shared) < 2:
        return shared[:0]
    try:
        _, apart = train_test_split(
            shared, test_size=share, random_state=seed, stratify=None if y is None else y[shared]
        )
    except ValueError:  # there are more classes than rows in one of the parts
        first, apart = train_test_split(shared, test_size=share, random_state=seed)
        apart = apart[numpy.isin(y[apart], y[first])] if y is not None else apart
    return apart
