"""Which columns of a data file are features, labels and carried along."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from xpnet.data import DataFile
from xpnet.errors import DataFileError


@dataclass(frozen=True)
class Columns:
    """Names of columns.

    features : that a model takes; target : of the labels, None where none are asked for; ids : that are carried along
    """

    features: list[str]
    target: str | None
    ids: list[str]


def pick_columns(
    opened: DataFile,
    *,
    target: str | None = None,
    labelled: bool = True,
    features: Sequence[str] = (),
    drop: Sequence[str] = (),
    ids: Sequence[str] = (),
) -> Columns:
    """The columns to read from a file.

    labelled : whether a target is needed

    Raises DataFileError for columns that are missing, for a target that is not named, and where no feature is left.
    """
    own = opened.default_target
    if labelled and target is None and own is None:
        raise DataFileError(
            f"{opened.name}: --target names the column that holds the labels, one of {listed(opened.names)}."
        )
    if labelled and own is not None and target not in (None, own, "target", "y"):
        raise DataFileError(f"{opened.name}: its labels are called {own!r}; received {target!r}. Leave --target out.")
    target = (own or target) if labelled else None
    named = dict.fromkeys([*([] if target is None else [target]), *features, *ids, *drop])
    missing = [column for column in named if column not in opened.names]
    if missing:
        raise DataFileError(_told(opened, missing))
    apart = {target, own, *ids, *drop}
    chosen = [column for column in opened.names if column not in apart] if not features else list(features)
    if not chosen:
        raise DataFileError(
            f"{opened.name}: at least one column beside the target is needed; received {listed(opened.names)}."
        )
    if target in chosen:
        raise DataFileError(f"{opened.name}: {target!r} is the target, and no feature can be. Name another.")
    return Columns(chosen, target, list(dict.fromkeys(ids)))


def _told(opened: DataFile, missing: Sequence[str]) -> str:
    """What is missing, and what may have been meant."""
    columns = f"column{'s' if len(missing) > 1 else ''} {listed(missing)}"
    told = f"{opened.name}: there is no {columns}; the columns are {listed(opened.names)}."
    numbers = sum(_is_number(column) for column in opened.names)
    if len(opened.names) > 1 and 2 * numbers > len(opened.names):
        return f"{told} The first line holds numbers: if it has no names, --no-header calls the columns x0, x1, ..."
    lowered = {name.lower(): name for name in opened.names}
    close = get_close_matches(missing[0].lower(), lowered, 1)
    return f"{told} Did you mean {lowered[close[0]]!r}?" if close else f"{told} Check the spelling."


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def listed(names: Sequence[str], most: int = 12) -> str:
    """``'a', 'b', 'c'``, cut after so many."""
    shown = ", ".join(repr(name[:60]) for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
