"""The task that the labels of a file suggest: classes or numbers."""

from typing import NamedTuple

import numpy

from xpnet.errors import DataFileError

MAX_WHOLE_CLASSES = 20
"""Maximum different whole numbers that are classes; each must also come several times."""

MAX_CLASSES = 1000
"""Maximum classes that are trained without being asked for."""

MIN_ROWS_PER_COUNTED_CLASS = 20
"""Rows for each class, on average, if more than `MAX_WHOLE_CLASSES` are counted from 0 or 1."""


class Task(NamedTuple):
    """The task of a model. name : ``classify`` or ``regress``; why : the reason, in a few words"""

    name: str
    why: str


def choose_task(
    name: str,
    target: str,
    labels: numpy.ndarray,
    requested: str | None,
    loss: str | None = None,
) -> Task:
    """Return the task that the labels suggest, unless an option names it.

    name : of the file; target : the labels' column; loss : an option that is for numbers alone

    Raises DataFileError for labels that do not serve the task, and for text of which thousands
    differ, unless it was asked to take them as classes.
    """
    distinct = numpy.unique(labels)
    kind = labels.dtype.kind
    column = f"{name}: column {target!r}"
    if requested == "classify" and kind == "f":
        raise DataFileError(
            f"{column} must hold classes, which are text or whole numbers, for --task classify; it "
            "holds other numbers. Use --task regress."
        )
    if requested is not None:
        task = Task(requested, "as asked")
    elif loss is not None:
        task = Task("regress", f"--loss {loss} is for numbers")
    else:
        _check_is_no_free_text(column, labels, distinct)
        task = _suggested_task(target, distinct, len(labels), kind)
    if task.name == "classify" and len(distinct) < 2:
        raise DataFileError(
            f"{name}: a classifier needs at least two classes; every label is "
            f"{distinct[0].item()!r}."
        )
    return task


def _check_is_no_free_text(column: str, labels: numpy.ndarray, distinct: numpy.ndarray) -> None:
    """Raise DataFileError for text that differs from row to row."""
    repeats = len(distinct) <= MAX_WHOLE_CLASSES or 2 * len(distinct) <= len(labels)
    if labels.dtype.kind not in "iuf" and (len(distinct) > MAX_CLASSES or not repeats):
        raise DataFileError(
            f"{column} holds {len(distinct):,} different texts in {len(labels):,} rows; each would "
            "be a class. Add --task classify if that is meant, or name another target."
        )


def _suggested_task(target: str, distinct: numpy.ndarray, rows: int, kind: str) -> Task:
    """Return the task that labels suggest: a few whole numbers that repeat are classes."""
    if kind == "f":
        return Task("regress", f"{target} holds numbers that are not whole")
    if kind != "i":
        return Task("classify", f"{target} holds text")
    count = len(distinct)
    holds = f"{target} holds {count:,} different whole numbers"
    few = count <= MAX_WHOLE_CLASSES and 2 * count <= rows
    counted = int(distinct[-1]) - int(distinct[0]) == count - 1 and distinct[0] in (0, 1)
    many = counted and count <= MAX_CLASSES and MIN_ROWS_PER_COUNTED_CLASS * count <= rows
    if count <= 2 or few or many:
        return Task("classify", f"{holds}; --task regress predicts them as numbers")
    return Task("regress", f"{holds}; --task classify makes them classes")


def numbers_of(name: str, target: str, labels: numpy.ndarray) -> numpy.ndarray:
    """Return the labels of a file as numbers; raise DataFileError for text."""
    if labels.dtype.kind not in "iuf":
        raise DataFileError(
            f"{name}: column {target!r} must hold numbers; its first row holds {labels[0]!s:.60}. "
            "Text is for models of classes (--task classify)."
        )
    return labels.astype(float)
