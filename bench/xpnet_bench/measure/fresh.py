"""A process that does one thing once: an import, or the first use of a library on a job.

``python -m xpnet_bench.measure.fresh CONTENDER THREADS JOB`` prints JSON. Making the data is not
timed.
"""

import json
import sys
import time
from typing import Any


def peak_mib() -> float:
    """Peak memory of this process in MiB, without that of the process that started it."""
    if sys.platform == "linux":
        with open("/proc/self/status", encoding="utf-8") as lines:
            return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
    import psutil

    held = psutil.Process().memory_info()
    return getattr(held, "peak_wset", held.rss) / 2**20


def measure_import(statement: str) -> dict[str, Any]:
    """Return the seconds and memory of an import into a bare interpreter."""
    start = time.perf_counter()
    exec(statement, {})
    return {"seconds": time.perf_counter() - start, "peak_mib": peak_mib()}


def measure_first_use(name: str, threads: int, description: dict[str, Any]) -> dict[str, Any]:
    """Measure the seconds from a contender's import to its first result, without making the data,
    and its memory.
    """
    from xpnet_bench.contenders import find_entry
    from xpnet_bench.jobs import Job, data
    from xpnet_bench.measure.pinning import pin_cores

    pin_cores(threads)
    job, entry = Job(**description), find_entry(name)
    data.rows(job)
    making = _seconds(lambda: data.rows(job))
    before = peak_mib()
    start = time.perf_counter()
    contender = entry.load()
    imported = peak_mib()
    task = contender.task(job)
    task.reset()
    task.call()
    seconds = time.perf_counter() - start - making
    return {
        "seconds": max(seconds, 1e-6),
        "data_mib": before,
        "import_mib": imported,
        "peak_mib": peak_mib(),
    }


def _seconds(call: Any) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def main() -> None:
    """Measure what the arguments say."""
    name, threads, description = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])
    if description["operation"] == "import":
        result = measure_import(description["data"])
    else:
        result = measure_first_use(name, threads, description)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
