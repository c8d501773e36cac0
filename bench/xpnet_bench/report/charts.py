"""The charts of a report."""

import re
from collections.abc import Callable
from typing import Any

from xpnet_bench.contenders import ENTRIES
from xpnet_bench.jobs import Job
from xpnet_bench.record import PERCENTILES
from xpnet_bench.report.drawing import Drawing, drawing
from xpnet_bench.report.model import Chart
from xpnet_bench.report.ratios import best_peer, named, ours, ratio
from xpnet_bench.report.results import Measurement, Results
from xpnet_bench.report.style import INK, STAND_INS
from xpnet_bench.report.units import times

CONTESTED = ("training", "prediction", "kernels", "cells", "gpu")
"""Suites in which all contenders do the same work, in the order of the first chart."""

HEADLINE_KERNELS = ((8192, 10), (4096, 1000), (1024, 1000))
HEADLINE_SIZES = (20_000, 203_530, 1_000_000)
MANY = 50
"""Where an axis spans more than this, only powers of ten are named."""

Curve = Callable[[Job, Measurement], tuple[float, float]]


def headline_jobs(results: Results) -> dict[Job, list[Measurement]]:
    """The jobs of the first chart: all that are contested, but of the kernels only telling sizes in float32."""
    found = {
        job: measurements
        for job, measurements in results.by_job().items()
        if best_peer(measurements) and named(measurements, ours(results)) and _is_headline(job)
    }
    return dict(sorted(found.items(), key=lambda item: CONTESTED.index(item[0].suite)))


def _is_headline(job: Job) -> bool:
    if job.suite == "kernels":
        shape = job.sizes.get("rows"), job.sizes.get("classes")
        return job.dtype == "float32" and (
            shape in HEADLINE_KERNELS or job.sizes.get("size") in HEADLINE_SIZES
        )
    return job.group in ("training", "accuracy", "latency", "throughput", "cells", "gpu")


def speed_chart(results: Results) -> Chart:
    """Return a row for each job: speed of every contender relative to the best peer, with quartiles."""
    jobs = headline_jobs(results)
    with drawing("Speed relative to the best peer", 1.3 + 0.36 * max(len(jobs), 1)) as drawn:
        for row, measurements in enumerate(jobs.values()):
            _speed_row(drawn, -row, measurements, ours(results))
        drawn.axes.set_yticks([-row for row in range(len(jobs))], [_two_lines(job) for job in jobs])
        _plain_log(drawn.axes.set_xscale, drawn.axes.xaxis)
        drawn.axes.axvline(1, color=INK, linewidth=0.9)
        held = ", ".join(f"{name}={value}" for name, value in results.last["held"].items())
        drawn.axes.set_xlabel(
            "speed; the best peer is 1" + (f"\nmeasured under {held}" if held else "")
        )
        drawn.axes.margins(x=0.12)
        drawn.legend()
    return drawn.chart


def _two_lines(job: Job) -> str:
    return re.sub(
        r" (?=full|batch|to)",
        "\n",
        job.name.replace("full batch", "full\N{NO-BREAK SPACE}batch"),
        count=1,
    )


def _speed_row(drawn: Drawing, y: float, measurements: list[Measurement], mine: str) -> None:
    best = best_peer(measurements)
    for m in measurements:
        if best is None or m.role == "floor":
            continue
        speed = ratio(best, m)
        colour, ahead = STAND_INS[m.contender], m.contender == mine
        drawn.axes.plot(
            [speed.lower, speed.upper], [y, y], color=colour, linewidth=2.5 if ahead else 1.2
        )
        size = 8 if ahead else 5
        drawn.line(
            m.contender,
            [speed.median],
            [y],
            linestyle="",
            markersize=size,
            zorder=4 if ahead else 3,
        )
        if ahead:
            drawn.label(times(speed.median), speed.median, y)


def _plain_log(set_scale: Callable[..., Any], axis: Any) -> None:
    """A logarithmic axis with numbers as people write them."""
    set_scale("log")
    axis.set_major_formatter(lambda value, _: f"{value:g}")
    lower, upper = axis.get_data_interval()
    few = upper / lower < MANY
    axis.set_minor_formatter(
        lambda value, _: f"{value:g}" if few and f"{value:.0e}"[0] in "25" else ""
    )


def roofline(results: Results, operation: str, title: str) -> Chart:
    """Bytes a second against bytes, float32, beside the plain copy: what the memory allows."""
    jobs = results.by_job(group=operation, dtype="float32")
    with drawing(title) as drawn:
        _curves(drawn, jobs, lambda job, m: (job.traffic / 2**20, job.traffic / m.median / 1e9))
        _plain_log(drawn.axes.set_xscale, drawn.axes.xaxis)
        _plain_log(drawn.axes.set_yscale, drawn.axes.yaxis)
        drawn.axes.set_xlabel("MiB read and written (dashed: a plain copy)")
        drawn.axes.set_ylabel("GB/s")
        drawn.legend()
    return drawn.chart


def batch_chart(results: Results) -> Chart:
    """Microseconds a row against batch size."""
    with drawing("Training 784-100-10: time a row") as drawn:
        _curves(drawn, results.by_job(group="batch"), _microseconds_a_row)
        _plain_log(drawn.axes.set_xscale, drawn.axes.xaxis)
        _plain_log(drawn.axes.set_yscale, drawn.axes.yaxis)
        drawn.axes.set_xlabel("rows a batch")
        drawn.axes.set_ylabel("µs a row")
        drawn.legend()
    return drawn.chart


def _microseconds_a_row(job: Job, m: Measurement) -> tuple[float, float]:
    return job.sizes["batch"], m.median * 1e6 / job.sizes["batch"]


def threads_chart(results: Results, hidden: int) -> Chart:
    """Updates a second against number of threads, for one size of network."""
    jobs = {
        job: measurements
        for job, measurements in results.by_job(group="threads").items()
        if job.sizes["hidden"] == hidden
    }
    with drawing(f"Training 784-{hidden}-10: updates a second") as drawn:
        _curves(drawn, jobs, lambda job, m: (job.threads, 1 / m.median))
        drawn.axes.set_xticks([job.threads for job in jobs])
        drawn.axes.set_ylim(bottom=0)
        drawn.axes.set_xlabel("threads")
        drawn.legend()
    return drawn.chart


def _curves(drawn: Drawing, jobs: dict[Job, list[Measurement]], point: Curve) -> None:
    """Draw a line for each contender through its points, from left to right."""
    for entry in ENTRIES:
        points = sorted(
            point(job, m)
            for job, measurements in jobs.items()
            for m in measurements
            if m.contender == entry.name
        )
        if points:
            drawn.line(entry.name, *zip(*points, strict=True))


def latency_chart(results: Results) -> Chart:
    """Latency of one row by percentile."""
    with drawing("Latency of predicting one row") as drawn:
        for measurements in results.by_job(group="latency").values():
            for m in measurements:
                drawn.line(
                    m.contender,
                    range(len(PERCENTILES)),
                    [value * 1e6 for _, value, *_ in m.percentiles],
                )
        drawn.axes.set_xticks(range(len(PERCENTILES)), [f"{p:g} %" for p in PERCENTILES])
        _plain_log(drawn.axes.set_yscale, drawn.axes.yaxis)
        drawn.axes.set_xlabel("percentile of calls")
        drawn.axes.set_ylabel("µs")
        drawn.legend()
    return drawn.chart


def bars(
    results: Results, suite: str, title: str, unit: str, value: Callable[[Measurement], float]
) -> Chart:
    """Horizontal bars: a block for each contender, in it one bar for each job of the suite."""
    jobs = results.by_job(suite=suite)
    names = [e.name for e in ENTRIES if any(named(ms, e.name) for ms in jobs.values())]
    with drawing(title, 0.9 + 0.2 * len(names) * (len(jobs) + 0.6)) as drawn:
        labels, places = [], []
        for block, name in enumerate(names):
            for bar, (job, measurements) in enumerate(jobs.items()):
                if m := named(measurements, name):
                    places.append(-(block * (len(jobs) + 0.8) + bar))
                    labels.append(
                        f"{name}, {job.name}"
                        if len(jobs) == 1
                        else f"{name if bar == 0 else ''}  {job.name}"
                    )
                    drawn.axes.barh(places[-1], value(m), color=STAND_INS[name], height=0.75)
        drawn.axes.set_yticks(places, labels)
        drawn.axes.set_xlabel(unit)
        drawn.axes.grid(visible=False, axis="y")
    return drawn.chart
