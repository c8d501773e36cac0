"""The charts of a report, drawn by matplotlib: narrow enough for a phone."""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from textwrap import fill
from typing import Any, Literal

import matplotlib
from matplotlib import color_sequences
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from xpnet_bench.contenders import ENTRIES
from xpnet_bench.jobs import Job
from xpnet_bench.report.model import Chart
from xpnet_bench.report.units import times
from xpnet_bench.results import Measurement, Results, best_of_role, named, ratio

WIDTH = 4.2
"""Width of a chart in inches: its text of 8.5 points can be read
where the page is 390 pixels wide.
"""

LABEL_WIDTH = 20
"""Maximum number of characters in a line of a label beside the axes."""

HEADLINE_GROUPS = ("training", "accuracy", "latency", "throughput", "cells", "gpu")
"""Groups of jobs that the first chart shows."""

PALETTE = [*color_sequences["tab10"], *color_sequences["Dark2"], *color_sequences["Set2"]]
COLOURS = {entry.name: PALETTE[k % len(PALETTE)] for k, entry in enumerate(ENTRIES)}
MARKERS = {entry.name: "osD^v<>Pp*Xh"[k % 12] for k, entry in enumerate(ENTRIES)}

STYLE: Any = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 8.5,
    "grid.linewidth": 0.4,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "xpnet",
}
DARK_SCHEME = (
    "<style>@media (prefers-color-scheme: dark) "
    "{ svg { filter: invert(1) hue-rotate(180deg) } }</style>"
)
"""Makes a chart follow the colour scheme of the reader: dark lines become light, and keep their
hue.
"""


class Plot:
    """A chart while it is drawn: ``axes``, and ``chart`` when the ``with`` block of ``plot`` has
    ended.
    """

    def __init__(self, title: str, height: float) -> None:
        self.figure = Figure(figsize=(WIDTH, height), layout="constrained")
        self.axes: Axes = self.figure.add_subplot()
        self.chart = Chart(title, "")

    def line(self, contender: str, x: Any, y: Any, **keywords: Any) -> None:
        """Draw the values of a contender, joined, in its colour and with its marker."""
        style: dict[str, Any] = {"color": COLOURS[contender], "label": contender, "markersize": 5}
        if contender == "floor":
            style["linestyle"] = "--"
        else:
            style["marker"] = MARKERS[contender]
        self.axes.plot(x, y, **(style | keywords))

    def legend(self, location: Literal["lower", "upper"] = "lower") -> None:
        """Name each contender once. location : "lower" or "upper", below or above the axes"""
        handles, labels = self.axes.get_legend_handles_labels()
        unique = dict(zip(labels, handles, strict=True))
        place: Any = f"outside {location} center"
        self.figure.legend(unique.values(), unique.keys(), loc=place, ncols=3)


@contextmanager
def plot(title: str, height: float = 2.9) -> Iterator[Plot]:
    """``with plot("Title") as p:`` draws on ``p.axes``; afterwards ``p.chart`` holds the SVG."""
    with matplotlib.rc_context(STYLE):
        drawn = Plot(title, height)
        yield drawn
        text = io.StringIO()
        metadata = {"Date": None, "Creator": None}
        drawn.figure.savefig(text, format="svg", transparent=True, metadata=metadata)
        svg = text.getvalue().replace("<defs>", f"{DARK_SCHEME}<defs>", 1)
        lines = [line.rstrip() for line in svg.splitlines()]
        drawn.chart = Chart(title, "\n".join(lines) + "\n")


def headline_jobs(results: Results) -> dict[Job, list[Measurement]]:
    """The jobs of the first chart: those that xpnet and a peer did."""
    return {
        job: measurements
        for job, measurements in results.by_job().items()
        if job.group in HEADLINE_GROUPS
        and best_of_role(measurements, "peer")
        and named(measurements, results.ours)
    }


def speed_chart(results: Results) -> Chart:
    """A row for each job: the speed of each contender relative to the best peer, with quartiles."""
    jobs = headline_jobs(results)
    with plot("Speed relative to the best peer", 1.4 + 0.36 * max(len(jobs), 1)) as drawn:
        for row, measurements in enumerate(jobs.values()):
            _speed_row(drawn, -row, measurements, results.ours)
        labels = [fill(job.name, LABEL_WIDTH) for job in jobs]
        drawn.axes.set_yticks([-row for row in range(len(jobs))], labels)
        plain_log(drawn.axes.set_xscale, drawn.axes.xaxis)
        drawn.axes.axvline(1, color="black", linewidth=0.9)
        drawn.axes.set_xlabel("speed; the best peer is 1")
        drawn.axes.margins(x=0.12)
        drawn.legend("upper")  # the chart is higher than a screen
    return drawn.chart


def _speed_row(drawn: Plot, y: float, measurements: list[Measurement], ours: str) -> None:
    best = best_of_role(measurements, "peer")
    for m in measurements:
        if best is None or m.role == "floor":
            continue
        speed, is_ours = ratio(best, m), m.contender == ours
        width, size, order = (2.5, 8, 4) if is_ours else (1.2, 5, 3)
        quartiles = [speed.lower, speed.upper]
        drawn.axes.plot(quartiles, [y, y], color=COLOURS[m.contender], linewidth=width)
        drawn.line(m.contender, [speed.median], [y], linestyle="", markersize=size, zorder=order)
        if is_ours:
            drawn.axes.annotate(
                times(speed.median),
                (speed.median, y),
                xytext=(0, 6),
                textcoords="offset points",
                ha="center",
            )


def plain_log(set_scale: Callable[..., Any], axis: Any) -> None:
    """Make an axis logarithmic, with plain numbers; where it spans little, with some between powers
    of ten.
    """
    set_scale("log")
    axis.set_major_formatter(lambda value, _: f"{value:g}")
    lower, upper = axis.get_data_interval()
    minor = "25" if upper / lower < 50 else ""
    axis.set_minor_formatter(lambda value, _: f"{value:g}" if f"{value:.0e}"[0] in minor else "")


def size_chart(title: str, jobs: dict[Job, list[Measurement]]) -> Chart:
    """A line for each contender: its time against the size of the jobs of float32."""
    single = {_size(job): ms for job, ms in jobs.items() if job.dtype == "float32"}
    label = "MiB read and written" if all(job.traffic for job in jobs) else "rows in a batch"
    with plot(title) as drawn:
        for entry in ENTRIES:
            own = [(size, named(ms, entry.name)) for size, ms in single.items()]
            points = sorted((size, m.median * 1e6) for size, m in own if m)
            if points:
                drawn.line(entry.name, *zip(*points, strict=True))
        plain_log(drawn.axes.set_xscale, drawn.axes.xaxis)
        plain_log(drawn.axes.set_yscale, drawn.axes.yaxis)
        drawn.axes.set(xlabel=label, ylabel="µs")
        drawn.legend()
    return drawn.chart


def _size(job: Job) -> float:
    return job.traffic / 2**20 if job.traffic else job.sizes["batch"]
