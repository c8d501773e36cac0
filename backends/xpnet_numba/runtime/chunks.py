"""The rows of a kernel's job, cut into chunks: whoever is there claims the next one.

No chunk depends on who works on it, and the chunks follow from the shape alone: a process of one thread, a second
caller who finds the team busy, and any number of helpers do the same work with the same bits.
"""

from functools import cache
from typing import Any

import numpy
from numba import carray, njit, types

from xpnet.backend import get_threads
from xpnet_numba.llvm import INNER, call, fetch_add, item, pointer, store
from xpnet_numba.runtime import team
from xpnet_numba.runtime.compiling import c_function, python_function

# A job, as items of an int64 array: its C function and what that receives, how the rows are cut, the number of parts,
# and for each part, a cache line from the next, the next chunk to be claimed.
FUNCTION, A, B, C, D, INDEX, NUMBERS, COLUMNS, ROWS, ROWS_PER_CHUNK, PARTS, NEXT, LINE = *range(11), 16, 8


@njit(**INNER)
def _take_part(at: int, me: int) -> None:
    """Claim chunk after chunk, of one's own part first and then of what others left, until none is left.

    A part is a stretch of chunks: from call to call a thread meets the same addresses, which its cache still holds.
    """
    job = carray(pointer(at, types.int64), NEXT)
    chunks = -(-job[ROWS] // job[ROWS_PER_CHUNK])
    for turn in range(job[PARTS]):
        part = (me + turn) % job[PARTS]
        begin, end = part * chunks // job[PARTS], (part + 1) * chunks // job[PARTS]
        claims = item(at, NEXT + part * LINE)
        chunk = begin + fetch_add(claims, 1)
        while chunk < end:
            _run_chunk(job, chunk)
            chunk = begin + fetch_add(claims, 1)


@njit(**INNER)
def _run_chunk(job: Any, chunk: int) -> None:
    first = chunk * job[ROWS_PER_CHUNK]
    count = min(job[ROWS_PER_CHUNK], job[ROWS] - first)
    data = job[A], job[B], job[C], job[D], job[INDEX], job[NUMBERS]
    call(job[FUNCTION], (*data, job[COLUMNS], first, count, chunk))


def _take_part_in(at: Any, _1: Any, _2: Any, _3: Any, me: Any) -> None:
    """:func:`_take_part` as a team calls it."""
    _take_part(at, me)


def _lead(
    board: Any,
    number: Any,
    threads: Any,
    take_part: Any,
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
    """Run a job: alone, or on a team's board where helpers find it."""
    data = a.ctypes.data, b.ctypes.data, c.ctypes.data, d.ctypes.data, index.ctypes.data, numbers.ctypes.data
    if threads == 1:
        for chunk in range(-(-rows // rows_per_chunk)):
            first = chunk * rows_per_chunk
            call(function, (*data, columns, first, min(rows_per_chunk, rows - first), chunk))
        return
    job = numpy.zeros(NEXT + threads * LINE, numpy.int64)
    job[FUNCTION] = function
    job[A], job[B], job[C], job[D], job[INDEX], job[NUMBERS] = data
    job[COLUMNS], job[ROWS], job[ROWS_PER_CHUNK], job[PARTS] = columns, rows, rows_per_chunk, threads
    store(item(board, team.THREADS), threads)
    store(item(board, team.FUNCTION), take_part)
    store(item(board, team.ARGUMENTS), job.ctypes.data)
    store(item(board, team.OPEN), number)
    _take_part(job.ctypes.data, 0)
    team.close_job(board)
    job[0] = 0  # Numba frees an array after its last use, which must come after the last use of its address.


@cache
def leader(dtype: numpy.dtype) -> Any:
    """Who leads jobs whose four matrices are of a dtype; compiled on first need."""
    matrix = types.Array(getattr(types, dtype.name), 2, "C", readonly=True)
    index, numbers = types.Array(types.int64, 1, "C", readonly=True), types.Array(types.float64, 1, "C", readonly=True)
    number = types.int64
    return python_function(_lead, types.void(*[number] * 5, *[matrix] * 4, index, numbers, *[number] * 3))


@cache
def _taking_part() -> Any:
    return c_function(_take_part_in, types.void(*[types.int64] * 5))


def run_chunks(lead: Any, chunks: int, *job: Any) -> None:
    """Run a job's chunks on this thread and, where there are several, on as many as ``get_threads`` allows.

    lead : the job's :func:`leader`
    job : function, a, b, c, d, index, numbers, columns, rows, rows_per_chunk, which :mod:`~xpnet_numba.launching` makes
    """
    threads = min(get_threads(), chunks) if chunks > 1 else 1
    if threads == 1 or not team.team.lead_by(lead, (_taking_part().address, *job), threads):
        lead(0, 0, 1, 0, *job)
