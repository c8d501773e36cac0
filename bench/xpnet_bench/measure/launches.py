"""Rounds that are whole processes: start-up and memory, contender after contender, round by round."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from xpnet_bench.contenders import ENTRIES, Entry, missing
from xpnet_bench.jobs import Job
from xpnet_bench.measure.pinning import pinned_environment
from xpnet_bench.measure.process import TIMEOUT
from xpnet_bench.measure.race import Lane

CACHES = ("NUMBA_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR", "JAX_COMPILATION_CACHE_DIR", "CUPY_CACHE_DIR")


def launch_rounds(names: list[str], job: Job, threads: int, rounds: int) -> dict[str, Lane]:
    """Every contender but the floor, in a new process each round."""
    entries = [entry for entry in ENTRIES if entry.name in names and entry.role != "floor"]
    lanes = {entry.name: Lane(entry.name, failed=missing(entry)) for entry in entries}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(rounds):
            for entry in entries:
                _launch_into(lanes[entry.name], entry, job, threads, Path(folder), number)
    return lanes


def _launch_into(lane: Lane, entry: Entry, job: Job, threads: int, folder: Path, number: int) -> None:
    if lane.failed:
        return
    cold = job.group == "cold"
    caches = folder / (f"{entry.name}-{number}" if cold else entry.name)
    try:
        if not cold and number == 0 and job.operation != "import":
            _launch(entry, job, threads, caches)  # fills the caches
        result = _launch(entry, job, threads, caches)
    except (subprocess.SubprocessError, ValueError) as error:
        lane.failed = _reason(error)
        return
    lane.seconds.append(result["seconds"])
    lane.notes.append({key: value for key, value in result.items() if key != "seconds"})


def _launch(entry: Entry, job: Job, threads: int, caches: Path) -> dict[str, Any]:
    if job.operation == "import":
        job = replace(job, data=entry.statement)
    done = subprocess.run(
        [sys.executable, "-m", "xpnet_bench.measure.fresh", entry.name, str(threads), json.dumps(job.to_json())],
        env=pinned_environment(threads, _cache_variables(caches)),
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def _cache_variables(caches: Path) -> Mapping[str, str]:
    return {name: str(caches / name.lower()) for name in CACHES}


def _reason(error: Exception) -> str:
    lines = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
    return " ".join(lines[-1].split())[:300] if lines else type(error).__name__
