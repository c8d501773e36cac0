"""The report of accuracy: error and loss by table, geometric means, where xpnet is behind, and a
chart.
"""

import json
from pathlib import Path
from typing import Any

import numpy
import pandas

from xpnet_bench.report import write_pages
from xpnet_bench.report.charts import plot
from xpnet_bench.report.model import Cell, Chart, Section, Table

OURS, REFERENCE = "xpnet", "HistGradientBoosting"

NOISE = 2.0
"""Number of standard errors over the splits by which a contender must be behind; on one split,
none.
"""

MIN_ERROR = 1e-4
"""Errors below are counted as this one, so that ratios to a contender without errors exist."""

TITLE = "Accuracy on open tables"
MEANS_TEXT = f"Relative to {REFERENCE} on the splits that both have: below 1 is better."
MEASURES = {"error": "error", "loss": "loss", "cpu_seconds": "CPU seconds"}


def write_accuracy_report(results: Path, folder: Path) -> Path:
    """Write ``tables.md``, ``tables.html`` and ``tables.svg`` from ``tables.json``; return the
    first.
    """
    document = json.loads(results.read_text(encoding="utf-8"))
    scores, machine = pandas.DataFrame(document["scores"]), document["machine"]
    about = {
        "Machine": f"one thread of {machine['processor']}",
        "Versions": ", ".join(f"{name} {version}" for name, version in machine["versions"].items()),
        "Contenders": "each with its defaults",
        "Error": "share of wrong classes, or root mean squared error",
        "Loss": "log loss, or root mean squared error",
        "Rows": "a quarter, which no contender has seen; mean and standard deviation over splits",
    }
    means = geometric_means(scores)
    chart = _means_chart(means)
    (folder / "tables.svg").write_text(chart.svg, encoding="utf-8")
    classes = scores[scores["task"] == "classification"]
    parts = [
        Section(
            "Geometric means over tables and splits",
            [MEANS_TEXT],
            [chart],
            [_means_table(means)],
            "answer",
        ),
        Section(f"Where {OURS} is behind", behind(scores), anchor="behind"),
        _by_table(scores, "error", "Error"),
        _by_table(classes, "loss", "Log loss"),
        _by_table(scores, "cpu_seconds", "CPU seconds"),
    ]
    write_pages(folder / "tables", TITLE, about, parts)
    return folder / "tables.md"


def geometric_means(scores: pandas.DataFrame) -> pandas.DataFrame:
    """Error, loss and CPU seconds relative to the reference, and how often xpnet's loss is lower,
    by contender.
    """
    rows = []
    for name in dict.fromkeys(scores["contender"]):
        row: dict[str, Any] = {"contender": name}
        for measure, title in MEASURES.items():
            both = _common_splits(scores, name, REFERENCE, measure)
            row |= {title: _geometric(both[name] / both[REFERENCE]), "splits": len(both)}
        ours = _common_splits(scores, name, OURS, "loss")
        lower = f"{int((ours[OURS] < ours[name]).sum())} of {len(ours)}"
        row["xpnet's loss is lower"] = "–" if name == OURS else lower
        rows.append(row)
    return pandas.DataFrame(rows).set_index("contender")


def _common_splits(
    scores: pandas.DataFrame, name: str, other: str, measure: str
) -> pandas.DataFrame:
    """A measure of two contenders on the splits that both have."""
    table = scores.pivot_table(index=["table", "seed"], columns="contender", values=measure)
    return table[list(dict.fromkeys([name, other]))].dropna().clip(lower=MIN_ERROR)


def _geometric(ratios: pandas.Series) -> float:
    return float(numpy.exp(numpy.log(ratios).mean()))


def behind(scores: pandas.DataFrame) -> list[str]:
    """A sentence for each table and contender that xpnet is behind by more than noise."""
    sentences = []
    for name in [name for name in dict.fromkeys(scores["contender"]) if name != OURS]:
        both = _common_splits(scores, name, OURS, "error")
        for table, rows in both.groupby(level="table"):
            differences = rows[OURS] - rows[name]
            error = differences.std() / len(rows) ** 0.5 if len(rows) > 1 else 0.0
            if differences.mean() > NOISE * error:
                ratio = _geometric(rows[OURS] / rows[name])
                sentences.append(f"{table}: its error is {ratio:.2f} times that of {name}.")
    return sentences or ["Nowhere by more than noise."]


def _means_table(means: pandas.DataFrame) -> Table:
    rows = [
        [Cell(str(name)), *(_cell(value) for value in values)]
        for name, *values in means.itertuples()
    ]
    return Table("Geometric means", ["contender", *means.columns], rows)


def _cell(value: Any) -> Cell:
    """Ratios with three decimals, counts and texts as they are."""
    if not isinstance(value, float):
        return Cell(str(value))
    return Cell("–") if numpy.isnan(value) else Cell(f"{value:.3f}", value=value)


def _by_table(scores: pandas.DataFrame, measure: str, title: str) -> Section:
    """Mean and standard deviation over the splits, a row for each table, a column for each
    contender.
    """
    names = list(dict.fromkeys(scores["contender"]))
    groups = scores.groupby(["table", "contender"])[measure]
    means, deviations = groups.mean(), groups.std()
    rows = []
    for table in means.index.unique("table"):
        best = means[table].min()
        cells = [Cell(str(table))]
        for name in names:
            mean, deviation = means.get((table, name)), deviations.get((table, name), numpy.nan)
            detail = "" if numpy.isnan(deviation) else f"± {deviation:.2g}"
            if mean is None:
                cells.append(Cell("–"))
            else:
                cells.append(Cell(f"{mean:.4g}", detail, mean, mean == best))
        rows.append(cells)
    anchor = measure.replace("_", "-")
    return Section(title, [], [], [Table(title, ["table", *names], rows)], anchor)


def _means_chart(means: pandas.DataFrame) -> Chart:
    ordered = means.sort_values("error", ascending=False)
    with plot(TITLE, 1.0 + 0.3 * len(ordered)) as drawn:
        positions = range(len(ordered))
        drawn.axes.hlines(positions, ordered["error"], ordered["loss"], color="grey", linewidth=0.8)
        drawn.axes.plot(ordered["error"], positions, "ko", label="error")
        drawn.axes.plot(ordered["loss"], positions, "ks", label="loss", markerfacecolor="none")
        drawn.axes.set_yticks(positions, ordered.index)
        drawn.axes.axvline(1, color="black", linewidth=0.9)
        drawn.axes.set_xlabel(f"geometric mean, lower is better;\n{REFERENCE} is 1")
        drawn.legend()
    return drawn.chart
