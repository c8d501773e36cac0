"""The number of threads that this process may use."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from xpnet.errors import InputError

VARIABLE = "NUMBA_NUM_THREADS"
"""The environment variable for the maximum number of threads of a process.

Numba reads it, and joblib sets it in its worker processes.
"""

_wanted: int | None = None
_share: int | None = None


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
    allowed, wanted = allowed_threads(), _wanted or _named()
    return min(wanted, allowed) if wanted else allowed


def allowed_threads() -> int:
    """Return the number of threads that this process is allowed, whatever `set_threads` has set.

    It depends on the affinity, the cgroup's quota and the process's share of the machine.
    """
    allowed = min(len(cores()), _quota())
    return allowed if _share is None else min(_share, allowed)


@contextmanager
def sharing_the_machine(threads: int) -> Iterator[None]:
    """Limit the threads of the process within the context, since others use the same cores."""
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
    """Return the number of cores that the cgroup's quota and joblib's limit allow, read once."""
    from joblib import cpu_count  # imported here, since the import takes longer than NumPy's

    return int(cpu_count())
