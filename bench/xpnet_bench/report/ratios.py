"""Ratios compare the contenders of one job."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy

from xpnet_bench.jobs import Job
from xpnet_bench.report.results import Measurement, Results

PREFERRED = ("xpnet-numba", "xpnet-cupy", "xpnet-numpy")


class Ratio(NamedTuple):
    """Median and quartiles of a ratio of times."""

    median: float
    lower: float
    upper: float


def ratio(slower: Measurement, faster: Measurement) -> Ratio:
    """Return how many times as long the first takes, round by round where rounds lie side by side."""
    count = min(len(slower.seconds), len(faster.seconds))
    quotients = slower.seconds[:count] / faster.seconds[:count]
    lower, upper = numpy.percentile(quotients, [25, 75])
    return Ratio(slower.median / faster.median, float(lower), float(upper))


def best_peer(measurements: list[Measurement]) -> Measurement | None:
    """The quickest contender that is neither xpnet nor a floor."""
    peers = [m for m in measurements if m.role == "peer"]
    return min(peers, key=lambda m: m.median, default=None)


def ours(results: Results) -> str:
    """The backend that the report speaks of: Numba's where it was measured."""
    measured = {m.contender for m in results.measurements}
    return next((name for name in PREFERRED if name in measured), "")


def named(measurements: list[Measurement], contender: str) -> Measurement | None:
    """Return the measurement of one contender."""
    return next((m for m in measurements if m.contender == contender), None)


def floor_of(measurements: list[Measurement]) -> Measurement | None:
    """Return the floor of a job, where it was measured."""
    return next((m for m in measurements if m.role == "floor"), None)


def against_best_peer(
    jobs: Mapping[Job, list[Measurement]], contender: str
) -> list[tuple[Job, Ratio]]:
    """Return for each job that the contender and a peer did how many times as fast as the best peer it is."""
    found = []
    for job, measurements in jobs.items():
        mine, peer = named(measurements, contender), best_peer(measurements)
        if mine and peer:
            found.append((job, ratio(peer, mine)))
    return found
