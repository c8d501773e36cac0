"""Where arrays live, and how they get to a backend and back."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy

from xpnet.backend import Backend
from xpnet.dispatch.choice import by_arrays, library_of
from xpnet.errors import InputError


def bring(array: Any, backend: Backend, dtype: str | None = None) -> Any:
    """An array of any library, lists, or a sparse matrix as CSR, on a backend; no copy where none is needed."""
    if type(array) is numpy.ndarray and is_host(backend):
        return numpy.asarray(array, dtype=dtype)
    if is_sparse(array):
        return array.tocsr().astype(dtype, copy=False)
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
