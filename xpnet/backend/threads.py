"""The number of threads that this process may use."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from math import ceil
from pathlib import Path

from xpnet.errors import InputError

VARIABLE = "NUMBA_NUM_THREADS"
"""The environment variable that Numba and joblib's worker processes know: the most threads of a process."""

MOST_CORES = "LOKY_MAX_CPU_COUNT"
"""The environment variable that tells joblib of how many cores it may know."""

GROUP = Path("/sys/fs/cgroup")
"""The file in which Linux names the control group of a process."""

_wanted: int | None = None
_share: int | None = None


def set_threads(count: int | None) -> None:
    """Set how many threads training and kernels may use from now on, in the whole process.

    Parameters
    ----------
    count : int or None
        The most threads to use, at least 1. None stands for as many as ``NUMBA_NUM_THREADS`` says, or as the process is
        allowed. Where the process is allowed fewer than ``count``, those are used.

    Raises
    ------
    InputError
        For a count below 1.

    See Also
    --------
    get_threads : How many threads are used.

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
        raise InputError(f"At least one thread is needed; received {count}.")
    _wanted = count


def get_threads() -> int:
    """Tell how many threads training and kernels use.

    Returns
    -------
    int
        The count given to `set_threads`, else that of the environment variable ``NUMBA_NUM_THREADS``, but no more than
        the process is allowed.

    See Also
    --------
    set_threads : Set how many threads are used.

    Notes
    -----
    A process is allowed as many threads as its affinity has cores and as the quota of its cgroup grants. joblib sets
    the variable in its worker processes, so that ``GridSearchCV(..., n_jobs=4)`` divides the cores among the fits.

    Examples
    --------
    >>> import xpnet
    >>> xpnet.get_threads() >= 1
    True
    """
    allowed, wanted = allowed_threads(), _wanted or _named()
    return min(wanted, allowed) if wanted else allowed


def allowed_threads() -> int:
    """Return the number of threads that affinity, the cgroup's quota and the share of the machine allow this process;
    `set_threads` does not count.
    """
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    allowed = min(affinity, _quota())
    return allowed if _share is None else min(_share, allowed)


@contextmanager
def sharing_the_machine(threads: int) -> Iterator[None]:
    """Allow the process so many threads inside, since others compute on the same cores."""
    global _share
    before, _share = _share, threads
    try:
        yield
    finally:
        _share = before


def cores() -> frozenset[int]:
    """Return the numbers of the cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


@cache
def _named() -> int:
    """Return the count that the environment variable names, read once; 0 for none."""
    return _count_in(VARIABLE)


def _count_in(variable: str) -> int:
    value = os.environ.get(variable, "")
    return int(value) if value.isdecimal() else 0


@cache
def _quota() -> int:
    """Count the cores that a cgroup grants, once; joblib would tell, but a first fit would wait for its import."""
    cores = os.cpu_count() or 1
    return min(cores, _count_in(MOST_CORES) or cores, *_granted())


def _granted() -> Iterator[int]:
    """Yield the cores that the quota of a cgroup comes to, of version 2 or 1; nothing where there is none."""
    for files in (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        with suppress(OSError, ValueError):  # no such file, or no limit ("max")
            quota, period = map(int, " ".join((GROUP / file).read_text() for file in files).split())
            if quota > 0:
                yield ceil(quota / period)
