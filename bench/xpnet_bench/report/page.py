"""The report as HTML and as Markdown."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from xpnet_bench.report.charts import speed_chart
from xpnet_bench.report.model import Section
from xpnet_bench.report.results import Results, Run, read_results
from xpnet_bench.report.sections import sections
from xpnet_bench.report.style import variables


def write_report(results: Path, folder: Path) -> None:
    """Write ``report.html`` and ``report.md`` from a results file."""
    found = read_results(results)
    parts = sections(found)
    folder.mkdir(parents=True, exist_ok=True)
    write_page(folder / "report.html", "xpnet on this machine", facts(found), parts)
    (folder / "report.md").write_text(
        render("report.md.j2", title="xpnet on this machine", facts=facts(found), sections=parts),
        encoding="utf-8",
    )


def write_chart(results: Path, path: Path) -> None:
    """Write the first chart as a file of its own, colours for both schemes inside."""
    write_figure(speed_chart(read_results(results)).svg, path)


def write_figure(svg: str, path: Path) -> None:
    """Write a chart as a file of its own, colours for both schemes inside."""
    style = (
        f"<style>svg {{ --font: system-ui, sans-serif; {variables(dark=False)} }} "
        f"@media (prefers-color-scheme: dark) {{ svg {{ {variables(dark=True)} }} }}</style>"
    )
    head, end = svg[: svg.index(">")], svg[svg.index(">") + 1 :]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{head}>{style}{end}", encoding="utf-8")


def write_page(path: Path, title: str, about: dict[str, str], parts: list[Section]) -> None:
    """A page that needs no other file and no network."""
    colours = {"light": variables(dark=False), "dark": variables(dark=True)}
    page = render("report.html.j2", title=title, facts=about, sections=parts, colours=colours)
    path.write_text(page, encoding="utf-8")


def render(template: str, **values: Any) -> str:
    """Fill a template of this package; HTML is escaped, charts excepted."""
    environment = Environment(
        loader=PackageLoader("xpnet_bench.report"),
        autoescape=template.endswith(".html.j2"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(**values)


def facts(results: Results) -> dict[str, str]:
    """Machine, threads, instructions, BLAS, versions, and the runs that measured."""
    machine, run = results.machine, results.last
    return {
        "Machine": f"{machine['processor']}, {machine['cores']} cores ({machine['logical_cores']} logical), "
        f"{machine['memory_gib']} GiB, {machine['system']}",
        **_cards(results),
        "Threads": f"{run['threads']} for every contender, pinned to as many cores",
        "Instructions": _variables("held by ", run["held"]) or "the processor's own",
        **({"Unset for the run": text} if (text := _variables("", run["unset"])) else {}),
        "BLAS": run["contenders"].get("numpy", {}).get("pools", "not asked"),
        "Python": machine["python"],
        "Versions": ", ".join(f"{name} {version}" for name, version in machine["versions"].items()),
        "Runs": "; ".join(map(_run, results.used_runs)),
    }


def _cards(results: Results) -> dict[str, str]:
    """Return the graphics card, where a contender ran on one."""
    found = {
        facts["card"]
        for run in results.used_runs
        for facts in run["contenders"].values()
        if "card" in facts
    }
    return {"Card": ", ".join(sorted(found))} if found else {}


def _variables(head: str, found: dict[str, str]) -> str:
    return head + ", ".join(f"{name}={value}" for name, value in found.items()) if found else ""


def _run(run: Run) -> str:
    kind = "quick" if run["quick"] else "full"
    date, suites = run["date"][:16].replace("T", " "), ", ".join(run["suites"])
    return f"{date}, {kind}: {suites}; commit {run['commit'] or 'unknown'}"
