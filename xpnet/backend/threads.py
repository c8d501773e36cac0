"""The number of threads that this process may use."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from xpnet.errors import InputError

VARIABLE = "NUMBA_NUM_THREADS"
"""The environment variable that Numba and joblib's worker processes know: the most threads of a process."""

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
    allowed = min(len(cores()), _quota())
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
    """Count the cores that the quota of a cgroup comes to, and that joblib was told of, once."""
    from joblib import cpu_count  # imported late, as it takes longer than NumPy

    return int(cpu_count())
