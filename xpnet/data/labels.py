"""Labels: what a column of labels may hold, and how class labels become class indices."""

import re
from collections.abc import Sequence
from typing import Any

import numpy
import pyarrow
from pyarrow import types

from xpnet.data.forms import form_of
from xpnet.data.frames import Frame
from xpnet.errors import DataFileError

_WHOLE = re.compile(r"0|-?[1-9][0-9]{0,17}")
_LEADING_ZERO = re.compile(r"[+-]?0[0-9]")


def read_labels(frame: Frame, target: str, decimal: str | None = None) -> tuple[numpy.ndarray, numpy.ndarray]:
    """The labels of a frame, and which rows have one.

    Labels are integers where all are whole numbers, floats where all are numbers, else text.

    decimal : the mark before decimals in text, where the user named one
    returns (labelled,) int64, float64 or str, and (rows,) bool

    Raises DataFileError for labels of another kind, and where no row has one.
    """
    column = frame.column(target)
    kind = column.type
    if types.is_floating(kind) or types.is_decimal(kind) or types.is_integer(kind):
        numbers = column.to_numpy() if not column.null_count else column.cast("float64", safe=False).to_numpy()
        labels, there = _from_numbers(numbers)
    elif types.is_boolean(kind) or types.is_dictionary(kind) or types.is_null(kind) or _is_text(kind):
        labels, there = _from_texts(column, decimal)
    else:
        raise DataFileError(f"{frame.name}: labels are numbers or text; column {target!r} holds {kind}. Convert it.")
    del column
    pyarrow.default_memory_pool().release_unused()
    if not len(labels):
        raise DataFileError(f"{frame.name}: rows need labels; none of {frame.rows} has one in column {target!r}.")
    return labels, there


def _is_text(kind: Any) -> bool:
    return types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)


def _from_numbers(numbers: numpy.ndarray) -> tuple[numpy.ndarray, numpy.ndarray]:
    if numbers.dtype.kind in "iu":
        return numbers.astype(numpy.int64), numpy.ones(len(numbers), bool)
    numbers = numbers.astype(numpy.float64)
    there = numpy.isfinite(numbers)
    labels = numbers if there.all() else numbers[there]
    whole = (labels == numpy.floor(labels)).all() and (numpy.abs(labels) < 2**53).all()
    return (labels.astype(numpy.int64) if whole else labels), there


def _from_texts(column: Any, decimal: str | None) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Labels from texts, each of which is looked at once."""
    encoded = column if types.is_dictionary(column.type) else column.dictionary_encode()
    encoded = encoded.unify_dictionaries().combine_chunks()
    texts = ["" if text is None else str(text).strip() for text in encoded.dictionary.to_pylist()]
    codes = encoded.indices.fill_null(len(texts)).to_numpy(zero_copy_only=False)
    there = numpy.asarray([bool(text) for text in texts] + [False])[codes]
    codes, known = codes[there], [text for text in texts if text]
    values = _values(known, decimal)
    if values.dtype.kind == "f":
        return _from_numbers(_looked_up(values, texts)[codes])[0], there
    return _looked_up(values, texts)[codes], there


def _values(texts: list[str], decimal: str | None) -> numpy.ndarray:
    """Labels for texts that differ: whole numbers, numbers, or the texts."""
    if not texts or any(map(_LEADING_ZERO.match, texts)):
        return numpy.asarray(texts)
    if all(_WHOLE.fullmatch(text) for text in texts):
        return numpy.asarray(texts, dtype=numpy.int64)
    try:
        return numpy.asarray([float(text) for text in texts])
    except ValueError:
        column = pyarrow.array(texts)
    form = form_of([column], decimal, None, strictly=True)
    return numpy.asarray(texts) if form is None else form.numbers(column).to_numpy(zero_copy_only=False)


def _looked_up(values: numpy.ndarray, texts: list[str]) -> numpy.ndarray:
    """The values in the places of the texts that are not empty."""
    every = numpy.zeros(len(texts), values.dtype)
    every[[place for place, text in enumerate(texts) if text]] = values
    return every


def class_indices(name: str, labels: numpy.ndarray, classes: Sequence[Any]) -> numpy.ndarray:
    """The place of each label among classes; compared as text, so that 1 from one file is "1" from another.

    name : of the file; labels : (rows,); returns (rows,) of the smallest unsigned integers that hold them

    Raises DataFileError for a label that is no class.
    """
    place = {str(label): index for index, label in enumerate(classes)}
    distinct, codes = numpy.unique(labels, return_inverse=True)
    places = numpy.asarray([place.get(str(label), -1) for label in distinct.tolist()])
    unknown = places[codes] < 0
    if unknown.any():
        known = ", ".join(map(repr, list(classes)[:12]))
        raise DataFileError(
            f"{name}: labels must be classes the model knows, {known}; "
            f"received {labels[int(unknown.argmax())].item()!r} in {int(unknown.sum())} rows. Leave these out."
        )
    return places.astype(numpy.min_scalar_type(len(classes)))[codes]
