"""Notes on targets of a training that look like mistakes of an export."""

from collections.abc import Iterator

import numpy

from xpnet.cli.output import few
from xpnet.cli.rows.file_rows import FileRows

MIN_DISTANCES = 20
"""A target is noted from this multiple of the largest distance of all others from the median.

Totals of many rows lie so far; the largest of numbers that spread over powers of ten seldom does.
"""


def notes_of_targets(rows: FileRows, target: str) -> Iterator[str]:
    """Yield notes on labels that are nearly the same, or on a number far from all others.

    target : the column of labels
    """
    if rows.classes is None:
        yield from _note_of_far_number(rows, target)
        return
    alike: dict[str, list[str]] = {}
    for label in rows.classes.tolist():
        if isinstance(label, str):
            alike.setdefault(" ".join(label.split()).casefold(), []).append(label)
    for labels in alike.values():
        if len(labels) > 1:
            yield (
                f"{target}: the labels {few([repr(label) for label in labels])} differ in case or "
                "blanks alone, and are classes of their own"
            )


def _note_of_far_number(rows: FileRows, target: str) -> Iterator[str]:
    """Yield a note on the one number that lies far from all others, if there is one."""
    if len(rows.y) < 3:
        return
    distances = numpy.abs(rows.y - numpy.median(rows.y))
    farthest = int(distances.argmax())
    others = numpy.delete(distances, farthest).max()
    if not others or distances[farthest] <= MIN_DISTANCES * others:
        return
    row = rows.frame.first_row + int(rows.features.places[farthest])
    yield (
        f"{target}: {rows.y[farthest]:,.6g} in row {row} is over {MIN_DISTANCES} times as far from "
        "the median as all others; remove the row if it is a total or a mistake"
    )
