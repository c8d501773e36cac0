"""Encoded rows of a table in which a column is shuffled, of which only that column is encoded."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy

from xpnet.tabular.columns.records import Table
from xpnet.tabular.encodings.encoding import Encoding
from xpnet.tabular.encodings.plan import places_of_outputs, writers_of


@dataclass(frozen=True, eq=False)
class RowInputs:
    """Rows of a table as an encoder has encoded them. inputs : (rows, inputs) float32"""

    inputs: numpy.ndarray

    def __len__(self) -> int:
        return len(self.inputs)


class RowsToShuffle:
    """The rows of a table, encoded once; a column that is shuffled is encoded again.

    encodings : of the columns; table : as its encoder has prepared it
    inputs : (rows, inputs) float32, the encoded table
    """

    def __init__(self, encodings: Sequence[Encoding], table: Table, inputs: numpy.ndarray) -> None:
        self._encodings = encodings
        self._table = table
        self._places = places_of_outputs(encodings)
        self._using: dict[int, list[int]] = {}
        for k, encoding in enumerate(self._encodings):
            for column in {use.column for use in encoding.uses}:
                self._using.setdefault(column, []).append(k)
        self.unshuffled = RowInputs(inputs)

    def shuffled(self, name: str, order: numpy.ndarray) -> RowInputs:
        """Return the rows with one column in another order.

        name : of the column; order : (rows,) int, the rows of its values
        """
        index = self._table.names.index(name)
        columns = list(self._table.columns)
        columns[index] = columns[index].take(order)
        table = replace(self._table, columns=columns)
        using = self._using.get(index, [])
        inputs = self.unshuffled.inputs.copy()
        own = [self._encodings[k] for k in using]
        for write in writers_of(own, [self._places[k] for k in using]):
            write(table, inputs)
        return RowInputs(inputs)
