"""Tables of times: a row for each job, a column for each contender."""

from collections.abc import Iterable

import numpy

from xpnet_bench.contenders import ENTRIES
from xpnet_bench.jobs import Job
from xpnet_bench.jobs.counts import FURTHER, fit_of
from xpnet_bench.record import PERCENTILES
from xpnet_bench.report.model import Cell, Table
from xpnet_bench.report.ratios import best_peer, floor_of, named, ours, ratio
from xpnet_bench.report.results import Measurement, Results
from xpnet_bench.report.units import seconds, spread, times

Jobs = dict[Job, list[Measurement]]
NOTHING = Cell("–")


def columns_of(jobs: Iterable[list[Measurement]]) -> list[str]:
    """Contenders that did at least one of the jobs, in the order of ``ENTRIES``."""
    present = {m.contender for measurements in jobs for m in measurements}
    return [entry.name for entry in ENTRIES if entry.name in present]


def time_table(caption: str, results: Results, jobs: Jobs) -> Table:
    """Median and quartiles of everybody, and how our backend stands to the best peer and to the floor."""
    columns = columns_of(jobs.values())
    mine = (
        ours(results)
        if ours(results) in columns
        else next((c for c in columns if c.startswith("xpnet")), "")
    )
    rows = [
        [Cell(job.name), *_standing(measurements, mine), *_times(measurements, columns)]
        for job, measurements in jobs.items()
    ]
    return Table(caption, ["job", f"best peer / {mine}", f"{mine} / floor", *columns], rows)


def _times(measurements: list[Measurement], columns: list[str]) -> list[Cell]:
    quickest = min((m.median for m in measurements if m.role != "floor"), default=0.0)
    found = (named(measurements, name) for name in columns)
    return [time_cell(m, best=m.median == quickest) if m else NOTHING for m in found]


def time_cell(m: Measurement, *, best: bool = False) -> Cell:
    """``190 µs`` with quartiles, the number of rounds and of outliers."""
    found = m.summary
    odd = f", {found.outliers} outlier{'s' * (found.outliers > 1)}" if found.outliers else ""
    detail = f"{spread(found.lower, found.upper, m.median)}, n={found.count}{odd}"
    return Cell(seconds(m.median), detail, m.median, best)


def _standing(measurements: list[Measurement], mine: str) -> list[Cell]:
    own, peer, floor = named(measurements, mine), best_peer(measurements), floor_of(measurements)
    return [_ratio_cell(peer, own, peer.contender if peer else ""), _ratio_cell(own, floor, "")]


def _ratio_cell(slower: Measurement | None, faster: Measurement | None, remark: str) -> Cell:
    if slower is None or faster is None:
        return NOTHING
    found = ratio(slower, faster)
    detail = f"{times(found.lower)}–{times(found.upper)}{', ' + remark if remark else ''}"
    return Cell(times(found.median), detail, found.median)


def percentile_table(jobs: Jobs) -> Table:
    """Latency by percentile of calls, a row for each contender."""
    rows = [
        [
            Cell(m.contender),
            *map(_percentile, m.percentiles),
            Cell(str(m.summary.count), value=m.summary.count),
        ]
        for measurements in jobs.values()
        for m in measurements
    ]
    return Table(
        "Latency of one row", ["contender", *(f"{p:g} %" for p in PERCENTILES), "calls"], rows
    )


def _percentile(found: list[float]) -> Cell:
    _, value, lower, upper = found
    return Cell(seconds(value), spread(lower, upper, value), value)


def accuracy_table(jobs: Jobs) -> Table:
    """Seconds of training, epochs and accuracy at the end."""
    rows = []
    for job, measurements in jobs.items():
        quickest = min(m.median for m in measurements)
        for m in measurements:
            epochs = [note["epochs"] for note in m.notes]
            reached = [note["accuracy"] for note in m.notes]
            rows.append(
                [
                    Cell(m.contender, job.name),
                    time_cell(m, best=m.median == quickest),
                    Cell(
                        f"{numpy.median(epochs):g}",
                        f"{min(epochs)}–{max(epochs)}",
                        float(numpy.median(epochs)),
                    ),
                    Cell(
                        f"{numpy.median(reached):.2%}",
                        f"{min(reached):.2%}–{max(reached):.2%}",
                        float(numpy.median(reached)),
                    ),
                ]
            )
    return Table(
        "Time to accuracy", ["contender", "time in training", "epochs", "accuracy at the end"], rows
    )


def count_table(jobs: Jobs) -> Table:
    """Python calls by job and contender, and what each further epoch of a fit takes."""
    columns = columns_of(jobs.values())
    found = {
        job.name: {m.contender: m.notes[0] for m in measurements}
        for job, measurements in jobs.items()
    }
    short, long = (found.get(fit_of(epochs).name, {}) for epochs in (1, 1 + FURTHER))
    found["each further epoch of a fit"] = {
        name: {key: (long[name][key] - short[name][key]) / FURTHER for key in short[name]}
        for name in short
        if name in long
    }
    rows = [
        [Cell(name), *(_count(notes.get(column)) for column in columns)]
        for name, notes in found.items()
    ]
    return Table("Python calls", ["call", *columns], rows)


def _count(notes: dict[str, float] | None) -> Cell:
    if notes is None:
        return NOTHING
    calls, own = (f"{notes[key]:.1f}".removesuffix(".0") for key in ("calls", "own"))
    return Cell(calls, f"{own} its own", notes["calls"])


def memory_table(jobs: Jobs) -> Table:
    """Peak memory of a process, and what of it the import and the job itself took."""
    rows = []
    for job, measurements in jobs.items():
        for m in measurements:
            peak, imported, data = (
                [note[key] for note in m.notes] for key in ("peak_mib", "import_mib", "data_mib")
            )
            rows.append(
                [
                    Cell(m.contender, job.name),
                    _mib(peak),
                    _mib([a - b for a, b in zip(imported, data, strict=True)]),
                    _mib([a - b for a, b in zip(peak, imported, strict=True)]),
                    time_cell(m),
                ]
            )
    header = ["contender", "peak", "by the import", "by the job", "time, import included"]
    return Table("Peak memory", header, rows)


def _mib(values: list[float]) -> Cell:
    middle = float(numpy.median(values))
    return Cell(f"{middle:.0f} MiB", f"{min(values):.0f}–{max(values):.0f}", middle)
