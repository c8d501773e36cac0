"""The report as HTML and as Markdown."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from xpnet_bench.report.charts import speed_chart
from xpnet_bench.report.model import Section
from xpnet_bench.report.results import Results, read_results
from xpnet_bench.report.sections import sections
from xpnet_bench.report.style import variables


def write_report(results: Path, folder: Path) -> None:
    """Write ``report.html`` and ``report.md`` from a results file."""
    found = read_results(results)
    parts = sections(found)
    folder.mkdir(parents=True, exist_ok=True)
    write_page(folder / "report.html", "xpnet on this machine", facts(found), parts)
    (folder / "report.md").write_text(
        render("report.md.j2", title="xpnet on this machine", facts=facts(found), sections=parts)
    )


def write_chart(results: Path, path: Path) -> None:
    """Write the first chart as a file of its own, colours for both schemes inside."""
    svg = speed_chart(read_results(results)).svg
    style = (
        f"<style>svg {{ --font: system-ui, sans-serif; {variables(dark=False)} }} "
        f"@media (prefers-color-scheme: dark) {{ svg {{ {variables(dark=True)} }} }}</style>"
    )
    head, end = svg[: svg.index(">")], svg[svg.index(">") + 1 :]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{head}>{style}{end}")


def write_page(path: Path, title: str, about: dict[str, str], parts: list[Section]) -> None:
    """A page that needs no other file and no network."""
    colours = {"light": variables(dark=False), "dark": variables(dark=True)}
    path.write_text(render("report.html.j2", title=title, facts=about, sections=parts, colours=colours))


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
    """Machine, threads, BLAS, versions, date."""
    machine, run = results.machine, results.run
    return {
        "Date": results.date[:16].replace("T", " "),
        "Commit": results.commit or "unknown",
        "Machine": f"{machine['processor']}, {machine['cores']} cores ({machine['logical_cores']} logical), "
        f"{machine['memory_gib']} GiB, {machine['system']}",
        "Threads": f"{run['threads']} for every contender, pinned to as many cores",
        "BLAS": machine["blas"],
        "Python": machine["python"],
        "Versions": ", ".join(f"{name} {version}" for name, version in machine["versions"].items()),
        "Run": f"{'quick' if run['quick'] else 'full'}: {', '.join(run['suites'])}",
    }
