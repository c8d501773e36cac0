"""The report as files: HTML, Markdown, and its tables as JSON."""

import json
from base64 import b64encode
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from xpnet_bench.report.charts import speed_chart
from xpnet_bench.report.model import Chart, Section
from xpnet_bench.report.sections import sections
from xpnet_bench.results import Results, Run, read_results


def write_report(results: Path, folder: Path) -> None:
    """Write ``report.html``, ``report.md`` and ``report.json`` from a results file."""
    measured = read_results(results)
    title, about, parts = "xpnet on this machine", facts(measured), sections(measured)
    write_pages(folder / "report", title, about, parts)
    tables = {section.title: [asdict(table) for table in section.tables] for section in parts}
    text = json.dumps({"title": title, "facts": about, "tables": tables}, indent=1)
    (folder / "report.json").write_text(text + "\n", encoding="utf-8")


def write_chart(results: Path, path: Path) -> None:
    """Write the chart of speed by job as a file of its own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(speed_chart(read_results(results)).svg, encoding="utf-8")


def write_pages(path: Path, title: str, about: dict[str, str], parts: list[Section]) -> None:
    """Write a report to ``path`` with the suffixes ``.html`` and ``.md``.

    The HTML page needs no other file and no network.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for suffix in (".html", ".md"):
        text = _render(f"report{suffix}.j2", title=title, facts=about, sections=parts)
        path.with_suffix(suffix).write_text(text.rstrip() + "\n", encoding="utf-8")


def _render(template: str, **values: Any) -> str:
    """Fill a template of this package; values are escaped for HTML."""
    environment = Environment(
        loader=PackageLoader("xpnet_bench.report"),
        autoescape=template.endswith(".html.j2"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["data_uri"] = _data_uri
    return environment.get_template(template).render(**values)


def _data_uri(chart: Chart) -> str:
    """Return the chart as the address of an image that holds its own content."""
    return f"data:image/svg+xml;base64,{b64encode(chart.svg.encode()).decode()}"


def facts(results: Results) -> dict[str, str]:
    """Machine, threads, BLAS, versions, and the runs that measured."""
    machine, run = results.machine, results.last
    contenders = [facts for run in results.used_runs for facts in run["contenders"].values()]
    about = {
        "Machine": f"{machine['processor']}, {machine['cores']} cores "
        f"({machine['logical_cores']} logical), {machine['memory_gib']} GiB, {machine['system']}",
        "Card": ", ".join(sorted({facts["card"] for facts in contenders if "card" in facts})),
        "Threads": f"{run['threads']} for each contender, pinned to as many cores",
        "Unset for the run": _variables(run["unset"]),
        "BLAS": run["contenders"].get("numpy", {}).get("pools", "unknown"),
        "Python": machine["python"],
        "Versions": ", ".join(f"{name} {version}" for name, version in machine["versions"].items()),
        "Runs": "; ".join(map(_run, results.used_runs)),
    }
    return {name: text for name, text in about.items() if text}


def _variables(values: dict[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in values.items())


def _run(run: Run) -> str:
    kind = "quick" if run["quick"] else "full"
    date, suites = run["date"][:16].replace("T", " "), ", ".join(run["suites"])
    return f"{date}, {kind}: {suites}; commit {run['commit'] or 'unknown'}"
