"""A race: all contenders on one job, a few rounds each, over and over, so that a slow minute slows all of them."""

import time
from dataclasses import dataclass, field
from typing import Any

import numpy
import psutil

from xpnet_bench.contenders import ENTRIES, missing
from xpnet_bench.jobs import Job
from xpnet_bench.measure.process import ContenderFailed, ContenderProcess

REFERENCE = "numpy"
"""Whose answers the others are held to: the formulas written out."""


LEAST_TURNS = 3


@dataclass(frozen=True)
class Effort:
    """How much is measured.

    turns : how often each contender has its turn
    rounds : timed rounds a turn
    round_seconds : calls are repeated until a round lasts so long
    single_calls : rounds a turn where each call is timed alone
    whole_runs : rounds where a round is a whole training
    job_seconds : no more turns are given once a job has taken so long and everybody had three
    """

    turns: int
    rounds: int
    round_seconds: float
    single_calls: int
    whole_runs: int
    job_seconds: float

    @classmethod
    def of(cls, quick: bool) -> "Effort":
        """A short run, or a thorough one."""
        return cls(6, 2, 0.004, 100, 1, 3.0) if quick else cls(12, 3, 0.01, 250, 3, 30.0)


@dataclass
class Lane:
    """What one contender did on one job.

    seconds : one entry a round, for one unit of the job
    calls : calls a round
    failed : why there are no times, "" where there are
    busy, available : processor seconds that others used while this contender had its turns, and that there were
    """

    contender: str
    seconds: list[float] = field(default_factory=list)
    calls: int = 1
    answer: list[float] = field(default_factory=list)
    notes: list[Any] = field(default_factory=list)
    failed: str = ""
    busy: float = 0.0
    available: float = 0.0

    @property
    def others(self) -> float:
        """Share of the processors that other processes used during the turns, which single-threaded peers feel less."""
        return max(0.0, self.busy) / self.available if self.available else 0.0


class Team:
    """The processes of all contenders that take part, for one number of threads; started when first needed."""

    def __init__(self, names: list[str], threads: int) -> None:
        self.threads = threads
        self.absent: dict[str, str] = {}
        self._names = names
        self._running: dict[str, ContenderProcess] = {}

    def members(self) -> dict[str, ContenderProcess]:
        """The running contenders by name; why one does not run is kept in ``absent``."""
        for name in self._names:
            if name not in self._running and name not in self.absent:
                self._start(name)
        return self._running

    def _start(self, name: str) -> None:
        entry = next(entry for entry in ENTRIES if entry.name == name)
        if reason := missing(entry):
            self.absent[name] = reason
            return
        try:
            self._running[name] = ContenderProcess(name, self.threads)
        except ContenderFailed as failure:
            self.absent[name] = str(failure)

    def close(self) -> None:
        """End all processes."""
        for process in self._running.values():
            process.close()
        self._running.clear()


def race(team: Team, job: Job, effort: Effort) -> dict[str, Lane]:
    """Prepare everybody, then give turns, each time beginning with another contender; lanes by contender."""
    members = team.members()
    lanes = {name: _prepare(process, job, effort) for name, process in members.items()}
    _hold_to_answer(lanes, job)
    runners = [name for name, lane in lanes.items() if not lane.failed]
    turns, rounds = _shares(job, effort)
    end = time.monotonic() + effort.job_seconds
    for turn in range(turns if runners else 0):
        if turn >= LEAST_TURNS and time.monotonic() > end:
            break
        first = turn % len(runners)
        for name in runners[first:] + runners[:first]:
            _take_turn(members[name], lanes[name], rounds)
    absent = {name: Lane(name, failed=reason) for name, reason in team.absent.items()}
    return {**lanes, **absent}


def _shares(job: Job, effort: Effort) -> tuple[int, int]:
    """Turns, and rounds a turn."""
    if job.operation == "accuracy":
        return effort.whole_runs, 1
    if job.single_calls:
        return effort.turns, effort.single_calls
    return effort.turns, effort.rounds if job.units == 1 else 1


def _prepare(process: ContenderProcess, job: Job, effort: Effort) -> Lane:
    lane = Lane(process.name)
    try:
        ready = process.ask("prepare", job=job.to_json(), round_seconds=effort.round_seconds)
        lane.answer, lane.calls = ready["answer"], ready["calls"]
    except ContenderFailed as failure:
        lane.failed = str(failure)
    return lane


def _take_turn(process: ContenderProcess, lane: Lane, rounds: int) -> None:
    if lane.failed:
        return
    before = _processor_seconds(process)
    try:
        answer = process.ask("turn", rounds=rounds, calls=lane.calls)
    except ContenderFailed as failure:
        lane.failed = str(failure)
        return
    lane.seconds += answer["seconds"]
    lane.notes += answer.get("notes", [])
    everybody, own, available = numpy.subtract(_processor_seconds(process), before)
    lane.busy, lane.available = lane.busy + everybody - own, lane.available + available


def _processor_seconds(process: ContenderProcess) -> tuple[float, float, float]:
    """So far: used by everybody, used by a contender and by us, and available since the system started."""
    total = psutil.cpu_times()
    idle = total.idle + getattr(total, "iowait", 0.0)
    mine = psutil.Process().cpu_times()
    return sum(total) - idle, process.processor_seconds() + mine.user + mine.system, sum(total)


def _hold_to_answer(lanes: dict[str, Lane], job: Job) -> None:
    """A contender that computes something else is not in the race."""
    reference = lanes.get(REFERENCE)
    if reference is None or reference.failed:
        return
    for lane in lanes.values():
        if not lane.failed and lane.answer and not agree(lane.answer, reference.answer, job):
            lane.failed = f"its answer differs: {lane.answer[:3]} where {reference.answer[:3]} is right"


def agree(answer: list[float], reference: list[float], job: Job) -> bool:
    """Whether two answers are the same within rounding; for shuffled training, within what the order changes."""
    if job.operation == "accuracy":
        return True  # the accuracy reached is reported itself
    relative = {"float32": 1e-4, "float64": 1e-8}[job.dtype]
    if job.operation == "train":  # scikit-learn's Adam has epsilon at another place
        relative = 0.3 if job.sizes["batch"] < job.sizes["rows"] else 1e-6
    absolute = 2e-3 if relative == 0.3 else relative / 100
    return len(answer) == len(reference) and bool(numpy.allclose(answer, reference, rtol=relative, atol=absolute))
