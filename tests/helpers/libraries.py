"""The array libraries that tests run over, each as a way to make an array on its device."""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest


@dataclass(frozen=True)
class Library:
    """One kind of array. make(NumPy array) gives an array of it, same dtype; backend is what its
    arrays run on.
    """

    name: str
    make: Callable[[Any], Any]
    backend: str | None = None
    dtypes: tuple[str, ...] = ("float32", "float64")

    def numpy(self, array: Any) -> Any:
        """The array on the host, detached from whatever."""
        from xpnet.dispatch import choose

        return choose(array, backend=self.backend).backend.to_numpy(array)


def _torch(array: Any) -> Any:
    import torch

    return torch.asarray(np.array(array))


def _jax(array: Any) -> Any:
    import jax

    jax.config.update("jax_enable_x64", True)
    return jax.numpy.asarray(array)


def _strict(device: str) -> Callable[[Any], Any]:
    def make(array: Any) -> Any:
        import array_api_strict

        return array_api_strict.asarray(np.array(array), device=array_api_strict.Device(device))

    return make


ALL = [
    Library("numpy", np.asarray, "numpy"),
    Library("numba", np.asarray, "numba"),
    Library("array_api_strict", _strict("CPU_DEVICE")),
    Library("array_api_strict-device1", _strict("device1")),
    Library("torch", _torch),
    Library("jax", _jax),
]


def params() -> list[Any]:
    """Every library as a pytest parameter, those that are not installed skipped with the reason.

    JAX compiles each operation for each shape, and its arrays follow the standard that
    array_api_strict enforces: its tests are exhaustive ones.
    """
    return [pytest.param(library, id=library.name, marks=_marks(library.name)) for library in ALL]


def _marks(name: str) -> list[Any]:
    package = name.partition("-")[0]
    missing = importlib.util.find_spec(package) is None
    skipped = pytest.mark.skipif(missing, reason=f"{package} is not installed")
    return [skipped, pytest.mark.exhaustive] if name == "jax" else [skipped]
