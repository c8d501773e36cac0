"""The tables of a report. Each function takes a caption, the results, and jobs with their
measurements.
"""

from collections.abc import Callable, Iterable
from statistics import median
from typing import NamedTuple

from xpnet_bench.contenders import ENTRIES
from xpnet_bench.jobs import Job
from xpnet_bench.record import PERCENTILES
from xpnet_bench.report.model import EMPTY, Cell, Table
from xpnet_bench.report.units import seconds, spread, times
from xpnet_bench.results import Measurement, Results, best_of_role, named, ratio

Jobs = dict[Job, list[Measurement]]


def columns_of(jobs: Iterable[list[Measurement]]) -> list[str]:
    """Contenders that did at least one of the jobs, in the order of ``ENTRIES``."""
    present = {m.contender for measurements in jobs for m in measurements}
    return [entry.name for entry in ENTRIES if entry.name in present]


def time_table(caption: str, results: Results, jobs: Jobs) -> Table:
    """Median and quartiles of each contender, and xpnet's ratios to the
    best peer and to the floor.
    """
    columns = columns_of(jobs.values())
    of_xpnet = [name for name in (results.ours, *columns) if name in columns and "xpnet" in name]
    ours = of_xpnet[0] if of_xpnet else ""
    rows = [
        [Cell(job.name), *_ratios(measurements, ours), *_times(measurements, columns)]
        for job, measurements in jobs.items()
    ]
    return Table(caption, ["job", f"best peer / {ours}", f"{ours} / floor", *columns], rows)


def _times(measurements: list[Measurement], columns: list[str]) -> list[Cell]:
    fastest = min((m.median for m in measurements if m.role != "floor"), default=0.0)
    own = [named(measurements, name) for name in columns]
    return [time_cell(m, best=m.median == fastest) if m else EMPTY for m in own]


def time_cell(m: Measurement, *, best: bool = False) -> Cell:
    """``190 µs`` with quartiles, the number of rounds and of outliers."""
    outliers = m.stats["iqr_outliers"]
    odd = f", {outliers} outlier{'s' * (outliers > 1)}" if outliers else ""
    quartiles = spread(m.stats["q1"], m.stats["q3"], m.median)
    return Cell(seconds(m.median), f"{quartiles}, n={m.stats['rounds']}{odd}", m.median, best)


def _ratios(measurements: list[Measurement], ours: str) -> list[Cell]:
    own, peer = named(measurements, ours), best_of_role(measurements, "peer")
    floor = best_of_role(measurements, "floor")
    return [_ratio_cell(peer, own, f", {peer.contender}" if peer else ""), _ratio_cell(own, floor)]


def _ratio_cell(slower: Measurement | None, faster: Measurement | None, remark: str = "") -> Cell:
    if slower is None or faster is None:
        return EMPTY
    quotient = ratio(slower, faster)
    detail = f"{times(quotient.lower)}–{times(quotient.upper)}{remark}"
    return Cell(times(quotient.median), detail, quotient.median)


def percentile_table(caption: str, results: Results, jobs: Jobs) -> Table:
    """Latency by percentile of calls, a row for each contender."""
    rows = []
    for m in (m for measurements in jobs.values() for m in measurements):
        cells = [Cell(seconds(value), value=value) for _, value, *_ in m.percentiles]
        calls = m.stats["rounds"]
        rows.append([Cell(m.contender), *cells, Cell(str(calls), value=calls)])
    return Table(caption, ["contender", *(f"{p:g} %" for p in PERCENTILES), "calls"], rows)


def accuracy_table(caption: str, results: Results, jobs: Jobs) -> Table:
    """Seconds of training, epochs and accuracy at the end."""
    columns: dict[str, NoteColumn] = {
        "epochs": NoteColumn("{:g}", lambda note: note["epochs"]),
        "accuracy at the end": NoteColumn("{:.2%}", lambda note: note["accuracy"]),
    }
    return _note_table(caption, "time in training", jobs, columns)


def memory_table(caption: str, results: Results, jobs: Jobs) -> Table:
    """Peak memory of a process, and what the import and the job itself added to it."""
    columns: dict[str, NoteColumn] = {
        "peak": NoteColumn("{:.0f} MiB", lambda note: note["peak_mib"]),
        "by the import": NoteColumn(
            "{:.0f} MiB", lambda note: note["import_mib"] - note["data_mib"]
        ),
        "by the job": NoteColumn("{:.0f} MiB", lambda note: note["peak_mib"] - note["import_mib"]),
    }
    return _note_table(caption, "time, import included", jobs, columns)


class NoteColumn(NamedTuple):
    """A column of a table of notes.

    text : the format of its values
    value : returns the value of the note of a round
    """

    text: str
    value: Callable[[dict[str, float]], float]


def _note_table(caption: str, time: str, jobs: Jobs, columns: dict[str, NoteColumn]) -> Table:
    """A row for each contender and job: its time, and median and range of what its notes say."""
    rows = []
    for job, measurements in jobs.items():
        for m in measurements:
            cells = [
                _range_cell(text, [value(note) for note in m.notes])
                for text, value in columns.values()
            ]
            rows.append([Cell(m.contender, job.name), time_cell(m), *cells])
    return Table(caption, ["contender", time, *columns], rows)


def _range_cell(text: str, values: list[float]) -> Cell:
    middle = median(values)
    detail = f"{text.format(min(values))}–{text.format(max(values))}"
    return Cell(text.format(middle), detail, middle)
