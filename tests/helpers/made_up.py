"""Results as a machine would give them that we know everything about."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy
from xpnet_bench.contenders import find_entry
from xpnet_bench.jobs import SUITES, Job, is_per_process, jobs_of
from xpnet_bench.measure.race import Lane
from xpnet_bench.record import Record
from xpnet_bench.results import Measurement, Results

CONTENDERS = ("xpnet-numba", "torch", "jax", "numpy", "floor")
FACTS = {name: {"version": "1"} for name in CONTENDERS}


def some_jobs() -> list[Job]:
    """All jobs of a quick run."""
    return [job for suite in SUITES for job in jobs_of(suite, quick=True, threads=2, data="")]


def measured(
    jobs: Sequence[Job],
    rng: numpy.random.Generator,
    slowed: Mapping[str, float] | None = None,
    drift: float = 1.0,
) -> Results:
    """A run on a noisy machine that is ``drift`` times as slow as it could be.

    Rounds scatter by 5 %; minutes come and go that slow everybody in them; one round in fifteen is
    disturbed; a process has luck or not, by 1 %. What ``slowed`` names by job takes so many times
    as long for xpnet.
    """
    measurements, about = [], run()
    for number, job in enumerate(jobs):
        weather = drift * numpy.exp(numpy.cumsum(rng.normal(0, 0.03, 24)))
        for place, name in enumerate(CONTENDERS):
            true = 1e-5 * (number + 1) * (place + 1)
            if name == "xpnet-numba":
                true *= (slowed or {}).get(job.name, 1.0)
            luck = numpy.exp(rng.normal(0, 0.01))
            scatter = numpy.exp(rng.normal(0, 0.05, 24)) * numpy.where(
                rng.random(24) < 1 / 15, rng.uniform(1.3, 4, 24), 1
            )
            measurements.append(_measurement(job, name, true * luck * weather * scatter, about))
    return Results([about], measurements)


def _measurement(job: Job, name: str, seconds: numpy.ndarray, run: dict[str, Any]) -> Measurement:
    notes: list[dict[str, float]] = []
    if is_per_process(job):
        seconds = seconds[:3]
        notes = [{"peak_mib": 300.0 + i, "import_mib": 200.0, "data_mib": 100.0} for i in range(3)]
    if job.operation == "accuracy":
        seconds = seconds[:3]
        notes = [{"epochs": 3 + i, "accuracy": 0.976} for i in range(3)]
    lower, middle, upper = map(float, numpy.percentile(seconds, [25, 50, 75]))
    stats = {"rounds": len(seconds), "q1": lower, "median": middle, "q3": upper, "iqr_outliers": 0}
    role = find_entry(name).role
    return Measurement(job, name, role, seconds, stats, notes=notes, run=run)


def machine() -> dict[str, Any]:
    """What ``describe_machine`` gives."""
    return {
        "processor": "A <fast> processor",
        "cores": 2,
        "logical_cores": 2,
        "threads": 2,
        "memory_gib": 8.0,
        "system": "Linux x86_64",
        "python": "3.11.7",
        "versions": {"xpnet": "0.1.0", "numpy": "2.4"},
    }


def run() -> dict[str, Any]:
    """What a results file tells of a run."""
    return {
        "date": "2026-01-02T03:04:05+00:00",
        "commit": "abc",
        "machine": machine(),
        "noise": {
            "others": 0.0,
            "spread": 0.01,
            "noisy": False,
            "verdict": "The machine was quiet.",
        },
        "suites": list(SUITES),
        "quick": True,
        "data": False,
        "threads": 2,
        "unset": {},
        "not_asked": ["torch.compile"],
        "contenders": FACTS,
        "skipped": [],
        "left_out": {"why": "", "jobs": []},
    }


def write(results: Results, path: Path) -> Path:
    """As a results file, by what writes them."""
    record = Record(path, results.last)
    for job, measurements in results.by_job().items():
        lanes = {
            m.contender: Lane(m.contender, seconds=m.seconds.tolist(), turns=3, notes=m.notes)
            for m in measurements
        }
        if job.operation == "import":
            lanes["xpnet-cupy"] = Lane("xpnet-cupy", failed="cupy is not installed")
        record.add(job, lanes)
    return path


def without(results: Results, suite: str) -> Results:
    """A run that left a suite out."""
    return replace(results, measurements=[m for m in results.measurements if m.job.suite != suite])
