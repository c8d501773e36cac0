"""The encodings of a table's columns as entries and tensors of a model file."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy

from xpnet.modelfile.container import Tensor
from xpnet.modelfile.values import typed
from xpnet.tabular.encodings.encoding import Encoding
from xpnet.tabular.encodings.kinds import ENCODINGS

StoredEntry: TypeAlias = dict[str, Any]
"""A JSON object of a file."""

_FORM_FIELDS = "clock", "date_format"
"""Fields of encodings of numbers in files of 0.1.0, which belong to the form of the column."""


class StoredEncodings(NamedTuple):
    """Encodings in a file. entries : JSON values of each; tensors : arrays by name"""

    entries: list[dict[str, object]]
    tensors: dict[str, numpy.ndarray]


def stored_encodings(encodings: Sequence[Encoding]) -> StoredEncodings:
    """Return encodings as a file holds them."""
    entries: list[dict[str, object]] = []
    arrays: dict[str, numpy.ndarray] = {}
    for k, encoding in enumerate(encodings):
        fields = encoding.to_file()
        tensors = {
            name: value for name, value in fields.items() if isinstance(value, numpy.ndarray)
        }
        settings = {name: value for name, value in fields.items() if name not in tensors}
        entries.append({"kind": encoding.kind, **settings})
        arrays |= {f"encoder/{k}/{name}": array for name, array in tensors.items()}
    return StoredEncodings(entries, arrays)


def opened_encodings(
    entries: Sequence[StoredEntry], tensors: dict[str, numpy.ndarray], columns: int
) -> list[Encoding]:
    """Return the encodings of a file, and remove their tensors from ``tensors``.

    columns : number of columns of the table

    Raises ValueError, KeyError or TypeError for entries that ``stored_encodings`` does not write.
    """
    encodings = []
    for k, entry in enumerate(entries):
        if not 0 <= entry["column"] < columns:
            raise ValueError(f"a column must be one of {columns}")
        kind, settings = _entry_of_kind(entry)
        encoding_class = ENCODINGS[kind]
        arrays = {name: tensors.pop(f"encoder/{k}/{name}") for name in encoding_class.tensors}
        encodings.append(encoding_class.from_file({**settings, **arrays}, typed))
    return encodings


def column_kinds(encoder: StoredEntry, tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Return what each column holds that the encoder of a file uses, by name.

    It is empty for settings that no encoder writes, which a file of unknown origin may hold.
    """
    try:
        return dict(_named_kinds(encoder, tensors))
    except (LookupError, TypeError, ValueError):
        return {}


def _named_kinds(encoder: StoredEntry, tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, str]]:
    """Yield the name of each column and what it holds."""
    for k, entry in enumerate(encoder.get("encodings", [])):
        column = entry["column"]
        name = encoder["names"][column] if encoder["names"] else str(column)
        kind, settings = _entry_of_kind(entry)
        prefix = f"encoder/{k}/"
        shapes = {
            tensor: tensors[prefix + tensor].shape
            for tensor in ENCODINGS[kind].tensors
            if prefix + tensor in tensors
        }
        description = ENCODINGS[kind].describe(settings, shapes)
        if description is not None:
            yield name, description


class _Entry(NamedTuple):
    """The entry of an encoding. kind : its name; settings : JSON values by the names of fields"""

    kind: str
    settings: StoredEntry


def _entry_of_kind(entry: StoredEntry) -> _Entry:
    """Return the kind of an entry, and its settings.

    Earlier files do not name the kind. Their fields show it, and numbers of 0.1.0 also hold the
    form of their column. Raises ValueError for a kind that is no text.
    """
    settings = dict(entry)
    if "kind" in settings:
        return _Entry(typed(settings.pop("kind"), str, "the kind of an encoding"), settings)
    if "fill" in settings:
        return _Entry("number", {k: v for k, v in settings.items() if k not in _FORM_FIELDS})
    if "frequent" in settings:
        return _Entry("category", settings)
    return _Entry("level" if "detail_labels" in settings else "text", settings)
