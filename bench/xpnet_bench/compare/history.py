"""A page with the course of every job over many results files."""

from collections.abc import Sequence
from pathlib import Path
from statistics import geometric_mean

from xpnet_bench.report import Results, facts, read_results, write_page
from xpnet_bench.report.drawing import drawing
from xpnet_bench.report.model import Cell, Chart, Section, Table
from xpnet_bench.report.ratios import best_peer, named
from xpnet_bench.report.tables import NOTHING, time_cell

GROUPS = ("training", "softmax", "cross_entropy", "relu", "adam", "latency", "throughput")


def write_history(files: Sequence[Path], folder: Path) -> None:
    """Write ``history.html``; raises DataFileError for files of another kind."""
    runs = sorted(map(read_results, files), key=lambda run: run.date)
    backends = sorted({m.contender for run in runs for m in run.measurements if m.role == "xpnet"})
    text = [
        f"{len(runs)} runs, from {runs[0].date[:10]} to {runs[-1].date[:10]}. The charts show speed relative to the "
        "best peer of the same run, which stays comparable where the machine changes; the tables show times."
    ]
    course = [chart for group in GROUPS if (chart := _course(runs, backends, group))]
    parts = [Section("Speed relative to the best peer", text, course, anchor="answer")]
    parts += [Section(backend, [], [], [_times(runs, backend)], backend) for backend in backends]
    folder.mkdir(parents=True, exist_ok=True)
    write_page(folder / "history.html", "xpnet over time", facts(runs[-1]), parts)


def _course(runs: Sequence[Results], backends: Sequence[str], group: str) -> Chart | None:
    """The geometric mean over the jobs of a group, for each backend a line over the runs."""
    lines = {backend: [_speed(run, backend, group) for run in runs] for backend in backends}
    if not any(speed for speeds in lines.values() for speed in speeds):
        return None
    with drawing(group.replace("_", "-")) as drawn:
        for backend, speeds in lines.items():
            points = [(number, speed) for number, speed in enumerate(speeds) if speed]
            if points:
                drawn.line(backend, *zip(*points, strict=True))
        drawn.axes.set_xticks(range(len(runs)), [run.date[5:10] for run in runs])
        drawn.axes.set_ylim(bottom=0)
        drawn.axes.set_ylabel("times as fast as the best peer")
        drawn.legend()
    return drawn.chart


def _speed(run: Results, backend: str, group: str) -> float:
    """0 where nothing can be compared."""
    speeds = [
        peer.median / mine.median
        for measurements in run.by_job(group=group).values()
        if (mine := named(measurements, backend)) and (peer := best_peer(measurements))
    ]
    return geometric_mean(speeds) if speeds else 0.0


def _times(runs: Sequence[Results], backend: str) -> Table:
    by_run = [{m.job.name: m for m in run.measurements if m.contender == backend} for run in runs]
    names = list(dict.fromkeys(name for found in by_run for name in found))
    rows = [
        [Cell(name), *(time_cell(run[name]) if name in run else NOTHING for run in by_run)]
        for name in names
    ]
    return Table(
        f"Times of {backend}", ["job", *(f"{run.date[:10]} {run.commit}" for run in runs)], rows
    )
