"""A table with its encoded rows, of which a shuffled column alone is encoded again."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy

from xpnet.tabular.columns.records import Table
from xpnet.tabular.encodings.encoding import Encoding
from xpnet.tabular.encodings.plan import places_of_outputs, writers_of


@dataclass(frozen=True, eq=False)
class EncodedTable:
    """A table and its encoded rows.

    encodings : of the columns; places : of the inputs of each encoding
    table : as its encoder has prepared it
    inputs : (rows, inputs) float32, the encoded table
    """

    encodings: Sequence[Encoding]
    places: Sequence[slice]
    table: Table
    inputs: numpy.ndarray

    @classmethod
    def of(
        cls, encodings: Sequence[Encoding], table: Table, inputs: numpy.ndarray
    ) -> "EncodedTable":
        """Return a table with its encoded rows, whose arguments are the fields."""
        return cls(encodings, places_of_outputs(encodings), table, inputs)

    def __len__(self) -> int:
        return len(self.inputs)

    def with_shuffled(self, name: str, order: numpy.ndarray) -> "EncodedTable":
        """Return the table with one column in another order.

        name : of the column; order : (rows,) int, the rows of its values
        """
        index = self.table.names.index(name)
        columns = list(self.table.columns)
        columns[index] = columns[index].take(order)
        table = replace(self.table, columns=columns)
        using = self._encodings_of_columns.get(index, [])
        encodings = [self.encodings[k] for k in using]
        inputs = self.inputs.copy()
        for write in writers_of(encodings, [self.places[k] for k in using]):
            write(table, inputs)
        return replace(self, table=table, inputs=inputs)

    @cached_property
    def _encodings_of_columns(self) -> dict[int, list[int]]:
        """Return the indices of the encodings that use a column, by the column's index."""
        using: dict[int, list[int]] = {}
        for k, encoding in enumerate(self.encodings):
            for column in {use.column for use in encoding.uses}:
                using.setdefault(column, []).append(k)
        return using
