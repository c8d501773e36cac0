"""A run: measure the noise, then job after job, each written into the results file as soon as it is
measured.
"""

import contextlib
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

from pytest_benchmark.utils import get_commit_info
from rich.console import Console
from rich.progress import Progress

from xpnet_bench.contenders import ENTRIES, Entry
from xpnet_bench.jobs import Job, is_per_process
from xpnet_bench.measure.machine import describe_machine
from xpnet_bench.measure.noise import measure_noise
from xpnet_bench.measure.pinning import set_variables
from xpnet_bench.measure.race import OUT_OF_TIME, Effort, Team, race
from xpnet_bench.record import Record
from xpnet_bench.settings import Settings

INTERRUPTED = "the run was interrupted"
QUICK_SECONDS = 145.0
"""Seconds after which a quick run begins no more jobs, so that it ends within three minutes."""


def run(settings: Settings, folder: Path) -> Record:
    """Measure into ``folder/results.json``, with progress on stderr where that is a terminal.

    Ctrl-C and SIGTERM end the run and keep its results: ``Record.left_out`` names the jobs that
    were not measured.
    """
    end = time.monotonic() + (QUICK_SECONDS if settings.quick else float("inf"))
    folder.mkdir(parents=True, exist_ok=True)
    console = Console(stderr=True)
    record = Record(folder / "results.json", _facts(settings))
    console.print(record.run["noise"]["verdict"])
    hidden = not console.is_terminal
    with (
        _interruptible(),
        Progress(console=console, disable=hidden, transient=True) as progress,
        contextlib.ExitStack() as stack,
    ):
        teams = {
            threads: stack.enter_context(contextlib.closing(Team(threads)))
            for threads in {
                settings.threads,
                *(job.threads for job in settings.jobs if job.threads),
            }
        }
        for job in progress.track(settings.jobs, description="Measuring"):
            if time.monotonic() > end:
                record.run["left_out"]["why"] = OUT_OF_TIME
                break
            names = [entry.name for entry in settings.contenders if _takes_part(entry, job)]
            team = teams[job.threads or settings.threads]
            lanes = race(team, names, job, Effort.of(settings.quick), end)
            record.run["contenders"] = teams[settings.threads].facts()
            record.add(job, lanes)
    record.write()
    return record


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C and SIGTERM end the ``with`` block, and nothing else."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        with contextlib.suppress(KeyboardInterrupt):
            yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _facts(settings: Settings) -> dict[str, Any]:
    """Collect the facts of a run before anything is measured."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "machine": describe_machine(),
        "noise": measure_noise(),
        "suites": list(settings.suites),
        "quick": settings.quick,
        "threads": settings.threads,
        "unset": set_variables(),
        "not_asked": [entry.name for entry in ENTRIES if entry not in settings.contenders],
        "contenders": {},
        "skipped": [],
        "left_out": {"why": INTERRUPTED, "jobs": [job.name for job in settings.jobs]},
    }


def _commit() -> str:
    """The short commit; "" outside a repository, which pytest-benchmark calls ``unversioned``."""
    commit = get_commit_info().get("id") or ""
    return "" if commit == "unversioned" else commit[:10]


def _takes_part(entry: Entry, job: Job) -> bool:
    """The floor is no library that is imported, and it does not train. The peak is that of the
    dtype of a job, so that it says nothing of products in bfloat16.
    """
    if entry.role == "floor" and (is_per_process(job) or job.operation == "accuracy"):
        return False
    if entry.role == "peak" and (not job.flops or "bits" in job.sizes):
        return False
    return job.suite in entry.suites and entry.bits in (0, job.sizes.get("bits"))
