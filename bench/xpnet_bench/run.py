"""A run: measure the noise, run the suites through pytest-benchmark, write the results."""

import contextlib
import io
import os
from pathlib import Path

import pytest
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from xpnet import XpnetError
from xpnet_bench.measure.noise import measure_noise
from xpnet_bench.plugin import BenchPlugin
from xpnet_bench.settings import Settings

SUITES_FOLDER = Path(__file__).parent / "suites"


class RunFailed(XpnetError):
    """The suites did not end as they should; the message holds pytest's own account."""


def run(settings: Settings, folder: Path) -> Path:
    """Measure, with progress on stderr where that is a terminal; returns the path of ``results.json``.

    Raises RunFailed where the suites fail.
    """
    folder.mkdir(parents=True, exist_ok=True)
    results = folder / "results.json"
    console = Console(stderr=True)
    noise = measure_noise()
    console.print(noise["verdict"])
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        bar = progress.add_task("starting", total=None)
        plugin = BenchPlugin(settings, noise, lambda name: progress.update(bar, description=name, advance=1))
        progress.update(bar, total=sum(len(plugin.jobs(suite)) for suite in settings.suites))
        try:
            _run_pytest(plugin, settings, results)
        finally:
            plugin.close()
    return results


def _run_pytest(plugin: BenchPlugin, settings: Settings, results: Path) -> None:
    arguments = [
        *(str(SUITES_FOLDER / f"test_{suite}.py") for suite in settings.suites),
        f"--rootdir={SUITES_FOLDER}",
        f"--config-file={os.devnull}",
        "--benchmark-only",
        f"--benchmark-json={results.resolve()}",
        *("-p", "no:cacheprovider", "-p", "no:xdist"),
        "-q",
    ]
    account = io.StringIO()
    with contextlib.redirect_stdout(account):
        code = pytest.main(arguments, plugins=[plugin])
    if code != pytest.ExitCode.OK or not results.is_file():
        raise RunFailed(f"The suites end without failure; pytest ended with {code!r}:\n{account.getvalue()[-4000:]}")
