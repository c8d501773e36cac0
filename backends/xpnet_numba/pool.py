"""Threads for kernels: the rows of a job are cut into chunks, and whoever is there claims the next one.

The calling thread publishes a job in a small block of memory, works on it, and waits for the chunks that helpers have
claimed meanwhile. Helpers wait for the next job in a loop of their own, outside the interpreter's lock, for a moment,
then sleep until they are woken. No job depends on a helper: one that is late finds nothing left to do. So a forked
process, which has no helpers until it makes its own, a second caller, who finds the helpers taken, and a process with a
single thread all do the same work in the same chunks, and with the same bits.
"""

import atexit
import os
import queue
import threading
from functools import cache
from typing import Any

import numpy
from numba import carray, njit, types

from xpnet.backend import get_threads
from xpnet_numba.compiling import python_function
from xpnet_numba.machine import call, fetch_add, load, pause, pointer, store

SPINS = 4000
"""How often a helper looks for the next job before it sleeps: about 0.2 ms, ten times what waking it costs."""

# The block all threads share, as bytes from its start: whether a job is open, helpers at work, where the job is, helpers welcome.
# What different threads write is a cache line apart.
OPEN, ACTIVE, JOB, WELCOME, SHARED_SIZE = 0, 64, 128, 136, 192

# A job, as items of an int64 array: its C function and what that receives, how the rows are cut, the number of parts,
# and for each part, a cache line from the next, the next chunk to be claimed.
FUNCTION, A, B, C, D, INDEX, NUMBERS, COLUMNS, ROWS, ROWS_PER_CHUNK, PARTS, NEXT, LINE = *range(11), 16, 8


@njit
def _take_part(at: int, me: int) -> None:
    """Claim chunk after chunk, of one's own part first and then of what others left, until none is left.

    A part is a stretch of chunks: from call to call a thread meets the same addresses, which its cache still holds.
    """
    job = carray(pointer(at, types.int64), NEXT)
    chunks = -(-job[ROWS] // job[ROWS_PER_CHUNK])
    for turn in range(job[PARTS]):
        part = (me + turn) % job[PARTS]
        begin, end = part * chunks // job[PARTS], (part + 1) * chunks // job[PARTS]
        claims = at + 8 * (NEXT + part * LINE)
        chunk = begin + fetch_add(claims, 1)
        while chunk < end:
            _run_chunk(job, chunk)
            chunk = begin + fetch_add(claims, 1)


@njit
def _run_chunk(job: Any, chunk: int) -> None:
    first = chunk * job[ROWS_PER_CHUNK]
    count = min(job[ROWS_PER_CHUNK], job[ROWS] - first)
    data = job[A], job[B], job[C], job[D], job[INDEX], job[NUMBERS]
    call(job[FUNCTION], (*data, job[COLUMNS], first, count, chunk))


def _lead(
    shared: Any,
    helpers: Any,
    function: Any,
    a: Any,
    b: Any,
    c: Any,
    d: Any,
    index: Any,
    numbers: Any,
    columns: Any,
    rows: Any,
    rows_per_chunk: Any,
) -> None:
    """Run a job, with as many helpers as are welcome and awake."""
    parts = helpers + 1
    job = numpy.zeros(NEXT + parts * LINE, numpy.int64)
    job[FUNCTION] = function
    job[A], job[B], job[C], job[D] = a.ctypes.data, b.ctypes.data, c.ctypes.data, d.ctypes.data
    job[INDEX], job[NUMBERS] = index.ctypes.data, numbers.ctypes.data
    job[COLUMNS], job[ROWS], job[ROWS_PER_CHUNK], job[PARTS] = columns, rows, rows_per_chunk, parts
    if helpers == 0:
        for chunk in range(-(-rows // rows_per_chunk)):
            _run_chunk(job, chunk)
        return
    store(shared + JOB, job.ctypes.data)
    store(shared + WELCOME, helpers)
    store(shared + OPEN, 1)
    _take_part(job.ctypes.data, 0)
    store(shared + OPEN, 0)
    while load(shared + ACTIVE):
        pause()
    job[0] = 0  # Numba frees an array after its last use, which must come after the last use of its address.


def _assist(shared: Any, number: Any, spins: Any) -> None:
    """Take part in every job that welcomes helper ``number``, until none has come for ``spins`` looks."""
    looks = 0
    while looks < spins:
        looks += 1
        if load(shared + OPEN) and number < load(shared + WELCOME):
            # The caller closes the job first and then waits for ACTIVE: who still finds it open is waited for.
            fetch_add(shared + ACTIVE, 1)
            if load(shared + OPEN):
                _take_part(load(shared + JOB), number + 1)
                looks = 0
            fetch_add(shared + ACTIVE, -1)
        pause()


@cache
def _lead_for(dtype: numpy.dtype) -> Any:
    array = types.Array(getattr(types, dtype.name), 2, "C", readonly=True)
    index, numbers = types.Array(types.int64, 1, "C", readonly=True), types.Array(types.float64, 1, "C", readonly=True)
    number = types.int64
    return python_function(_lead, types.void(*[number] * 3, *[array] * 4, index, numbers, *[number] * 3))


class Pool:
    """Helper threads of this process. Each is made when it is first welcome, and ends with the process."""

    def __init__(self) -> None:
        self._memory = numpy.zeros(SHARED_SIZE // 8 + 8, numpy.int64)
        address = self._memory.ctypes.data
        self._shared = address + -address % 64
        self._assist = python_function(_assist, types.void(types.int64, types.int64, types.int64))
        self._doors: list[queue.SimpleQueue[bool]] = []
        self._awake: list[bool] = []
        self._threads: list[threading.Thread] = []
        self.taken = threading.Lock()

    def run(self, lead: Any, helpers: int, *job: Any) -> None:
        """Run a job with helpers, woken where they sleep. Only for who holds ``taken``."""
        for number in range(helpers):
            if number == len(self._threads):
                self._hire(number)
            if not self._awake[number]:
                self._awake[number] = True
                self._doors[number].put(True)
        lead(self._shared, helpers, *job)

    def _hire(self, number: int) -> None:
        self._doors.append(queue.SimpleQueue())
        self._awake.append(False)
        thread = threading.Thread(target=self._serve, args=(number,), name=f"xpnet-{number}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _serve(self, number: int) -> None:
        while self._doors[number].get():
            self._assist(self._shared, number, SPINS)
            self._awake[number] = False

    def dismiss(self) -> None:
        """End all helpers: a thread that still ran while the interpreter closes down could not be stopped cleanly."""
        for door in self._doors:
            door.put(False)
        for thread in self._threads:
            thread.join()


_pools: list[Pool] = []


def run(dtype: numpy.dtype, chunks: int, *job: Any) -> None:
    """Run a job's chunks on this thread and, where there are several, on as many helpers as ``get_threads`` allows.

    dtype : of the job's four arrays
    job : function, a, b, c, d, index, numbers, columns, rows, rows_per_chunk, which :mod:`~xpnet_numba.launching` makes
    """
    lead = _lead_for(dtype)
    helpers = min(get_threads(), chunks) - 1 if chunks > 1 else 0
    if helpers:
        pool = _pool()
        if pool.taken.acquire(blocking=False):
            try:
                return pool.run(lead, helpers, *job)
            finally:
                pool.taken.release()
    lead(0, 0, *job)


def _pool() -> Pool:
    if not _pools:
        _pools.append(Pool())
    return _pools[0]


def _end() -> None:
    for pool in _pools:
        pool.dismiss()


atexit.register(_end)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pools.clear)
