"""The process of one contender: it calls the methods of a ``Worker`` that its parent asks for.

``facts`` comes first, then ``prepare`` a job, which warms it up and counts a round's calls, and
``turn``, which makes rounds.
"""

import gc
import os
import sys
import time
from dataclasses import dataclass
from typing import Any, NamedTuple

from xpnet_bench.contenders import Contender, Task, find_entry
from xpnet_bench.contenders.contender import Round
from xpnet_bench.jobs import Job, is_per_process
from xpnet_bench.measure.fresh import fresh_task
from xpnet_bench.measure.pinning import end_with_parent, pin_cores

WARM_SECONDS = 0.1
"""Minimum time of warming up a job: caches and clocks of the processor need it."""


def _pool(library: dict[str, Any]) -> str:
    """``openblas 0.3.31 SkylakeX x2``: a thread pool, the kernels that a BLAS chose, and the number
    of threads.
    """
    kernels = f" {library['architecture']}" if "architecture" in library else ""
    return f"{library['internal_api']} {library.get('version')}{kernels} x{library['num_threads']}"


class ContenderFailed(Exception):
    """A contender cannot do what was asked; the message is the reason."""


class Prepared(NamedTuple):
    """Numbers of a contender's answer to a job, and the number of calls in a round."""

    answer: list[float]
    calls: int


@dataclass
class Worker:
    """One contender, and the job that it is prepared for."""

    name: str
    contender: Contender | None = None
    task: Task | None = None
    job: Job | None = None

    def facts(self) -> dict[str, str]:
        """Versions, the BLAS libraries that are loaded, and the threads that each is held to."""
        from threadpoolctl import threadpool_info

        self.contender = find_entry(self.name).load()
        pools = sorted(set(map(_pool, threadpool_info())))
        return {**self.contender.facts(), "pools": ", ".join(pools)}

    def prepare(self, job: Job, round_seconds: float, folder: str) -> Prepared:
        """Make the job's arrays, call until it is warm, and return the answer and the calls of a
        round. folder : for the caches of new processes
        """
        self.task = None  # frees the arrays of the last job before the next ones are made
        gc.collect()
        self.job = job
        if is_per_process(job):
            task = fresh_task(find_entry(self.name), job, folder)
        else:
            task = self._loaded().task(job)
        self.task = task
        if "cold" in job.sizes:
            return Prepared([], 1)  # a first start would take as long as a round
        task.reset()
        answer = [float(value) for value in task.answer(task.call())]
        seconds = self._warm_up(task)
        return Prepared(answer, 1 if job.single_calls else max(1, round(round_seconds / seconds)))

    def _loaded(self) -> Contender:
        assert self.contender is not None, "`facts` is the first request"
        return self.contender

    def _warm_up(self, task: Task) -> float:
        """Call until caches and clocks are warm (the first call compiled); seconds of the fastest
        call.
        """
        if task.times_itself:
            return 1.0
        fastest, end = float("inf"), time.perf_counter() + WARM_SECONDS
        while fastest == float("inf") or time.perf_counter() < end:
            task.reset()
            fastest = min(fastest, self._loaded().stopwatch(task.call, 1))
        return max(fastest, 1e-9)

    def turn(self, rounds: int, calls: int) -> list[Round]:
        """Make rounds of that many calls each, after an untimed one that fills caches; seconds of a
        unit of the job.
        """
        task, job = self.task, self.job
        assert task is not None and job is not None, "no job is prepared"
        if task.times_itself:
            return [one for _ in range(rounds) for one in task.call()]
        if job.units == 1 or job.suite == "gpu":  # a card that was idle begins slowly
            task.reset()
            task.call()
        return [Round(self._round(task, calls) / job.units) for _ in range(rounds)]

    def _round(self, task: Task, calls: int) -> float:
        task.reset()
        return self._loaded().stopwatch(task.call, calls) / calls


def settle(limit: float = 0.5) -> None:
    """Wait until this process uses no processor time: thread pools spin for a while after their
    work.
    """
    end = time.perf_counter() + limit
    before = time.process_time()
    while time.perf_counter() < end:
        time.sleep(0.004)
        used, before = time.process_time() - before, time.process_time()
        if used < 0.0005:
            return


_workers: list[Worker] = []
"""The worker of this process, if it is that of a contender."""


def begin(name: str, threads: int) -> None:
    """Make this process, which was just started, that of a contender."""
    end_with_parent()
    null = os.open(os.devnull, os.O_WRONLY)
    for output in (sys.stdout, sys.stderr):
        os.dup2(null, output.fileno())
    pin_cores(threads)
    _workers.append(Worker(name))


def answer(do: str, *arguments: Any) -> Any:
    """Call a method of the worker; raises ContenderFailed for any failure, as the race continues
    without the contender.
    """
    (worker,) = _workers
    try:
        return getattr(worker, do)(*arguments)
    except Exception as error:
        worker.task = None
        reason = " ".join(str(error).split())[:300]
        raise ContenderFailed(f"{type(error).__name__}: {reason}") from None
    finally:
        settle()
