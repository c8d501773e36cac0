"""Threads of a contender: the variables that its libraries read at import, and the cores that it
may run on.
"""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping

import numpy

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

YNNPACK = "xla_cpu_experimental_ynn_fusion_type"
"""XLA's flag for what YNNPACK computes. That library reads no variable, so it is replaced by XLA's
own products.
"""

AVX2_FEATURES = "+avx2,+fma,+f16c,+bmi,+bmi2,+lzcnt,+popcnt,+movbe"


def set_variables() -> dict[str, str]:
    """Variables of ``HOLDING`` that are set in this process; contenders do not see them."""
    return {name: os.environ[name] for name in HOLDING if name in os.environ}


def variables_that_hold_to(instructions: str) -> dict[str, str]:
    """Variables that limit each contender to ``avx2``; none for ``native``, the processor's own."""
    if instructions == "native":
        return {}
    beyond = [name for name in _numpy_features() if name.startswith(("AVX512", "X86_V4"))]
    return {
        "OPENBLAS_CORETYPE": "Haswell",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "XLA_FLAGS": "--xla_cpu_max_isa=AVX2" + (f" --{YNNPACK}=" if _xla_knows(YNNPACK) else ""),
        "NUMBA_CPU_NAME": "haswell",
        "NUMBA_CPU_FEATURES": AVX2_FEATURES,
        "NPY_DISABLE_CPU_FEATURES": " ".join(beyond),
    }


def _xla_knows(flag: str) -> bool:
    """Return whether the installed JAX has a flag: an unknown flag ends its process."""
    environment = {**os.environ, "XLA_FLAGS": f"--{flag}=", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", "import jax; jax.devices()"]
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    return done.returncode == 0


def _numpy_features() -> list[str]:
    """The sets of instructions from which NumPy chooses when it is imported."""
    features = numpy.show_config(mode="dicts")["SIMD Extensions"]
    return [*features.get("found", []), *features.get("not found", [])]


def pinned_environment(
    threads: int, held: Mapping[str, str], extra: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return the environment of a contender's process.

    The compilers of ``torch.compile`` run in that process, too, since helper processes would
    disturb the others.
    """
    free = {name: value for name, value in os.environ.items() if name not in HOLDING}
    counts = dict.fromkeys(VARIABLES, str(threads))
    own = {"TORCHINDUCTOR_COMPILE_THREADS": "1", "JAX_PLATFORMS": "cpu", "PYTHONWARNINGS": "ignore"}
    return {**free, **counts, **own, **held, **(extra or {})}


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
