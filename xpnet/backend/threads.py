"""How many threads this process may use."""

import os
from functools import cache

from xpnet.errors import InputError

_wanted: int | None = None


def set_threads(count: int | None) -> None:
    """Use at most ``count`` threads from here on, in the whole process; None for as many as the process is allowed.

    More than the process is allowed are never used. Raises InputError for less than 1.
    """
    global _wanted
    if count is not None and count < 1:
        raise InputError(f"At least one thread is needed; received {count}.")
    _wanted = count


def get_threads() -> int:
    """How many threads training and kernels use: what was asked for, within what the process is allowed."""
    allowed = allowed_threads()
    return allowed if _wanted is None else min(_wanted, allowed)


def allowed_threads() -> int:
    """How many threads the process is allowed, by its affinity and its cgroup's quota, whatever was asked for."""
    return min(_affinity(), _quota())


def _affinity() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def _quota() -> int:
    """Cores that a cgroup's quota grants, read once; joblib knows both versions of cgroups."""
    from joblib import cpu_count

    return cpu_count()
