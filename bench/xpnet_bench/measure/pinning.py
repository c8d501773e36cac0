"""Threads of a contender: the variables that its libraries read at import, and the cores it may run on."""

import ctypes
import os
import signal
import sys
from collections.abc import Mapping

VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMBA_NUM_THREADS",
    "NPROC",
)


def pinned_environment(threads: int, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a contender's process.

    The compilers of ``torch.compile`` run in that process, too, since helper processes would work beside the others.
    """
    counts = dict.fromkeys(VARIABLES, str(threads))
    own = {"TORCHINDUCTOR_COMPILE_THREADS": "1", "JAX_PLATFORMS": "cpu", "PYTHONWARNINGS": "ignore"}
    return {**os.environ, **counts, **own, **(extra or {})}


def allowed_threads() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def pin_cores(threads: int) -> None:
    """Keep this process to its first ``threads`` cores, where the system can: some pools ask for nothing else."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def end_with_parent() -> None:
    """Have Linux kill this process when its parent ends, however that ends: a stopped process would wait for ever."""
    if sys.platform == "linux":
        set_death_signal = 1  # PR_SET_PDEATHSIG of linux/prctl.h
        ctypes.CDLL(None).prctl(set_death_signal, signal.SIGKILL)
