"""Threads that wait to help: whoever leads a job shares it with those that are awake, and waits for nobody to come.

A job is a C function that several threads run at once, each with a number of its own, and that deals out its work in
pieces to whoever asks. The leader opens the job, works, closes it, and waits for the helpers that came in to leave.
A helper that never comes costs nothing but its help.

Between jobs helpers look out for the next one for about a millisecond, so that epochs driven one by one from Python
find them awake (0.2 us), and then sleep until they are woken (25 us). There is one team in a process. Where it is busy,
a second leader works alone: training in several Python threads at once does not crowd the cores.
"""

import atexit
import ctypes
import os
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any, NamedTuple

from numba import njit, types

from xpnet_numba.llvm import INNER, call, exchange_if, fetch_add, item, load, pause, sched_yield, store
from xpnet_numba.runtime.blas import hold_this_thread
from xpnet_numba.runtime.compiling import c_function

LOOKS = 20_000  # how often a helper looks for a job before it sleeps: about a millisecond
DISMISSED = -1  # stands for the number of a job when none will come
PATIENCE = 4_000  # how often a thread looks for another's result before it offers its core to others

MOST_THREADS = 256
LINE = 8  # int64s: what different threads write lies on different cache lines
OPEN, PRESENT, THREADS, FUNCTION, ARGUMENTS, ASLEEP = (line * LINE for line in range(6))
"""The board, as int64s: the open job's number or 0, helpers inside, what the job is, and whether each helper sleeps."""


@njit(**INNER)
def wait_until(place: Any, goal: Any) -> None:
    """Wait until the counter at an address has reached ``goal``."""
    looks = 0
    while load(place) < goal:
        pause()
        looks += 1
        if looks > PATIENCE:
            sched_yield()


@njit(**INNER)
def close_job(board: Any) -> None:
    """Let no more helpers in, and wait until the last has left."""
    store(item(board, OPEN), 0)
    while load(item(board, PRESENT)) > 0:
        pause()


@njit(**INNER)
def work(board: Any, me: Any) -> None:
    """Call the job's function."""
    a, b = load(item(board, ARGUMENTS)), load(item(board, ARGUMENTS + 1))
    c, d = load(item(board, ARGUMENTS + 2)), load(item(board, ARGUMENTS + 3))
    call(load(item(board, FUNCTION)), (a, b, c, d, me))


def open_job(board: int, number: int) -> int:
    """Let helpers in to job ``number``; returns how many are asleep."""
    store(item(board, OPEN), number)
    sleepers = 0
    for helper in range(1, load(item(board, THREADS))):
        sleepers += load(item(board, ASLEEP + LINE * helper))
    return sleepers


def rouse(board: int, helper: int) -> int:
    """Mark a helper as awake; returns 1 if it was asleep, so that somebody has to wake it."""
    return 1 if exchange_if(item(board, ASLEEP + LINE * helper), 1, 0) else 0


def lead(board: int, me: int) -> int:
    """Work on the open job, then close it."""
    work(board, me)
    close_job(board)
    return 0


def close(board: int, me: int) -> int:
    """Close the job, if it is still open."""
    close_job(board)
    return 0


def attend(board: int, me: int) -> int:
    """Help with one job after the other; return, marked as asleep, when none has come for a while."""
    seen = 0
    while True:
        looks = 0
        while looks < LOOKS:
            number = load(item(board, OPEN))
            if number == DISMISSED:
                return 0
            if number > seen and me < load(item(board, THREADS)):
                fetch_add(item(board, PRESENT), 1)
                # Closed meanwhile, the leader may not have seen us come: then what is written on the board may change.
                if load(item(board, OPEN)) == number:
                    work(board, me)
                fetch_add(item(board, PRESENT), -1)
                seen, looks = number, 0
            pause()
            looks += 1
        store(item(board, ASLEEP + LINE * me), 1)
        # A leader opens its job and then looks for sleepers; this looks in the other order: one of the two notices.
        if load(item(board, OPEN)) <= seen or not exchange_if(item(board, ASLEEP + LINE * me), 1, 0):
            return 0


class Calls(NamedTuple):
    """The compiled functions of a team, as Python calls them; those that may take long let other Python threads run."""

    open_job: Any
    rouse: Any
    lead: Any
    close: Any
    attend: Any


@cache
def _compiled() -> list[Any]:
    signature = types.int64(types.int64, types.int64)
    return [c_function(f, signature) for f in (open_job, rouse, lead, close, attend)]


@cache
def calls() -> Calls:
    """Compiled on first need."""
    pair = (ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)
    short, long = ctypes.PYFUNCTYPE(*pair), ctypes.CFUNCTYPE(*pair)
    return Calls(*(kind(f.address) for kind, f in zip((short, short, long, long, long), _compiled(), strict=True)))


@cache
def job_function(address: int) -> Any:
    """The C function of a job, as Python calls it."""
    return ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 5)(address)


@cache
def _core_function() -> Any:
    """The C library's function that tells on which core its caller runs; None where there is none (not on Linux)."""
    return getattr(ctypes.CDLL(None), "sched_getcpu", None) if hasattr(os, "sched_setaffinity") else None


class Team:
    """One leader at a time, and its helpers: threads of this process, started when first needed."""

    def __init__(self) -> None:
        self._busy, self._number, self._leaders_core = Lock(), 0, -1
        self._helpers: list[Thread] = []
        self._beds: list[SimpleQueue[bool]] = []  # where each helper sleeps; helper 1 is the first
        self._memory = (ctypes.c_int64 * (ASLEEP + MOST_THREADS * LINE))()
        self._board = ctypes.addressof(self._memory)

    def run(self, function: int, arguments: tuple[int, int, int, int], threads: int) -> None:
        """Call ``function(*arguments, thread)`` as thread 0, and as 1 to ``threads`` - 1 where helpers come."""
        if threads == 1 or not self._busy.acquire(blocking=False):
            job_function(function)(*arguments, 0)
            return
        try:
            self._share(function, arguments, min(threads, MOST_THREADS))
        finally:
            self._busy.release()

    def lead_by(self, lead: Callable[..., Any], arguments: tuple[Any, ...], threads: int) -> bool:
        """Let a compiled function open and close a job: ``lead(board, number, threads, *arguments)``.

        For jobs so short that helpers must be awake before and no Python may run between. False if the team is busy.
        """
        if not self._busy.acquire(blocking=False):
            return False
        try:
            threads = min(threads, MOST_THREADS)
            while len(self._beds) < threads - 1:
                self._hire()
            self._number += 1
            self._seat_helpers()
            self._wake(threads)
            lead(self._board, self._number, threads, *arguments)
        finally:
            self._busy.release()
        return True

    def _share(self, function: int, arguments: tuple[int, int, int, int], threads: int) -> None:
        while len(self._beds) < threads - 1:
            self._hire()
        board, call = self._board, calls()
        self._memory[THREADS] = threads
        self._memory[FUNCTION] = function
        self._memory[ARGUMENTS : ARGUMENTS + 4] = list(arguments)
        self._number += 1
        self._seat_helpers()
        try:
            if call.open_job(board, self._number):
                self._wake(threads)
            call.lead(board, 0)
        finally:
            call.close(board, 0)

    def _hire(self) -> None:
        bed: SimpleQueue[bool] = SimpleQueue()
        self._beds.append(bed)
        me = len(self._beds)
        helper = Thread(target=_help, args=(self._board, me, bed, self._memory), name=f"xpnet-{me}", daemon=True)
        self._helpers.append(helper)
        helper.start()
        self._leaders_core = -1

    def _seat_helpers(self) -> None:
        """Keep helpers off the core on which this thread runs now.

        Linux likes to wake a thread beside the one that wakes it, and is slow to part the two while both look busy: in
        one burst of calls out of two they took turns on one core, at half the speed.
        """
        core_function = _core_function()
        core = core_function() if core_function else self._leaders_core
        if core == self._leaders_core:
            return
        self._leaders_core = core
        if others := os.sched_getaffinity(0) - {core}:
            for thread in filter(None, (helper.native_id for helper in self._helpers)):
                # Where a sandbox forbids it, helpers stay where the system puts them.
                with suppress(OSError):
                    os.sched_setaffinity(thread, others)

    def _wake(self, threads: int) -> None:
        for helper, bed in enumerate(self._beds[: threads - 1], start=1):
            if self._memory[ASLEEP + LINE * helper] and calls().rouse(self._board, helper):
                bed.put(True)

    def dismiss(self) -> None:
        """End all helpers: compiled code must not be running when the interpreter takes it down."""
        if self._busy.acquire(blocking=False):
            self._memory[OPEN] = DISMISSED
            for bed, helper in zip(self._beds, self._helpers, strict=True):
                bed.put(False)
                helper.join()


def _help(board: int, me: int, bed: "SimpleQueue[bool]", memory: Any) -> None:
    """What a helper does; ``memory`` keeps the board alive."""
    hold_this_thread()
    attend = calls().attend
    attend(board, me)
    while bed.get():
        attend(board, me)


team = Team()


def _start_afresh() -> None:
    """In the child of a fork: the helpers are not there, and the team may have been busy."""
    global team
    team = Team()


atexit.register(lambda: team.dismiss())
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_afresh)
