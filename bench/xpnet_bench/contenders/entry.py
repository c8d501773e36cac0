"""The contenders, listed without importing their libraries."""

import importlib.util
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import Literal

from xpnet import InputError
from xpnet_bench.contenders.contender import Contender
from xpnet_bench.jobs import BFLOAT16_BITS, USUAL

Role = Literal["xpnet", "peer", "floor", "peak"]
BOUNDS = ("floor", "peak")
"""Roles that bound all contenders and are no library that a user could take."""

CPU = (*USUAL, "cells")


@dataclass(frozen=True)
class Entry:
    """A contender.

    name : as shown
    place : module and class, in this package
    variant : the form of the library
    library : the package that has to be installed
    role : ``xpnet``, ``peer``, or for what bounds all contenders ``floor`` (the work that none can
        leave out) or ``peak`` (as many operations as the processor does at most)
    statement : what a user types to import it
    suites : those in which it takes part
    environment : variables of its process
    bits : those of the fraction in products of the jobs in which it takes part, 0 for all jobs
    """

    name: str
    place: str
    variant: str
    library: str
    role: Role
    statement: str = ""
    suites: tuple[str, ...] = CPU
    environment: tuple[tuple[str, str], ...] = ()
    bits: int = 0

    def load(self) -> Contender:
        """Import the library; raises BackendError where the contender cannot be used."""
        return resolve_name(f"xpnet_bench.contenders.{self.place}")(self.variant)


MODELS, TORCH, JAX, RANKED = "xpnet_models:Xpnet", "pytorch:Torch", "jax_jit:Jax", "ranked:Ranked"
IMPORTS = {
    "numba": "import xpnet; xpnet.get_backend('numba')",
    "numpy": "import xpnet; xpnet.get_backend('numpy')",
    "cupy": "import xpnet; xpnet.get_backend('cupy')",
    "sklearn": "from sklearn.neural_network import MLPClassifier",
    "torch": "import torch",
    "cuda": "import torch; torch.zeros(1, device='cuda')",
    "jax": "import jax.numpy",
}
ESTIMATORS = {
    "xpnet-mlp": "from xpnet import MLPClassifier",
    "xpnet-table": "from xpnet import TabularClassifier",
    "sklearn-mlp": "from sklearn.neural_network import MLPClassifier",
    "boosting": "from sklearn.ensemble import HistGradientBoostingClassifier",
}
FEEL, USERS = "feel:Estimator", ("feel",)
CUDA_OF_JAX = (("JAX_PLATFORMS", "cuda"), ("XLA_PYTHON_CLIENT_PREALLOCATE", "false"))
FLOAT64_OF_JAX = (("JAX_ENABLE_X64", "1"),)
TRAINING, GPU, RANKS = ("training",), ("gpu",), ("distributed",)
ALSO_RANKS = (*CPU, *RANKS)

ENTRIES = (
    Entry("xpnet-numba", MODELS, "numba", "numba", "xpnet", IMPORTS["numba"], (*CPU, *RANKS)),
    Entry("xpnet-numpy", MODELS, "numpy", "numpy", "xpnet", IMPORTS["numpy"], CPU),
    Entry("xpnet-cupy", MODELS, "cupy", "cupy", "xpnet", IMPORTS["cupy"], (*CPU, *GPU)),
    Entry("xpnet-jax", MODELS, "jax", "jax", "xpnet", "", TRAINING, FLOAT64_OF_JAX),
    Entry("xpnet-torch", MODELS, "torch", "torch", "xpnet", "", TRAINING),
    Entry(
        "scikit-learn",
        "scikit_learn:ScikitLearn",
        "",
        "sklearn",
        "peer",
        IMPORTS["sklearn"],
        CPU,
    ),
    Entry("xpnet-mpi", RANKED, "mpi", "mpi4py", "xpnet", "", RANKS),
    Entry("torch", TORCH, "eager", "torch", "peer", IMPORTS["torch"], ALSO_RANKS),
    Entry("torch-ddp", RANKED, "ddp", "torch", "peer", "", RANKS),
    Entry("torch.compile", TORCH, "compile", "torch", "peer", IMPORTS["torch"]),
    Entry("torch.autocast", TORCH, "autocast", "torch", "peer", "", TRAINING, (), BFLOAT16_BITS),
    Entry("torch-cuda", TORCH, "cuda", "torch", "peer", IMPORTS["cuda"], (*CPU, *GPU)),
    Entry("torch-cuda.compile", TORCH, "cuda-compile", "torch", "peer", "", GPU),
    Entry("torch-cuda.captured", TORCH, "cuda-captured", "torch", "peer", "", GPU),
    Entry("jax", JAX, "cpu", "jax", "peer", IMPORTS["jax"]),
    Entry("jax-cuda", JAX, "cuda", "jax", "peer", "", GPU, CUDA_OF_JAX),
    Entry("numpy", "plain_numpy:PlainNumpy", "", "numpy", "peer", "import numpy"),
    Entry("xpnet-mlp", FEEL, "xpnet-mlp", "numba", "xpnet", ESTIMATORS["xpnet-mlp"], USERS),
    Entry("xpnet-table", FEEL, "xpnet-table", "numba", "xpnet", ESTIMATORS["xpnet-table"], USERS),
    Entry("sklearn-mlp", FEEL, "sklearn-mlp", "sklearn", "peer", ESTIMATORS["sklearn-mlp"], USERS),
    Entry("boosting", FEEL, "boosting", "sklearn", "peer", ESTIMATORS["boosting"], USERS),
    Entry("floor", "floor:Floor", "", "numpy", "floor"),
    Entry("peak", "peak:Peak", "", "llvmlite", "peak", "", TRAINING),
    Entry("floor-cuda", "gpu_floor:CudaFloor", "", "cupy", "floor", "", GPU),
)


def find_entry(name: str) -> Entry:
    """The contender of that name; raises InputError for another."""
    for entry in ENTRIES:
        if entry.name == name:
            return entry
    names = ", ".join(entry.name for entry in ENTRIES)
    raise InputError(f"A contender must be one of {names}; got {name!r}.")


def missing(entry: Entry) -> str:
    """Return why a contender cannot take part, without importing it; the
    text is empty where it can.
    """
    return "" if importlib.util.find_spec(entry.library) else f"{entry.library} is not installed"
