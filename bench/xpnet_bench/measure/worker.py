"""The process of one contender: reads a JSON request a line, does it, answers with a line, and sleeps in between.

Requests: ``facts``; ``prepare`` a job, which warms it up and finds how many calls make a round; ``turn``, some rounds.
Whatever goes wrong is an answer, too: ``{"failed": reason}``.
"""

import gc
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import Any, TextIO

from xpnet_bench.contenders import Task, find_entry
from xpnet_bench.jobs import Job
from xpnet_bench.measure.pinning import end_with_parent, pin_cores

Stopwatch = Callable[[Callable[[], Any], int], float]
WARM_SECONDS = 0.1


def wall_clock(call: Callable[[], Any], calls: int) -> float:
    """Seconds that so many calls take."""
    start = time.perf_counter()
    for _ in range(calls):
        call()
    return time.perf_counter() - start


def _pool(found: dict[str, Any]) -> str:
    """``openblas 0.3.31 SkylakeX x2``: for a BLAS the kernels that it chose, for all the number of threads."""
    kernels = f" {found['architecture']}" if "architecture" in found else ""
    return f"{found['internal_api']} {found.get('version')}{kernels} x{found['num_threads']}"


@dataclass
class Worker:
    """One contender, and the job that it is prepared for."""

    name: str
    task: Task | None = None
    job: Job | None = None
    stopwatch: Stopwatch = wall_clock

    def facts(self) -> dict[str, Any]:
        """Versions, the BLAS libraries that are loaded, and the threads that each is held to."""
        from threadpoolctl import threadpool_info

        entry = find_entry(self.name)
        module = entry.load()
        found = module.facts(entry.variant)
        make = getattr(module, "stopwatch", None)
        self.stopwatch = (make and make(entry.variant)) or wall_clock
        pools = map(_pool, threadpool_info())
        return {"facts": {**found, "pools": ", ".join(sorted(set(pools)))}}

    def prepare(self, job: dict[str, Any], round_seconds: float) -> dict[str, Any]:
        """Make the job's arrays, call until it is warm, and say what came out and how long a call takes."""
        self.task = None  # the last job's arrays go before the next ones come
        gc.collect()
        self.job = Job(**job)
        operation = find_entry(self.name).operation(self.job.operation)
        if operation is None:
            return {"failed": "has no such operation"}
        self.task = task = operation(self.job)
        task.reset()
        answer = [float(value) for value in task.answer(task.call())]
        seconds = self._warm_up(task)
        calls = 1 if self.job.single_calls else max(1, round(round_seconds / seconds))
        return {"answer": answer, "seconds": seconds, "calls": calls}

    def _warm_up(self, task: Task) -> float:
        """Call until caches and clocks are warm (the first call compiled); seconds of the quickest call."""
        if self.job is not None and self.job.operation == "accuracy":
            return 1.0
        quickest, end = float("inf"), time.perf_counter() + WARM_SECONDS
        while quickest == float("inf") or time.perf_counter() < end:
            task.reset()
            quickest = min(quickest, self.stopwatch(task.call, 1))
        return max(quickest, 1e-9)

    def turn(self, rounds: int, calls: int) -> dict[str, Any]:
        """Rounds of that many calls each, after an untimed one that brings caches back; seconds a unit of the job."""
        task, job = self.task, self.job
        if task is None or job is None:
            return {"failed": "no job is prepared"}
        if job.operation == "accuracy":
            return _reach_accuracy(task, rounds)
        if job.counted:
            return _count_calls(task, find_entry(self.name).packages)
        if job.units == 1 or job.suite == "gpu":  # a card that was idle begins slowly
            task.reset()
            task.call()
        return {"seconds": [self._round(task, calls) / job.units for _ in range(rounds)]}

    def _round(self, task: Task, calls: int) -> float:
        task.reset()
        return self.stopwatch(task.call, calls) / calls


def _reach_accuracy(task: Task, rounds: int) -> dict[str, Any]:
    reached = [task.call() for _ in range(rounds)]
    return {
        "seconds": [r.seconds for r in reached],
        "notes": [{"epochs": r.epochs, "accuracy": r.accuracy} for r in reached],
    }


def _count_calls(task: Task, packages: tuple[str, ...]) -> dict[str, Any]:
    """Python functions that one call runs through in this thread, those of the contender's own packages apart."""
    modules: list[str] = []

    def note(frame: FrameType, event: str, argument: Any) -> None:
        if event == "call":
            modules.append(frame.f_globals.get("__name__", "").partition(".")[0])

    task.reset()
    start = time.perf_counter()
    sys.setprofile(note)
    try:
        task.call()
    finally:
        sys.setprofile(None)
    notes = {"calls": len(modules), "own": sum(module in packages for module in modules)}
    return {"seconds": [time.perf_counter() - start], "notes": [notes]}


def settle(limit: float = 0.5) -> None:
    """Wait until this process uses no more processor time: thread pools spin for a while after their work."""
    end = time.perf_counter() + limit
    before = time.process_time()
    while time.perf_counter() < end:
        time.sleep(0.004)
        used, before = time.process_time() - before, time.process_time()
        if used < 0.0005:
            return


def serve(worker: Worker, requests: TextIO, answers: TextIO) -> None:
    """Answer requests until there are no more."""
    for line in requests:
        request = json.loads(line)
        try:
            answer = getattr(worker, request.pop("do"))(**request)
        except Exception as error:  # a contender may fail in any way; the race goes on without it
            worker.task = None
            answer = {"failed": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}
        settle()
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def main() -> None:
    """``python -m xpnet_bench.measure.worker CONTENDER THREADS``."""
    end_with_parent()
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(
        sys.stderr.fileno(), sys.stdout.fileno()
    )  # what libraries print must not mix with the answers
    pin_cores(int(sys.argv[2]))
    serve(Worker(sys.argv[1]), sys.stdin, answers)


if __name__ == "__main__":
    main()
