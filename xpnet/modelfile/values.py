"""Python values that JSON has no form for, as JSON: what constructors are told and fits find out.

A tuple is ``{"tuple": [...]}``, a dict ``{"dict": [[key, value], ...]}`` (keys may be numbers), an infinity or NaN
``{"float": "inf"}``, an array of one axis ``{"array": [...], "dtype": "int64"}``. Everything else stands for itself.
"""

from math import isfinite
from typing import Any

import numpy

_DTYPES = [
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64"),
    *("str", "object"),
]


def to_json(value: Any) -> Any:
    """The value as JSON values.

    Raises TypeError for what has no form: objects, arrays of dates or of several axes.
    """
    if isinstance(value, numpy.generic):
        value = value.item()
    if isinstance(value, float) and not isfinite(value):
        return {"float": str(value)}
    if isinstance(value, tuple):
        return {"tuple": [to_json(v) for v in value]}
    if isinstance(value, list):
        return [to_json(v) for v in value]
    if isinstance(value, dict):
        return {"dict": [[to_json(k), to_json(v)] for k, v in value.items()]}
    if isinstance(value, numpy.ndarray):
        return _array_to_json(value)
    if value is not None and not isinstance(value, bool | int | float | str):
        raise TypeError(f"a {type(value).__name__} has no place in a model file")
    return value


def _array_to_json(array: numpy.ndarray) -> Any:
    name = "str" if array.dtype.kind == "U" else array.dtype.name
    if name not in _DTYPES or array.ndim != 1:
        raise TypeError(f"an array of {array.dtype} with {array.ndim} axes has no place in a model file")
    return {"array": [to_json(v) for v in array.tolist()], "dtype": name}


def from_json(value: Any) -> Any:
    """The value that ``to_json`` was given.

    Raises ValueError for other JSON.
    """
    if isinstance(value, list):
        return [from_json(v) for v in value]
    if not isinstance(value, dict):
        return value
    kinds, parts = sorted(value), list(value.values())
    if kinds == ["float"] and parts[0] in ("inf", "-inf", "nan"):
        return float(parts[0])
    if kinds == ["tuple"] and isinstance(parts[0], list):
        return tuple(from_json(v) for v in parts[0])
    if kinds == ["dict"] and isinstance(parts[0], list):
        return _dict_from_json(parts[0])
    if kinds == ["array", "dtype"] and isinstance(value["array"], list):
        return _array_from_json(value)
    raise ValueError("a value in its description is none that xpnet wrote")


def _dict_from_json(pairs: list[Any]) -> dict[Any, Any]:
    try:
        return {from_json(key): from_json(value) for key, value in pairs}
    except (TypeError, ValueError) as error:  # no pair, or a key that cannot be one
        raise ValueError("a dict in its description is none") from error


def _array_from_json(value: dict[str, Any]) -> numpy.ndarray:
    values = [from_json(v) for v in value["array"]]
    only = {"str": str, "bool": bool}.get(str(value["dtype"]), object)
    if value["dtype"] not in _DTYPES or not all(isinstance(v, only) for v in values):
        raise ValueError(f"an array in its description is none of {value['dtype']}")
    try:
        array = numpy.empty(len(values), dtype=object)
        array[:] = values
        return array.astype(value["dtype"])
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"an array in its description is none of {value['dtype']}") from error
