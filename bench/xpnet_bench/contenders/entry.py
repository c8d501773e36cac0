"""Who takes part. Nothing here imports a contender's library."""

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
    """

    name: str
    module: str
    variant: str
    library: str
    role: Role
    statement: str = ""
    suites: tuple[str, ...] = CPU

    @property
    def packages(self) -> tuple[str, ...]:
        """The packages whose functions are the contender's own."""
        return XPNET if self.role == "xpnet" else (self.library,)

    def load(self) -> Any:
        """The module with its library."""
        return importlib.import_module(f"xpnet_bench.contenders.{self.module}")

    def operation(self, name: str) -> Callable[[Job], Task] | None:
        """How the contender does an operation, by its own module or by its estimators; None where it does not."""
        module = self.load()
        if name in module.OPERATIONS or not hasattr(module, "estimators"):
            return module.OPERATIONS.get(name)
        # Imported where it is needed: scikit-learn's data sets and searches are no part of a library's first use.
        from xpnet_bench.contenders.estimators import Library, operations

        return operations(Library(**module.estimators())).get(name)


ENTRIES = (
    Entry("xpnet-numba", "xpnet_models", "numba", "numba", "xpnet", "import xpnet; xpnet.get_backend('numba')", COUNTED),
    Entry("xpnet-numpy", "xpnet_models", "numpy", "numpy", "xpnet", "import xpnet; xpnet.get_backend('numpy')", COUNTED),
    Entry("xpnet-cupy", "xpnet_models", "cupy", "cupy", "xpnet", "import xpnet; xpnet.get_backend('cupy')"),
    Entry("scikit-learn", "scikit_learn", "", "sklearn", "peer", "from sklearn.neural_network import MLPClassifier", COUNTED),
    Entry("torch", "pytorch", "eager", "torch", "peer", "import torch"),
    Entry("torch.compile", "pytorch", "compile", "torch", "peer", "import torch"),
    Entry("torch-cuda", "pytorch", "cuda", "torch", "peer", "import torch; torch.zeros(1, device='cuda')"),
    Entry("jax", "jax_jit", "step", "jax", "peer", "import jax.numpy"),
    Entry("jax.scan", "jax_jit", "scan", "jax", "peer", suites=("training",)),
    Entry("numpy", "plain_numpy", "", "numpy", "peer", "import numpy"),
    Entry("floor", "floor", "", "numpy", "floor"),
)


def find_entry(name: str) -> Entry:
    """The contender of that name; raises InputError for another."""
    for entry in ENTRIES:
        if entry.name == name:
            return entry
    raise InputError(f"A contender is one of {', '.join(e.name for e in ENTRIES)}; received {name!r}.")


def missing(entry: Entry) -> str:
    """Why a contender cannot take part as far as this shows without importing it; "" where it can."""
    return "" if importlib.util.find_spec(entry.library) else f"{entry.library} is not installed"
