"""``xpnet bench`` and the commands below it. Exit codes: 0 done, 1 slower than allowed or failed, 2
wrong usage.
"""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import click

from xpnet import available_backends
from xpnet.cli.options.values import OneOf
from xpnet_bench.contenders import ENTRIES
from xpnet_bench.measure.pinning import allowed_threads
from xpnet_bench.settings import CHOICES, Settings

ACCURACY = "tables"
"""The suite that measures errors on open tables; all others measure time and memory."""

RESULTS = click.Path(exists=True, path_type=Path)
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)


@click.group(
    invoke_without_command=True,
    short_help="Measure the backends and their peers on this machine.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option(
    "--backend",
    "backends",
    type=OneOf(available_backends()),
    multiple=True,
    help="Measure only this backend of xpnet; may be repeated.",
)
@click.option(
    "--peer",
    "peers",
    multiple=True,
    help="Measure only this other library, or `none`; may be repeated.",
)
@click.option("--suite", type=OneOf([*CHOICES, ACCURACY]), default="all", show_default=True)
@click.option(
    "--quick", is_flag=True, help="A short run, for a first impression: under three minutes."
)
@click.option(
    "--data",
    type=FILE,
    help="MNIST as an .npz file with X, uint8 (70000, 784), and y. Default: the digits.",
)
@click.option(
    "--precision",
    type=OneOf(["fp32", "bf16"]),
    default="fp32",
    show_default=True,
    help="Precision of the products of `--suite training`.",
)
@click.option(
    "--threads",
    type=click.IntRange(1, allowed_threads(), clamp=True),
    default=allowed_threads,
    help="Threads of each contender. Default: as many as this process may use.",
)
@click.option("-o", "--output", type=FOLDER, help="Folder for results.json and the report.")
@click.pass_context
def bench(ctx: click.Context, output: Path | None, data: Path | None, **chosen: Any) -> None:
    """Measure the backends and their peers on this machine, and write a report.

    In a folder that holds results already, those of the measured jobs are replaced.
    """
    if ctx.invoked_subcommand is not None:
        return
    if output is None:
        raise click.UsageError("A run needs -o DIR, the folder for its results.")
    if chosen["precision"] == "bf16" and chosen["suite"] != "training":
        raise click.UsageError("--precision bf16 needs --suite training.")
    if chosen["suite"] == ACCURACY:
        from xpnet_bench.accuracy import CONTENDERS

        _check_peers(ctx, CONTENDERS)
        click.echo(str(_measure_tables(output, quick=chosen["quick"], only=chosen["peers"])))
        return
    from xpnet_bench.report import write_report
    from xpnet_bench.run import INTERRUPTED, run

    settings = Settings(data=str(data.resolve()) if data else "", **chosen)
    _check_peers(ctx, [*_peers_of(settings.suites), "none"])
    if data:
        from xpnet_bench.jobs.data import mnist

        mnist(str(data), "float32")
    record = run(settings, output)
    write_report(record.path, output)
    click.echo(str(output / "report.html"))
    if record.left_out:
        why = record.run["left_out"]["why"]
        click.echo(f"Not measured, since {why}: {', '.join(record.left_out)}.", err=True)
        ctx.exit(1 if why == INTERRUPTED else 0)


def _measure_tables(folder: Path, *, quick: bool, only: Sequence[str]) -> Path:
    """Measure costs and errors of fits of tables; return the page of the report."""
    from xpnet_bench.accuracy import run_accuracy, run_costs, write_accuracy_report

    run_costs(folder, quick=quick)
    return write_accuracy_report(run_accuracy(folder, quick=quick, only=only), folder)


def _peers_of(suites: Sequence[str]) -> list[str]:
    """Return the names of the peers that take part in some of the suites."""
    return [
        entry.name
        for entry in ENTRIES
        if entry.role == "peer" and not set(suites).isdisjoint(entry.suites)
    ]


def _check_peers(ctx: click.Context, allowed: Collection[str]) -> None:
    """Fail for a name of ``--peer`` that the chosen suite does not know."""
    option = next(option for option in ctx.command.params if option.name == "peers")
    for name in ctx.params["peers"]:
        OneOf(allowed).convert(name, option, ctx)


@bench.command()
@click.argument("results", type=FILE)
@click.option("-o", "--output", type=FOLDER, required=True)
def report(results: Path, output: Path) -> None:
    """Write report.html, report.md and report.json again from a results file."""
    from xpnet_bench.report import write_report

    write_report(results, output)


@bench.command()
@click.argument("results", type=FILE)
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), required=True)
def chart(results: Path, output: Path) -> None:
    """Draw the chart of speed by job as an SVG file that follows the reader's colour scheme."""
    from xpnet_bench.report import write_chart

    write_chart(results, output)


@bench.command()
@click.argument("old", type=RESULTS)
@click.argument("new", type=RESULTS)
@click.option(
    "--fail-at",
    type=click.FloatRange(min=1),
    default=1.10,
    show_default=True,
    help="Ratio of times above which the command fails.",
)
def compare(old: Path, new: Path, fail_at: float) -> None:
    """Show what became faster or slower beyond the noise; exit with 1 if xpnet became slower than
    allowed.

    OLD and NEW are results files, or the folders that hold them.
    """
    from xpnet_bench.compare import compare_files, comparison_text

    comparison = compare_files(_results_file(old), _results_file(new))
    click.echo(comparison_text(comparison, fail_at))
    if failed := len(comparison.slower(fail_at)):
        raise click.ClickException(f"{failed} of xpnet's measurements became slower than allowed.")


def _results_file(path: Path) -> Path:
    """Return the results file of a folder; a file stands for itself."""
    return path / "results.json" if path.is_dir() else path
