"""The report shows error and loss by table, geometric means, where xpnet is behind, and a picture."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy
import pandas

from xpnet_bench.report.drawing import drawing
from xpnet_bench.report.page import write_figure
from xpnet_bench.report.style import INK, LINE, QUIET

OURS, REFERENCE = "xpnet", "HistGradientBoosting"
NOISE = 2.0
"""Behind is who is behind by more than so many standard errors over the splits; on one split, by anything."""


def write_accuracy_report(results: Path, folder: Path) -> Path:
    """Write ``tables.md`` and ``tables.svg`` from ``tables.json``."""
    found = json.loads(results.read_text(encoding="utf-8"))
    scores = pandas.DataFrame(found["scores"])
    means = geometric_means(scores)
    machine = found["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    about = (
        f"Each contender with its defaults, on one thread of {machine['processor']}; {versions}. Error is the share of "
        "wrong classes or the root mean squared error, loss is the log loss or that error again, both on a quarter of "
        "the rows that no contender has seen. Mean and standard deviation over the splits."
    )
    lines = [
        "# Accuracy on open tables",
        "",
        about,
        "",
        "## Geometric means over tables and splits",
        "",
        f"Relative to {REFERENCE} on the splits that both have: below 1 is better.",
        "",
        *_markdown(_rounded(means)),
        "",
        "## Where xpnet is behind",
        "",
        *behind(scores),
        "",
        *_by_table(scores, "error", "Error"),
        *_by_table(scores[scores["task"] == "classification"], "loss", "Log loss"),
        *_by_table(scores, "cpu_seconds", "CPU seconds"),
    ]
    page = folder / "tables.md"
    page.write_text("\n".join(lines), encoding="utf-8")
    _draw(means, folder / "tables.svg")
    return page


def geometric_means(scores: pandas.DataFrame) -> pandas.DataFrame:
    """Error, loss and CPU seconds relative to the reference, and how often xpnet's loss is lower, by contender."""
    rows = []
    for name in dict.fromkeys(scores["contender"]):
        row: dict[str, Any] = {"contender": name}
        for measure in ("error", "loss", "cpu_seconds"):
            both = _beside(scores, name, REFERENCE, measure)
            row |= {measure: _geometric(both[name] / both[REFERENCE]), "splits": len(both)}
        ours = _beside(scores, name, OURS, "loss")
        row["xpnet's loss is lower"] = (
            "-" if name == OURS else f"{int((ours[OURS] < ours[name]).sum())} of {len(ours)}"
        )
        rows.append(row)
    return (
        pandas.DataFrame(rows).set_index("contender").rename(columns={"cpu_seconds": "CPU seconds"})
    )


def _beside(scores: pandas.DataFrame, name: str, other: str, measure: str) -> pandas.DataFrame:
    """A measure of two contenders on the splits that both have; no error at all counts as a hundredth of a percent."""
    table = scores.pivot_table(index=["table", "seed"], columns="contender", values=measure)
    return table[list(dict.fromkeys([name, other]))].dropna().clip(lower=1e-4)


def _geometric(ratios: pandas.Series) -> float:
    return float(numpy.exp(numpy.log(ratios).mean()))


def behind(scores: pandas.DataFrame) -> list[str]:
    """A line for each table and contender that xpnet is behind by more than noise."""
    lines = []
    for name in dict.fromkeys(scores["contender"]):
        if name == OURS:
            continue
        both = _beside(scores, name, OURS, "error")
        for table, rows in both.groupby(level="table"):
            differences = rows[OURS] - rows[name]
            spread = differences.std() / len(differences) ** 0.5 if len(differences) > 1 else 0.0
            if differences.mean() > NOISE * spread:
                ratio = _geometric(rows[OURS] / rows[name])
                lines.append(f"- {table}: its error is {ratio:.2f} times that of {name}.")
    return lines or ["Nowhere by more than noise."]


def _by_table(scores: pandas.DataFrame, measure: str, title: str) -> list[str]:
    names = list(dict.fromkeys(scores["contender"]))
    groups = scores.groupby(["table", "contender"])[measure]
    means, spreads = groups.mean().unstack()[names], groups.std().unstack().reindex(columns=names)
    shown = means.astype(object)
    for table in means.index:
        for name in names:
            spread = spreads.loc[table, name]
            if numpy.isnan(means.loc[table, name]):
                shown.loc[table, name] = "-"
                continue
            text = f"{means.loc[table, name]:.4g}" + (
                "" if numpy.isnan(spread) else f" ± {spread:.2g}"
            )
            shown.loc[table, name] = (
                f"**{text}**" if means.loc[table, name] == means.loc[table].min() else text
            )
    return [f"## {title}", "", *_markdown(shown), ""]


def _rounded(means: pandas.DataFrame) -> pandas.DataFrame:
    return means.map(lambda value: f"{value:.3f}" if isinstance(value, float) else value).replace(
        "nan", "-"
    )


def _markdown(table: pandas.DataFrame) -> list[str]:
    def line(cells: Sequence[Any]) -> str:
        return f"| {' | '.join(map(str, cells))} |"

    rows = [line([name, *row]) for name, row in zip(table.index, table.to_numpy(), strict=True)]
    return [
        line([table.index.name, *table.columns]),
        line(["---"] + ["---:"] * table.shape[1]),
        *rows,
    ]


def _draw(means: pandas.DataFrame, path: Path) -> None:
    ordered = means.sort_values("error", ascending=False)
    with drawing("Error and loss on open tables", 1.0 + 0.3 * len(ordered)) as drawn:
        places = range(len(ordered))
        drawn.axes.hlines(places, ordered["error"], ordered["loss"], color=LINE)
        drawn.axes.plot(ordered["error"], places, "o", color=INK, label="error")
        drawn.axes.plot(
            ordered["loss"], places, "s", color=QUIET, markerfacecolor="none", label="loss"
        )
        drawn.axes.set_yticks(places, ordered.index)
        drawn.axes.axvline(1, color=INK, linewidth=0.9)
        drawn.axes.set_xlabel(f"geometric mean; {REFERENCE} is 1, lower is better")
        drawn.legend()
    write_figure(drawn.chart.svg, path)
