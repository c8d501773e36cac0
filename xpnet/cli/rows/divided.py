"""Rows of a data file, divided for training and tests."""

from dataclasses import replace
from typing import NamedTuple

import numpy

from xpnet.cli.output import few
from xpnet.cli.rows.file_rows import FileRows
from xpnet.errors import DataFileError, InputError
from xpnet.tabular.rows.division import folds_to_measure, split_off_rows


class MeasuredParts(NamedTuple):
    """The rows of one measurement. training : of the measured model; test : others, perhaps none"""

    training: FileRows
    test: FileRows


def split(rows: FileRows, fraction: float, seed: int, option: str) -> MeasuredParts:
    """Divide rows into two parts, of which the second has a fraction of them, by `split_off_rows`.

    option : that named the fraction, for the message

    Raises DataFileError where no row would be left in the first part.
    """
    count = len(rows)
    if fraction and round(fraction * count) >= count:
        raise DataFileError(
            f"{rows.frame.name}: some row must be left to train on; {count} rows are too few for "
            f"{option} {fraction}."
        )
    groups = rows.links.groups
    if fraction and groups is not None and groups.max() == groups.min():
        raise DataFileError(
            f"{rows.frame.name}: --groups must name a column of two groups or more; got 1. "
            "Leave it out."
        )
    are_classes = rows.classes is not None
    second = split_off_rows(rows.y, rows.links, fraction, seed, are_classes=are_classes)
    return MeasuredParts(rows.take(~second), rows.take(second))


def split_last(rows: FileRows, fraction: float) -> MeasuredParts:
    """Divide rows into two parts, of which the second has the last ones, a fraction of them."""
    second = numpy.arange(len(rows)) >= len(rows) - round(fraction * len(rows))
    return MeasuredParts(rows.take(~second), rows.take(second))


def split_folds(rows: FileRows, count: int, seed: int) -> list[MeasuredParts]:
    """Return training and test rows for each fold, by `folds_to_measure`.

    Raises DataFileError for fewer rows, groups or times than folds.
    """
    are_classes = rows.classes is not None
    try:
        folds = folds_to_measure(rows.y, rows.links, count, seed, are_classes=are_classes)
    except InputError as error:
        raise DataFileError(f"{rows.frame.name}: --folds {count}: {error}") from error
    return [MeasuredParts(rows.take(fold.training), rows.take(fold.validation)) for fold in folds]


def with_training_classes(parts: MeasuredParts) -> MeasuredParts:
    """Return both parts with the classes of the training rows alone; a note reports others."""
    training, test = parts
    if training.classes is None or training.shares is not None:
        return parts
    indices = numpy.unique(training.y)
    if len(indices) == len(training.classes):
        return parts
    is_trained = numpy.isin(test.y, indices)
    if not is_trained.all():
        others = numpy.unique(test.y[~is_trained])
        training.frame.notes.append(
            f"{numpy.count_nonzero(~is_trained):,} test rows are left out, since no training row "
            f"has their class: {few(training.classes[others].tolist())}"
        )

    def renumbered(rows: FileRows) -> FileRows:
        """Return rows whose class indices count the training rows' classes alone."""
        y = numpy.searchsorted(indices, rows.y).astype(rows.y.dtype)
        factors = rows.factors
        if factors is not None and factors.ndim == 2:
            factors = factors[:, indices]
            if len(indices) == 2:
                factors = factors[:, 1] / factors[:, 0]
        return replace(rows, y=y, classes=rows.classes[indices], factors=factors)

    return MeasuredParts(renumbered(training), renumbered(test.take(is_trained)))
