"""The results file: pytest-benchmark's own format, with one line for each job and contender.

It is written again after each job, so that an interrupted run loses nothing, and a run into an
existing file replaces only the jobs that it measures. Of rounds that are single calls, of which
there are thousands, the file keeps the statistics, the percentiles and one median for each turn.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy
import pytest_benchmark
from pytest_benchmark.stats import Stats

from xpnet import InputError
from xpnet_bench.contenders import find_entry
from xpnet_bench.jobs import Job
from xpnet_bench.measure.race import Lane

PERCENTILES = (50.0, 90.0, 99.0, 99.9)
DIGITS = 5
"""Number of significant digits that are kept: rounds scatter from the third on."""

STATISTICS = tuple(name for name in Stats.fields if name not in ("total", "ld15iqr", "hd15iqr"))
SAME_MACHINE = ("processor", "cores", "logical_cores", "system", "card")

Entry = dict[str, Any]


class Record:
    """The results of one file, those of earlier runs included.

    path : the file; run : facts of the run that begins, see ``xpnet_bench.run``
    """

    def __init__(self, path: Path, run: Entry) -> None:
        self.path, self.run = path, run
        self._rows: list[Entry] = []
        self._jobs: dict[str, Entry] = {}
        self._runs: list[Entry] = []
        if path.is_file():
            self._take_over(json.loads(path.read_text(encoding="utf-8")))
        self._runs.append(run)

    def _take_over(self, document: Entry) -> None:
        """Keep the results of earlier runs; raises InputError where they were made under other
        conditions.
        """
        own = document["xpnet_bench"]
        self._runs, self._rows = own["runs"], document["benchmarks"]
        self._jobs = {job["name"]: job for job in own["jobs"]}
        before, now = (_conditions(run) for run in (self._runs[-1], self.run))
        if before != now:
            raise InputError(
                f"The machine, threads and instructions of a run must be those of {self.path}, "
                f"{before}; got {now}; choose another folder."
            )

    def add(self, job: Job, lanes: Mapping[str, Lane]) -> None:
        """Replace older results of a job, and write the file."""
        shown = replace(job, data=Path(job.data).name)
        self._jobs[job.name] = {key: value for key, value in shown.to_json().items() if value}
        self._rows = [row for row in self._rows if row["group"] != job.name]
        self._rows += [
            _row(job, lane, len(self._runs) - 1) for lane in lanes.values() if not lane.failed
        ]
        for run in self._runs:
            run["skipped"] = [entry for entry in run["skipped"] if entry["job"] != job.name]
        self.run["skipped"] += [
            {"job": job.name, "contender": name, "reason": lane.failed}
            for name, lane in lanes.items()
            if lane.failed
        ]
        self.left_out = [name for name in self.left_out if name != job.name]
        self.write()

    @property
    def left_out(self) -> list[str]:
        """Names of the jobs that the run was asked for and has not measured."""
        return self.run["left_out"]["jobs"]

    @left_out.setter
    def left_out(self, names: list[str]) -> None:
        self.run["left_out"]["jobs"] = names

    def write(self) -> None:
        """Write the file under another name and rename it, so that it is complete at any time."""
        part = self.path.with_name(self.path.name + ".part")
        part.write_text(self._text(), encoding="utf-8")
        os.replace(part, self.path)

    def _text(self) -> str:
        machine = {"node": "", "xpnet_bench": self.run["machine"]}
        parts = {
            "datetime": json.dumps(self.run["date"]),
            "version": json.dumps(pytest_benchmark.__version__),
            "commit_info": json.dumps({"id": self.run["commit"]}),
            "machine_info": json.dumps(machine),
            "xpnet_bench": _object(
                {"runs": _lines(self._runs), "jobs": _lines(list(self._jobs.values()))}
            ),
            "benchmarks": _lines(self._rows),
        }
        return _object(parts) + "\n"


def _conditions(run: Entry) -> Entry:
    machine = {key: run["machine"].get(key, "") for key in SAME_MACHINE}
    return {**machine, "threads": run["threads"], "held": run["held"]}


def _object(parts: Mapping[str, str]) -> str:
    return "{\n" + ",\n".join(f'"{key}": {text}' for key, text in parts.items()) + "\n}"


def _lines(entries: Sequence[Entry]) -> str:
    """Return a JSON array with one entry on each line."""
    return "[\n" + ",\n".join(json.dumps(entry) for entry in entries) + "\n]"


def _row(job: Job, lane: Lane, run: int) -> Entry:
    """Make a row in pytest-benchmark's form, with rounds for a comparison; ``run`` numbers the
    file's runs.
    """
    stats = Stats()
    stats.data = lane.seconds
    extra = {
        "contender": lane.contender,
        "role": find_entry(lane.contender).role,
        "run": run,
        "calls": lane.calls,
        "notes": lane.notes,
        "others": round(lane.others, 3),
    }
    rounds = lane.seconds
    if job.single_calls:
        extra["percentiles"] = _percentiles(rounds)
        rounds = [float(numpy.median(turn)) for turn in numpy.array_split(rounds, lane.turns)]
    name = f"{job.name}-{lane.contender}"
    return {
        "group": job.name,
        "name": name,
        "fullname": f"{job.suite}/{name}",
        "params": {"job": job.name, "contender": lane.contender},
        "extra_info": _rounded(extra),
        "stats": _rounded(
            {**{name: getattr(stats, name) for name in STATISTICS}, "data": rounds, "iterations": 1}
        ),
    }


def _percentiles(seconds: Sequence[float]) -> list[list[float]]:
    """Return each of ``PERCENTILES`` with its value."""
    values = numpy.percentile(seconds, PERCENTILES).tolist()
    return [[percent, value] for percent, value in zip(PERCENTILES, values, strict=True)]


def _rounded(value: Any) -> Any:
    """Round the numbers inside lists and dictionaries to ``DIGITS`` significant digits."""
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, dict):
        return {key: _rounded(entry) for key, entry in value.items()}
    return [_rounded(entry) for entry in value] if isinstance(value, list) else value
