"""Labels: what a file's target column may hold, and how class labels become class indices."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy

from xpnet.data.table import Coded, Table, listed
from xpnet.errors import DataFileError

_WHOLE = re.compile(r"0|-?[1-9][0-9]{0,17}")
LEADING_ZERO = re.compile(r"\s*[+-]?0[0-9]")
_FEW = 2**16
"""Numbers of which at most so many differ are kept as codes where there are very many rows."""


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
    numbers = None if any(map(LEADING_ZERO.match, stripped)) else _as_numbers(stripped)
    if numbers is not None:
        return _from_numbers(name, column, numbers[places])
    return numpy.asarray(stripped)[places]


def read_labels(name: str, column: str, chunks: Iterable[Any], rows: int) -> numpy.ndarray | Coded:
    """The labels of very many rows, from arrays of Arrow's that follow each other; otherwise as :func:`as_labels`.

    returns numbers where many of them differ, codes otherwise
    """
    codes, parts = _Codes(rows), _parts(name, column, chunks)
    for start, numbers, texts in parts:
        codes.add(start, *(numpy.unique(numbers, return_inverse=True) if texts is None else texts))
        if texts is None and len(codes.place) > _FEW:
            filled = _filled(codes, start + len(numbers), numbers.dtype, parts)
            return filled if filled.dtype.kind in "iu" else _from_numbers(name, column, filled)
    _check_texts(name, column, codes)
    return _sorted(as_labels(name, column, list(codes.place)), codes.places)


def _parts(name: str, column: str, chunks: Iterable[Any]) -> Iterator[tuple[int, numpy.ndarray, Texts | None]]:
    """The number of the first row of each chunk, and its numbers or texts.

    Raises DataFileError for a number that is missing.
    """
    import pyarrow

    start = 0
    for chunk in chunks:
        numbers, texts = _from_arrow(pyarrow.chunked_array([chunk]))
        if texts is None and not numpy.isfinite(numbers).all():
            raise _missing(name, column, start + int(numpy.isfinite(numbers).argmin()))
        yield start, numbers, texts
        start += len(chunk)


class _Codes:
    """Codes of labels in the order in which these first come.

    place : of each label; places : (rows,) that of each row's
    """

    def __init__(self, rows: int) -> None:
        self.place: dict[Any, int] = {}
        self.places = numpy.empty(rows, numpy.uint16)

    def add(self, start: int, found: Any, inside: numpy.ndarray) -> None:
        """Add rows. found : the labels among them, each once; inside : the place of each row's label in ``found``"""
        found = found.tolist() if isinstance(found, numpy.ndarray) else found
        places = numpy.asarray([self.place.setdefault(label, len(self.place)) for label in found], numpy.uint32)
        if len(self.place) > _FEW:
            self.places = self.places.astype(numpy.uint32, copy=False)
        self.places[start : start + len(inside)] = places[inside]


def _filled(codes: _Codes, done: int, dtype: Any, parts: Iterator[Any]) -> numpy.ndarray:
    """The number of each row: of so many rows from their codes, of the others from the parts that are left."""
    filled = numpy.empty(len(codes.places), numpy.int64 if dtype.kind in "iu" else numpy.float64)
    filled[:done] = numpy.asarray(list(codes.place))[codes.places[:done]]
    for start, numbers, _ in parts:
        filled[start : start + len(numbers)] = numbers
    return filled


def _check_texts(name: str, column: str, codes: _Codes) -> None:
    empty = [place for label, place in codes.place.items() if label is None or not str(label).strip()]
    if empty:
        raise _missing(name, column, min(int((codes.places == place).argmax()) for place in empty))


def distinct_labels(labels: numpy.ndarray | Coded) -> numpy.ndarray:
    """Those that differ, sorted."""
    return labels.distinct if isinstance(labels, Coded) else numpy.unique(labels)


def coded(labels: numpy.ndarray | Coded) -> Coded:
    """Labels, as codes of those that differ."""
    if isinstance(labels, Coded):
        return labels
    if labels.dtype.kind == "i" and len(labels) and int(labels.max()) - int(labels.min()) < _FEW:
        return _coded_near(labels, labels.min())
    if labels.dtype.kind == "U":  # texts are found sooner among few than sorted with their places
        distinct = numpy.unique(labels)
        return Coded(distinct, _narrow(numpy.searchsorted(distinct, labels), len(distinct)))
    distinct, places = numpy.unique(labels, return_inverse=True)
    return Coded(distinct, _narrow(places, len(distinct)))


def _coded_near(labels: numpy.ndarray, least: Any) -> Coded:
    """Codes of whole numbers that lie near each other, found without sorting."""
    above = numpy.subtract(labels, least, dtype=numpy.intp)
    there = numpy.bincount(above) > 0
    distinct = numpy.flatnonzero(there)
    places = _narrow(numpy.cumsum(there) - there, len(distinct))
    return Coded((distinct + least).astype(labels.dtype), places[above])


def _sorted(labels: numpy.ndarray, places: numpy.ndarray) -> Coded:
    """Codes of labels that may come twice, and in any order."""
    distinct, place = numpy.unique(labels, return_inverse=True)
    return Coded(distinct, _narrow(place, len(distinct))[places])


def _narrow(places: numpy.ndarray, count: int) -> numpy.ndarray:
    """Places among so many, in as few bytes as these need."""
    return places.astype(numpy.min_scalar_type(max(count - 1, 0)))


def class_labels(table: Table) -> list[Any]:
    """The distinct labels of a table, sorted.

    Raises DataFileError for fewer than two, and for numbers that are not whole.
    """
    return coded_classes(table).distinct.tolist()


def coded_classes(table: Table) -> Coded:
    """The labels of a table as classes and codes; raises as :func:`class_labels` does."""
    found = coded(table.labels)
    _check_whole(table, found)
    if len(found.distinct) < 2:
        raise DataFileError(
            f"{table.name}: a classifier needs at least two classes; every label is {found.distinct.tolist()[0]!r}."
        )
    return found


def class_indices(table: Table, classes: Sequence[Any]) -> numpy.ndarray:
    """The place of each label of a table in ``classes``; compared as text, so that 1 from one file is "1" from another.

    returns (rows,) unsigned integers

    Raises DataFileError for a label that is no class.
    """
    place = {str(label): index for index, label in enumerate(classes)}
    labels = coded(table.labels)
    distinct = labels.distinct.tolist()
    unknown = [code for code, label in enumerate(distinct) if str(label) not in place]
    if unknown:
        row = int((labels.places == unknown[0]).argmax())
        raise DataFileError(
            f"{table.name}: labels must be classes the model knows, {listed(list(classes))}; "
            f"row {row + 1} holds {distinct[unknown[0]]!r}."
        )
    return _narrow(numpy.asarray([place[str(label)] for label in distinct]), len(classes))[labels.places]


def quantities(table: Table) -> numpy.ndarray:
    """The labels of a table as numbers to predict: (rows,) float64.

    Raises DataFileError for text.
    """
    labels = table.labels
    if labels.dtype.kind not in "iuf":
        first = labels.distinct[labels.places[0]] if isinstance(labels, Coded) else labels[0]
        raise DataFileError(
            f"{table.name}: column {table.target!r} must hold numbers to predict; row 1 holds {first!r}. "
            "--task classify takes text."
        )
    if isinstance(labels, Coded):
        return labels.distinct.astype(numpy.float64)[labels.places]
    return labels.astype(numpy.float64)


def _as_numbers(texts: Sequence[str]) -> numpy.ndarray | None:
    try:
        return numpy.asarray([float(text) for text in texts])
    except ValueError:
        return None


def _check_whole(table: Table, labels: Coded) -> None:
    if labels.dtype.kind != "f":
        return
    row = int((labels.distinct != numpy.floor(labels.distinct))[labels.places].argmax())
    raise DataFileError(
        f"{table.name}: column {table.target!r} must hold classes: text or whole numbers; row {row + 1} holds "
        f"{labels.distinct[labels.places[row]]}. --task regress predicts such numbers."
    )


def _missing(name: str, column: str, row: int) -> DataFileError:
    return DataFileError(f"{name}: every row needs a label; row {row + 1}, column {column!r} has none.")
