"""The charts of a report, drawn by matplotlib: narrow enough for a phone."""

import io
from textwrap import fill
from typing import Any, Literal

import matplotlib
from matplotlib import color_sequences
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from xpnet_bench.contenders import BOUNDS, ENTRIES
from xpnet_bench.jobs import Job
from xpnet_bench.report.model import Chart
from xpnet_bench.report.units import times
from xpnet_bench.results import (
    Measurement,
    Results,
    against_best_peer,
    best_of_role,
    contenders_of,
    named,
)

WIDTH = 4.2
"""Width of a chart in inches: its text of 8.5 points can be read
where the page is 390 pixels wide.
"""

LABEL_WIDTH = 20
"""Maximum number of characters in a line of a label beside the axes."""

HEADLINE_GROUPS = ("training", "accuracy", "latency", "throughput", "cells", "gpu")
"""Groups of jobs that the first chart shows."""

PALETTE = [*color_sequences["tab10"], *color_sequences["Dark2"], *color_sequences["Set2"]]
MARKERS = "osD^v<>Pp*Xh"

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
LABEL_BOX: Any = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.3}
"""The ground of a number beside a point, so that no point or line runs through it."""
DARK_SCHEME = (
    "<style>@media (prefers-color-scheme: dark) "
    "{ svg { filter: invert(1) hue-rotate(180deg) } }</style>"
)
"""Makes a chart follow the colour scheme of the reader: dark lines become light, and keep their
hue.
"""


def new_figure(height: float) -> Figure:
    """Return the figure of a new chart, whose height is in inches."""
    return Figure(figsize=(WIDTH, height), layout="constrained")


def chart_of(title: str, figure: Figure) -> Chart:
    """Return the drawn chart as the text of an SVG file."""
    text = io.StringIO()
    metadata = {"Date": None, "Creator": None}
    figure.savefig(text, format="svg", transparent=True, metadata=metadata)
    svg = text.getvalue().replace("<defs>", f"{DARK_SCHEME}<defs>", 1)
    lines = [line.rstrip() for line in svg.splitlines()]
    return Chart(title, "\n".join(lines) + "\n")


def add_legend(
    figure: Figure, location: Literal["lower", "upper"] = "lower", columns: int = 3
) -> None:
    """Name what was drawn. location : "lower" or "upper", below or above the axes"""
    place: Any = f"outside {location} center"
    figure.legend(loc=place, ncols=columns)


def headline_jobs(results: Results) -> dict[Job, list[Measurement]]:
    """The jobs of the first chart: those that xpnet and a peer did; without the floor."""
    return {
        job: [m for m in measurements if m.role not in BOUNDS]
        for job, measurements in results.by_job().items()
        if job.group in HEADLINE_GROUPS
        and best_of_role(measurements, "peer")
        and named(measurements, results.ours)
    }


@matplotlib.rc_context(STYLE)
def speed_chart(results: Results) -> Chart:
    """A row for each job: the speed of each contender relative to the best peer, with quartiles."""
    jobs = headline_jobs(results)
    figure = new_figure(1.4 + 0.36 * max(len(jobs), 1))
    axes = figure.add_subplot()
    for name in contenders_of(jobs):
        _draw_speeds(axes, name, jobs, is_ours=name == results.ours)
    axes.set_yticks(
        [-row for row in range(len(jobs))], [fill(job.name, LABEL_WIDTH) for job in jobs]
    )
    plain_log(axes)
    axes.axvline(1, color="black", linewidth=0.9)
    axes.set_xlabel("speed; the best peer is 1")
    axes.margins(x=0.12)
    add_legend(figure, "upper")  # the chart is higher than a screen
    return chart_of("Speed relative to the best peer", figure)


def _draw_speeds(
    axes: Axes, contender: str, jobs: dict[Job, list[Measurement]], is_ours: bool
) -> None:
    """Draw the speeds of a contender, in its colour, in the rows of the jobs that it did."""
    number = _number(contender)
    colour = PALETTE[number]
    marker = MARKERS[number % len(MARKERS)]
    rows = {job: -row for row, job in enumerate(jobs)}
    width, size, order = (2.5, 8, 4) if is_ours else (1.2, 5, 3)
    points = [(rows[job], speed) for job, speed in against_best_peer(jobs, contender)]
    for row, speed in points:
        axes.plot([speed.lower, speed.upper], [row, row], color=colour, linewidth=width)
        if is_ours:
            place, label = (speed.median, row), times(speed.median)
            axes.annotate(
                label,
                place,
                (0, 6),
                textcoords="offset points",
                ha="center",
                bbox=LABEL_BOX,
                zorder=5,
            )
    if points:
        medians = [speed.median for _, speed in points]
        heights = [row for row, _ in points]
        look: Any = {"color": colour, "markersize": size, "zorder": order, "label": contender}
        look |= {"markeredgecolor": "black", "markeredgewidth": 0.5}  # seen in both schemes
        axes.plot(medians, heights, marker, **look)


def _number(contender: str) -> int:
    """The place of a contender in ``ENTRIES``; those that only an old file names share the next."""
    return [*(entry.name for entry in ENTRIES), contender].index(contender)


def plain_log(axes: Axes) -> None:
    """Make the horizontal axis logarithmic, with plain numbers; where it spans little, with some
    between powers of ten.
    """
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    lower, upper = axes.xaxis.get_data_interval()
    minor = "25" if upper / lower < 50 else ""
    axes.xaxis.set_minor_formatter(
        lambda value, _: f"{value:g}" if f"{value:.0e}"[0] in minor else ""
    )
