"""A table of numbers and labels, and what must hold for one."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from reprlib import repr as short
from typing import Any

import numpy

from xpnet.errors import DataFileError


@dataclass(frozen=True)
class Table:
    """What a data file holds.

    name : the file or data set
    X : (rows, features) float32 or float64, every value finite
    features : a name for each column of X
    labels : (rows,) int64 or strings; empty where none were asked for
    target : the name of the labels' column, or None
    """

    name: str
    X: numpy.ndarray
    features: list[str]
    labels: numpy.ndarray = field(default_factory=lambda: numpy.empty(0, dtype=numpy.int64))
    target: str | None = None


@dataclass(frozen=True)
class Columns:
    """Which columns of a file are read.

    features : names of the columns that make X; target : name of the labels' column, or None
    """

    features: list[str]
    target: str | None


def pick_columns(name: str, header: Sequence[str], target: str | None, features: Sequence[str] | None) -> Columns:
    """The columns to read from a file with that header.

    features : None for all but the target

    Raises DataFileError for columns that are missing or named twice, and when no column is left for X.
    """
    repeated = sorted({column for column in header if list(header).count(column) > 1})
    if repeated:
        raise DataFileError(f"{name}: columns have different names; {listed(repeated)} stands there twice. Rename one.")
    missing = [c for c in ([] if target is None else [target]) + list(features or []) if c not in header]
    if missing:
        raise DataFileError(
            f"{name}: no column {listed(missing)}; the first line names {listed(header)}. Check the spelling."
        )
    chosen = [c for c in header if c != target] if features is None else list(features)
    if not chosen:
        raise DataFileError(f"{name}: at least one column beside the target is needed; received {listed(header)}.")
    return Columns(chosen, target)


def need_target(name: str, target: str | None, header: Sequence[str]) -> str:
    """The target, if there is one; raises DataFileError otherwise."""
    if target is None:
        raise DataFileError(
            f"{name}: which column holds the labels must be named as the target: one of {listed(header)}."
        )
    return target


def check_numbers(name: str, X: numpy.ndarray, features: Sequence[str]) -> None:
    """Raise DataFileError unless X (rows, features) has rows and every value is finite; names the first that is not."""
    if not X.shape[0]:
        raise DataFileError(f"{name}: at least one row is needed; received none below the header.")
    finite = numpy.isfinite(X)
    if not finite.all():
        row, column = divmod(int(finite.argmin()), X.shape[1])
        raise DataFileError(
            f"{name}: every value must be finite; row {row + 1}, column {features[column]!r} holds {X[row, column]}. "
            "Fill it in, or leave the row out."
        )


def not_a_number(name: str, column: str, row: int, value: Any) -> DataFileError:
    """The error for a cell that should have been a number; ``row`` counts from 0."""
    if value is None or not str(value).strip():
        return DataFileError(
            f"{name}: every value must be there; row {row + 1}, column {column!r} is empty. "
            "Fill it in, or leave the row out."
        )
    return DataFileError(
        f"{name}: column {column!r} must hold numbers; row {row + 1} holds {short(value)}. "
        "Encode it as numbers, or leave the column out."
    )


def listed(names: Sequence[Any], most: int = 12) -> str:
    """``'a', 'b', 'c'``, cut after so many."""
    shown = ", ".join(short(str(n)) for n in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
