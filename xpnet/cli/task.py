"""Whether labels are classes or numbers to predict."""

from typing import Literal

import numpy

from xpnet.errors import DataFileError

Task = Literal["classify", "regress"]
FEW = 20
"""Whole numbers of which at most so many differ are classes, where each comes several times."""

MOST = 1000
"""More classes than this are trained only where that was asked for."""


def choose_task(name: str, target: str, labels: numpy.ndarray, asked: str | None) -> tuple[Task, str]:
    """The task, and in a few words why.

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
        raise DataFileError(
            f"{name}: a classifier needs at least two classes; every label is {distinct[0].item()!r}."
        )
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
