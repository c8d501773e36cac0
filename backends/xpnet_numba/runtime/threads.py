"""The team: threads that wait for work, and the protocol by which they share it.

A *job* is a C function and the address of its data. Every thread that joins calls the function with
its own number. The work is cut into pieces, and each thread claims the next free piece. The cut
never depends on the threads, so that the bits are the same for any number of threads. No thread
waits for one that joins late or never.

The leader, a Python thread that calls compiled code, opens the job, works on it like the others,
closes it, and waits until the threads that joined have left. Its workers poll for the next job for
about a millisecond, so that they are awake for successive calls. Then they sleep until they are
woken, which takes far longer. There is one team in a process. If it is busy, a second leader works
alone, so that training in several Python threads does not overload the cores.
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
"""Number of times that a worker polls for a job before it sleeps. A larger number keeps it awake
for longer, and keeps its core busy for longer.
"""

PATIENCE = 4_000
"""Number of times that a thread polls for another's result before it yields its core. A smaller
number would yield cores in short waits, a larger one would delay the other thread if there are more
threads than cores.
"""

DISMISSED = -1
"""Number in place of a job's when no more jobs will come."""

MAX_THREADS = 256

LINE = 8  # int64s: different threads write to different cache lines
OPEN, PRESENT, THREADS, JOB, ASLEEP = (line * LINE for line in range(5))
"""Positions in the board, an array of int64s: the open job's number or 0; the number of workers
inside; the job's number of threads; its function and address; and for each worker whether it
sleeps.
"""


@njit(**INNER)
def share(board: Address, number: int, threads: int, function: Address, job: Address) -> None:
    """Work on a job as thread 0, and let workers join; return when all have left. With one thread
    the board is not used.
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

    claims : address of an int64 for each piece, 0 at first
    turn : number of earlier turns, in a job that claims each piece several times
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
    """Join one job after the other; return, marked as asleep, after a while without a job."""
    seen = 0
    while True:
        looks = 0
        while looks < LOOKS:
            number = load(item(board, OPEN))
            if number == DISMISSED:
                return
            if number > seen and me < load(item(board, THREADS)):
                fetch_add(item(board, PRESENT), 1)
                # If the job was closed meanwhile, the leader may not have seen this thread, and the
                # board may change.
                if load(item(board, OPEN)) == number:
                    call(load(item(board, JOB)), (load(item(board, JOB + 1)), me))
                fetch_add(item(board, PRESENT), -1)
                seen, looks = number, 0
            pause()
            looks += 1
        store(item(board, ASLEEP + LINE * me), 1)
        # A job that was opened meanwhile is still joined. A job that opens after this check runs
        # without this worker.
        if load(item(board, OPEN)) <= seen or not exchange_if(
            item(board, ASLEEP + LINE * me), 1, 0
        ):
            return


entry = cache(python_function)
"""A compiled function as Python calls it, compiled once."""


def attend_entry() -> Callable[[Address, int], None]:
    """Return :func:`attend` as Python calls it, compiled at first use; other Python threads run
    meanwhile.
    """
    return entry(attend, types.void(types.int64, types.int64))


@cache
def share_entry() -> Callable[..., None]:
    """Return the function for :meth:`Team.lead`: ``team.lead(share_entry(), threads, function,
    job)``.
    """
    return entry(share, types.void(*[types.int64] * 5))


_core_function: Callable[[], int] | None = (
    getattr(ctypes.CDLL(None), "sched_getcpu", None) if sys.platform == "linux" else None
)
"""The C library's function that returns the core of its caller; None if there is none."""


class Team:
    """One leader at a time, and its workers: threads of this process, started when first needed."""

    def __init__(self) -> None:
        self._busy, self._number, self._leaders_core = Lock(), 0, -1
        self._workers: list[
            tuple[Thread, SimpleQueue[bool]]
        ] = []  # each with the queue that wakes it; the first is worker 1
        self._memory = (ctypes.c_int64 * (ASLEEP + MAX_THREADS * LINE))()
        self._board = ctypes.addressof(self._memory)

    def lead(self, entry: Callable[..., None], threads: int, *arguments: object) -> None:
        """Run ``entry(board, number, threads, *arguments)``, compiled code that calls
        :func:`share`.

        With one thread, or if another leader has the team, it runs alone.
        """
        if threads == 1 or not self._busy.acquire(blocking=False):
            entry(0, 0, 1, *arguments)
            return
        try:
            threads = self._ready(min(threads, MAX_THREADS))
            entry(self._board, self._number, threads, *arguments)
        finally:
            self._busy.release()

    def _ready(self, threads: int) -> int:
        """Wake workers for the next job; return the number of threads."""
        while len(self._workers) < threads - 1 and self._hire():
            pass
        self._number += 1
        if _core_function and (core := _core_function()) != self._leaders_core:
            self._keep_workers_off(core)
        asleep = ASLEEP + LINE
        for _, signal in self._workers[: threads - 1]:
            if self._memory[asleep]:
                # No job is open now. A worker that is still awake from the last job gets a signal
                # that it does not need.
                self._memory[asleep] = 0
                signal.put(True)
            asleep += LINE
        return min(threads, len(self._workers) + 1)

    def _hire(self) -> bool:
        """Start one more worker; return False if the system allows no more threads."""
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
        """Keep workers off the leader's core. Linux often wakes a thread on the core of the thread
        that wakes it, and is slow to move one of the two while both are busy: they would take turns
        on one core.
        """
        self._leaders_core = core
        if sys.platform == "linux" and (others := os.sched_getaffinity(0) - {core}):
            for worker, _ in self._workers:
                # If a sandbox forbids it, the system chooses the cores of workers.
                if worker.native_id:
                    with suppress(OSError):
                        os.sched_setaffinity(worker.native_id, others)

    def dismiss(self) -> None:
        """End all workers: no compiled code may run when the interpreter frees it."""
        if self._busy.acquire(blocking=False):
            self._memory[OPEN] = DISMISSED
            for worker, signal in self._workers:
                signal.put(False)
                worker.join()


def _attend(board: Address, me: int, signal: "SimpleQueue[bool]", memory: object) -> None:
    """Work for the team until it ends; ``memory`` keeps the board alive."""
    if BLAS in products_that_may_run():
        hold_this_thread()
    join_jobs = attend_entry()
    join_jobs(board, me)
    while signal.get():
        join_jobs(board, me)


team = Team()


def _start_afresh() -> None:
    """Create a team in the child of a fork, which lacks the workers; the old one may be busy."""
    global team
    team = Team()


atexit.register(lambda: team.dismiss())
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_afresh)
