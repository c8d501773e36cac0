"""The team: threads that wait for work, and the one way in which work is shared among them.

A *job* is a C function and the address of what it works on. Every thread that joins calls the function, with a number
of its own; inside, the work is cut into pieces, and whoever comes claims the next piece that is free. How work is cut
never depends on who does it, so that the bits are the same for any number of threads, and a thread that comes late, or
never, is not waited for.

The leader, a Python thread that calls compiled code, opens the job, works on it like the others, closes it, and waits
until those that joined have left. Its workers look out for the next job for about a millisecond, so that calls in a row
find them awake, and then sleep until they are woken, which takes far longer. There is one team in a process. Where it
is busy, a second leader works alone: training in several Python threads at once does not crowd the cores.
"""

import atexit
import ctypes
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any

from numba import types

from xpnet_numba.kinds import Address
from xpnet_numba.llvm.emit import INNER, njit
from xpnet_numba.llvm.memory import (
    call,
    exchange_if,
    fetch_add,
    item,
    load,
    pause,
    sched_yield,
    store,
)
from xpnet_numba.runtime.blas import BLAS, hold_this_thread, products_that_may_run
from xpnet_numba.runtime.compiling import python_function

LOOKS = 20_000
"""How often a worker looks for a job before it sleeps. More finds it awake after longer pauses, and burns its core
longer.
"""

PATIENCE = 4_000
"""How often a thread looks for another's result before it offers its core to others: fewer would give cores away in
waits that are short, more would hold up the other where there are more threads than cores."""

DISMISSED = -1
"""Stands for the number of a job when none will come."""

MOST_THREADS = 256

LINE = 8  # int64s: what different threads write lies on different cache lines
OPEN, PRESENT, THREADS, JOB, ASLEEP = (line * LINE for line in range(5))
"""The board, as int64s: the open job's number or 0; workers inside; for how many threads the job is; its function and
address; and for each worker whether it sleeps."""


@njit(**INNER)
def share(board: Address, number: int, threads: int, function: Address, job: Address) -> None:
    """Work on a job as thread 0, and let workers join; returns when all have left. With one thread the board is not
    read.
    """
    if threads > 1:
        store(item(board, THREADS), threads)
        store(item(board, JOB), function)
        store(item(board, JOB + 1), job)
        store(item(board, OPEN), number)
    call(function, (job, 0))
    if threads > 1:
        store(item(board, OPEN), 0)
        while load(item(board, PRESENT)) > 0:
            pause()


@njit(**INNER)
def claim(claims: Address, piece: int, turn: int) -> bool:
    """Claim a piece of the work; return whether it was still free in this turn.

    claims : address of an int64 for each piece, 0 at first; turn : how many turns went before, in a job of several
    """
    free = item(claims, piece)
    return load(free) == turn and exchange_if(free, turn, turn + 1)


@njit(**INNER)
def wait_until(place: Address, goal: int) -> None:
    """Wait until the counter at an address has reached ``goal``."""
    looks = 0
    while load(place) < goal:
        pause()
        looks += 1
        if looks > PATIENCE:
            sched_yield()


def attend(board: Address, me: int) -> None:
    """Join one job after the other; return, marked as asleep, when none has come for a while."""
    seen = 0
    while True:
        looks = 0
        while looks < LOOKS:
            number = load(item(board, OPEN))
            if number == DISMISSED:
                return
            if number > seen and me < load(item(board, THREADS)):
                fetch_add(item(board, PRESENT), 1)
                # Closed meanwhile, the leader may not have seen us come: then what is written on the board may change.
                if load(item(board, OPEN)) == number:
                    call(load(item(board, JOB)), (load(item(board, JOB + 1)), me))
                fetch_add(item(board, PRESENT), -1)
                seen, looks = number, 0
            pause()
            looks += 1
        store(item(board, ASLEEP + LINE * me), 1)
        # A job that was opened meanwhile is joined after all. One that opens after this look goes without this worker.
        if load(item(board, OPEN)) <= seen or not exchange_if(
            item(board, ASLEEP + LINE * me), 1, 0
        ):
            return


entry = cache(python_function)
"""A compiled function as Python calls it, made once."""


def attend_entry() -> Any:
    """Return :func:`attend` as Python calls it, compiled on first need; other Python threads run meanwhile."""
    return entry(attend, types.void(types.int64, types.int64))


@cache
def share_entry() -> Any:
    """Return the function for :meth:`Team.lead`: ``team.lead(share_entry(), threads, function, job)``."""
    return entry(share, types.void(*[types.int64] * 5))


_core_function: Any = (
    getattr(ctypes.CDLL(None), "sched_getcpu", None) if sys.platform == "linux" else None
)
"""The C library's function that tells on which core its caller runs; None where there is none."""


class Team:
    """One leader at a time, and its workers: threads of this process, started when first needed."""

    def __init__(self) -> None:
        self._busy, self._number, self._leaders_core = Lock(), 0, -1
        self._workers: list[
            tuple[Thread, SimpleQueue[bool]]
        ] = []  # and by what each is woken; worker 1 is the first
        self._memory = (ctypes.c_int64 * (ASLEEP + MOST_THREADS * LINE))()
        self._board = ctypes.addressof(self._memory)

    def lead(self, entry: Callable[..., None], threads: int, *arguments: Any) -> None:
        """Run ``entry(board, number, threads, *arguments)``, compiled code that calls :func:`share`.

        With one thread, and where another leader has the team, it runs alone.
        """
        if threads == 1 or not self._busy.acquire(blocking=False):
            entry(0, 0, 1, *arguments)
            return
        try:
            threads = self._ready(min(threads, MOST_THREADS))
            entry(self._board, self._number, threads, *arguments)
        finally:
            self._busy.release()

    def _ready(self, threads: int) -> int:
        """Have workers awake for the next job; returns for how many threads there are."""
        while len(self._workers) < threads - 1 and self._hire():
            pass
        self._number += 1
        if _core_function and (core := _core_function()) != self._leaders_core:
            self._keep_workers_off(core)
        asleep = ASLEEP + LINE
        for _, signal in self._workers[: threads - 1]:
            if self._memory[asleep]:
                # No job is open now. A worker that has woken for the last one is told once more than it needs.
                self._memory[asleep] = 0
                signal.put(True)
            asleep += LINE
        return min(threads, len(self._workers) + 1)

    def _hire(self) -> bool:
        """One more worker, unless the system allows no more threads."""
        signal: SimpleQueue[bool] = SimpleQueue()
        me = len(self._workers) + 1
        worker = Thread(
            target=_attend,
            args=(self._board, me, signal, self._memory),
            name=f"xpnet-{me}",
            daemon=True,
        )
        try:
            worker.start()
        except RuntimeError:
            return False
        self._workers.append((worker, signal))
        self._leaders_core = -1
        return True

    def _keep_workers_off(self, core: int) -> None:
        """Keep them off the leader's core. Linux likes to wake a thread beside the one that wakes it, and is slow to
        part the two while both look busy: they would take turns on one core.
        """
        self._leaders_core = core
        if sys.platform == "linux" and (others := os.sched_getaffinity(0) - {core}):
            for worker, _ in self._workers:
                # Where a sandbox forbids it, workers stay where the system puts them.
                if worker.native_id:
                    with suppress(OSError):
                        os.sched_setaffinity(worker.native_id, others)

    def dismiss(self) -> None:
        """End all workers: compiled code must not be running when the interpreter takes it down."""
        if self._busy.acquire(blocking=False):
            self._memory[OPEN] = DISMISSED
            for worker, signal in self._workers:
                signal.put(False)
                worker.join()


def _attend(board: Address, me: int, signal: "SimpleQueue[bool]", memory: Any) -> None:
    """Work for the team until it ends; ``memory`` keeps the board alive."""
    if BLAS in products_that_may_run():
        hold_this_thread()
    join_jobs = attend_entry()
    join_jobs(board, me)
    while signal.get():
        join_jobs(board, me)


team = Team()


def _start_afresh() -> None:
    """In the child of a fork: the workers are not there, and the team may have been busy."""
    global team
    team = Team()


atexit.register(lambda: team.dismiss())
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_afresh)
