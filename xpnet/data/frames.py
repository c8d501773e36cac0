"""Frames: the rows of a data file as named Arrow columns, at once or block by block."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy
import pyarrow
from pyarrow import types

BATCH_ROWS = 2**14
"""Maximum rows of a batch."""

TEXT = pyarrow.dictionary(pyarrow.int32(), pyarrow.string())
"""The type of text that is to stay text, even if it spells numbers or dates."""


@dataclass
class Frame:
    """The rows of a data file.

    name : of the file, for messages; schema : of the columns
    starts : (blocks + 1,) the first row of each block, and the number of rows
    stored : a function that yields some columns of a block as they are stored, in that order, some
        thousand rows at a time; it raises DataFileError if the file cannot be read any more
    default_target : the column of labels, if it is known
    first_row : number of the first row, for messages: 2 in a text file with a header
    notes : sentences for the user about how the file was read
    converters : by column, a function that makes an array of the schema's type from stored cells
    """

    name: str
    schema: pyarrow.Schema
    starts: numpy.ndarray
    stored: Callable[[int, Sequence[str]], Iterable[pyarrow.RecordBatch]]
    default_target: str | None = None
    first_row: int = 0
    notes: list[str] = field(default_factory=list)
    converters: dict[str, Callable[[pyarrow.Array], pyarrow.Array]] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """Return the names of the columns."""
        return list(self.schema.names)

    def read(
        self,
        columns: Sequence[str],
        text: Iterable[str] = (),
        target: str | None = None,
        *,
        keeps_names: bool = True,
    ) -> "Frame":
        """Return a frame of some columns at least, in which those in ``text`` are text."""
        frame = replace(self, notes=[*self.notes], converters={**self.converters})
        frame.take_as_text(text)
        return frame

    def convert(
        self,
        name: str,
        kind: pyarrow.DataType,
        converter: Callable[[pyarrow.Array], pyarrow.Array],
    ) -> None:
        """Read a column as another type.

        kind : the type; converter : makes an array of that type from stored cells
        """
        self.converters[name] = converter
        self.schema = self.schema.set(self.schema.get_field_index(name), pyarrow.field(name, kind))

    def take_as_text(self, columns: Iterable[str]) -> None:
        """Read columns as text, whatever they hold."""
        for name in columns:
            if not types.is_dictionary(self.schema.field(name).type):
                self.convert(name, TEXT, _as_text)

    def batches(self, block: int, columns: Sequence[str]) -> Iterator[pyarrow.RecordBatch]:
        """Yield some columns of a block, in that order, some thousand rows at a time."""
        for batch in self.stored(block, columns):
            for name in self.converters.keys() & set(columns):
                place = batch.schema.get_field_index(name)
                batch = batch.set_column(place, name, self.converters[name](batch.column(place)))
            yield batch

    @property
    def rows(self) -> int:
        """Return the number of rows."""
        return int(self.starts[-1])

    @property
    def blocks(self) -> int:
        """Return the number of blocks."""
        return len(self.starts) - 1

    def all_batches(self, columns: Sequence[str]) -> Iterator[pyarrow.RecordBatch]:
        """Yield some columns of all rows, some thousand rows at a time."""
        for block in range(self.blocks):
            yield from self.batches(block, columns)


def is_text(kind: pyarrow.DataType) -> bool:
    """Return whether a type is one of Arrow's for text."""
    return types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)


def _as_text(cells: pyarrow.Array) -> pyarrow.Array:
    """Return cells of any type as text; lists, records and bytes as Python writes them."""
    try:
        text = cells.cast(pyarrow.string())
    except (pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError):
        text = pyarrow.array(
            [None if cell is None else str(cell) for cell in cells.to_pylist()], pyarrow.string()
        )
    return text.dictionary_encode()
