"""JSON as model files hold it, and Python values as JSON.

JSON is written in one form only, so that equal values give equal bytes. JSON has no form for some
parameters and fitted attributes. They are marked: a tuple is ``{"tuple": [...]}``, a dict is
``{"dict": [[key, value], ...]}`` (keys may be numbers), an infinity or NaN is
``{"float": "inf"}``, an array of one axis is ``{"array": [...], "dtype": "int64"}``, a schedule is
``{"schedule": "Cosine", ...}`` with its numbers, and an array that is a tensor of the file is
``{"tensor": "its name"}``. A dataclass needs no marks, since its fields have types: it is an object
with these fields, and the reader names its class. All other values have no marks.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, is_dataclass
from functools import cache
from math import isfinite
from types import UnionType
from typing import Any, Literal, TypeAlias, get_args, get_origin, get_type_hints

import numpy

from xpnet.errors import InputError
from xpnet.optimizers import Constant, Cosine, Exponential, OneCycle, Plateau, StepDecay

_DTYPES = {"str", "object", *(numpy.dtype(code).name for code in "?bhiqBHIQfd")}
TENSORS = {
    "float32": "F32",
    "float64": "F64",
    "int64": "I64",
    "uint8": "U8",
    "uint32": "U32",
    "uint64": "U64",
}
"""The dtypes of tensors in files, and their codes in safetensors."""
NESTING_LIMIT = 256
"""Maximum number of nested lists and dicts; deeper values could exhaust the stack."""
VALUES_LIMIT = 2**20
"""Maximum number of items of lists and dicts; an object takes far more memory than its text."""
SCHEDULES: dict[str, type] = {
    kind.__name__: kind for kind in (Constant, StepDecay, Exponential, Cosine, OneCycle, Plateau)
}
Reader: TypeAlias = Callable[[object, str], Any]
"""Reads a JSON value as a type. The text says where the value stands, for messages."""
_NO_PLACE = (
    "Values in a model file must be numbers, strings, or lists and dicts of them; {} has no place "
    "in a model file. Convert it, or leave it out."
)
_TOO_DEEP = f"it is nested too deeply, at most {NESTING_LIMIT} levels are read"


def check_unicode(text: str) -> None:
    """Raise InputError for text with lone surrogates, which no file holds."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InputError(
            f"Text must be valid Unicode; got {str(text)!r}. Replace its lone surrogates, for "
            "example by text.encode('utf-8', 'replace').decode()."
        ) from None


def canonical(value: object) -> str:
    """Return the one JSON text of a value: sorted keys, no spaces, shortest floats.

    Raises ValueError or TypeError for values that JSON cannot hold: NaN, infinities, lone
    surrogates, objects.
    """
    text = json.dumps(
        value,
        sort_keys=True,
        separators=(",", ":"),
        allow_nan=False,
        ensure_ascii=False,
        default=numpy.generic.item,  # NumPy's numbers are written as Python's
    )
    text.encode("utf-8")
    return text


def parse(text: str | bytes) -> Any:
    """Return the value of a JSON text, if it is within the limits.

    Raises ValueError otherwise, and for a key that occurs twice: readers differ in which of the two
    values they take.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8")
    # Marks within strings count as well; the sum is never less than the number of values.
    if sum(text.count(mark) for mark in ",[{") > VALUES_LIMIT:
        raise ValueError(f"it holds more than {VALUES_LIMIT} values")
    try:
        value = json.loads(text, object_pairs_hook=_unique)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    _check_nesting(value)
    return value


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Return a dict of pairs. Raises ValueError for a key that occurs twice."""
    unique = dict(pairs)
    if len(unique) != len(pairs):
        raise ValueError("a key comes twice")
    return unique


def _check_nesting(value: object) -> None:
    """Raise ValueError where a JSON value is nested too deeply."""
    level = [value]
    for _ in range(NESTING_LIMIT):
        containers = [item for item in level if isinstance(item, dict | list)]
        items = [item.values() if isinstance(item, dict) else item for item in containers]
        level = [inner for values in items for inner in values]
        if not level:
            return
    raise ValueError(_TOO_DEEP)


def to_json(value: Any, tensors: dict[str, numpy.ndarray] | None = None, path: str = "") -> object:
    """Return the value as JSON values, with marks that say what it is.

    tensors : receives arrays of the dtypes of tensors, by their path; None writes them as JSON
    path : the beginning of the names of tensors, which ends in a slash

    Raises InputError for values without a form: objects, other dataclasses, arrays of dates or of
    several axes.
    """

    def inner(key: object, value: object) -> object:
        """Encode a value inside of this one; its tensors are named by the path to it."""
        return to_json(value, tensors, f"{path}{key}/")

    if isinstance(value, numpy.generic):
        value = value.item()
    if isinstance(value, float) and not isfinite(value):
        return {"float": str(value)}
    if isinstance(value, tuple):
        return {"tuple": [inner(k, v) for k, v in enumerate(value)]}
    if isinstance(value, list):
        return [inner(k, v) for k, v in enumerate(value)]
    if isinstance(value, dict):
        return {"dict": [[to_json(k), inner(k, v)] for k, v in value.items()]}
    if isinstance(value, numpy.ndarray):
        if tensors is None or value.dtype.name not in TENSORS:
            return _mark_array(value)
        name = path.rstrip("/")
        if name in tensors:
            raise InputError(
                f"Arrays of a state must have different names; got {name} twice. "
                "Remove slashes from the names."
            )
        tensors[name] = value
        return {"tensor": name}
    if type(value) in SCHEDULES.values():
        return {"schedule": type(value).__name__, **asdict(value)}
    if value is not None and not isinstance(value, bool | int | float | str):
        raise InputError(_NO_PLACE.format(f"a {type(value).__name__}"))
    return value


def _mark_array(array: numpy.ndarray) -> object:
    """Return an array of one axis as JSON. Raises InputError for other arrays."""
    name = "str" if array.dtype.kind == "U" else array.dtype.name
    if name not in _DTYPES or array.ndim != 1:
        raise InputError(_NO_PLACE.format(f"an array of {array.dtype} with {array.ndim} axes"))
    return {"array": [to_json(v) for v in array.tolist()], "dtype": name}


def from_json(value: object, tensors: dict[str, numpy.ndarray] | None = None) -> Any:
    """Return the value of JSON that ``to_json`` wrote, and remove its tensors from ``tensors``.

    Raises ValueError for other JSON, such as a dict with an item that is no pair.
    """
    try:
        return _unmark(value, {} if tensors is None else tensors)
    except (TypeError, ValueError, OverflowError, KeyError) as error:
        raise ValueError(
            f"its description holds a value that xpnet does not write: {error}"
        ) from error


def typed(value: object, kind: object, where: str = "a setting") -> Any:
    """Return a JSON value as a type: lists become tuples, and objects become dataclasses.

    Whole numbers become floats where the type is float. Missing fields of a dataclass take their
    defaults. Raises ValueError for a value of another type.
    """
    return _reader_of(kind)(value, where)


# A file of a wide table has many thousand values of few types.
@cache
def _reader_of(kind: object) -> Reader:
    """Return the function that reads JSON values as a type."""
    if isinstance(kind, type) and is_dataclass(kind):
        return _reader_of_dataclass(kind)
    origin = get_origin(kind)
    if origin is UnionType:
        return _reader_of_optional(kind)
    name = getattr(kind, "__name__", kind)
    arguments = get_args(kind)
    read_item = _reader_of(arguments[0]) if origin is tuple else None

    def read(value: object, where: str) -> object:
        """Return a value as it is, a list as a tuple, and a whole number as a float."""
        if read_item is not None and isinstance(value, list):
            item_kind = arguments[0]
            return tuple([v if type(v) is item_kind else read_item(v, where) for v in value])
        if origin is Literal and value in arguments:
            return value
        if kind is float and type(value) is int and abs(value) < 2**53:
            return float(value)
        if type(value) is not (origin or kind):
            raise ValueError(f"{where} has a value of another type than {name}")
        return value

    return read


def _reader_of_dataclass(kind: type) -> Reader:
    """Return the function that reads JSON objects as a dataclass."""
    kinds = get_type_hints(kind)
    readers = {
        name: (field_kind, _reader_of(field_kind), f"{kind.__name__}.{name}")
        for name, field_kind in kinds.items()
    }

    def read(value: object, _: str) -> object:
        """Return a dataclass, whose fields are read by their types."""
        if not isinstance(value, dict) or not value.keys() <= readers.keys():
            raise ValueError(f"{kind.__name__} takes an object with {', '.join(kinds)}")
        fields = {}
        for name, field in value.items():
            field_kind, read_field, place = readers[name]
            fields[name] = field if type(field) is field_kind else read_field(field, place)
        try:
            return kind(**fields)
        except TypeError:
            raise ValueError(f"{kind.__name__} lacks some of {', '.join(kinds)}") from None

    return read


def _reader_of_optional(kind: object) -> Reader:
    """Return the function that reads JSON values as a type or None."""
    readers = [_reader_of(choice) for choice in get_args(kind) if choice is not type(None)]

    def read(value: object, where: str) -> object:
        """Return a value of the type, or None."""
        (read_present,) = readers
        return None if value is None else read_present(value, where)

    return read


def _unmark(value: Any, tensors: dict[str, numpy.ndarray]) -> Any:
    """Return the value that marked JSON describes."""
    match value:
        case list():
            return [_unmark(v, tensors) for v in value]
        case {"float": "inf" | "-inf" | "nan" as text} if len(value) == 1:
            return float(text)
        case {"tuple": list(values)} if len(value) == 1:
            return tuple(_unmark(v, tensors) for v in values)
        case {"dict": list(pairs)} if len(value) == 1:
            return {_unmark(key, tensors): _unmark(inner, tensors) for key, inner in pairs}
        case {"array": list(values), "dtype": str(dtype)} if len(value) == 2:
            return _unmark_array(_unmark(values, tensors), dtype)
        case {"tensor": str(name)} if len(value) == 1:
            return tensors.pop(name)
        case {"schedule": str(kind), **numbers} if kind in SCHEDULES:
            return typed(numbers, SCHEDULES[kind])
        case dict():
            raise ValueError("there are no such marks")
    return value


def _unmark_array(values: list[object], dtype: str) -> numpy.ndarray:
    """Return an array of one axis. Raises ValueError for values of another type than its dtype."""
    item_type = {"str": str, "bool": bool}.get(dtype, object)
    if dtype not in _DTYPES or not all(isinstance(value, item_type) for value in values):
        raise ValueError(f"an array cannot have the dtype {dtype}")
    array = numpy.empty(len(values), dtype=object)
    array[:] = values
    return array.astype(dtype)
