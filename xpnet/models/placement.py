"""Where a network lives, and how arrays get there and back."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy

from xpnet.backend import Backend
from xpnet.dispatch import Choice, choose
from xpnet.dispatch.choice import all_numpy, by_arrays, library_of
from xpnet.errors import InputError, MixedArraysError
from xpnet.ops import Array


@dataclass
class Placement:
    """The backend a network lives on: the one that was named, or that of the first arrays.

    choice : the backend, and why it is that one
    named : the user named it: arrays of any library are brought there
    settled : it stays; otherwise the first arrays decide
    """

    choice: Choice
    named: bool
    settled: bool

    @classmethod
    def of(cls, backend: str | Backend | None) -> "Placement":
        """A named backend, or for None one that the first arrays will decide."""
        return cls(choose(backend=backend), named=backend is not None, settled=False)

    def adopted(self, arrays: list[Any]) -> Choice:
        """The backend that these arrays, the first, call for."""
        check_in_memory(arrays)
        return self.choice if self.named else choose(*arrays)

    def check_library(self, arrays: Sequence[Any]) -> None:
        """Raise MixedArraysError for arrays of a library other than the one that was adopted, NumPy's apart."""
        if all_numpy(arrays):
            return
        check_in_memory(arrays)
        if self.named:
            return
        home = library_of(self.choice.backend.asarray(0.0))
        for library in {library_of(array) for array in arrays} - {"", "numpy", home}:
            raise MixedArraysError(
                f"This network lives on {self.choice.backend.name}; received {library} arrays. Move it with .to(...), "
                "or the arrays."
            )

    def bring(self, array: Any, dtype: str | None = None) -> Array:
        """An array of any library, or lists, on the backend; no copy where none is needed."""
        backend = self.choice.backend
        if type(array) is not numpy.ndarray and not on_host(array) and by_arrays(array).backend.xp is not backend.xp:
            array = to_host(array)
        return backend.asarray(array, dtype=dtype)


def check_in_memory(arrays: Sequence[Any]) -> None:
    """Raise InputError for arrays and frames of Dask, which are computed piece by piece on the workers of a cluster."""
    for array in arrays:
        if type(array).__module__.startswith("dask"):
            raise InputError(
                f"Rows lie in this process's memory; received a Dask {type(array).__name__}. Train with "
                "xpnet.dask.MLPClassifier or MLPRegressor on its cluster, or pass .compute() of what fits into memory."
            )


def check_dense_off_host(X: Any, backend: Backend) -> None:
    """Raise InputError for a sparse matrix to train on where arrays are not NumPy's."""
    if is_sparse(X) and not is_host(backend):
        raise InputError(
            f"A network on {backend.name} trains on dense rows; received a SciPy sparse matrix. Pass X.toarray(), or move "
            'the network with .to("numba").'
        )


def on_host(array: Any) -> bool:
    """Whether this is NumPy's, or no array of any library (a list, a frame, a sparse matrix)."""
    return library_of(array) in ("", "numpy")


def to_host(array: Any) -> Any:
    """The array as NumPy's; what is on the host already is returned as it is."""
    return array if on_host(array) else by_arrays(array).backend.to_numpy(array)


def is_sparse(array: Any) -> bool:
    """Whether this is a SciPy sparse matrix, asked without importing SciPy."""
    return hasattr(array, "tocsr")


def _is_host(backend: Any) -> bool:
    return library_of(backend.asarray(0.0)) == "numpy"


is_host: Callable[[Any], bool] = cache(_is_host)
"""Whether what a backend computes are NumPy arrays."""
