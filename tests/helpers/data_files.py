"""Files read whole, as a person would look at them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow

from xpnet.data import open_data
from xpnet.data.cells.forms import TextRules
from xpnet.data.cells.gaps import GapValues
from xpnet.data.column_choice import pick_columns
from xpnet.data.frame_forms import learn_forms, read_numbers
from xpnet.data.frames import Frame
from xpnet.data.labels import label_gaps, read_labels
from xpnet.data.readers.text import TextFile


class Opened(NamedTuple):
    """A frame, its cells by column, and its labels."""

    frame: Frame
    cells: dict[str, list[Any]]
    labels: np.ndarray
    labelled: np.ndarray

    @property
    def X(self) -> np.ndarray:
        """The columns as a matrix."""
        return np.column_stack(list(self.cells.values())).astype(float)


def read(
    folder: Path,
    content: str | bytes,
    name: str = "data.csv",
    *,
    target: str = "y",
    text: Sequence[str] = (),
    **dialect: Any,
) -> Opened:
    """What is in a file with that content."""
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return look(path, target=target, text=text, **dialect)


def contents(frame: Frame, columns: Sequence[str]) -> dict[str, list[Any]]:
    """What some columns of a frame hold."""
    return pyarrow.Table.from_batches(frame.all_batches(columns)).to_pydict()


def look(path: Any, *, target: str = "y", text: Sequence[str] = (), **dialect: Any) -> Opened:
    """What is in a file."""
    opened = open_data(path, **dialect)
    features, _ = pick_columns(opened, target, (), (), text, labelled=True)
    frame = opened.read(opened.names, text, target)
    decimal = dialect.get("decimal") or getattr(opened, "decimal", None)
    rules = TextRules(
        decimal=decimal,
        thousands=dialect.get("thousands"),
        has_types=not isinstance(opened, TextFile),
    )
    forms = learn_forms(frame, features, text, rules, lambda _: GapValues())
    read_numbers(frame, forms)
    gap_texts = label_gaps(GapValues(), ()) if isinstance(opened, TextFile) else ("",)
    labels, labelled, _ = read_labels(frame, target, dialect.get("decimal"), gap_texts=gap_texts)
    cells = contents(frame, features)
    for name, (form, *_) in forms.items():
        if form.kind == "category":
            cells[name] = [None if text in form.gap_texts else text for text in cells[name]]
    return Opened(frame, cells, labels, labelled)
