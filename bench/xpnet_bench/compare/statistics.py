"""These statistics decide when a time has changed; they know no files or names.

A machine is slower in one minute than in the next, and for everybody. So a contender is not compared with its own past
but, round by round, with the *controls* that ran beside it and did not change: peers and floor. What is left after that
must pass three tests, each against one way of being fooled:

- the interval of the paired medians (bootstrap over rounds) lies beyond the threshold: not the scatter of rounds;
- it is beyond what the controls show among each other: not the luck of a process, which a bootstrap cannot see;
- the quickest tenth of the rounds moved as far: not a disturbance, which slows some rounds but never all.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy
from scipy.stats import median_abs_deviation

CONFIDENCE, RESAMPLES = 0.95, 1000
LEAST_ROUNDS = 6
DEVIATIONS = 3.0
"""How many standard deviations of the controls a change must have."""

Times = numpy.ndarray


class Change(NamedTuple):
    """Holds the new run's time relative to the old, corrected by controls: median, interval, quickest tenth."""

    ratio: float
    lower: float
    upper: float
    quickest: float


def change(
    old: Times, new: Times, old_controls: Sequence[Times], new_controls: Sequence[Times]
) -> Change:
    """Return the change of one contender beside its controls.

    old, new : (rounds,) seconds; the controls' rounds lie beside them in time
    """
    before, after = _paired(old, old_controls), _paired(new, new_controls)
    middle = numpy.median(after) - numpy.median(before)
    rng = numpy.random.default_rng(0)
    resampled = _resampled_medians(after, rng) - _resampled_medians(before, rng)
    lower, upper = numpy.quantile(resampled, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    quickest = _moved(old, new, 10) - _drift(old_controls, new_controls)
    return Change(*(float(numpy.exp(v)) for v in (middle, lower, upper, quickest)))


def _paired(times: Times, controls: Sequence[Times]) -> numpy.ndarray:
    """log(time / median of the controls in the same round), as far as all have rounds."""
    count = min(len(series) for series in (times, *controls))
    logs = numpy.log(times[:count])
    return (
        logs - numpy.median([numpy.log(c[:count]) for c in controls], axis=0) if controls else logs
    )


def _resampled_medians(times: Times, rng: numpy.random.Generator) -> Times:
    """(RESAMPLES,) medians of as many times, drawn anew from these."""
    return numpy.median(rng.choice(times, (RESAMPLES, len(times))), axis=1)


def _moved(old: Times, new: Times, percentile: float) -> float:
    return float(numpy.log(numpy.percentile(new, percentile) / numpy.percentile(old, percentile)))


def _drift(old_controls: Sequence[Times], new_controls: Sequence[Times]) -> float:
    moved = [_moved(old, new, 10) for old, new in zip(old_controls, new_controls, strict=True)]
    return float(numpy.mean(moved)) if moved else 0.0


def noise_of_controls(changes: Sequence[Change]) -> float:
    """The least ratio that is beyond the noise, from how much controls seem to change beside each other.

    The scale is the median absolute deviation, as a standard deviation: single controls that did change do not matter.
    """
    if len(changes) < 2:
        return 1.0
    logs = numpy.log([c.ratio for c in changes])
    return float(
        numpy.exp(
            DEVIATIONS
            * median_abs_deviation(logs, center=lambda a, axis: numpy.zeros(()), scale="normal")
        )
    )


def is_slower(found: Change, threshold: float, noise: float) -> bool:
    """Return whether a change passes all three tests."""
    return found.lower > threshold and min(found.ratio, found.quickest) > max(threshold, noise)


def is_faster(found: Change, threshold: float, noise: float) -> bool:
    """Return whether a change passes all three tests in the other direction."""
    return found.upper < 1 / threshold and max(found.ratio, found.quickest) < 1 / max(
        threshold, noise
    )
