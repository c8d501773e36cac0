"""Measurements by job, ratios between the contenders of one job, and a results file as it is read.

The file has pytest-benchmark's own format, with one row for each job and contender.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy

from xpnet import DataFileError
from xpnet_bench.contenders import ENTRIES
from xpnet_bench.jobs import Job

DISTURBED = 0.15
"""Share of the processors above which the use by other processes makes a time doubtful."""

PREFERRED = ("xpnet-numba", "xpnet-cupy", "xpnet-numpy", "xpnet-mlp")
"""Contenders of which the first that was measured is the one that the report speaks of."""

SAME_MACHINE = ("processor", "cores", "logical_cores", "system", "card")

Run = dict[str, Any]
"""Facts of a run, see ``xpnet_bench.run``."""


def conditions(run: Run) -> dict[str, Any]:
    """Return the machine and the threads of a run, whose times cannot be compared with others."""
    machine = {key: run["machine"].get(key, "") for key in SAME_MACHINE}
    return {**machine, "threads": run["threads"]}


@dataclass(frozen=True)
class Measurement:
    """One contender on one job.

    seconds : (rounds,) for one unit of the job, in the order in which they were measured; where
        rounds are single calls, the median of each turn
    stats : pytest-benchmark's statistics of all rounds, in seconds
    calls : calls a round
    notes : what was measured besides the time, one entry a round; of single calls, percentiles
    others : share of the processors that other processes used meanwhile
    run : facts of the run that it comes from
    """

    job: Job
    contender: str
    role: str
    seconds: numpy.ndarray
    stats: dict[str, Any]
    calls: int = 1
    notes: list[dict[str, float]] = field(default_factory=list)
    others: float = 0.0
    run: Run = field(default_factory=dict)

    @property
    def median(self) -> float:
        """Return the median in seconds."""
        return self.stats["median"]

    @property
    def disturbed(self) -> bool:
        """Return whether other processes used so much that the times are doubtful."""
        return self.others > DISTURBED

    @property
    def version(self) -> dict[str, str]:
        """Return the versions that the contender reported when it was measured."""
        return self.run["contenders"].get(self.contender, {})

    def to_row(self, run: int) -> dict[str, Any]:
        """Make a row in pytest-benchmark's form. run : the number of the run in the file"""
        name = f"{self.job.name}-{self.contender}"
        stats = {**self.stats, "data": list(self.seconds), "iterations": 1}
        extra = {"contender": self.contender, "role": self.role, "run": run, "calls": self.calls}
        extra |= {"notes": self.notes, "others": self.others}
        return {
            "group": self.job.name,
            "name": name,
            "fullname": f"{self.job.suite}/{name}",
            "params": {"job": self.job.name, "contender": self.contender},
            "extra_info": extra,
            "stats": stats,
        }

    @classmethod
    def from_row(
        cls, row: dict[str, Any], jobs: Mapping[str, Job], runs: Sequence[Run]
    ) -> "Measurement":
        """Make a measurement from a row."""
        stats, extra = dict(row["stats"]), dict(row["extra_info"])
        seconds, run = numpy.asarray(stats.pop("data"), dtype=float), runs[extra.pop("run")]
        return cls(jobs[row["group"]], seconds=seconds, stats=stats, run=run, **extra)


@dataclass(frozen=True)
class Results:
    """The results of one machine.

    runs : those that measured them, oldest first
    """

    runs: list[Run]
    measurements: list[Measurement]

    @property
    def last(self) -> Run:
        """The newest run."""
        return self.runs[-1]

    @property
    def machine(self) -> dict[str, Any]:
        """Return what ``describe_machine`` reported."""
        return self.last["machine"]

    @cached_property
    def used_runs(self) -> list[Run]:
        """Runs that still have measurements."""
        used = {id(m.run) for m in self.measurements}
        return [run for run in self.runs if id(run) in used]

    @property
    def ours(self) -> str:
        """Return the contender that the report speaks of, "" if none of xpnet's was measured."""
        measured = {m.contender for m in self.measurements}
        return next((name for name in PREFERRED if name in measured), "")

    def by_job(self, **wanted: str) -> dict[Job, list[Measurement]]:
        """Measurements by job, in order; only of jobs whose fields (suite, group, dtype, ...) are
        as wanted.
        """
        jobs: dict[str, tuple[Job, list[Measurement]]] = {}
        for m in self.measurements:
            if all(getattr(m.job, field) == value for field, value in wanted.items()):
                jobs.setdefault(m.job.name, (m.job, []))[1].append(m)
        return dict(jobs.values())


def read_results(path: Path) -> Results:
    """Read what ``xpnet bench`` wrote; raises DataFileError for another file."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        runs, jobs = document["xpnet_bench"]["runs"], document["xpnet_bench"]["jobs"]
        by_name = {job["name"]: Job(**job) for job in jobs}
        rows = document["benchmarks"]
        return Results(runs, [Measurement.from_row(row, by_name, runs) for row in rows])
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise DataFileError(
            f"The file must be one that `xpnet bench` wrote; got {path}, which is not ({error!r}); "
            "give the results.json of a run."
        ) from error


class Ratio(NamedTuple):
    """Median and quartiles of a ratio of times."""

    median: float
    lower: float
    upper: float


def ratio(slower: Measurement, faster: Measurement) -> Ratio:
    """Return how many times as long the first takes, round by round
    where rounds lie side by side.
    """
    count = min(len(slower.seconds), len(faster.seconds))
    quotients = slower.seconds[:count] / faster.seconds[:count]
    lower, upper = numpy.percentile(quotients, [25, 75])
    return Ratio(slower.median / faster.median, float(lower), float(upper))


def contenders_of(jobs: Mapping[Job, list[Measurement]]) -> list[str]:
    """Return those that did at least one of the jobs, in the order of ``ENTRIES``; those that only
    an old file names are the last.
    """
    measured = dict.fromkeys(m.contender for measurements in jobs.values() for m in measurements)
    current = [entry.name for entry in ENTRIES if entry.name in measured]
    return list(dict.fromkeys([*current, *measured]))


def named(measurements: list[Measurement], contender: str) -> Measurement | None:
    """Return the measurement of one contender."""
    return next((m for m in measurements if m.contender == contender), None)


def best_of_role(measurements: list[Measurement], role: str) -> Measurement | None:
    """Return the fastest contender of a role: ``peer``, ``floor`` or ``xpnet``."""
    candidates = [m for m in measurements if m.role == role]
    return min(candidates, key=lambda m: m.median, default=None)


def against_best_peer(
    jobs: Mapping[Job, list[Measurement]], contender: str
) -> list[tuple[Job, Ratio]]:
    """Return how many times as fast as the best peer a contender is, for each job that both did."""
    pairs = []
    for job, measurements in jobs.items():
        own, peer = named(measurements, contender), best_of_role(measurements, "peer")
        if own and peer:
            pairs.append((job, ratio(peer, own)))
    return pairs
