"""The machine that the numbers were measured on."""

import importlib.metadata
import platform
from typing import Any

import psutil
from cpuinfo import get_cpu_info

from xpnet import BackendError, get_backend
from xpnet_bench.measure.pinning import allowed_threads

PACKAGES = (
    "xpnet",
    "numpy",
    "scipy",
    "scikit-learn",
    "numba",
    "torch",
    "jax",
    "jaxlib",
    "lightgbm",
    "catboost",
    "chimeraboost",
    "pytabkit",
    "pytest-benchmark",
)


def describe_machine() -> dict[str, Any]:
    """Processor, cores, memory, system, GPU, Python, and the versions of what is installed."""
    installed = {package.name: package.version for package in importlib.metadata.distributions()}
    return {
        "processor": get_cpu_info().get("brand_raw", "unknown"),
        "cores": psutil.cpu_count(logical=False) or 0,
        "logical_cores": psutil.cpu_count() or 0,
        "threads": allowed_threads(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "card": _card(),
        "python": platform.python_version(),
        "versions": {name: installed[name] for name in PACKAGES if name in installed},
    }


def _card() -> str:
    """The GPU that CuPy would compute on; "" if there is none."""
    try:
        return get_backend("cupy").describe()["card"].partition(",")[0]
    except BackendError:
        return ""
