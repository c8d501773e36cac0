"""The noise of the machine, measured before anything else."""

import time
from typing import Any

import numpy
import psutil

NOISY_SPREAD, NOISY_LOAD = 0.06, 0.10


def measure_noise(seconds: float = 1.0) -> dict[str, Any]:
    """Measure how much other processes use the processors, and how the time of a fixed computation
    spreads.

    returns ``others`` (share of all cores used before we start), ``spread`` (quartile distance over
    median of a fixed computation), ``noisy``, and ``verdict``, a sentence
    """
    psutil.cpu_percent()
    time.sleep(seconds / 2)
    others = psutil.cpu_percent() / 100
    lower, median, upper = numpy.percentile(_fixed_computation(seconds), [25, 50, 75])
    spread = (upper - lower) / median
    noisy = bool(spread > NOISY_SPREAD or others > NOISY_LOAD)
    return {
        "others": others,
        "spread": spread,
        "noisy": noisy,
        "verdict": _sentence(noisy, others, spread),
    }


def _fixed_computation(seconds: float) -> list[float]:
    """Times of the same computation, about a millisecond each."""
    data, end = numpy.linspace(0.0, 1.0, 100_000), time.perf_counter() + seconds
    times: list[float] = []
    while time.perf_counter() < end or len(times) < 20:
        start = time.perf_counter()
        numpy.exp(data).sum()
        times.append(time.perf_counter() - start)
    return times


def _sentence(noisy: bool, others: float, spread: float) -> str:
    measured = (
        f"other processes used {others:.0%} of the processors, "
        f"and a fixed computation spread by {spread:.1%}"
    )
    if not noisy:
        return f"The machine was quiet: {measured}."
    advice = "Read ratios within a job rather than times, and measure again."
    return f"The machine was noisy: {measured}. {advice}"
