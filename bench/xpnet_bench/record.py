"""The results file while it is made.

It is written again after each job, so that an interrupted run loses nothing, and a run into an
existing file replaces only the jobs that it measures. Of rounds that are single calls, of which
there are thousands, the file keeps the statistics, percentiles as a note, and one median for each
turn.
"""

import json
import os
from collections.abc import Iterable, Mapping
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
from xpnet_bench.results import Measurement, Results, Run, conditions, read_results

PERCENTILES = (50.0, 90.0, 99.0, 99.9)
DIGITS = 5
"""Number of significant digits that are kept: rounds scatter from the third on."""

STATISTICS = tuple(name for name in Stats.fields if name not in ("total", "ld15iqr", "hd15iqr"))


class Record:
    """The results of one file, those of earlier runs included.

    path : the file; run : facts of the run that begins
    """

    def __init__(self, path: Path, run: Run) -> None:
        self.path, self.run = path, run
        earlier = read_results(path) if path.is_file() else Results([], [])
        if earlier.runs and conditions(earlier.last) != conditions(run):
            raise InputError(
                f"The machine and threads of a run must be those of {path}, "
                f"{conditions(earlier.last)}; got {conditions(run)}; choose another folder."
            )
        self._runs, self._measurements = [*earlier.runs, run], earlier.measurements

    def add(self, job: Job, lanes: Mapping[str, Lane]) -> None:
        """Replace older results of a job, and write the file."""
        shown = replace(job, data=Path(job.data).name)
        new = [_measured(shown, lane, self.run) for lane in lanes.values() if not lane.failed]
        kept = [m for m in self._measurements if m.job.name != job.name]
        order = list(dict.fromkeys(m.job.name for m in (*self._measurements, *new)))
        self._measurements = sorted([*kept, *new], key=lambda m: order.index(m.job.name))
        for run in self._runs:
            run["skipped"] = [entry for entry in run["skipped"] if entry["job"] != job.name]
        self.run["skipped"] += [
            {"job": job.name, "contender": name, "reason": lane.failed}
            for name, lane in lanes.items()
            if lane.failed
        ]
        self.run["left_out"]["jobs"] = [name for name in self.left_out if name != job.name]
        self.write()

    @property
    def left_out(self) -> list[str]:
        """Names of the jobs that the run was asked for and has not measured."""
        return self.run["left_out"]["jobs"]

    def write(self) -> None:
        """Write the file under another name and rename it, so that it is complete at any time."""
        numbers = {id(run): number for number, run in enumerate(self._runs)}
        jobs = {m.job.name: m.job.to_json() for m in self._measurements}
        parts = {
            "datetime": json.dumps(self.run["date"]),
            "version": json.dumps(pytest_benchmark.__version__),
            "commit_info": json.dumps({"id": self.run["commit"]}),
            "machine_info": json.dumps({"node": "", "xpnet_bench": self.run["machine"]}),
            "xpnet_bench": _object({"runs": _lines(self._runs), "jobs": _lines(jobs.values())}),
            "benchmarks": _lines(m.to_row(numbers[id(m.run)]) for m in self._measurements),
        }
        part = self.path.with_name(self.path.name + ".part")
        part.write_text(_object(parts) + "\n", encoding="utf-8")
        os.replace(part, self.path)


def _object(parts: Mapping[str, str]) -> str:
    return "{\n" + ",\n".join(f'"{key}": {text}' for key, text in parts.items()) + "\n}"


def _lines(entries: Iterable[dict[str, Any]]) -> str:
    """Return a JSON array with one entry on each line."""
    return "[\n" + ",\n".join(map(json.dumps, entries)) + "\n]"


def _measured(job: Job, lane: Lane, run: Run) -> Measurement:
    """Make a measurement with its statistics, and rounds for a comparison."""
    stats = Stats()
    stats.data = lane.seconds
    seconds, notes = lane.seconds, lane.notes
    if job.single_calls:
        values = numpy.percentile(lane.seconds, PERCENTILES) * 1e6
        notes = [{f"{p:g} % in µs": value for p, value in zip(PERCENTILES, values, strict=True)}]
        turns = numpy.array_split(lane.seconds, lane.turns)
        seconds = [float(numpy.median(turn)) for turn in turns]
    return Measurement(
        job,
        lane.contender,
        find_entry(lane.contender).role,
        numpy.array(_rounded(seconds)),
        _rounded({name: getattr(stats, name) for name in STATISTICS}),
        lane.calls,
        _rounded(notes),
        round(lane.others, 3),
        run,
    )


def _rounded(value: Any) -> Any:
    """Round the numbers inside lists and dictionaries to ``DIGITS`` significant digits."""
    return json.loads(
        json.dumps(value), parse_float=lambda text: float(f"{float(text):.{DIGITS}g}")
    )
