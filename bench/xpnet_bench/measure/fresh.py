"""Rounds that are whole processes: an import, or the first use of a library on a job.

``python -m xpnet_bench.measure.fresh CONTENDER JOB`` is such a process; it prints JSON. Making the
data is not timed.
"""

import json
import sys
import tempfile
import time
import timeit

from xpnet_bench.contenders import Entry, Task, find_entry
from xpnet_bench.contenders.contender import Round
from xpnet_bench.jobs import Job, data
from xpnet_bench.measure.launch import launch
from xpnet_bench.measure.pinning import end_with_parent

CACHES = (
    "NUMBA_CACHE_DIR",
    "TORCHINDUCTOR_CACHE_DIR",
    "JAX_COMPILATION_CACHE_DIR",
    "CUPY_CACHE_DIR",
)
"""Variables that name the folder in which a library keeps what it compiled."""

IMPORT = """
import json, time
start = time.perf_counter()
{statement}
print(json.dumps([[time.perf_counter() - start]]))
"""
"""The program of a bare interpreter that measures the time of an import."""


def fresh_task(entry: Entry, job: Job, folder: str) -> Task:
    """A task whose rounds are new processes. folder : where they keep their caches"""
    module = [sys.executable, "-m", "xpnet_bench.measure.fresh"]
    use = [*module, entry.name, json.dumps(job.to_json())]
    bare_import = [sys.executable, "-c", IMPORT.format(statement=entry.statement)]

    def start() -> list[Round]:
        caches = tempfile.mkdtemp(dir=folder) if "cold" in job.sizes else folder
        command = bare_import if job.operation == "import" else use
        return launch(command, dict.fromkeys(CACHES, caches))

    return Task(start, times_itself=True)


def measure_first_use(entry: Entry, job: Job) -> Round:
    """Measure the seconds from a contender's import to its first result, without making the data,
    and its memory.
    """
    data.rows(job)
    making = timeit.timeit(lambda: data.rows(job), number=1)
    before = peak_mib()
    start = time.perf_counter()
    contender = entry.load()
    imported = peak_mib()
    task = contender.task(job)
    task.reset()
    task.call()
    seconds = time.perf_counter() - start - making
    memory = {"data_mib": before, "import_mib": imported, "peak_mib": peak_mib()}
    return Round(max(seconds, 1e-6), memory)


def peak_mib() -> float:
    """Peak memory of this process in MiB, without that of the process that started it."""
    if sys.platform == "linux":
        with open("/proc/self/status", encoding="utf-8") as lines:
            return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
    else:
        import psutil

        held = psutil.Process().memory_info()
        return getattr(held, "peak_wset", held.rss) / 2**20


if __name__ == "__main__":
    end_with_parent()
    print(json.dumps([measure_first_use(find_entry(sys.argv[1]), Job(**json.loads(sys.argv[2])))]))
