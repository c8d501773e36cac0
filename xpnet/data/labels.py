"""Labels: what a file's target column may hold, and how class labels become class indices."""

import re
from collections.abc import Sequence
from typing import Any

import numpy

from xpnet.data.table import Table, listed
from xpnet.errors import DataFileError

_WHOLE = re.compile(r"0|-?[1-9][0-9]{0,17}")
_LEADING_ZERO = re.compile(r"\s*[+-]?0[0-9]")


def as_labels(name: str, column: str, values: Any) -> numpy.ndarray:
    """Labels as integers where all are whole numbers, as floats where all are numbers, else as text.

    values : (rows,) numbers, booleans or text: an array, a sequence, or a column of Arrow's
    returns (rows,) int64, float64 or str

    Raises DataFileError for a missing label, with its row.
    """
    numbers, texts = _numbers_or_texts(values)
    if texts is not None:
        return _from_texts(name, column, *texts)
    if numbers.dtype.kind in "iu":
        return numbers.astype(numpy.int64)
    return _from_numbers(name, column, numbers.astype(numpy.float64))


Texts = tuple[list[str | None], numpy.ndarray]
"""Distinct texts, None for a missing one, and the place of each row's among them."""


def _numbers_or_texts(values: Any) -> tuple[numpy.ndarray, Texts | None]:
    if hasattr(values, "combine_chunks"):
        return _from_arrow(values)
    given = numpy.asarray(values)
    if given.dtype.kind in "iuf":
        return given, None
    texts = [None if value is None or value != value else str(value) for value in given.tolist()]
    place: dict[str | None, int] = {}
    places = numpy.asarray([place.setdefault(text, len(place)) for text in texts], dtype=numpy.int64)
    return given, (list(place), places)


def _from_arrow(column: Any) -> tuple[numpy.ndarray, Texts | None]:
    """A column of Arrow's; texts are taken from its dictionary, so that each becomes one object."""
    from pyarrow import types

    kind = column.type.value_type if types.is_dictionary(column.type) else column.type
    if types.is_integer(kind) and not column.null_count:
        return column.cast(kind).to_numpy(), None
    if types.is_floating(kind) or types.is_integer(kind) or types.is_decimal(kind):
        return column.cast("float64").to_numpy(), None
    encoded = column.unify_dictionaries() if types.is_dictionary(column.type) else column.dictionary_encode()
    encoded = encoded.combine_chunks()
    encoded = encoded.chunk(0) if hasattr(encoded, "num_chunks") else encoded
    distinct = [None if text is None else str(text) for text in encoded.dictionary.to_pylist()]
    places = encoded.indices.cast("int64").fill_null(len(distinct)).to_numpy(zero_copy_only=False)
    return numpy.empty(0), ([*distinct, None] if column.null_count else distinct, places)


def _from_numbers(name: str, column: str, numbers: numpy.ndarray) -> numpy.ndarray:
    finite = numpy.isfinite(numbers)
    if not finite.all():
        raise _missing(name, column, int(finite.argmin()))
    whole = (numbers == numpy.floor(numbers)).all() and (numpy.abs(numbers) < 2**53).all()
    return numbers.astype(numpy.int64) if whole else numbers


def _from_texts(name: str, column: str, distinct: list[str | None], places: numpy.ndarray) -> numpy.ndarray:
    """Labels from distinct texts, each of which is looked at once."""
    stripped = [(text or "").strip() for text in distinct]
    empty = numpy.asarray([not text for text in stripped], dtype=bool)[places]
    if empty.any():
        raise _missing(name, column, int(empty.argmax()))
    if all(_WHOLE.fullmatch(text) for text in stripped):
        return numpy.asarray(stripped, dtype=numpy.int64)[places]
    numbers = None if any(map(_LEADING_ZERO.match, stripped)) else _as_numbers(stripped)
    if numbers is not None:
        return _from_numbers(name, column, numbers[places])
    return numpy.asarray(stripped)[places]


def class_labels(table: Table) -> list[Any]:
    """The distinct labels of a table, sorted.

    Raises DataFileError for fewer than two, and for numbers that are not whole.
    """
    _check_whole(table)
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


def quantities(table: Table) -> numpy.ndarray:
    """The labels of a table as numbers to predict: (rows,) float64.

    Raises DataFileError for text.
    """
    if table.labels.dtype.kind not in "iuf":
        raise DataFileError(
            f"{table.name}: column {table.target!r} must hold numbers to predict; row 1 holds {table.labels[0]!r}. "
            "--task classify takes text."
        )
    return table.labels.astype(numpy.float64)


def _as_numbers(texts: Sequence[str]) -> numpy.ndarray | None:
    try:
        return numpy.asarray([float(text) for text in texts])
    except ValueError:
        return None


def _check_whole(table: Table) -> None:
    if table.labels.dtype.kind != "f":
        return
    row = int((table.labels != numpy.floor(table.labels)).argmax())
    raise DataFileError(
        f"{table.name}: column {table.target!r} must hold classes: text or whole numbers; row {row + 1} holds "
        f"{table.labels[row]}. --task regress predicts such numbers."
    )


def _missing(name: str, column: str, row: int) -> DataFileError:
    return DataFileError(f"{name}: every row needs a label; row {row + 1}, column {column!r} has none.")
