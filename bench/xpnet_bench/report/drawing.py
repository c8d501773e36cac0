"""Figures as SVG text: narrow enough for a phone, words kept as words, colours as CSS variables."""

import io
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from xpnet_bench.report.model import Chart
from xpnet_bench.report.style import INK, LINE, LOOKS, QUIET, STAND_INS, with_variables

WIDTH = 4.0
"""Inches, of 96 pixels as CSS counts them: text of 10 points stays readable where the page is 390 pixels wide."""

_PARAMETERS: Any = {
    "svg.fonttype": "none",
    "font.size": 8.5,
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.labelcolor": QUIET,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "lines.linewidth": 1.4,
    "lines.markersize": 5,
    "legend.frameon": False,
    "legend.fontsize": 8,
}


class Drawing:
    """A figure with one pair of axes; ``chart`` is filled when its ``with`` block ends."""

    def __init__(self, title: str, height: float) -> None:
        self.title = title
        self.figure = Figure(figsize=(WIDTH, height), layout="constrained")
        self.axes: Axes = self.figure.add_subplot()
        self.chart = Chart(title, "")

    def line(self, contender: str, x: Any, y: Any, **keywords: Any) -> None:
        """Draw a contender's values, joined, in its colour and with its mark."""
        dashed = {"linestyle": "--", "marker": ""} if contender == "floor" else {}
        look = {
            "color": STAND_INS[contender],
            "marker": LOOKS[contender].marker,
            "label": contender,
            **dashed,
        }
        self.axes.plot(x, y, **(look | keywords))

    def label(self, text: str, x: float, y: float) -> None:
        """Write a short text above a point."""
        self.axes.annotate(
            text, (x, y), xytext=(0, 6), textcoords="offset points", ha="center", fontweight="bold"
        )

    def legend(self, columns: int = 3) -> None:
        """Below the axes, each contender once."""
        handles, names = self.axes.get_legend_handles_labels()
        unique = dict(zip(names, handles, strict=True))
        self.figure.legend(
            unique.values(), unique.keys(), loc="outside lower center", ncols=columns
        )


@contextmanager
def drawing(title: str, height: float = 2.9) -> Iterator[Drawing]:
    """``with drawing("Title") as d:`` draws on ``d.axes``; afterwards ``d.chart`` holds the SVG."""
    with matplotlib.rc_context({**_PARAMETERS, "svg.hashsalt": title}):
        drawn = Drawing(title, height)
        yield drawn
        buffer = io.StringIO()
        drawn.figure.savefig(
            buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None}
        )
        drawn.chart = Chart(title, _inline(buffer.getvalue(), title))


def _inline(document: str, title: str) -> str:
    """Return the ``svg`` element alone, scaling with its container, with the page's font, named for screen readers."""
    svg = document[document.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r"\d+\.\d{3,}", lambda number: f"{float(number[0]):.2f}", svg)
    svg = re.sub(r"\s+", " ", svg).replace("> <", "><").replace("<g ", "\n<g ")
    svg = re.sub(r'font-family: [^;"]+', "font-family: var(--font)", svg)
    svg = re.sub(r"font: ([\d.]+px) [^;\"]+", r"font-size: \1; font-family: var(--font)", svg)
    svg = re.sub(
        r' id="(?![mp][0-9a-f]{10}")[^"]*"', "", svg
    )  # only markers and clip paths are referred to
    head = re.sub(r' (width|height)="[^"]*"', "", svg[: svg.index(">")])
    prefix = f"c{zlib.crc32(title.encode()):x}"
    svg = re.sub(r'(id="|url\(#|href="#)', rf"\g<1>{prefix}-", svg[svg.index(">") :])
    return with_variables(f'{head} role="img" aria-label="{title}"{svg}')
