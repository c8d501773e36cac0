"""The noise of the machine, measured before anything else."""

import timeit
from typing import Any

import numpy
import psutil

NOISY_SPREAD, NOISY_LOAD = 0.06, 0.10
REPEATS = 1000
"""Number of times that the fixed computation is timed."""

WAITING_SECONDS = 0.5
"""Duration over which the load by other processes is measured."""


def measure_noise() -> dict[str, Any]:
    """Measure how much other processes use the processors, and how the time of a fixed computation
    spreads.

    returns ``spread`` (quartile distance over median of a fixed computation), ``noisy``, and
    ``verdict``, a sentence
    """
    others = psutil.cpu_percent(interval=WAITING_SECONDS) / 100
    lower, median, upper = numpy.percentile(_fixed_computation(), [25, 50, 75])
    spread = (upper - lower) / median
    noisy = bool(spread > NOISY_SPREAD or others > NOISY_LOAD)
    return {
        "spread": spread,
        "noisy": noisy,
        "verdict": _sentence(noisy, others, spread),
    }


def _fixed_computation() -> list[float]:
    """Times of the same computation, about a millisecond each."""
    data = numpy.linspace(0.0, 1.0, 100_000)
    return timeit.repeat(lambda: numpy.exp(data).sum(), number=1, repeat=REPEATS)


def _sentence(noisy: bool, others: float, spread: float) -> str:
    measured = (
        f"other processes used {others:.0%} of the processors, "
        f"and a fixed computation spread by {spread:.1%}"
    )
    if not noisy:
        return f"The machine was quiet: {measured}."
    advice = "Read ratios within a job rather than times, and measure again."
    return f"The machine was noisy: {measured}. {advice}"
