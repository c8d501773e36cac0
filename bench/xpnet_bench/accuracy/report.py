"""The report of accuracy: error and loss by table, geometric means, where xpnet is behind, and
charts of errors against CPU time.
"""

import json
from pathlib import Path
from typing import Any

import matplotlib
import numpy
import pandas

from xpnet_bench.accuracy.costs import COLUMNS
from xpnet_bench.report import write_pages
from xpnet_bench.report.charts import STYLE, add_legend, chart_of, new_figure, plain_log
from xpnet_bench.report.model import EMPTY, Cell, Chart, Section, Table

OURS, REFERENCE = "xpnet", "HistGradientBoosting"

NOISE = 2.0
"""Number of standard errors over the splits by which a contender must be behind; on one split,
none.
"""

MIN_ERROR = 1e-4
"""Errors below are counted as this one, so that ratios to a contender without errors exist."""

MAX_SHOWN = 1.5
"""A contender with a larger mean error is in the table of means and not in their chart."""

TITLE = "Accuracy on open tables"
MEANS_TEXT = f"Relative to {REFERENCE} on the splits that both have: below 1 is better."
MEASURES = {
    "error": "error",
    "loss": "loss",
    "cpu_seconds": "CPU of the fit",
    "predict_cpu_seconds": "CPU of predicting",
}
CPU = MEASURES["cpu_seconds"]
ROLES = {
    "quoted": "tables that no default was chosen with",
    "choosing": "tables at hand when defaults were chosen",
}
"""The tables of each role in words, the fairer comparison first; the others favour xpnet."""


def write_accuracy_report(results: Path, folder: Path) -> Path:
    """Write ``tables.md``, ``tables.html`` and ``tables.svg`` from ``tables.json``; return the
    first. The costs in a ``costs.json`` beside it have a section and ``costs.svg``.
    """
    document = json.loads(results.read_text(encoding="utf-8"))
    scores, machine = pandas.DataFrame(document["scores"]), document["machine"]
    for column, value in (("role", "choosing"), ("predict_cpu_seconds", numpy.nan)):
        if column not in scores:  # a file of an older version
            scores[column] = value
    about = {
        "Machine": f"one thread of {machine['processor']}",
        "Versions": ", ".join(f"{name} {version}" for name, version in machine["versions"].items()),
        "Contenders": "each with its defaults",
        "Error": "share of wrong classes, or root mean squared error",
        "Loss": "log loss, or root mean squared error",
        "CPU": "seconds of one thread, for the fit and for predicting 10,000 rows",
        "Rows": "a quarter, which no contender has seen; mean and standard deviation over splits",
    }
    means = [_means_section(role, scores) for role in ROLES if (scores["role"] == role).any()]
    (folder / "tables.svg").write_text(means[0].charts[0].svg, encoding="utf-8")
    classes = scores[scores["task"] == "classification"]
    costs = _costs_sections(results.with_name("costs.json"))
    for section in costs:
        (folder / "costs.svg").write_text(section.charts[0].svg, encoding="utf-8")
    parts = [
        *means,
        *costs,
        Section(f"Where {OURS} is behind", behind(scores), anchor="behind"),
        _by_table(scores, "error", "Error"),
        _by_table(classes, "loss", "Log loss"),
        _by_table(scores, "cpu_seconds", "CPU seconds of the fit"),
        _by_table(scores, "predict_cpu_seconds", "CPU seconds of predicting 10,000 rows"),
    ]
    write_pages(folder / "tables", TITLE, about, parts)
    return folder / "tables.md"


def _costs_sections(path: Path) -> list[Section]:
    """Return the section on the CPU times of xpnet's fits, none without a file of them."""
    if not path.exists():
        return []
    document = json.loads(path.read_text(encoding="utf-8"))
    costs = pandas.DataFrame(document["costs"])
    machine = f"Measured on one thread of {document['machine']['processor']}."
    rows = [
        [
            Cell(f"{cost.rows:,} x {cost.columns:,}"),
            Cell(f"{cost.quality}"),
            Cell(cost.task),
            Cell(f"{cost.cpu_seconds:.3g}", value=cost.cpu_seconds),
            Cell(f"{1000 * cost.cpu_seconds / cost.rows:.2g}"),
        ]
        for cost in costs.itertuples()
    ]
    header = ["rows x columns", "quality", "task", "CPU seconds", "milliseconds a row"]
    title = "What a fit costs"
    text = [machine, "The tables are made up; some of their columns are categories."]
    return [Section(title, text, [_costs_chart(costs)], [Table(title, header, rows)], "costs")]


@matplotlib.rc_context(STYLE)
def _costs_chart(costs: pandas.DataFrame) -> Chart:
    """Draw CPU seconds against rows; a line for each quality and task, of tables of one width."""
    usual = costs[costs["columns"] == COLUMNS]
    figure = new_figure(3.6)
    axes = figure.add_subplot()
    for (quality, task), fits in usual.groupby(["quality", "task"]):
        is_classification = task == "classification"
        what = "classes" if is_classification else "numbers"
        look = f"C{quality - 1}{'o-' if is_classification else 's--'}"
        fits = fits.sort_values("rows")
        axes.plot(fits["rows"], fits["cpu_seconds"], look, label=f"quality {quality}, {what}")
    plain_log(axes)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set(xlabel=f"rows of {COLUMNS} columns", ylabel="CPU seconds of the fit")
    add_legend(figure, columns=2)
    return chart_of("CPU seconds of a fit by rows", figure)


def _means_section(role: str, scores: pandas.DataFrame) -> Section:
    """Geometric means over the tables of a role, and their chart."""
    own = scores[scores["role"] == role]
    means = geometric_means(own)
    tables = ", ".join(own["table"].unique())
    text = [MEANS_TEXT, f"These are: {tables}."]
    rows = [
        [Cell(str(name)), *(_cell(value) for value in values)]
        for name, *values in means.itertuples()
    ]
    table = Table("Geometric means", ["contender", *means.columns], rows)
    title = f"Geometric means over {ROLES[role]}"
    return Section(title, text, [_frontier(means, title)], [table], f"means-{role}")


def geometric_means(scores: pandas.DataFrame) -> pandas.DataFrame:
    """Each measure relative to the reference, and how often xpnet's loss is lower, by contender."""
    scores = _floored(scores)
    rows = []
    for name in dict.fromkeys(scores["contender"]):
        row: dict[str, Any] = {"contender": name}
        for measure, title in MEASURES.items():
            both = _common_splits(scores, name, REFERENCE, measure)
            row[title] = _geometric(both[name] / both[REFERENCE])
            if measure == "error":
                row["splits"] = len(both)
        ours = _common_splits(scores, name, OURS, "loss")
        lower = f"{int((ours[OURS] < ours[name]).sum())} of {len(ours)}"
        row["xpnet's loss is lower"] = "–" if name == OURS else lower
        rows.append(row)
    return pandas.DataFrame(rows).set_index("contender")


def _floored(scores: pandas.DataFrame) -> pandas.DataFrame:
    """Return scores whose shares of wrong classes are half a row of the test or more, so that no
    table without errors outweighs all others.
    """
    test_rows = scores["rows"] / 3  # a quarter of a table, the training rows are three
    floor = (0.5 / test_rows).where(scores["task"] == "classification", 0.0)
    return scores.assign(error=scores["error"].clip(lower=floor))


def _common_splits(
    scores: pandas.DataFrame, name: str, other: str, measure: str
) -> pandas.DataFrame:
    """A measure of two contenders on the splits that both have."""
    table = scores.pivot(index=["table", "seed"], columns="contender", values=measure)
    return table[list(dict.fromkeys([name, other]))].dropna().clip(lower=MIN_ERROR)


def _geometric(ratios: pandas.Series) -> float:
    return float(numpy.exp(numpy.log(ratios).mean()))


def behind(scores: pandas.DataFrame) -> list[str]:
    """A sentence for each table and contender that xpnet is behind by more than noise."""
    others = [name for name in dict.fromkeys(scores["contender"]) if not name.startswith(OURS)]
    sentences = []
    for name in others:
        both = _common_splits(scores, name, OURS, "error")
        for table, rows in both.groupby(level="table"):
            differences = rows[OURS] - rows[name]
            error = differences.std() / len(rows) ** 0.5 if len(rows) > 1 else 0.0
            if differences.mean() > NOISE * error:
                ratio = _geometric(rows[OURS] / rows[name])
                sentences.append(f"{table}: its error is {ratio:.2f} times that of {name}.")
    return sentences or ["Nowhere by more than noise."]


def _cell(value: Any) -> Cell:
    """Ratios with three decimals, counts and texts as they are."""
    if not isinstance(value, float):
        return Cell(str(value))
    return EMPTY if numpy.isnan(value) else Cell(f"{value:.3f}", value=value)


def _by_table(scores: pandas.DataFrame, measure: str, title: str) -> Section:
    """Mean and standard deviation over the splits, a row for each table, a column for each
    contender.
    """
    names = list(dict.fromkeys(scores["contender"]))
    by_table = scores.pivot_table(measure, "table", "contender", ["mean", "std"], sort=False)
    rows = []
    for table, values in by_table.iterrows():
        means, deviations = values.get("mean", {}), values.get("std", {})
        best = means.min()
        cells = [_spread_cell(means.get(name), deviations.get(name), best) for name in names]
        rows.append([Cell(str(table)), *cells])
    anchor = measure.replace("_", "-")
    return Section(title, [], [], [Table(title, ["table", *names], rows)], anchor)


def _spread_cell(mean: float | None, deviation: float | None, best: float) -> Cell:
    if mean is None or numpy.isnan(mean):
        return EMPTY
    detail = "" if deviation is None or numpy.isnan(deviation) else f"± {deviation:.2g}"
    return Cell(f"{mean:.4g}", detail, mean, mean == best)


@matplotlib.rc_context(STYLE)
def _frontier(means: pandas.DataFrame, title: str) -> Chart:
    """Error and loss against the CPU time of the fit; the qualities of xpnet are joined."""
    shown = means[means["error"] < MAX_SHOWN].sort_values(CPU)
    own = shown[shown.index.str.startswith(OURS)]
    figure = new_figure(4.6)
    axes = figure.add_subplot()
    for measure, marker in (("error", "o"), ("loss", "s")):
        axes.plot(shown[CPU], shown[measure], f"k{marker}", label=measure, fillstyle="none")
        axes.plot(own[CPU], own[measure], f"C0{marker}-", label=f"xpnet's {measure}")
    for name, row in shown.iterrows():
        place = row[CPU], max(row["error"], row["loss"])
        axes.annotate(str(name), place, (0, 5), textcoords="offset points", rotation=60)
    plain_log(axes)
    axes.margins(x=0.1, y=0.25)
    axes.set(xlabel=f"CPU time of the fit; {REFERENCE} is 1", ylabel="geometric mean")
    add_legend(figure)
    return chart_of(title, figure)
