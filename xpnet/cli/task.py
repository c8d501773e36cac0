"""Whether labels are classes or numbers to predict."""

from typing import Literal

import numpy

from xpnet.data import Table
from xpnet.data.labels import distinct_labels
from xpnet.errors import DataFileError

Task = Literal["classify", "regress"]
FEW = 20
"""Whole numbers of which at most so many differ are classes, where each comes several times."""

MOST = 1000
"""More classes than this are trained only where that was asked for."""


def choose_task(table: Table, asked: str | None) -> tuple[Task, str]:
    """The task, and in a few words why.

    Raises DataFileError for text of which thousands differ, unless it was asked to take them as classes.
    """
    if asked is not None:
        return ("regress" if asked == "regress" else "classify"), "as asked"
    labels, target = table.labels, table.target
    if labels.dtype.kind == "f":
        return "regress", f"{target} holds numbers that are not whole"
    distinct = distinct_labels(labels)
    if labels.dtype.kind not in "iu":
        if len(distinct) > MOST or (len(distinct) > FEW and 2 * len(distinct) > table.rows):
            raise DataFileError(
                f"{table.name}: column {target!r} holds {len(distinct):,} different texts in {table.rows:,} rows, "
                "which would each be a class. Add --task classify if that is meant, or name another target."
            )
        return "classify", f"{target} holds text"
    if _are_classes(distinct, table.rows):
        return "classify", f"{target} holds {len(distinct)} different whole numbers"
    return "regress", f"{target} holds {len(distinct):,} different whole numbers; --task classify makes them classes"


def _are_classes(distinct: numpy.ndarray, rows: int) -> bool:
    """Few whole numbers that come again and again, or 0, 1, 2, ... with many rows each."""
    count = len(distinct)
    counted = int(distinct[-1]) - int(distinct[0]) == count - 1 and distinct[0] in (0, 1)
    return count <= 2 or (count <= FEW and 2 * count <= rows) or (counted and count <= MOST and 20 * count <= rows)
