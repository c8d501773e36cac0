"""A loop is launched alone over chunks of rows, each a piece of work that some thread of the team claims.

A launch names the loop's arguments in three groups, in which the loop receives them one after the other:

cut : arrays whose first axis is the rows; the loop receives the chunk's part of each
whole : arrays, numbers and None, which every chunk receives as they are
results : arrays with one row for each chunk, which receives that; the rows are added up afterwards, in their order
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy
from numba import types
from numba.extending import overload
from numba.np.numpy_support import from_dtype
from numpy import ndarray

from xpnet.backend import get_threads
from xpnet.ops import Array
from xpnet_numba.kinds import Address, Indices, Matrix, Pointer, Vector
from xpnet_numba.llvm.arithmetic import larger, smaller
from xpnet_numba.llvm.calls import BY_TYPE, GIVES_ARRAY, call
from xpnet_numba.llvm.memory import array, pointer_to, reload, shift, spill
from xpnet_numba.runtime import threads
from xpnet_numba.runtime.compiling import c_function, filled_in

Loop = Callable[..., None]

EVERYTHING = 1 << 62  # more rows than there are in any array


def launch(
    loop: Loop, cut: tuple[Any, ...], whole: tuple[Any, ...] = (), results: tuple[Any, ...] = (), *, chunk_rows: int
) -> None:
    """Run a loop over all rows.

    cut : the first decides the number of rows, and its dtype with the loop what is compiled: from launch to launch the
        other arguments must have the same types
    chunk_rows : rows of a chunk; follows from the shape alone, never from the threads, so that the bits do not either
    """
    first = cut[0]
    if len(first) <= chunk_rows:
        entry, function = alone(loop)[first.dtype]
        entry(function, cut, whole, results)
        return
    arguments = cut, whole, results
    entry, function = _shared.get((loop, first.dtype)) or _prepare_shared(loop, first.dtype, arguments)
    chunks = chunk_count(len(first), chunk_rows)
    claims, wanted = numpy.zeros(chunks, numpy.int64), min(get_threads(), chunks)
    threads.team.lead(entry, wanted, function, chunk_rows, claims, arguments)


class Alone(dict[numpy.dtype, tuple[Callable[..., None], Any]]):
    """A loop over all rows at once, in this thread, by the dtype: a function, and what it takes before ``cut``,
    ``whole`` and ``results``.

    This is what :func:`launch` does with a single chunk. A kernel for a few numbers looks here itself: to launch takes
    as long as its work.
    """

    def __init__(self, loop: Loop) -> None:
        self.loop = loop

    def __missing__(self, dtype: numpy.dtype) -> tuple[Callable[..., None], Any]:
        return self._compile_and_run, dtype

    def _compile_and_run(self, dtype: numpy.dtype, *arguments: tuple[Any, ...]) -> None:
        groups = _type_of(arguments)
        entry = threads.entry(_run_alone, types.void(types.int64, *groups))
        self[dtype] = entry, _job_function(self.loop, groups)
        entry(self[dtype][1], *arguments)


alone = cache(Alone)
"""One for each loop."""


def chunk_count(rows: int, chunk_rows: int) -> int:
    """Return how many chunks there will be: the rows of ``results``."""
    return -(-rows // chunk_rows)


_shared: dict[tuple[Loop, numpy.dtype], tuple[Callable[..., None], Address]] = {}


def _prepare_shared(loop: Loop, dtype: numpy.dtype, arguments: tuple[Any, ...]) -> tuple[Callable[..., None], Address]:
    """Compile what shares the rows among threads."""
    groups = _type_of(arguments)
    number = types.int64
    entry = threads.entry(_lead, types.void(*[number] * 5, types.Array(number, 1, "C"), groups))
    _shared[loop, dtype] = prepared = entry, _job_function(loop, groups)
    return prepared


@cache
def _job_function(loop: Loop, groups: types.Tuple) -> Address:
    """Return the address of :func:`_run_chunks` over a loop."""
    number = types.int64
    job = types.Tuple((number, number, number, number, groups))
    run = filled_in(_run_chunks, f"run_{loop.__name__}", loop=loop)
    return c_function(run, types.void(types.CPointer(job), number))


def _type_of(value: Any) -> types.Type:
    """The type that compiled code gives to an argument; arrays may be read-only, which loops respect unasked."""
    if isinstance(value, tuple):
        return types.Tuple([_type_of(v) for v in value])
    if value is None:
        return types.none
    if isinstance(value, numpy.ndarray):
        return types.Array(from_dtype(value.dtype), value.ndim, "C")
    return types.int64 if isinstance(value, int) else types.float64


def _run_alone(function: Address, cut: tuple[Any, ...], whole: tuple[Any, ...], results: tuple[Any, ...]) -> None:
    """All rows as one chunk, which nobody else can claim."""
    job = spill((EVERYTHING, EVERYTHING, 1, 0, (cut, whole, results)))
    call(function, (job, 0))


def _lead(
    board: Address,
    number: int,
    threads_wanted: int,
    function: Address,
    chunk_rows: int,
    claims: Indices,
    arguments: tuple[Any, ...],
) -> None:
    """Make a job of a launch, and share it."""
    job = spill((len(arguments[0][0]), chunk_rows, threads_wanted, claims.ctypes.data, arguments))
    threads.share(board, number, threads_wanted, function, job)


def loop(*arguments: Any) -> None:
    """Stands in :func:`_run_chunks` for the loop that is launched."""


def _run_chunks(job: Pointer, me: int) -> None:
    """The C function of a launch: claim chunks until none is free, from a part of one's own on.

    From call to call a thread meets the same addresses, which its cache still holds.
    """
    rows, chunk_rows, workers, claims, (cut, whole, results) = reload(job)
    everything = parts_of(whole, 0, EVERYTHING)
    chunks = 1 if rows <= chunk_rows else -(-rows // chunk_rows)
    chunk = 0 if workers == 1 else me * chunks // workers
    for _ in range(chunks):
        if workers == 1 or threads.claim(claims, chunk, 0):
            first = chunk * chunk_rows
            end = smaller(first + chunk_rows, rows)
            loop(*(parts_of(cut, first, end) + everything + parts_of(results, chunk, chunk + 1)))
        chunk = chunk + 1 if chunk + 1 < chunks else 0


def parts_of(arguments: tuple[Any, ...], first: int, end: int) -> tuple[Any, ...]:
    """array[first:end] of each array of a tuple, and what is no array as it is.

    In compiled code these arrays do not count who uses them, which would take longer than the work on a short row.
    """
    return tuple(a[first:end] if isinstance(a, numpy.ndarray) else a for a in arguments)


@overload(parts_of, jit_options=BY_TYPE)
def _parts_of(arguments: Any, first: Any, end: Any) -> Callable[..., Any]:
    """In compiled code a tuple's items have types of their own: take one after the other."""

    def one_and_others(arguments: Any, first: Any, end: Any) -> tuple[Any, ...]:
        return (part_of(arguments[0], first, end),) + parts_of(arguments[1:], first, end)  # noqa: RUF005

    def none(arguments: Any, first: Any, end: Any) -> tuple[()]:
        return ()

    return one_and_others if len(arguments) else none


def part_of(argument: Any, first: int, end: int) -> Any:
    """array[first:end], or what is no array as it is; in compiled code."""


@overload(part_of, jit_options=GIVES_ARRAY)
def _part_of(argument: Any, first: Any, end: Any) -> Callable[..., Any]:
    def of_run(argument: Any, first: Any, end: Any) -> Vector:
        begin, stop = larger(first, 0), smaller(end, argument.size)
        return array(shift(pointer_to(argument), begin), stop - begin)

    def of_matrix(argument: Any, first: Any, end: Any) -> Matrix:
        (rows, columns), begin = argument.shape, larger(first, 0)
        start = shift(pointer_to(argument), begin * columns)
        return array(start, (smaller(end, rows) - begin, columns))

    def itself(argument: Any, first: Any, end: Any) -> Any:
        return argument

    if not isinstance(argument, types.Array):
        return itself
    return of_run if argument.ndim == 1 else of_matrix


def contiguous(array: Array) -> Array:
    """The array itself where compiled code can read it, else a copy: of any strides, byte order or alignment."""
    if type(array) is ndarray and array.flags.carray and array.dtype.isnative:
        return array
    array = numpy.asarray(array)
    flags = array.flags
    if flags.c_contiguous and flags.aligned and array.dtype.isnative:
        return array
    return numpy.array(array, dtype=array.dtype.newbyteorder("="), order="C")


def writable(array: Array) -> Array:
    """The array itself where compiled code can update it in place, else a copy."""
    array = contiguous(array)
    return array if array.flags.writeable else array.copy()
