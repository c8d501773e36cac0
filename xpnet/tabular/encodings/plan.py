"""How all encodings of a table write its rows: what does not depend on the rows, prepared once.

A prediction of one row would otherwise take most of its time for the constants of the columns.
"""

from collections.abc import Sequence
from itertools import pairwise
from operator import is_
from weakref import WeakKeyDictionary

import numpy

from xpnet.tabular.columns.records import Table
from xpnet.tabular.encodings.encoding import Encoding, WriteRows
from xpnet.tabular.encodings.kinds import indices_by_class


def places_of_outputs(encodings: Sequence[Encoding]) -> list[slice]:
    """Return where the outputs of each encoding stand among those of all."""
    ends = numpy.cumsum([0, *(len(encoding.labels) for encoding in encodings)]).tolist()
    return [slice(start, end) for start, end in pairwise(ends)]


def writers_of(encodings: Sequence[Encoding], places: Sequence[slice]) -> list[WriteRows]:
    """Return the functions that encode all rows of a table, one for each class of encodings.

    places : of the outputs of each encoding
    """
    return [
        encoding_class.writer([encodings[k] for k in indices], [places[k] for k in indices])
        for encoding_class, indices in indices_by_class(encodings).items()
    ]


class EncodingPlan:
    """The writers of the encodings of a table.

    encodings : in the order of their outputs
    """

    def __init__(self, encodings: Sequence[Encoding]) -> None:
        self._encodings = tuple(encodings)
        self.outputs: int = sum(len(encoding.labels) for encoding in encodings)
        self._writers = writers_of(encodings, places_of_outputs(encodings))

    def is_of(self, encodings: Sequence[Encoding]) -> bool:
        """Return whether the plan was made of these encodings, which never change."""
        own = self._encodings
        return len(own) == len(encodings) and all(map(is_, own, encodings))

    def write(self, table: Table, out: numpy.ndarray) -> None:
        """Encode all rows of a table. out : (rows, outputs) float32, overwritten"""
        for write in self._writers:
            write(table, out)


_plans: "WeakKeyDictionary[object, EncodingPlan]" = WeakKeyDictionary()
"""The plans of fitted encoders. An attribute would be in pickles and copies of the encoder."""


def plan_of(encoder: object, encodings: Sequence[Encoding]) -> EncodingPlan:
    """Return the plan of an encoder's encodings, which is made at its first use."""
    plan = _plans.get(encoder)
    if plan is None or not plan.is_of(encodings):
        plan = _plans[encoder] = EncodingPlan(encodings)
    return plan
