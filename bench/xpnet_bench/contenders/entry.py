"""This module lists the contenders, without importing their libraries."""

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from xpnet import InputError
from xpnet_bench.contenders.task import Task
from xpnet_bench.jobs import USUAL, Job

Role = Literal["xpnet", "peer", "floor"]


CPU = (*USUAL, "cells")
XPNET = ("xpnet", "xpnet_numpy", "xpnet_numba", "xpnet_cupy")
COUNTED = (*CPU, "counts")


@dataclass(frozen=True)
class Entry:
    """A contender.

    name : as shown
    module : in this package
    variant : what tells contenders of one module apart
    library : the package that has to be installed
    role : ``xpnet``, ``peer``, or ``floor`` for what bounds everybody
    statement : what a user types to import it
    suites : those in which it takes part
    also : further modules with operations, imported when one of them is asked for
    environment : variables of its process
    """

    name: str
    module: str
    variant: str
    library: str
    role: Role
    statement: str = ""
    suites: tuple[str, ...] = CPU
    also: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()

    @property
    def packages(self) -> tuple[str, ...]:
        """The packages whose functions are the contender's own."""
        return XPNET if self.role == "xpnet" else (self.library,)

    def load(self) -> Any:
        """Return the module with its library."""
        return _import(self.module)

    def operation(self, name: str) -> Callable[[Job], Task] | None:
        """Return the contender's way to do an operation; None where it has none.

        Looked up in its modules, then among those on its estimators, which are imported where they are needed:
        scikit-learn's data sets and searches are no part of a library's first use.
        """
        module = self.load()
        for found in (module, *map(_import, self.also if name not in module.OPERATIONS else ())):
            if name in found.OPERATIONS:
                return found.OPERATIONS[name]
        if not hasattr(module, "estimators"):
            return None
        from xpnet_bench.contenders.estimators import Library, operations

        return operations(Library(**module.estimators())).get(name)


def _import(module: str) -> Any:
    return importlib.import_module(f"xpnet_bench.contenders.{module}")


CUPY = "import xpnet; xpnet.get_backend('cupy')"
NUMBA = "import xpnet; xpnet.get_backend('numba')"
TORCH, TORCH_CUDA = "import torch", "import torch; torch.zeros(1, device='cuda')"
SKLEARN = "from sklearn.neural_network import MLPClassifier"
CUDA_OF_JAX = (("JAX_PLATFORMS", "cuda"), ("XLA_PYTHON_CLIENT_PREALLOCATE", "false"))

ENTRIES = (
    Entry(
        "xpnet-numba", "xpnet_models", "numba", "numba", "xpnet", NUMBA, (*COUNTED, "distributed")
    ),
    Entry(
        "xpnet-numpy",
        "xpnet_models",
        "numpy",
        "numpy",
        "xpnet",
        "import xpnet; xpnet.get_backend('numpy')",
        COUNTED,
    ),
    Entry(
        "xpnet-cupy", "xpnet_models", "cupy", "cupy", "xpnet", CUPY, (*CPU, "gpu"), ("gpu_xpnet",)
    ),
    Entry("scikit-learn", "scikit_learn", "", "sklearn", "peer", SKLEARN, COUNTED),
    Entry("xpnet-mpi", "ranked", "mpi", "mpi4py", "xpnet", "", ("distributed",)),
    Entry("torch", "pytorch", "eager", "torch", "peer", TORCH, (*CPU, "distributed")),
    Entry("torch-ddp", "ranked", "ddp", "torch", "peer", "", ("distributed",)),
    Entry("torch.compile", "pytorch", "compile", "torch", "peer", TORCH),
    Entry(
        "torch-cuda",
        "pytorch",
        "cuda",
        "torch",
        "peer",
        TORCH_CUDA,
        (*CPU, "gpu"),
        ("gpu_pytorch",),
    ),
    Entry(
        "torch-cuda.compile",
        "pytorch",
        "cuda-compile",
        "torch",
        "peer",
        "",
        ("gpu",),
        ("gpu_pytorch",),
    ),
    Entry(
        "torch-cuda.captured",
        "pytorch",
        "cuda-captured",
        "torch",
        "peer",
        "",
        ("gpu",),
        ("gpu_pytorch",),
    ),
    Entry("jax", "jax_jit", "step", "jax", "peer", "import jax.numpy"),
    Entry("jax.scan", "jax_jit", "scan", "jax", "peer", "", ("training",)),
    Entry("jax-cuda", "jax_jit", "cuda", "jax", "peer", "", ("gpu",), ("gpu_jax",), CUDA_OF_JAX),
    Entry("numpy", "plain_numpy", "", "numpy", "peer", "import numpy"),
    Entry("floor", "floor", "", "numpy", "floor"),
    Entry("floor-cuda", "gpu_floor", "", "cupy", "floor", "", ("gpu",)),
)


def find_entry(name: str) -> Entry:
    """The contender of that name; raises InputError for another."""
    for entry in ENTRIES:
        if entry.name == name:
            return entry
    raise InputError(
        f"A contender is one of {', '.join(e.name for e in ENTRIES)}; received {name!r}."
    )


def missing(entry: Entry) -> str:
    """Say why a contender cannot take part, without importing it; the text is empty where it can."""
    return "" if importlib.util.find_spec(entry.library) else f"{entry.library} is not installed"
