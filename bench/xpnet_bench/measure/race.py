"""A race: all contenders on one job, a few rounds each in turn, so that a slow minute slows all of
them.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy
import psutil

from xpnet_bench.contenders import find_entry, missing
from xpnet_bench.jobs import Job, is_per_process
from xpnet_bench.measure.process import ContenderProcess
from xpnet_bench.measure.worker import ContenderFailed

REFERENCES = ("numpy", "scikit-learn", "torch-cuda")
"""Contenders whose answers are right: the formulas written out; scikit-learn's estimators; on a GPU
eager PyTorch.
"""

MIN_TURNS = 3
"""Minimum number of turns of each contender, however long a job takes."""

OUT_OF_TIME = "the time of a quick run was over"


@dataclass(frozen=True)
class Effort:
    """The number and the duration of turns and rounds.

    turns : how often each contender has its turn
    rounds : timed rounds a turn
    round_seconds : minimum duration of a round, for which calls are repeated
    single_calls : rounds a turn where each call is timed alone
    whole_runs : rounds where a round is a whole training or a new process
    job_seconds : time after which a job gets no more turns, if each contender had three
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
        return cls(6, 2, 0.004, 100, 1, 3.0) if quick else cls(12, 3, 0.01, 250, 5, 30.0)


@dataclass
class Lane:
    """The measurements of one contender on one job.

    seconds : one entry a round, for one unit of the job
    calls : calls a round; turns : turns that the rounds were taken in
    failed : why there are no times; "" if there are
    busy, available : processor seconds during the turns of this contender: used by other processes,
        and in total
    """

    contender: str
    seconds: list[float] = field(default_factory=list)
    calls: int = 1
    turns: int = 0
    answer: list[float] = field(default_factory=list)
    notes: list[Any] = field(default_factory=list)
    failed: str = ""
    busy: float = 0.0
    available: float = 0.0

    @property
    def others(self) -> float:
        """Share of the processors that other processes used during the turns."""
        return max(0.0, self.busy) / self.available if self.available else 0.0


class Team:
    """The processes of contenders, for one number of threads; started when first needed."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.absent: dict[str, str] = {}
        self.running: dict[str, ContenderProcess] = {}

    def members(self, names: Sequence[str]) -> dict[str, ContenderProcess]:
        """Return the named contenders that run; ``absent`` says why another does not."""
        for name in names:
            if name not in self.running and name not in self.absent:
                self._start(name)
        return {name: self.running[name] for name in names if name in self.running}

    def _start(self, name: str) -> None:
        if reason := missing(find_entry(name)):
            self.absent[name] = reason
            return
        try:
            self.running[name] = ContenderProcess(name, self.threads)
        except ContenderFailed as failure:
            self.absent[name] = str(failure)

    def facts(self) -> dict[str, dict[str, str]]:
        """Collect the versions of each contender that runs."""
        return {name: process.facts for name, process in self.running.items()}

    def close(self) -> None:
        """End all processes."""
        for process in self.running.values():
            process.close()
        self.running.clear()


def race(
    team: Team, names: Sequence[str], job: Job, effort: Effort, end: float = float("inf")
) -> dict[str, Lane]:
    """Prepare all contenders, then give turns, each time beginning with another one; return lanes
    by contender.

    end : time of ``time.monotonic`` after which no turn begins
    """
    members = team.members(names)
    lanes = {name: _prepare(process, job, effort, end) for name, process in members.items()}
    _hold_to_answer(lanes, job)
    runners = [name for name, lane in lanes.items() if not lane.failed]
    turns, rounds = _shares(job, effort)
    enough = time.monotonic() + effort.job_seconds
    for turn in range(turns if runners else 0):
        if turn >= MIN_TURNS and time.monotonic() > enough:
            break
        first = turn % len(runners)
        for name in runners[first:] + runners[:first]:
            if time.monotonic() < end:
                _take_turn(members[name], lanes[name], rounds)
    for lane in lanes.values():
        lane.failed = lane.failed or ("" if lane.seconds else OUT_OF_TIME)
    absent = {name: Lane(name, failed=team.absent[name]) for name in names if name in team.absent}
    return {**lanes, **absent}


def _shares(job: Job, effort: Effort) -> tuple[int, int]:
    """Turns, and rounds a turn."""
    if is_per_process(job) or job.operation == "accuracy":
        return effort.whole_runs, 1
    if job.single_calls:
        return effort.turns, effort.single_calls
    return effort.turns, effort.rounds if job.units == 1 else 1


def _prepare(process: ContenderProcess, job: Job, effort: Effort, end: float) -> Lane:
    if time.monotonic() > end:
        return Lane(process.name, failed=OUT_OF_TIME)
    lane = Lane(process.name)
    try:
        folder = process.folder.name
        lane.answer, lane.calls = process.ask("prepare", job, effort.round_seconds, folder)
    except ContenderFailed as failure:
        lane.failed = str(failure)
    return lane


def _take_turn(process: ContenderProcess, lane: Lane, rounds: int) -> None:
    if lane.failed:
        return
    before = _processor_seconds(process)
    try:
        measured = process.ask("turn", rounds, lane.calls)
    except ContenderFailed as failure:
        lane.failed = str(failure)
        return
    lane.seconds += [one.seconds for one in measured]
    lane.turns += 1
    lane.notes += [one.note for one in measured if one.note]
    all_used, own, available = numpy.subtract(_processor_seconds(process), before)
    lane.busy, lane.available = lane.busy + all_used - own, lane.available + available


def _processor_seconds(process: ContenderProcess) -> tuple[float, float, float]:
    """Processor seconds since the start: of all processes, of a contender and this process, and in
    total.
    """
    total = psutil.cpu_times()
    idle = total.idle + getattr(total, "iowait", 0.0)
    mine = psutil.Process().cpu_times()
    return sum(total) - idle, process.processor_seconds() + mine.user + mine.system, sum(total)


def _hold_to_answer(lanes: dict[str, Lane], job: Job) -> None:
    """A contender with another answer leaves the race."""
    references = [lanes[name] for name in REFERENCES if name in lanes and not lanes[name].failed]
    if not references:
        return
    reference = references[0]
    for lane in lanes.values():
        if not lane.failed and lane.answer and not agree(lane.answer, reference.answer, job):
            lane.failed = (
                f"its answer differs: {lane.answer[:3]} where {reference.answer[:3]} is right"
            )


def agree(answer: list[float], reference: list[float], job: Job) -> bool:
    """Return whether two answers agree within rounding; for shuffled training, within what the
    order changes.
    """
    if job.operation.startswith("fit"):  # many steps magnify rounding
        return len(answer) == len(reference) and bool(numpy.allclose(answer, reference, rtol=0.02))
    relative = {"float32": 1e-4, "float64": 1e-8}[job.dtype]
    if job.operation == "train":  # scikit-learn's Adam adds epsilon elsewhere
        relative = 0.3 if job.sizes["batch"] < job.sizes["rows"] else 1e-6
    absolute = 2e-3 if relative == 0.3 else relative / 100
    return len(answer) == len(reference) and bool(
        numpy.allclose(answer, reference, rtol=relative, atol=absolute)
    )
