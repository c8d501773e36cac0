"""Rounds that are whole processes: start-up and memory, contender
after contender, round by round.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from xpnet_bench.contenders import Entry, find_entry, missing
from xpnet_bench.jobs import Job
from xpnet_bench.measure.pinning import pinned_environment
from xpnet_bench.measure.process import TIMEOUT
from xpnet_bench.measure.race import OUT_OF_TIME, Lane

CACHES = (
    "NUMBA_CACHE_DIR",
    "TORCHINDUCTOR_CACHE_DIR",
    "JAX_COMPILATION_CACHE_DIR",
    "CUPY_CACHE_DIR",
)


@dataclass(frozen=True)
class Start:
    """How processes are started: the job, threads of each, variables that limit it to fewer
    instructions.
    """

    job: Job
    threads: int
    held: Mapping[str, str]


def launch_rounds(
    names: Sequence[str], start: Start, rounds: int, end: float = float("inf")
) -> dict[str, Lane]:
    """Run each contender in a new process each round; after the time ``end`` of ``time.monotonic``
    none is started.
    """
    entries = [find_entry(name) for name in names]
    lanes = {entry.name: Lane(entry.name, failed=missing(entry)) for entry in entries}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(rounds):
            for entry in entries:
                if time.monotonic() < end:
                    _launch_into(lanes[entry.name], entry, start, Path(folder), number)
    for lane in lanes.values():
        lane.failed = lane.failed or ("" if lane.seconds else OUT_OF_TIME)
    return lanes


def _launch_into(lane: Lane, entry: Entry, start: Start, folder: Path, number: int) -> None:
    if lane.failed:
        return
    cold = start.job.group == "cold"
    caches = folder / (f"{entry.name}-{number}" if cold else entry.name)
    try:
        if not cold and number == 0 and start.job.operation != "import":
            _launch(entry, start, caches)  # fills the caches
        result = _launch(entry, start, caches)
    except (subprocess.SubprocessError, ValueError) as error:
        lane.failed = _reason(error)
        return
    lane.seconds.append(result["seconds"])
    lane.notes.append({key: value for key, value in result.items() if key != "seconds"})


def _launch(entry: Entry, start: Start, caches: Path) -> dict[str, Any]:
    job = replace(start.job, data=entry.statement) if start.job.operation == "import" else start.job
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "xpnet_bench.measure.fresh",
            entry.name,
            str(start.threads),
            json.dumps(job.to_json()),
        ],
        env=pinned_environment(start.threads, start.held, _cache_variables(caches)),
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
