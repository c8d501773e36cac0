"""Labels of a frame: read from the target's column, and compared with the classes of a model."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy
import pyarrow
from pyarrow import compute, types

from xpnet.data.cells.gaps import MISSING, GapValues
from xpnet.data.cells.numbers import (
    Decimal,
    NumberFormat,
    TextCounts,
    numeric_text,
)
from xpnet.data.frames import Frame, is_text
from xpnet.errors import DataFileError, did_you_mean

_MAX_LISTED = 12
"""Classes that a message lists."""

MAX_EXACT_FLOAT = 2**53
"""Whole numbers below this one are exact in float64."""


class Labels(NamedTuple):
    """The labels of a frame.

    values : (labelled rows,) int64, float64 or str; labelled : (rows,) bool, which rows have one
    number_format : of labels that are numbers in text; None for others
    """

    values: numpy.ndarray
    labelled: numpy.ndarray
    number_format: NumberFormat | None = None


def read_labels(
    frame: Frame,
    target: str,
    decimal: Decimal | None = None,
    number_format: NumberFormat | None = None,
    gap_texts: Collection[str] = ("",),
) -> Labels:
    """Read the labels of a frame.

    They are integers if all are whole numbers, floats if all are numbers, otherwise text.

    target : the name of their column; decimal : the decimal mark in text, if the user named one
    number_format : of numbers in text, which the training has learned; None to learn it
    gap_texts : texts that are no labels

    Raises DataFileError for labels of another kind, and where no row has one.
    """
    kind = frame.schema.field(target).type
    column = pyarrow.chunked_array([batch.column(0) for batch in frame.all_batches([target])], kind)
    if types.is_floating(kind) or types.is_decimal(kind) or types.is_integer(kind):
        numbers = column if not column.null_count else column.cast("float64", safe=False)
        labels = _from_numbers(numbers.to_numpy())
    elif (
        types.is_boolean(kind) or types.is_dictionary(kind) or types.is_null(kind) or is_text(kind)
    ):
        title = f"{frame.name}: column {target!r}"
        labels = _from_texts(column, decimal, number_format, gap_texts, title)
    else:
        raise DataFileError(
            f"{frame.name}: labels must be numbers or text; column {target!r} holds {kind}. "
            "Convert it."
        )
    del column
    pyarrow.default_memory_pool().release_unused()
    if not len(labels.values):
        raise DataFileError(
            f"{frame.name}: rows need labels; none of {frame.rows} has one in column {target!r}."
        )
    return labels


def _from_numbers(numbers: numpy.ndarray) -> Labels:
    """Return labels from numbers, of which NaN and infinities are gaps."""
    if numpy.can_cast(numbers.dtype, numpy.int64):
        return Labels(numbers.astype(numpy.int64), numpy.ones(len(numbers), bool))
    numbers = numbers.astype(numpy.float64)
    labelled = numpy.isfinite(numbers)
    values = numbers if labelled.all() else numbers[labelled]
    are_integers = (values == numpy.floor(values)).all()
    are_exact = (numpy.abs(values) < MAX_EXACT_FLOAT).all()
    return Labels(values.astype(numpy.int64) if are_integers and are_exact else values, labelled)


def _from_texts(
    column: pyarrow.ChunkedArray,
    decimal: Decimal | None,
    number_format: NumberFormat | None,
    gap_texts: Collection[str],
    title: str,
) -> Labels:
    """Return labels from texts, each of which is looked at once. title : of the column

    Raises DataFileError for text that is no number of the format.
    """
    if types.is_null(column.type):  # Arrow joins no dictionaries of this type
        column = column.cast(pyarrow.string())
    encoded = column if types.is_dictionary(column.type) else column.dictionary_encode()
    encoded = encoded.unify_dictionaries().combine_chunks()
    dictionary = [*encoded.dictionary.to_pylist(), None]
    texts = ["" if text is None else str(text).strip() for text in dictionary]
    texts = ["" if text in gap_texts else text for text in texts]
    if any(text.endswith("\0") for text in texts):  # NumPy's texts end before their last zero bytes
        raise DataFileError(f"{title} must hold labels that do not end in a zero byte. Remove it.")
    codes = encoded.indices.fill_null(len(texts) - 1).to_numpy(zero_copy_only=False)
    labelled = numpy.asarray([bool(text) for text in texts])[codes]
    filled = list(filter(None, texts))
    if number_format is None:
        counts = TextCounts(filled, numpy.ones(len(filled), int))
        learned = numeric_text([counts], decimal, strictly=True)
        if learned is None:
            return Labels(numpy.asarray(texts)[codes[labelled]], labelled)
        number_format = learned.number_format
    numbers = [number_format.read(text) if text else None for text in texts]
    wrong = next((text for text in filled if number_format.read(text) is None), None)
    if wrong is not None:
        raise DataFileError(
            f"{title} must hold numbers as in training ({number_format}); got {wrong!r}. Correct "
            "it."
        )
    values = numpy.array(numbers, numpy.float64)[codes[labelled]]
    return Labels(_from_numbers(values).values, labelled, number_format)


def note_missing_labels(frame: Frame, labelled: numpy.ndarray) -> None:
    """Add a note to a frame on its rows that have no label. labelled : (rows,) bool"""
    missing = frame.rows - numpy.count_nonzero(labelled)
    if missing:
        frame.notes.append(f"{missing:,} of {frame.rows:,} rows have no label, and are left out")


def label_gaps(gaps: GapValues, classes: Sequence[object]) -> set[str]:
    """Return the texts that are no labels: those that the user names, and the usual ones.

    classes : of the model, which are labels in any case
    """
    usual = {""} if gaps.replaces_usual else {*MISSING}
    return {*usual, *gaps.words} - set(map(str, classes))


def class_indices(name: str, labels: numpy.ndarray, classes: Sequence[object]) -> numpy.ndarray:
    """Return the index of each label among classes.

    They are compared as text, so that 1 from one file is "1" from another.

    name : of the file, for the message; labels : (rows,)
    returns (rows,) of the smallest unsigned integers that hold all indices

    Raises DataFileError for a label that is no class.
    """
    texts = pyarrow.array(labels).cast(pyarrow.string())
    indices = compute.index_in(texts, pyarrow.array([str(label) for label in classes]))
    if indices.null_count:
        unknown = labels[indices.is_null().index(True).as_py()].item()
        raise DataFileError(
            f"{name}: labels must be classes of the model, "
            f"{', '.join(map(repr, list(classes)[:_MAX_LISTED]))}; got {unknown!r} in "
            f"{indices.null_count} rows. "
            + (did_you_mean(unknown, map(str, classes)) or "Leave these out.")
        )
    return indices.to_numpy().astype(numpy.min_scalar_type(len(classes)))
