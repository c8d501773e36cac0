"""Class labels: what a file's target column may hold, and how labels become class indices."""

from collections.abc import Sequence
from typing import Any

import numpy

from xpnet.data.table import Table, listed
from xpnet.errors import DataFileError


def as_labels(name: str, column: str, values: Any) -> numpy.ndarray:
    """Labels as integers where all are whole numbers, else as text.

    values : (rows,) numbers, booleans or text
    returns (rows,) int64 or str

    Raises DataFileError for a missing label (with its row), and for numbers that are not whole: those are quantities,
    not classes.
    """
    given = numpy.asarray(values)
    if given.dtype.kind in "iu":
        return given.astype(numpy.int64)
    if given.dtype.kind == "f":
        _check_whole(name, column, given)
        return given.astype(numpy.int64) if (numpy.abs(given) < 2**53).all() else given.astype(str)
    texts = ["" if value is None else str(value).strip() for value in given.tolist()]
    if "" in texts:
        raise _missing(name, column, texts.index(""))
    if all(_is_integer(text) for text in texts):
        return numpy.asarray(texts, dtype=numpy.int64)
    numbers = _as_numbers(texts)
    if numbers is not None:
        _check_whole(name, column, numbers)
    return numpy.asarray(texts)


def class_labels(table: Table) -> list[Any]:
    """The distinct labels of a table, sorted.

    Raises DataFileError for fewer than two.
    """
    classes = numpy.unique(table.labels).tolist()
    if len(classes) < 2:
        raise DataFileError(f"{table.name}: a classifier needs at least two classes; every label is {classes[0]!r}.")
    return classes


def class_indices(table: Table, classes: Sequence[Any]) -> numpy.ndarray:
    """The place of each label of a table in ``classes``; compared as text, so that 1 from one file is "1" from another.

    returns (rows,) int64

    Raises DataFileError for a label that is no class.
    """
    place = {str(label): index for index, label in enumerate(classes)}
    distinct, inverse = numpy.unique(table.labels, return_inverse=True)
    unknown = [label for label in distinct.tolist() if str(label) not in place]
    if unknown:
        row = int(numpy.argmax(table.labels == unknown[0]))
        raise DataFileError(
            f"{table.name}: labels must be classes the model knows, {listed(list(classes))}; "
            f"row {row + 1} holds {unknown[0]!r}."
        )
    return numpy.asarray([place[str(label)] for label in distinct.tolist()], dtype=numpy.int64)[inverse]


def _is_integer(text: str) -> bool:
    # "007" and "1.0" stay text, so that predictions are written as the file writes them; 18 digits fit 64 bits.
    return (
        text.isascii() and (text == "0" or text.lstrip("-").isdigit() and text.lstrip("-")[0] != "0") and len(text) < 19
    )


def _as_numbers(texts: list[str]) -> numpy.ndarray | None:
    try:
        return numpy.asarray([float(text) for text in texts])
    except ValueError:
        return None


def _check_whole(name: str, column: str, numbers: numpy.ndarray) -> None:
    finite = numpy.isfinite(numbers)
    if not finite.all():
        raise _missing(name, column, int(finite.argmin()))
    whole = numbers == numpy.floor(numbers)
    if not whole.all():
        row = int(whole.argmin())
        raise DataFileError(
            f"{name}: column {column!r} must hold classes: text or whole numbers; row {row + 1} holds {numbers[row]}. "
            "Sort quantities into classes first, or name another target."
        )


def _missing(name: str, column: str, row: int) -> DataFileError:
    return DataFileError(f"{name}: every row needs a label; row {row + 1}, column {column!r} has none.")
