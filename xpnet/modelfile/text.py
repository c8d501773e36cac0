"""JSON as model files hold it: read strictly, and written in one form only, so that equal values give equal bytes."""

import json
from math import isfinite
from typing import Any, NoReturn

import numpy


def canonical(value: Any) -> str:
    """The one JSON text of a value: sorted keys, no spaces, shortest floats.

    Raises ValueError or TypeError for what JSON cannot hold: NaN, infinities, half characters, objects.
    """
    text = json.dumps(
        value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False, default=_scalar
    )
    text.encode("utf-8")
    return text


def _scalar(value: Any) -> Any:
    """NumPy's numbers as Python's, which is what JSON knows."""
    if not isinstance(value, numpy.generic):
        raise TypeError(f"a {type(value).__name__} is no JSON value")
    return value.item()


def parse(text: str | bytes) -> Any:
    """The value of a JSON text.

    Raises ValueError for anything but plain JSON in UTF-8: a key that comes twice, NaN, numbers too large for a float,
    nesting without end.
    """
    text = text.decode("utf-8") if isinstance(text, bytes) else text
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key comes twice")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _finite(digits: str) -> float:
    value = float(digits)
    if not isfinite(value):
        raise ValueError("a number is too large for a float")
    return value
