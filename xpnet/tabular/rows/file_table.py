"""A table in a data file, which is read some thousand rows at a time."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy

from xpnet.tabular.columns.frames import table_of
from xpnet.tabular.columns.records import Table

if TYPE_CHECKING:
    import pyarrow

    from xpnet.data.cells.forms import LearnedForm
    from xpnet.data.frames import Frame


class FilePiece(NamedTuple):
    """Some consecutive rows of a file's table. numbers : (rows,) int, as messages name them"""

    batch: "pyarrow.RecordBatch"
    numbers: numpy.ndarray

    @property
    def table(self) -> "pyarrow.Table":
        """Return the rows as a table."""
        import pyarrow

        return pyarrow.Table.from_batches([self.batch])


@dataclass(frozen=True, eq=False)
class FileTable:
    """Some of the rows and columns of a data file, which `Tabular.fit` takes like a frame.

    frame : the file; names : of the columns
    chosen : (rows of the file,) bool, which of them
    forms : how columns are read, by their names, as all rows of the file show it
    """

    frame: "Frame"
    names: Sequence[str]
    chosen: numpy.ndarray
    forms: "Mapping[str, LearnedForm]"

    @cached_property
    def places(self) -> numpy.ndarray:
        """Return the rows of the file that these are: (rows,) int, rising."""
        return numpy.flatnonzero(self.chosen)

    @property
    def rows(self) -> int:
        """Return the number of rows."""
        return len(self.places)

    @property
    def columns(self) -> Sequence[str]:
        """Return the names of the columns."""
        return self.names

    def part(self, selection: numpy.ndarray) -> "FileTable":
        """Return some of the rows, which are not read yet. selection : (rows,) bool"""
        chosen = self.chosen.copy()
        chosen[self.chosen] = selection
        return replace(self, chosen=chosen)

    def whole(self) -> Table:
        """Return all rows as one table."""
        return self.take(numpy.arange(self.rows))

    def take(self, rows: numpy.ndarray) -> Table:
        """Return some rows as one table. rows : indices, rising"""
        return next(self.chunks(rows, len(rows)))

    def chunks(self, rows: numpy.ndarray, size: int) -> Iterator[Table]:
        """Yield some rows, in one pass over their part of the file.

        rows : indices, rising; size : number of rows of each table but the last
        """
        pieces: list[FilePiece] = []
        missing = size
        for batch, numbers in self.pieces(self.places[rows]):
            first = 0
            while first < len(numbers):
                part = slice(first, first + missing)
                piece = FilePiece(batch.slice(first, missing), numbers[part])
                pieces.append(piece)
                first += len(piece.numbers)
                missing -= len(piece.numbers)
                if not missing:
                    yield self._table(pieces)
                    pieces, missing = [], size
        if pieces:
            yield self._table(pieces)

    def pieces(self, places: numpy.ndarray) -> Iterator[FilePiece]:
        """Yield rows of the file as they are read. places : (rows,) int, rising"""
        import pyarrow

        for block in range(self.frame.blocks):
            first, end = self.frame.starts[block : block + 2].tolist()
            last = _between(places, first, end)[-1:]
            for batch in self.frame.batches(block, self.names) if len(last) else ():
                in_batch = _between(places, first, first + len(batch))
                if len(in_batch):
                    piece = batch.take(pyarrow.array(in_batch - first))
                    yield FilePiece(piece, in_batch + self.frame.first_row)
                first += len(batch)
                if first > last[0]:
                    break

    def _table(self, pieces: Sequence[FilePiece]) -> Table:
        """Return pieces as one table, which knows the forms of its columns."""
        import pyarrow

        batches = [piece.batch for piece in pieces]
        numbers = numpy.concatenate([piece.numbers for piece in pieces])
        table = table_of(pyarrow.Table.from_batches(batches).unify_dictionaries())
        return replace(table, forms=self.forms, row_numbers=numbers)


def _between(places: numpy.ndarray, first: int, end: int) -> numpy.ndarray:
    """Return the rising places from ``first`` to one before ``end``."""
    return places[slice(*numpy.searchsorted(places, [first, end]))]
