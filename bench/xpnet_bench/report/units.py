"""Numbers for people: three significant digits and a fitting unit."""

import numpy

_TIMES = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (0.0, "ns"))


def seconds(value: float, like: float | None = None) -> str:
    """``0.000123`` is ``123 µs``; with ``like`` the unit of that other time, left out."""
    scale, unit = _unit(value if like is None else like)
    number = significant(value / scale)
    return number if like is not None else f"{number} {unit}"


def spread(lower: float, upper: float, like: float) -> str:
    """Quartiles in the unit of the median."""
    return f"{seconds(lower, like)}–{seconds(upper, like)}"


def significant(value: float, digits: int = 3) -> str:
    """Return the significant digits, never an exponent."""
    text = numpy.format_float_positional(value, digits, unique=False, fractional=False)
    return text.rstrip(".")


def times(ratio: float) -> str:
    """``2.345`` is ``2.3×``."""
    digits = 0 if ratio >= 9.95 else 1 if ratio >= 0.995 else 2
    return f"{ratio:.{digits}f}×"


def _unit(value: float) -> tuple[float, str]:
    scale, unit = next(entry for entry in _TIMES if value >= entry[0])
    return scale or 1e-9, unit
