"""A results file, read: plain measurements, whatever pytest-benchmark calls things."""

import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy

from xpnet import DataFileError
from xpnet_bench.jobs import Job

DISTURBED = 0.15

Run = dict[str, Any]


@dataclass(frozen=True)
class Summary:
    """Statistics of all rounds, in seconds; ``outliers`` lie outside Tukey's fences."""

    count: int
    minimum: float
    lower: float
    median: float
    upper: float
    maximum: float
    outliers: int


@dataclass(frozen=True)
class Measurement:
    """One contender on one job.

    seconds : (rounds,) for one unit of the job, in the order in which they were measured; where rounds are single
        calls, the median of each turn
    summary : of all rounds; percentiles : of single calls, rows of percent, seconds, and their interval
    notes : what was found beside the time, one entry a round
    others : share of the processors that other processes used meanwhile
    run : facts of the run that it comes from
    """

    job: Job
    contender: str
    role: str
    seconds: numpy.ndarray
    summary: Summary
    notes: list[dict[str, float]]
    others: float = 0.0
    percentiles: list[list[float]] = field(default_factory=list)
    run: Run = field(default_factory=dict)

    @property
    def median(self) -> float:
        """Return the median in seconds."""
        return self.summary.median

    @property
    def disturbed(self) -> bool:
        """Return whether others used so much that the times say little."""
        return self.others > DISTURBED

    @property
    def version(self) -> dict[str, str]:
        """Return what the contender said of itself and its libraries when it was measured."""
        return self.run["contenders"].get(self.contender, {})


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
    def date(self) -> str:
        """ISO 8601, of the newest run."""
        return self.last["date"]

    @property
    def commit(self) -> str:
        """Short, "" outside a repository."""
        return self.last["commit"]

    @property
    def machine(self) -> dict[str, Any]:
        """Return what ``describe_machine`` found."""
        return self.last["machine"]

    @cached_property
    def used_runs(self) -> list[Run]:
        """Runs that still have measurements."""
        used = {id(m.run) for m in self.measurements}
        return [run for run in self.runs if id(run) in used]

    def by_job(self, **wanted: str) -> dict[Job, list[Measurement]]:
        """Measurements by job, in order; only jobs whose fields (suite, group, dtype, ...) are as wanted."""
        found: dict[str, tuple[Job, list[Measurement]]] = {}
        for m in self.measurements:
            if all(getattr(m.job, field) == value for field, value in wanted.items()):
                found.setdefault(m.job.name, (m.job, []))[1].append(m)
        return dict(found.values())


def read_results(path: Path) -> Results:
    """Read what ``xpnet bench`` wrote; raises DataFileError for another file."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        found = document["xpnet_bench"]
        jobs = {job["name"]: Job(**job) for job in found["jobs"]}
        rows = [_measurement(row, jobs, found["runs"]) for row in document["benchmarks"]]
        order = list(jobs)
        rows.sort(key=lambda m: order.index(m.job.name))
        return Results(found["runs"], rows)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise DataFileError(
            f"A results file is one that `xpnet bench` wrote; {path} is not: {error!r}."
        ) from error


def _measurement(row: dict[str, Any], jobs: dict[str, Job], runs: list[Run]) -> Measurement:
    extra, stats = row["extra_info"], row["stats"]
    names = ("rounds", "min", "q1", "median", "q3", "max", "iqr_outliers")
    return Measurement(
        job=jobs[row["group"]],
        contender=extra["contender"],
        role=extra["role"],
        seconds=numpy.asarray(stats["data"], dtype=float),
        summary=Summary(*(stats[name] for name in names)),
        notes=extra["notes"],
        others=extra["others"],
        percentiles=extra.get("percentiles", []),
        run=runs[extra["run"]],
    )
