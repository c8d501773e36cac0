"""Numbers for people: three significant digits and a fitting unit."""

import numpy
from matplotlib.ticker import EngFormatter

TIME = EngFormatter("s")


def seconds(value: float) -> str:
    """``0.000123`` is ``123 µs``."""
    return TIME(float(f"{value:.3g}"))


def significant(value: float, digits: int) -> str:
    """Return the significant digits, never an exponent."""
    text = numpy.format_float_positional(value, digits, unique=False, fractional=False)
    return text.rstrip(".")


def times(ratio: float) -> str:
    """``2.345`` is ``2.3×``."""
    digits = 0 if ratio >= 9.95 else 1 if ratio >= 0.995 else 2
    return f"{ratio:.{digits}f}×"
