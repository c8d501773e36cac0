"""Threads of a contender: the variables that its libraries read at import, and the cores that it
may run on.
"""

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

HOLDING = (
    "OPENBLAS_CORETYPE",
    "OPENBLAS_L2_SIZE",
    "MKL_DEBUG_CPU_TYPE",
    "MKL_ENABLE_INSTRUCTIONS",
    "NVPL_BLAS_DEBUG_CPU_TYPE",
    "BLIS_ARCH_TYPE",
    "ATEN_CPU_CAPABILITY",
    "ONEDNN_MAX_CPU_ISA",
    "DNNL_MAX_CPU_ISA",
    "XLA_FLAGS",
    "NUMBA_CPU_NAME",
    "NUMBA_CPU_FEATURES",
    "NPY_DISABLE_CPU_FEATURES",
    "XPNET_PRECISION",
)
"""Variables that limit a library to fewer instructions than the processor has, or that choose its
precision.
"""


def set_variables() -> dict[str, str]:
    """Variables of ``HOLDING`` that are set in this process; contenders do not see them."""
    return {name: os.environ[name] for name in HOLDING if name in os.environ}


def pinned_environment(threads: int, extra: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a contender's process.

    The compilers of ``torch.compile`` run in that process, too, since helper processes would
    disturb the others.

    extra : further variables
    """
    free = {name: value for name, value in os.environ.items() if name not in HOLDING}
    counts = dict.fromkeys(VARIABLES, str(threads))
    own = {"TORCHINDUCTOR_COMPILE_THREADS": "1", "JAX_PLATFORMS": "cpu", "PYTHONWARNINGS": "ignore"}
    return {**free, **counts, **own, **extra}


def allowed_threads() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def pin_cores(threads: int) -> None:
    """Keep this process to its first ``threads`` cores, where the system can: some thread pools
    look at nothing else.
    """
    if sys.platform == "linux":
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def end_with_parent() -> None:
    """Let Linux kill this process when its parent ends in any way: a stopped process would wait for
    ever.
    """
    if sys.platform == "linux":
        set_death_signal = 1  # PR_SET_PDEATHSIG of linux/prctl.h
        ctypes.CDLL(None).prctl(set_death_signal, signal.SIGKILL)
