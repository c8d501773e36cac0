"""The number of threads that this process may use."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import NamedTuple
from weakref import WeakSet

from xpnet.errors import InputError

VARIABLE = "NUMBA_NUM_THREADS"
"""The environment variable for the maximum number of threads of a process.

Numba reads it, and joblib sets it in its worker processes.
"""

SECONDS_BETWEEN_FITS = 0.05
"""Seconds for which a training that has ended still counts for those beside which it ran.

A thread of a search scores, takes rows and begins its next fit within this time. A fit of another
thread that used its core meanwhile would wait for that core in every batch.
"""

_wanted: int | None = None

_share: ContextVar[int | None] = ContextVar("xpnet_threads", default=None)
"""The limit of `sharing_the_machine`. Each thread has its own, as fits at the same time have."""


class _Mark:
    """Stands for a training that runs in this process."""


_trainings: WeakSet[_Mark] = WeakSet()
"""The marks of trainings. One that an interrupt has kept from being removed ends with its frame."""


class _Simultaneous(NamedTuple):
    """Trainings that ran at the same time when one of them ended.

    trainings : their number, the one that ended included
    ended : the time at which it ended, in seconds of ``time.monotonic``
    """

    trainings: int
    ended: float


_last_simultaneous = _Simultaneous(trainings=0, ended=float("-inf"))


def set_threads(count: int | None) -> None:
    """Set the maximum number of threads of training and kernels in the whole process.

    Parameters
    ----------
    count : int or None
        Maximum number of threads, at least 1. None stands for the value of ``NUMBA_NUM_THREADS``,
        or, without it, for the number that the process is allowed. A process never uses more
        threads than it is allowed.

    Raises
    ------
    InputError
        For a count below 1.

    See Also
    --------
    get_threads : Return the number of threads.

    Examples
    --------
    >>> import xpnet
    >>> xpnet.set_threads(1)
    >>> xpnet.get_threads()
    1
    >>> xpnet.set_threads(None)
    """
    global _wanted
    if count is not None and count < 1:
        raise InputError(
            f"`count` must be at least 1; got {count}. Pass None for all threads that are allowed."
        )
    _wanted = count


def get_threads() -> int:
    """Return the number of threads that training and kernels use.

    Returns
    -------
    int
        The count passed to `set_threads`, or else that of the environment variable
        ``NUMBA_NUM_THREADS``, but no more than the process is allowed.

    See Also
    --------
    set_threads : Set the number of threads.

    Notes
    -----
    The number of threads that a process is allowed is the number of cores of its affinity, or the
    quota of its cgroup if that is smaller. joblib sets the variable in its worker processes, so
    that ``GridSearchCV(..., n_jobs=4)`` divides the cores among the fits.

    Examples
    --------
    >>> import xpnet
    >>> xpnet.get_threads() >= 1
    True
    """
    allowed = allowed_threads()
    wanted = _wanted or _named()
    return min(wanted, allowed) if wanted else allowed


def allowed_threads() -> int:
    """Return the number of threads that this process is allowed, whatever `set_threads` has set.

    It depends on the affinity, the cgroup's quota and the process's share of the machine.
    """
    allowed = _allowed()
    share = _share.get()
    return allowed if share is None else min(share, allowed)


def threads_of_training() -> int:
    """Return the number of threads that one training uses: those that run at the same time, as the
    candidates of a search in threads, divide the threads of the process.
    """
    count = _simultaneous_trainings()
    if count < 2:
        return get_threads()
    allowed = _allowed()
    wanted = min(_wanted or _named() or allowed, allowed)
    return min(get_threads(), max(1, wanted // count))


def _simultaneous_trainings() -> int:
    """Return the number of trainings that run, or ran at the same time until a moment ago."""
    count = len(_trainings)
    last = _last_simultaneous
    if last.trainings > count and time.monotonic() - last.ended < SECONDS_BETWEEN_FITS:
        return last.trainings
    return count


@contextmanager
def training_in_this_process() -> Iterator[None]:
    """Count a training, for `threads_of_training`, until the context is left."""
    global _last_simultaneous
    mark = _Mark()
    _trainings.add(mark)
    try:
        yield
    finally:
        count = len(_trainings)
        if count > 1 and count >= _simultaneous_trainings():
            _last_simultaneous = _Simultaneous(count, time.monotonic())
        _trainings.discard(mark)


@contextmanager
def sharing_the_machine(threads: int) -> Iterator[None]:
    """Limit the threads of what this thread computes within the context, since others use the same
    cores.
    """
    token = _share.set(threads)
    try:
        yield
    finally:
        _share.reset(token)


def _allowed() -> int:
    """Return the number of threads that the affinity and the cgroup's quota allow."""
    return min(len(cores()), _quota())


def cores() -> frozenset[int]:
    """Return the numbers of the cores that this process may run on."""
    return frozenset(
        os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    )


@cache
def _named() -> int:
    """Return the count that the environment variable names, read once; 0 for none."""
    value = os.environ.get(VARIABLE, "")
    return int(value) if value.isdecimal() else 0


@cache
def _quota() -> int:
    """Return the number of cores that the cgroup's quota and joblib's limit allow, read once."""
    from joblib import cpu_count  # imported here, since the import takes longer than NumPy's

    return int(cpu_count())


if hasattr(os, "register_at_fork"):
    # Trainings of other threads do not go on in the child.
    os.register_at_fork(after_in_child=_trainings.clear)
