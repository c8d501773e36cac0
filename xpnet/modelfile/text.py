"""JSON as model files hold it: read strictly, and written in one form only, so that equal values give equal bytes."""

import json
from collections.abc import Iterable
from math import isfinite
from typing import Any, NoReturn

import numpy

NESTING_LIMIT = 256  # levels of lists and dicts; functions that walk deeper values could exhaust the stack
VALUES_LIMIT = 2**20  # items of lists and dicts; an object takes far more memory than its text
_TOO_DEEP = f"it is nested too deeply, at most {NESTING_LIMIT} levels are read"


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
    """A number of NumPy's as one of Python's, which JSON knows."""
    if not isinstance(value, numpy.generic):
        raise TypeError(f"a {type(value).__name__} is no JSON value")
    return value.item()


def parse(text: str | bytes) -> Any:
    """The value of a JSON text.

    Raises ValueError for anything but plain JSON in UTF-8: a key that comes twice, NaN, numbers too large for a float;
    and for what is beyond the limits.
    """
    text = text.decode("utf-8") if isinstance(text, bytes) else text
    check_values(text)
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    check_nesting(value)
    return value


def check_values(text: str) -> None:
    """Raise ValueError where a JSON text may hold too many values, by the marks before them; those in strings count."""
    if sum(text.count(mark) for mark in ",[{") > VALUES_LIMIT:
        raise ValueError(f"it holds more than {VALUES_LIMIT} values")


def check_nesting(value: Any) -> None:
    """Raise ValueError where a JSON value is nested too deeply."""
    level = [value]
    for _ in range(NESTING_LIMIT):
        level = [inner for outer in level if isinstance(outer, dict | list | tuple) for inner in _inner(outer)]
        if not level:
            return
    raise ValueError(_TOO_DEEP)


def _inner(outer: Any) -> Iterable[Any]:
    return outer.values() if isinstance(outer, dict) else outer


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
