"""The choice of the columns that a model takes, and of the one with the labels."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from xpnet.errors import DataFileError, did_you_mean

if TYPE_CHECKING:
    from xpnet.data.frames import Frame
    from xpnet.data.readers.text import TextFile

_MAX_LISTED = 12
"""Names that a message lists."""

_MAX_NAME = 60
"""Characters of a name that a message shows."""


class ChosenColumns(NamedTuple):
    """Names of columns.

    features : those that a model takes; target : the one with labels, None if none is needed
    """

    features: list[str]
    target: str | None


def pick_columns(
    opened: "Frame | TextFile",
    target: str | None,
    features: Sequence[str] = (),
    drop: Sequence[str] = (),
    named: Sequence[str] = (),
    *,
    labelled: bool,
) -> ChosenColumns:
    """Choose the columns that a model takes, and the labels' column.

    opened : a Frame or TextFile; features : all others than the target and ``drop`` if empty
    named : columns that are named for another reason, and must be in the file
    labelled : whether a target is needed

    Raises DataFileError for columns that are missing, for a target that is not named or stands in
    the file twice, and where no feature is left.
    """
    file = opened.name
    own_target = opened.default_target
    names = opened.names
    if labelled and target is None and own_target is None:
        raise DataFileError(
            f"{file}: --target must name the column that holds the labels, one of {_listed(names)}."
        )
    target = (target or own_target) if labelled else None
    _check_names(opened, [target or "", *features, *drop, *named])
    excluded = {target, own_target, *drop}
    chosen = list(dict.fromkeys(features)) or [name for name in names if name not in excluded]
    if not chosen:
        raise DataFileError(
            f"{file}: at least one column besides the target is needed; got {_listed(names)}."
        )
    if target in chosen:
        raise DataFileError(
            f"{file}: {target!r} is the target, so it must not be a feature. Name another."
        )
    copies = [name for name in _columns_of_one_name(opened, target) if name in chosen]
    if copies:
        drops = " ".join(f"--drop {name}" for name in copies)
        raise DataFileError(
            f"{file}: the target must be one column; {len(copies) + 1} have the same name as "
            f"{target!r}. Rename them, or add {drops}."
        )
    return ChosenColumns(chosen, target)


def _check_names(opened: "Frame | TextFile", names: Sequence[str]) -> None:
    """Raise DataFileError for names of columns that the file does not have."""
    missing = [name for name in dict.fromkeys(names) if name not in ("", *opened.names)]
    if missing:
        hint = did_you_mean(missing[0], opened.names)
        is_no_column = "is no column" if len(missing) == 1 else "are no columns"
        raise DataFileError(
            f"{opened.name}: there {is_no_column} {_listed(missing)}; the columns are "
            f"{_listed(opened.names)}. "
            f"{hint or _header_hint(opened, missing)}"
        )


def _header_hint(opened: "Frame | TextFile", missing: Sequence[str]) -> str:
    """Return what to do where columns are missing since the first line is no header."""
    above = opened.lines_above(missing) if hasattr(opened, "lines_above") else 0
    if above:
        return f"Line {above + 1} of the file names them: add --skip-rows {above}."
    return (
        "If the first line holds values, add --no-header; if lines stand above the header, add "
        "--skip-rows and their number."
    )


def _columns_of_one_name(opened: object, column: str | None) -> list[str]:
    """Return the other columns whose name in the header is the same as that of a column."""
    groups = getattr(opened, "repeated_names", ())
    return [name for group in groups if column in group for name in group if name != column]


def _listed(names: Sequence[str]) -> str:
    """Return names as ``'a', 'b', 'c'``, and of many the first."""
    shown = ", ".join(repr(name[:_MAX_NAME]) for name in names[:_MAX_LISTED])
    more = len(names) - _MAX_LISTED
    return f"{shown} and {more} more" if more > 0 else shown
