"""A results file, read: plain measurements, whatever pytest-benchmark calls things."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy

from xpnet import DataFileError
from xpnet_bench.jobs import Job


DISTURBED = 0.15


@dataclass(frozen=True)
class Measurement:
    """One contender on one job.

    seconds : (rounds,) for one unit of the job, in the order in which they were measured
    notes : what was found beside the time, one entry a round
    others : share of the processors that other processes used meanwhile
    """

    job: Job
    contender: str
    role: str
    seconds: numpy.ndarray
    notes: list[dict[str, float]]
    others: float = 0.0

    @cached_property
    def median(self) -> float:
        """Seconds."""
        return float(numpy.median(self.seconds))

    @cached_property
    def quartiles(self) -> tuple[float, float]:
        """Seconds, lower and upper."""
        lower, upper = numpy.percentile(self.seconds, [25, 75])
        return float(lower), float(upper)

    @property
    def disturbed(self) -> bool:
        """Whether others used so much that the times say little."""
        return self.others > DISTURBED

    @property
    def outliers(self) -> int:
        """Rounds more than one and a half quartile distances outside the quartiles (Tukey, 1977)."""
        lower, upper = self.quartiles
        reach = 1.5 * (upper - lower)
        return int(((self.seconds < lower - reach) | (self.seconds > upper + reach)).sum())


@dataclass(frozen=True)
class Results:
    """A run.

    date : ISO 8601; machine : what ``describe_machine`` found; run : noise, settings, what was skipped and why
    """

    date: str
    commit: str
    machine: dict[str, Any]
    run: dict[str, Any]
    measurements: list[Measurement]

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
        document = json.loads(path.read_text())
        return Results(
            date=document["datetime"],
            commit=_commit(document.get("commit_info") or {}),
            machine=document["machine_info"]["xpnet_bench"],
            run=document["xpnet_bench"],
            measurements=[_measurement(entry) for entry in document["benchmarks"]],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DataFileError(f"A results file is one that `xpnet bench` wrote; {path} is not: {error!r}.") from error


def _commit(info: dict[str, Any]) -> str:
    """Short, and "" outside a repository, where pytest-benchmark writes ``unversioned``."""
    commit = info.get("id") or ""
    return "" if commit == "unversioned" else commit[:10]


def _measurement(entry: dict[str, Any]) -> Measurement:
    extra = entry["extra_info"]
    seconds = numpy.asarray(entry["stats"]["data"], dtype=float)
    return Measurement(
        Job(**extra["job"]), extra["contender"], extra["role"], seconds, extra["notes"], extra.get("others", 0.0)
    )
