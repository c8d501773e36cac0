"""Hands times that were measured in the contenders' processes to pytest-benchmark.

pytest-benchmark reads a clock before and after each round of a target. Here the clock is set by hand: the target moves
it on by the time that a contender took, so that statistics and files hold exactly the measured rounds.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from xpnet_bench.contenders import find_entry
from xpnet_bench.jobs import Job
from xpnet_bench.measure.race import Lane

LaneOf = Callable[[Job, str], Lane]


class Clock:
    """A clock that moves only when told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def set_back(self) -> None:
        """To zero, so that no digits are lost in a difference."""
        self.now = 0.0


class Replay:
    """Called by a test with a job and a contender: gets the times, and feeds them to the benchmark fixture."""

    def __init__(self, benchmark: Any, clock: Clock, jobs: Mapping[str, Job], lane_of: LaneOf) -> None:
        self._benchmark, self._clock, self._jobs, self._lane_of = benchmark, clock, jobs, lane_of

    def __call__(self, name: str, contender: str) -> None:
        """Measure, or take what was measured for the whole job; skips with the reason where there is none."""
        job = self._jobs[name]
        lane = self._lane_of(job, contender)
        if lane.failed:
            pytest.skip(lane.failed)
        times = iter(lane.seconds)

        def target() -> None:
            self._clock.now = next(times)

        self._benchmark.group = job.name
        self._benchmark.extra_info.update(_facts(job, lane))
        self._benchmark.pedantic(target, setup=self._clock.set_back, rounds=len(lane.seconds), iterations=1)


def _facts(job: Job, lane: Lane) -> dict[str, Any]:
    return {
        "job": replace(job, data=Path(job.data).name).to_json(),
        "contender": lane.contender,
        "role": find_entry(lane.contender).role,
        "calls": lane.calls,
        "notes": lane.notes,
        "others": round(lane.others, 3),
    }
